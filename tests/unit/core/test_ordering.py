"""The order of a pass's actions: behaviour.md §4 (chains of e-mail changes) and §5 (seats)."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.ordering import Ordered, Planned, order
from pipeline.model import ActionKind, Profile

K = ActionKind
NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)


def planned(
    guid: str, kind: ActionKind, email: str = "", to: str = "", *, minute: int | None = None
) -> Planned:
    return Planned(
        guid=guid,
        kind=kind,
        changes=Profile(email=to),
        member_email=email,
        seen_at=None if minute is None else NOW + timedelta(minutes=minute),
    )


def names(actions: tuple[Planned, ...]) -> list[str]:
    return [f"{action.kind.value} {action.guid}" for action in actions]


@pytest.mark.parametrize(
    ("actions", "sequence"),
    [
        pytest.param(
            [planned("a", K.INVITE, to="a"), planned("b", K.REMOVE, "b"), planned("c", K.REVOKE_INVITE, "c")],
            ["remove b", "revoke_invite c", "invite a"],
            id="actions that free seats go first",
        ),
        pytest.param(
            [
                planned("a", K.INVITE, to="a", minute=3),
                planned("c", K.INVITE, to="c"),
                planned("b", K.INVITE, to="b", minute=1),
            ],
            ["invite b", "invite a", "invite c"],
            id="people wait in a stable order, first seen first",
        ),
        pytest.param(
            [planned("a", K.RECOVER, "a", minute=2), planned("b", K.INVITE, to="b", minute=1)],
            ["invite b", "recover a"],
            id="invitations and recoveries share one queue for seats",
        ),
        pytest.param(
            [planned("a", K.UPDATE, "a"), planned("a", K.UNSUSPEND, "a")],
            ["unsuspend a", "update a"],
            id="unsuspend, then update",
        ),
        pytest.param(
            [planned("a", K.UPDATE, "a"), planned("a", K.RECOVER, "a"), planned("b", K.INVITE, to="b")],
            ["recover a", "update a", "invite b"],
            id="recover, then update",
        ),
        pytest.param(
            [planned("a", K.REMOVE, "a"), planned("a", K.SUSPEND, "a")],
            ["suspend a", "remove a"],
            id="a grace suspends first",
        ),
        pytest.param(
            [planned("a", K.INVITE, to="new"), planned("a", K.REVOKE_INVITE, "old")],
            ["revoke_invite a", "invite a"],
            id="a mistyped invitation is revoked, then sent anew",
        ),
        pytest.param(
            [
                planned("g", kind)
                for kind in (K.GROUP_ADD, K.GROUP_REMOVE, K.GROUP_CREATE, K.GROUP_RENAME, K.GROUP_DELETE)
            ]
            + [planned("a", K.INVITE, to="a"), planned("a", K.RESEND_WELCOME)],
            [
                "invite a",
                "resend_welcome a",
                "group_delete g",
                "group_rename g",
                "group_create g",
                "group_remove g",
                "group_add g",
            ],
            id="group actions come after people",
        ),
        pytest.param(
            [
                planned("a", K.UPDATE, "a1", "b1"),
                planned("b", K.UPDATE, "b1", "c1"),
                planned("c", K.UPDATE, "c1", "d1"),
            ],
            ["update c", "update b", "update a"],
            id="a chain of e-mail changes works in one pass",
        ),
        pytest.param(
            [planned("a", K.UPDATE, "A1", "b1"), planned("b", K.UPDATE, "B1", "c1")],
            ["update b", "update a"],
            id="addresses compare in lower case",
        ),
        pytest.param(
            [
                planned("n", K.INVITE, to="old"),
                planned("r", K.RECOVER, "old"),
                planned("r", K.UPDATE, "old", "new"),
            ],
            ["recover r", "update r", "invite n"],
            id="an invitation waits for the address that an update frees",
        ),
        pytest.param(
            [planned("a", K.UPDATE, "a1", "x"), planned("x", K.REMOVE, "x")],
            ["remove x", "update a"],
            id="a removal frees an address",
        ),
        pytest.param(
            [planned("a", K.UPDATE, "a", "A"), planned("b", K.UPDATE, "b")],
            ["update a", "update b"],
            id="one's own address is not in the way",
        ),
        pytest.param(
            [planned("a", K.UPDATE, "a1", "s"), planned("s", K.SUSPEND, "s")],
            ["suspend s", "update a"],
            id="a suspended member keeps the address",
        ),
        pytest.param([], [], id="nothing"),
    ],
)
def test_order(actions: list[Planned], sequence: list[str]) -> None:
    for arranged in (actions, actions[::-1]):
        assert names(order(arranged).sequence) == sequence
        assert order(arranged) == Ordered(order(actions).sequence)


@pytest.mark.parametrize(
    ("action", "takes", "frees"),
    [
        (planned("a", K.UPDATE, "Old", "New"), "new", "old"),
        (planned("a", K.UPDATE, "Old", "OLD"), "", ""),
        (planned("a", K.UPDATE, "old"), "", ""),
        (planned("a", K.INVITE, "", "New"), "new", ""),
        (planned("a", K.REMOVE, "Old"), "", "old"),
        (planned("a", K.REVOKE_INVITE, "old"), "", "old"),
        (planned("a", K.SUSPEND, "old"), "", ""),
        (planned("a", K.RECOVER, "old"), "", ""),
    ],
)
def test_which_address_an_action_takes_and_frees(action: Planned, takes: str, frees: str) -> None:
    assert (action.takes, action.frees) == (takes, frees)


def test_a_swap_is_reported_not_ordered_and_the_others_go_on() -> None:
    swap = [planned("a", K.UPDATE, "a", "b"), planned("b", K.UPDATE, "b", "a")]
    result = order([*swap, planned("c", K.UPDATE, "c", "d")])
    assert names(result.sequence) == ["update c"]
    assert [names(circle) for circle in result.swaps] == [["update a", "update b"]]
    assert result.blocked == ()


def test_two_circles_are_two_swaps_and_what_waits_for_them_is_blocked() -> None:
    actions = [
        *(planned(guid, K.UPDATE, guid, to) for guid, to in ["ab", "bc", "ca", "xy", "yx"]),
        planned("n", K.INVITE, to="a"),
        planned("a", K.RESEND_WELCOME),
    ]
    result = order(actions)
    assert [names(circle) for circle in result.swaps] == [
        ["update a", "update b", "update c"],
        ["update x", "update y"],
    ]
    assert names(result.blocked) == ["invite n", "resend_welcome a"]
    assert result.sequence == ()


def test_a_chain_of_ten_thousand_is_no_recursion() -> None:
    chain = [planned(f"{n}", K.UPDATE, f"{n}@x.test", f"{n + 1}@x.test") for n in range(10_000)]
    assert order(chain).sequence == tuple(reversed(chain))
    ring = [*chain[:-1], planned("9999", K.UPDATE, "9999@x.test", "0@x.test")]
    assert [len(circle) for circle in order(ring).swaps] == [10_000]


EMAILS = st.sampled_from(["", "a", "b", "c", "d", "e"])
ACTIONS = st.lists(
    st.builds(
        planned,
        st.sampled_from("123456"),
        st.sampled_from(list(K)),
        EMAILS,
        EMAILS,
        minute=st.none() | st.integers(0, 3),
    ),
    max_size=14,
    unique_by=lambda action: (action.guid, action.kind),
)


@given(ACTIONS, st.randoms(use_true_random=False))
def test_every_action_comes_out_once_and_no_address_is_taken_before_it_is_free(
    actions: list[Planned], shuffler: random.Random
) -> None:
    result = order(actions)
    everything = [*result.sequence, *(one for circle in result.swaps for one in circle), *result.blocked]
    assert sorted(map(id, everything)) == sorted(map(id, actions))
    assert result.sequence or not actions or result.swaps
    assert bool(result.blocked) <= bool(result.swaps)
    for place, action in enumerate(result.sequence):
        later = result.sequence[place + 1 :]
        assert not action.takes or not any(
            one.frees == action.takes and one.guid != action.guid for one in later
        )
    shuffled = actions.copy()
    shuffler.shuffle(shuffled)
    assert order(shuffled) == result

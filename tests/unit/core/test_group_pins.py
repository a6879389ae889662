"""What an `undo` of groups asks for, and how long: `decide_groups` with pins."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from pipeline.app.group_reversal import reverse_groups
from pipeline.core.group_values import DirectoryGroup, GroupDecision, GroupPolicy, Known, Mode, Person
from pipeline.core.groups import decide_groups
from pipeline.model import Action, ActionKind, Profile, State, Status, TeamGroup
from pipeline.records import GroupPin

NOW = datetime(2026, 3, 2, tzinfo=UTC)
SALES = DirectoryGroup(
    guid="sales", name="Sales", external_id="ad-guid:sales", users=frozenset({"ann", "bob"})
)


def pin(kind: ActionKind, was: str, *, guid: str = "sales", name: str = "") -> GroupPin:
    return GroupPin(
        group_guid="sales", guid=guid, kind=kind, was=was, reason="undo of pass 3", at=NOW, name=name
    )


def person(name: str, status: Status = Status.ACTIVE, **facts: bool) -> Person:
    return Person(guid=name, label=name, member_id=f"m:{name}", status=status, **facts)  # type: ignore[arg-type]


def decide(
    group: DirectoryGroup,
    *pins: GroupPin,
    present: tuple[str, ...] = ("ann", "bob"),
    people: tuple[Person, ...] = (),
    touched: frozenset[str] | None = None,
    in_dropbox: bool = True,
) -> GroupDecision:
    persons = {one.guid: one for one in (person("ann"), person("bob"), *people)}
    known = Known(
        team_groups={"g:1": TeamGroup(group_id="g:1", name="Sales", external_id="ad-guid:sales")}
        if in_dropbox
        else {},
        links={"sales": "g:1"} if in_dropbox else {},
        members={"g:1": frozenset(f"m:{one}" for one in present)},
        holders={f"m:{one}": one for one in persons},
        pins={"sales": {one.guid: one for one in pins}},
    )
    (decision,) = decide_groups([group], [], persons, known, GroupPolicy(mode=Mode.SAME), touched=touched)
    return decision


def asked(decision: GroupDecision) -> list[tuple[str, str]]:
    return [(one.kind.value, one.guid if one.member_id else one.name) for one in decision.wanted]


OUT_WITH_BOB = pin(ActionKind.GROUP_REMOVE, "in", guid="bob")
BACK_WITH_CID = pin(ActionKind.GROUP_ADD, "out", guid="cid")


def test_who_was_put_in_is_put_out_and_stays_out_while_the_directory_says_the_same():
    assert asked(decide(SALES, OUT_WITH_BOB)) == [("group_remove", "bob")]
    done = decide(SALES, OUT_WITH_BOB, present=("ann",))
    assert (asked(done), done.pinned, done.unpin) == ([], (OUT_WITH_BOB,), ())


def test_the_pin_goes_when_the_directory_says_something_new_of_this_person_only():
    grown = replace(SALES, users=SALES.users | {"cid"})
    assert decide(grown, OUT_WITH_BOB, people=(person("cid"),)).unpin == ()
    left = decide(replace(SALES, users=frozenset({"ann"})), OUT_WITH_BOB, present=("ann",))
    assert (asked(left), left.unpin) == ([], (OUT_WITH_BOB,))


def test_absence_below_what_can_not_be_read_is_nothing_new():
    opaque = replace(SALES, users=frozenset({"ann"}), is_opaque=True)
    assert decide(opaque, OUT_WITH_BOB, present=("ann",)).unpin == ()


@pytest.mark.parametrize(
    ("who", "is_back"),
    [
        (person("cid"), True),
        (person("cid", is_listed=False), True),  # their suspension was undone as well
        (person("cid", Status.SUSPENDED), False),
        (person("cid", is_seen=False), False),
        (replace(person("cid"), excluded="by e-mail"), False),
    ],
)
def test_who_was_taken_out_comes_back_where_they_may(who: Person, is_back: bool):
    expected = [("group_add", "cid")] if is_back else []
    assert asked(decide(SALES, BACK_WITH_CID, people=(who,))) == expected


def test_who_came_back_stays_though_the_directory_still_lists_them_nowhere():
    cid = person("cid", is_listed=False)
    assert asked(decide(SALES, BACK_WITH_CID, people=(cid,), present=("ann", "bob", "cid"))) == []


@pytest.mark.parametrize("facts", [{"is_seen": False}, {"excluded": "by e-mail"}])
def test_nobody_excluded_or_unseen_is_put_out_by_an_undo(facts: dict[str, bool]):
    assert asked(decide(SALES, OUT_WITH_BOB, people=(person("bob", **facts),))) == []


def test_the_old_name_stands_until_the_directory_gives_another():
    renamed = replace(SALES, name="Vendite")
    old = pin(ActionKind.GROUP_RENAME, "Vendite", name="Sales")
    assert asked(decide(renamed, old)) == []
    again = decide(replace(SALES, name="Ventes"), old)
    assert (asked(again), again.unpin) == ([("group_rename", "Ventes")], (old,))


def test_a_created_group_goes_and_does_not_come_back_until_it_changes():
    gone = pin(ActionKind.GROUP_DELETE, SALES.fingerprint)
    assert asked(decide(SALES, gone)) == [("group_delete", "Sales")]
    assert asked(decide(SALES, gone, present=(), in_dropbox=False)) == []
    changed = decide(replace(SALES, users=frozenset({"ann"})), gone, in_dropbox=False)
    assert ("group_create", "Sales") in asked(changed)
    assert changed.unpin == (gone,)


def test_nothing_new_can_be_told_of_a_group_that_was_not_touched():
    gone = pin(ActionKind.GROUP_DELETE, SALES.fingerprint)
    untouched = replace(SALES, users=frozenset())
    assert asked(decide(untouched, gone, touched=frozenset())) == [("group_delete", "Sales")]
    assert decide(untouched, OUT_WITH_BOB, touched=frozenset()).unpin == ()


# --- what a pass is reversed into ---------------------------------------------------------------------------


def action(kind: ActionKind, guid: str = "sales", **facts: str) -> Action:
    return Action(
        id=1, guid=guid, kind=kind, state=State.DONE, email="" if guid == "sales" else f"{guid}@example.test",
        member_id="", changes=Profile(), reason="", cause="", pass_id=3, group_guid="sales", group_name="Sales",
        **facts,
    )  # fmt: skip


def test_a_group_that_was_made_and_filled_is_reversed_as_a_whole():
    made = [action(ActionKind.GROUP_CREATE), action(ActionKind.GROUP_ADD, "ann")]
    reversal = reverse_groups(3, made, {"sales": SALES}, NOW)
    assert [(one.kind, one.was) for one in reversal.pins] == [(ActionKind.GROUP_DELETE, SALES.fingerprint)]
    assert len(reversal.rows) == len(reversal.lost) == 1


def test_each_membership_and_the_name_are_pinned_with_what_the_directory_says_now():
    done = [
        action(ActionKind.GROUP_RENAME, precondition="Tech"),
        action(ActionKind.GROUP_ADD, "bob"),
        action(ActionKind.GROUP_REMOVE, "cid"),
    ]
    reversal = reverse_groups(3, done, {"sales": SALES}, NOW)
    assert [(one.guid, one.kind, one.was, one.name) for one in reversal.pins] == [
        ("sales", ActionKind.GROUP_RENAME, "Sales", "Tech"),
        ("bob", ActionKind.GROUP_REMOVE, "in", ""),
        ("cid", ActionKind.GROUP_ADD, "out", ""),
    ]


def test_of_an_external_id_and_of_a_group_that_is_gone_nothing_is_undone_and_it_is_said():
    linked = reverse_groups(3, [action(ActionKind.GROUP_RENAME)], {"sales": SALES}, NOW)
    gone = reverse_groups(3, [action(ActionKind.GROUP_ADD, "bob")], {}, NOW)
    assert (linked.pins, gone.pins) == ((), ())
    assert "external id stays" in linked.lost[0]
    assert "no longer in the directory" in gone.lost[0]

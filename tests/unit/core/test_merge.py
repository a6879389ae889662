"""What is wanted now against what is still open. (behaviour.md §7)"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from pipeline.core.merge import merge
from pipeline.model import Action, ActionKind, Profile, State, WaitFor, Wanted

NOW = datetime(2026, 3, 2, tzinfo=UTC)


def action(kind: ActionKind, state: State = State.PLANNED, *, number: int = 1, **more: object) -> Action:
    return replace(
        Action(
            id=number,
            guid="g",
            kind=kind,
            state=state,
            email="",
            member_id="m",
            changes=Profile(),
            reason="",
            cause="",
            pass_id=1,
        ),
        **more,  # type: ignore[arg-type]
    )


def want(kind: ActionKind, **more: object) -> Wanted:
    return Wanted(kind=kind, reason="now", **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("state", [State.PLANNED, State.RETRY, State.HELD, State.FAILED])
def test_what_is_wanted_again_stays_as_it_is(state: State) -> None:
    old = action(ActionKind.SUSPEND, state)
    merged = merge([old], [want(ActionKind.SUSPEND)], person_changed=False)
    assert (merged.keep, merged.supersede, merged.insert) == ((old,), (), ())


def test_what_waits_for_a_seat_is_wanted_still() -> None:
    old = action(ActionKind.INVITE, State.WAITING, wait=WaitFor.SEAT)
    assert merge([old], [want(ActionKind.INVITE)], person_changed=True).keep == (old,)


def test_what_is_no_longer_wanted_is_dropped() -> None:
    old = action(ActionKind.SUSPEND, State.HELD)
    merged = merge([old], [], person_changed=True)
    assert (merged.supersede, merged.insert) == ((old,), ())


def test_a_failed_action_is_tried_again_only_when_the_person_changed() -> None:
    old = action(ActionKind.UPDATE, State.FAILED)
    again = want(ActionKind.UPDATE)
    assert merge([old], [again], person_changed=False).keep == (old,)
    merged = merge([old], [again], person_changed=True)
    assert (merged.supersede, merged.insert) == ((old,), ((again, False),))


@pytest.mark.parametrize("wait", [WaitFor.SETTLING, WaitFor.GRACE])
def test_when_its_time_has_come_a_waiting_action_is_replaced_by_one_that_does_not_wait(wait: WaitFor) -> None:
    due = NOW + timedelta(minutes=1)
    old = action(ActionKind.SUSPEND, State.WAITING, wait=wait, due=due)
    assert merge([old], [want(ActionKind.SUSPEND, wait=wait, until=due)], person_changed=True).keep == (old,)
    now = want(ActionKind.SUSPEND)
    assert merge([old], [now], person_changed=False).insert == ((now, False),)


def test_other_contents_replace_and_everything_after_them() -> None:
    first = action(ActionKind.UNSUSPEND)
    second = action(ActionKind.UPDATE, number=2, changes=Profile(surname="Old"))
    new = want(ActionKind.UPDATE, changes=Profile(surname="New"))
    merged = merge([first, second], [want(ActionKind.UNSUSPEND), new], person_changed=True)
    assert (merged.keep, merged.supersede, merged.insert) == ((first,), (second,), ((new, False),))


def test_one_persons_actions_stay_in_order_by_their_ids() -> None:
    update = action(ActionKind.UPDATE, number=2)
    wanted = [want(ActionKind.UNSUSPEND), want(ActionKind.UPDATE)]
    merged = merge([update], wanted, person_changed=False)
    assert merged.supersede == (update,)
    assert [one.kind for one, _ in merged.insert] == [ActionKind.UNSUSPEND, ActionKind.UPDATE]


def test_an_approval_goes_over_to_what_replaces_the_same_kind_and_to_nothing_else() -> None:
    old = action(ActionKind.SUSPEND, State.HELD, approved=True, changes=Profile(surname="x"))
    merged = merge([old], [want(ActionKind.SUSPEND)], person_changed=True)
    assert [approved for _, approved in merged.insert] == [True]
    merged = merge([old], [want(ActionKind.REMOVE)], person_changed=True)
    assert [approved for _, approved in merged.insert] == [False]


def test_an_approval_does_not_go_over_to_another_address() -> None:
    old = action(ActionKind.UPDATE, State.HELD, approved=True, changes=Profile(email="shown@example.test"))
    other = want(ActionKind.UPDATE, changes=Profile(email="other@example.test"))
    assert merge([old], [other], person_changed=True).insert == ((other, False),)
    same = want(ActionKind.UPDATE, changes=Profile(email="shown@example.test", surname="Lee"))
    assert merge([old], [same], person_changed=True).insert == ((same, True),)

"""The canary: an alert when no change has gone all the way in time."""

from datetime import UTC, datetime, timedelta

import pytest

from pipeline.core.canary import Sighting, canary_alert
from pipeline.model import Action, ActionKind, Profile, Severity, State

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def action(state: State, *, ago: timedelta = timedelta(0), kind: ActionKind = ActionKind.UPDATE) -> Action:
    return Action(
        id=1,
        guid="g",
        kind=kind,
        state=state,
        email="canary@example.test",
        member_id="m",
        cause="delta",
        pass_id=1,
        reason="information differs",
        changes=Profile(),
        settled_at=NOW - ago if state is State.DONE else None,
        error="email_reserved" if state is State.FAILED else "",
    )


def look(*actions: Action, since: timedelta = 100 * HOUR, fault: str = ""):
    sighting = Sighting(person="canary@example.test", since=NOW - since, actions=actions, fault=fault)
    return canary_alert(sighting, every=HOUR, now=NOW)


def test_silent_while_changes_arrive() -> None:
    assert look(action(State.DONE, ago=timedelta(minutes=59)), action(State.DONE, ago=9 * HOUR)) is None


def test_silent_until_the_first_change_had_its_time() -> None:
    assert look(since=timedelta(minutes=59)) is None


def test_alerts_when_the_last_arrival_is_too_long_ago_and_says_what_stands() -> None:
    alert = look(action(State.FAILED), action(State.DONE, ago=2 * HOUR))
    assert alert is not None
    assert alert.severity is Severity.CRITICAL
    assert "no change has arrived for more than 1 h" in alert.title
    assert alert.lines == ("last arrival: 2026-11-23 10:00 UTC", "update stands as failed: email_reserved")


def test_alerts_when_nothing_ever_arrived() -> None:
    alert = look()
    assert alert is not None
    assert alert.lines == ("no change has arrived yet",)


@pytest.mark.parametrize("state", [one for one in State if one is not State.DONE])
def test_only_what_is_done_has_arrived(state: State) -> None:
    assert look(action(state)) is not None


@pytest.mark.parametrize("kind", [ActionKind.INVITE, ActionKind.SUSPEND, ActionKind.UNSUSPEND])
def test_only_a_change_of_information_is_a_sign(kind: ActionKind) -> None:
    assert look(action(State.DONE, kind=kind)) is not None


def test_a_person_who_can_not_be_found_is_told_at_once() -> None:
    alert = look(since=timedelta(0), fault="nobody is known as 'x'")
    assert alert is not None
    assert "can't be looked at" in alert.title
    assert alert.lines[0] == "nobody is known as 'x'"


def test_the_same_trouble_is_the_same_alert_and_another_arrival_is_news() -> None:
    first, again = look(action(State.DONE, ago=2 * HOUR)), look(action(State.DONE, ago=2 * HOUR))
    later = look(action(State.DONE, ago=3 * HOUR))
    assert first is not None
    assert again is not None
    assert later is not None
    assert first.fingerprint == again.fingerprint != later.fingerprint

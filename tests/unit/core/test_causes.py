"""What each cause says, and what counts as a change of it."""

from __future__ import annotations

import pytest

from pipeline.core.alerting import AlertKind, kind_of
from pipeline.core.causes import (
    SHOWN_LINES,
    Failure,
    Subject,
    ended_alert,
    failed_alerts,
    held_alert,
    right_alert,
    seats_alert,
    skipped_alert,
    suspension_alert,
)
from pipeline.model import Alert, Severity

ANN = Subject(guid="1", label="ann@example.test", detail="no e-mail")
BOB = Subject(guid="2", label="bob@example.test", detail="name clash")
HELD = held_alert(digest="ab12", what="leavers", count=300, limit="5%", clusters=(("left Sales", 300),))


def failure(guid: str, tag: str = "team_license_limit", hint: str = "") -> Failure:
    return Failure(
        guid=guid, label=f"p{guid}@example.test", action="invite", tag=tag, reason="refused", hint=hint
    )


@pytest.mark.parametrize("code", [-1, -10, -11, -12, -13, -14, -15, -16, -17, -18, -20, -99])
def test_every_code_but_0_alerts_with_a_remedy(code: int) -> None:
    alert = ended_alert(code)
    assert alert is not None
    assert f"exit code {code}" in alert.title
    assert alert.remedy


@pytest.mark.parametrize("code", [0, -19])
def test_success_and_a_second_instance_do_not_alert(code: int) -> None:
    assert ended_alert(code) is None


@pytest.mark.parametrize(("code", "detail"), [(-17, failed_alerts([failure("1")])[0]), (-18, HELD)])
def test_a_code_whose_details_are_told_anyway_is_not_told_twice(code: int, detail: Alert) -> None:
    assert ended_alert(code, standing=[detail]) is None
    assert ended_alert(-12, standing=[detail]) is not None


def test_numbers_in_the_cause_are_no_change_of_an_ending_but_its_words_and_code_are() -> None:
    def fingerprint(code: int, cause: str) -> str:
        alert = ended_alert(code, operation="bind", cause=cause)
        assert alert is not None
        return alert.fingerprint

    assert fingerprint(-12, "port 51001 refused") == fingerprint(-12, "port 51002 refused")
    # A request's id is hexadecimal: counted as news, every pass of an outage sent its own mail.
    ids = ("0cd3aee89ea4f0bb", "29b87baff97c4298")
    assert len({fingerprint(-14, f"status 500 (request {one})") for one in ids}) == 1
    assert fingerprint(-12, "port 51001 refused") != fingerprint(-12, "wrong password")
    assert fingerprint(-12, "x") != fingerprint(-14, "x")


def test_all_codes_are_one_cause() -> None:
    first, second = ended_alert(-12), ended_alert(-14)
    assert first is not None
    assert second is not None
    assert first.key == second.key == "exit-code"


def test_failures_are_grouped_by_tag_with_a_count() -> None:
    alerts = failed_alerts([failure("1"), failure("2"), failure("3", tag="user_not_found")])
    assert [alert.title for alert in alerts] == [
        "2 actions failed: team_license_limit",
        "1 action failed: user_not_found",
    ]
    assert alerts[0].lines[0] == "p1@example.test: invite: refused"


def test_a_failure_changes_with_its_subjects_and_not_with_their_order() -> None:
    one, two = failure("1"), failure("2")
    assert failed_alerts([one, two]) == failed_alerts([two, one])
    assert failed_alerts([one])[0].fingerprint != failed_alerts([one, two])[0].fingerprint


def test_hints_of_the_vendor_are_told_once() -> None:
    (alert,) = failed_alerts([failure("1", hint="ask the admin"), failure("2", hint="ask the admin")])
    assert alert.remedy == "ask the admin; then `ad-connector retry --failed`"


def test_a_held_set_names_its_hash_its_causes_and_its_size() -> None:
    assert HELD.title == "300 leavers held by the brake"
    assert HELD.severity is Severity.CRITICAL
    assert "ad-connector approve ab12" in HELD.remedy
    assert HELD.lines == ("the limit is 5%", "300 of them: left Sales")


def test_another_held_set_of_a_kind_is_a_change_of_one_cause() -> None:
    other = held_alert(digest="cd34", what="leavers", count=301)
    assert other.key == HELD.key
    assert other.fingerprint != HELD.fingerprint


def test_more_people_who_wait_for_a_seat_are_no_new_alert_but_other_seats_are() -> None:
    one, two, more = (
        seats_alert([ANN], seats=5),
        seats_alert([ANN, BOB], seats=5),
        seats_alert([ANN], seats=6),
    )
    assert one is not None
    assert two is not None
    assert more is not None
    assert two.title == "no free seat: 2 people waiting"
    assert one.fingerprint == two.fingerprint != more.fingerprint


def test_an_overridden_suspension_says_how_to_keep_it() -> None:
    alert = suspension_alert([ANN])
    assert alert is not None
    assert "disable the person in the directory" in alert.remedy
    assert alert.title == "1 suspension made in the admin console overridden"


def test_skipped_persons_are_a_notice_ordered_by_reason() -> None:
    alert = skipped_alert([ANN, BOB])
    assert alert is not None
    assert alert.severity is Severity.NOTICE
    assert alert.lines == ("bob@example.test: name clash", "ann@example.test: no e-mail")


def test_nobody_is_no_alert() -> None:
    assert (seats_alert([], seats=1), suspension_alert([]), skipped_alert([])) == (None, None, None)
    assert failed_alerts([]) == ()


def test_long_lists_are_cut_and_say_so() -> None:
    people = [Subject(guid=str(number), label=f"p{number:03}") for number in range(300)]
    alert = skipped_alert(people)
    assert alert is not None
    assert len(alert.lines) == SHOWN_LINES + 1
    assert alert.lines[-1] == f"and {300 - SHOWN_LINES} more"
    shorter = skipped_alert(people[:-1])
    assert shorter is not None
    assert shorter.fingerprint != alert.fingerprint


def test_keys_begin_with_their_kind() -> None:
    ended = ended_alert(-12)
    assert ended is not None
    alerts = (
        ended,
        HELD,
        right_alert("read deleted objects", effects=["e"], remedy="r"),
        *failed_alerts([failure("1")]),
    )
    assert {kind_of(alert.key) for alert in alerts} <= set(AlertKind)

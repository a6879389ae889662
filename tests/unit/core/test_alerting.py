"""Which alerts are mailed, counted or over, as a table of cases (behaviour §10)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest

from pipeline.core.alerting import AlertKind, Known, by_urgency, decide, fingerprint_of, see_more
from pipeline.model import Alert, Severity

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
A = Alert(key="failed:a", severity=Severity.WARNING, title="a failed", lines=("ann",), fingerprint="1")
EVENT = Alert(key="suspension", severity=Severity.WARNING, title="suspension overridden", fingerprint="ann")


def hours_ago(hours: float) -> datetime:
    return NOW - timedelta(hours=hours)


def known(alert: Alert = A, *, sent: float | None = 1, seen: float = 0.1, is_open: bool = True) -> Known:
    return Known(
        alert=alert,
        first_at=hours_ago(30),
        last_seen_at=hours_ago(seen),
        last_sent_at=None if sent is None else hours_ago(sent),
        count=4,
        is_open=is_open,
    )


@dataclass(frozen=True)
class Case:
    rule: str
    standing: tuple[Alert, ...] = ()
    before: tuple[Known, ...] = ()
    sent: tuple[str, ...] = ()
    over: tuple[str, ...] = ()
    judged: frozenset[AlertKind] | None = None
    repeat_hours: float = 24
    settle_seconds: float = 0


CASES = (
    Case("nothing_stands_and_nothing_was_known"),
    Case("a_new_cause_is_sent", (A,), sent=("failed:a",)),
    Case("a_known_cause_is_only_counted", (A,), (known(),)),
    Case("a_changed_cause_is_sent_again", (replace(A, fingerprint="2"),), (known(),), sent=("failed:a",)),
    Case("another_text_of_the_same_content_is_no_change", (replace(A, lines=("x",)),), (known(),)),
    Case("a_standing_cause_is_sent_again_after_repeat_hours", (A,), (known(sent=24),), sent=("failed:a",)),
    Case("not_before_repeat_hours", (A,), (known(sent=23.99),)),
    Case("repeat_hours_of_zero_sends_no_reminders", (A,), (known(sent=1000),), repeat_hours=0),
    Case("a_cause_never_sent_is_sent", (A,), (known(sent=None),), sent=("failed:a",)),
    Case("a_cause_that_is_gone_is_over_once", (), (known(),), over=("a failed",)),
    Case("a_closed_cause_is_not_over_again", (), (known(is_open=False),)),
    Case("a_cause_nobody_was_told_of_ends_silently", (), (known(sent=None),)),
    Case("a_closed_cause_that_comes_back_is_sent", (A,), (known(is_open=False),), sent=("failed:a",)),
    Case("what_a_pass_could_not_judge_is_not_over", (), (known(),), judged=frozenset({AlertKind.EXIT_CODE})),
    Case(
        "what_a_pass_could_judge_is_over",
        (),
        (known(),),
        over=("a failed",),
        judged=frozenset({AlertKind.FAILED}),
    ),
    Case("a_cause_just_gone_is_not_over_before_it_settles", (), (known(seen=0.01),), settle_seconds=60),
    Case("a_cause_gone_for_long_enough_is_over", (), (known(seen=1),), over=("a failed",), settle_seconds=60),
    Case("one_key_is_one_alert", (A, replace(A, lines=("bob",), fingerprint="2")), sent=("failed:a",)),
    Case("an_event_is_sent", (EVENT,), sent=("suspension",)),
    Case("the_same_event_within_repeat_hours_is_counted", (EVENT,), (known(EVENT),)),
    Case(
        "another_event_is_sent", (replace(EVENT, fingerprint="bob"),), (known(EVENT),), sent=("suspension",)
    ),
    Case("an_event_is_never_over", (), (known(EVENT),)),
    Case("an_old_event_is_never_over_either", (), (known(EVENT, sent=25),)),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.rule)
def test_decision(case: Case) -> None:
    decision = decide(
        case.standing,
        case.before,
        now=NOW,
        repeat_hours=case.repeat_hours,
        judged=case.judged,
        settle_seconds=case.settle_seconds,
    )
    assert tuple(alert.key for alert in decision.send) == case.sent
    assert tuple(alert.title for alert in decision.over) == case.over
    assert decision.is_mail_due is bool(case.sent or case.over)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.rule)
def test_deciding_again_at_once_mails_nothing(case: Case) -> None:
    rows = {row.alert.key: row for row in case.before}
    first = decide(case.standing, rows.values(), now=NOW, repeat_hours=24, judged=case.judged)
    rows |= {row.alert.key: row for row in first.known}
    second = decide(case.standing, rows.values(), now=NOW, repeat_hours=24, judged=case.judged)
    assert not second.is_mail_due


def test_a_standing_cause_is_counted_and_keeps_its_age() -> None:
    (row,) = decide((A,), (known(),), now=NOW, repeat_hours=24).known
    assert (row.count, row.first_at, row.last_seen_at) == (5, hours_ago(30), NOW)
    assert row.last_sent_at == hours_ago(1)


def test_a_reminder_says_since_when_and_how_often() -> None:
    decision = decide((A,), (known(sent=24),), now=NOW, repeat_hours=24)
    assert decision.send[0].lines == ("first seen 2026-11-22 03:00 UTC, 5 times since", "ann")
    assert decision.known[0].alert == A
    assert decision.known[0].last_sent_at == NOW


def test_a_cause_that_comes_back_starts_anew() -> None:
    (row,) = decide((A,), (known(is_open=False),), now=NOW, repeat_hours=24).known
    assert (row.count, row.first_at, row.is_open, row.last_sent_at) == (1, NOW, True, NOW)


def test_an_event_closes_silently_after_repeat_hours() -> None:
    assert decide((), (known(EVENT, sent=23),), now=NOW, repeat_hours=24).known == ()
    (row,) = decide((), (known(EVENT, sent=24),), now=NOW, repeat_hours=24).known
    assert not row.is_open


def test_a_server_that_comes_and_goes_is_told_once() -> None:
    rows: dict[str, Known] = {}
    mails = 0
    for minute in range(60):
        standing = (A,) if minute % 2 == 0 else ()
        decision = decide(
            standing, rows.values(), now=NOW + timedelta(minutes=minute), repeat_hours=24, settle_seconds=300
        )
        rows |= {row.alert.key: row for row in decision.known}
        mails += decision.is_mail_due
    assert mails == 1


def test_two_alerts_of_one_key_are_told_together_at_the_worse_severity() -> None:
    worse = replace(A, severity=Severity.CRITICAL, title="worse", lines=("bob",))
    (alert,) = decide((A, worse), (), now=NOW, repeat_hours=24).send
    assert (alert.severity, alert.title, alert.lines) == (Severity.CRITICAL, "worse", ("ann", "bob"))


def test_without_a_fingerprint_the_words_are_compared() -> None:
    plain = replace(A, fingerprint="")
    assert not decide((plain,), (known(plain),), now=NOW, repeat_hours=24).send
    assert decide((replace(plain, lines=("bob",)),), (known(plain),), now=NOW, repeat_hours=24).send


def test_worst_first() -> None:
    notice, critical = replace(A, severity=Severity.NOTICE), replace(A, severity=Severity.CRITICAL, key="z")
    assert by_urgency((notice, A, critical)) == (critical, A, notice)


def test_a_fingerprint_keeps_its_parts_apart_and_takes_any_text() -> None:
    assert fingerprint_of("ab", "c") != fingerprint_of("a", "bc")
    assert len(fingerprint_of("\ud800")) == 16


@pytest.mark.parametrize(
    ("key", "command"),
    [
        ("failed:seat", "ad-connector explain PERSON, or explain --group NAME"),
        ("held:leavers", "ad-connector plan"),
        ("exit-code", "ad-connector status"),
        ("something else", "ad-connector status"),
    ],
)
def test_every_key_has_a_command_that_shows_more(key: str, command: str) -> None:
    assert see_more(key) == command

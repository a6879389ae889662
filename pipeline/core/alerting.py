"""Which alerts to mail now, which only to count, and which are over (behaviour §10). Pure.

    new ──send──▶ open ──┬── same content ────────────────▶ counted only
                    ▲    ├── content changed ─────────────▶ sent again
                    │    ├── `repeat_hours` since sent ───▶ sent again, with count and age
                    │    └── gone (and its kind judged) ──▶ closed; told once that it is over
                    └─────── there again ◀─────────────────────┘

The caller writes `Decision.known` and the mail of this decision in one transaction: "sent" means *queued with a
stable Message-ID*, so a mail server that is down loses nothing and repeats nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from pipeline.model import Alert, Severity


class AlertKind(StrEnum):
    """The first part of an alert's key (`kind` or `kind:cause`)."""

    EXIT_CODE = "exit-code"
    FAILED = "failed"
    HELD = "held"
    SEATS = "seats"
    SUSPENSION = "suspension"
    RIGHT = "right"
    SKIPPED = "skipped"
    CANARY = "canary"
    RELOAD = "reload"


EVENTS = frozenset({AlertKind.SUSPENSION})
"""Kinds that happen rather than stand: they are never reported as over."""

BESIDE_PASSES = frozenset({AlertKind.CANARY, AlertKind.RELOAD})
"""Kinds that no pass looks at: they are over only for whoever judges them by name."""

_URGENCY = {Severity.CRITICAL: 0, Severity.WARNING: 1, Severity.NOTICE: 2}

_SEE_MORE = {
    AlertKind.EXIT_CODE: "ad-connector status",
    AlertKind.FAILED: "ad-connector explain PERSON, or explain --group NAME",
    AlertKind.HELD: "ad-connector plan",
    AlertKind.SEATS: "ad-connector check dropbox",
    AlertKind.SUSPENSION: "ad-connector explain PERSON",
    AlertKind.RIGHT: "ad-connector check",
    AlertKind.SKIPPED: "ad-connector plan",
    AlertKind.CANARY: "ad-connector status",
    AlertKind.RELOAD: "ad-connector check",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What the journal knows of one key: the alert as last seen, and its history since it opened.

    `count` is the number of decisions that found it standing. `last_sent_at` is None when it was never queued.
    """

    alert: Alert
    first_at: datetime
    last_seen_at: datetime
    last_sent_at: datetime | None
    count: int
    is_open: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """`send`: what to mail now, worst first. `over`: what has ended, as it was last seen. `known`: the rows to write."""

    send: tuple[Alert, ...] = ()
    over: tuple[Alert, ...] = ()
    known: tuple[Known, ...] = ()

    @property
    def is_mail_due(self) -> bool:
        return bool(self.send or self.over)


def decide(
    standing: Iterable[Alert],
    known: Iterable[Known],
    *,
    now: datetime,
    repeat_hours: float,
    judged: Collection[AlertKind] | None = None,
    settle_seconds: float = 0,
) -> Decision:
    """What to mail about the causes that stand now, given what was mailed before.

    `judged` names the kinds that this pass was able to look at (None: all). A pass that ended early proves nothing
    about the others, so their absence doesn't end them. `repeat_hours` 0 means no reminders. A cause is over only
    after `settle_seconds` of absence, so that a server that comes and goes doesn't send a mail each time.
    """
    repeat = timedelta(hours=repeat_hours)
    settle = timedelta(seconds=settle_seconds)
    present = _merged(standing)
    before = {row.alert.key: row for row in known}
    send: list[Alert] = []
    over: list[Alert] = []
    rows: list[Known] = []

    for key, alert in present.items():
        row = _seen(alert, before.get(key), now)
        if _is_due(row, before.get(key), now, repeat):
            send.append(_with_history(row))
            row = replace(row, last_sent_at=now)
        rows.append(row)

    for key, row in before.items():
        if key in present or not row.is_open or not _was_judged(key, judged):
            continue
        if kind_of(key) in EVENTS:
            if row.last_sent_at is None or now - row.last_sent_at >= repeat:
                rows.append(replace(row, is_open=False))
        elif now - row.last_seen_at >= settle:
            rows.append(replace(row, is_open=False))
            if row.last_sent_at is not None:
                over.append(row.alert)

    return Decision(send=by_urgency(send), over=tuple(over), known=tuple(rows))


def by_urgency(alerts: Iterable[Alert]) -> tuple[Alert, ...]:
    """Worst first; then by key, so that the order says nothing new from mail to mail."""
    return tuple(sorted(alerts, key=lambda alert: (_URGENCY[alert.severity], alert.key)))


def kind_of(key: str) -> str:
    return key.partition(":")[0]


def see_more(key: str) -> str:
    """The command that shows more about an alert; for a key that isn't ours, `ad-connector status`."""
    kind = kind_of(key)
    return _SEE_MORE[AlertKind(kind)] if kind in _SEE_MORE else "ad-connector status"


def fingerprint_of(*parts: str) -> str:
    """A short stable hash; the parts are kept apart, so that moving text between them changes it."""
    digest = hashlib.sha256()
    for part in parts:
        # Directory text may hold lone surrogates, which plain UTF-8 refuses.
        content = part.encode("utf-8", "surrogatepass")
        digest.update(f"{len(content)}:".encode())
        digest.update(content)
    return digest.hexdigest()[:16]


def _seen(alert: Alert, before: Known | None, now: datetime) -> Known:
    if before is None or not before.is_open:
        return Known(alert=alert, first_at=now, last_seen_at=now, last_sent_at=None, count=1, is_open=True)
    return replace(before, alert=alert, last_seen_at=now, count=before.count + 1)


def _is_due(row: Known, before: Known | None, now: datetime, repeat: timedelta) -> bool:
    if before is None or row.last_sent_at is None:
        return True
    if _content(row.alert) != _content(before.alert):
        return True
    return bool(repeat) and now - row.last_sent_at >= repeat


def _content(alert: Alert) -> str:
    """An alert made elsewhere may come without a fingerprint: then its own words are compared."""
    return alert.fingerprint or fingerprint_of(alert.severity, alert.title, alert.remedy, *alert.lines)


def _with_history(row: Known) -> Alert:
    if row.count == 1:
        return row.alert
    since = f"first seen {row.first_at:%Y-%m-%d %H:%M} UTC, {row.count} times since"
    return replace(row.alert, lines=(since, *row.alert.lines))


def _was_judged(key: str, judged: Collection[AlertKind] | None) -> bool:
    kind = kind_of(key)
    return kind not in BESIDE_PASSES if judged is None else kind in judged


def _merged(alerts: Iterable[Alert]) -> dict[str, Alert]:
    """One alert a key, in order. Two of one key are one cause seen twice: told together, at the worse severity."""
    merged: dict[str, Alert] = {}
    for alert in alerts:
        first = merged.get(alert.key)
        if first is None:
            merged[alert.key] = alert
            continue
        worse = min(first, alert, key=lambda one: _URGENCY[one.severity])
        merged[alert.key] = replace(
            worse,
            lines=first.lines + alert.lines,
            fingerprint=fingerprint_of(_content(first), _content(alert)),
        )
    return merged

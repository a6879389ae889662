"""`status`: read from the journal alone, beside a running watch."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from pipeline.core.alerting import AlertKind
from pipeline.core.exits import ExitCode
from pipeline.model import Action, Json, PassRecord, State
from state.database import stamp
from state.journal import Journal

LAG_SAMPLE = 1000


def lag_of(actions: Sequence[Action]) -> Json:
    """Seconds from seen to planned, sent and settled over the last changes: p50, p95, p99; None without any."""
    spans = {
        "seen_to_planned": [(one.seen_at, one.planned_at) for one in actions],
        "seen_to_sent": [(one.seen_at, one.sent_at) for one in actions],
        "seen_to_settled": [(one.seen_at, one.settled_at) for one in actions],
    }
    result: Json = {"changes": len(actions)}
    for name, pairs in spans.items():
        seconds = sorted(
            (end - start).total_seconds() for start, end in pairs if start is not None and end is not None
        )
        result[name] = (
            {
                f"p{share}": seconds[min(len(seconds) - 1, len(seconds) * share // 100)]
                for share in (50, 95, 99)
            }
            if seconds
            else None
        )
    return result


async def end_of(journal: Journal, last: PassRecord) -> tuple[str, str]:
    """What ended a pass, and what to do about it; of the newest pass, as its alert says it. Within `reading()`.

    "" for the cause where the journal does not know it: of simulated passes, and where other alerts tell it.
    """
    code = ExitCode(last.exit_code or 0)
    if not last.simulated:
        for one in await journal.alerts.known():
            is_this = one.alert.key == AlertKind.EXIT_CODE and one.alert.title.endswith(
                f"(exit code {int(code)})"
            )
            if is_this and one.is_open:
                return "; ".join(one.alert.lines), one.alert.remedy
    return "", code.remedy


async def status_of(journal: Journal, now: datetime) -> Json:
    """The shape of `status --json` (interface.md §4)."""
    async with journal.reading():
        counts = await journal.outbox.count_by_state()
        checkpoint = await journal.mirror.checkpoint()
        last = await journal.last_pass()
        oldest = [
            moment
            for moment in (await journal.oldest_dirty(), await journal.outbox.oldest_unsettled())
            if moment is not None
        ]
        held_sets = await journal.outbox.standing_held_sets()
        claims = [one for one in await journal.outbox.claims() if one.approved_at is None]
        counts[State.HELD.value] = counts.get(State.HELD.value, 0) + len(claims)
        newest = await journal.outbox.newest_done(LAG_SAMPLE)
        next_due = await journal.outbox.next_due()
        cause, remedy = await end_of(journal, last) if last is not None else ("", "")
        return {
            "managed": await journal.links.count_managed(),
            "by_status": await journal.members.count_by_status(),
            "pending": {
                state.value: counts.get(state.value, 0)
                for state in (State.WAITING, State.RETRY, State.FAILED, State.HELD)
            },
            "last_pass": None
            if last is None or last.ended is None
            else {
                "id": last.id,
                "started": stamp(last.started),
                "ended": stamp(last.ended),
                "exit_code": last.exit_code,
                "simulated": last.simulated,
                "actions": last.actions,
                "cause": cause,
                "remedy": remedy,
            },
            "checkpoint": None
            if checkpoint is None
            else {
                "source": checkpoint.source.value,
                "server": checkpoint.server,
                "at": stamp(checkpoint.at) if checkpoint.at else None,
            },
            "lag_seconds": _lag_seconds(oldest, now, has_seen=checkpoint is not None),
            "brake": {
                "sets": [
                    {"hash": one.hash, "kind": one.kind, "count": one.wanted, "limit": one.limit_text}
                    for one in held_sets
                ]
            }
            if held_sets
            else None,
            "next_retry": stamp(next_due) if next_due else None,
            "lag": lag_of(newest),
            "mails_waiting": await journal.alerts.unsent_mails(),
            "dirty": await journal.count_dirty(),
        }


def _lag_seconds(oldest: Sequence[datetime], now: datetime, *, has_seen: bool) -> float | None:
    """None before anything was seen: no lag would be a claim."""
    if oldest:
        return max(0.0, (now - min(oldest)).total_seconds())
    return 0.0 if has_seen else None

"""What `watch` tells its monitors: read from the engine and the journal."""

from __future__ import annotations

from datetime import datetime, timedelta

from pipeline.app.canary import Canary
from pipeline.app.compose import Assembly
from pipeline.app.overview import status_of
from pipeline.errors import JournalError
from pipeline.model import Json
from stages.service.health import Reading
from state.journal import Journal


def present_of(
    assembly: Assembly,
    *,
    poll_seconds: float,
    canary: Canary | None = None,
    is_canary_overdue: bool = False,
) -> Reading:
    """What the engine knows without the journal. Ready: directory, Dropbox and journal all fine within the last two polls."""
    engine = assembly.engine
    troubles = list(engine.troubles())
    limit = timedelta(seconds=max(2 * poll_seconds, 10))
    if engine.last_poll_at is None or assembly.parts.clock.now() - engine.last_poll_at > limit:
        since = engine.last_poll_at.isoformat() if engine.last_poll_at else "the start"
        troubles.append(f"the directory was not read since {since}")
    values: dict[tuple[str, str], float] = {}
    if engine.seats is not None:
        values["seats", ""], values["seats_free", ""] = engine.seats
    if canary is not None:
        values["canary_overdue", ""] = is_canary_overdue
        if canary.arrived_at is not None:
            values["canary_arrival_timestamp_seconds", ""] = canary.arrived_at.timestamp()
    return Reading(troubles=tuple(troubles), values=values)


async def reading_of(assembly: Assembly, journal: Journal, present: Reading) -> Reading:
    """`present`, and how things stand in the journal."""
    try:
        status = await status_of(journal, assembly.parts.clock.now())
    except JournalError as error:
        return Reading(troubles=(*present.troubles, str(error)))
    values = _values(status, assembly, assembly.engine.last_poll_at)
    return Reading(troubles=present.troubles, values={**values, **present.values})


def _values(status: Json, assembly: Assembly, last_poll: datetime | None) -> dict[tuple[str, str], float]:
    pace = assembly.parts.team.pace()
    values: dict[tuple[str, str], float] = {
        ("managed_members", ""): status["managed"],
        ("held_actions", ""): status["pending"]["held"],
        ("held_sets", ""): len(status["brake"]["sets"]) if status["brake"] else 0,
        ("mails_waiting", ""): status["mails_waiting"],
        ("requests_per_second", ""): pace.get("requests_per_second", 0.0),
        ("requests_sent", ""): pace.get("sent", 0.0),
        ("requests_refused", ""): pace.get("refused", 0.0),
    }
    if status["lag_seconds"] is not None:
        values["lag_seconds", ""] = status["lag_seconds"]
    values.update({("pending_actions", state): number for state, number in status["pending"].items()})
    values.update({("members", name): number for name, number in status["by_status"].items()})
    last = status["last_pass"]
    if last is not None:
        values["last_pass_exit_code", ""] = last["exit_code"]
        values["last_pass_timestamp_seconds", ""] = datetime.fromisoformat(last["ended"]).timestamp()
    if last_poll is not None:
        values["last_poll_timestamp_seconds", ""] = last_poll.timestamp()
    return values

"""What holds for everybody at the moment, as the journal knows it: what may keep any decision from being carried out."""

from __future__ import annotations

from pipeline.app.overview import end_of
from pipeline.core.exits import ExitCode
from pipeline.core.obstacles import Circumstances, Obstacle
from stages.groups.planner import SYNC_GROUP_FAULT
from state.journal import Journal


async def circumstances_of(
    journal: Journal, *, simulation: Obstacle | None = None, is_rehearsal: bool = False
) -> Circumstances:
    """`simulation`, `is_rehearsal`: as `Circumstances` has them. The rest is read."""
    async with journal.reading():
        last = await journal.last_pass()
        cause, remedy = await end_of(journal, last) if last is not None else ("", "")
        held = await journal.outbox.standing_held_sets()
        faults = await journal.notes_of([SYNC_GROUP_FAULT])
    return Circumstances(
        simulation=simulation,
        is_rehearsal=is_rehearsal,
        pass_id=last.id if last is not None else 0,
        code=ExitCode(last.exit_code or 0) if last is not None else ExitCode.OK,
        cause=cause,
        remedy=remedy,
        held=tuple(held),
        group_fault="; ".join(note.detail for note in faults),
    )

"""The end of a pass: its exit code, its alerts, its row in the journal, and its last line in the log."""

from __future__ import annotations

import anyio

from pipeline.app.pace_memory import remember_pace
from pipeline.app.parts import Parts
from pipeline.app.report import PassState, PassSummary, Standing, alerts_of, exit_code, judged_kinds
from pipeline.core.exits import remedy_of
from pipeline.core.namesake import HELD_KIND
from pipeline.core.plan import NoteKind
from pipeline.journal_port import Journal
from pipeline.log import Event, exit_line, in_pass, logger
from pipeline.model import State, WaitFor

MAIL_PATIENCE_SECONDS = 60.0


async def end_pass(parts: Parts, state: PassState, *, simulated: bool, watching: bool) -> PassSummary:
    """Writes the end of a pass and tells it. A watch sends its mail beside its passes, a single pass now."""
    journal, now = parts.journal, parts.clock.now()
    standing = await _standing(journal, watching=watching)
    code = exit_code(state, standing)
    alerts = alerts_of(state, standing, code)
    async with journal.transaction():
        if not simulated:
            await remember_pace(journal, parts.team.pace(), now)
        await journal.forget_notes((NoteKind.CONSOLE_SUSPENSION, NoteKind.GROUP_KEPT))
        await journal.end_pass(state.id, now, int(code), state.apply.done, full=state.full)
        row = {
            "kind": "pass",
            "state": str(int(code)),
            "pass_id": state.id,
            "detail": {"actions": state.apply.done},
        }
        await journal.append([row], now)
    with in_pass(state.id):
        if not simulated:
            await parts.notifier.judge(alerts, judged=judged_kinds(state), simulated=False)
            if not watching:
                with anyio.move_on_after(MAIL_PATIENCE_SECONDS):
                    await parts.notifier.send_due(all_waiting=True)
        if code:
            remedy = remedy_of(code, state.ended_by.hint if state.ended_by else "")
            logger().warning(Event.FAULT, exit_code=int(code), reason=code.reason, remedy=remedy)
        exit_line(int(code))
    return PassSummary(
        id=state.id,
        code=code,
        actions=dict(state.apply.done),
        plan=state.plan,
        held=(*state.plan.held, *state.groups.held),
        ended_by=state.ended_by,
        alerts=alerts,
        standing=standing,
        started=state.started,
        ended=now,
        full=state.full,
    )


async def _standing(journal: Journal, *, watching: bool) -> Standing:
    async with journal.reading():
        outbox = journal.outbox
        held = await outbox.in_state(State.HELD)
        return Standing(
            failed=await outbox.in_state(State.FAILED),
            stuck=[] if watching else await outbox.in_state(State.RETRY),
            held=held,
            no_seat=await outbox.in_state(State.WAITING, wait=WaitFor.SEAT),
            notes=await journal.notes(),
            claims=[one for one in await outbox.claims() if one.approved_at is None],
            held_sets=[one for one in await outbox.standing_held_sets() if one.kind != HELD_KIND]
            if held
            else [],
        )

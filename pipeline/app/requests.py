"""What other commands may ask of the process that owns the journal."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from pipeline.app.compose import Assembly
from pipeline.app.reversal import plan_undo, write_undo
from pipeline.app.selected import outcome_of_rows, parse_plan, select_person, select_rows
from pipeline.core.namesake import HELD_KIND
from pipeline.errors import ControlError, WrongArgument
from pipeline.log import Event, logger
from pipeline.model import Json
from stages.people.planner import Selection
from state import upkeep
from state.journal import Journal


async def approve(journal: Journal, prefix: str, now: datetime) -> Json:
    """Releases exactly the held set with this hash, as far as each of it is still held. WrongArgument."""
    if len(prefix) < 6:
        raise WrongArgument(
            "approve a held set",
            "the hash is too short",
            "copy the whole hash from the alert, `plan` or `status`",
        )
    async with journal.transaction():
        found = await journal.outbox.held_set(prefix)
        if len(found) != 1:
            cause = (
                "nothing held has this hash: it is wanted no more, or was never shown"
                if not found
                else "several held sets begin like this"
            )
            raise WrongArgument(
                "approve a held set", cause, "copy the whole hash from the alert, `plan` or `status`"
            )
        held = found[0]
        count, shown = await journal.outbox.approve(held, now), len(held.items)
        if held.kind == HELD_KIND:
            # One account and two persons; whether what was shown still holds is for the next decision to say.
            count = shown = 1
            await journal.mark_dirty(sorted(guid for guid, _ in held.items), "retry", now)
        detail = {"hash": held.hash, "released": count, "shown": shown}
        await journal.append(
            [{"kind": "action", "state": "approved", "cause": f"approve {held.hash}", "detail": detail}],
            now,
        )
    logger().info(Event.HELD_SET_APPROVED, **detail)
    return {**detail, "what": held.limit_text if held.kind == HELD_KIND else ""}


async def retry(journal: Journal, person: str, now: datetime, *, failed: bool) -> Json:
    """Makes what waits for another try due now: of one person (GUID), or of everybody."""
    async with journal.transaction():
        count = await journal.outbox.wake_retries(now, guids=[person] if person else None, failed=failed)
        if person:
            await journal.mark_dirty([person], "retry", now)
    return {"due": count}


class Requests:
    """The owner's end of the control channel."""

    def __init__(self, assembly: Assembly, journal: Journal) -> None:
        self._assembly = assembly
        self._journal = journal

    async def answer(self, request: Json) -> Json:
        assembly = self._assembly
        now = assembly.parts.clock.now()
        match request:
            case {"command": "approve", "hash": str(prefix)}:
                reply = await approve(self._journal, prefix, now)
            case {"command": "retry"}:
                reply = await retry(
                    self._journal,
                    str(request.get("guid", "")),
                    now,
                    failed=bool(request.get("failed")),
                )
            case {"command": "undo", "pass": int(number)}:
                planned = await plan_undo(self._journal, number, now)
                reply = await write_undo(self._journal, planned, number, now)
            case {"command": "mark", "guids": list(guids)}:
                async with self._journal.transaction():
                    await self._journal.mark_dirty([str(guid) for guid in guids], "retry", now)
                reply = {"marked": len(guids)}
            case {"command": "only", "person": str(person)}:
                return await self._only(person, now)
            case {"command": "apply", "plan": str(document)}:
                return await self._apply(document, now)
            case {"command": "compact", "before": str(before)}:
                return dict(await upkeep.compact(self._journal, datetime.fromisoformat(before)))
            case {"command": "full"}:
                assembly.engine.want_full()
                return {"accepted": True}
            case {"command": "pace"}:
                return {"pace": dict(assembly.parts.team.pace())}
            case _:
                raise ControlError(
                    "answer a request", "unknown command", "use the same version of the program on both ends"
                )
        assembly.engine.nudge()
        return reply

    async def _only(self, person: str, now: datetime) -> Json:
        """The running watch sends what is due anyway: the person is looked at now, and the answer waits for it."""
        selection = await select_person(self._journal, person)
        await self._look_at(selection, now)
        guid = next(iter(selection.guids))
        async with self._journal.reading():
            standing = (await self._journal.outbox.open_of([guid])).get(guid, [])
        return {
            "guid": guid,
            "state": ", ".join(f"{one.kind.value} {one.state.value}" for one in standing)
            or "as it should be",
        }

    async def _apply(self, document: str, now: datetime) -> Json:
        rows = parse_plan(document, "the plan")
        await self._look_at(select_rows(rows), now, {row.guid for row in rows if row.group_contents})
        return await outcome_of_rows(self._journal, rows, now)

    async def _look_at(
        self, selection: Selection, now: datetime, groups: Collection[str] = frozenset()
    ) -> None:
        async with self._journal.transaction():
            await self._journal.mark_dirty(sorted({*selection.guids, *groups}), "timer", now)
        self._assembly.engine.nudge()
        await self._assembly.engine.quiet()

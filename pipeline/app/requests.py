"""What other commands may ask of the process that owns the journal."""

from __future__ import annotations

from datetime import datetime

from pipeline.app.compose import Assembly
from pipeline.errors import ControlError
from pipeline.journal_port import Journal
from pipeline.log import Event, logger
from pipeline.model import Json


async def approve(journal: Journal, prefix: str, now: datetime) -> Json:
    """Releases exactly the held set with this hash, as far as each of it is still held. ControlError."""
    if len(prefix) < 6:
        raise ControlError(
            "approve a held set",
            "the hash is too short",
            "copy the whole hash from the alert, `plan` or `status`",
        )
    async with journal.transaction():
        found = await journal.outbox.held_set(prefix)
        if len(found) != 1:
            cause = "no held set has this hash" if not found else "several held sets begin like this"
            raise ControlError(
                "approve a held set", cause, "copy the whole hash from the alert, `plan` or `status`"
            )
        count = await journal.outbox.approve(found[0], now)
        detail = {"hash": found[0].hash, "released": count, "shown": len(found[0].items)}
        await journal.append(
            [{"kind": "action", "state": "approved", "cause": f"approve {found[0].hash}", "detail": detail}],
            now,
        )
    logger().info(Event.HELD_SET_APPROVED, **detail)
    return detail


async def retry(journal: Journal, person: str, now: datetime, *, failed: bool) -> Json:
    """Makes what waits for another try due now: of one person (GUID), or of everybody."""
    async with journal.transaction():
        count = await journal.outbox.wake_retries(now, guids=[person] if person else None, failed=failed)
        if person:
            await journal.mark_dirty([person], "retry", now)
    return {"due": count}


class Requests:
    """The owner's end of the control channel."""

    def __init__(self, assembly: Assembly) -> None:
        self._assembly = assembly

    async def answer(self, request: Json) -> Json:
        assembly = self._assembly
        now = assembly.parts.clock.now()
        match request:
            case {"command": "approve", "hash": str(prefix)}:
                reply = await approve(assembly.parts.journal, prefix, now)
            case {"command": "retry"}:
                reply = await retry(
                    assembly.parts.journal,
                    str(request.get("guid", "")),
                    now,
                    failed=bool(request.get("failed")),
                )
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

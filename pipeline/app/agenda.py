"""What there is to do: what the journal says is due, and how long a single pass waits for it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from pipeline.app.parts import EngineOptions, Parts
from pipeline.app.report import PassState
from pipeline.core.plan import NoteKind
from pipeline.errors import ScopeEmpty
from pipeline.model import FREES_SEAT, State, WaitFor
from pipeline.progress import Phase, tell
from pipeline.records import Node

RETRY_PATIENCE_SECONDS = 30.0
"""So long a single pass waits for its own retries; later ones are left to the next pass."""
COMPARED_LONG_AGO = "compared long ago"
JOINED_CHECK_SECONDS = 900.0
"""watch: how often those who wait for an invitation to be accepted are read, beside the event log."""


class Agenda:
    def __init__(self, parts: Parts, options: EngineOptions) -> None:
        self._parts = parts
        self._journal = parts.journal
        self._clock = parts.clock
        self._options = options
        self.joined_checked_at: datetime | None = None
        self.read_fully_at: datetime | None = None

    async def pause(self, state: PassState) -> float | None:
        """How long to wait for what this same pass still wants to finish: leavers that settle, and near retries."""
        now = self._clock.now()
        async with self._journal.reading():
            unconfirmed = [
                node for node in await self._journal.mirror.unconfirmed() if node.entry.kind == "user"
            ]
            settling = await self._journal.outbox.in_state(State.WAITING, wait=WaitFor.SETTLING)
            retries = await self._journal.outbox.in_state(State.RETRY)
            notes = await self._journal.notes()
        waiting = {action.guid for action in settling}
        # Somebody's account that a namesake claims is offered once the leaving has held.
        waiting |= {note.guid for note in notes if note.kind is NoteKind.NAMESAKE}
        if self._parts.poller.is_blocked:
            unconfirmed = [node for node in unconfirmed if node.left_how != "absent"]
        moments = [self._settled_at(node) for node in unconfirmed if node.guid in waiting]
        patience = state.started + timedelta(seconds=RETRY_PATIENCE_SECONDS) + self._options.settle
        moments += [action.due for action in retries if action.due is not None and action.due <= patience]
        if not moments:
            return None
        tell(Phase.WAITING)
        return max(0.0, (max(moments) - now).total_seconds() + 0.001)

    def _settled_at(self, node: Node) -> datetime:
        assert node.left_at is not None
        return node.left_at + self._options.settle

    async def require_scope(self) -> None:
        """Nobody in scope is an error, never "everybody left" (behaviour.md §8)."""
        async with self._journal.reading():
            if await self._parts.planner.has_scope(self._parts.poller.nesting):
                return
            is_empty = not await self._journal.mirror.has_listed()
            is_mute = not await self._journal.mirror.addressed("", 1)
        if is_empty:
            raise ScopeEmpty("read the sync group", "nobody is in it, through any nesting")
        if is_mute:
            raise ScopeEmpty(
                "read the sync group",
                "none of its people has an e-mail",
                "check users.email_attribute; nobody was touched",
            )
        raise ScopeEmpty(
            "read the sync group",
            "all of its people with an e-mail are excluded",
            "check users.exclude_emails and users.exclude_group; nobody was touched",
        )

    async def give_seats(self, state: PassState) -> None:
        """Inside a transaction. Who waits for a seat comes before who wants one only now, also for seats that this pass frees."""
        free, state.free_seats = state.free_seats, 0
        outbox = self._journal.outbox
        freed = await outbox.count_unreleased(FREES_SEAT)
        if free + freed:
            await outbox.give_seats(free + freed)

    async def has_work(self, is_between_passes: Callable[[], bool]) -> bool:
        """watch: whether a look that saw no change has something to do all the same."""
        now = self._clock.now()
        outbox = self._journal.outbox
        async with self._journal.transaction():
            await self._journal.ring_timers(now)
            woken = await outbox.wake_retries(now)
            dirty = await self._journal.count_dirty()
            due = await self.is_comparison_due(now)
            fresh = [one for one in await outbox.unreleased() if one.state is State.PLANNED or one.approved]
            ready = await outbox.claimable(1) or await self._parts.groups.has_work()
            # Before a pass is ready nothing is on its way: whatever is `sending` was left so.
            left = is_between_passes() and await outbox.in_state(State.SENDING)
            patient = await outbox.in_state(State.WAITING)
        # What an event of the team ends (joined, a seat) is looked at now and then: the event log is only a hint.
        events = any(action.wait in (WaitFor.JOINED, WaitFor.SEAT) for action in patient)
        last = self.joined_checked_at
        overdue = last is None or (now - last).total_seconds() >= JOINED_CHECK_SECONDS
        return bool(woken or dirty or due or fresh or ready or left or (events and overdue))

    async def is_comparison_due(self, now: datetime) -> bool:
        return bool(await self.why_comparing(now))

    async def is_full_read_due(self, now: datetime) -> bool:
        """Whether the comparison that is due has to see the directory afresh, too.

        No event tells of people whom the account may read no more, and who leave then; nor a blind account of a deletion.
        Once is enough, however long Dropbox keeps the comparison waiting.
        """
        if self.read_fully_at is not None and now - self.read_fully_at < self._options.compare_every:
            return False
        why = await self.why_comparing(now)
        return why == COMPARED_LONG_AGO or (bool(why) and self._parts.poller.is_blind)

    async def why_comparing(self, now: datetime) -> str:
        """Why a full comparison is due by itself; "" when none is."""
        text = await self._journal.get("compared_at")
        if text is None:
            return "never compared"
        if await self._journal.get("rules") != self._parts.planner.rules:
            return "other settings"  # an exclusion, say, wins over what was already planned
        is_old = now - datetime.fromisoformat(text) >= self._options.compare_every
        return COMPARED_LONG_AGO if is_old else ""

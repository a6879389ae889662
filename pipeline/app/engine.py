"""The pipeline: one task a stage, woken through streams of capacity one, on one task group.

    poll ──▶ plan ──▶ apply ──▶ (plan again, where somebody has to be looked at again)

`run` is one pass: it wakes the poller and ends when everything is quiet. `watch` is the same stages with a
ticker for wake-ups: a pass begins when a look found something, and ends when it is quiet again.
"""

from __future__ import annotations

import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from functools import partial

import anyio
import anyio.abc

from pipeline.app.agenda import Agenda
from pipeline.app.ending import end_pass
from pipeline.app.news import log_group_news, log_held, log_news, log_start, log_stuck
from pipeline.app.parts import EngineOptions, Parts
from pipeline.app.report import PassState, PassSummary
from pipeline.app.trouble import Trouble
from pipeline.app.wakeup import Load, Wakeup
from pipeline.errors import ConnectorError, DirectoryError, ScopeEmpty, SyncError, TeamInfoError
from pipeline.log import Event, in_pass, logger
from pipeline.model import State, WaitFor
from stages.people.planner import Selection

Select = Callable[[], Awaitable[Selection]]


class Engine:
    def __init__(self, parts: Parts, options: EngineOptions) -> None:
        self._parts = parts
        self._journal = parts.journal
        self._clock = parts.clock
        self._options = options
        self._agenda = Agenda(parts, options)
        self._load = Load()
        self._poll = Wakeup(self._load)
        self._plan = Wakeup(self._load)
        self._apply = Wakeup(self._load)
        self._pass: PassState | None = None
        self._pass_lock = anyio.Lock(fast_acquire=True)
        self._watching = False
        self._directory_trouble = Trouble()
        self._team_trouble = Trouble()
        self._full_wanted = False
        self._select: Select | None = None
        self.last_summary: PassSummary | None = None
        self.last_poll_at: datetime | None = None
        self.seats: tuple[int, int] | None = None  # all, free

    def close(self) -> None:
        """Lets go of the streams; nothing runs any more."""
        for wakeups in (self._poll, self._plan, self._apply):
            wakeups.close()

    # --- one pass

    async def run(self, *, full: bool = False, select: Select | None = None) -> PassSummary:
        """One pass from directory to Dropbox. Errors end the pass and stand in the summary; they don't raise.

        `select` says after the directory was read which persons it is about.
        """
        self._select = select
        self._full_wanted = full
        async with self._stages():
            state = await self._open_pass(full=full)
            self._poll.poke()
            await self._load.wait_idle()
            while state.ended_by is None and (pause := await self._agenda.pause(state)) is not None:
                await self._clock.sleep(pause)
                self._poll.poke()
                await self._load.wait_idle()
            summary = await self._close_pass()
        assert summary is not None
        return summary

    # --- without end

    async def watch(
        self,
        *,
        poll_seconds: float,
        wait_for_change: Callable[[float], Awaitable[bool]],
        on_ready: Callable[[], Awaitable[None]],
        stop: anyio.Event,
        drain_seconds: float = 30.0,
    ) -> None:
        """Passes until `stop` is set; then what is under way is finished, within `drain_seconds`."""
        self._watching = True
        async with self._stages() as tasks:
            await self._open_pass(full=False)
            self._poll.poke()
            async with anyio.create_task_group() as tickers:
                tickers.start_soon(self._begin_ticking, tickers, poll_seconds, wait_for_change, on_ready)
                await stop.wait()  # also during the first pass, which may be a long one
                tickers.cancel_scope.cancel()
            logger().info(Event.DRAINING, seconds=drain_seconds)
            with anyio.move_on_after(drain_seconds):
                await self._load.wait_idle()
            await self._close_pass()
            tasks.cancel_scope.cancel()

    async def _begin_ticking(
        self,
        tickers: anyio.abc.TaskGroup,
        poll_seconds: float,
        wait_for_change: Callable[[float], Awaitable[bool]],
        on_ready: Callable[[], Awaitable[None]],
    ) -> None:
        tickers.start_soon(self._deliver)  # a first pass that is stuck must not keep the mail about it
        await self._load.wait_idle()
        await on_ready()
        tickers.start_soon(self._tick, poll_seconds, wait_for_change)
        if self._options.drift_seconds:
            tickers.start_soon(self._watch_drift)

    async def _tick(self, poll_seconds: float, wait_for_change: Callable[[float], Awaitable[bool]]) -> None:
        while True:
            try:
                await wait_for_change(poll_seconds)
            except ConnectorError:
                # The poll that follows meets the same trouble and tells it.
                await self._clock.sleep(poll_seconds)
            self._poll.poke()

    async def _deliver(self) -> None:
        while True:
            await self._parts.notifier.send_due()
            await self._clock.sleep(1.0)

    async def _watch_drift(self) -> None:
        """What admins do in the console is looked at within this time."""
        troubled = False
        while True:
            marked = await self._look_for_drift(humans_only=False, is_known=troubled)
            troubled = marked is None
            if marked:
                self._poll.poke()
            await self._clock.sleep(self._options.drift_seconds)

    async def _look_for_drift(self, *, humans_only: bool, is_known: bool = False) -> int | None:
        """How many were marked. Trouble with the log stops nothing else: None; told unless it `is_known`."""
        try:
            marked = await self._parts.drift.look(humans_only=humans_only)
        except ConnectorError as error:
            if not is_known:
                logger().warning(Event.FAULT, operation=error.operation, cause=error.cause, hint=error.hint)
            return None
        if marked:
            logger().info(Event.DRIFT_SEEN, people=marked)
        return marked

    def nudge(self) -> None:
        """Somebody changed the outbox (approve, retry): look at it."""
        self._poll.poke()

    def troubles(self) -> tuple[str, ...]:
        """What stands in the way at the moment, for monitors."""
        return tuple(one.words for one in (self._directory_trouble, self._team_trouble) if one.words)

    async def quiet(self) -> None:
        """Returns once everything that was asked for has been looked at."""
        await self._load.wait_idle()

    def want_full(self) -> None:
        self._full_wanted = True
        self._poll.poke()

    # --- stages

    @asynccontextmanager
    async def _stages(self) -> AsyncIterator[anyio.abc.TaskGroup]:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._stage, self._poll, self._poll_step)
            tasks.start_soon(self._stage, self._plan, self._plan_step)
            tasks.start_soon(self._stage, self._apply, self._apply_step)
            yield tasks
            tasks.cancel_scope.cancel()

    async def _stage(self, wakeups: Wakeup, step: Callable[[], Awaitable[None]]) -> None:
        async for _ in wakeups:
            state = self._pass
            try:
                with in_pass(state.id if state else 0):
                    await step()
            except ConnectorError as error:
                await self._end(error)
                if isinstance(error, ScopeEmpty):
                    self._apply.poke()  # as when the directory is down: what was due and harms nobody
            except Exception as error:  # noqa: BLE001 - a fault of ours ends the pass with -17, never the process
                logger().error(Event.FAULT, error="".join(traceback.format_exception(error)))
                await self._end(
                    SyncError(
                        "run the pipeline", f"{type(error).__name__}: {error}", "report this with the log"
                    )
                )
            if self._watching and self._load.is_last:
                await self._close_pass()

    async def _poll_step(self) -> None:
        now = self._clock.now()
        if self._watching and self._directory_trouble.is_resting(now):
            return
        is_first = self._pass is None or not self._pass.has_polled
        full = self._full_wanted and is_first
        if is_first and not full:
            async with self._journal.reading():
                full = await self._agenda.is_full_read_due(now)
        try:
            result = await self._parts.poller.poll(full=full)
        except ConnectorError as error:
            if self._is_news(self._directory_trouble, error):
                await self._end(error)
            # What was due already and harms nobody is still sent (behaviour.md §5).
            self._apply.poke()
            return
        self.last_poll_at = self._clock.now()
        if result.full:
            self._agenda.read_fully_at = now
        recovered = self._directory_trouble.end()
        if result.changes or result.full or recovered or await self._has_work():
            state = await self._open_pass(full=self._full_wanted)
            state.has_polled = True
            state.full = state.full or result.full
            event = Event.FULL_READ if result.full else Event.CHANGES_READ
            with in_pass(state.id):
                logger().info(event, changes=result.changes)
            async with self._journal.transaction():
                if set(result.notes) != await self._journal.notes_of([""]):
                    await self._journal.set_notes([""], result.notes)
            await self._agenda.require_scope()
            self._plan.poke()

    async def _has_work(self) -> bool:
        """Whether a look that saw no change has something to do all the same."""
        if self._team_trouble.is_resting(self._clock.now()):
            return False
        if not self._watching:
            return True
        return await self._agenda.has_work(lambda: not (self._pass and self._pass.is_ready))

    async def _plan_step(self) -> None:
        state = self._pass
        if state is None or state.ended_by is not None:
            return
        parts = self._parts
        if not state.is_ready:
            await self._get_ready(state)
        now = self._clock.now()
        async with self._journal.reading():
            due = await self._agenda.is_comparison_due(now)
        compares = (due or self._full_wanted or state.compare_wanted) and not state.has_compared
        if compares:
            compare, poller = parts.reconciler.compare, parts.poller
            count = await compare(poller.know_departed, parts.planner.in_question, poller.nesting)
            state.has_compared = state.full = True
            self._full_wanted = False
            logger().info(Event.FULL_COMPARISON, members=count)
        async with self._journal.transaction():
            await self._journal.ring_timers(now)
            await self._journal.outbox.wake_retries(now)
        if self._select is not None and state.selection is None:
            state.selection = await self._select()
            async with self._journal.transaction():
                await self._journal.mark_dirty(sorted(state.selection.guids), "timer", now)
        selection = state.selection
        await parts.planner.plan(
            state.id,
            parts.poller.nesting,
            state.plan,
            fresh=compares,
            give_seats=partial(self._agenda.give_seats, state),
            selection=selection,
        )
        log_news(state.plan)
        log_held(state.plan.held, state.told_held)
        log_stuck(state.plan)
        state.has_planned = True
        if compares and selection is None:
            async with self._journal.transaction():
                await self._journal.put("rules", parts.planner.rules)
        self._team_trouble.end()
        self._apply.poke()

    async def _get_ready(self, state: PassState) -> None:
        """Once a pass: is the team there, what is left from before, who waits for something that may have come."""
        parts = self._parts
        info = await parts.team.team_info()
        state.seats, state.free_seats = info.seats, info.free_seats
        self.seats = info.seats, info.free_seats
        if not parts.applier.protected_member_id:
            try:
                parts.applier.protected_member_id = (await parts.team.acting_admin()).member_id
            except TeamInfoError:
                # A token of an app without a recorded admin: Dropbox itself then guards the last admin.
                logger().warning(
                    Event.FAULT, error="the authorising admin can't be told; `check dropbox` says why"
                )
        parts.applier.begin_pass()
        parts.groups.begin_pass()
        await parts.applier.recover(state.apply)
        if not self._watching and self._select is None and self._options.drift_seconds:
            await self._look_for_drift(humans_only=True)
        now = self._clock.now()
        async with self._journal.transaction():
            waiting = await self._journal.outbox.in_state(State.WAITING, wait=WaitFor.JOINED)
            await self._journal.mark_dirty([action.guid for action in waiting], "timer", now)
        self._agenda.joined_checked_at = now
        state.is_ready = True

    async def _apply_step(self) -> None:
        state = self._pass
        if state is None:
            return
        ended = state.ended_by is not None
        if ended and not isinstance(state.ended_by, DirectoryError | ScopeEmpty):
            return
        if ended:
            async with self._journal.reading():
                if await self._journal.get("rules") != self._parts.planner.rules:
                    return  # nothing was decided under the present settings yet
            async with self._journal.transaction():
                await self._journal.outbox.wake_retries(self._clock.now())
                await self._parts.planner.release(state.plan, state.selection)
        report = state.apply
        report.again = report.compare = False
        only = state.selection.guids if state.selection else None
        await self._parts.applier.apply(report, harmless_only=ended, only=only)
        if (report.again or state.plan.deferred) and not ended:
            state.compare_wanted = state.compare_wanted or report.compare
            self._plan.poke()
        elif not ended:
            await self._sync_groups(state)

    async def _sync_groups(self, state: PassState) -> None:
        """Groups come when the persons are through: nobody is put into one before they are on the team."""
        parts = self._parts
        again = await parts.groups.sync(
            state.id,
            parts.poller.nesting,
            state.take_touched(),
            state.groups,
            state.apply.done,
            fault=parts.poller.group_fault,
            has_compared=state.has_compared,
            seen_at=self.last_poll_at,
            selection=state.selection.groups if state.selection else None,
        )
        log_group_news(state.groups)
        log_held(state.groups.held, state.told_held)
        if again:
            async with self._journal.transaction():
                await self._journal.mark_dirty(sorted(again), "action", self._clock.now())
            self._plan.poke()

    def _is_news(self, trouble: Trouble, error: ConnectorError) -> bool:
        return not self._watching or trouble.is_news(error, self._clock.now())

    # --- passes

    async def _open_pass(self, *, full: bool) -> PassState:
        async with self._pass_lock:
            if self._pass is None:
                now, simulated = self._clock.now(), self._options.simulated
                async with self._journal.transaction():
                    identity = await self._journal.begin_pass(
                        now, simulated=simulated, full=full, at_once=not self._watching
                    )
                    why = "asked for" if full else await self._agenda.why_comparing(now)
                self._pass = PassState(id=identity, started=now, full=bool(why))
                log_start(identity, simulated=simulated, why_full=why)
            return self._pass

    async def _end(self, error: ConnectorError) -> None:
        state = await self._open_pass(full=False)
        if state.ended_by is None:
            state.end_by(error)
            with in_pass(state.id):
                logger().error(Event.FAULT, operation=error.operation, cause=error.cause, hint=error.hint)
        if self._watching and not isinstance(error, DirectoryError):
            self._is_news(self._team_trouble, error)

    async def _close_pass(self) -> PassSummary | None:
        async with self._pass_lock:
            state, self._pass = self._pass, None
            if state is None:
                return None
            self._parts.groups.put_off(state.take_touched())
            self.last_summary = await end_pass(
                self._parts, state, simulated=self._options.simulated, watching=self._watching
            )
            return self.last_summary

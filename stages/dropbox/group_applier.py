"""The group applier: sends released writes about groups, and settles each by what became of it.

First the groups themselves, wave by wave (what frees a name before what takes it), then who is in them, a group and
kind in one request. Every row is `sending` on disk before its request leaves. A write that was asked for twice is
refused or changes nothing, so a lost reply is read back and what is not there is simply sent again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

import anyio

from pipeline.core.group_values import GroupContent, GroupSelection
from pipeline.errors import ConnectorError, GroupGone, SyncError
from pipeline.journal_port import Journal
from pipeline.model import (
    GROUP_KINDS,
    MEMBERSHIP_KINDS,
    Action,
    ActionKind,
    Outcome,
    State,
    TeamGroup,
    Verdict,
)
from pipeline.ports import Clock, Team
from pipeline.progress import Phase, tell
from pipeline.records import GroupLink, Settlement
from stages.dropbox.settling import FIRST_DELAY_SECONDS, LONGEST_DELAY_SECONDS, STALE_LIMIT, ActionLog

SHOWN = 3
"""How many persons a line of the log names; the journal has a line for each."""

Unit = list[Action]
"""What one request carries: one row about a group itself, or all rows of one kind about its members."""


@dataclass(slots=True)
class GroupApplyReport:
    """`done` counts, by kind, the groups; `again`: something was not as the plan thought, decide again."""

    done: dict[ActionKind, set[str]] = field(default_factory=dict)
    again: bool = False
    stale: set[str] = field(default_factory=set)  # members who are not what the journal thinks


class GroupApplier:
    """`jitter` spreads retries: a number in [0, 1)."""

    def __init__(
        self,
        team: Team,
        journal: Journal,
        clock: Clock,
        *,
        workers: int,
        jitter: Callable[[], float],
        log: ActionLog,
    ) -> None:
        self._team = team
        self._journal = journal
        self._clock = clock
        self._workers = workers
        self._jitter = jitter
        self._log = log
        self._stale: dict[tuple[str, str, ActionKind], int] = {}

    def begin_pass(self) -> None:
        self._stale.clear()

    async def recover(self, report: GroupApplyReport) -> None:
        """Settles what an earlier process left in `sending`. TeamReadError leaves it there for the next time."""
        async with self._journal.reading():
            left = [
                replace(action, attempts=max(0, action.attempts - 1))
                for action in await self._journal.outbox.in_state(State.SENDING)
                if action.group_guid
            ]
        for unit in _units(left):
            await self._read_back(unit, report)

    async def apply(self, report: GroupApplyReport, selection: GroupSelection | None = None) -> None:
        """Sends until nothing is left that may be sent now; of what is selected, where something is."""
        while structure := await self._ready(GROUP_KINDS - MEMBERSHIP_KINDS, selection):
            first = structure[0].ordinal
            await self._all([[action] for action in structure if action.ordinal == first], report)
        for kind in (ActionKind.GROUP_REMOVE, ActionKind.GROUP_ADD):
            units = _units(await self._ready({kind}, selection))
            await self._all([unit for unit in units if unit[0].group_id], report)

    async def _ready(self, kinds: Collection[ActionKind], selection: GroupSelection | None) -> list[Action]:
        async with self._journal.reading():
            ready = await self._journal.groups.ready(kinds)
        return [one for one in ready if selection is None or selection.allows(GroupContent.of(one))]

    async def _all(self, units: Sequence[Unit], report: GroupApplyReport) -> None:
        """Side by side, a worker each. What ends the pass lets the others finish what they have under way."""
        waiting = list(reversed(units))
        ended_by: list[ConnectorError] = []

        async def work() -> None:
            while waiting and not ended_by:
                tell(Phase.GROUPS, len(units) - len(waiting), len(units))
                try:
                    await self._carry_out(waiting.pop(), report)
                except ConnectorError as error:
                    ended_by.append(error)

        async with anyio.create_task_group() as tasks:
            for _ in range(min(self._workers, len(units))):
                tasks.start_soon(work)
        if ended_by:
            raise ended_by[0]

    async def _carry_out(self, unit: Unit, report: GroupApplyReport) -> None:
        async with self._journal.transaction():
            await self._journal.outbox.mark_sending(unit, self._clock.now())
        outcomes = await self._request(unit)
        doubtful = [
            one for one, outcome in zip(unit, outcomes, strict=True) if outcome.verdict is Verdict.UNKNOWN
        ]
        known = [
            (one, outcome)
            for one, outcome in zip(unit, outcomes, strict=True)
            if outcome.verdict is not Verdict.UNKNOWN
        ]
        await self._settle(known, report)
        if doubtful:
            await self._read_back(doubtful, report)

    async def _request(self, unit: Unit) -> Sequence[Outcome]:
        action = unit[0]
        members = [one.member_id for one in unit]
        match action.kind:
            case ActionKind.GROUP_CREATE:
                return [await self._team.create_group(action.group_name, action.changes.external_id)]
            case ActionKind.GROUP_RENAME:
                return [
                    await self._team.rename_group(
                        action.group_id, name=action.group_name, external_id=action.changes.external_id
                    )
                ]
            case ActionKind.GROUP_DELETE:
                return [await self._team.delete_group(action.group_id)]
            case ActionKind.GROUP_ADD:
                return await self._team.add_to_group(action.group_id, members)
            case ActionKind.GROUP_REMOVE:
                return await self._team.remove_from_group(action.group_id, members)
            case _:
                raise SyncError("apply an action", f"{action.kind} is not about a group")

    # --- in doubt

    async def _read_back(self, unit: Unit, report: GroupApplyReport) -> None:
        """What the team shows decides; what is not there may leave again, at once for the first time."""
        outcomes = await self._seen(unit)
        settled = [(one, outcome) for one, outcome in outcomes if outcome.verdict is not Verdict.RETRY]
        missing = [one for one, outcome in outcomes if outcome.verdict is Verdict.RETRY]
        at_once = [one for one in missing if not one.attempts]
        now = self._clock.now()
        async with self._journal.transaction():
            await self._journal.outbox.settle_all(
                [
                    Settlement(
                        action=replace(one, state=State.SENDING),
                        state=State.PLANNED,
                        error="reply lost, no effect",
                    )
                    for one in at_once
                ],
                now,
            )
        later = Outcome(verdict=Verdict.RETRY, tag="reply_lost", hint="no effect is to be seen")
        await self._settle([*settled, *((one, later) for one in missing if one.attempts)], report)
        report.again = True

    async def _seen(self, unit: Unit) -> list[tuple[Action, Outcome]]:
        """DONE: the effect is there. RETRY: it is not. STALE: the group is gone."""
        action = unit[0]
        if action.kind in MEMBERSHIP_KINDS:
            present: set[str] = set()
            try:
                async for page in self._team.list_group_members(action.group_id):
                    present.update(page)
            except GroupGone:
                return [(one, Outcome(verdict=Verdict.STALE, tag="group_not_found")) for one in unit]
            is_add = action.kind is ActionKind.GROUP_ADD
            return [(one, _verdict((one.member_id in present) == is_add)) for one in unit]
        if action.kind is ActionKind.GROUP_CREATE:
            groups = await self._team.get_groups(external_ids=[action.changes.external_id])
            return [(action, _verdict(bool(groups), groups[0] if groups else None))]
        groups = await self._team.get_groups(group_ids=[action.group_id])
        if action.kind is ActionKind.GROUP_DELETE:
            return [(action, _verdict(not groups))]
        if not groups:
            return [(action, Outcome(verdict=Verdict.STALE, tag="group_not_found"))]
        found = groups[0]
        is_there = action.group_name in ("", found.name) and action.changes.external_id in (
            "",
            found.external_id,
        )
        return [(action, _verdict(is_there, found))]

    # --- settling

    async def _settle(self, settled: Sequence[tuple[Action, Outcome]], report: GroupApplyReport) -> None:
        if not settled:
            return
        now = self._clock.now()
        rows: list[dict[str, object]] = []
        moves: list[Settlement] = []
        by_outcome: dict[tuple[str, str], Unit] = {}
        async with self._journal.transaction():
            done = [
                (one, outcome)
                for one, outcome in settled
                if outcome.verdict in (Verdict.DONE, Verdict.ALREADY)
            ]
            await self._done(done)
            for one, outcome in settled:
                move, word, reason = self._move(one, outcome, report)
                moves.append(move)
                by_outcome.setdefault((word, reason), []).append(one)
                if move.state is not State.SUPERSEDED:
                    rows.append(_log_row(one, outcome, word))
                if move.state is State.DONE:
                    report.done.setdefault(one.kind, set()).add(one.group_guid)
            await self._journal.outbox.settle_all(moves, now)
            await self._abandon(moves)
            await self._journal.append(rows, now)
        self._log([(_shown(unit), word, reason) for (word, reason), unit in by_outcome.items()])

    def _move(
        self, action: Action, outcome: Outcome, report: GroupApplyReport
    ) -> tuple[Settlement, str, str]:
        """The next state, and the words for the log."""
        reason = ": ".join(part for part in (outcome.tag, outcome.hint) if part)
        sending = replace(action, state=State.SENDING)
        tag, hint = outcome.tag, outcome.hint
        match outcome.verdict:
            case Verdict.DONE | Verdict.ALREADY:
                return Settlement(action=sending, state=State.DONE, error=tag), "done", action.reason
            case Verdict.RETRY:
                delay = outcome.retry_after or self._delay_seconds(action.attempts + 1)
                due = self._clock.now() + timedelta(seconds=delay)
                move = Settlement(action=sending, state=State.RETRY, error=tag, hint=hint, due=due)
                return move, "retry", f"{reason}; again in {delay:.0f} s"
            case Verdict.STALE if self._count_stale(action) < STALE_LIMIT:
                report.again = True
                if action.kind in MEMBERSHIP_KINDS:
                    report.stale.add(action.guid)
                move = Settlement(action=sending, state=State.SUPERSEDED, error=tag, hint=hint)
                return move, "stale", f"decided again; {reason}"
            case _:
                move = Settlement(action=sending, state=State.FAILED, error=tag, hint=hint)
                return move, "failed", reason

    async def _done(self, done: Sequence[tuple[Action, Outcome]]) -> None:
        groups = self._journal.groups
        for action, outcome in done:
            if outcome.group is not None:
                await groups.save([outcome.group])
                if action.kind in MEMBERSHIP_KINDS:
                    break  # the same group for all of them
            match action.kind:
                case ActionKind.GROUP_CREATE:
                    if outcome.group is not None:
                        link = GroupLink(
                            guid=action.guid,
                            group_id=outcome.group.group_id,
                            how="created",
                            at=self._clock.now(),
                            name=action.group_name,
                        )
                        await groups.link(link)
                        await groups.set_group_id(action.guid, outcome.group.group_id)
                case ActionKind.GROUP_DELETE:
                    await groups.forget([action.group_id])
        for kind in MEMBERSHIP_KINDS:
            of_kind = [action for action, _ in done if action.kind is kind]
            if of_kind:
                ids = [action.member_id for action in of_kind]
                is_add = kind is ActionKind.GROUP_ADD
                await groups.change_members(
                    of_kind[0].group_id, added=ids if is_add else (), removed=() if is_add else ids
                )

    async def _abandon(self, moves: Sequence[Settlement]) -> None:
        """What was to follow for a group was decided for the case that its own write works."""
        for move in moves:
            action = move.action
            if action.kind in MEMBERSHIP_KINDS or move.state is State.DONE:
                if move.state is State.SUPERSEDED:
                    await self._journal.groups.doubt([action.group_id])
                continue
            if action.group_id:
                await self._journal.groups.doubt([action.group_id])
            if action.kind is ActionKind.GROUP_CREATE:
                waiting = [
                    one
                    for one in await self._journal.groups.open_actions([action.group_guid])
                    if one.kind is ActionKind.GROUP_ADD
                ]
                await self._journal.outbox.supersede(waiting, self._clock.now())

    def _count_stale(self, action: Action) -> int:
        key = (action.group_guid, action.guid, action.kind)
        self._stale[key] = self._stale.get(key, 0) + 1
        return self._stale[key] - 1

    def _delay_seconds(self, attempts: int) -> float:
        delay: float = min(LONGEST_DELAY_SECONDS, FIRST_DELAY_SECONDS * 2.0 ** min(attempts - 1, 12))
        return delay * (0.75 + 0.5 * self._jitter())


def _units(actions: Sequence[Action]) -> list[Unit]:
    """A group's rows of one kind together; a row about the group itself alone."""
    units: dict[tuple[str, ActionKind], Unit] = {}
    for action in actions:
        units.setdefault((action.group_guid, action.kind), []).append(action)
    return list(units.values())


def _verdict(is_there: bool, group: TeamGroup | None = None) -> Outcome:
    return Outcome(
        verdict=Verdict.DONE if is_there else Verdict.RETRY, group=group, tag="reply_lost", hint="read back"
    )


def _shown(unit: Unit) -> Action:
    """One line for all of them."""
    first = unit[0]
    if first.kind not in MEMBERSHIP_KINDS:
        return replace(first, email=f"group {first.group_name or first.email or first.guid}")
    names = ", ".join(one.email or one.guid for one in unit[:SHOWN])
    more = f" and {len(unit) - SHOWN} more" if len(unit) > SHOWN else ""
    return replace(first, email=f"group {first.group_name}: {names}{more}")


def _log_row(action: Action, outcome: Outcome, word: str) -> dict[str, object]:
    detail = {"reason": action.reason, "group": action.group_name, "group_guid": action.group_guid}
    if outcome.tag:
        detail["tag"] = outcome.tag
    if outcome.hint:
        detail["hint"] = outcome.hint
    return {
        "kind": "action",
        "guid": action.guid,
        "email": action.email,
        "action": action.kind.value,
        "state": word,
        "cause": action.cause or action.reason,
        "pass_id": action.pass_id,
        "detail": detail,
    }

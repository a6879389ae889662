"""The applier: takes released actions from the outbox, sends them, and settles each by what became of it.

An action is `sending` on disk before its request leaves. Whatever then happens (timeout, crash, lost reply), the
member is read back and the action is settled by what the team shows: no second invitation, no second wipe.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial

import anyio

from pipeline.core.settle import IN_DOUBT, settle
from pipeline.errors import ConnectorError, SyncError, TeamReadError
from pipeline.journal_port import Journal
from pipeline.model import (
    DESTRUCTIVE,
    Action,
    ActionKind,
    Member,
    Outcome,
    State,
    Status,
    Verdict,
)
from pipeline.ports import Clock, Team
from stages.dropbox.exchange import Round, Turn
from stages.dropbox.jobs import JobReader, noting
from stages.dropbox.protection import refused_for_admins
from stages.dropbox.settling import DOUBT_SECONDS, ActionLog, ApplyReport, Settled, Settler

__all__ = ["ActionLog", "Applier", "ApplierOptions", "ApplyReport"]

INVITES_A_REQUEST = 20  # Dropbox's limit for add_v2


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplierOptions:
    wipe_data: bool = True
    send_welcome_email: bool = True
    workers: int = 4


class Applier:
    """`jitter` spreads retries: a number in [0, 1)."""

    def __init__(
        self,
        team: Team,
        journal: Journal,
        clock: Clock,
        options: ApplierOptions,
        *,
        jitter: Callable[[], float],
        log: ActionLog,
    ) -> None:
        self._team = team
        self._journal = journal
        self._clock = clock
        self._options = options
        self._settler = Settler(journal, clock, jitter=jitter, log=log)
        self._jobs = team if isinstance(team, JobReader) else None
        self._claimed_invitations = True
        self._has_more = True  # than what was claimed last
        self.protected_member_id = ""

    def begin_pass(self) -> None:
        self._settler.begin_pass()

    async def recover(self, report: ApplyReport) -> int:
        """Settles what an earlier process left in `sending`. TeamReadError leaves it there for the next time."""
        async with self._journal.reading():
            left = [
                action
                for action in await self._journal.outbox.in_state(State.SENDING)
                if not action.group_guid
            ]
        # The try that is in doubt is counted on disk already: as in a living process, only earlier ones count here.
        left = [replace(action, attempts=max(0, action.attempts - 1)) for action in left]
        if not left:
            return 0
        looked = await self._look(left, report)
        async with self._journal.transaction():
            again = [
                action
                for action, outcome in looked
                if outcome.verdict is Verdict.RETRY and not action.attempts
            ]
            await self._settler.send_again(again)
            ids = {action.id for action in again}
            await self._settler.settle([one for one in looked if one[0].id not in ids], report)
        return len(left)

    async def apply(
        self, report: ApplyReport, *, harmless_only: bool = False, only: frozenset[str] | None = None
    ) -> None:
        """Sends until nothing is claimable. `harmless_only`: what suspends or removes nobody; `only`: about these persons."""
        without = DESTRUCTIVE if harmless_only else frozenset()
        round_ = Round(partial(self._serve, report=report, without=without, only=only))
        moved = anyio.Event()
        busy, missing = 0, self._options.workers - 1
        ended_by: list[ConnectorError] = []

        async def work() -> None:
            nonlocal busy, missing, moved
            settled: Sequence[Settled] = ()
            is_busy = False
            while True:
                try:
                    batch = await round_.exchange(settled, is_claiming=not ended_by, is_alone=missing > 0)
                except ConnectorError as error:
                    ended_by.append(error)
                    batch = []
                if is_busy:
                    busy -= 1
                    moved.set()
                    moved = anyio.Event()
                is_busy, settled = bool(batch), ()
                if not batch:
                    if ended_by or not busy:
                        moved.set()
                        return
                    # Another worker's outcome may make something claimable: an own update, a freed address or seat.
                    await moved.wait()
                    continue
                busy += 1
                if self._has_more:  # one worker is enough for one action
                    for _ in range(missing):
                        group.start_soon(work)
                    missing = 0
                # What ends the pass ends it for all: the others settle what they have under way.
                settled = await self._carry_out(batch, report, ended_by)

        async with anyio.create_task_group() as group:
            group.start_soon(work)
        if ended_by:
            raise ended_by[0]

    # --- at the journal

    async def _serve(
        self,
        turns: Sequence[Turn],
        *,
        report: ApplyReport,
        without: frozenset[ActionKind],
        only: frozenset[str] | None,
    ) -> None:
        """One transaction for all of them: first what was done, then what is next."""
        async with self._journal.transaction():
            # Asked first: a read after a write waits for it. Nothing that is settled is released by that.
            settled = [one for turn in turns for one in turn.settled]
            is_left = not settled or await self._journal.outbox.count_released(1)
            await self._settler.settle(settled, report)
            claiming = [turn for turn in turns if is_left and turn.is_claiming and not turn.is_gone]
            batches = await self._claim(len(claiming), report, without=without, only=only) if claiming else []
        for turn, batch in zip(claiming, batches, strict=False):
            turn.batch = batch
        for turn in turns:
            turn.is_over = True

    async def _claim(
        self, most: int, report: ApplyReport, *, without: frozenset[ActionKind], only: frozenset[str] | None
    ) -> list[list[Action]]:
        """Up to `most` requests' worth of actions: one, or as many invitations as fit; marked `sending` on disk."""
        outbox = self._journal.outbox
        while True:
            limit = most * INVITES_A_REQUEST if self._claimed_invitations else most
            ready = await outbox.claimable(limit, without=without, only=only)
            has_invitations = any(action.kind is ActionKind.INVITE for action in ready)
            if has_invitations and not self._claimed_invitations:
                self._claimed_invitations = True
                continue
            self._claimed_invitations = has_invitations
            protected = await refused_for_admins(self._journal, self.protected_member_id, ready)
            if not protected:
                break
            await self._settler.settle(protected, report)
        batches = _batched(ready)[:most]
        claimed = [action for batch in batches for action in batch]
        self._has_more = await outbox.count_released(len(claimed) + 1) > len(claimed)
        await outbox.mark_sending(claimed, self._clock.now())
        return batches

    # --- on the way

    async def _carry_out(
        self, batch: Sequence[Action], report: ApplyReport, ended_by: list[ConnectorError]
    ) -> list[Settled]:
        """What became of each. An action that is missing stays `sending` on disk; why stands in `ended_by`."""
        settled: list[Settled] = []
        try:
            sendable = [action for action in batch if not action.job_id]
            for action, outcome in await self._look([one for one in batch if one.job_id], report):
                if outcome.verdict is Verdict.RETRY and self._is_doubt_over(action):
                    sendable.append(action)
                else:
                    verdict = Verdict.UNKNOWN if outcome.verdict is Verdict.RETRY else outcome.verdict
                    settled.append((action, replace(outcome, verdict=verdict)))
            settled += await self._send(sendable, report, ended_by)
        except ConnectorError as error:
            ended_by.append(error)
        return settled

    def _is_doubt_over(self, action: Action) -> bool:
        assert action.sent_at is not None
        return self._clock.now() - action.sent_at >= timedelta(seconds=DOUBT_SECONDS)

    async def _send(
        self, batch: Sequence[Action], report: ApplyReport, ended_by: list[ConnectorError]
    ) -> list[Settled]:
        if not batch:
            return []
        if batch[0].kind is ActionKind.REVOKE_INVITE:
            joined = await self._joined(batch)
            if joined:
                return joined
        outcomes = await self._request(batch)
        pairs = list(zip(batch, outcomes, strict=True))
        settled = [(action, outcome) for action, outcome in pairs if outcome.verdict is not Verdict.UNKNOWN]
        lost = [
            replace(action, job_id=outcome.job_id)
            for action, outcome in pairs
            if outcome.verdict is Verdict.UNKNOWN
        ]
        try:
            for action, outcome in await self._look(lost, report):
                # No effect to be seen is no proof yet: it may come late, or show late.
                verdict = Verdict.UNKNOWN if outcome.verdict is Verdict.RETRY else outcome.verdict
                settled.append((action, replace(outcome, verdict=verdict)))
        except TeamReadError as error:
            ended_by.append(error)
        return settled

    async def _joined(self, batch: Sequence[Action]) -> list[Settled]:
        """Those whose invitation is none any more: the same request removes an account, and wipes its devices.

        A revocation may have been held, or have waited, for days: only a look just before it leaves tells.
        """
        found = await self._team.get_members(member_ids=[action.member_id for action in batch])
        members = {member.member_id: member for member in found}
        return [
            (action, Outcome(verdict=Verdict.STALE, member=member, tag="no longer an invitation"))
            for action in batch
            if (member := members.get(action.member_id)) is not None and member.status is not Status.INVITED
        ]

    async def _request(self, batch: Sequence[Action]) -> Sequence[Outcome]:
        async def note(job_id: str) -> None:
            async with self._journal.transaction():
                await self._journal.outbox.note_job(batch, job_id)

        with noting(note):
            return await self._asked(batch)

    async def _asked(self, batch: Sequence[Action]) -> Sequence[Outcome]:
        action = batch[0]
        match action.kind:
            case ActionKind.INVITE:
                profiles = [one.changes for one in batch]
                outcomes = await self._team.invite(profiles, send_welcome=self._options.send_welcome_email)
                if len(outcomes) != len(batch):
                    raise SyncError("invite people", f"{len(batch)} were asked for, {len(outcomes)} answered")
                return outcomes
            case ActionKind.UPDATE:
                return [await self._team.update(action.member_id, action.changes)]
            case ActionKind.SUSPEND:
                return [await self._team.suspend(action.member_id, wipe_data=self._options.wipe_data)]
            case ActionKind.UNSUSPEND:
                return [await self._team.unsuspend(action.member_id)]
            case ActionKind.REMOVE | ActionKind.REVOKE_INVITE:
                return [await self._team.remove(action.member_id, wipe_data=self._options.wipe_data)]
            case ActionKind.RECOVER:
                return [await self._team.recover(action.member_id)]
            case ActionKind.RESEND_WELCOME:
                return [await self._team.send_welcome(action.member_id)]
            case _:
                raise SyncError("apply an action", f"{action.kind} is not carried out by this version")

    # --- in doubt

    async def _look(self, actions: Sequence[Action], report: ApplyReport) -> list[Settled]:
        """What the team shows decides; RETRY: no effect is to be seen, UNKNOWN: a job may still bring it.

        An outage is no answer: TeamReadError leaves the actions in `sending`.
        """
        if not actions:
            return []
        # Jobs first: one that ends between the two questions has shown its effect by the second.
        told = await self._ask_jobs(actions)
        invites = [action for action in actions if action.kind is ActionKind.INVITE]
        others = [action for action in actions if action.kind is not ActionKind.INVITE]
        found: list[Member] = []
        if others:
            found += await self._team.get_members(member_ids=[action.member_id for action in others])
        if invites:
            found += await self._team.get_members(
                external_ids=[action.changes.external_id for action in invites if action.changes.external_id],
                emails=[action.changes.email for action in invites],
            )
        by_id = {member.member_id: member for member in found}
        by_external = {member.external_id: member for member in found if member.external_id}
        by_email = {member.email: member for member in found}
        looked = []
        for action in actions:
            if action.kind is ActionKind.INVITE:
                member = by_external.get(action.changes.external_id) or by_email.get(action.changes.email)
            else:
                member = by_id.get(action.member_id)
            job = told.get(action.job_id, {})
            verdict = settle(action, member, job_pending=job is None)
            outcome = Outcome(
                verdict=verdict,
                member=member,
                tag="reply lost",
                hint="Dropbox is still at it" if job is None else "read back",
                job_id=action.job_id if job is None else "",
            )
            if job and verdict is Verdict.RETRY:
                # No member, and the job says why: a read alone would only lead to asking the same again.
                outcome = job.get(action.changes.email.lower(), outcome)
            looked.append((action, outcome))
        report.again = True
        return looked

    async def _ask_jobs(self, actions: Sequence[Action]) -> dict[str, Mapping[str, Outcome] | None]:
        """By job; None: it still runs."""
        kinds = {action.job_id: action.kind for action in actions if action.job_id not in ("", IN_DOUBT)}
        if self._jobs is None:
            return {}
        return {job_id: await self._jobs.ask_job(kind, job_id) for job_id, kind in kinds.items()}


def _batched(ready: Sequence[Action]) -> list[list[Action]]:
    """Requests in order: neighbours that are invitations share one, up to what Dropbox takes."""
    batches: list[list[Action]] = []
    for action in ready:
        last = batches[-1] if batches else []
        if (
            last
            and action.kind is ActionKind.INVITE
            and last[0].kind is ActionKind.INVITE
            and len(last) < INVITES_A_REQUEST
        ):
            last.append(action)
        else:
            batches.append([action])
    return batches

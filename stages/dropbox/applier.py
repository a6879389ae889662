"""The applier: takes released actions from the outbox, sends them, and settles each by what became of it.

An action is `sending` on disk before its request leaves. Whatever then happens (timeout, crash, lost reply), the
member is read back and the action is settled by what the team shows: no second invitation, no second wipe.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

import anyio

from pipeline.core.settle import settle
from pipeline.errors import ConnectorError, SyncError
from pipeline.journal_port import Journal
from pipeline.model import (
    DESTRUCTIVE,
    LEAVER_KINDS,
    Action,
    ActionKind,
    Member,
    Outcome,
    Profile,
    State,
    Status,
    Verdict,
    WaitFor,
)
from pipeline.ports import Clock, Team
from pipeline.records import Link

INVITES_A_REQUEST = 20  # Dropbox's limit for add_v2
FIRST_DELAY_SECONDS = 2.0
LONGEST_DELAY_SECONDS = 3600.0
STALE_LIMIT = 2
"""So often a pass decides again about one write that Dropbox answers with "not as you think"; then it has failed."""

ActionLog = Callable[[Action, str, str], None]
"""Called once an action has an outcome: the action, the outcome, the reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplierOptions:
    wipe_data: bool = True
    send_welcome_email: bool = True
    workers: int = 4


@dataclass(slots=True)
class ApplyReport:
    """Counts by kind of what was done, and what has to be looked at again."""

    done: dict[str, int] = field(default_factory=dict)
    again: bool = False  # somebody was marked dirty: decide again
    compare: bool = False  # only a listing of the whole team can tell whose account is meant


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
        self._jitter = jitter
        self._log = log
        self._stale: dict[tuple[str, ActionKind], int] = {}
        self.protected_member_id = ""

    def begin_pass(self) -> None:
        self._stale.clear()

    async def recover(self, report: ApplyReport) -> int:
        """Settles what an earlier process left in `sending`. TeamReadError leaves it there for the next time."""
        async with self._journal.reading():
            left = await self._journal.outbox.in_state(State.SENDING)
        # The try that is in doubt is counted on disk already: as in a living process, only earlier ones count here.
        left = [replace(action, attempts=max(0, action.attempts - 1)) for action in left]
        await self._read_back(left, report)
        return len(left)

    async def apply(
        self, report: ApplyReport, *, harmless_only: bool = False, only: frozenset[str] | None = None
    ) -> None:
        """Sends until nothing is claimable. `harmless_only`: what suspends or removes nobody; `only`: about these persons."""
        moved = anyio.Event()
        busy = 0
        ended_by: list[ConnectorError] = []

        async def work() -> None:
            nonlocal busy, moved
            while not ended_by:
                batch = await self._claim(harmless_only=harmless_only, only=only)
                if not batch:
                    if not busy:
                        moved.set()
                        return
                    # Another worker's outcome may make something claimable: an own update, a freed address or seat.
                    await moved.wait()
                    continue
                busy += 1
                try:
                    await self._send(batch, report)
                except ConnectorError as error:
                    # The others settle what they have under way; what is in doubt stays `sending` on disk.
                    ended_by.append(error)
                finally:
                    busy -= 1
                    moved.set()
                    moved = anyio.Event()

        async with anyio.create_task_group() as group:
            for _ in range(self._options.workers):
                group.start_soon(work)
        if ended_by:
            raise ended_by[0]

    async def _claim(self, *, harmless_only: bool, only: frozenset[str] | None) -> list[Action]:
        """The next action, or as many invitations as one request takes; marked `sending` on disk."""
        without = DESTRUCTIVE if harmless_only else frozenset()
        now = self._clock.now()
        async with self._journal.transaction():
            while ready := await self._journal.outbox.claimable(
                INVITES_A_REQUEST, without=without, only=only
            ):
                first = ready[0]
                batch = (
                    [action for action in ready if action.kind is first.kind]
                    if first.kind is ActionKind.INVITE
                    else [first]
                )
                if self._is_protected(first):
                    hint = "the admin who authorised the connector is never suspended or removed: authorise it with another admin first"
                    await self._journal.outbox.settle(
                        first, State.FAILED, now, error="the authorising admin", hint=hint
                    )
                    await self._journal.outbox.supersede(
                        await self._journal.outbox.later_siblings(first), now
                    )
                    self._log(first, "failed", hint)
                    continue
                await self._journal.outbox.mark_sending(batch, now)
                return batch
        return []

    def _is_protected(self, action: Action) -> bool:
        return (
            action.kind in LEAVER_KINDS
            and bool(action.member_id)
            and action.member_id == self.protected_member_id
        )

    async def _send(self, batch: Sequence[Action], report: ApplyReport) -> None:
        outcomes = await self._request(batch)
        doubtful: list[Action] = []
        async with self._journal.transaction():
            for action, outcome in zip(batch, outcomes, strict=True):
                if outcome.verdict is Verdict.UNKNOWN:
                    doubtful.append(action)
                    if outcome.job_id:
                        await self._journal.outbox.note_job([action], outcome.job_id)
                else:
                    await self._settle(action, outcome, report)
        if doubtful:
            await self._read_back(doubtful, report)

    async def _request(self, batch: Sequence[Action]) -> Sequence[Outcome]:
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

    # --- settling

    async def _read_back(self, actions: Sequence[Action], report: ApplyReport) -> None:
        """What the team shows decides. An outage is no answer: TeamReadError leaves the actions in `sending`."""
        if not actions:
            return
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
        async with self._journal.transaction():
            for action in actions:
                if action.kind is ActionKind.INVITE:
                    member = by_external.get(action.changes.external_id) or by_email.get(action.changes.email)
                else:
                    member = by_id.get(action.member_id)
                verdict = settle(action, member)
                outcome = Outcome(verdict=verdict, member=member, tag="reply lost", hint="read back")
                if verdict is Verdict.RETRY and not action.attempts:
                    # No effect: it may leave again at once, its precondition was just read.
                    await self._journal.outbox.settle(
                        _as_sending(action), State.PLANNED, self._clock.now(), error="reply lost, no effect"
                    )
                    if member is not None:
                        await self._journal.members.save([member])
                    self._log(action, "again", "the reply was lost and the write had no effect")
                else:
                    await self._settle(action, outcome, report)
        report.again = True

    async def _settle(self, action: Action, outcome: Outcome, report: ApplyReport) -> None:
        """One action, one outcome; inside the caller's transaction."""
        now = self._clock.now()
        sending = _as_sending(action)
        outbox = self._journal.outbox
        reason = ": ".join(part for part in (outcome.tag, outcome.hint) if part)
        match outcome.verdict:
            case Verdict.DONE | Verdict.ALREADY:
                await self._done(sending, outcome, report)
                return
            case Verdict.RETRY:
                delay = outcome.retry_after or self._delay_seconds(action.attempts + 1)
                due = now + timedelta(seconds=delay)
                await outbox.settle(sending, State.RETRY, now, error=outcome.tag, hint=outcome.hint, due=due)
                self._log(action, "retry", f"{reason}; again in {delay:.0f} s")
            case Verdict.NO_SEAT:
                await outbox.settle(
                    sending, State.WAITING, now, error=outcome.tag, hint=outcome.hint, wait=WaitFor.SEAT
                )
                self._log(action, "waiting", f"no free seat; {reason}")
            case Verdict.NOT_JOINED:
                await outbox.settle(
                    sending, State.WAITING, now, error=outcome.tag, hint=outcome.hint, wait=WaitFor.JOINED
                )
                self._log(action, "waiting", f"until the member has joined; {reason}")
            case Verdict.STALE if self._count_stale(action) < STALE_LIMIT:
                await outbox.settle(sending, State.SUPERSEDED, now, error=outcome.tag, hint=outcome.hint)
                if outcome.member is not None:
                    await self._journal.members.save([outcome.member])
                await self._journal.mark_dirty([action.guid], "action", now)
                report.again = True
                report.compare = report.compare or action.kind is ActionKind.INVITE
                self._log(action, "stale", f"decided again; {reason}")
                return
            case _:
                await outbox.settle(sending, State.FAILED, now, error=outcome.tag, hint=outcome.hint)
                self._log(action, "failed", reason)
        # What was to follow for this person was decided for the case that this works.
        await outbox.supersede(await outbox.later_siblings(action), now)
        await self._journal.append([_log_row(action, outcome, outcome.verdict.value)], now)

    async def _done(self, action: Action, outcome: Outcome, report: ApplyReport) -> None:
        now = self._clock.now()
        member = outcome.member or await self._expected(action)
        if member is not None:
            await self._journal.members.save([member])
        if action.kind is ActionKind.INVITE and member is not None:
            await self._journal.links.set(
                Link(guid=action.guid, member_id=member.member_id, how="invited", at=now)
            )
        elif action.kind is ActionKind.SUSPEND:
            await self._journal.links.mark_suspended(action.guid, by_us=True)
        elif action.kind in (ActionKind.UNSUSPEND, ActionKind.RECOVER):
            await self._journal.links.mark_suspended(action.guid, by_us=False)
        elif action.kind is ActionKind.RESEND_WELCOME:
            await self._journal.links.count_welcome(action.guid)
        await self._journal.outbox.settle(
            action,
            State.DONE,
            now,
            error=outcome.tag,
            member_id=member.member_id if member is not None else "",
        )
        await self._journal.append([_log_row(action, outcome, "done")], now)
        report.done[action.kind.value] = report.done.get(action.kind.value, 0) + 1
        self._log(action, "done", action.reason)

    async def _expected(self, action: Action) -> Member | None:
        """A write that answers `null` worked: the member as it must be now."""
        known = (await self._journal.members.by_id([action.member_id])).get(action.member_id)
        if known is None:
            return None
        return _after(known, action)

    def _count_stale(self, action: Action) -> int:
        key = (action.guid, action.kind)
        self._stale[key] = self._stale.get(key, 0) + 1
        return self._stale[key] - 1

    def _delay_seconds(self, attempts: int) -> float:
        """Doubling from two seconds to an hour, spread over half of itself."""
        delay: float = min(LONGEST_DELAY_SECONDS, FIRST_DELAY_SECONDS * 2.0 ** min(attempts - 1, 12))
        return delay * (0.75 + 0.5 * self._jitter())


def _as_sending(action: Action) -> Action:
    return replace(action, state=State.SENDING)


def _after(member: Member, action: Action) -> Member:
    match action.kind:
        case ActionKind.SUSPEND:
            return replace(member, status=Status.SUSPENDED)
        case ActionKind.UNSUSPEND | ActionKind.RECOVER:
            return replace(member, status=Status.ACTIVE, recoverable=False)
        case ActionKind.REMOVE:
            return replace(member, status=Status.REMOVED, recoverable=True)
        case ActionKind.REVOKE_INVITE:
            return replace(member, status=Status.REMOVED, recoverable=False)
        case ActionKind.UPDATE if action.changes != Profile():
            changes = action.changes
            return replace(
                member,
                email=changes.email or member.email,
                given_name=changes.given_name or member.given_name,
                surname=changes.surname or member.surname,
                external_id=changes.external_id or member.external_id,
            )
        case _:
            return member


def _log_row(action: Action, outcome: Outcome, state: str) -> dict[str, object]:
    detail = {"reason": action.reason}
    if outcome.tag:
        detail["tag"] = outcome.tag
    if outcome.hint:
        detail["hint"] = outcome.hint
    return {
        "kind": "action",
        "guid": action.guid,
        "email": action.email,
        "action": action.kind.value,
        "state": state,
        "cause": action.cause or action.reason,
        "pass_id": action.pass_id,
        "detail": detail,
    }

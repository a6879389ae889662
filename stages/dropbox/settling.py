"""From outcomes to the journal: what became of actions that were sent, written in a few statements for all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from pipeline.core.settle import IN_DOUBT
from pipeline.journal_port import Journal
from pipeline.model import Action, ActionKind, Member, Outcome, Profile, State, Status, Verdict, WaitFor
from pipeline.ports import Clock
from pipeline.progress import Phase, is_watched, tell
from pipeline.records import Link, Settlement
from stages.dropbox.classify import ADDRESS_TAGS

FIRST_DELAY_SECONDS = 2.0
LONGEST_DELAY_SECONDS = 3600.0
DOUBT_SECONDS = 5.0
"""So long after a reply was lost its effect may still come, or not show yet: a second look decides."""
LONGEST_JOB_LOOK_SECONDS = 60.0
LONGEST_DOUBT_SECONDS = 600.0
STALE_LIMIT = 2
"""So often a pass decides again about one write that Dropbox answers with "not as you think"; then it has failed."""

ActionLog = Callable[[Sequence[tuple[Action, str, str]]], None]
"""Called once actions have an outcome: each action, its outcome, the reason."""

Settled = tuple[Action, Outcome]


@dataclass(slots=True)
class ApplyReport:
    """Counts by kind of what was done, and what has to be looked at again."""

    done: dict[str, int] = field(default_factory=dict)
    again: bool = False  # somebody was marked dirty: decide again
    compare: bool = False  # only a listing of the whole team can tell whose account is meant
    touched: set[str] = field(default_factory=set)  # persons about whom something was settled


@dataclass(slots=True)
class _Page:
    """What one transaction writes."""

    settlements: list[Settlement] = field(default_factory=list)
    members: list[Member] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)
    rows: list[dict[str, object]] = field(default_factory=list)
    dirty: list[str] = field(default_factory=list)
    free_emails: list[str] = field(default_factory=list)  # given up by what was done
    abandoned: list[Action] = field(default_factory=list)  # what was to follow them is void
    lines: list[tuple[Action, str, str]] = field(default_factory=list)


class Settler:
    """Every method runs inside the caller's transaction. `jitter` spreads retries: a number in [0, 1)."""

    def __init__(
        self, journal: Journal, clock: Clock, *, jitter: Callable[[], float], log: ActionLog
    ) -> None:
        self._journal = journal
        self._clock = clock
        self._jitter = jitter
        self._log = log
        self._stale: dict[tuple[str, ActionKind], int] = {}
        self._left = 0  # to be sent, as far as it was counted; only for who watches

    def begin_pass(self) -> None:
        self._stale.clear()

    async def settle(self, settled: Sequence[Settled], report: ApplyReport) -> None:
        """Each action, as it was claimed, with what became of it. UNKNOWN: it is looked at again before it leaves again."""
        if not settled:
            return
        now = self._clock.now()
        page = _Page()
        report.touched.update(action.guid for action, _ in settled)
        known = await self._known([action for action, outcome in settled if _is_done(outcome)])
        for action, outcome in settled:
            match outcome.verdict:
                case Verdict.DONE | Verdict.ALREADY:
                    before = known.get(action.member_id)
                    member = outcome.member or _expected(before, action)
                    self._done(page, action, outcome, member, now)
                    if before is not None and (member is None or _gives_up(before, member)):
                        page.free_emails.append(before.email)
                    report.done[action.kind.value] = report.done.get(action.kind.value, 0) + 1
                case Verdict.UNKNOWN:
                    self._put_off(page, action, outcome, now)
                case _:
                    self._not_done(page, action, outcome, report, now)
        await self._write(page, now)
        for action in (one for one, outcome in settled if _is_done(outcome)):
            await self._mark(action)
        await self._tell_heirs(page.free_emails, now)
        report.again = report.again or bool(page.dirty or page.free_emails)
        self._log(page.lines)
        if is_watched():
            await self._tell(len(settled), sum(report.done.values()))

    async def _tell(self, settled: int, done: int) -> None:
        """How far it is; what is left is counted only when the last count is used up."""
        self._left -= settled
        if self._left <= 0:
            counts = await self._journal.outbox.count_by_state()
            self._left = counts.get("planned", 0) + counts.get("sending", 0)
        tell(Phase.SENDING, done, done + self._left)

    async def send_again(self, actions: Sequence[Action]) -> None:
        """Those of which a read has just shown that they had no effect."""
        now = self._clock.now()
        page = _Page()
        for action in actions:
            _move(page, action, State.PLANNED, error="reply lost, no effect")
            page.lines.append((action, "again", "the reply was lost and the write had no effect"))
        await self._write(page, now)
        self._log(page.lines)

    async def _known(self, actions: Sequence[Action]) -> dict[str, Member]:
        ids = sorted({action.member_id for action in actions} - {""})
        return await self._journal.members.by_id(ids) if ids else {}

    # --- one action

    def _done(
        self, page: _Page, action: Action, outcome: Outcome, member: Member | None, now: datetime
    ) -> None:
        if member is not None:
            page.members.append(member)
        if action.kind is ActionKind.INVITE and member is not None:
            page.links.append(Link(guid=action.guid, member_id=member.member_id, how="invited", at=now))
        if action.attempts or action.kind is ActionKind.RECOVER:
            # Much may have changed since the first try; and an account comes back as it was, perhaps suspended.
            page.dirty.append(action.guid)
        member_id = member.member_id if member is not None else ""
        _move(page, action, State.DONE, error=outcome.tag, member_id=member_id)
        page.rows.append(_log_row(action, outcome, "done"))
        page.lines.append((action, "done", action.reason))

    def _put_off(self, page: _Page, action: Action, outcome: Outcome, now: datetime) -> None:
        """In doubt: nothing leaves for this person before a look tells what became of it."""
        job_id = outcome.job_id or IN_DOUBT
        delay = DOUBT_SECONDS
        if action.attempts:
            # In doubt again and again, it was sent again and again: more and more rarely.
            delay = min(LONGEST_DOUBT_SECONDS, max(delay, self._delay_seconds(action.attempts)))
        if job_id != IN_DOUBT:
            # Not spread: all of a job's people are looked at with one question.
            delay = min(LONGEST_JOB_LOOK_SECONDS, FIRST_DELAY_SECONDS * 2.0 ** min(action.attempts, 12))
        delay = max(delay, outcome.retry_after or 0.0)
        due = now + timedelta(seconds=delay)
        if outcome.member is not None:
            page.members.append(outcome.member)
        _move(page, action, State.RETRY, error=outcome.tag, hint=outcome.hint, due=due, job_id=job_id)
        page.lines.append((action, "in doubt", f"{_reason(outcome)}; looked at again in {delay:.0f} s"))

    def _not_done(
        self, page: _Page, action: Action, outcome: Outcome, report: ApplyReport, now: datetime
    ) -> None:
        reason = _reason(outcome)
        tag, hint = outcome.tag, outcome.hint
        match outcome.verdict:
            case Verdict.RETRY:
                delay = outcome.retry_after or self._delay_seconds(action.attempts + 1)
                due = now + timedelta(seconds=delay)
                _move(page, action, State.RETRY, error=tag, hint=hint, due=due)
                page.lines.append((action, "retry", f"{reason}; again in {delay:.0f} s"))
            case Verdict.NO_SEAT:
                _move(page, action, State.WAITING, error=tag, hint=hint, wait=WaitFor.SEAT)
                page.lines.append((action, "waiting", f"no free seat; {reason}"))
            case Verdict.NOT_JOINED:
                _move(page, action, State.WAITING, error=tag, hint=hint, wait=WaitFor.JOINED)
                page.lines.append((action, "waiting", f"until the member has joined; {reason}"))
            case Verdict.STALE if self._count_stale(action) < STALE_LIMIT:
                _move(page, action, State.SUPERSEDED, error=tag, hint=hint)
                page.dirty.append(action.guid)
                page.abandoned.append(action)
                if outcome.member is not None:
                    page.members.append(outcome.member)
                report.again = True
                report.compare = report.compare or action.kind is ActionKind.INVITE
                page.lines.append((action, "stale", f"decided again; {reason}"))
                return
            case _:
                refused = _refused_part(action, tag)
                _move(page, action, State.FAILED, error=tag, hint=hint, changes=refused)
                page.abandoned.append(action)
                page.lines.append((action, "failed", reason))
                if refused is not None:
                    page.dirty.append(action.guid)  # the names need not wait for the address
        page.rows.append(_log_row(action, outcome, outcome.verdict.value))

    # --- all of them

    async def _write(self, page: _Page, now: datetime) -> None:
        journal = self._journal
        if page.members:
            await journal.members.save(page.members)
        if page.links:
            await journal.links.set_all(page.links)
        await journal.outbox.settle_all(page.settlements, now)
        if page.dirty:
            await journal.mark_dirty(page.dirty, "action", now)
        for action in page.abandoned:
            # What was to follow for this person was decided for the case that this works.
            await journal.outbox.supersede(await journal.outbox.later_siblings(action), now)
        if page.rows:
            await journal.append(page.rows, now)

    async def _tell_heirs(self, emails: Sequence[str], now: datetime) -> None:
        """Whoever waits for an address that was given up, or failed for want of it, is decided about again at once."""
        if emails:
            same = await self._journal.mirror.listed_with_email(emails)
            await self._journal.mark_dirty(
                sorted({guid for guids in same.values() for guid in guids}), "retry", now
            )

    async def _mark(self, action: Action) -> None:
        match action.kind:
            case ActionKind.SUSPEND:
                await self._journal.links.mark_suspended(action.guid, by_us=True)
            case ActionKind.UNSUSPEND:  # a recovered account comes back as it was: suspended by us, perhaps
                await self._journal.links.mark_suspended(action.guid, by_us=False)
            case ActionKind.RESEND_WELCOME:
                await self._journal.links.count_welcome(action.guid)

    def _count_stale(self, action: Action) -> int:
        key = (action.guid, action.kind)
        self._stale[key] = self._stale.get(key, 0) + 1
        return self._stale[key] - 1

    def _delay_seconds(self, attempts: int) -> float:
        """Doubling from two seconds to an hour, spread over half of itself."""
        delay: float = min(LONGEST_DELAY_SECONDS, FIRST_DELAY_SECONDS * 2.0 ** min(attempts - 1, 12))
        return delay * (0.75 + 0.5 * self._jitter())


def was_refused_an_address(action: Action) -> bool:
    """Whether a change of e-mail stands as failed because somebody else has it, or Dropbox does not let it be given."""
    is_change = action.kind is ActionKind.UPDATE and bool(action.changes.email)
    return is_change and action.state is State.FAILED and action.error in ADDRESS_TAGS


def _refused_part(action: Action, tag: str) -> Profile | None:
    """Of an update that was refused for its e-mail and has more to set: the e-mail alone. Else None."""
    email = Profile(email=action.changes.email)
    is_split = action.kind is ActionKind.UPDATE and tag in ADDRESS_TAGS and action.changes != email
    return email if is_split and email.email else None


def _move(
    page: _Page,
    action: Action,
    state: State,
    *,
    error: str = "",
    hint: str = "",
    due: datetime | None = None,
    wait: WaitFor | None = None,
    member_id: str = "",
    job_id: str = "",
    changes: Profile | None = None,
) -> None:
    page.settlements.append(
        Settlement(
            action=action,
            was=State.SENDING,
            state=state,
            error=error,
            hint=hint,
            due=due,
            wait=wait,
            member_id=member_id,
            job_id=job_id,
            changes=changes,
        )
    )


def _is_done(outcome: Outcome) -> bool:
    return outcome.verdict in (Verdict.DONE, Verdict.ALREADY)


def _gives_up(before: Member, after: Member) -> bool:
    """Whether the e-mail is free by it. Who was removed holds theirs for as long as the account can be recovered."""
    is_gone = after.status is Status.REMOVED and not after.recoverable
    return before.email != after.email or (is_gone and before.status is not Status.REMOVED)


def _expected(member: Member | None, action: Action) -> Member | None:
    """The member as it must be after the action."""
    if member is None:
        return None
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


def _reason(outcome: Outcome) -> str:
    return ": ".join(part for part in (outcome.tag, outcome.hint) if part)


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

"""A team in memory, for tests: keeps the vendor's rules, counts effects, and fails on request.

team.break_next(ActionKind.SUSPEND, lost="after")    the effect happens, the reply is lost
team.break_next(ActionKind.INVITE, lost="before")    neither
team.break_next(ActionKind.UPDATE, tag="email_reserved_for_other_user")
team.outage = True                                   reads raise, writes lose their reply
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Literal

from pipeline.errors import GroupGone, TeamInfoError, TeamReadError
from pipeline.model import (
    ActionKind,
    EventPage,
    Finding,
    Member,
    Outcome,
    Profile,
    Status,
    TeamEvent,
    TeamGroup,
    TeamInfo,
    Verdict,
)
from stages.dropbox.classify import outcome_after_look, outcome_for, rule_for
from stages.dropbox.lifecycle import (
    ROUTE_OF,
    TAKES_SEAT,
    invite_refusal,
    members_among,
    moved,
    transition_refusal,
    update_refusal,
    updated,
)
from stages.dropbox.memory_groups import GroupRegister, found_among

LOST = Outcome(
    verdict=Verdict.UNKNOWN, tag="reply_lost", hint="the member is read back before anything else is sent"
)
_DOWN = "the team in memory is down"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fault:
    """`outcome` is answered without an effect, unless `has_effect`, when it replaces the true reply."""

    outcome: Outcome
    has_effect: bool = False


class MemoryTeam:
    """Implements pipeline.ports.Team. `requests` counts calls by name, `welcome_mails` by e-mail, `wipes` by id."""

    def __init__(self, *, seats: int = 1000, name: str = "Example team", page_size: int = 1000) -> None:
        self.seats = seats
        self.name = name
        self.page_size = page_size
        self.members: dict[str, Member] = {}
        self.groups = GroupRegister()
        self.admin_id = ""
        self.outage = False
        self.requests: Counter[str] = Counter()
        self.welcome_mails: Counter[str] = Counter()
        self.wipes: Counter[str] = Counter()
        self.log: list[TeamEvent] = []
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self._faults: defaultdict[ActionKind, deque[_Fault]] = defaultdict(deque)
        self._last_number = 0

    # --- what a test arranges --------------------------------------------------------------------------

    def add(
        self,
        email: str,
        status: Status = Status.ACTIVE,
        *,
        given_name: str = "",
        surname: str = "",
        external_id: str = "",
        recoverable: bool = False,
        is_team_admin: bool = False,
    ) -> Member:
        """Puts a member in, whatever the seats. The first team admin becomes the acting one."""
        self._last_number += 1
        member = Member(
            member_id=f"dbmid:memory-{self._last_number:06}",
            status=status,
            email=email.lower(),
            given_name=given_name,
            surname=surname,
            external_id=external_id,
            recoverable=recoverable,
            is_team_admin=is_team_admin,
            invited_on=self.now if status is Status.INVITED else None,
            joined_on=None if status is Status.INVITED else self.now,
        )
        self.members[member.member_id] = member
        if is_team_admin and not self.admin_id:
            self.admin_id = member.member_id
        return member

    def join(self, member_id: str) -> None:
        """The invited person accepts."""
        member = self.members[member_id]
        self.members[member_id] = replace(member, status=Status.ACTIVE, joined_on=self.now)

    def expire_recovery(self, member_id: str) -> None:
        """The seven days are over."""
        self.members[member_id] = replace(self.members[member_id], recoverable=False)

    def by_email(self, email: str) -> Member:
        """The living member with this e-mail, else the one removed last; KeyError."""
        found = [member for member in self.members.values() if member.email == email.lower()]
        if not found:
            raise KeyError(email)
        return min(reversed(found), key=lambda member: member.status is Status.REMOVED)

    def break_next(
        self,
        kind: ActionKind,
        *,
        tag: str = "",
        lost: Literal["", "before", "after"] = "",
        outcome: Outcome | None = None,
    ) -> None:
        """The next write of this kind (one for each person of a batch) fails so; calls queue up."""
        answer = LOST if lost else outcome or outcome_for(ROUTE_OF[kind], tag)
        self._faults[kind].append(_Fault(outcome=answer, has_effect=lost == "after"))

    # --- reads -----------------------------------------------------------------------------------------

    async def team_info(self) -> TeamInfo:
        self.requests["team_info"] += 1
        if self.outage:
            raise TeamInfoError("fetching the team's information", _DOWN)
        return TeamInfo(
            name=self.name, team_id="dbtid:memory", seats=self.seats, provisioned=self._provisioned()
        )

    async def acting_admin(self) -> Member:
        self.requests["acting_admin"] += 1
        admin = self.members.get(self.admin_id)
        if self.outage or admin is None or admin.status is not Status.ACTIVE:
            raise TeamInfoError(
                "asking who authorised the connector", _DOWN if self.outage else "admin_not_active"
            )
        return admin

    async def list_members(self) -> AsyncIterator[Sequence[Member]]:
        everybody = list(self.members.values())
        for start in range(0, max(1, len(everybody)), self.page_size):
            self._read("list_members")
            yield everybody[start : start + self.page_size]

    async def get_members(
        self,
        *,
        member_ids: Sequence[str] = (),
        external_ids: Sequence[str] = (),
        emails: Sequence[str] = (),
    ) -> Sequence[Member]:
        self._read("get_members")
        return members_among(self.members.values(), member_ids, external_ids, emails)

    async def list_groups(self) -> AsyncIterator[Sequence[TeamGroup]]:
        everything = [self.groups.shown(group_id) for group_id in self.groups.groups]
        for start in range(0, max(1, len(everything)), self.page_size):
            self._read("list_groups")
            yield everything[start : start + self.page_size]

    async def get_groups(
        self, *, group_ids: Sequence[str] = (), external_ids: Sequence[str] = ()
    ) -> Sequence[TeamGroup]:
        self._read("get_groups")
        everything = [self.groups.shown(group_id) for group_id in self.groups.groups]
        return found_among(everything, group_ids, external_ids)

    async def list_group_members(self, group_id: str) -> AsyncIterator[Sequence[str]]:
        if group_id not in self.groups.groups:
            self._read("list_group_members")
            raise GroupGone("listing the members of a group", "group_not_found")
        everybody = sorted(self.groups.members.get(group_id, ()))
        for start in range(0, max(1, len(everybody)), self.page_size):
            self._read("list_group_members")
            yield everybody[start : start + self.page_size]

    async def events(self, cursor: str, since: datetime, *, about_groups: bool = False) -> EventPage:
        self._read("events")
        start = int(cursor) if cursor else 0
        events = tuple(
            event
            for event in self.log[start:]
            if (cursor or event.at >= since) and event.kind.startswith("group") == about_groups
        )
        return EventPage(events=events, cursor=str(len(self.log)), more=False)

    async def check(self) -> Sequence[Finding]:
        state = "failed" if self.outage else "ok"
        return [Finding("dropbox", "team", state, _DOWN if self.outage else self.name)]

    def pace(self) -> Mapping[str, float]:
        sent = float(sum(self.requests.values()))
        return {"requests_per_second": 0.0, "refused": 0.0, "in_flight": 0.0, "sent": sent}

    async def close(self) -> None:
        """Nothing to let go of."""

    def _read(self, name: str) -> None:
        self.requests[name] += 1
        if self.outage:
            raise TeamReadError(name.replace("_", " "), _DOWN)

    # --- writes ----------------------------------------------------------------------------------------

    async def invite(self, profiles: Sequence[Profile], *, send_welcome: bool) -> Sequence[Outcome]:
        self.requests["invite"] += 1
        return [self._invited(profile, send_welcome=send_welcome) for profile in profiles]

    async def update(self, member_id: str, changes: Profile) -> Outcome:
        self.requests["update"] += 1
        fault = self._fault(ActionKind.UPDATE)
        if fault is not None and not fault.has_effect:
            return fault.outcome
        if changes == Profile():
            return Outcome(verdict=Verdict.ALREADY)
        member = self.members.get(member_id)
        others = [other for other in self.members.values() if other.member_id != member_id]
        tag = update_refusal(member, changes, others)
        if member is None or tag:
            return self._refused(ActionKind.UPDATE, tag, member)
        self.members[member_id] = updated(member, changes)
        return fault.outcome if fault else Outcome(verdict=Verdict.DONE, member=self.members[member_id])

    async def suspend(self, member_id: str, *, wipe_data: bool) -> Outcome:
        return self._move(ActionKind.SUSPEND, member_id, wipe_data=wipe_data)

    async def unsuspend(self, member_id: str) -> Outcome:
        return self._move(ActionKind.UNSUSPEND, member_id)

    async def remove(self, member_id: str, *, wipe_data: bool) -> Outcome:
        return self._move(ActionKind.REMOVE, member_id, wipe_data=wipe_data)

    async def recover(self, member_id: str) -> Outcome:
        return self._move(ActionKind.RECOVER, member_id)

    async def send_welcome(self, member_id: str) -> Outcome:
        return self._move(ActionKind.RESEND_WELCOME, member_id)

    async def create_group(self, name: str, external_id: str) -> Outcome:
        return self._group_write(ActionKind.GROUP_CREATE, lambda: self.groups.create(name, external_id))

    async def rename_group(self, group_id: str, *, name: str, external_id: str) -> Outcome:
        return self._group_write(
            ActionKind.GROUP_RENAME, lambda: self.groups.rename(group_id, name, external_id)
        )

    async def delete_group(self, group_id: str) -> Outcome:
        return self._group_write(ActionKind.GROUP_DELETE, lambda: self.groups.delete(group_id))

    async def add_to_group(self, group_id: str, member_ids: Sequence[str]) -> Sequence[Outcome]:
        return self._membership(ActionKind.GROUP_ADD, group_id, member_ids)

    async def remove_from_group(self, group_id: str, member_ids: Sequence[str]) -> Sequence[Outcome]:
        return self._membership(ActionKind.GROUP_REMOVE, group_id, member_ids)

    def _group_write(self, kind: ActionKind, write: Callable[[], Outcome]) -> Outcome:
        self.requests[kind.value] += 1
        fault = self._fault(kind)
        if fault is not None and not fault.has_effect:
            return fault.outcome
        outcome = write()
        return fault.outcome if fault else outcome

    def _membership(self, kind: ActionKind, group_id: str, member_ids: Sequence[str]) -> Sequence[Outcome]:
        """A fault meets the whole request: whom it names can't be told from here."""
        self.requests[kind.value] += 1
        fault = self._fault(kind)
        if fault is not None and not fault.has_effect:
            return [fault.outcome] * len(member_ids)
        change = self.groups.add if kind is ActionKind.GROUP_ADD else self.groups.remove
        outcomes = change(group_id, member_ids, self.members)
        return [fault.outcome] * len(member_ids) if fault else outcomes

    def _invited(self, profile: Profile, *, send_welcome: bool) -> Outcome:
        fault = self._fault(ActionKind.INVITE)
        if fault is not None and not fault.has_effect:
            return fault.outcome
        free_seats = self.seats - self._provisioned()
        tag = invite_refusal(profile, list(self.members.values()), free_seats)
        if tag:
            return outcome_for(ROUTE_OF[ActionKind.INVITE], tag)
        member = self.add(
            profile.email,
            Status.INVITED,
            given_name=profile.given_name,
            surname=profile.surname,
            external_id=profile.external_id,
        )
        if send_welcome:
            self.welcome_mails[member.email] += 1
        return fault.outcome if fault else Outcome(verdict=Verdict.DONE, member=member)

    def _move(self, kind: ActionKind, member_id: str, *, wipe_data: bool = False) -> Outcome:
        self.requests[kind.value] += 1
        fault = self._fault(kind)
        if fault is not None and not fault.has_effect:
            return fault.outcome
        member = self.members.get(member_id)
        tag = transition_refusal(
            kind,
            member,
            is_last_admin=self._is_last_admin(member),
            free_seats=self.seats - self._provisioned(),
        )
        if member is None or tag:
            return self._refused(kind, tag, member)
        self.members[member_id] = moved(kind, member)
        if self.members[member_id].status is Status.REMOVED:
            self.groups.drop(member_id)
        if wipe_data:
            self.wipes[member_id] += 1
        if kind is ActionKind.RESEND_WELCOME and member.status is Status.INVITED:
            self.welcome_mails[member.email] += 1
        return fault.outcome if fault else Outcome(verdict=Verdict.DONE)

    def _refused(self, kind: ActionKind, tag: str, member: Member | None) -> Outcome:
        route = ROUTE_OF[kind]
        return (
            outcome_after_look(route, tag, member)
            if rule_for(route, tag).is_ambiguous
            else outcome_for(route, tag)
        )

    def _fault(self, kind: ActionKind) -> _Fault | None:
        if self.outage:
            return _Fault(outcome=LOST)
        # The port has one method for both: a fault for either kind meets it.
        kinds = (ActionKind.REMOVE, ActionKind.REVOKE_INVITE) if kind is ActionKind.REMOVE else (kind,)
        for each in kinds:
            if self._faults[each]:
                return self._faults[each].popleft()
        return None

    def _provisioned(self) -> int:
        return sum(member.status in TAKES_SEAT for member in self.members.values())

    def _is_last_admin(self, member: Member | None) -> bool:
        admins = [
            each for each in self.members.values() if each.is_team_admin and each.status is Status.ACTIVE
        ]
        return member is not None and admins == [member]

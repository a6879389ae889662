"""Simulation: reads come from the real team, writes are recorded and shown in an overlay over it.

So that an invitation and what follows from it appear in one plan, later reads see the effect of earlier
writes. No write of the wrapped team is ever called.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Protocol

from pipeline.errors import GroupGone
from pipeline.model import (
    ActionKind,
    EventPage,
    Finding,
    Member,
    Outcome,
    Profile,
    Status,
    TeamGroup,
    TeamInfo,
    Verdict,
)
from pipeline.ports import Clock, Team
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

SIMULATED_ID_PREFIX = "dbmid:simulated-"
SIMULATED_GROUP_PREFIX = "g:simulated-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """One write that a real pass would have sent and the team accepted, as far as can be told."""

    kind: ActionKind
    member_id: str
    email: str
    changes: Profile = field(default_factory=Profile)
    wipe_data: bool | None = None
    group_id: str = ""
    group_name: str = ""
    member_ids: tuple[str, ...] = ()


class KnownMembers(Protocol):
    """Members as they were last read, found by any of these; e-mails in lower case."""

    async def __call__(
        self, *, member_ids: Sequence[str], external_ids: Sequence[str], emails: Sequence[str]
    ) -> Sequence[Member]: ...


class SimulatedTeam:
    """Implements pipeline.ports.Team over another one. `recorded` holds the writes in order.

    `known`: what was read of the team. Once all of it was listed, writes are judged by that: to ask again for each would cost
    as many requests as a real pass. Without a clock, invented members carry no `invited_on`.
    """

    def __init__(self, team: Team, clock: Clock | None = None, known: KnownMembers | None = None) -> None:
        self._team = team
        self._clock = clock
        self._known = known
        self._is_listed = False  # to the end
        self._info: TeamInfo | None = None
        self._overlay: dict[str, Member] = {}
        self._seats_taken = 0  # by the writes so far; below zero when they freed some
        self.recorded: list[Recorded] = []
        self._groups = GroupRegister(prefix=SIMULATED_GROUP_PREFIX)
        self._groups_known = False

    # --- reads -----------------------------------------------------------------------------------------

    async def team_info(self) -> TeamInfo:
        self._info = await self._team.team_info()
        return self._with_writes(self._info)

    def _with_writes(self, info: TeamInfo) -> TeamInfo:
        return replace(info, provisioned=max(0, info.provisioned + self._seats_taken))

    async def acting_admin(self) -> Member:
        admin = await self._team.acting_admin()
        return self._overlay.get(admin.member_id, admin)

    async def list_members(self) -> AsyncIterator[Sequence[Member]]:
        async for page in self._team.list_members():
            yield [self._overlay.get(member.member_id, member) for member in page]
        invented = [
            member for member_id, member in self._overlay.items() if member_id.startswith(SIMULATED_ID_PREFIX)
        ]
        if invented:
            yield invented
        self._is_listed = True

    async def get_members(
        self,
        *,
        member_ids: Sequence[str] = (),
        external_ids: Sequence[str] = (),
        emails: Sequence[str] = (),
    ) -> Sequence[Member]:
        real_ids = [each for each in member_ids if not each.startswith(SIMULATED_ID_PREFIX)]
        found: dict[str, Member] = {}
        if real_ids or external_ids or emails:
            for member in await self._team.get_members(
                member_ids=real_ids, external_ids=external_ids, emails=emails
            ):
                found[member.member_id] = member
        found |= self._overlay
        return members_among(found.values(), member_ids, external_ids, emails)

    async def _look(
        self,
        *,
        member_ids: Sequence[str] = (),
        external_ids: Sequence[str] = (),
        emails: Sequence[str] = (),
    ) -> Sequence[Member]:
        """As `get_members`, for a write. Once the whole team was listed, nobody is asked for who is known, or known not to be there."""
        if self._known is None or not self._is_listed:
            return await self.get_members(member_ids=member_ids, external_ids=external_ids, emails=emails)
        known = await self._known(
            member_ids=member_ids, external_ids=external_ids, emails=[email.lower() for email in emails]
        )
        found = {member.member_id: member for member in known} | self._overlay
        if unknown := [one for one in member_ids if one not in found]:
            found |= {member.member_id: member for member in await self.get_members(member_ids=unknown)}
        return members_among(found.values(), member_ids, external_ids, emails)

    async def list_groups(self) -> AsyncIterator[Sequence[TeamGroup]]:
        await self._know_groups()
        yield list(self._groups.groups.values())

    async def get_groups(
        self, *, group_ids: Sequence[str] = (), external_ids: Sequence[str] = ()
    ) -> Sequence[TeamGroup]:
        await self._know_groups()
        return found_among(self._groups.groups.values(), group_ids, external_ids)

    async def list_group_members(self, group_id: str) -> AsyncIterator[Sequence[str]]:
        await self._know_groups()
        if group_id not in self._groups.groups:
            raise GroupGone("listing the members of a group", "group_not_found")
        await self._know_members(group_id)
        yield sorted(self._groups.members[group_id])

    async def events(self, cursor: str, since: datetime, *, about_groups: bool = False) -> EventPage:
        return await self._team.events(cursor, since, about_groups=about_groups)

    async def check(self) -> Sequence[Finding]:
        return await self._team.check()

    def pace(self) -> Mapping[str, float]:
        return self._team.pace()

    async def close(self) -> None:
        await self._team.close()

    # --- writes ----------------------------------------------------------------------------------------

    async def invite(self, profiles: Sequence[Profile], *, send_welcome: bool) -> Sequence[Outcome]:  # noqa: ARG002
        others = {
            member.member_id: member
            for member in await self._look(
                emails=[profile.email for profile in profiles],
                external_ids=[profile.external_id for profile in profiles if profile.external_id],
            )
        }
        free_seats = await self._free_seats()
        outcomes = []
        for profile in profiles:
            tag = invite_refusal(profile, list(others.values()), free_seats)
            if tag:
                outcomes.append(outcome_for(ROUTE_OF[ActionKind.INVITE], tag))
                continue
            member = self._invented(profile)
            others[member.member_id] = member
            free_seats -= 1
            self._apply(
                member,
                Recorded(
                    kind=ActionKind.INVITE, member_id=member.member_id, email=member.email, changes=profile
                ),
            )
            outcomes.append(Outcome(verdict=Verdict.DONE, member=member))
        return outcomes

    async def update(self, member_id: str, changes: Profile) -> Outcome:
        if changes == Profile():
            return Outcome(verdict=Verdict.ALREADY)
        found = await self._look(
            member_ids=[member_id],
            emails=[changes.email] if changes.email else [],
            external_ids=[changes.external_id] if changes.external_id else [],
        )
        member = next((each for each in found if each.member_id == member_id), None)
        others = [each for each in found if each.member_id != member_id]
        tag = update_refusal(member, changes, others)
        if member is None or tag:
            return self._refused(ActionKind.UPDATE, tag, member)
        changed = updated(member, changes)
        self._apply(
            changed,
            Recorded(kind=ActionKind.UPDATE, member_id=member_id, email=member.email, changes=changes),
            before=member,
        )
        return Outcome(verdict=Verdict.DONE, member=changed)

    async def suspend(self, member_id: str, *, wipe_data: bool) -> Outcome:
        return await self._move(ActionKind.SUSPEND, member_id, wipe_data=wipe_data)

    async def unsuspend(self, member_id: str) -> Outcome:
        return await self._move(ActionKind.UNSUSPEND, member_id)

    async def remove(self, member_id: str, *, wipe_data: bool) -> Outcome:
        return await self._move(ActionKind.REMOVE, member_id, wipe_data=wipe_data)

    async def recover(self, member_id: str) -> Outcome:
        return await self._move(ActionKind.RECOVER, member_id)

    async def send_welcome(self, member_id: str) -> Outcome:
        return await self._move(ActionKind.RESEND_WELCOME, member_id)

    async def create_group(self, name: str, external_id: str) -> Outcome:
        await self._know_groups()
        outcome = self._groups.create(name, external_id)
        return self._group_written(ActionKind.GROUP_CREATE, outcome, "", name, external_id)

    async def rename_group(self, group_id: str, *, name: str, external_id: str) -> Outcome:
        await self._know_groups()
        outcome = self._groups.rename(group_id, name, external_id)
        return self._group_written(ActionKind.GROUP_RENAME, outcome, group_id, name, external_id)

    async def delete_group(self, group_id: str) -> Outcome:
        await self._know_groups()
        return self._group_written(ActionKind.GROUP_DELETE, self._groups.delete(group_id), group_id)

    async def add_to_group(self, group_id: str, member_ids: Sequence[str]) -> Sequence[Outcome]:
        return await self._membership(ActionKind.GROUP_ADD, group_id, member_ids)

    async def remove_from_group(self, group_id: str, member_ids: Sequence[str]) -> Sequence[Outcome]:
        return await self._membership(ActionKind.GROUP_REMOVE, group_id, member_ids)

    async def _membership(
        self, kind: ActionKind, group_id: str, member_ids: Sequence[str]
    ) -> Sequence[Outcome]:
        await self._know_groups()
        if group_id in self._groups.groups:
            await self._know_members(group_id)
        people = {member.member_id: member for member in await self._look(member_ids=member_ids)}
        change = self._groups.add if kind is ActionKind.GROUP_ADD else self._groups.remove
        outcomes = change(group_id, member_ids, people)
        done = tuple(
            member_id
            for member_id, outcome in zip(member_ids, outcomes, strict=True)
            if outcome.verdict is Verdict.DONE
        )
        if done:
            self.recorded.append(
                Recorded(kind=kind, member_id="", email="", group_id=group_id, member_ids=done)
            )
        return outcomes

    def _group_written(
        self, kind: ActionKind, outcome: Outcome, group_id: str, name: str = "", external_id: str = ""
    ) -> Outcome:
        if outcome.verdict is Verdict.DONE:
            self.recorded.append(
                Recorded(
                    kind=kind,
                    member_id="",
                    email="",
                    changes=Profile(external_id=external_id),
                    group_id=outcome.group.group_id if outcome.group else group_id,
                    group_name=name,
                )
            )
        return outcome

    async def _know_groups(self) -> None:
        if not self._groups_known:
            real = [group async for page in self._team.list_groups() for group in page]
            self._groups.groups.update({group.group_id: group for group in real})
            self._groups_known = True

    async def _know_members(self, group_id: str) -> None:
        if group_id not in self._groups.members:
            present = {one async for page in self._team.list_group_members(group_id) for one in page}
            gone = {one for one, member in self._overlay.items() if member.status is Status.REMOVED}
            self._groups.members[group_id] = present - gone

    async def _move(self, kind: ActionKind, member_id: str, *, wipe_data: bool | None = None) -> Outcome:
        found = await self._look(member_ids=[member_id])
        member = found[0] if found else None
        free_seats = await self._free_seats() if kind is ActionKind.RECOVER else 0
        # Who the last admin is takes the whole list; the rules leave admins alone before it comes to this.
        tag = transition_refusal(kind, member, is_last_admin=False, free_seats=free_seats)
        if member is None or tag:
            return self._refused(kind, tag, member)
        recorded_kind = kind
        if kind is ActionKind.REMOVE and member.status is Status.INVITED:
            recorded_kind = ActionKind.REVOKE_INVITE
        record = Recorded(kind=recorded_kind, member_id=member_id, email=member.email, wipe_data=wipe_data)
        self._apply(moved(kind, member), record, before=member)
        return Outcome(verdict=Verdict.DONE)

    def _refused(self, kind: ActionKind, tag: str, member: Member | None) -> Outcome:
        route = ROUTE_OF[kind]
        return (
            outcome_after_look(route, tag, member)
            if rule_for(route, tag).is_ambiguous
            else outcome_for(route, tag)
        )

    def _apply(self, member: Member, record: Recorded, *, before: Member | None = None) -> None:
        had_seat = before is not None and before.status in TAKES_SEAT
        self._seats_taken += (member.status in TAKES_SEAT) - had_seat
        self._overlay[member.member_id] = member
        if member.status is Status.REMOVED:
            self._groups.drop(member.member_id)
        self.recorded.append(record)

    def _invented(self, profile: Profile) -> Member:
        number = sum(each.startswith(SIMULATED_ID_PREFIX) for each in self._overlay) + 1
        return Member(
            member_id=f"{SIMULATED_ID_PREFIX}{number:06}",
            status=Status.INVITED,
            email=profile.email.lower(),
            given_name=profile.given_name,
            surname=profile.surname,
            external_id=profile.external_id,
            invited_on=self._clock.now() if self._clock is not None else None,
        )

    async def _free_seats(self) -> int:
        return (await self.team_info() if self._info is None else self._with_writes(self._info)).free_seats

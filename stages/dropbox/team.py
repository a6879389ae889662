"""The Team port over HTTP: puts the client, the readers and the writers together."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime

from pipeline.model import ActionKind, EventPage, Finding, Member, Outcome, Profile, TeamGroup, TeamInfo
from pipeline.ports import Clock
from stages.dropbox import group_reading, reading
from stages.dropbox.checks import check_team
from stages.dropbox.client import Client
from stages.dropbox.events import EventLog
from stages.dropbox.groups import GroupWriter
from stages.dropbox.members import MemberWriter
from stages.dropbox.options import DropboxOptions


class HttpTeam:
    """Implements pipeline.ports.Team. Connects when first used; usable again after `close`."""

    def __init__(self, options: DropboxOptions, clock: Clock) -> None:
        self._clock = clock
        self._syncs_groups = options.syncs_groups
        self._client = Client(options, clock)
        self._writer = MemberWriter(self._client, clock)
        self._groups = GroupWriter(self._client)
        self._log = EventLog(self._client)

    async def team_info(self) -> TeamInfo:
        return await reading.read_team_info(self._client)

    async def acting_admin(self) -> Member:
        return await reading.read_acting_admin(self._client)

    def list_members(self) -> AsyncIterator[Sequence[Member]]:
        return reading.list_members(self._client)

    async def get_members(
        self,
        *,
        member_ids: Sequence[str] = (),
        external_ids: Sequence[str] = (),
        emails: Sequence[str] = (),
    ) -> Sequence[Member]:
        return await reading.get_members(
            self._client, member_ids=member_ids, external_ids=external_ids, emails=emails
        )

    async def invite(self, profiles: Sequence[Profile], *, send_welcome: bool) -> Sequence[Outcome]:
        return await self._writer.invite(profiles, send_welcome=send_welcome)

    async def update(self, member_id: str, changes: Profile) -> Outcome:
        return await self._writer.update(member_id, changes)

    async def suspend(self, member_id: str, *, wipe_data: bool) -> Outcome:
        return await self._writer.suspend(member_id, wipe_data=wipe_data)

    async def unsuspend(self, member_id: str) -> Outcome:
        return await self._writer.unsuspend(member_id)

    async def remove(self, member_id: str, *, wipe_data: bool) -> Outcome:
        return await self._writer.remove(member_id, wipe_data=wipe_data)

    async def recover(self, member_id: str) -> Outcome:
        return await self._writer.recover(member_id)

    async def send_welcome(self, member_id: str) -> Outcome:
        return await self._writer.send_welcome(member_id)

    async def ask_job(self, kind: ActionKind, job_id: str) -> Mapping[str, Outcome] | None:
        return await self._writer.ask_job(kind, job_id)

    def list_groups(self) -> AsyncIterator[Sequence[TeamGroup]]:
        return group_reading.list_groups(self._client)

    async def get_groups(
        self, *, group_ids: Sequence[str] = (), external_ids: Sequence[str] = ()
    ) -> Sequence[TeamGroup]:
        return await group_reading.get_groups(self._client, group_ids=group_ids, external_ids=external_ids)

    def list_group_members(self, group_id: str) -> AsyncIterator[Sequence[str]]:
        return group_reading.list_group_members(self._client, group_id)

    async def create_group(self, name: str, external_id: str) -> Outcome:
        return await self._groups.create(name, external_id)

    async def rename_group(self, group_id: str, *, name: str, external_id: str) -> Outcome:
        return await self._groups.rename(group_id, name=name, external_id=external_id)

    async def delete_group(self, group_id: str) -> Outcome:
        return await self._groups.delete(group_id)

    async def add_to_group(self, group_id: str, member_ids: Sequence[str]) -> Sequence[Outcome]:
        return await self._groups.add(group_id, member_ids)

    async def remove_from_group(self, group_id: str, member_ids: Sequence[str]) -> Sequence[Outcome]:
        return await self._groups.remove(group_id, member_ids)

    async def events(self, cursor: str, since: datetime, *, about_groups: bool = False) -> EventPage:
        return await self._log.read(cursor, since, about_groups=about_groups)

    async def check(self) -> Sequence[Finding]:
        return await check_team(self._client, self._log, self._clock, syncs_groups=self._syncs_groups)

    def pace(self) -> Mapping[str, float]:
        return self._client.pace()

    async def close(self) -> None:
        await self._client.close()

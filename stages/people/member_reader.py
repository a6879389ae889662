"""What the team says now about the members that some persons have, or might have."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pipeline.core.identity import LEGACY_PREFIX
from pipeline.core.mapping import Mapped
from pipeline.journal_port import Journal
from pipeline.model import Kind, Member
from pipeline.ports import Team
from pipeline.records import Node


class MemberReader:
    """`map_node` gives what the directory wants a member to show: by its marks members are looked for."""

    def __init__(
        self, team: Team, journal: Journal, *, map_node: Callable[[Node], Mapped], adopts_legacy: bool
    ) -> None:
        self._team = team
        self._journal = journal
        self._map = map_node
        self._adopts_legacy = adopts_legacy

    async def without_member(self, guids: Sequence[str]) -> list[str]:
        """Those whose link leads to a member that the journal does not show."""
        async with self._journal.reading():
            links = await self._journal.links.of(guids)
            known = await self._journal.members.by_id(link.member_id for link in links.values())
        return [guid for guid, link in links.items() if link.member_id not in known]

    async def refresh(self, guids: Sequence[str]) -> None:
        """Reads the members that these persons have or might have. TeamReadError ends the pass."""
        if not guids:
            return
        async with self._journal.reading():
            links = await self._journal.links.of(guids)
            nodes = await self._journal.mirror.nodes(guid for guid in guids if guid not in links)
        member_ids = [link.member_id for link in links.values()]
        searched = [node for node in nodes.values() if node.listed and node.entry.kind is Kind.USER]
        mapped = [self._map(node) for node in searched]
        external_ids = [one.profile.external_id for one in mapped if one.profile.external_id]
        if self._adopts_legacy:
            external_ids += [f"{LEGACY_PREFIX}{node.entry.sid}" for node in searched if node.entry.sid]
        emails = [one.profile.email for one in mapped if one.profile.email]
        found: list[Member] = []
        if member_ids or external_ids or emails:
            found += await self._team.get_members(
                member_ids=member_ids, external_ids=external_ids, emails=emails
            )
        ids = {member.member_id for member in found}
        async with self._journal.reading():
            stale = set(member_ids)
            for members in (await self._journal.members.by_email(emails)).values():
                stale |= {member.member_id for member in members}
            for members in (await self._journal.members.by_external_id(external_ids)).values():
                stale |= {member.member_id for member in members}
        # Not found under the old e-mail or external id: changed, gone, or removed (Dropbox may resolve removed
        # members by their id only). What is not found by id either must not be matched any more.
        doubtful = sorted(stale - ids - set(member_ids))
        if doubtful:
            found += await self._team.get_members(member_ids=doubtful)
            ids = {member.member_id for member in found}
        async with self._journal.transaction():
            await self._journal.members.save_differing(found)
            await self._journal.members.lose(stale - ids)
        missing_links = [guid for guid, link in links.items() if link.member_id not in ids]
        if missing_links:
            await self._search_again(missing_links)

    async def _search_again(self, guids: Sequence[str]) -> None:
        """The linked account is gone for good: the person may have another one by now."""
        async with self._journal.reading():
            nodes = await self._journal.mirror.nodes(guids)
        mapped = [self._map(node) for node in nodes.values() if node.listed]
        external_ids = [one.profile.external_id for one in mapped if one.profile.external_id]
        emails = [one.profile.email for one in mapped if one.profile.email]
        if not external_ids and not emails:
            return
        found = await self._team.get_members(external_ids=external_ids, emails=emails)
        async with self._journal.transaction():
            await self._journal.members.save(found)

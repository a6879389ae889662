"""Looking at what changed: from deltas to everything that has to be known before the mirror is changed. Reads only."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.core.nesting import Nesting
from pipeline.errors import ConfigurationError, DirectoryError
from pipeline.journal_port import Journal
from pipeline.model import Delta, Domain, Entry, Kind, Source, Target
from pipeline.ports import Directory
from pipeline.records import Edge
from stages.directory.sight import Sight, was_deleted
from stages.directory.walk import members_of, walk


class Look:
    """One look, at the deltas of one poll. `protected` is the exclusion group, where there is one."""

    def __init__(
        self,
        directory: Directory,
        journal: Journal,
        nesting: Nesting,
        domain: Domain,
        protected: Entry | None,
    ) -> None:
        self._directory = directory
        self._journal = journal
        self._nesting = nesting
        self._protected = protected
        self._sight = Sight(domain=domain)

    async def at(self, deltas: Sequence[Delta]) -> Sight:
        """DirectoryError where a group can't be read; ConfigurationError where the exclusion group was deleted."""
        nesting, sight = self._nesting, self._sight
        if not deltas:
            return sight  # an idle look costs the same at any size
        known = [delta for delta in deltas if nesting.knows(delta.guid)]
        # Nobody but themselves tells of those who belong to a mirrored group by primary group only, and of those whose links
        # came back with them when they were restored (Recycle Bin).
        strangers = [
            delta
            for delta in deltas
            if not nesting.knows(delta.guid)
            and not delta.tombstone
            and ("primarygroupid" in delta.attributes or was_deleted(delta))
        ]
        dead = {delta.guid for delta in known if delta.tombstone}
        alive = {delta.guid for delta in known} - dead
        entries = dict(await self._directory.read_entries([*alive, *(delta.guid for delta in strangers)]))
        async with self._journal.reading():
            sight.old = await self._journal.mirror.nodes([*alive, *dead])
        # The members of these are read anyway.
        told = {delta.guid for delta in known if delta.members_unknown}
        for delta in strangers:
            entry = entries.pop(delta.guid, None)
            if entry is not None and (
                (entry.kind is Kind.USER and nesting.group_with_rid(entry.primary_group_rid) is not None)
                or await self._is_held(delta, told)
            ):
                entries[delta.guid] = entry
                known.append(delta)
        if self._protected is not None and self._protected.guid in dead:
            raise ConfigurationError(
                "read the exclusion group",
                f"users.exclude_group: the group {self._protected.name} was deleted; nobody was touched",
                "name another exclusion group, or clear users.exclude_group if nobody is to be protected any more",
            )
        sight.relevant = known
        sight.dead = dead
        sight.entries = entries
        sight.unseen = {guid: Target(guid=guid, dn="") for guid in alive - set(entries)}
        for guid in sight.unseen:
            if nesting.scope.kind_of(guid) is Kind.GROUP:
                raise DirectoryError(
                    "read a changed group",
                    f"the group {nesting.name(guid)} can't be read any more, and no tombstone shows that it was deleted",
                    "give the service account the right to read it; nobody was touched",
                )
        for delta in known:
            await self._look_at_edges(delta)
        await self._settle_claims()
        sight.strays = {edge.child for edge in sight.removed if nesting.is_opaque(edge.child)}
        if sight.strays:
            async with self._journal.reading():
                sight.old.update(await self._journal.mirror.nodes(sight.strays))
        below = {edge.child: Target(guid=edge.child, dn="") for edge in sight.added}
        named = {target.guid: target for delta in known for target in delta.added}
        new = [
            named.get(guid, target)
            for guid, target in below.items()
            if not nesting.knows(guid) and guid not in entries
        ]
        sight.take(
            await walk(
                self._directory,
                new,
                known=lambda guid: nesting.knows(guid) or guid in entries,
                was_group=lambda _: False,
            )
        )
        return sight

    async def _look_at_edges(self, delta: Delta) -> None:
        nesting, sight = self._nesting, self._sight
        entry = sight.entries.get(delta.guid)
        if entry is None:
            return
        # USN polling shows an undelete only by a dead object that lives again.
        is_back = delta.restored or (nesting.knows(delta.guid) and not nesting.scope.is_live(delta.guid))
        if entry.kind is Kind.GROUP:
            if delta.members_unknown or is_back or nesting.scope.kind_of(delta.guid) is not Kind.GROUP:
                present = (await members_of(self._directory, [entry]))[entry.guid]
                sight.replace_members(nesting, delta.guid, present)
            else:
                sight.removed += [Edge(delta.guid, target.guid) for target in delta.removed]
                sight.added += [Edge(delta.guid, target.guid) for target in delta.added]
        if is_back or was_deleted(delta) or self._directory.source is Source.USN:
            # The links of a reanimated object are gone, or (Recycle Bin) visible again: only a fresh read tells. Sequence
            # numbers don't even tell that an object was away, when it was deleted and restored between two polls.
            await self._look_at_holders(delta)
        if entry.kind is Kind.USER:
            # Against the edges, not against the entry of before: a group that was read while they were dead lacks theirs.
            primary = nesting.group_with_rid(entry.primary_group_rid)
            now = set() if primary is None else {primary}
            before = nesting.scope.parents(delta.guid, primary=True)
            sight.added += [Edge(group, delta.guid, primary=True) for group in now - before]
            sight.removed += [Edge(group, delta.guid, primary=True) for group in before - now]

    async def _look_at_holders(self, delta: Delta) -> None:
        nesting, sight = self._nesting, self._sight
        before = nesting.scope.parents(delta.guid)
        if delta.holders is None:
            holders = frozenset(await self._directory.read_parents(delta.guid))
            sight.added += [Edge(group, delta.guid) for group in self._groups_of_ours(holders)]
        else:
            # As it was when the change was read, which may be before the group changed once more: the group is asked.
            holders = delta.holders
            for group in self._groups_of_ours(holders) - before:
                sight.claimed.setdefault(group, []).append(delta.guid)
        for group in before - holders:
            sight.doubted.setdefault(group, []).append(delta.guid)

    async def _settle_claims(self) -> None:
        """`memberOf` may be unreadable and then looks like none, or be older than the group's last change: only the group
        itself proves that a link is gone, or there.
        """
        nesting, sight = self._nesting, self._sight
        for group in dict.fromkeys((*sight.doubted, *sight.claimed)):
            if group in sight.whole or group in sight.dead or not nesting.scope.is_live(group):
                continue
            present = {target.guid for target in await self._directory.read_members(group)}
            sight.removed += [
                Edge(group, member) for member in sight.doubted.get(group, ()) if member not in present
            ]
            sight.added += [
                Edge(group, member) for member in sight.claimed.get(group, ()) if member in present
            ]

    async def _is_held(self, delta: Delta, told: set[str]) -> bool:
        """Whether somebody the mirror does not know is in a group of ours all the same, without the group telling of it."""
        if delta.holders is not None:
            return bool(self._groups_of_ours(delta.holders) - told)
        return was_deleted(delta) and bool(
            self._groups_of_ours(await self._directory.read_parents(delta.guid))
        )

    def _groups_of_ours(self, guids: Sequence[str] | frozenset[str]) -> set[str]:
        return {guid for guid in guids if self._nesting.scope.kind_of(guid) is Kind.GROUP}

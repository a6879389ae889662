"""What the poller stands on: the domain and the groups that the journal is pinned to, and the right to see deletions."""

from __future__ import annotations

from datetime import datetime, timedelta

from pipeline.core.plan import Note, NoteKind
from pipeline.errors import ConfigurationError, GroupNotFound, GroupReplaced
from pipeline.journal_port import Journal
from pipeline.model import Domain, Entry
from pipeline.ports import Clock, Directory

SIGHT_PROBE = timedelta(hours=1)
"""watch: the right to see deletions may come or go at any time, and the cookie moves past what was not shown."""


GROUP_PROBE = timedelta(minutes=5)

GROUP_ROLE = "group_sync_group"


class Footing:
    """Raises instead of going on where what stands under the poller is no longer what it was."""

    def __init__(
        self,
        directory: Directory,
        journal: Journal,
        clock: Clock,
        *,
        sync_group: str,
        exclude_group: str,
        group_sync_group: str = "",
    ) -> None:
        self._directory = directory
        self._journal = journal
        self._clock = clock
        self._references = (
            ("sync_group", sync_group),
            ("exclude_group", exclude_group),
            (GROUP_ROLE, group_sync_group),
        )
        self.group_fault = ""
        """Why the group sync group can't be had: it fails the groups, and nothing else (behaviour.md §6.6)."""
        self.roots: dict[str, Entry] = {}
        self.blind: tuple[Note, ...] = ()
        self._probed_at: datetime | None = None
        self._group_sought_at: datetime | None = None

    async def pin(self, domain: Domain) -> None:
        """ConfigurationError (-10) when the journal belongs to another domain."""
        async with self._journal.transaction():
            pinned = await self._journal.get("domain_guid")
            if pinned is None:
                await self._journal.put("domain_guid", domain.guid)
                await self._journal.put("domain_name", domain.dns_name)
            elif pinned != domain.guid:
                name = await self._journal.get("domain_name")
                raise ConfigurationError(
                    "identify the directory",
                    f"directory: this journal belongs to the domain {name}, but {domain.dns_name} answered",
                    "point [directory] at the old domain, or start a new journal for this one",
                )

    async def find_roots(self) -> bool:
        """Resolves the configured groups against their pins. True: another group is meant than last time."""
        changed = False
        for role, reference in self._references:
            async with self._journal.reading():
                pinned_guid = await self._journal.get(f"{role}_guid") or ""
                pinned_reference = await self._journal.get(f"{role}_reference") or ""
            if not reference:
                self.roots.pop(role, None)
                if pinned_guid:
                    changed = True
                    await self._put_pin(role, "", "")
                continue
            try:
                entry = await self._resolve(
                    role, reference, pinned_guid if pinned_reference == reference else ""
                )
            except (GroupNotFound, GroupReplaced) as error:
                if role != GROUP_ROLE:
                    raise
                self.group_fault = error.cause
                self.roots.pop(role, None)
                self._group_sought_at = self._clock.now()
                await self._put_lost("yes")
                continue
            if role == GROUP_ROLE:
                self.group_fault = ""
                changed = (
                    await self._put_lost("") or changed
                )  # what hangs below it was not followed meanwhile
            self.roots[role] = entry
            if entry.guid != pinned_guid:
                changed = True
            if (entry.guid, reference) != (pinned_guid, pinned_reference):
                await self._put_pin(role, entry.guid, reference)
        return changed

    async def _put_lost(self, lost: str) -> bool:
        """Remembers whether the group sync group is missing; True when that is news."""
        async with self._journal.transaction():
            before = await self._journal.get("group_sync_group_lost") or ""
            if before != lost:
                await self._journal.put("group_sync_group_lost", lost)
        return before != lost

    def is_group_overdue(self) -> bool:
        """watch: a missing group sync group is looked for now and then."""
        sought = self._group_sought_at
        return bool(self.group_fault) and (sought is None or self._clock.now() - sought >= GROUP_PROBE)

    async def _put_pin(self, role: str, guid: str, reference: str) -> None:
        async with self._journal.transaction():
            await self._journal.put(f"{role}_guid", guid)
            await self._journal.put(f"{role}_reference", reference)

    async def _resolve(self, role: str, reference: str, pinned: str) -> Entry:
        """A renamed group is followed by its GUID; another group under the old name is not taken for it."""
        if pinned:
            found = await self._directory.read_entries([pinned])
            if pinned in found:
                await self._demand_no_successor(role, reference, found[pinned])
                return found[pinned]
        try:
            entry = await self._directory.find_group(reference)
        except GroupNotFound as error:
            if role == "exclude_group":
                # Losing a protection is not an empty protection (behaviour.md §2.6).
                raise ConfigurationError(
                    "find the exclusion group", f"users.exclude_group: {error.cause}"
                ) from error
            raise
        if pinned and entry.guid != pinned:
            raise GroupReplaced(
                f"find the {role.replace('_', ' ')}",
                f"{reference!r} is now another group ({entry.guid}), the old one is gone",
            )
        return entry

    async def _demand_no_successor(self, role: str, reference: str, entry: Entry) -> None:
        """Raises GroupReplaced where the group was renamed and another one has its name: which is meant only an admin can tell."""
        names = {entry.guid, f"{{{entry.guid}}}", entry.dn, entry.sam_account_name, entry.name}
        if reference.strip().lower() in {name.lower() for name in names}:
            return
        try:
            other = await self._directory.find_group(reference)
        except GroupNotFound:
            return
        if other.guid != entry.guid:
            raise GroupReplaced(
                f"find the {role.replace('_', ' ')}",
                f"{reference!r} is now another group ({other.guid}), and the old one is {entry.dn} ({entry.guid})",
                "name the one that is meant by its objectGUID",
            )

    def is_probe_due(self) -> bool:
        return self._probed_at is None or self._clock.now() - self._probed_at >= SIGHT_PROBE

    async def look_for_tombstones(self) -> bool:
        """True when the right to see deletions was gained: what was deleted meanwhile is found by a full read only."""
        sees = await self._directory.sees_tombstones()
        self._probed_at = self._clock.now()
        async with self._journal.transaction():
            before = await self._journal.get("sees_tombstones")
            if sees is not None:
                await self._journal.put("sees_tombstones", "yes" if sees else "no")
        self.blind = ()
        if sees is False:
            text = (
                "the account can't see deleted objects: people who are deleted in the directory are suspended at most, never removed; "
                "grant it List Contents and Read Property on CN=Deleted Objects and all below it"
            )
            self.blind = (Note(kind=NoteKind.MISSING_RIGHT, detail=text),)
        return sees is True and before == "no"

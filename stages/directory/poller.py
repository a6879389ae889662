"""The poller: turns what the directory says into changes of the mirror, each committed with its checkpoint.

It decides nothing about anybody. Everything is read first; then one transaction writes deltas, mirror, dirty
marks and checkpoint together, so that a crash either keeps all of it or none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from pipeline.core.nesting import Nesting
from pipeline.core.plan import Note, NoteKind
from pipeline.errors import (
    CheckpointRefused,
    ConfigurationError,
    DirectoryError,
    GroupNotFound,
    GroupReplaced,
)
from pipeline.journal_port import Journal
from pipeline.model import Checkpoint, Delta, Domain, Entry, Kind, Source, Target
from pipeline.ports import Clock, Directory
from pipeline.records import Edge, MirrorChange, Node
from stages.directory.sight import Sight, stub_of, unreadable_note
from stages.directory.walk import members_of, walk

CHECKPOINT_REFRESH = timedelta(minutes=1)
"""An empty poll writes nothing, except that the checkpoint's age stays known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PollOptions:
    sync_group: str
    exclude_group: str = ""
    settle: timedelta = timedelta(seconds=60)


@dataclass(frozen=True, slots=True, kw_only=True)
class PollResult:
    """`changes`: objects in question that changed. `notes`: what an admin should hear about the directory."""

    changes: int
    full: bool
    notes: tuple[Note, ...] = ()


class Poller:
    def __init__(self, directory: Directory, journal: Journal, clock: Clock, options: PollOptions) -> None:
        self._directory = directory
        self._journal = journal
        self._clock = clock
        self._options = options
        self._nesting: Nesting | None = None
        self._is_ahead = False  # the nesting has taken changes that the journal has not
        self._roots: dict[str, Entry] = {}
        self._blind: tuple[Note, ...] = ()

    @property
    def nesting(self) -> Nesting:
        if self._nesting is None:
            raise AssertionError("poll first")
        return self._nesting

    async def poll(self, *, full: bool = False) -> PollResult:
        """Brings the mirror up to date. Raises DirectoryError and its kin; then nothing was written."""
        started = self._clock.now()
        domain = await self._directory.identify()
        first = self._nesting is None
        await self._pin(domain)
        changed_roots = await self._find_roots() if first or full else False
        gained = await self._look_for_tombstones() if first or full else False
        async with self._journal.reading():
            checkpoint = await self._journal.mirror.checkpoint()
            unconfirmed = await self._journal.mirror.unconfirmed()
        overdue = any(node.left_how == "absent" and self._is_due(node, started) for node in unconfirmed)
        if (
            full
            or checkpoint is None
            or changed_roots
            or gained
            or overdue
            or self._is_stale(checkpoint, domain, started)
        ):
            return await self._read_fully(domain, started, unconfirmed)
        if self._nesting is None or self._is_ahead:
            await self._load_nesting()
        try:
            return await self._read_changes(checkpoint, domain, started, unconfirmed)
        except CheckpointRefused:
            return await self._read_fully(domain, started, unconfirmed)

    # --- pins

    async def _pin(self, domain: Domain) -> None:
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

    async def _find_roots(self) -> bool:
        """Resolves the configured groups against their pins. True: another group is meant than last time."""
        changed = False
        for role, reference in (
            ("sync_group", self._options.sync_group),
            ("exclude_group", self._options.exclude_group),
        ):
            async with self._journal.reading():
                pinned_guid = await self._journal.get(f"{role}_guid") or ""
                pinned_reference = await self._journal.get(f"{role}_reference") or ""
            if not reference:
                self._roots.pop(role, None)
                if pinned_guid:
                    changed = True
                    await self._put_pin(role, "", "")
                continue
            entry = await self._resolve(role, reference, pinned_guid if pinned_reference == reference else "")
            self._roots[role] = entry
            if entry.guid != pinned_guid:
                changed = True
            if (entry.guid, reference) != (pinned_guid, pinned_reference):
                await self._put_pin(role, entry.guid, reference)
        return changed

    async def _put_pin(self, role: str, guid: str, reference: str) -> None:
        async with self._journal.transaction():
            await self._journal.put(f"{role}_guid", guid)
            await self._journal.put(f"{role}_reference", reference)

    async def _resolve(self, role: str, reference: str, pinned: str) -> Entry:
        """A renamed group is followed by its GUID; another group under the old name is not taken for it."""
        if pinned:
            found = await self._directory.read_entries([pinned])
            if pinned in found:
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

    async def _look_for_tombstones(self) -> bool:
        """True when the right to see deletions was gained: what was deleted meanwhile is found by a full read only."""
        sees = await self._directory.sees_tombstones()
        async with self._journal.transaction():
            before = await self._journal.get("sees_tombstones")
            if sees is not None:
                await self._journal.put("sees_tombstones", "yes" if sees else "no")
        self._blind = ()
        if sees is False:
            text = (
                "the account can't see deleted objects: people who are deleted in the directory are suspended at most, never removed; "
                "grant it List Contents and Read Property on CN=Deleted Objects"
            )
            self._blind = (Note(kind=NoteKind.MISSING_RIGHT, detail=text),)
        return sees is True and before == "no"

    def _is_stale(self, checkpoint: Checkpoint, domain: Domain, now: datetime) -> bool:
        """Beyond half the tombstone lifetime deletions may have been forgotten by the directory."""
        return checkpoint.at is not None and now - checkpoint.at > timedelta(days=domain.tombstone_days) / 2

    # --- incremental

    async def _load_nesting(self) -> None:
        nesting = self._new_nesting()
        async with self._journal.reading():
            nodes, edges = await self._journal.mirror.graph()
            groups = await self._journal.mirror.nodes(guid for guid, kind, _ in nodes if kind is Kind.GROUP)
        nesting.load(nodes, edges, {guid: node.entry.name for guid, node in groups.items()})
        self._nesting = nesting
        self._is_ahead = False

    def _new_nesting(self) -> Nesting:
        excluded = self._roots.get("exclude_group")
        return Nesting(self._roots["sync_group"].guid, excluded.guid if excluded else "")

    async def _read_changes(
        self, checkpoint: Checkpoint, domain: Domain, started: datetime, unconfirmed: Sequence[Node]
    ) -> PollResult:
        deltas: list[Delta] = []
        newest = checkpoint
        async for page in self._directory.changes(checkpoint):
            deltas += page.deltas
            newest = page.checkpoint
        seen = await self._look_at(deltas, domain)
        confirmed = [node for node in unconfirmed if node.left_how == "edge" and self._is_due(node, started)]
        if not seen.relevant and not confirmed:
            await self._keep_checkpoint(checkpoint, newest, started)
            return PollResult(changes=0, full=False, notes=self._blind)
        # When the commit fails, the same changes come again: a nesting that has them already would tell of nobody.
        self._is_ahead = True
        change = self._apply_to_nesting(seen, started, {node.guid for node in confirmed})
        await self._commit(change, newest, started, seen.old)
        self._is_ahead = False
        return PollResult(changes=len(seen.relevant), full=False, notes=self._blind)

    async def _keep_checkpoint(self, old: Checkpoint, new: Checkpoint, now: datetime) -> None:
        aged = old.at is None or now - old.at > CHECKPOINT_REFRESH
        if aged or (old.cookie, old.usn, old.server) != (new.cookie, new.usn, new.server):
            async with self._journal.transaction():
                await self._journal.mirror.save_checkpoint(new, new.at or now)

    async def _look_at(self, deltas: Sequence[Delta], domain: Domain) -> Sight:
        """Reads everything that the deltas point at; changes nothing."""
        nesting = self.nesting
        known = [delta for delta in deltas if nesting.knows(delta.guid)]
        # Somebody new may belong to a mirrored group by primary group only: no group tells of it.
        strangers = [
            delta
            for delta in deltas
            if not nesting.knows(delta.guid) and not delta.tombstone and "primarygroupid" in delta.attributes
        ]
        sight = Sight(domain=domain)
        dead = {delta.guid for delta in known if delta.tombstone}
        alive = {delta.guid for delta in known} - dead
        entries = dict(await self._directory.read_entries([*alive, *(delta.guid for delta in strangers)]))
        async with self._journal.reading():
            rids = await self._journal.mirror.group_rids()
            sight.old = await self._journal.mirror.nodes([*alive, *dead])
        for delta in strangers:
            entry = entries.pop(delta.guid, None)
            if entry is not None and entry.kind is Kind.USER and entry.primary_group_rid in rids:
                entries[delta.guid] = entry
                known.append(delta)
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
            await self._look_at_edges(delta, sight, rids)
        for group, members in sight.doubted.items():
            if group in sight.dead or not nesting.scope.is_live(group):
                continue
            # `memberOf` may be unreadable and then looks like none: only the group itself proves that a link is gone.
            present = {target.guid for target in await self._directory.read_members(group)}
            sight.removed += [Edge(group, member) for member in members if member not in present]
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

    async def _look_at_edges(self, delta: Delta, sight: Sight, rids: Mapping[int, str]) -> None:
        nesting = self.nesting
        entry = sight.entries.get(delta.guid)
        if entry is None:
            return
        # USN polling shows an undelete only by a dead object that lives again.
        is_back = delta.restored or (nesting.knows(delta.guid) and not nesting.scope.is_live(delta.guid))
        if entry.kind is Kind.GROUP:
            if delta.members_unknown or is_back or nesting.scope.kind_of(delta.guid) is not Kind.GROUP:
                present = await members_of(self._directory, entry)
                sight.replace_members(nesting, delta.guid, present)
            else:
                sight.removed += [Edge(delta.guid, target.guid) for target in delta.removed]
                sight.added += [Edge(delta.guid, target.guid) for target in delta.added]
        if is_back or self._directory.source is Source.USN:
            # The links of a reanimated object are gone, or (Recycle Bin) visible again: only a fresh read tells. Sequence
            # numbers don't even tell that an object was away, when it was deleted and restored between two polls.
            parents = set(await self._directory.read_parents(delta.guid))
            sight.added += [
                Edge(parent, delta.guid) for parent in parents if nesting.scope.kind_of(parent) is Kind.GROUP
            ]
            for parent in nesting.scope.parents(delta.guid) - parents:
                sight.doubted.setdefault(parent, []).append(delta.guid)
        if entry.kind is Kind.USER:
            old = sight.old.get(delta.guid)
            before_rid = old.entry.primary_group_rid if old else None
            after_rid = entry.primary_group_rid
            if before_rid != after_rid:
                if before_rid is not None and before_rid in rids:
                    sight.removed.append(Edge(rids[before_rid], delta.guid, primary=True))
                if after_rid is not None and after_rid in rids:
                    sight.added.append(Edge(rids[after_rid], delta.guid, primary=True))

    def _apply_to_nesting(self, sight: Sight, started: datetime, confirmed: set[str]) -> MirrorChange:
        nesting = self.nesting
        for guid in sight.dead:
            nesting.set_node(guid, nesting.scope.kind_of(guid) or Kind.OTHER, live=False)
        for entry in sight.all_entries():
            nesting.set_node(entry.guid, entry.kind, live=True, name=entry.name)
        # Additions first: a person who changes groups within one poll has not left in between.
        for edge in sight.added:
            nesting.add(edge)
        kept = set(sight.added)
        removed = [edge for edge in sight.removed if edge not in kept]
        for edge in removed:
            nesting.remove(edge)
        changes, causes = nesting.take_changes()
        at_once = set(causes) if not self._options.settle else set()
        people = (
            {entry.guid for entry in sight.all_entries() if entry.kind is Kind.USER}
            | sight.dead
            | set(sight.unseen)
        )
        still_out = {guid for guid in confirmed if not nesting.scope.is_listed(guid)}
        return MirrorChange(
            at=started,
            entries=tuple(sight.all_entries()),
            tombstones=frozenset(sight.dead),
            unseen=frozenset(sight.unseen),
            added=tuple(sight.added),
            removed=tuple(removed),
            entered=changes.entered,
            left=causes,
            confirmed=frozenset(still_out | at_once),
            dirty=frozenset(
                people | changes.entered | changes.left | still_out | nesting.take_exclusion_changes()
            ),
            deltas=tuple(sight.relevant),
        )

    # --- full

    async def _read_fully(self, domain: Domain, started: datetime, unconfirmed: Sequence[Node]) -> PollResult:
        """The checkpoint first, then what is in scope; deltas from then on. Absence needs a second read."""
        checkpoint = await self._directory.start()
        async with self._journal.reading():
            nodes, _ = await self._journal.mirror.graph()
            linked = await self._journal.links.all_guids()
            before = {node.guid for node in await self._journal.mirror.listed_users()}
        groups_before = {guid for guid, kind, live in nodes if kind is Kind.GROUP and live}
        roots = [Target(guid=entry.guid, dn=entry.dn) for entry in self._roots.values()]
        walked = await walk(
            self._directory, roots, known=lambda _: False, was_group=groups_before.__contains__
        )
        departed = [
            guid for guid in {*linked, *before} if guid not in walked.entries and guid not in walked.unseen
        ]
        walked.entries.update(await self._directory.read_entries(departed))
        gone = [guid for guid in departed if guid not in walked.entries] + list(walked.unseen)
        dead = await self._directory.read_tombstones(gone)
        existing = {guid for guid, _, _ in nodes}
        stubs = [stub_of(target, domain) for guid, target in walked.unseen.items() if guid not in existing]
        nesting = self._new_nesting()
        entries = [*walked.entries.values(), *stubs]
        alive = {entry.guid for entry in entries}
        kinds = {guid: kind for guid, kind, _ in nodes}
        nesting.load(
            [
                *((entry.guid, entry.kind, True) for entry in entries),
                *((guid, kinds.get(guid, Kind.USER), guid not in dead) for guid in existing - alive),
            ],
            walked.edges,
            {entry.guid: entry.name for entry in entries if entry.kind is Kind.GROUP},
        )
        listed = set(nesting.scope.listed_users())
        blocked = unreadable_note(stubs)
        left = dict.fromkeys(before - listed, "no longer found in the sync group")
        earlier = {node.guid for node in unconfirmed if self._is_due(node, started)}
        confirmed = frozenset() if blocked else frozenset(earlier - listed)
        change = MirrorChange(
            at=started,
            entries=tuple(entries),
            tombstones=dead,
            unseen=frozenset(
                {*walked.unseen, *(guid for guid in departed if guid not in walked.entries)} - dead
            ),
            added=tuple(walked.edges),
            replace=True,
            entered=frozenset(listed - before),
            left=left,
            left_how="absent",
            confirmed=confirmed,
            dirty=frozenset({*listed, *linked, *before}),
        )
        await self._commit(change, checkpoint, started, {}, full=True)
        self._nesting = nesting
        self._is_ahead = False
        return PollResult(changes=len(listed - before) + len(left), full=True, notes=self._blind + blocked)

    async def know_departed(self, guids: Sequence[str]) -> frozenset[str]:
        """Looks for objects that only a member's external id names; those of this domain enter the mirror.

        Returns the GUIDs whose object or tombstone this domain shows; the rest belongs to somebody else.
        """
        now = self._clock.now()
        entries = await self._directory.read_entries(guids)
        dead = await self._directory.read_tombstones([guid for guid in guids if guid not in entries])
        async with self._journal.transaction():
            for entry in entries.values():
                await self._journal.mirror.add_departed(entry, live=True, at=now)
                self.nesting.set_node(entry.guid, entry.kind, live=True, name=entry.name)
            for guid in dead:
                await self._journal.mirror.add_departed(
                    Entry(guid=guid, kind=Kind.USER, dn=""), live=False, at=now
                )
                self.nesting.set_node(guid, Kind.USER, live=False)
        return frozenset({*entries, *dead})

    # --- both

    def _is_due(self, node: Node, started: datetime) -> bool:
        return (
            node.left_at is not None
            and node.left_at + self._options.settle <= started
            and node.left_at < started
        )

    async def _commit(
        self,
        change: MirrorChange,
        checkpoint: Checkpoint,
        now: datetime,
        old: Mapping[str, Node],
        *,
        full: bool = False,
    ) -> None:
        journal = self._journal
        emails = {entry.email.strip().lower() for entry in change.entries} | {
            node.entry.email.strip().lower() for node in old.values()
        }
        async with journal.transaction():
            left = await journal.mirror.nodes(change.left)
            emails |= {node.entry.email.strip().lower() for node in left.values()}
            await journal.mirror.apply(change)
            # Its own time, not ours: by it the directory knows which of its answers we have stored.
            await journal.mirror.save_checkpoint(checkpoint, checkpoint.at or now)
            await journal.append((_log_row(delta) for delta in change.deltas), now)
            if full:
                await journal.append(
                    [{"kind": "delta", "cause": "full read", "detail": {"entries": len(change.entries)}}], now
                )
            if not full:
                # The directory has changed them: what was undone no longer stands in the way of its rules.
                await journal.unpin(change.dirty)
            await journal.mark_dirty(sorted(change.dirty), "comparison" if full else "delta", now)
            if not full:
                # Whoever shares an e-mail with somebody who changed has to be looked at as well.
                same = await journal.mirror.listed_with_email(email for email in emails if email)
                others = {guid for guids in same.values() for guid in guids} - change.dirty
                await journal.mark_dirty(sorted(others), "delta", now)


def _log_row(delta: Delta) -> dict[str, object]:
    detail: dict[str, object] = {"dn": delta.dn, "attributes": list(delta.attributes)}
    if delta.added:
        detail["added"] = [target.guid for target in delta.added]
    if delta.removed:
        detail["removed"] = [target.guid for target in delta.removed]
    cause = "deleted" if delta.tombstone else "restored" if delta.restored else "changed"
    return {"kind": "delta", "guid": delta.guid, "cause": cause, "detail": detail}

"""The poller: turns what the directory says into changes of the mirror, each committed with its checkpoint.

It decides nothing about anybody. Everything is read first; then one transaction writes deltas, mirror, dirty
marks and checkpoint together, so that a crash either keeps all of it or none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from pipeline.core.nesting import Nesting
from pipeline.core.plan import Note
from pipeline.errors import CheckpointRefused
from pipeline.journal_port import Journal
from pipeline.model import Checkpoint, Delta, Domain, Entry, Kind, Target
from pipeline.ports import Clock, Directory
from pipeline.records import MirrorChange, Node
from stages.directory.commit import commit
from stages.directory.footing import GROUP_ROLE, Footing
from stages.directory.look import Look
from stages.directory.sight import (
    Sight,
    demand_protection,
    no_persons,
    stub_of,
    unreadable_note,
)
from stages.directory.walk import rid_of, rids_of, walk

CHECKPOINT_REFRESH = timedelta(minutes=1)
"""An empty poll writes nothing, except that the checkpoint's age stays known."""

BLOCKED_PATIENCE = timedelta(minutes=10)
"""While an unreadable member keeps absent leavers waiting, a full read is not tried at every look."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PollOptions:
    sync_group: str
    exclude_group: str = ""
    group_sync_group: str = ""
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
        self._footing = Footing(
            directory,
            journal,
            clock,
            sync_group=options.sync_group,
            exclude_group=options.exclude_group,
            group_sync_group=options.group_sync_group,
        )
        self._blocked_at: datetime | None = None

    @property
    def is_blind(self) -> bool:
        """The account sees no deletions: only a full read finds who is gone."""
        return bool(self._footing.blind)

    @property
    def is_blocked(self) -> bool:
        """Unreadable members keep leavers by absence waiting: a pass need not wait for them."""
        return self._blocked_at is not None

    @property
    def group_fault(self) -> str:
        """Why the group sync group can't be had; "" when it can, or when there is none."""
        return self._footing.group_fault

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
        footing = self._footing
        await footing.pin(domain)
        changed_roots = await footing.find_roots() if first or full or footing.is_group_overdue() else False
        gained = await footing.look_for_tombstones() if first or full or footing.is_probe_due() else False
        async with self._journal.reading():
            checkpoint = await self._journal.mirror.checkpoint()
            unconfirmed = await self._journal.mirror.unconfirmed()
        is_patient = self._blocked_at is not None and started - self._blocked_at < BLOCKED_PATIENCE
        overdue = not is_patient and any(
            node.left_how == "absent" and self._is_due(node, started) for node in unconfirmed
        )
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

    def _is_stale(self, checkpoint: Checkpoint, domain: Domain, now: datetime) -> bool:
        """Beyond half the tombstone lifetime deletions may have been forgotten by the directory."""
        return checkpoint.at is not None and now - checkpoint.at > timedelta(days=domain.tombstone_days) / 2

    # --- incremental

    async def _load_nesting(self) -> None:
        nesting = self._new_nesting()
        async with self._journal.reading():
            nodes, edges = await self._journal.mirror.graph()
            groups = await self._journal.mirror.nodes(guid for guid, kind, _ in nodes if kind is Kind.GROUP)
        names = {guid: node.entry.name for guid, node in groups.items()}
        nesting.load(nodes, edges, names, rids_of(node.entry for node in groups.values()))
        self._nesting = nesting
        self._is_ahead = False

    def _new_nesting(self) -> Nesting:
        roots = {role: entry.guid for role, entry in self._footing.roots.items()}
        return Nesting(roots["sync_group"], roots.get("exclude_group", ""), roots.get(GROUP_ROLE, ""))

    async def _read_changes(
        self, checkpoint: Checkpoint, domain: Domain, started: datetime, unconfirmed: Sequence[Node]
    ) -> PollResult:
        deltas: list[Delta] = []
        newest = checkpoint
        async for page in self._directory.changes(checkpoint):
            deltas += page.deltas
            newest = page.checkpoint
        protected = self._footing.roots.get("exclude_group")
        seen = await Look(self._directory, self._journal, self.nesting, domain, protected).at(deltas)
        confirmed = [node for node in unconfirmed if node.left_how == "edge" and self._is_due(node, started)]
        if not seen.relevant and not confirmed:
            await self._keep_checkpoint(checkpoint, newest, started)
            return PollResult(changes=0, full=False, notes=self._footing.blind)
        # When the commit fails, the same changes come again: a nesting that has them already would tell of nobody.
        self._is_ahead = True
        change = self._apply_to_nesting(seen, started, {node.guid for node in confirmed})
        demand_protection(self.nesting)
        await commit(self._journal, change, newest, started, seen.old)
        self._is_ahead = False
        return PollResult(changes=len(seen.relevant), full=False, notes=self._footing.blind)

    async def _keep_checkpoint(self, old: Checkpoint, new: Checkpoint, now: datetime) -> None:
        aged = old.at is None or now - old.at > CHECKPOINT_REFRESH
        if aged or (old.cookie, old.usn, old.server) != (new.cookie, new.usn, new.server):
            async with self._journal.transaction():
                await self._journal.mirror.save_checkpoint(new, new.at or now)

    def _apply_to_nesting(self, sight: Sight, started: datetime, confirmed: set[str]) -> MirrorChange:
        nesting = self.nesting
        protected = frozenset(guid for guid in sight.dead if nesting.is_excluded(guid))
        for guid in sight.dead:
            nesting.set_node(guid, nesting.scope.kind_of(guid) or Kind.OTHER, live=False)
        for entry in sight.all_entries():
            nesting.set_node(entry.guid, entry.kind, live=True, name=entry.name, rid=rid_of(entry))
        # Additions first: a person who changes groups within one poll has not left in between.
        for edge in sight.added:
            nesting.add(edge)
        kept = set(sight.added)
        removed = [edge for edge in sight.removed if edge not in kept]
        for edge in removed:
            nesting.remove(edge)
        changes, causes = nesting.take_changes()
        # Who was unreadable all the time was never seen as listed; no longer held by any group, they have left all the same.
        for guid in {entry.guid for entry in sight.all_entries() if entry.kind is Kind.USER} | sight.strays:
            node = sight.old.get(guid)
            if (
                node is not None
                and not node.listed
                and node.left_at is None
                and not nesting.scope.is_reached(guid)
            ):
                causes.setdefault(guid, "no longer in the sync group")
        at_once = set(causes) if not self._options.settle else set()
        people = (
            {entry.guid for entry in sight.all_entries() if entry.kind not in (Kind.GROUP, Kind.OTHER)}
            | sight.dead
            | set(sight.unseen)
        )
        still_out = {guid for guid in confirmed if not nesting.scope.is_listed(guid)}
        return MirrorChange(
            at=started,
            entries=tuple(sight.all_entries()),
            tombstones=frozenset(sight.dead),
            unseen=frozenset(sight.unseen),
            protected=protected,
            added=tuple(sight.added),
            removed=tuple(removed),
            entered=changes.entered,
            left=causes,
            confirmed=frozenset(still_out | at_once),
            dirty=frozenset(
                people | changes.entered | set(causes) | still_out | nesting.take_exclusion_changes()
            ),
            deltas=tuple(sight.relevant),
        )

    # --- full

    async def _read_fully(self, domain: Domain, started: datetime, unconfirmed: Sequence[Node]) -> PollResult:
        """The checkpoint first, then what is in scope; deltas from then on. Absence needs a second read."""
        checkpoint = await self._directory.start()
        async with self._journal.reading():
            nodes, edges = await self._journal.mirror.graph()
            linked = await self._journal.links.all_guids()
            before = {node.guid for node in await self._journal.mirror.listed_users()}
            # Linked, but never seen as listed: unreadable all the time, or known by their external id alone.
            strangers = await self._journal.mirror.nodes(guid for guid in linked if guid not in before)
            unsettled = {guid for guid, node in strangers.items() if node.left_at is None}
        groups_before = {guid for guid, kind, live in nodes if kind is Kind.GROUP and live}
        roots = [Target(guid=entry.guid, dn=entry.dn) for entry in self._footing.roots.values()]
        walked = await walk(
            self._directory, roots, known=lambda _: False, was_group=groups_before.__contains__
        )
        existing = {guid: live for guid, _, live in nodes}
        # Whatever the mirror knows is looked at again: the checkpoint jumps over what became of it meanwhile.
        departed = [
            guid
            for guid in {*linked, *before, *existing}
            if guid not in walked.entries and guid not in walked.unseen
        ]
        walked.entries.update(await self._directory.read_entries(departed))
        gone = [guid for guid in departed if guid not in walked.entries] + list(walked.unseen)
        dead = await self._directory.read_tombstones(gone)
        kinds = {guid: kind for guid, kind, _ in nodes}
        earlier_nesting = self._new_nesting()
        if dead:
            earlier_nesting.load(nodes, edges, {})
        protected = frozenset(guid for guid in dead if earlier_nesting.is_excluded(guid))
        # The members of a group that nothing holds any more were not read: it is forgotten, so that it is read like a new
        # one when something holds it again. A deleted one is kept, since its restoring is told by itself alone.
        forgotten = {guid for guid in departed if kinds.get(guid) is Kind.GROUP} - dead
        for guid in forgotten:
            walked.entries.pop(guid, None)
        # Once a stub is in the mirror it is no less unreadable.
        stubs = [
            stub_of(target, domain)
            for guid, target in walked.unseen.items()
            if kinds.get(guid, Kind.OTHER) in (Kind.OTHER, Kind.FOREIGN)
        ]
        nesting = self._new_nesting()
        entries = [*walked.entries.values(), *stubs]
        alive = {entry.guid for entry in entries}
        nesting.load(
            [
                *((entry.guid, entry.kind, True) for entry in entries),
                *(
                    (guid, kinds[guid], was_live and guid not in dead)
                    for guid, was_live in existing.items()
                    if guid not in alive and guid not in forgotten
                ),
            ],
            walked.edges,
            {entry.guid: entry.name for entry in entries if entry.kind is Kind.GROUP},
            rids_of(entries),
        )
        demand_protection(nesting)
        listed = set(nesting.scope.listed_users())
        opaque = {guid for guid in walked.unseen if nesting.is_opaque_member(guid)}
        blocked = unreadable_note(stubs)
        self._blocked_at = started if blocked else None
        left = dict.fromkeys((before | unsettled) - listed - opaque, "no longer found in the sync group")
        earlier = {node.guid for node in unconfirmed if self._is_due(node, started)}
        confirmed = frozenset() if blocked else frozenset(earlier - listed)
        change = MirrorChange(
            at=started,
            entries=tuple(entries),
            tombstones=dead,
            unseen=frozenset(
                {*walked.unseen, *(guid for guid in departed if guid not in walked.entries)} - dead
            ),
            forgotten=frozenset(forgotten),
            protected=protected,
            added=tuple(walked.edges),
            replace=True,
            entered=frozenset(listed - before),
            left=left,
            left_how="absent",
            confirmed=confirmed,
            dirty=frozenset({*listed, *linked, *before, *no_persons(entries)}),
        )
        await commit(self._journal, change, checkpoint, started, {}, full=True)
        self._nesting = nesting
        self._is_ahead = False
        return PollResult(
            changes=len(listed - before) + len(left), full=True, notes=self._footing.blind + blocked
        )

    async def know_departed(self, guids: Sequence[str]) -> frozenset[str]:
        """Looks for objects that only a member's external id names; those of this domain enter the mirror.

        Returns the GUIDs whose object or tombstone this domain shows; the rest belongs to somebody else.
        """
        now = self._clock.now()
        entries = await self._directory.read_entries(guids)
        people = [entry for entry in entries.values() if entry.kind is Kind.USER]
        dead = await self._directory.read_tombstones([guid for guid in guids if guid not in entries])
        async with self._journal.transaction():
            for entry in people:
                await self._journal.mirror.add_departed(entry, live=True, at=now)
                self.nesting.set_node(entry.guid, entry.kind, live=True, name=entry.name)
            for guid in dead:
                await self._journal.mirror.add_departed(
                    Entry(guid=guid, kind=Kind.USER, dn=""), live=False, at=now
                )
                self.nesting.set_node(guid, Kind.USER, live=False)
        return frozenset({*(entry.guid for entry in people), *dead})

    # --- both

    def _is_due(self, node: Node, started: datetime) -> bool:
        return (
            node.left_at is not None
            and node.left_at + self._options.settle <= started
            and node.left_at < started
        )

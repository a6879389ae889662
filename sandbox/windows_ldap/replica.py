"""What one domain controller stores: objects, links, USNs, and how far it has seen the others.

The counters are per DC (`uSNChanged` doesn't replicate), the stamps travel. No locking here: the domain has one lock.
"""

import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from sandbox.windows_ldap.names import escape_rdn, key_of
from sandbox.windows_ldap.record import LinkValue, Record, Stamp
from sandbox.windows_ldap.schema import BACK_LINKS, FORWARD_LINKS, KEPT_BY_TOMBSTONES, NOT_REPLICATED

Values = Sequence[bytes]


@dataclass(frozen=True)
class Backup:
    """A DC's storage as it was once; restoring it begins a new invocationId."""

    records: tuple[Record, ...]
    usn: int
    invocation_id: uuid.UUID
    seen: Mapping[uuid.UUID, int]


class Replica:
    def __init__(self, tick: Callable[[], int], now: Callable[[], float], *, first_usn: int = 4096) -> None:
        self.records: dict[uuid.UUID, Record] = {}
        self.children: dict[uuid.UUID, set[uuid.UUID]] = {}
        self.incoming: dict[uuid.UUID, set[tuple[str, uuid.UUID]]] = {}
        self._by_name: dict[tuple[uuid.UUID, str], uuid.UUID] = {}
        self.invocation_id = uuid.uuid4()
        self.usn = first_usn
        self.seen: dict[uuid.UUID, int] = {}  # the up-to-dateness vector, without ourselves
        self.listeners: list[Callable[[Record], None]] = []
        self._tick = tick
        self._now = now

    # ---------------------------------------------------------------------------------------------------- looking

    def up_to_dateness(self) -> dict[uuid.UUID, int]:
        return {**self.seen, self.invocation_id: self.usn}

    def dn(self, guid: uuid.UUID) -> str:
        parts = []
        record = self.records[guid]
        while record.parent is not None:
            parts.append(f"{record.rdn_kind}={escape_rdn(record.name)}")
            record = self.records[record.parent]
        return ",".join([*parts, record.root_dn])

    def lineage(self, guid: uuid.UUID) -> Iterator[Record]:
        """The object, its parent, and so on up to the head of its naming context."""
        at: uuid.UUID | None = guid
        while at is not None:
            record = self.records[at]
            yield record
            at = record.parent

    def head_of(self, guid: uuid.UUID) -> Record:
        return list(self.lineage(guid))[-1]

    def find_dn(self, dn: str) -> Record | None:
        """Refused(34) where it is no DN."""
        wanted = key_of(dn)
        for head in self.records.values():
            if head.parent is None:
                head_key = key_of(head.root_dn)
                if wanted[-len(head_key) :] == head_key and (
                    found := self._descend(head, wanted[: -len(head_key)])
                ):
                    return found
        return None

    def _descend(self, head: Record, path: Sequence[tuple[str, str]]) -> Record | None:
        at = head
        for kind, name in reversed(path):
            found = self.child_named(at.guid, name)
            if found is None or found.rdn_kind != kind:
                return None
            at = found
        return at

    def child_named(self, parent: uuid.UUID, name: str) -> Record | None:
        """Two siblings never have the same name, of whatever kind they are."""
        guid = self._by_name.get((parent, name.lower()))
        return self.records[guid] if guid else None

    def under(self, base: Record) -> Iterator[Record]:
        """The base and everything below, by DN order of creation."""
        yield base
        for child in sorted(
            self.children.get(base.guid, ()), key=lambda guid: self.records[guid].usn_created
        ):
            yield from self.under(self.records[child])

    def link_targets(self, record: Record, attribute: str, *, deactivated: bool = False) -> list[uuid.UUID]:
        """Visible values of a forward link, or of a back-link. Values from or to deleted objects are hidden."""
        if record.is_deleted and not deactivated:
            return []
        if forward := BACK_LINKS.get(attribute):
            sources = [source for name, source in self.incoming.get(record.guid, ()) if name == forward]
            found = [source for source in sources if self.records[source].links[forward][record.guid].present]
        else:
            found = [value.target for value in record.links.get(attribute, {}).values() if value.present]
        return [one for one in found if deactivated or not self.records[one].is_deleted]

    # ---------------------------------------------------------------------------------------------------- writing

    def next_usn(self) -> int:
        self.usn += 1
        return self.usn

    def _stamp(self, old: Stamp | None, usn: int) -> Stamp:
        return Stamp(old.version + 1 if old else 1, self._tick(), self.invocation_id, usn)

    def add(self, record: Record, values: Mapping[str, Values]) -> Record:
        self._place(record)
        record.usn_created = self.usn + 1
        return self.write(record, values)

    def _place(self, record: Record) -> None:
        self.records[record.guid] = record
        if record.parent is not None:
            self.children.setdefault(record.parent, set()).add(record.guid)

    def write(self, record: Record, values: Mapping[str, Values]) -> Record:
        """One originating update of plain attributes; empty values clear. What stays the same is not stamped."""
        usn = self.next_usn()
        for attribute, new in values.items():
            old = record.attributes.get(attribute.lower())
            if (old.values if old else ()) != tuple(new):
                record.put(attribute, tuple(new), self._stamp(old.stamp if old else None, usn), usn)
        self._touched(record, usn)
        return record

    def rename(
        self, record: Record, parent: uuid.UUID | None, name: str, values: Mapping[str, Values] | None = None
    ) -> None:
        """A move is a write of `name` as well, even where the name stays (MS-ADTS 3.1.1.5.4)."""
        usn = self.next_usn()
        for attribute, new in {"name": (name.encode(),), **(values or {})}.items():
            old = record.attributes.get(attribute.lower())
            record.put(attribute, tuple(new), self._stamp(old.stamp if old else None, usn), usn)
        self._adopt(record, parent)
        self._touched(record, usn)

    def _adopt(self, record: Record, parent: uuid.UUID | None) -> None:
        if record.parent is not None:
            self.children[record.parent].discard(record.guid)
        record.parent = parent
        self._place(record)

    def link(self, record: Record, attribute: str, targets: Iterable[uuid.UUID], *, present: bool) -> None:
        """One originating update of link values; each value has a USN of its own, and the object moves up, too."""
        values = record.links.setdefault(attribute, {})
        for target in targets:
            old, usn = values.get(target), self.next_usn()
            values[target] = LinkValue(target, present, self._stamp(old.stamp if old else None, usn), usn)
            self.incoming.setdefault(target, set()).add((attribute, record.guid))
        self._touched(record, self.next_usn())

    def _index(self, record: Record) -> None:
        self._unindex(record)
        if record.parent is not None:
            record.found_as = (record.parent, record.name.lower())
            self._by_name[record.found_as] = record.guid

    def _unindex(self, record: Record) -> None:
        if record.found_as and self._by_name.get(record.found_as) == record.guid:
            del self._by_name[record.found_as]
        record.found_as = None

    def _touched(self, record: Record, usn: int) -> None:
        self._index(record)
        record.usn_changed = usn
        record.changed_at = self._now()
        for listener in tuple(self.listeners):
            listener(record)

    # ---------------------------------------------------------------------------------------- without a trace

    def drop_links(self, record: Record) -> None:
        """Referential integrity after a deletion: no originating update, no stamp, no USN (MS-ADTS 3.1.1.1.6)."""
        for attribute, source in self.incoming.pop(record.guid, set()):
            self.records[source].links[attribute].pop(record.guid, None)
        for attribute, values in record.links.items():
            for target in values:
                self.incoming.get(target, set()).discard((attribute, record.guid))
        record.links.clear()

    def strip(self, record: Record, kept: frozenset[str] = KEPT_BY_TOMBSTONES) -> dict[str, Values]:
        """What a deletion clears."""
        return {name: () for name, stored in record.attributes.items() if stored.values and name not in kept}

    def expunge(self, record: Record) -> None:
        """Gone from this DC: garbage collection, or a deletion that need not replicate."""
        self.drop_links(record)
        self._unindex(record)
        if record.parent is not None:
            self.children[record.parent].discard(record.guid)
        del self.records[record.guid]

    # ------------------------------------------------------------------------------------------------ replicating

    def pull(self, source: "Replica") -> None:
        """Inbound replication of everything that the source has seen and we have not."""
        for theirs in sorted(source.records.values(), key=lambda record: record.usn_changed):
            self._pull_object(theirs)
        for theirs in sorted(source.records.values(), key=lambda record: record.usn_changed):
            self._pull_links(theirs)
        for dsa, usn in source.up_to_dateness().items():
            if dsa != self.invocation_id:
                self.seen[dsa] = max(usn, self.seen.get(dsa, 0))

    def _pull_object(self, theirs: Record) -> None:
        ours = self.records.get(theirs.guid)
        if ours is None:
            ours = Record(theirs.guid, theirs.rdn_kind, theirs.parent, theirs.root_dn, theirs.phantom)
            self._place(ours)
            ours.usn_created = self.usn + 1
        newer = [
            (name, stored)
            for name, stored in theirs.attributes.items()
            if name not in NOT_REPLICATED
            and ((old := ours.attributes.get(name)) is None or old.stamp < stored.stamp)
        ]
        if not newer:
            return
        usn = self.next_usn()
        for name, stored in newer:
            ours.attributes[name] = replace(stored, local_usn=usn)
            if name == "name":
                self._adopt(ours, theirs.parent)
        ours.deleted_at, ours.recycled_at = theirs.deleted_at, theirs.recycled_at
        if ours.has_lost_links:
            self.drop_links(ours)
        self._touched(ours, usn)

    def _pull_links(self, theirs: Record) -> None:
        ours, changed = self.records[theirs.guid], False
        for attribute, values in theirs.links.items():
            mine = ours.links.setdefault(attribute, {})
            for target, value in values.items():
                if (old := mine.get(target)) is None or old.stamp < value.stamp:
                    mine[target] = replace(value, local_usn=self.next_usn())
                    self.incoming.setdefault(target, set()).add((attribute, ours.guid))
                    changed = True
        if changed:
            self._touched(ours, self.next_usn())

    # ------------------------------------------------------------------------------------------ backup and restore

    def backup(self) -> Backup:
        return Backup(
            tuple(record.copy() for record in self.records.values()),
            self.usn,
            self.invocation_id,
            dict(self.seen),
        )

    def restore(self, backup: Backup) -> None:
        """Back to what the backup holds, as a new instance: the USNs of the old one after it mean nothing here."""
        self.records, self.children, self.incoming, self._by_name = {}, {}, {}, {}
        for record in backup.records:
            restored = record.copy()
            self._place(restored)
            self._index(restored)
        for record in self.records.values():
            for attribute in FORWARD_LINKS:
                for target in record.links.get(attribute, ()):
                    self.incoming.setdefault(target, set()).add((attribute, record.guid))
        self.usn = backup.usn
        self.seen = dict(backup.seen)
        self.begin_instance(backup.usn)

    def begin_instance(self, usn: int | None = None) -> None:
        """A new invocationId; the old one stays in the vector, up to what we hold of it."""
        self.seen[self.invocation_id] = self.usn if usn is None else usn
        self.invocation_id = uuid.uuid4()

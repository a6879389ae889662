"""DirSync (MS-ADTS 3.1.1.3.4.1.3, MS-DRSR 5.115 and 4.1.10.5, as cited in the reference sheet, section 1).

What changed comes in the order of local USNs, as two kinds of entries: an object with its changed attributes, and, apart from
it, an object's changed link values. One object may come more than once in a page and over pages.
"""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field

from sandbox.windows_ldap.codes import Code, Refused
from sandbox.windows_ldap.controls import (
    ANCESTORS_FIRST,
    DIRSYNC,
    INCREMENTAL_VALUES,
    OBJECT_SECURITY,
    Controls,
    DirSyncValue,
)
from sandbox.windows_ldap.cookie import Cookie, refused_cookie
from sandbox.windows_ldap.filters import Predicate, compile_filter
from sandbox.windows_ldap.protocol import Found, Result, Search
from sandbox.windows_ldap.record import LinkValue, Record, Stamp, Stored
from sandbox.windows_ldap.rendering import Rendering
from sandbox.windows_ldap.schema import FORWARD_LINKS, OUTSIDE_DIRSYNC
from sandbox.windows_ldap.searching import Answer, base_of, is_shown, style_of
from sandbox.windows_ldap.sight import ObjectView, Sight

_MOST_OBJECTS = 1000  # MS-DRSR 5.115.4
_SURVIVES_BLINDNESS = ("isdeleted", "isrecycled")


def dirsync(sight: Sight, request: Search, controls: Controls) -> Answer:
    """One page. Refused with 2, 12, 50, 53."""
    control = controls.get(DIRSYNC)
    assert control is not None
    value = DirSyncValue.of(control)
    _admit(sight, request, controls, value)
    return _Page(sight, request, controls, value).answer()


def _admit(sight: Sight, request: Search, controls: Controls, value: DirSyncValue) -> None:
    controller = sight.controller
    if controller.read_only:
        code = controller.manners.rodc_dirsync_code
        raise Refused(code, "00002108: SvcErr: DSID-03150F85, problem 5003 (WILL_NOT_PERFORM), data 0")
    with_object_security = bool(value.flags & OBJECT_SECURITY)
    if not with_object_security and not sight.account.may_get_changes:
        raise Refused(Code.INSUFFICIENT_RIGHTS, "00002105: SecErr: DSID-03152DE4, problem 4003, data 0")
    if base_of(sight, request.base, controls).parent is not None:
        code = Code.UNWILLING if with_object_security else Code.INSUFFICIENT_RIGHTS
        raise Refused(code, "000020F7: SvcErr: the base of DirSync must be the head of a naming context")


@dataclass(frozen=True)
class _Unit:
    """A change in the order of USNs: an object's attributes, or one link value."""

    usn: int
    record: Record
    attribute: str = ""
    link: LinkValue | None = None


@dataclass
class _Links:
    """The entry under way for the link values of one object."""

    record: Record
    added: dict[str, list[uuid.UUID]] = field(default_factory=dict)
    removed: dict[str, list[uuid.UUID]] = field(default_factory=dict)


class _Page:
    def __init__(self, sight: Sight, request: Search, controls: Controls, value: DirSyncValue) -> None:
        self._sight = sight
        self._replica = sight.replica
        self._value = value
        self._controls = controls
        self._head = base_of(sight, request.base, controls)
        self._wanted = [name.lower() for name in request.attributes if name not in ("*", "1.1")]
        self._types = {name.lower(): name for name in request.attributes}
        self._system = _Everything(sight)
        self._matches: Predicate = compile_filter(request.filter, self._system)
        self._rendering = Rendering(sight, style_of(controls, b""), ())
        self._is_first = not value.cookie
        self._cookie = self._start(value.cookie)
        self._limit_objects(request)
        self._entries: list[Found] = []
        self._links: dict[uuid.UUID, _Links] = {}
        self._sent: set[uuid.UUID] = set()
        self._count = 0
        self._bytes = 0

    def _limit_objects(self, request: Search) -> None:
        limits = self._sight.controller.limits
        most = min(_MOST_OBJECTS, limits.max_page_size)
        self._most_objects = max(min(request.size_limit or most, most), limits.dirsync_least_objects)
        self._most_bytes = max(self._value.max_bytes, limits.dirsync_least_bytes)

    def _start(self, raw: bytes) -> Cookie:
        ours = self._replica.invocation_id
        if not raw:
            return Cookie(ours, 0, 0, {})
        cookie = Cookie.decode(raw)
        forest, manners = self._sight.forest, self._sight.controller.manners
        if cookie.source not in forest.known_instances:
            raise refused_cookie()
        if cookie.source == ours:
            return cookie
        if manners.refuses_cookies_of_others:
            raise refused_cookie()
        # Another DC's USNs mean nothing here; what the client has seen of every DC's writes does.
        return Cookie(ours, 0, 0, cookie.seen)

    # ------------------------------------------------------------------------------------------------- going through

    def answer(self) -> Answer:
        units = sorted(self._units(), key=lambda unit: unit.usn)
        position, examined = self._cookie.position, 0
        for unit in units:
            if self._is_full() or examined >= self._sight.controller.limits.dirsync_examined:
                break
            examined += 1
            self._deliver(unit)
            position = unit.usn
        more = examined < len(units)
        entries = [
            *self._entries,
            *(entry for links in self._links.values() for entry in self._link_entry(links)),
        ]
        control = DirSyncValue.answer(self._next_cookie(position, more=more).encode(), more=more)
        return Answer(list(entries), Result(controls=(control,)))

    def _is_full(self) -> bool:
        return self._count >= self._most_objects or self._bytes >= self._most_bytes

    def _next_cookie(self, position: int, *, more: bool) -> Cookie:
        now, ours = self._sight.forest.now(), self._replica.invocation_id
        if more:
            return Cookie(ours, position, self._cookie.since, self._cookie.seen, now)
        return Cookie(ours, self._replica.usn, self._replica.usn, self._replica.up_to_dateness(), now)

    def _units(self) -> Iterator[_Unit]:
        for record in tuple(self._replica.records.values()):
            if record.usn_changed <= self._cookie.position or record.phantom:
                continue
            if self._replica.head_of(record.guid) is not self._head:
                continue
            yield _Unit(record.usn_changed, record)
            if self._value.flags & INCREMENTAL_VALUES:
                for attribute, values in record.links.items():
                    for value in values.values():
                        if value.local_usn > self._cookie.position and self._is_new(
                            value.local_usn, value.stamp
                        ):
                            yield _Unit(value.local_usn, record, attribute, value)

    def _is_new(self, local_usn: int, stamp: Stamp) -> bool:
        return local_usn > self._cookie.since and stamp.usn > self._cookie.seen.get(stamp.dsa, 0)

    def _deliver(self, unit: _Unit) -> None:
        if self._value.flags & ANCESTORS_FIRST:
            above = list(self._replica.lineage(unit.record.guid))
            for ancestor in reversed(above if unit.link else above[1:]):
                # One whose own turn comes later goes ahead now, and comes again then.
                if ancestor.usn_changed > unit.usn and ancestor.guid not in self._sent:
                    self._deliver_object(ancestor)
        if unit.link:
            self._deliver_link(unit)
        else:
            self._deliver_object(unit.record)

    def _passes(self, record: Record) -> bool:
        if not is_shown(record, self._controls):
            return False
        # As the system sees the object: rights decide about what is sent, not about what matches.
        return self._matches(ObjectView(record, self._system)) is True

    # ------------------------------------------------------------------------------------------------------ objects

    def _deliver_object(self, record: Record) -> None:
        self._sent.add(record.guid)
        entry = self._object_entry(record) if self._passes(record) else None
        if entry is not None:
            self._entries.append(entry)
            self._count += 1
            self._bytes += len(entry.encode(0))

    def _object_entry(self, record: Record) -> Found | None:
        changed = dict(self._changed(record))
        guid = ("objectGUID", (record.guid.bytes_le,))
        if self._value.flags & OBJECT_SECURITY and not self._sight.sees(record):
            left = [
                (changed[name].name, changed[name].values) for name in _SURVIVES_BLINDNESS if name in changed
            ]
            return Found("", (guid, *left)) if left else None
        attributes = [(stored.name, self._readable(record, name, stored)) for name, stored in changed.items()]
        if not self._value.flags & INCREMENTAL_VALUES:
            attributes.extend(self._whole_links(record))
        if not attributes:
            return None
        if "name" in changed and record.parent is not None:
            attributes.append(("parentGUID", (record.parent.bytes_le,)))
        instance = () if "instancetype" in changed else (("instanceType", record.values("instancetype")),)
        return Found(self._rendering.dn(record), (guid, *instance, *attributes))

    def _changed(self, record: Record) -> Iterator[tuple[str, Stored]]:
        for name, stored in record.attributes.items():
            if name in OUTSIDE_DIRSYNC or not self._is_wanted(name):
                continue
            if self._is_new(stored.local_usn, stored.stamp) and (stored.values or not self._is_first):
                yield name, stored

    def _is_wanted(self, name: str) -> bool:
        """`*` beside a name is ignored."""
        return not self._wanted or name in self._wanted

    def _readable(self, record: Record, name: str, stored: Stored) -> tuple[bytes, ...]:
        """What the account may not read comes empty, just like what was cleared (MS-DRSR 4.1.10.5.8)."""
        if self._value.flags & OBJECT_SECURITY and not self._sight.reads(record, name):
            return ()
        return self._rendering.values(name, stored.values)

    # -------------------------------------------------------------------------------------------------------- links

    def _deliver_link(self, unit: _Unit) -> None:
        value, record = unit.link, unit.record
        assert value is not None
        if (
            not self._is_wanted(unit.attribute)
            or not self._passes(record)
            or not self._shows_links(record, unit.attribute)
        ):
            return
        target = self._replica.records[value.target]
        if record.is_deleted or target.is_deleted or (self._is_first and not value.present):
            return  # links of and to deleted objects are hidden; what was removed long ago is no news
        links = self._links.setdefault(record.guid, _Links(record))
        side = links.added if value.present else links.removed
        side.setdefault(unit.attribute, []).append(value.target)
        self._count += 1
        self._bytes += len(self._rendering.dn(target)) + 2

    def _shows_links(self, record: Record, attribute: str) -> bool:
        return not self._value.flags & OBJECT_SECURITY or self._sight.reads(record, attribute)

    def _link_entry(self, links: _Links) -> Iterator[Found]:
        attributes: list[tuple[str, tuple[bytes, ...]]] = [("objectGUID", (links.record.guid.bytes_le,))]
        for number, side in (("1", links.added), ("0", links.removed)):
            for attribute, targets in side.items():
                values = tuple(self._rendering.dn(self._replica.records[guid]).encode() for guid in targets)
                shown = self._types.get(attribute, attribute)
                attributes.append((f"{shown};range={number}-{number}", values))
        yield Found(self._rendering.dn(links.record), tuple(attributes))

    def _whole_links(self, record: Record) -> Iterator[tuple[str, tuple[bytes, ...]]]:
        """Without incremental values: all values there are now, "up to a server-specified limit"."""
        for attribute in FORWARD_LINKS:
            held = record.links.get(attribute, {}).values()
            if not self._is_wanted(attribute) or not self._shows_links(record, attribute):
                continue
            if any(self._is_new(value.local_usn, value.stamp) for value in held):
                targets = self._replica.link_targets(record, attribute)
                if targets or not self._is_first:
                    shown = targets[: self._sight.controller.limits.max_val_range]
                    values = tuple(self._rendering.dn(self._replica.records[guid]).encode() for guid in shown)
                    yield self._types.get(attribute, attribute), values


class _Everything(Sight):
    """The system's own sight."""

    def __init__(self, sight: Sight) -> None:
        super().__init__(sight.forest, sight.controller, sight.account)

    def sees(self, record: Record) -> bool:  # noqa: ARG002
        return True

    def permits(self, attribute: str) -> bool:  # noqa: ARG002
        return True

"""Reading what is there now: entries, members, parents, tombstones, a group by its name."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from ldap3.utils.conv import escape_filter_chars

from pipeline.errors import AmbiguousGroup, DirectoryError, GroupNotFound
from pipeline.model import Entry, Kind, Target
from stages.directory.controls import (
    DOMAIN_SCOPE,
    EXTENDED_DN,
    SHOW_DELETED,
    SHOW_RECYCLED,
    SHOW_RECYCLED_OID,
    Control,
    paged,
)
from stages.directory.entries import entry_of, guid_base, guid_of, parse_target
from stages.directory.faults import (
    INSUFFICIENT_RIGHTS,
    INVALID_DN,
    NO_SUCH_OBJECT,
    REFERRAL,
    UNWILLING,
    LdapRefusal,
)
from stages.directory.paging import read_all, read_few, read_values
from stages.directory.wire import EVERYTHING, RawEntry, Scope, Search, Searcher

GUIDS_PER_SEARCH = 200
"""More make a server compare more: Samba takes 65 microseconds a person for 200 at a time, 94 for 500 (measured)."""
GROUPS_PER_SEARCH = 50
"""Each may bring 1,500 members at once (MaxValRange): some 15 MB in one answer."""
DELETED_OBJECTS_WKGUID = "18e2ea80684f11d2b9aa00c04f79f805"  # MS-ADTS 6.1.1.4

K = TypeVar("K", str, int)

_BASIC_ATTRIBUTES = (
    "objectGUID",
    "objectClass",
    "objectSid",
    "name",
    "sAMAccountName",
    "givenName",
    "sn",
    "displayName",
    "userAccountControl",
    "accountExpires",
    "primaryGroupID",
)
_LOOKS_LIKE_DN = re.compile(r"[A-Za-z][A-Za-z0-9.-]*\s*=")
_NOT_THERE = frozenset({NO_SUCH_OBJECT, INVALID_DN, UNWILLING})
_GROUP_HINT = "give the service account the right to read all properties of the group"


def entry_attributes(email_attribute: str) -> tuple[str, ...]:
    return (*_BASIC_ATTRIBUTES, email_attribute)


async def find_group(searcher: Searcher, reference: str, email_attribute: str) -> Entry:
    """By DN, objectGUID, sAMAccountName, else cn. GroupNotFound, AmbiguousGroup."""
    wanted = reference.strip()
    purpose = f"find the group {wanted!r}"
    attributes = entry_attributes(email_attribute)
    found: list[RawEntry] = []
    if address := _address_of(wanted):
        found = await _at(searcher, purpose, address, attributes)
        if found and entry_of(found[0], email_attribute).kind is not Kind.GROUP:
            raise GroupNotFound(purpose, f"{found[0].dn} is no group")
    for name in ("sAMAccountName", "cn"):
        if not found and wanted:
            found = await read_all(
                searcher,
                Search(
                    purpose=purpose,
                    base=searcher.controller.base_dn,
                    scope=Scope.SUBTREE,
                    filter=f"(&(objectClass=group)({name}={escape_filter_chars(wanted)}))",
                    attributes=attributes,
                    controls=(DOMAIN_SCOPE,),
                ),
            )
    if not found:
        raise GroupNotFound(purpose, "the account sees no such group")
    if len(found) > 1:
        raise AmbiguousGroup(
            purpose, "several groups have that name: " + "; ".join(sorted(e.dn for e in found))
        )
    return entry_of(found[0], email_attribute)


async def read_entries(searcher: Searcher, guids: Sequence[str], email_attribute: str) -> dict[str, Entry]:
    """The living and visible ones among `guids`, in searches of 200."""
    entries: dict[str, Entry] = {}
    for chunk in _chunks(guids):
        for raw in await read_few(
            searcher,
            Search(
                purpose="read people and groups",
                base=searcher.controller.base_dn,
                scope=Scope.SUBTREE,
                guids=tuple(chunk),
                attributes=entry_attributes(email_attribute),
                controls=(DOMAIN_SCOPE,),
            ),
        ):
            # An object that shows itself without its properties counts as one that can't be seen.
            if guid_of(raw) and raw.values.get("objectclass"):
                entry = entry_of(raw, email_attribute)
                entries[entry.guid] = entry
    return entries


async def read_members(searcher: Searcher, group_guid: str) -> tuple[Target, ...]:
    """The explicit members of one group; whole, or DirectoryError."""
    purpose = f"read the members of the group {group_guid}"
    for _ in range(2):
        try:
            values = await read_values(
                searcher,
                purpose=purpose,
                base=guid_base(group_guid),
                attribute="member",
                controls=(EXTENDED_DN,),
            )
        except LdapRefusal as refused:
            if refused.code not in _NOT_THERE:
                raise
            values = None
        if values is None:
            raise DirectoryError(purpose, "the account does not see this group", _GROUP_HINT)
        # Somebody may have come in between the two questions: then the second round reads them.
        if values or await _is_empty(searcher, purpose, group_guid):
            return _targets(values)
    raise DirectoryError(purpose, "it seems empty, but its members may only be hidden", _GROUP_HINT)


async def read_members_of(searcher: Searcher, guids: Sequence[str]) -> dict[str, tuple[Target, ...]]:
    """As `read_members`, many groups a search. Only what certainly is a whole list is taken from it: values without a range
    (a list that is too long comes as `member` without values beside a first range, MS-ADTS 3.1.1.3.1.3.3). Every other group,
    one that seems empty included, is read by itself.
    """
    found: dict[str, tuple[Target, ...]] = {}
    for chunk in _chunks(guids, GROUPS_PER_SEARCH):
        if len(chunk) == 1:
            continue
        for raw in await read_few(
            searcher,
            Search(
                purpose="read the members of groups",
                base=searcher.controller.base_dn,
                scope=Scope.SUBTREE,
                guids=tuple(chunk),
                attributes=("objectGUID", "member"),
                controls=(DOMAIN_SCOPE, EXTENDED_DN),
            ),
        ):
            values = raw.values.get("member", ())
            if values and not any(name.startswith("member;") for name in raw.values):
                found[guid_of(raw)] = _targets(values)
    return {guid: found[guid] if guid in found else await read_members(searcher, guid) for guid in guids}


async def is_version_readable(searcher: Searcher, guid: str) -> bool:
    """Whether `uSNChanged` of the object is shown: without it a list that comes in parts is refused (`read_values`)."""
    answer = await searcher.search(
        Search(
            purpose="read uSNChanged",
            base=guid_base(guid),
            scope=Scope.BASE,
            attributes=("uSNChanged",),
        )
    )
    return any(raw.first("usnchanged") for raw in answer.entries)


async def read_primary_members(searcher: Searcher, rid: int) -> tuple[str, ...]:
    """GUIDs of the people whose primary group has this relative identifier. Computers are left out."""
    return (await read_primary_members_of(searcher, [rid]))[rid]


async def read_primary_members_of(searcher: Searcher, rids: Sequence[int]) -> dict[int, tuple[str, ...]]:
    """As `read_primary_members`, many groups a search. DirectoryError where an account hides which of them it belongs to."""
    found: dict[int, list[str]] = {rid: [] for rid in rids}
    for chunk in _chunks(list(found), GUIDS_PER_SEARCH):
        any_of = "".join(f"(primaryGroupID={rid:d})" for rid in chunk)
        purpose = f"read the members by primary group {', '.join(map(str, chunk[:5]))}"
        for raw in await read_all(
            searcher,
            Search(
                purpose=purpose,
                base=searcher.controller.base_dn,
                scope=Scope.SUBTREE,
                # The rare one first: Samba goes through the parts in this order until one is short enough (ldb's index).
                filter=f"(&(|{any_of})(objectCategory=person)(objectClass=user))",
                attributes=("objectGUID", "primaryGroupID"),
                controls=(DOMAIN_SCOPE,),
            ),
        ):
            rid = raw.text("primarygroupid")
            named = int(rid) if rid.isdecimal() else chunk[0] if len(chunk) == 1 else None
            if named not in found:
                raise DirectoryError(
                    purpose,
                    f"{raw.dn} belongs to one of them, but its primaryGroupID can't be read",
                    "give the service account the right to read all properties of people",
                )
            if guid := guid_of(raw):
                found[named].append(guid)
    return {rid: tuple(guids) for rid, guids in found.items()}


def _targets(values: Iterable[bytes]) -> tuple[Target, ...]:
    return tuple(parse_target(value.decode("utf-8", errors="replace")) for value in values)


async def read_parents(searcher: Searcher, guid: str) -> tuple[str, ...]:
    """GUIDs of the groups that hold the object explicitly; empty where it can't be seen."""
    try:
        values = await read_values(
            searcher,
            purpose=f"read the groups of {guid}",
            base=guid_base(guid),
            attribute="memberOf",
            controls=(EXTENDED_DN,),
        )
    except LdapRefusal as refused:
        if refused.code not in _NOT_THERE:
            raise
        values = None
    return tuple(parse_target(value.decode("utf-8", errors="replace")).guid for value in values or ())


async def read_tombstones(searcher: Searcher, guids: Sequence[str]) -> frozenset[str]:
    """Those of `guids` that this domain shows as deleted."""
    return frozenset(
        [
            guid
            for chunk in _chunks(guids)
            for raw in await read_few(
                searcher,
                Search(
                    purpose="look for tombstones",
                    base=searcher.controller.base_dn,
                    scope=Scope.SUBTREE,
                    filter="(isDeleted=TRUE)",
                    guids=tuple(chunk),
                    attributes=("objectGUID", "isDeleted"),
                    controls=(DOMAIN_SCOPE, *deleted_controls(searcher)),
                ),
            )
            if (guid := guid_of(raw)) and raw.text("isdeleted").upper() == "TRUE"
        ]
    )


async def sees_tombstones(searcher: Searcher) -> bool | None:
    """True only with a real tombstone in hand. False where the container hides its own properties, as it does from an
    account that was given nothing (measured on Samba). None where it is open and empty.
    """
    purpose = "look for a tombstone"
    base = deleted_objects(searcher)
    try:
        container = await searcher.search(
            Search(
                purpose=purpose,
                base=base,
                scope=Scope.BASE,
                attributes=("objectGUID", "isDeleted"),
                controls=(SHOW_DELETED,),
            )
        )
        # One level: the container is itself a deleted object, and everybody sees that.
        first = await searcher.search(
            Search(
                purpose=purpose,
                base=base,
                scope=Scope.LEVEL,
                filter="(&(isDeleted=TRUE)(|(objectClass=user)(objectClass=group)))",
                attributes=("objectGUID",),
                controls=(*deleted_controls(searcher), paged(1, b"")),  # one is enough
            )
        )
    except LdapRefusal as refused:
        if refused.code in {NO_SUCH_OBJECT, UNWILLING, INSUFFICIENT_RIGHTS}:
            return False
        raise
    if any(guid_of(raw) for raw in first.entries):
        return True
    is_open = any(raw.first("isdeleted") is not None for raw in container.entries)
    return None if is_open else False


def deleted_objects(searcher: Searcher) -> str:
    """By its well-known GUID: its name is translated on some domains."""
    return f"<WKGUID={DELETED_OBJECTS_WKGUID},{searcher.controller.base_dn}>"


def deleted_controls(searcher: Searcher) -> tuple[Control, ...]:
    """With the Recycle Bin an object is first deleted, then recycled; both are proof."""
    if SHOW_RECYCLED_OID in searcher.controller.controls:
        return (SHOW_DELETED, SHOW_RECYCLED)
    return (SHOW_DELETED,)


async def _is_empty(searcher: Searcher, purpose: str, group_guid: str) -> bool:
    """An unreadable `member` looks like no member, so "none" needs two proofs.

    Windows: a filter on an attribute that may not be read is neither true nor false (MS-ADTS 3.1.1.3.1.3.1), so only a
    group that may be read, and has none, matches. Samba matches all the same (measured); there, nobody may claim to be
    in it: `memberOf` is readable by itself. That search costs Samba 17 microseconds an object of the domain.
    """
    group = await searcher.search(
        Search(
            purpose=purpose,
            base=guid_base(group_guid),
            scope=Scope.BASE,
            filter="(&(objectClass=group)(!(member=*)))",
            attributes=("objectGUID",),
        )
    )
    if not group.entries:
        return False
    claims = await searcher.search(
        Search(
            purpose=purpose,
            base=searcher.controller.base_dn,
            scope=Scope.SUBTREE,
            filter=f"(memberOf={escape_filter_chars(group.entries[0].dn)})",
            attributes=("objectGUID",),
            controls=(DOMAIN_SCOPE, paged(1, b"")),
        )
    )
    return not claims.entries


async def _at(searcher: Searcher, purpose: str, base: str, attributes: tuple[str, ...]) -> list[RawEntry]:
    try:
        answer = await searcher.search(
            Search(purpose=purpose, base=base, scope=Scope.BASE, filter=EVERYTHING, attributes=attributes)
        )
    except LdapRefusal as refused:
        # Windows refers a name outside its domain elsewhere; nobody goes there, and the group is not here.
        if refused.code in _NOT_THERE or refused.code == REFERRAL:
            return []
        raise
    return [raw for raw in answer.entries if guid_of(raw)]


def _address_of(reference: str) -> str:
    """A search base, where the reference is a DN or a GUID; "" for a mere name."""
    try:
        return f"<GUID={uuid.UUID(reference)}>"
    except ValueError:
        return reference if _LOOKS_LIKE_DN.match(reference) else ""


def _chunks(items: Sequence[K], size: int = GUIDS_PER_SEARCH) -> Iterator[Sequence[K]]:
    unique = list(dict.fromkeys(items))
    for start in range(0, len(unique), size):
        yield unique[start : start + size]

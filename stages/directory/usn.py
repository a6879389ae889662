"""Changes by sequence numbers: all objects whose `uSNChanged` is above what we have seen, on exactly one server.

For where DirSync is refused. It tells which objects changed, never what; the numbers of one server mean nothing on
another one, nor on the same one after it was restored.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from datetime import datetime

from pipeline.errors import CheckpointRefused, DirectoryError
from pipeline.model import Delta, Kind
from stages.directory.controls import DOMAIN_SCOPE, EXTENDED_DN
from stages.directory.entries import guid_of, kind_of, parse_target, plain_dn
from stages.directory.epoch import FILTER, OPERATION, change_attributes
from stages.directory.faults import INSUFFICIENT_RIGHTS, NO_SUCH_OBJECT, LdapRefusal
from stages.directory.paging import pages_of
from stages.directory.reader import deleted_controls, deleted_objects
from stages.directory.root import read_highest_usn, read_invocation_id
from stages.directory.wire import RawEntry, Scope, Search, Searcher

# A number is given out within an operation and may be written after a higher one; Microsoft's text does not rule out that
# the highest is told in between (MS-ADTS 3.1.1.3.4.1.30.1). So the last ones are looked at again.
OVERLAP = 1000

_PURPOSE = "read changes by sequence numbers"
_HIDDEN = frozenset({NO_SUCH_OBJECT, INSUFFICIENT_RIGHTS})


class Delivered:
    """What the overlap would deliver again and again. Kept in memory only: after a restart it is delivered once more."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[int, datetime]] = {}
        self.quiet_usn: int | None = None
        """Where two polls in a row found the server: nothing can be in flight below it any more."""

    def is_repeated(self, guid: str, usn: int, since: datetime | None) -> bool:
        """Whether the same state was delivered by a poll whose checkpoint, or a later one, was handed back to us: then it
        is known to be stored.
        """
        known = self._seen.get(guid)
        return known is not None and since is not None and known[0] == usn and known[1] <= since

    def note(self, guid: str, usn: int, at: datetime) -> None:
        self._seen[guid] = (usn, at)

    def forget_below(self, usn: int) -> None:
        self._seen = {guid: known for guid, known in self._seen.items() if known[0] > usn}


async def start(searcher: Searcher, delivered: Delivered, at: datetime) -> int:
    """The number to go on from. What the overlap would bring first is noted as delivered: a full read follows."""
    demand_epoch(searcher)
    highest = await read_highest_usn(searcher.search)
    async for raw, is_dead in _changed(searcher, highest):
        del is_dead
        delivered.note(guid_of(raw), _usn_of(raw), at)
    return highest


async def changes(
    searcher: Searcher,
    since_usn: int,
    since_at: datetime | None,
    delivered: Delivered,
    *,
    email_attribute: str,
    at: datetime,
) -> AsyncGenerator[tuple[tuple[Delta, ...], int | None], None]:
    """Pages of deltas; the last one comes with the new number, the others with None.

    `searcher` must be on the server that `since_usn` is from. `at` is the time of the checkpoint that will be made.
    CheckpointRefused where the epoch changes on the way.
    """
    demand_epoch(searcher)
    # Before the search: whatever is written meanwhile has a higher number and comes next time.
    highest = await read_highest_usn(searcher.search)
    if highest < since_usn:
        raise CheckpointRefused(
            OPERATION,
            f"the server is at {highest}, before the checkpoint's {since_usn}",
            "nothing to do: everything is read afresh",
        )
    if highest == since_usn == delivered.quiet_usn:
        yield (), highest
        return
    attributes = tuple(name.lower() for name in change_attributes(email_attribute))
    page: dict[str, Delta] = {}
    async for raw, is_dead in _changed(searcher, since_usn):
        guid, usn = guid_of(raw), _usn_of(raw)
        if delivered.is_repeated(guid, usn, since_at):
            continue
        delivered.note(guid, usn, at)
        page[guid] = _delta_of(raw, attributes, is_dead=is_dead)
        if len(page) >= 1000:
            yield tuple(page.values()), None
            page = {}
    epoch = await read_invocation_id(searcher.search, searcher.controller.ds_service)
    if epoch != searcher.controller.invocation_id:
        raise CheckpointRefused(
            OPERATION,
            "the server was restored while it was read",
            "nothing to do: everything is read afresh",
        )
    delivered.forget_below(highest - OVERLAP)
    delivered.quiet_usn = highest if highest == since_usn else None
    yield tuple(page.values()), highest


async def _changed(searcher: Searcher, since: int) -> AsyncGenerator[tuple[RawEntry, bool], None]:
    low = max(0, since + 1 - OVERLAP)  # LDAP knows no "greater than"
    living = Search(
        purpose=_PURPOSE,
        base=searcher.controller.base_dn,
        scope=Scope.SUBTREE,
        filter=f"(&(uSNChanged>={low}){FILTER})",
        attributes=(
            "objectGUID",
            "objectClass",
            "userAccountControl",
            "uSNChanged",
            "lastKnownParent",
            "memberOf",
        ),
        controls=(DOMAIN_SCOPE, EXTENDED_DN),
    )
    async for entries in pages_of(searcher, living):
        for raw in entries:
            if guid_of(raw):
                yield raw, False
    dead = Search(
        purpose=_PURPOSE,
        base=deleted_objects(searcher),
        scope=Scope.SUBTREE,
        filter=f"(&(isDeleted=TRUE)(uSNChanged>={low}){FILTER})",
        attributes=("objectGUID", "objectClass", "userAccountControl", "uSNChanged", "isDeleted"),
        controls=deleted_controls(searcher),
    )
    try:
        async for entries in pages_of(searcher, dead):
            for raw in entries:
                if guid_of(raw) and raw.text("isdeleted").upper() == "TRUE":
                    yield raw, True
    except LdapRefusal as refused:
        if refused.code not in _HIDDEN:
            raise
        # An account without the right sees no deletions; `sees_tombstones` says so.


def _delta_of(raw: RawEntry, attributes: tuple[str, ...], *, is_dead: bool) -> Delta:
    kind = kind_of(raw)
    # A restored object keeps it (measured on Samba): the one trace of an undelete that a living object shows.
    untold = frozenset() if raw.values.get("lastknownparent") else frozenset({"lastknownparent"})
    return Delta(
        guid=guid_of(raw),
        dn=plain_dn(raw.dn),
        kind=kind,
        tombstone=is_dead,
        # Which value came or went isn't told, nor whether any did.
        members_unknown=kind is Kind.GROUP and not is_dead,
        attributes=tuple(name for name in attributes if name not in untold),  # any may be what changed
        holders=None if is_dead else _holders_of(raw),
    )


def _holders_of(raw: RawEntry) -> frozenset[str] | None:
    """None where they are so many that they come in parts (MaxValRange)."""
    if any(name.startswith("memberof;range=") for name in raw.values):
        return None
    values = raw.values.get("memberof", ())
    return frozenset(parse_target(value.decode("utf-8", errors="replace")).guid for value in values)


def _usn_of(raw: RawEntry) -> int:
    text = raw.text("usnchanged")
    return int(text) if text.isdecimal() else 0


def demand_epoch(searcher: Searcher) -> None:
    """DirectoryError where the numbers can't be told apart from those of before a restore."""
    if not searcher.controller.invocation_id:
        raise DirectoryError(
            _PURPOSE,
            "the account can't read invocationId, the epoch that the numbers belong to",
            f"give it read access to {searcher.controller.ds_service}",
        )

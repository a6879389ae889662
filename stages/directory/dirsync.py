"""Changes by DirSync: the server keeps account of what we have seen, in a cookie that any server of the domain takes."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Iterable

from pipeline.errors import CheckpointRefused, DirectoryBusy, DirectoryError
from pipeline.model import Delta, Kind, Target
from stages.directory.controls import EXTENDED_DN, SHOW_DELETED, dirsync
from stages.directory.entries import guid_filter, guid_of, kind_of, parse_target, plain_dn
from stages.directory.epoch import FILTER, OPERATION, change_attributes
from stages.directory.faults import (
    INSUFFICIENT_RIGHTS,
    PROTOCOL_ERROR,
    UNAVAILABLE_CRITICAL_EXTENSION,
    UNWILLING,
    LdapRefusal,
)
from stages.directory.wire import Answer, RawEntry, Scope, Search, Searcher

# Above MaxDirSyncDuration, the 60 s after which Windows ends such a search by itself (MS-ADTS 3.1.1.3.4.6).
PATIENCE_SECONDS = 90

# Never matched: a cookie of now without reading the domain for it.
_NOTHING = "(objectGUID=" + "\\00" * 16 + ")"
_REFUSED = frozenset({INSUFFICIENT_RIGHTS, UNAVAILABLE_CRITICAL_EXTENSION, PROTOCOL_ERROR, UNWILLING})
_COOKIE_REFUSED = frozenset({PROTOCOL_ERROR, UNAVAILABLE_CRITICAL_EXTENSION})
_LINKS = re.compile(r"member;range=(\d+)-(\d+)")
_UNTOLD = frozenset({"objectguid", "instancetype", "parentguid"})


class DirSyncRefused(DirectoryError):
    """The server or the account can't do DirSync at all; sequence numbers may."""


async def fresh_cookie(searcher: Searcher, email_attribute: str) -> bytes:
    """A cookie of now. DirSyncRefused where the server doesn't give one to this account."""
    purpose = "ask for a DirSync cookie"
    if searcher.controller.read_only:
        # Windows answers ERROR_DS_DRA_SOURCE_DISABLED (MS-DRSR 4.1.10.5.2), in which LDAP code is not documented.
        raise DirSyncRefused(purpose, f"{searcher.controller.host_name} is a read-only domain controller")
    cookie = b""
    try:
        while True:
            answer = await _ask(searcher, purpose, _NOTHING, cookie, email_attribute)
            cookie, before = _cookie_of(answer, purpose), cookie
            if not answer.more_changes:
                return cookie
            _demand_progress(purpose, before, cookie)
    except LdapRefusal as refused:
        if refused.code in _REFUSED and not cookie:
            raise DirSyncRefused(purpose, refused.cause, refused.hint) from refused
        raise


async def changes(
    searcher: Searcher, cookie: bytes, email_attribute: str
) -> AsyncGenerator[tuple[tuple[Delta, ...], bytes, bool], None]:
    """Pages of deltas, each with the cookie after it and whether more follow; at least one page.

    CheckpointRefused where the server does not take the cookie, DirSyncRefused where it takes none.
    """
    purpose = "read changes by DirSync"
    while True:
        try:
            answer = await _ask(searcher, purpose, FILTER, cookie, email_attribute)
        except LdapRefusal as refused:
            if refused.code in _COOKIE_REFUSED:
                # Windows says 2, Samba says 12. Without a cookie 12 would be a fault of ours; one was sent.
                raise CheckpointRefused(
                    OPERATION,
                    f"the server does not take the cookie ({refused.cause})",
                    "nothing to do: everything is read afresh",
                ) from refused
            if refused.code in _REFUSED:
                raise DirSyncRefused(purpose, refused.cause, refused.hint) from refused
            raise
        before, cookie = cookie, _cookie_of(answer, purpose)
        yield deltas_of(answer.entries), cookie, answer.more_changes
        if not answer.more_changes:
            return
        _demand_progress(purpose, before, cookie)


async def members_from_the_beginning(
    searcher: Searcher, group_guid: str, email_attribute: str, *, most_answers: int = 20
) -> frozenset[str] | None:
    """The members of one group as DirSync tells them from an empty cookie on; None when that takes too many answers.

    For a check only: MS-DRSR 4.1.10.5.7 can be read as if `member` of some groups were never delivered.
    """
    purpose, cookie = "compare the members by DirSync", b""
    links: set[str] = set()
    for _ in range(most_answers):
        answer = await _ask(searcher, purpose, guid_filter(group_guid), cookie, email_attribute)
        for delta in deltas_of(answer.entries):
            links |= {target.guid for target in delta.added}
        before, cookie = cookie, _cookie_of(answer, purpose)
        if not answer.more_changes:
            return frozenset(links)
        _demand_progress(purpose, before, cookie)
    return None


def deltas_of(entries: Iterable[RawEntry]) -> tuple[Delta, ...]:
    """One delta an object. Windows sends an object's attributes and its link values as separate entries, the latter with
    the GUID alone (MS-DRSR 5.115.5); they are merged in the order of arrival.
    """
    merged: dict[str, _Merge] = {}
    for entry in entries:
        guid = guid_of(entry) or _guid_in_dn(entry.dn)
        merged.setdefault(guid, _Merge(guid)).take(entry)
    return tuple(merge.delta() for merge in merged.values())


class _Merge:
    def __init__(self, guid: str) -> None:
        self._guid = guid
        self._dn = ""
        self._kind: Kind | None = None
        self._tombstone = False
        self._restored = False
        self._links: dict[str, tuple[Target, bool]] = {}
        self._members_unknown = False
        self._attributes: dict[str, None] = {}

    def take(self, entry: RawEntry) -> None:
        self._dn = plain_dn(entry.dn) or self._dn
        self._kind = kind_of(entry) or self._kind
        for name, values in entry.values.items():
            if name == "isdeleted":
                # Present without a value, or false: it was taken away again.
                self._tombstone = any(value.upper() == b"TRUE" for value in values)
                self._restored = not self._tombstone
            elif name == "member" or name.startswith("member;"):
                self._take_links(name, values)
            if name not in _UNTOLD:
                self._attributes[name.partition(";")[0]] = None

    def _take_links(self, name: str, values: tuple[bytes, ...]) -> None:
        if name == "member" and not values:
            return  # Windows puts an empty one beside a ranged one
        found = _LINKS.fullmatch(name)
        if found is None or found[1] != found[2] or found[1] not in "01":
            # A whole list instead of increments may be cut at a server's limit: never believed.
            self._members_unknown = True
            return
        for value in values:
            target = parse_target(value.decode("utf-8", errors="replace"))
            self._links.pop(target.guid, None)
            self._links[target.guid] = (target, found[1] == "1")

    def delta(self) -> Delta:
        links = self._links.values()
        return Delta(
            guid=self._guid,
            dn=self._dn,
            kind=self._kind,
            tombstone=self._tombstone,
            restored=self._restored,
            added=tuple(target for target, is_there in links if is_there),
            removed=tuple(target for target, is_there in links if not is_there),
            members_unknown=self._members_unknown,
            attributes=tuple(self._attributes),
        )


async def _ask(
    searcher: Searcher, purpose: str, condition: str, cookie: bytes, email_attribute: str
) -> Answer:
    return await searcher.search(
        Search(
            purpose=purpose,
            base=searcher.controller.base_dn,  # must be the root of the naming context
            scope=Scope.SUBTREE,
            filter=condition,
            attributes=change_attributes(email_attribute),
            controls=(dirsync(cookie), EXTENDED_DN, SHOW_DELETED),
            patience_seconds=PATIENCE_SECONDS,
        )
    )


def _cookie_of(answer: Answer, purpose: str) -> bytes:
    if not answer.change_cookie:
        raise DirectoryError(
            purpose,
            "the server sent no cookie",
            "set directory.change_source to usn, and tell us of this server",
        )
    return answer.change_cookie


def _demand_progress(purpose: str, before: bytes, after: bytes) -> None:
    if before == after:
        raise DirectoryBusy(purpose, "the server promises more and sends the same again", "it is tried again")


def _guid_in_dn(dn: str) -> str:
    """A tombstone that the account can't read has an empty DN; then there is always an objectGUID."""
    return parse_target(dn).guid

"""A scripted server in the readers' own words: the limits of Windows that Samba does not have, and errors at any request.

Written from the rules in the reference (MaxValRange, MaxPageSize, ranges, paged cookies), not from what the readers send.
"""

import re
import uuid
from collections.abc import Callable
from functools import cache

import pytest

from stages.directory.controls import DIRSYNC_OID, PAGED_OID, RANGE_NOERR_OID, SHOW_DELETED_OID
from stages.directory.faults import refusal
from stages.directory.wire import Answer, Controller, RawEntry, Scope, Search

_RANGED = re.compile(r"(\w+);range=(\d+)-(\d+|\*)")


def guid(number: int) -> str:
    return str(uuid.UUID(int=number))


def raw_guid(text: str) -> bytes:
    return uuid.UUID(text).bytes_le


def controller(**changes: object) -> Controller:
    facts: dict[str, object] = {
        "base_dn": "DC=example,DC=test",
        "config_dn": "CN=Configuration,DC=example,DC=test",
        "host_name": "dc1.example.test",
        "ds_service": "CN=NTDS Settings,CN=DC1",
        "invocation_id": guid(7),
        "domain_guid": guid(8),
        "domain_sid": "S-1-5-21-1-2-3",
        "controls": frozenset({RANGE_NOERR_OID}),
    }
    return Controller(**{**facts, **changes})


@cache
def _entry(each: str, kind: bytes) -> RawEntry:
    values = {"objectguid": (raw_guid(each),), "objectclass": (b"top", kind)}
    return RawEntry(f"CN={each},DC=example,DC=test", values)


class ScriptedServer:
    """`groups`: members by group; `people`: everybody who has an entry. Request number `fail_at` raises `error`."""

    max_values = 1500
    max_page = 1000

    def __init__(self, groups: dict[str, list[str]], people: list[str]) -> None:
        self.groups = groups
        self.people = people
        self.versions = dict.fromkeys(groups, 1)
        self.controller = controller()
        self.requests = 0
        self.fail_at = 0
        self.error: Exception = refusal("scripted", 51, "")
        self.before: Callable[[int, Search], None] = lambda *_: None
        self.forgets_paging_at = 0
        self._known = dict.fromkeys(people, b"user") | dict.fromkeys(groups, b"group")
        self._cookies: dict[bytes, list[RawEntry]] = {}

    async def search(self, request: Search) -> Answer:
        self.requests += 1
        self.before(self.requests, request)
        if self.requests == self.fail_at:
            raise self.error
        controls = {oid: value for oid, _, value in request.controls}
        assert DIRSYNC_OID not in controls
        if request.base.startswith("<GUID="):
            return self._base(request, request.base[6:-1])
        return self._page(self._matches(request), controls.get(PAGED_OID))

    def _base(self, request: Search, wanted: str) -> Answer:
        if wanted not in self.groups:
            raise refusal(request.purpose, 32, "")
        if request.filter.startswith("(&(objectClass=group)(!"):
            empty = not self.groups[wanted]
            return Answer((RawEntry("CN=x", {"objectguid": (raw_guid(wanted),)}),) if empty else ())
        values: dict[str, tuple[bytes, ...]] = {}
        for attribute in request.attributes:
            if found := _RANGED.fullmatch(attribute):
                values |= self._range(request, wanted, found[1].lower(), int(found[2]))
            elif attribute == "uSNChanged":
                values["usnchanged"] = (str(self.versions[wanted]).encode(),)
        return Answer((RawEntry("CN=x", values),))

    def _range(self, request: Search, group: str, name: str, low: int) -> dict[str, tuple[bytes, ...]]:
        members = self.groups[group]
        if low >= len(members):
            if low and RANGE_NOERR_OID not in {oid for oid, _, _ in request.controls}:
                raise refusal(request.purpose, 1, "range past the end")
            return {}
        part = tuple(f"<GUID={member}>;CN=p".encode() for member in members[low : low + self.max_values])
        high = low + len(part)
        end = "*" if high >= len(members) else str(high - 1)
        return {name: (), f"{name};range={low}-{end}": part}

    def _matches(self, request: Search) -> list[RawEntry]:
        assert request.scope is Scope.SUBTREE
        if "memberOf=" in request.filter:
            return []
        wanted = list(request.guids)
        if SHOW_DELETED_OID in {oid for oid, _, _ in request.controls}:
            return []
        if "primaryGroupID" in request.filter:
            wanted = self.people
        known = self._known
        return [_entry(each, known[each]) for each in wanted if each in known]

    def _page(self, found: list[RawEntry], control: bytes | None) -> Answer:
        if control is None:
            if len(found) > self.max_page:
                raise refusal("scripted", 4, "")
            return Answer(tuple(found))
        cookie = control[control.rindex(b"\x04") + 2 :] if control[-1:] != b"\x00" else b""
        rest = self._cookies.pop(cookie) if cookie else found
        page, rest = rest[: self.max_page], rest[self.max_page :]
        following = b"" if not rest else f"next-{self.requests}".encode()
        if rest:
            self._cookies[following] = rest
        forgotten = self.requests == self.forgets_paging_at
        return Answer(tuple(page), page_cookie=None if forgotten else following)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def nest() -> ScriptedServer:
    """3,100 people in four nested groups: the root holds three groups and 3,000 people, of which the others repeat some."""
    people = [guid(1000 + number) for number in range(3100)]
    groups = {
        guid(1): [guid(2), *people[:3000], guid(3)],
        guid(2): people[2900:],
        guid(3): [guid(4), guid(1)],
        guid(4): people[:1500],
    }
    return ScriptedServer(groups, people)


@pytest.fixture
def dc() -> Controller:
    return controller()


@pytest.fixture
def read_only_dc() -> Controller:
    return controller(read_only=True)


@pytest.fixture
def raw_guid_of() -> Callable[[int], bytes]:
    return lambda number: raw_guid(guid(number))

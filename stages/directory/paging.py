"""The two loops that make long answers whole: pages of entries, ranges of values. Whole or an error, never cut.

ldap3's own loops (`paged_search`, `auto_range`) turn an error in the middle into a shorter, successful-looking answer
(measured against a scripted server: 1,500 of 3,100 members); for a tool that removes people that is mass removal.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace

from pipeline.errors import DirectoryBusy, DirectoryError
from stages.directory.controls import RANGE_NOERR, RANGE_NOERR_OID, Control, paged
from stages.directory.faults import OPERATIONS_ERROR, SIZE_LIMIT, LdapBusy, LdapRefusal
from stages.directory.wire import RawEntry, Scope, Search, Searcher

PAGE_SIZE = 1000  # MaxPageSize of Windows
_TRIES = 5


async def pages_of(searcher: Searcher, request: Search) -> AsyncGenerator[tuple[RawEntry, ...], None]:
    """The pages of a search. Raises for any page that does not end with success, or has no sign of what follows."""
    cookie = b""
    while True:
        answer = await searcher.search(
            replace(request, controls=(*request.controls, paged(PAGE_SIZE, cookie)))
        )
        yield answer.entries
        if answer.page_cookie is None:
            # A page without the control does not say whether it is the last.
            raise DirectoryError(
                request.purpose,
                "the server left out the paging control, so the list may be cut short",
                "name an Active Directory domain controller in directory.servers",
            )
        if not answer.page_cookie:
            return
        cookie = answer.page_cookie


async def read_all(searcher: Searcher, request: Search) -> list[RawEntry]:
    """All entries of a search."""
    return [entry async for page in pages_of(searcher, request) for entry in page]


async def read_few(searcher: Searcher, request: Search) -> Sequence[RawEntry]:
    """All entries of a search that names what it looks for, so that one page would hold them; asked for without paging.

    Samba looks up each entry of a paged search a second time: 500 people by GUID cost it four times as much with the
    control as without (measured). Where the server's page is smaller all the same, it says so, and pages are read.
    """
    try:
        return (await searcher.search(request)).entries
    except LdapRefusal as refused:
        if refused.code != SIZE_LIMIT:
            raise
    return await read_all(searcher, request)


class _Moved(Exception):
    """What was read in parts changed between two of them."""


async def read_values(
    searcher: Searcher, *, purpose: str, base: str, attribute: str, controls: tuple[Control, ...]
) -> tuple[bytes, ...] | None:
    """All values of one attribute of one object; None where the object can't be seen.

    Begins anew when the object changes meanwhile, and raises DirectoryBusy when it does so time and again. LdapRefusal
    where the server refuses, NO_SUCH_OBJECT included.
    """
    for _ in range(_TRIES):
        try:
            return await _read_ranges(searcher, purpose, base, attribute, controls)
        except _Moved:
            continue
        except LdapBusy as error:
            # Windows answers so to a range that begins past the end, unless it knows the control below.
            if error.code != OPERATIONS_ERROR:
                raise
    raise DirectoryBusy(purpose, f"{attribute} changed {_TRIES} times while it was read", "it is tried again")


async def _read_ranges(
    searcher: Searcher, purpose: str, base: str, attribute: str, controls: tuple[Control, ...]
) -> tuple[bytes, ...] | None:
    if RANGE_NOERR_OID in searcher.controller.controls:
        controls = (*controls, RANGE_NOERR)
    values: list[bytes] = []
    version: bytes | None = None
    while True:
        # From the last value known, not from the next: a member who is *deleted* meanwhile shifts the list without a new
        # uSNChanged on the group, and whoever slipped over the boundary would be lost.
        low = max(0, len(values) - 1)
        answer = await searcher.search(
            Search(
                purpose=purpose,
                base=base,
                scope=Scope.BASE,
                attributes=(f"{attribute};range={low}-*", "uSNChanged"),
                controls=controls,
            )
        )
        if not answer.entries:
            if values:
                raise _Moved
            return None
        entry = answer.entries[0]
        part, is_last = _part_of(entry, attribute, low, purpose)
        if values:
            if entry.first("usnchanged") != version or not part or part[0] != values[-1]:
                raise _Moved
            part = part[1:]
            if version is None:
                raise DirectoryError(
                    purpose,
                    f"{attribute} comes in several parts, and uSNChanged is not readable, which would tell that they fit",
                    "give the service account the right to read all properties of the group",
                )
        version = entry.first("usnchanged")
        values.extend(part)
        if is_last:
            if len(set(values)) != len(values):
                raise _Moved
            return tuple(values)
        if not part:
            raise DirectoryError(purpose, f"the server sends {attribute} in parts but no next part")


def _part_of(entry: RawEntry, attribute: str, low: int, purpose: str) -> tuple[tuple[bytes, ...], bool]:
    """The values of one part and whether it is the last. An object without any value has no such attribute at all."""
    pattern = re.compile(re.escape(attribute.lower()) + r";range=(\d+)-(\d+|\*)")
    for name, values in entry.values.items():
        found = pattern.fullmatch(name)
        if found is None:
            continue
        if int(found[1]) != low:
            raise DirectoryError(purpose, f"asked for {attribute} from {low}, got {name}")
        if found[2] != "*" and int(found[2]) - low + 1 != len(values):
            raise DirectoryError(purpose, f"{name} came with {len(values)} values")
        return values, found[2] == "*"
    plain = entry.values.get(attribute.lower(), ())
    if low and plain:
        raise DirectoryError(purpose, f"asked for {attribute} from {low}, got it without a range")
    return plain, True

"""Ordinary searches: bases, scopes, filters, size limits and pages."""

import itertools
import uuid
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field

from sandbox.windows_ldap.codes import Code, Refused
from sandbox.windows_ldap.controls import (
    DOMAIN_SCOPE,
    PAGED,
    RANGE_NOERR,
    SHOW_DEACTIVATED_LINK,
    SHOW_DELETED,
    SHOW_RECYCLED,
    Controls,
    PagedValue,
)
from sandbox.windows_ldap.filters import Predicate, candidates, compile_filter
from sandbox.windows_ldap.names import parse_address, split_dn
from sandbox.windows_ldap.protocol import BASE, ONE_LEVEL, SUBTREE, Found, Reference, Result, Search
from sandbox.windows_ldap.record import Record
from sandbox.windows_ldap.rendering import Rendering, Style
from sandbox.windows_ldap.sight import ObjectView, Sight


@dataclass
class Answer:
    entries: list[Found | Reference] = field(default_factory=list)
    result: Result = field(default_factory=Result)


@dataclass
class _ResultSet:
    request: Search
    waiting: list[uuid.UUID]


class ResultSets:
    """The paged searches under way on one connection. Their cookies mean nothing on any other."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._sets: OrderedDict[bytes, _ResultSet] = OrderedDict()

    def begin(self, request: Search, found: list[uuid.UUID]) -> _ResultSet:
        return _ResultSet(request, found)

    def take(self, cookie: bytes, request: Search) -> _ResultSet:
        held = self._sets.pop(cookie, None)
        if held is None or held.request != request:
            raise Refused(
                Code.UNWILLING, "00000057: LdapErr: DSID-0C090AB8, comment: Error processing control, data 0"
            )
        return held

    def keep(self, held: _ResultSet, limit: int) -> bytes:
        cookie = next(self._numbers).to_bytes(8, "big")
        self._sets[cookie] = held
        while len(self._sets) > limit:  # MaxResultSetsPerConn: the oldest is given up
            self._sets.popitem(last=False)
        return cookie


def style_of(controls: Controls, order_seed: bytes) -> Style:
    return Style(
        controls.extended_dn,
        SHOW_DEACTIVATED_LINK in controls,
        past_range_is_error=RANGE_NOERR not in controls,
        order_seed=order_seed,
    )


def base_of(sight: Sight, text: str, controls: Controls) -> Record:
    """The object that a search begins at. Refused with 32, 34, or 10 where another domain would know."""
    guid = sight.resolve(text)
    record = sight.replica.records.get(guid) if guid else None
    if record is None or record.phantom:
        _refer_elsewhere(sight, text)
        raise _no_such_object(sight, text)
    if not sight.locates(record) or not is_shown(record, controls):
        raise _no_such_object(sight, text)
    return record


def _refer_elsewhere(sight: Sight, text: str) -> None:
    """Only a DN says which domain is meant; a GUID or SID that is not held here is no such object."""
    dn = parse_address(text).dn
    is_child_domain = dn.upper().startswith("DC=") or ",DC=" in dn.upper()[: -len(sight.base_dn) - 1]
    if not dn or (dn.lower().endswith(sight.base_dn.lower()) and not is_child_domain):
        return
    host = ".".join(value for kind, value in split_dn(dn) if kind == "DC") or sight.forest.dns_name
    url = f"ldap://{host}/{dn}"
    message = f"0000202B: RefErr: DSID-03100803, data 0, 1 access points\n\tref 1: '{host}'\n"
    raise Refused(Code.REFERRAL, message, referrals=(url,))


def _no_such_object(sight: Sight, text: str) -> Refused:
    above, matched = text.partition(",")[2], ""
    while above and not matched and not text.startswith("<"):
        if (guid := sight.resolve(above)) and sight.sees(sight.replica.records[guid]):
            matched = above
        above = above.partition(",")[2]
    message = (
        f"0000208D: NameErr: DSID-0310028D, problem 2001 (NO_OBJECT), data 0, best match of:\n\t'{matched}'\n"
    )
    return Refused(Code.NO_SUCH_OBJECT, message, matched=matched)


def is_shown(record: Record, controls: Controls) -> bool:
    if not record.is_deleted:
        return True
    return SHOW_RECYCLED in controls or (SHOW_DELETED in controls and not record.is_recycled)


class Searching:
    """One connection's way through the directory."""

    def __init__(self, sight: Sight, sets: ResultSets, order_seed: bytes) -> None:
        self._sight = sight
        self._sets = sets
        self._order_seed = order_seed

    def answer(self, request: Search, controls: Controls) -> Answer:
        """Refused where the search fails as a whole; a size limit comes as a result with what there was."""
        limits = self._sight.controller.limits
        paged = controls.get(PAGED)
        if paged is None:
            found = self._matching(request, controls)
            most = min(request.size_limit or limits.max_page_size, limits.max_page_size)
            records = list(itertools.islice(found, most + 1))
            answer = self._rendered(request, controls, records[:most])
            if len(records) > most:
                answer.result = Result(
                    Code.SIZE_LIMIT, "00002023: SvcErr: DSID-031401AB, problem 5003, data 0"
                )
                return answer
            answer.entries.extend(self._references(request, controls))
            return answer
        return self._page(request, controls, PagedValue.of(paged))

    def _page(self, request: Search, controls: Controls, value: PagedValue) -> Answer:
        limits = self._sight.controller.limits
        if value.cookie:
            held = self._sets.take(value.cookie, request)
        else:
            held = self._sets.begin(request, [record.guid for record in self._matching(request, controls)])
        if value.size <= 0:  # the client gives the search up
            return Answer(result=Result(controls=(PagedValue.answer(b""),)))
        size, records = min(value.size, limits.max_page_size), list[Record]()
        matches = compile_filter(request.filter, self._sight)
        # Each page is a transaction of its own: what has gone meanwhile is gone, what came is not in this search.
        while held.waiting and len(records) < size:
            record = self._sight.replica.records.get(held.waiting.pop(0))
            if record and not value.cookie:
                records.append(record)  # found in this very transaction
            elif record and self._fits(record, controls, matches):
                records.append(record)
        answer = self._rendered(request, controls, records)
        cookie = self._sets.keep(held, limits.max_result_sets) if held.waiting else b""
        if not cookie:
            answer.entries.extend(self._references(request, controls))
        answer.result = Result(controls=(PagedValue.answer(cookie),))
        return answer

    def _rendered(self, request: Search, controls: Controls, records: list[Record]) -> Answer:
        rendering = Rendering(self._sight, style_of(controls, self._order_seed), request.attributes)
        return Answer([rendering.entry(record) for record in records])

    # --------------------------------------------------------------------------------------------------- matching

    def _matching(self, request: Search, controls: Controls) -> Iterator[Record]:
        base = base_of(self._sight, request.base, controls)
        matches = compile_filter(request.filter, self._sight)
        for record in self._in_scope(base, request):
            if self._fits(record, controls, matches):
                yield record

    def _fits(self, record: Record, controls: Controls, matches: Predicate) -> bool:
        if not is_shown(record, controls) or not self._sight.sees(record):
            return False
        view = ObjectView(record, self._sight, deactivated_links=SHOW_DEACTIVATED_LINK in controls)
        return matches(view) is True

    def _in_scope(self, base: Record, request: Search) -> Iterator[Record]:
        replica = self._sight.replica
        if request.scope == BASE:
            yield base
        elif request.scope == ONE_LEVEL:
            yield from (replica.records[guid] for guid in tuple(replica.children.get(base.guid, ())))
        elif (few := candidates(request.filter)) is not None:
            found = (replica.records[guid] for guid in few if guid in replica.records)
            yield from (one for one in found if any(above is base for above in replica.lineage(one.guid)))
        else:
            yield from replica.under(base)

    def _references(self, request: Search, controls: Controls) -> list[Reference]:
        """Where the search would go on: the naming contexts right below the domain's."""
        forest = self._sight.forest
        if request.scope != SUBTREE or DOMAIN_SCOPE in controls:
            return []
        if self._sight.resolve(request.base) != forest.root_guid:
            return []
        zones = ("ForestDnsZones", "DomainDnsZones")
        urls = [f"ldap://{zone}.{forest.dns_name}/DC={zone},{forest.base_dn}" for zone in zones]
        return [Reference((url,)) for url in (*urls, f"ldap://{forest.dns_name}/{forest.config_dn}")]

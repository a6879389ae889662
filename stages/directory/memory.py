"""The double of the `Directory` port: passes the same contract suite as LDAP, and fails on demand.

Not a simulation of LDAP; see `memory_domain` for the rules of the directory that it keeps. One event loop at a time.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import anyio
import anyio.lowlevel

from pipeline.errors import (
    AmbiguousGroup,
    CheckpointRefused,
    ConnectorError,
    DirectoryError,
    GroupNotFound,
)
from pipeline.model import ChangePage, Checkpoint, Delta, Domain, Entry, Finding, Kind, Source, Target
from pipeline.ports import Clock
from stages.directory.memory_domain import Happening, MemoryDomain, MemoryObject

_EVERYTHING_MAY_HAVE_CHANGED = (
    "name",
    "mail",
    "givenname",
    "sn",
    "displayname",
    "samaccountname",
    "useraccountcontrol",
    "accountexpires",
    "primarygroupid",
    "member",
)


class MemoryDirectory(MemoryDomain):
    """A domain in memory and the account's view of it in one.

    May be set at any time: `blind` (the account sees no tombstones), `page_size` (deltas a page), `read_only`.
    """

    def __init__(
        self,
        dns_name: str = "example.test",
        *,
        recycle_bin: bool = False,
        source: Source = Source.DIRSYNC,
        page_size: int = 1000,
        clock: Clock | None = None,
    ) -> None:
        self._rang = False
        self._bell = anyio.Event()
        super().__init__(dns_name, recycle_bin=recycle_bin)
        self.blind = False
        self.page_size = page_size
        self.calls: Counter[str] = Counter()
        self.is_closed = False
        self._clock = clock
        self._configured_source = source
        self._source: Source | None = None
        self._epoch = 1
        self._faults: list[tuple[str, int, ConnectorError]] = []
        self._unreadable: set[str] = set()
        self._replayed = 0

    # --- failing on demand

    def fail(self, method: str, error: ConnectorError, *, call: int = 1) -> None:
        """The `call`-th call of `method` from now raises `error`, once. For `changes` pages are counted."""
        self._faults.append((method, self.calls[method] + call, error))

    def refuse_checkpoints(self) -> None:
        """A new epoch: every checkpoint handed out so far is void."""
        self._epoch += 1

    def make_members_unreadable(self, group: str, *, unreadable: bool = True) -> None:
        """Reading the members of this group fails, as a read that broke off in the middle does."""
        (self._unreadable.add if unreadable else self._unreadable.discard)(group)

    def replay(self, happenings: int) -> None:
        """The next reading of changes repeats so many earlier ones, as another server may with a cookie."""
        self._replayed = happenings

    # --- the port

    @property
    def source(self) -> Source | None:
        return self._source

    async def identify(self) -> Domain:
        await self._called("identify")
        return Domain(
            guid=self.domain_guid,
            dns_name=self.dns_name,
            base_dn=self.base_dn,
            sid=self.sid,
            server=f"dc1.{self.dns_name}",
            ds_service=f"CN=NTDS Settings,CN=DC1,CN=Servers,CN=Sites,CN=Configuration,{self.base_dn}",
            invocation_id=self._invocation_id(),
            skew_seconds=0.0,
        )

    async def find_group(self, reference: str) -> Entry:
        await self._called("find_group")
        wanted = reference.strip().lower()
        purpose = f"find the group {reference.strip()!r}"
        visible = [found for found in self.objects.values() if self._sees(found)]
        for found in visible:
            if wanted in {found.guid, f"{{{found.guid}}}", self.dn(found.guid).lower()}:
                if found.kind is not Kind.GROUP:
                    raise GroupNotFound(purpose, f"{self.dn(found.guid)} is no group")
                return self.entry(found.guid)
        groups = [found for found in visible if found.kind is Kind.GROUP]
        matches = [found for found in groups if found.account.lower() == wanted]
        matches = matches or [found for found in groups if found.name.lower() == wanted]
        if not matches:
            raise GroupNotFound(purpose, "the account sees no such group")
        if len(matches) > 1:
            names = "; ".join(sorted(self.dn(found.guid) for found in matches))
            raise AmbiguousGroup(purpose, f"several groups have that name: {names}")
        return self.entry(matches[0].guid)

    async def start(self) -> Checkpoint:
        await self._called("start")
        self._source = self._configured_source
        return self._checkpoint(len(self.history))

    async def changes(self, since: Checkpoint) -> AsyncGenerator[ChangePage, None]:
        if (
            since.profile != self._profile()
            or since.invocation_id != self._invocation_id()
            or since.source is not self._configured_source
        ):
            raise CheckpointRefused("continue from the checkpoint", "it is of another epoch or domain")
        self._source = since.source
        first, self._replayed = max(0, self._position(since) - self._replayed), 0
        last = len(self.history)
        happenings: dict[str, list[Happening]] = {}
        for happening in self.history[first:last]:
            happenings.setdefault(happening.guid, []).append(happening)
        deltas = [
            delta for guid, each in happenings.items() if (delta := self._delta(guid, each)) is not None
        ]
        pages = [
            deltas[start : start + self.page_size] for start in range(0, len(deltas), self.page_size)
        ] or [[]]
        for number, page in enumerate(pages, start=1):
            await self._called("changes")
            is_last = number == len(pages)
            # In between, the old checkpoint: deltas are merged by object, so no earlier place is exact.
            checkpoint = self._checkpoint(last) if is_last else replace(since, at=self._now())
            yield ChangePage(deltas=tuple(page), checkpoint=checkpoint, more=not is_last)

    async def read_entries(self, guids: Sequence[str]) -> Mapping[str, Entry]:
        await self._called("read_entries")
        return {
            guid: self.entry(guid)
            for guid in guids
            if (found := self.objects.get(guid)) is not None and self._sees(found)
        }

    async def read_members(self, group_guid: str) -> tuple[Target, ...]:
        await self._called("read_members")
        found = self.objects.get(group_guid)
        purpose = f"read the members of the group {group_guid}"
        if found is None or not self._sees(found) or found.kind is not Kind.GROUP:
            raise DirectoryError(purpose, "the account does not see this group")
        if group_guid in self._unreadable:
            raise DirectoryError(purpose, "the read broke off in the middle")
        return tuple(self.target(member) for member in self.living_members(group_guid))

    async def read_primary_members(self, rid: int) -> tuple[str, ...]:
        await self._called("read_primary_members")
        return tuple(
            found.guid
            for found in self.objects.values()
            if found.primary_rid == rid and found.kind is Kind.USER and self._sees(found)
        )

    async def read_members_of(self, group_guids: Sequence[str]) -> Mapping[str, tuple[Target, ...]]:
        return {guid: await self.read_members(guid) for guid in group_guids}

    async def read_primary_members_of(self, rids: Sequence[int]) -> Mapping[int, tuple[str, ...]]:
        return {rid: await self.read_primary_members(rid) for rid in rids}

    async def read_parents(self, guid: str) -> tuple[str, ...]:
        await self._called("read_parents")
        found = self.objects.get(guid)
        if found is None or not self._sees(found):
            return ()
        return tuple(self.living_parents(guid))

    async def read_tombstones(self, guids: Sequence[str]) -> frozenset[str]:
        await self._called("read_tombstones")
        if self.blind:
            return frozenset()
        return frozenset(guid for guid in guids if guid in self.objects and self.objects[guid].deleted)

    async def sees_tombstones(self) -> bool | None:
        await self._called("sees_tombstones")
        if self.blind:
            return False
        return True if any(found.deleted for found in self.objects.values()) else None

    async def wait_for_change(self, timeout_seconds: float) -> bool:
        await self._called("wait_for_change")
        if not self._rang:
            async with anyio.create_task_group() as group:
                group.start_soon(self._cancel_later, group.cancel_scope, timeout_seconds)
                await self._bell.wait()
                group.cancel_scope.cancel()
        rang, self._rang, self._bell = self._rang, False, anyio.Event()
        return rang

    async def check(self, group_reference: str) -> Sequence[Finding]:
        section = "directory"
        findings = [Finding(section, "reach", "ok", "a domain in memory, for trying things out")]
        try:
            if group_reference:
                group = await self.find_group(group_reference)
                findings.append(Finding(section, "sync group", "ok", f"{group.dn} ({group.guid})"))
                members = await self.read_members(group.guid)
                findings.append(
                    Finding(section, "members", "ok", f"{len(members)} direct members read in full")
                )
            if await self.sees_tombstones() is False:
                findings.append(
                    Finding(section, "tombstones", "failed", "the account does not see deleted objects")
                )
        except ConnectorError as error:
            findings.append(Finding(section, "sync group", "failed", error.cause, error.hint))
        return findings

    async def close(self) -> None:
        self.is_closed = True

    # --- within

    async def _called(self, method: str) -> None:
        await anyio.lowlevel.checkpoint()
        self.calls[method] += 1
        for fault in self._faults:
            if fault[:2] == (method, self.calls[method]):
                self._faults.remove(fault)
                raise fault[2]

    async def _cancel_later(self, scope: anyio.CancelScope, seconds: float) -> None:
        await (self._clock.sleep if self._clock is not None else anyio.sleep)(seconds)
        scope.cancel()

    def _changed(self) -> None:
        self._rang = True
        self._bell.set()

    def _sees(self, found: MemoryObject) -> bool:
        return not found.deleted and not found.hidden

    def _delta(self, guid: str, happenings: list[Happening]) -> Delta | None:
        """The present state of one object that changed; None where the account isn't shown it."""
        found = self.objects.get(guid)
        if found is None or found.hidden or (found.deleted and self.blind):
            return None
        attributes = tuple(dict.fromkeys(name for each in happenings for name in each.attributes))
        delta = Delta(guid=guid, dn=self.dn(guid), tombstone=found.deleted, attributes=attributes)
        if self._configured_source is Source.USN:
            return replace(
                delta,
                kind=found.kind,
                holders=None if found.deleted else frozenset(self.living_parents(guid)),
                members_unknown=found.kind is Kind.GROUP and not found.deleted,
                attributes=(
                    (*_EVERYTHING_MAY_HAVE_CHANGED, "lastknownparent")
                    if found.was_deleted
                    else _EVERYTHING_MAY_HAVE_CHANGED
                ),
            )
        if found.deleted:
            return delta
        final = {member: comes for each in happenings for member, comes in each.links}
        links = {member: comes for member, comes in final.items() if self._is_alive(member)}
        return replace(
            delta,
            kind=found.kind if "objectclass" in attributes else None,
            restored=any(each.restored for each in happenings),
            added=tuple(
                self.target(member) for member, comes in links.items() if comes and member in found.members
            ),
            removed=tuple(self.target(member) for member, comes in links.items() if not comes),
        )

    def _checkpoint(self, position: int) -> Checkpoint:
        source = self._configured_source
        return Checkpoint(
            source=source,
            server=f"dc1.{self.dns_name}",
            ds_service=f"CN=NTDS Settings,CN=DC1,CN=Servers,CN=Sites,CN=Configuration,{self.base_dn}",
            invocation_id=self._invocation_id(),
            profile=self._profile(),
            cookie=f"memory:{position}".encode() if source is Source.DIRSYNC else b"",
            usn=position if source is Source.USN else 0,
            at=self._now(),
        )

    def _position(self, since: Checkpoint) -> int:
        if since.source is Source.USN:
            if since.usn > len(self.history):
                raise CheckpointRefused("continue from the checkpoint", "the server is before it")
            return since.usn
        head, _, position = since.cookie.partition(b":")
        if head != b"memory" or not position.isdigit():
            raise CheckpointRefused("continue from the checkpoint", "the cookie is none of ours")
        return int(position)

    def _profile(self) -> str:
        return f"memory:{self._configured_source}:{self.domain_guid}"

    def _invocation_id(self) -> str:
        return str(uuid.uuid5(uuid.UUID(self.domain_guid), f"epoch {self._epoch}"))

    def _now(self) -> datetime:
        return self._clock.now() if self._clock is not None else datetime.now(UTC)

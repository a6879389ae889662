"""The `Directory` port on LDAP: puts the readers, the two ways of reading changes and the connection together."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from datetime import UTC, datetime, timedelta

import anyio

from pipeline.errors import CheckpointRefused, DirectoryBusy
from pipeline.model import ChangePage, Checkpoint, Delta, Domain, Entry, Finding, Source, Target
from pipeline.ports import Clock
from stages.directory import dirsync, reader, usn
from stages.directory.browsing import find_groups_like
from stages.directory.checks import check_directory
from stages.directory.dirsync import DirSyncRefused
from stages.directory.discovery import Lookup, Resolve, look_up, resolve
from stages.directory.entries import dns_name
from stages.directory.epoch import OPERATION, checkpoint_of, verify
from stages.directory.faults import ConnectionLost, ServerStuck
from stages.directory.link import Link, Session
from stages.directory.notification import ChangeBell
from stages.directory.options import DirectoryOptions
from stages.directory.wire import Controller

# How long another server waits for the one whose sequence numbers we hold, before everything is read afresh there.
USN_PATIENCE = timedelta(minutes=10)

INTRODUCTION_LASTS = timedelta(minutes=10)


class SystemClock:
    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await anyio.sleep(seconds)


class LdapDirectory:
    """One domain over LDAP. See `pipeline.ports.Directory`."""

    def __init__(
        self,
        options: DirectoryOptions,
        *,
        clock: Clock | None = None,
        lookup: Lookup = look_up,
        resolve: Resolve = resolve,
    ) -> None:
        self._options = options
        self._email_attribute = options.email_attribute
        self._clock: Clock = clock or SystemClock()
        self._link = Link(options, self._clock.now, lookup=lookup, resolve=resolve)
        self._bell = ChangeBell(
            self._link.open,
            self._clock.monotonic,
            self._clock.sleep,
            answer_seconds=options.timeout_seconds,
        )
        self._delivered = usn.Delivered()
        self._source: Source | None = None
        self._last_at = datetime.min.replace(tzinfo=UTC)

    @property
    def source(self) -> Source | None:
        return self._source

    async def identify(self) -> Domain:
        async def ask(session: Session) -> Controller:
            # Every poll asks who answers, and an empty poll shall be one request: what is known is good for a while.
            asked_at = session.controller.asked_at
            if asked_at is None or abs(self._clock.now() - asked_at) > INTRODUCTION_LASTS:
                await session.introduce(self._clock.now)
            return session.controller

        return domain_of(await self._link.run(ask))

    async def find_group(self, reference: str) -> Entry:
        return await self._link.run(
            lambda session: reader.find_group(session, reference, self._email_attribute)
        )

    async def find_groups_like(self, text: str) -> tuple[tuple[Entry, ...], bool]:
        """Not of the port: for `configure`. See `stages.directory.browsing`."""
        return await self._link.run(lambda session: find_groups_like(session, text, self._email_attribute))

    async def start(self) -> Checkpoint:
        return await self._link.run(self._start)

    async def changes(self, since: Checkpoint) -> AsyncGenerator[ChangePage, None]:
        wanted = self._options.change_source
        if wanted not in {"auto", since.source.value}:
            raise CheckpointRefused(
                OPERATION,
                f"it is one of {since.source}, and directory.change_source is {wanted}",
                "nothing to do: everything is read afresh",
            )
        session = await self._session_for(since)
        is_fresh = session.searches == 0
        delivered_any = False
        try:
            async with aclosing(self._pages(session, since)) as pages:
                async for page in pages:
                    delivered_any = True
                    yield page
        except ServerStuck:
            self._link.shun(session)
            raise
        except ConnectionLost:
            # A connection that was idle and is gone costs nothing; anything else is for the caller to try again.
            if is_fresh or delivered_any:
                raise
        else:
            return
        async with aclosing(self._pages(await self._session_for(since), since)) as pages:
            async for page in pages:
                yield page

    async def read_entries(self, guids: Sequence[str]) -> Mapping[str, Entry]:
        if not guids:
            return {}
        return await self._link.run(
            lambda session: reader.read_entries(session, guids, self._email_attribute)
        )

    async def read_members(self, group_guid: str) -> tuple[Target, ...]:
        return await self._link.run(lambda session: reader.read_members(session, group_guid))

    async def read_primary_members(self, rid: int) -> tuple[str, ...]:
        return await self._link.run(lambda session: reader.read_primary_members(session, rid))

    async def read_members_of(self, group_guids: Sequence[str]) -> Mapping[str, tuple[Target, ...]]:
        return await self._link.run(lambda session: reader.read_members_of(session, group_guids))

    async def read_primary_members_of(self, rids: Sequence[int]) -> Mapping[int, tuple[str, ...]]:
        return await self._link.run(lambda session: reader.read_primary_members_of(session, rids))

    async def read_parents(self, guid: str) -> tuple[str, ...]:
        return await self._link.run(lambda session: reader.read_parents(session, guid))

    async def read_tombstones(self, guids: Sequence[str]) -> frozenset[str]:
        if not guids:
            return frozenset()
        return await self._link.run(lambda session: reader.read_tombstones(session, guids))

    async def sees_tombstones(self) -> bool | None:
        return await self._link.run(reader.sees_tombstones)

    async def wait_for_change(self, timeout_seconds: float) -> bool:
        if not self._options.notify:
            await self._clock.sleep(timeout_seconds)
            return False
        return await self._bell.wait(timeout_seconds)

    async def check(self, group_reference: str) -> Sequence[Finding]:
        return await check_directory(self._link.session, self._options, group_reference)

    async def close(self) -> None:
        await self._bell.close()
        await self._link.close()

    async def _start(self, session: Session) -> Checkpoint:
        wanted, at = self._options.change_source, self._time()
        if wanted != Source.USN:
            try:
                cookie = await dirsync.fresh_cookie(session, self._email_attribute)
            except DirSyncRefused:
                if wanted == Source.DIRSYNC:
                    raise
            else:
                self._source = Source.DIRSYNC
                return self._checkpoint(session, Source.DIRSYNC, at, cookie=cookie)
        highest = await usn.start(session, self._delivered, at)
        self._source = Source.USN
        return self._checkpoint(session, Source.USN, at, number=highest)

    async def _session_for(self, since: Checkpoint) -> Session:
        if since.source is Source.DIRSYNC:
            return await self._link.session()
        session = await self._link.session_on(since.ds_service)
        if session is not None:
            return session
        if since.at is not None and self._clock.now() - since.at <= USN_PATIENCE:
            raise DirectoryBusy(
                OPERATION,
                f"{since.server}, whose sequence numbers it holds, can't be reached",
                f"it is waited for {USN_PATIENCE.seconds // 60} minutes, then everything is read from another server",
            )
        raise CheckpointRefused(
            OPERATION,
            f"{since.server}, whose sequence numbers it holds, can't be reached",
            "nothing to do: everything is read afresh from another server",
        )

    async def _pages(self, session: Session, since: Checkpoint) -> AsyncGenerator[ChangePage, None]:
        verify(since, session.controller, self._email_attribute, self._clock.now())
        self._source = since.source
        at = self._time()
        if since.source is Source.DIRSYNC:
            try:
                async with aclosing(dirsync.changes(session, since.cookie, self._email_attribute)) as pages:
                    async for deltas, cookie, more in pages:
                        yield ChangePage(
                            deltas=deltas,
                            checkpoint=self._checkpoint(session, Source.DIRSYNC, at, cookie=cookie),
                            more=more,
                        )
            except DirSyncRefused as refused:
                if self._options.change_source == Source.DIRSYNC:
                    raise
                raise CheckpointRefused(
                    OPERATION,
                    f"DirSync is refused now ({refused.cause})",
                    "nothing to do: everything is read afresh, and changes by sequence numbers from then on",
                ) from refused
            return
        async with aclosing(self._numbered(session, since, at)) as numbered:
            async for deltas, highest in numbered:
                yield ChangePage(
                    deltas=deltas,
                    checkpoint=since
                    if highest is None
                    else self._checkpoint(session, Source.USN, at, number=highest),
                    more=highest is None,
                )

    def _numbered(
        self, session: Session, since: Checkpoint, at: datetime
    ) -> AsyncGenerator[tuple[tuple[Delta, ...], int | None], None]:
        return usn.changes(
            session,
            since.usn,
            since.at,
            self._delivered,
            email_attribute=self._email_attribute,
            at=at,
        )

    def _checkpoint(
        self, session: Session, source: Source, at: datetime, *, cookie: bytes = b"", number: int = 0
    ) -> Checkpoint:
        return checkpoint_of(source, session.controller, self._email_attribute, at, cookie=cookie, usn=number)

    def _time(self) -> datetime:
        """Now, but never the same twice: a checkpoint's time also says which poll it is from."""
        self._last_at = max(self._clock.now(), self._last_at + timedelta(microseconds=1))
        return self._last_at


def domain_of(controller: Controller) -> Domain:
    skew = None
    if controller.clock is not None and controller.asked_at is not None:
        skew = (controller.clock - controller.asked_at).total_seconds()
    return Domain(
        guid=controller.domain_guid,
        dns_name=dns_name(controller.base_dn),
        base_dn=controller.base_dn,
        sid=controller.domain_sid,
        server=controller.host_name,
        ds_service=controller.ds_service,
        invocation_id=controller.invocation_id,
        read_only=controller.read_only,
        tombstone_days=controller.tombstone_days,
        skew_seconds=skew,
    )

"""The way to the domain: which server, one connection at a time, its thread, and what happens when it breaks."""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import TypeVar

import anyio
import anyio.to_thread

from pipeline.errors import DirectoryBusy, DirectoryError, forget_frames
from stages.directory.discovery import Lookup, Resolve, discover, look_up, resolve
from stages.directory.faults import ConnectionLost, CredentialsRefused, ServerStuck, name_failure
from stages.directory.kerberos import KerberosLogin
from stages.directory.kerberos_faults import KdcUnreachable, TicketMissing
from stages.directory.line import Line
from stages.directory.options import DirectoryOptions, Target
from stages.directory.root import read_controller
from stages.directory.wire import Answer, Controller, Search

T = TypeVar("T")

_LONGEST_CALL_TIMEOUTS = 10  # a server that trickles its answer is given up after so many timeouts
_ABORT_SECONDS = 0.05
# A refused password is not offered again for so long: a loop that polls would lock the account for everybody.
_CREDENTIALS_REST = timedelta(minutes=5)
# A server hangs up when the ticket ends: the next connection is made before, with a new ticket. At most so long before, and
# at most a tenth of the ticket's life.
_BEFORE_THE_END = timedelta(minutes=5)


async def run_abortable(line: Line, limiter: anyio.CapacityLimiter, function: Callable[[], T]) -> T:
    """Runs a blocking call on `line` in its thread. Cancellation cuts the connection and waits for the thread to notice:
    none is left behind, and none holds up the end of the program.
    """
    ended = anyio.Event()
    failure: Exception | None = None
    results: list[T] = []

    async def abort_when_cancelled() -> None:
        try:
            await ended.wait()
        finally:
            with anyio.CancelScope(shield=True):
                while not ended.is_set():
                    # Again and again: the thread may be between two sockets.
                    line.abort()
                    with anyio.move_on_after(_ABORT_SECONDS):
                        await ended.wait()

    async with anyio.create_task_group() as group:
        group.start_soon(abort_when_cancelled)
        try:
            results.append(await anyio.to_thread.run_sync(function, limiter=limiter))
        except Exception as error:  # noqa: BLE001  # raised below, outside of the group, which would wrap it
            failure = error
        finally:
            ended.set()
    if failure is not None:
        try:
            raise failure
        finally:
            del failure  # its frames, of which this is one, hold all that was read
    return results[0]


class Session:
    """One signed-in connection to one domain controller; see `Searcher`."""

    def __init__(
        self, line: Line, limiter: anyio.CapacityLimiter, timeout_seconds: int, now: Callable[[], datetime]
    ) -> None:
        self._line = line
        self._limiter = limiter
        self._timeout_seconds = timeout_seconds
        self._now = now
        self._ends_at: datetime | None = None
        self._turn = anyio.Lock()
        self._controller: Controller | None = None
        self.searches = 0

    @property
    def controller(self) -> Controller:
        assert self._controller is not None, "the controller is read before the session is handed out"
        return self._controller

    @property
    def target(self) -> Target:
        return self._line.target

    @property
    def line(self) -> Line:
        return self._line

    @property
    def is_usable(self) -> bool:
        return not self._line.is_dead and (self._ends_at is None or self._now() < self._ends_at)

    async def sign_in(self, options: DirectoryOptions, login: KerberosLogin | None) -> None:
        await run_abortable(
            self._line,
            self._limiter,
            lambda: self._line.open_blocking(options.username, options.password, options.ca_file, login),
        )
        if self._line.lasts_seconds is not None:
            lasts = timedelta(seconds=self._line.lasts_seconds)
            self._ends_at = self._now() + lasts - min(lasts / 10, _BEFORE_THE_END)

    async def introduce(self, now: Callable[[], datetime]) -> None:
        self._controller = await read_controller(self.search, now)

    async def search(self, request: Search) -> Answer:
        longest = _LONGEST_CALL_TIMEOUTS * (request.patience_seconds or self._timeout_seconds)
        async with self._turn:
            if self._line.is_dead:
                raise ConnectionLost(request.purpose, "the connection was lost before")
            self.searches += 1
            with anyio.move_on_after(longest):
                return await run_abortable(
                    self._line, self._limiter, lambda: self._line.search_blocking(request)
                )
        raise ServerStuck(request.purpose, f"the answer was not complete after {longest} seconds")

    async def close(self) -> None:
        if self._turn.locked():
            self._line.abort()  # else we would wait for an answer that nobody wants any more
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(self._line.close_blocking, limiter=self._limiter)


class Link:
    """Opens sessions: the configured servers in order, or those that DNS names. Keeps the one that worked.

    No pool: which server answers is always our decision, since sequence numbers of one mean nothing on another.
    """

    def __init__(
        self,
        options: DirectoryOptions,
        now: Callable[[], datetime],
        *,
        lookup: Lookup = look_up,
        resolve: Resolve = resolve,
    ) -> None:
        self._options = options
        self._now = now
        self._lookup = lookup
        self._resolve = resolve
        self._login = (
            KerberosLogin(
                principal=options.username,
                keytab=options.keytab,
                ccache=options.ccache,
                now=now,
                timeout_seconds=options.timeout_seconds,
            )
            if options.auth == "kerberos"
            else None
        )
        self._limiter = anyio.CapacityLimiter(1)
        self._opening = anyio.Lock()
        self._session: Session | None = None
        self._last: Target | None = None  # the server that worked last
        self._shunned: Target | None = None  # the server that fell silent last
        self._refused: tuple[datetime, CredentialsRefused] | None = None

    async def session(self) -> Session:
        """The open session, or a new one. DirectoryError."""
        async with self._opening:
            session = self._session
            if session is not None and session.is_usable:
                return session
            await self._drop()
            self._session = await self.open()
            return self._session

    async def session_on(self, ds_service: str) -> Session | None:
        """A session on exactly this domain controller; None where another one answers and this one can't be reached."""
        session = await self.session()
        if session.controller.ds_service == ds_service:
            return session
        for target in await self._targets():
            if target == session.target:
                continue
            try:
                other = await self._open_target(target, self._limiter)
            except (CredentialsRefused, TicketMissing, KdcUnreachable):
                raise
            except DirectoryError:
                continue
            if other.controller.ds_service == ds_service:
                async with self._opening:
                    await self._drop()
                    self._session = other
                    self._last = target
                return other
            await other.close()
        return None

    async def run(self, operation: Callable[[Session], Awaitable[T]]) -> T:
        """Runs a read on the session; once more on a new one when the connection had been idle and turns out to be gone."""
        session = await self.session()
        is_fresh = session.searches == 0
        try:
            return await operation(session)
        except ServerStuck:
            self.shun(session)
            raise
        except ConnectionLost:
            if is_fresh:
                raise
        return await operation(await self.session())

    def shun(self, session: Session) -> None:
        """The next connection goes to another server first, where there is one."""
        self._shunned = session.target

    async def open(self, limiter: anyio.CapacityLimiter | None = None) -> Session:
        """A session of its own that the caller closes; every server is tried once."""
        if self._refused is not None:
            since, error = self._refused
            if abs(self._now() - since) < _CREDENTIALS_REST:
                raise CredentialsRefused(error.operation, error.cause, error.hint)
            self._refused = None
        failures: list[DirectoryError] = []
        for target in await self._targets():
            try:
                session = await self._open_target(target, limiter or self._limiter)
            except CredentialsRefused as error:
                self._refused = (
                    self._now(),
                    CredentialsRefused(error.operation, error.cause, error.hint),
                )
                raise
            except (TicketMissing, KdcUnreachable):
                raise  # no other server would change it
            except DirectoryError as error:
                forget_frames(error)
                failures.append(error)
                continue
            self._last = target
            if self._shunned == target:
                self._shunned = None
            return session
        if len(failures) == 1:
            raise failures.pop()  # kept in no list that its own frames hold
        causes = "; ".join(f"{failure.operation}: {failure.cause}" for failure in failures)
        lasting = [failure for failure in failures if not isinstance(failure, DirectoryBusy)]
        worst = (lasting or failures)[0]
        kind = DirectoryError if len(lasting) == len(failures) else DirectoryBusy
        raise kind(f"connect to one of {len(failures)} servers", causes, worst.hint) from worst

    async def close(self) -> None:
        with anyio.CancelScope(shield=True):
            async with self._opening:
                await self._drop()

    async def _drop(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _targets(self) -> list[Target]:
        configured = self._options.targets() or await discover(
            self._options.domain,
            start_tls=self._options.start_tls,
            timeout_seconds=self._options.timeout_seconds,
            lookup=self._lookup,
        )
        # The one that worked last stays first: on another one a cookie may replay much, and sequence numbers are void.
        return sorted(configured, key=lambda target: (target == self._shunned, target != self._last))

    async def _open_target(self, target: Target, limiter: anyio.CapacityLimiter) -> Session:
        failure: DirectoryError | None = None
        for address in await self._addresses(target):
            try:
                return await self._open_address(target, address, limiter)
            except KdcUnreachable:
                raise
            except DirectoryBusy as error:  # the next address of the same server may do
                failure = failure or error
        assert failure is not None
        try:
            raise failure
        finally:
            del failure  # as in `run_abortable`

    async def _open_address(self, target: Target, address: str, limiter: anyio.CapacityLimiter) -> Session:
        options = self._options
        line = Line(target, address, timeout_seconds=options.timeout_seconds)
        session = Session(line, limiter, options.timeout_seconds, self._now)
        try:
            await session.sign_in(options, self._login)
            await session.introduce(self._now)
        except BaseException:
            await session.close()
            raise
        if not session.controller.synchronized:
            await session.close()
            raise DirectoryBusy(
                f"connect to {target.url}",
                "the domain controller has not finished its first replication",
                "wait until it is synchronised, or name another one first",
            )
        session.searches = 0  # what was asked so far does not make it an old connection
        return session

    async def _addresses(self, target: Target) -> list[str]:
        try:
            return [str(ipaddress.ip_address(target.host))]
        except ValueError:
            pass
        operation = f"connect to {target.url}"
        try:
            with anyio.fail_after(self._options.timeout_seconds):
                return await self._resolve(target.host, target.port)
        except TimeoutError as error:
            raise DirectoryBusy(operation, f"the name {target.host} was not resolved in time") from error
        except (OSError, UnicodeError) as error:
            raise name_failure(
                operation, target.host, OSError(str(error)) if isinstance(error, UnicodeError) else error
            ) from error

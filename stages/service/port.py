"""The port that `watch` serves: only so many connections at a time, so that nobody who opens more takes from the passes what they need.

Each connection costs a file descriptor, and who says nothing keeps it: with some hundred silent ones, neither the
directory nor a file of the journal could be opened any more. The newest is let in, and the oldest shown out.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager

import anyio
from aiohttp import web

MOST_CONNECTIONS = 64
HANDSHAKE_SECONDS = 10.0
_REST_SECONDS = 1.0
_NOT_HERE = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


@asynccontextmanager
async def listening(
    server: web.Server, host: str, port: int, *, tls: ssl.SSLContext | None = None
) -> AsyncIterator[int]:
    """Lets in until the context ends; yields the port. OSError where it can't be had."""
    async with AsyncExitStack() as stack:
        found = await asyncio.get_running_loop().getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        sockets: list[socket.socket] = []
        missing: OSError | None = None
        for family, *_, address in found:
            try:
                one = socket.create_server((str(address[0]), int(address[1])), family=family)
            except OSError as error:
                if error.errno not in _NOT_HERE:
                    raise
                missing = error  # `localhost` has an address of IPv6, which this machine may be without
                continue
            sockets.append(stack.enter_context(one))
            one.setblocking(False)
        if missing is not None and not sockets:
            raise missing
        entrance = _Entrance(server, tls)
        stack.push_async_callback(entrance.close)
        for one in sockets:
            entrance.open(one)
        yield sockets[0].getsockname()[1]


class _Guest:
    """One connection: it shakes hands (`entering`), and then is in (`transport`)."""

    def __init__(self) -> None:
        self.entering: asyncio.Task[None] | None = None
        self.transport: asyncio.Transport | None = None

    @property
    def is_gone(self) -> bool:
        if self.transport is not None:
            return self.transport.is_closing()
        return self.entering is not None and self.entering.done()

    def show_out(self) -> None:
        if self.transport is not None:
            self.transport.abort()
        elif self.entering is not None:
            self.entering.cancel()


class _Entrance:
    def __init__(self, server: web.Server, tls: ssl.SSLContext | None) -> None:
        self._server = server
        self._tls = tls
        self._guests: list[_Guest] = []  # the oldest first
        self._tasks: set[asyncio.Task[None]] = set()

    def open(self, one: socket.socket) -> None:
        self._start(self._let_in(one))

    async def close(self) -> None:
        """Nobody comes in any more; who is in stays as long as the server lets them."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _start(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        # No task group: it would wrap whatever the context's body raises.
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _let_in(self, listener: socket.socket) -> None:
        while True:
            try:
                one, _ = await asyncio.get_running_loop().sock_accept(listener)
            except OSError:  # it hung up already; or the process has no file descriptor left
                await anyio.sleep(_REST_SECONDS)
                continue
            self._guests = [guest for guest in self._guests if not guest.is_gone]
            if len(self._guests) >= MOST_CONNECTIONS:
                self._guests.pop(0).show_out()
            guest = _Guest()
            self._guests.append(guest)
            guest.entering = self._start(self._enter(guest, one))
            await asyncio.sleep(
                0
            )  # many at once come in one after the other, and the passes go on between them

    async def _enter(self, guest: _Guest, one: socket.socket) -> None:
        try:
            guest.transport, _ = await asyncio.get_running_loop().connect_accepted_socket(
                self._server,
                one,
                ssl=self._tls,
                ssl_handshake_timeout=None if self._tls is None else HANDSHAKE_SECONDS,
            )
        except OSError:  # no TLS that we speak, or none in time
            one.close()

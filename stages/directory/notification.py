"""Being woken: the directory's change notification (control 528) on a connection of its own.

Only the fact that something changed is used; what changed is what the next poll reads. So a lost notification costs
time, never a change, as long as the caller polls on a timer as well.
"""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from functools import partial

import anyio

from pipeline.errors import DirectoryError
from stages.directory.controls import NOTIFICATION, SHOW_DELETED
from stages.directory.link import Session, run_abortable
from stages.directory.wire import Scope, Search

# After a failure the connection is not tried again for so long: a wake-up is a convenience.
_REST_SECONDS = 60.0

# The operations in an LDAPMessage (RFC 4511 4.5.2, 4.12).
_ENTRY, _REFERENCE, _DONE, _UNSOLICITED = 0x64, 0x73, 0x65, 0x78
_READ_BYTES = 65_536


class ChangeBell:
    """Rings when something in the domain changes. One waiter at a time."""

    def __init__(
        self,
        open_session: Callable[[anyio.CapacityLimiter], Awaitable[Session]],
        monotonic: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._open_session = open_session
        self._monotonic = monotonic
        self._sleep = sleep
        self._limiter = anyio.CapacityLimiter(1)
        self._session: Session | None = None
        self._secured: ssl.SSLSocket | None = None
        self._reader = MessageReader()
        self._rest_until = 0.0

    async def wait(self, timeout_seconds: float) -> bool:
        """True when something changed within the time. Without a working notification the whole time is waited."""
        deadline = self._monotonic() + timeout_seconds
        try:
            rang = await self._ring_before(deadline)
        except DirectoryError:
            # Not an error of anybody's pass: the poll on its own connection will say what is wrong.
            await self._drop()
            self._rest_until = self._monotonic() + _REST_SECONDS
            rang = False
        except BaseException:
            await self._drop()
            raise
        if not rang:
            await self._sleep(max(0.0, deadline - self._monotonic()))
        return rang

    async def close(self) -> None:
        await self._drop()

    async def _ring_before(self, deadline: float) -> bool:
        if self._session is None:
            if self._monotonic() < self._rest_until:
                return False
            await self._register()
        session, secured = self._session, self._secured
        assert session is not None
        assert secured is not None
        while True:
            remaining = deadline - self._monotonic()
            if remaining <= 0:
                return False
            data = await run_abortable(
                session.line, self._limiter, partial(_receive_blocking, secured, remaining)
            )
            if data is None:
                return False
            operations = self._reader.feed(data)
            if not data or _DONE in operations or _UNSOLICITED in operations:
                raise DirectoryError("wait for changes", "the notification has ended")
            if operations:
                return True

    async def _register(self) -> None:
        session = await self._open_session(self._limiter)
        try:
            # The root of the domain, everything: the one form that Windows and Samba agree on. Samba reports deletions
            # only with the second control (measured).
            request = Search(
                purpose="ask for change notification",
                base=session.controller.base_dn,
                scope=Scope.SUBTREE,
                attributes=("objectGUID",),
                controls=(NOTIFICATION, SHOW_DELETED),
            )
            self._secured = await run_abortable(
                session.line, self._limiter, lambda: session.line.send_blocking(request)
            )
        except BaseException:
            await session.close()
            raise
        self._session = session
        self._reader = MessageReader()

    async def _drop(self) -> None:
        session, self._session, self._secured = self._session, None, None
        if session is not None:
            await session.close()


class MessageReader:
    """Cuts a stream into LDAP messages, as far as a bell needs it: which operations came."""

    def __init__(self) -> None:
        self._pending = b""

    def feed(self, data: bytes) -> list[int]:
        """The operation tags of the messages that `data` completes. DirectoryError for what is no LDAP."""
        self._pending += data
        operations = []
        while (size := _element_size(self._pending)) is not None and len(self._pending) >= size:
            message, self._pending = self._pending[:size], self._pending[size:]
            operations.append(_operation(message))
        return [operation for operation in operations if operation != _REFERENCE]


def _element_size(data: bytes) -> int | None:
    """Header and body of the BER element that `data` begins with; None while the header isn't complete."""
    if len(data) < 2:
        return None
    if data[1] < 0x80:
        return 2 + data[1]
    count = data[1] & 0x7F
    if count == 0 or count > 4:
        raise DirectoryError("wait for changes", "the server sent what is no LDAP message")
    if len(data) < 2 + count:
        return None
    return 2 + count + int.from_bytes(data[2 : 2 + count], "big")


def _operation(message: bytes) -> int:
    """The tag after the message's header and its id."""
    start = 2 if message[1] < 0x80 else 2 + (message[1] & 0x7F)
    id_size = _element_size(message[start:])
    if id_size is None or len(message) <= start + id_size:
        raise DirectoryError("wait for changes", "the server sent what is no LDAP message")
    return message[start + id_size]


def _receive_blocking(secured: ssl.SSLSocket, timeout_seconds: float) -> bytes | None:
    """What came; None when nothing came in time, b"" when the connection is gone."""
    try:
        secured.settimeout(timeout_seconds)
        return secured.recv(_READ_BYTES)
    except TimeoutError:
        return None
    except (OSError, ValueError):
        return b""

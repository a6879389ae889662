"""Being woken: the directory's change notification (control 528) on a connection of its own.

Only the fact that something changed is used; what changed is what the next poll reads. So a lost notification costs
time, never a change, as long as the caller polls on a timer as well. Whoever begins to listen, at the start or after a loss,
looks at once: what changed before was told to nobody.
"""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable, Sequence

import anyio

from pipeline.errors import DirectoryError
from stages.directory.controls import NOTIFICATION, SHOW_DELETED
from stages.directory.link import Session, run_abortable
from stages.directory.messages import DONE, REFERENCE, UNSOLICITED, Message, MessageReader, NotLdap
from stages.directory.wire import Scope, Search

# After a failure the connection is not tried again for so long: a wake-up is a convenience.
_REST_SECONDS = 60.0

_READ_BYTES = 65_536

_OPERATION = "wait for changes"


class ChangeBell:
    """Rings when something in the domain changes. One waiter at a time."""

    def __init__(
        self,
        open_session: Callable[[anyio.CapacityLimiter], Awaitable[Session]],
        monotonic: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
        *,
        answer_seconds: float = 30.0,
    ) -> None:
        """`answer_seconds`: how long the server has to take up the notification."""
        self._open_session = open_session
        self._monotonic = monotonic
        self._sleep = sleep
        self._limiter = anyio.CapacityLimiter(1)
        self._answer_seconds = answer_seconds
        self._session: Session | None = None
        self._reader = MessageReader()
        self._rest_until = 0.0

    async def wait(self, timeout_seconds: float) -> bool:
        """True when something changed within the time, or may have: at once when listening has only just begun. Without a
        working notification the whole time is waited.
        """
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
            return True
        while True:
            remaining = deadline - self._monotonic()
            if remaining <= 0:
                return False
            messages = await self._receive(self._session, remaining)
            if messages is None:
                return False
            if _ended(messages):
                raise DirectoryError(_OPERATION, "the notification has ended")
            if messages:
                return True

    async def _receive(self, session: Session, seconds: float) -> list[Message] | None:
        """The messages that came, perhaps none yet; None when nothing came in time. DirectoryError when it is over."""
        line = session.line
        data = await run_abortable(line, self._limiter, lambda: _receive_blocking(line.secured, seconds))
        if data is None:
            return None
        if not data:
            raise DirectoryError(_OPERATION, "the connection has ended")
        try:
            messages = self._reader.feed(data)
        except NotLdap as error:
            raise DirectoryError(_OPERATION, str(error)) from error
        return [message for message in messages if message.operation != REFERENCE]

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
            await run_abortable(session.line, self._limiter, lambda: session.line.send_blocking(request))
            self._reader = MessageReader()
            await self._confirm(session)
        except BaseException:
            await session.close()
            raise
        self._session = session

    async def _confirm(self, session: Session) -> None:
        """A notification is not answered, so something is asked behind it on the same connection: once that is answered,
        the server has taken up what came before, and what changes from now on rings.
        """
        request = Search(purpose=_OPERATION, base="", scope=Scope.BASE, attributes=("1.1",))
        number = await run_abortable(session.line, self._limiter, lambda: session.line.send_blocking(request))
        deadline = self._monotonic() + self._answer_seconds
        while (remaining := deadline - self._monotonic()) > 0:
            messages = await self._receive(session, remaining)
            if messages is None:
                break
            if _ended([message for message in messages if message.number != number]):
                raise DirectoryError(_OPERATION, "the server does not offer notification")
            if any((message.number, message.operation) == (number, DONE) for message in messages):
                return
        raise DirectoryError(_OPERATION, "the server does not say that it listens")

    async def _drop(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()


def _ended(messages: Sequence[Message]) -> bool:
    return any(message.operation in (DONE, UNSOLICITED) for message in messages)


def _receive_blocking(secured: ssl.SSLSocket, timeout_seconds: float) -> bytes | None:
    """What came; None when nothing came in time, b"" when the connection is gone."""
    try:
        secured.settimeout(timeout_seconds)
        return secured.recv(_READ_BYTES)
    except TimeoutError:
        return None
    except (OSError, ValueError):
        return b""

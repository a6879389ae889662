"""A mail server on loopback that delivers to nobody: it keeps what it got, for the demo to show and for tests to read."""

import asyncio
import email
import email.policy
import threading
import time
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import anyio
import anyio.to_thread
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from sandbox.certificates import Authority

Security = Literal["starttls", "tls", "plain"]

HOST = "127.0.0.1"
_WAIT_SECONDS = 10.0


@dataclass(frozen=True)
class ReceivedMail:
    sender: str
    recipients: tuple[str, ...]
    message: EmailMessage
    was_encrypted: bool
    signed_in_as: str

    @property
    def subject(self) -> str:
        return str(self.message["Subject"] or "")

    @property
    def text(self) -> str:
        body = self.message.get_body(("plain", "html"))
        return str(body.get_content()).replace("\r\n", "\n") if body is not None else ""


class Mailbox:
    """Runs in a thread with a loop of its own, so that a busy test or demo never looks like a slow mail server.

    May be stopped and started again: the port stays, and so does what was received.
    """

    def __init__(
        self,
        authority: Authority,
        *,
        port: int = 0,
        security: Security = "starttls",
        username: str = "",
        password: str = "",
        folder: Path | None = None,
    ) -> None:
        """With a `username`, mail is taken only from clients that signed in. With a `folder`, messages are also kept there as a
        Maildir, which mail programs read. `starttls` refuses mail before the connection is encrypted.
        """
        self.security: Security = security
        self.port = port
        self.refuse_with = ""  # a reply such as "451 4.3.0 try later", given instead of taking a message
        self._authority = authority
        self._username = username
        self._password = password
        self._folder = folder
        self._received: list[ReceivedMail] = []
        self._arrival = threading.Condition()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._connections: set[asyncio.BaseTransport] = set()
        self._tls = authority.server_context(HOST, "localhost")

    @property
    def host(self) -> str:
        return HOST

    @property
    def ca_file(self) -> Path:
        return self._authority.ca_file

    @property
    def received(self) -> tuple[ReceivedMail, ...]:
        with self._arrival:
            return tuple(self._received)

    @property
    def messages(self) -> tuple[EmailMessage, ...]:
        return tuple(mail.message for mail in self.received)

    def clear(self) -> None:
        with self._arrival:
            self._received.clear()

    def wait_for_blocking(
        self, count: int = 1, *, seconds: float = _WAIT_SECONDS
    ) -> tuple[ReceivedMail, ...]:
        with self._arrival:
            if not self._arrival.wait_for(lambda: len(self._received) >= count, seconds):
                raise TimeoutError(f"{len(self._received)} of {count} messages arrived in {seconds:g} s")
            return tuple(self._received)

    async def wait_for(self, count: int = 1, *, seconds: float = _WAIT_SECONDS) -> tuple[ReceivedMail, ...]:
        return await anyio.to_thread.run_sync(lambda: self.wait_for_blocking(count, seconds=seconds))

    # --------------------------------------------------------------------------------------------- start and stop

    @property
    def is_running(self) -> bool:
        return self._loop is not None

    async def start(self) -> None:
        await anyio.to_thread.run_sync(self.start_blocking)

    async def stop(self) -> None:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(self.stop_blocking)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    def start_blocking(self) -> None:
        if self.is_running:
            return
        loop = asyncio.new_event_loop()
        try:
            server = loop.run_until_complete(
                loop.create_server(
                    self._make_protocol,
                    HOST,
                    self.port,
                    ssl=self._tls if self.security == "tls" else None,
                    reuse_address=True,  # the same port again, at once
                )
            )
        except BaseException:
            loop.close()
            raise
        self.port = server.sockets[0].getsockname()[1]
        self._loop = loop
        self._thread = threading.Thread(target=_serve, args=(loop, server), name="mailbox", daemon=True)
        self._thread.start()

    def stop_blocking(self) -> None:
        loop, thread, self._loop, self._thread = self._loop, self._thread, None, None
        if loop is None or thread is None:
            return
        loop.call_soon_threadsafe(self._hang_up)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()

    def _hang_up(self) -> None:
        for transport in list(self._connections):
            if isinstance(transport, asyncio.Transport):
                transport.abort()

    # --------------------------------------------------------------------------------------------------- speaking

    def _make_protocol(self) -> SMTP:
        is_starttls = self.security == "starttls"
        return _Conversation(
            self,
            self._connections,
            hostname="localhost",
            tls_context=self._tls if is_starttls else None,
            require_starttls=is_starttls,
            authenticator=self._authenticate if self._username else None,
            auth_required=bool(self._username),
            auth_require_tls=is_starttls,
            enable_SMTPUTF8=True,
        )

    def _authenticate(
        self, _server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, data: Any
    ) -> AuthResult:
        if not isinstance(data, LoginPassword):
            return AuthResult(success=False, handled=False)
        is_right = data.login == self._username.encode() and data.password == self._password.encode()
        # "handled" leaves the 535 reply to the server.
        return AuthResult(success=is_right, handled=False, auth_data=self._username)

    async def handle_DATA(self, _server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd looks this name up
        if self.refuse_with:
            return self.refuse_with
        content = (
            envelope.content if isinstance(envelope.content, bytes) else str(envelope.content or "").encode()
        )
        message = email.message_from_bytes(content, policy=email.policy.default)
        assert isinstance(message, EmailMessage)
        mail = ReceivedMail(
            sender=envelope.mail_from or "",
            recipients=tuple(envelope.rcpt_tos),
            message=message,
            was_encrypted=session.ssl is not None or self.security == "tls",
            signed_in_as=str(session.auth_data or ""),
        )
        with self._arrival:
            if self._folder is not None:
                _keep(self._folder, content, len(self._received) + 1)
            self._received.append(mail)
            self._arrival.notify_all()
        return "250 2.0.0 kept"


class _Conversation(SMTP):
    """One client's; known to the mailbox, which hangs up on all of them when it stops."""

    def __init__(self, handler: Mailbox, connections: set[asyncio.BaseTransport], **options: Any) -> None:
        super().__init__(handler, **options)
        self._connections = connections

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._connections.add(transport)
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        if self.transport is not None:
            self._connections.discard(self.transport)
        super().connection_lost(error)


def _serve(loop: asyncio.AbstractEventLoop, server: asyncio.Server) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
        server.close()
        pending = asyncio.all_tasks(loop)
        for task in pending:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*pending, return_exceptions=True))
        for _ in range(5):  # an aborted connection closes its socket some turns of the loop later
            loop.run_until_complete(asyncio.sleep(0))
        loop.run_until_complete(server.wait_closed())
    finally:
        loop.close()


def _keep(folder: Path, content: bytes, number: int) -> None:
    """As Maildir does: written beside, then moved, so that a reader never sees half a message."""
    for name in ("tmp", "new", "cur"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    name = f"{time.time_ns()}.{number}.sandbox"
    (folder / "tmp" / name).write_bytes(content)
    (folder / "tmp" / name).rename(folder / "new" / name)

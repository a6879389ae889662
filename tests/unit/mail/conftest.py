"""Mail servers that refuse, offer too little or lie, and the options to reach them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import anyio
import anyio.abc
import pytest
from aiosmtpd.smtp import SMTP

from pipeline.errors import MailError
from pipeline.model import Alert, Severity
from sandbox.certificates import Authority
from sandbox.mailbox import Mailbox
from stages.mail.options import Encryption, MailOptions
from stages.mail.smtp import SmtpMailer

ALERT = Alert(key="seats", severity=Severity.WARNING, title="no free seat", lines=("ann",))
ID = "<1@connector.example.test>"
SECRET = "correct horse"


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferedOptions(MailOptions):
    """What port 25 means, on a port that tests may open."""

    @property
    def encryption(self) -> Encryption:
        return Encryption.OFFERED


class PickyMailbox(Mailbox):
    """A real server with a rule for senders and recipients."""

    refused_sender = ""
    refused_recipients: dict[str, str]

    async def handle_MAIL(  # noqa: N802 - aiosmtpd looks this name up
        self, server: SMTP, session: Any, envelope: Any, address: str, options: list[str]
    ) -> str:
        if self.refused_sender:
            return self.refused_sender
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 OK"

    async def handle_RCPT(  # noqa: N802 - aiosmtpd looks this name up
        self, server: SMTP, session: Any, envelope: Any, address: str, options: list[str]
    ) -> str:
        if reply := self.refused_recipients.get(address):
            return reply
        envelope.rcpt_tos.append(address)
        return "250 OK"


@pytest.fixture
async def box(authority: Authority) -> AsyncIterator[PickyMailbox]:
    server = PickyMailbox(authority, username="alerts", password=SECRET)
    server.refused_recipients = {}
    async with server:
        yield server


def options_for(box: Mailbox, kind: type[MailOptions] = MailOptions, **changes: Any) -> MailOptions:
    values: dict[str, Any] = {
        "host": box.host,
        "port": box.port,
        "security": "starttls",
        "sender": "connector@example.test",
        "recipients": ("admin@example.test",),
        "ca_file": str(box.ca_file),
        "timeout_seconds": 5,
    }
    return kind(**values | changes)


def signed_in(box: Mailbox, **changes: Any) -> MailOptions:
    return options_for(box, username="alerts", password=SECRET, **changes)


async def send(options: MailOptions, mailer: SmtpMailer | None = None) -> None:
    mailer = mailer or SmtpMailer(options, "connector.example.test")
    await mailer.send([ALERT], message_id=ID, simulated=False)


async def refused(options: MailOptions) -> MailError:
    with pytest.raises(MailError) as raised:
        await send(options)
    assert SECRET not in f"{raised.value!s}{raised.value!r}{raised.value.__cause__!r}"
    assert raised.value.hint
    return raised.value


@asynccontextmanager
async def scripted(replies: dict[str, str], *, greeting: str = "220 hello") -> AsyncIterator[int]:
    """A server that answers each command from `replies` (by its first word), else 250; the value is its port.
    An empty reply hangs up.
    """

    async def serve(stream: anyio.abc.ByteStream) -> None:
        async with stream:
            await stream.send(f"{greeting}\r\n".encode())
            pending = b""
            while True:
                while b"\r\n" not in pending:
                    pending += await stream.receive()
                line, _, pending = pending.partition(b"\r\n")
                verb = line.split(b" ")[0].decode().upper()
                reply = replies.get(verb, "250 fine")
                if not reply:
                    return
                await stream.send(reply.replace("\n", "\r\n").encode() + b"\r\n")
                if verb == "DATA" and reply.startswith("354"):
                    while b"\r\n.\r\n" not in pending:
                        pending += await stream.receive()
                    pending = pending.partition(b"\r\n.\r\n")[2]
                    after = replies.get(".", "250 kept")
                    if not after:
                        return
                    await stream.send(f"{after}\r\n".encode())

    async def serve_quietly(stream: anyio.abc.ByteStream) -> None:
        try:
            await serve(stream)
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            return

    async with (
        await anyio.create_tcp_listener(local_host="127.0.0.1") as listener,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(listener.serve, serve_quietly)
        yield listener.extra(anyio.abc.SocketAttribute.local_port)
        tasks.cancel_scope.cancel()


def scripted_options(port: int, kind: type[MailOptions] = MailOptions, **changes: Any) -> MailOptions:
    values: dict[str, Any] = {
        "host": "127.0.0.1",
        "port": port,
        "security": "none",
        "sender": "connector@example.test",
        "recipients": ("admin@example.test",),
        "timeout_seconds": 5,
    }
    return kind(**values | changes)


@pytest.fixture
def desk() -> SimpleNamespace:
    """What the tests of this folder share; test files can't import one another."""
    return SimpleNamespace(
        alert=ALERT,
        secret=SECRET,
        OfferedOptions=OfferedOptions,
        options_for=options_for,
        signed_in=signed_in,
        send=send,
        refused=refused,
        scripted=scripted,
        scripted_options=scripted_options,
    )

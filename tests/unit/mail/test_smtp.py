"""Real mail servers that refuse, offer too little or lie: what the mailer makes of each."""

from __future__ import annotations

import socket
import ssl
import warnings
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import anyio.abc
import anyio.to_thread
import pytest
from aiosmtpd.smtp import SMTP

from pipeline.errors import MailError
from pipeline.model import Alert, Severity
from sandbox.certificates import Authority
from sandbox.mailbox import Mailbox
from stages.mail.options import Encryption, MailOptions
from stages.mail.smtp import SmtpMailer

pytestmark = pytest.mark.anyio

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


# --- security ------------------------------------------------------------------------------------------


async def test_mail_goes_signed_in_and_encrypted(box: PickyMailbox) -> None:
    await send(signed_in(box))
    (mail,) = box.received
    assert mail.was_encrypted
    assert mail.signed_in_as == "alerts"
    assert mail.recipients == ("admin@example.test",)


async def test_a_certificate_of_an_unknown_authority_is_refused(box: PickyMailbox, tmp_path: Path) -> None:
    error = await refused(signed_in(box, ca_file=str(Authority(tmp_path).ca_file)))
    assert error.permanent
    assert "not trusted" in error.cause
    assert "mail.ca_file" in error.hint
    assert box.received == ()


async def test_a_certificate_for_another_name_is_refused(authority: Authority) -> None:
    class WrongName(Mailbox):
        def __init__(self) -> None:
            super().__init__(authority)
            self._tls = authority.server_context("other.example.test")

    async with WrongName() as box:
        error = await refused(options_for(box))
    assert error.permanent
    assert "not trusted" in error.cause


async def test_implicit_tls_verifies_too(authority: Authority, tmp_path: Path) -> None:
    async with Mailbox(authority, security="tls") as box:
        error = await refused(options_for(box, security="tls", ca_file=str(Authority(tmp_path).ca_file)))
    assert error.permanent
    assert "not trusted" in error.cause


def make_old(context: ssl.SSLContext) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # that it is old is the point
        context.minimum_version = ssl.TLSVersion.TLSv1_1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("DEFAULT:@SECLEVEL=0")


async def test_a_server_below_tls_1_2_is_refused_and_the_error_says_so(authority: Authority) -> None:
    context = authority.server_context("127.0.0.1")
    make_old(context)

    def shake_hands_blocking() -> None:
        client, _ = listener.accept()
        with client, pytest.raises(ssl.SSLError):
            context.wrap_socket(client, server_side=True)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(anyio.to_thread.run_sync, shake_hands_blocking)
            error = await refused(scripted_options(listener.getsockname()[1], security="tls"))
    assert error.permanent
    assert "TLS 1.2 needed" in error.cause
    assert "PROTOCOL_VERSION" in error.cause


@pytest.mark.parametrize("security", ["tls", "starttls"])
async def test_a_server_that_hangs_up_in_the_handshake_may_be_too_old(
    authority: Authority, security: Any
) -> None:
    async with Mailbox(authority, security=security) as box:
        # asyncio's server hangs up without the alert that says why.
        make_old(box._tls)
        error = await refused(options_for(box, security=security))
    assert not error.permanent
    assert "TLS 1.2 needed" in error.cause


async def test_starttls_on_a_port_that_is_tls_from_the_start_ends_in_an_error(authority: Authority) -> None:
    async with Mailbox(authority, security="tls") as box:
        error = await refused(options_for(box, timeout_seconds=0.3))
    assert not error.permanent


async def test_implicit_tls_on_a_plain_port_says_what_is_wrong(authority: Authority) -> None:
    async with Mailbox(authority, security="plain") as box:
        error = await refused(options_for(box, security="tls"))
    assert error.permanent
    assert "465 is TLS from the start" in error.hint


async def test_without_starttls_on_587_nothing_is_sent(authority: Authority) -> None:
    async with Mailbox(authority, security="plain") as box:
        error = await refused(options_for(box))
        assert box.received == ()
    assert error.permanent
    assert "no STARTTLS" in error.cause


async def test_port_25_uses_starttls_where_offered_and_verifies_it(
    authority: Authority, tmp_path: Path
) -> None:
    async with Mailbox(authority, security="starttls") as box:
        await send(options_for(box, OfferedOptions))
        assert box.received[0].was_encrypted
        error = await refused(options_for(box, OfferedOptions, ca_file=str(Authority(tmp_path).ca_file)))
        assert "not trusted" in error.cause
        assert len(box.received) == 1


async def test_port_25_without_starttls_sends_in_the_clear_without_a_username(authority: Authority) -> None:
    async with Mailbox(authority, security="plain") as box:
        await send(options_for(box, OfferedOptions))
        assert not box.received[0].was_encrypted


async def test_a_failing_starttls_on_port_25_does_not_fall_back_to_clear_text() -> None:
    replies = {"EHLO": "250-here\n250 STARTTLS", "STARTTLS": "454 TLS not available"}
    async with scripted(replies) as port:
        error = await refused(scripted_options(port, OfferedOptions))
    assert not error.permanent
    assert "454" in error.cause


async def test_a_username_never_goes_over_an_unencrypted_connection() -> None:
    seen = {"EHLO": "250-here\n250 AUTH PLAIN LOGIN", "AUTH": ""}
    async with scripted(seen) as port:
        error = await refused(scripted_options(port, OfferedOptions, username="alerts", password=SECRET))
        assert error.permanent
        assert "unencrypted" in error.cause
        error = await refused(scripted_options(port, username="alerts", password=SECRET))
        assert error.permanent
        assert "mail.username" in error.cause


async def test_a_ca_file_that_can_not_be_read_is_permanent(box: PickyMailbox, tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_text("no certificate")
    for name in ("missing.pem", "empty.pem"):
        error = await refused(options_for(box, ca_file=str(tmp_path / name)))
        assert error.permanent
        assert error.operation == "read mail.ca_file"


# --- signing in ----------------------------------------------------------------------------------------


async def test_a_wrong_password_is_permanent_and_tried_once(authority: Authority) -> None:
    attempts: list[str] = []

    class Counting(Mailbox):
        def _authenticate(self, *args: Any) -> Any:
            attempts.append(args[3])
            return super()._authenticate(*args)

    async with Counting(authority, username="alerts", password=SECRET) as box:
        error = await refused(options_for(box, username="alerts", password="wrong"))
    assert error.permanent
    assert "535" in error.cause
    assert "mail.password" in error.hint
    assert attempts == ["PLAIN"]


async def test_a_server_that_wants_a_sign_in_says_so_in_the_hint(box: PickyMailbox) -> None:
    error = await refused(options_for(box))
    assert error.permanent
    assert "530" in error.cause
    assert "mail.username" in error.hint


async def test_a_username_for_a_server_without_sign_in_is_permanent(authority: Authority) -> None:
    class NoAuth(Mailbox):
        def _make_protocol(self) -> SMTP:
            return SMTP(
                self,
                hostname="localhost",
                tls_context=self._tls,
                auth_exclude_mechanism=["PLAIN", "LOGIN"],
                enable_SMTPUTF8=True,
            )

    async with NoAuth(authority) as box:
        error = await refused(signed_in(box))
    assert error.permanent
    assert "no sign-in" in error.cause


# --- refusals ------------------------------------------------------------------------------------------


async def test_a_server_that_is_down_is_temporary() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        error = await refused(scripted_options(taken.getsockname()[1]))
    assert not error.permanent
    assert "mail.host" in error.hint


async def test_a_host_without_an_address_is_temporary() -> None:
    error = await refused(scripted_options(25, host="mail.invalid"))
    assert not error.permanent


async def test_a_server_that_says_nothing_is_temporary() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        error = await refused(scripted_options(silent.getsockname()[1], timeout_seconds=0.1))
    assert not error.permanent
    assert "imed out" in error.cause


@pytest.mark.parametrize(("reply", "permanent"), [("553 not yours", True), ("451 try later", False)])
async def test_a_refused_sender(box: PickyMailbox, reply: str, permanent: bool) -> None:
    box.refused_sender = reply
    error = await refused(signed_in(box))
    assert error.permanent is permanent
    assert "mail.sender" in error.hint


@pytest.mark.parametrize(("reply", "permanent"), [("554 no", True), ("452 full", False)])
async def test_a_refused_message(box: PickyMailbox, reply: str, permanent: bool) -> None:
    box.refuse_with = reply
    error = await refused(signed_in(box))
    assert error.permanent is permanent
    assert reply in error.cause


@pytest.mark.parametrize(("reply", "permanent"), [("550 unknown", True), ("450 greylisted", False)])
async def test_recipients_all_refused(box: PickyMailbox, reply: str, permanent: bool) -> None:
    box.refused_recipients = {"admin@example.test": reply}
    error = await refused(signed_in(box))
    assert error.permanent is permanent
    assert f"admin@example.test ({reply})" in error.cause
    assert "mail.recipients" in error.hint


async def test_a_partial_refusal_is_reported_and_the_others_get_it_once(box: PickyMailbox) -> None:
    box.refused_recipients = {"b@example.test": "450 greylisted"}
    options = signed_in(box, recipients=("a@example.test", "b@example.test", "c@example.test"))
    mailer = SmtpMailer(options, "connector.example.test")
    with pytest.raises(MailError, match=r"b@example.test \(450 greylisted\); the other 2 have it") as raised:
        await send(options, mailer)
    assert not raised.value.permanent
    box.refused_recipients = {}
    await send(options, mailer)
    assert [mail.recipients for mail in box.received] == [
        ("a@example.test", "c@example.test"),
        ("b@example.test",),
    ]
    assert len({mail.message["Message-ID"] for mail in box.received}) == 1


async def test_a_partial_refusal_for_good_is_permanent(box: PickyMailbox) -> None:
    box.refused_recipients = {"b@example.test": "550 unknown"}
    error = await refused(signed_in(box, recipients=("a@example.test", "b@example.test")))
    assert error.permanent
    assert len(box.received) == 1


async def test_a_connection_lost_after_the_message_is_temporary_so_that_it_is_sent_again() -> None:
    async with scripted({"DATA": "354 go on", ".": ""}) as port:
        error = await refused(scripted_options(port))
    assert not error.permanent


async def test_a_lost_good_bye_does_not_undo_a_delivery() -> None:
    async with scripted({"DATA": "354 go on", "QUIT": ""}) as port:
        await send(scripted_options(port))


@pytest.mark.parametrize("greeting", ["554 go away", "421 busy", "rubbish"])
async def test_a_refusing_greeting_ends_in_an_error(greeting: str) -> None:
    async with scripted({}, greeting=greeting) as port:
        await refused(scripted_options(port))


async def test_a_server_that_knows_helo_only_is_served() -> None:
    async with scripted({"EHLO": "502 what", "DATA": "354 go on"}) as port:
        await send(scripted_options(port))


async def test_replies_are_shown_on_one_short_line() -> None:
    async with scripted({"MAIL": "550-a\x07\u202e\n550 " + "b" * 2000}) as port:
        error = await refused(scripted_options(port))
    assert error.cause.startswith("550 a [U+202E] b")
    assert len(error.cause) < 400


async def test_an_address_beyond_ascii_needs_a_server_that_takes_it(authority: Authority) -> None:
    async with Mailbox(authority) as box:
        await send(options_for(box, recipients=("jörg@exämple.test",)))
        assert box.received[0].recipients == ("jörg@exämple.test",)
    async with scripted({}) as port:
        error = await refused(scripted_options(port, recipients=("jörg@exämple.test",)))
    assert error.permanent


async def test_unusable_options_are_permanent_and_connect_to_nothing() -> None:
    error = await refused(MailOptions(host="mail.example.test"))
    assert error.permanent
    assert "mail.sender" in error.cause
    assert "mail.recipients" in error.cause


# --- check ---------------------------------------------------------------------------------------------


def summary(findings: Any) -> list[tuple[str, str]]:
    return [(finding.name, finding.state) for finding in findings]


async def test_check_tells_each_step(box: PickyMailbox) -> None:
    findings = await SmtpMailer(signed_in(box), "host").check(send_mail=True)
    assert summary(findings) == [
        (name, "ok") for name in ("connect", "encryption", "sign-in", "test message")
    ]
    assert findings[1].detail == "TLSv1.3, certificate verified"
    assert box.received[0].subject == "[Dropbox AD connector] NOTICE: test message"


async def test_check_sends_nothing_unless_asked(box: PickyMailbox) -> None:
    await SmtpMailer(signed_in(box), "host").check(send_mail=False)
    assert box.received == ()


Change = Callable[[PickyMailbox], MailOptions]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda box: signed_in(box, host=""), [("settings", "failed")]),
        (lambda box: signed_in(box, ca_file="/dev/null"), [("connect", "failed")]),
        (lambda box: signed_in(box, ca_file=""), [("connect", "ok"), ("encryption", "failed")]),
        (
            lambda box: options_for(box, username="alerts", password="wrong"),
            [("connect", "ok"), ("encryption", "ok"), ("sign-in", "failed")],
        ),
        (
            options_for,
            [("connect", "ok"), ("encryption", "ok"), ("sign-in", "ok"), ("test message", "failed")],
        ),
    ],
)
async def test_check_stops_at_the_step_that_fails(
    box: PickyMailbox, change: Change, expected: list[tuple[str, str]]
) -> None:
    findings = await SmtpMailer(change(box), "host").check(send_mail=True)
    assert summary(findings) == expected
    assert findings[-1].hint
    assert SECRET not in str(findings)


async def test_check_warns_of_an_unencrypted_connection(authority: Authority) -> None:
    async with Mailbox(authority, security="plain") as box:
        for options in (options_for(box, security="none"), options_for(box, OfferedOptions)):
            findings = await SmtpMailer(options, "host").check(send_mail=False)
            assert findings[1].state == "warning"
            assert "unencrypted" in findings[1].detail

"""Encryption, certificates and signing in, against real servers that offer too little."""

from __future__ import annotations

import socket
import ssl
import warnings
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
from aiosmtpd.smtp import SMTP

from sandbox.certificates import Authority
from sandbox.mailbox import Mailbox

pytestmark = pytest.mark.anyio


# --- security ------------------------------------------------------------------------------------------


async def test_mail_goes_signed_in_and_encrypted(desk: Any, box: Any) -> None:
    await desk.send(desk.signed_in(box))
    (mail,) = box.received
    assert mail.was_encrypted
    assert mail.signed_in_as == "alerts"
    assert mail.recipients == ("admin@example.test",)


async def test_a_certificate_of_an_unknown_authority_is_refused(desk: Any, box: Any, tmp_path: Path) -> None:
    error = await desk.refused(desk.signed_in(box, ca_file=str(Authority(tmp_path).ca_file)))
    assert error.permanent
    assert "not trusted" in error.cause
    assert "mail.ca_file" in error.hint
    assert box.received == ()


async def test_a_certificate_for_another_name_is_refused(desk: Any, authority: Authority) -> None:
    class WrongName(Mailbox):
        def __init__(self) -> None:
            super().__init__(authority)
            self._tls = authority.server_context("other.example.test")

    async with WrongName() as box:
        error = await desk.refused(desk.options_for(box))
    assert error.permanent
    assert "not trusted" in error.cause


async def test_implicit_tls_verifies_too(desk: Any, authority: Authority, tmp_path: Path) -> None:
    async with Mailbox(authority, security="tls") as box:
        error = await desk.refused(
            desk.options_for(box, security="tls", ca_file=str(Authority(tmp_path).ca_file))
        )
    assert error.permanent
    assert "not trusted" in error.cause


def make_old(context: ssl.SSLContext) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # that it is old is the point
        context.minimum_version = ssl.TLSVersion.TLSv1_1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("DEFAULT:@SECLEVEL=0")


async def test_a_server_below_tls_1_2_is_refused_and_the_error_says_so(
    desk: Any, authority: Authority
) -> None:
    context = authority.server_context("127.0.0.1")
    make_old(context)

    def shake_hands_blocking() -> None:
        client, _ = listener.accept()
        with client, pytest.raises(ssl.SSLError):
            context.wrap_socket(client, server_side=True)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(anyio.to_thread.run_sync, shake_hands_blocking)
            error = await desk.refused(desk.scripted_options(listener.getsockname()[1], security="tls"))
    assert error.permanent
    assert "TLS 1.2 needed" in error.cause
    assert "PROTOCOL_VERSION" in error.cause


@pytest.mark.parametrize("security", ["tls", "starttls"])
async def test_a_server_that_hangs_up_in_the_handshake_may_be_too_old(
    desk: Any, authority: Authority, security: Any
) -> None:
    async with Mailbox(authority, security=security) as box:
        # asyncio's server hangs up without the alert that says why.
        make_old(box._tls)
        error = await desk.refused(desk.options_for(box, security=security))
    assert not error.permanent
    assert "TLS 1.2 needed" in error.cause


async def test_starttls_on_a_port_that_is_tls_from_the_start_ends_in_an_error(
    desk: Any, authority: Authority
) -> None:
    async with Mailbox(authority, security="tls") as box:
        error = await desk.refused(desk.options_for(box, timeout_seconds=0.3))
    assert not error.permanent


async def test_implicit_tls_on_a_plain_port_says_what_is_wrong(desk: Any, authority: Authority) -> None:
    async with Mailbox(authority, security="plain") as box:
        error = await desk.refused(desk.options_for(box, security="tls"))
    assert error.permanent
    assert "465 is TLS from the start" in error.hint


async def test_without_starttls_on_587_nothing_is_sent(desk: Any, authority: Authority) -> None:
    async with Mailbox(authority, security="plain") as box:
        error = await desk.refused(desk.options_for(box))
        assert box.received == ()
    assert error.permanent
    assert "no STARTTLS" in error.cause


async def test_port_25_uses_starttls_where_offered_and_verifies_it(
    desk: Any, authority: Authority, tmp_path: Path
) -> None:
    async with Mailbox(authority, security="starttls") as box:
        await desk.send(desk.options_for(box, desk.OfferedOptions))
        assert box.received[0].was_encrypted
        error = await desk.refused(
            desk.options_for(box, desk.OfferedOptions, ca_file=str(Authority(tmp_path).ca_file))
        )
        assert "not trusted" in error.cause
        assert len(box.received) == 1


async def test_port_25_without_starttls_sends_in_the_clear_without_a_username(
    desk: Any, authority: Authority
) -> None:
    async with Mailbox(authority, security="plain") as box:
        await desk.send(desk.options_for(box, desk.OfferedOptions))
        assert not box.received[0].was_encrypted


async def test_a_failing_starttls_on_port_25_does_not_fall_back_to_clear_text(desk: Any) -> None:
    replies = {"EHLO": "250-here\n250 STARTTLS", "STARTTLS": "454 TLS not available"}
    async with desk.scripted(replies) as port:
        error = await desk.refused(desk.scripted_options(port, desk.OfferedOptions))
    assert not error.permanent
    assert "454" in error.cause


async def test_a_username_never_goes_over_an_unencrypted_connection(desk: Any) -> None:
    seen = {"EHLO": "250-here\n250 AUTH PLAIN LOGIN", "AUTH": ""}
    async with desk.scripted(seen) as port:
        error = await desk.refused(
            desk.scripted_options(port, desk.OfferedOptions, username="alerts", password=desk.secret)
        )
        assert error.permanent
        assert "unencrypted" in error.cause
        error = await desk.refused(desk.scripted_options(port, username="alerts", password=desk.secret))
        assert error.permanent
        assert "mail.username" in error.cause


async def test_a_ca_file_that_can_not_be_read_is_permanent(desk: Any, box: Any, tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_text("no certificate")
    for name in ("missing.pem", "empty.pem"):
        error = await desk.refused(desk.options_for(box, ca_file=str(tmp_path / name)))
        assert error.permanent
        assert error.operation == "read mail.ca_file"


# --- signing in ----------------------------------------------------------------------------------------


async def test_a_wrong_password_is_permanent_and_tried_once(desk: Any, authority: Authority) -> None:
    attempts: list[str] = []

    class Counting(Mailbox):
        def _authenticate(self, *args: Any) -> Any:
            attempts.append(args[3])
            return super()._authenticate(*args)

    async with Counting(authority, username="alerts", password=desk.secret) as box:
        error = await desk.refused(desk.options_for(box, username="alerts", password="wrong"))
    assert error.permanent
    assert "535" in error.cause
    assert "mail.password" in error.hint
    assert attempts == ["PLAIN"]


async def test_a_server_that_wants_a_sign_in_says_so_in_the_hint(desk: Any, box: Any) -> None:
    error = await desk.refused(desk.options_for(box))
    assert error.permanent
    assert "530" in error.cause
    assert "mail.username" in error.hint


async def test_a_username_for_a_server_without_sign_in_is_permanent(desk: Any, authority: Authority) -> None:
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
        error = await desk.refused(desk.signed_in(box))
    assert error.permanent
    assert "no sign-in" in error.cause

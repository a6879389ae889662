"""What the mailer makes of refusals, lost connections and silence; and the lines of `check mail`."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import anyio
import anyio.to_thread
import pytest

from sandbox.certificates import Authority
from sandbox.mailbox import Mailbox
from stages.mail.options import MailOptions
from stages.mail.refusal import PartlyDelivered
from stages.mail.smtp import SmtpMailer

pytestmark = pytest.mark.anyio


# --- refusals ------------------------------------------------------------------------------------------


async def test_a_server_that_is_down_is_temporary(desk: Any) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        error = await desk.refused(desk.scripted_options(taken.getsockname()[1]))
    assert not error.permanent
    assert "mail.host" in error.hint


async def test_a_host_without_an_address_is_temporary(desk: Any) -> None:
    error = await desk.refused(desk.scripted_options(25, host="mail.invalid"))
    assert not error.permanent


async def test_a_server_that_says_nothing_is_temporary(desk: Any) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        error = await desk.refused(desk.scripted_options(silent.getsockname()[1], timeout_seconds=0.1))
    assert not error.permanent
    assert "imed out" in error.cause


@pytest.mark.parametrize(("reply", "permanent"), [("553 not yours", True), ("451 try later", False)])
async def test_a_refused_sender(desk: Any, box: Any, reply: str, permanent: bool) -> None:
    box.refused_sender = reply
    error = await desk.refused(desk.signed_in(box))
    assert error.permanent is permanent
    assert "mail.sender" in error.hint


@pytest.mark.parametrize(("reply", "permanent"), [("554 no", True), ("452 full", False)])
async def test_a_refused_message(desk: Any, box: Any, reply: str, permanent: bool) -> None:
    box.refuse_with = reply
    error = await desk.refused(desk.signed_in(box))
    assert error.permanent is permanent
    assert reply in error.cause


@pytest.mark.parametrize(("reply", "permanent"), [("550 unknown", True), ("450 greylisted", False)])
async def test_recipients_all_refused(desk: Any, box: Any, reply: str, permanent: bool) -> None:
    box.refused_recipients = {"admin@example.test": reply}
    error = await desk.refused(desk.signed_in(box))
    assert error.permanent is permanent
    assert f"admin@example.test ({reply})" in error.cause
    assert "mail.recipients" in error.hint


async def test_a_partial_refusal_is_reported_and_the_others_get_it_once(desk: Any, box: Any) -> None:
    box.refused_recipients = {"b@example.test": "450 greylisted"}
    options = desk.signed_in(box, recipients=("a@example.test", "b@example.test", "c@example.test"))
    mailer = SmtpMailer(options, "connector.example.test")
    with pytest.raises(
        PartlyDelivered, match=r"b@example.test \(450 greylisted\); the other 2 have it"
    ) as raised:
        await desk.send(options, mailer)
    assert not raised.value.permanent
    box.refused_recipients = {}
    await desk.send(options, mailer)
    assert [mail.recipients for mail in box.received] == [
        ("a@example.test", "c@example.test"),
        ("b@example.test",),
    ]
    assert len({mail.message["Message-ID"] for mail in box.received}) == 1


async def test_a_partial_refusal_for_good_is_permanent(desk: Any, box: Any) -> None:
    box.refused_recipients = {"b@example.test": "550 unknown"}
    error = await desk.refused(desk.signed_in(box, recipients=("a@example.test", "b@example.test")))
    assert isinstance(error, PartlyDelivered)
    assert (error.permanent, error.accepted, error.refused) == (
        True,
        ("a@example.test",),
        ("b@example.test",),
    )
    assert len(box.received) == 1


async def test_a_connection_lost_after_the_message_is_temporary_so_that_it_is_sent_again(desk: Any) -> None:
    async with desk.scripted({"DATA": "354 go on", ".": ""}) as port:
        error = await desk.refused(desk.scripted_options(port))
    assert not error.permanent


async def test_a_lost_good_bye_does_not_undo_a_delivery(desk: Any) -> None:
    async with desk.scripted({"DATA": "354 go on", "QUIT": ""}) as port:
        await desk.send(desk.scripted_options(port))


@pytest.mark.parametrize("greeting", ["554 go away", "421 busy", "rubbish"])
async def test_a_refusing_greeting_ends_in_an_error(desk: Any, greeting: str) -> None:
    async with desk.scripted({}, greeting=greeting) as port:
        await desk.refused(desk.scripted_options(port))


async def test_a_server_that_knows_helo_only_is_served(desk: Any) -> None:
    async with desk.scripted({"EHLO": "502 what", "DATA": "354 go on"}) as port:
        await desk.send(desk.scripted_options(port))


async def test_replies_are_shown_on_one_short_line(desk: Any) -> None:
    async with desk.scripted({"MAIL": "550-a\x07\u202e\n550 " + "b" * 2000}) as port:
        error = await desk.refused(desk.scripted_options(port))
    assert error.cause.startswith("550 a [U+202E] b")
    assert len(error.cause) < 400


async def test_an_address_beyond_ascii_needs_a_server_that_takes_it(desk: Any, authority: Authority) -> None:
    async with Mailbox(authority) as box:
        await desk.send(desk.options_for(box, recipients=("jörg@exämple.test",)))
        assert box.received[0].recipients == ("jörg@exämple.test",)
    async with desk.scripted({}) as port:
        error = await desk.refused(desk.scripted_options(port, recipients=("jörg@exämple.test",)))
    assert error.permanent


async def test_unusable_options_are_permanent_and_connect_to_nothing(desk: Any) -> None:
    error = await desk.refused(MailOptions(host="mail.example.test"))
    assert error.permanent
    assert "mail.sender" in error.cause
    assert "mail.recipients" in error.cause


async def test_a_cancelled_send_closes_its_connection_and_the_mailer_stays_usable(
    desk: Any, box: Any
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        mailer = SmtpMailer(desk.scripted_options(silent.getsockname()[1]), "host")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(desk.send, mailer._options, mailer)
            peer, _ = await anyio.to_thread.run_sync(silent.accept)
            tasks.cancel_scope.cancel()
        with peer:
            peer.settimeout(5)
            assert await anyio.to_thread.run_sync(peer.recv, 1) == b""
    mailer._options = desk.signed_in(box)
    await desk.send(mailer._options, mailer)
    assert len(box.received) == 1


# --- check ---------------------------------------------------------------------------------------------


def summary(findings: Any) -> list[tuple[str, str]]:
    return [(finding.name, finding.state) for finding in findings]


async def test_check_tells_each_step(desk: Any, box: Any) -> None:
    findings = await SmtpMailer(desk.signed_in(box), "host").check(send_mail=True)
    assert summary(findings) == [
        (name, "ok") for name in ("connect", "encryption", "sign-in", "test message")
    ]
    assert findings[1].detail == "TLSv1.3, certificate verified"
    assert box.received[0].subject == "[Dropbox AD connector] NOTICE: test message"


async def test_check_sends_nothing_unless_asked(desk: Any, box: Any) -> None:
    await SmtpMailer(desk.signed_in(box), "host").check(send_mail=False)
    assert box.received == ()


Change = Callable[[Any, Any], MailOptions]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda desk, box: desk.signed_in(box, host=""), [("settings", "failed")]),
        (lambda desk, box: desk.signed_in(box, ca_file="/dev/null"), [("connect", "failed")]),
        (lambda desk, box: desk.signed_in(box, ca_file=""), [("connect", "ok"), ("encryption", "failed")]),
        (
            lambda desk, box: desk.options_for(box, username="alerts", password="wrong"),
            [("connect", "ok"), ("encryption", "ok"), ("sign-in", "failed")],
        ),
        (
            lambda desk, box: desk.options_for(box),
            [("connect", "ok"), ("encryption", "ok"), ("sign-in", "ok"), ("test message", "failed")],
        ),
    ],
)
async def test_check_stops_at_the_step_that_fails(
    desk: Any, box: Any, change: Change, expected: list[tuple[str, str]]
) -> None:
    findings = await SmtpMailer(change(desk, box), "host").check(send_mail=True)
    assert summary(findings) == expected
    assert findings[-1].hint
    assert desk.secret not in str(findings)


async def test_check_warns_of_an_unencrypted_connection(desk: Any, authority: Authority) -> None:
    async with Mailbox(authority, security="plain") as box:
        for options in (desk.options_for(box, security="none"), desk.options_for(box, desk.OfferedOptions)):
            findings = await SmtpMailer(options, "host").check(send_mail=False)
            assert findings[1].state == "warning"
            assert "unencrypted" in findings[1].detail

"""Our mail through Postfix, which somebody else wrote: the usual ports, each with the security that the port stands for."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from email.message import EmailMessage
from pathlib import Path

import anyio
import pytest

from pipeline.errors import MailError
from pipeline.model import Alert, Severity
from sandbox.certificates import Authority
from sandbox.postfix import Postfix, missing_for_postfix
from stages.mail.options import MailOptions
from stages.mail.smtp import SmtpMailer

pytestmark = pytest.mark.anyio

PASSWORD = "pass word ü"
ALERT = Alert(
    key="held:leavers",
    severity=Severity.CRITICAL,
    title="300 leavers held by the brake \u2013 Zo\u00eb",
    lines=(
        "left Sales",
        ".",
        "..leading dots",
        "x" * 1500,
        "From here on",
        "\u202egnp.exe\u202c",
        "Bcc: x@example.test",
    ),
    remedy="`ad-connector approve ab12`",
)


@pytest.fixture(scope="module")
def postfix(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postfix]:
    if missing := missing_for_postfix():
        pytest.skip(missing)
    server = Postfix(Authority(tmp_path_factory.mktemp("ca")), username="alerts", password=PASSWORD)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def options(postfix: Postfix) -> MailOptions:
    """Nobody signs in, port 25, security by the port."""
    return MailOptions(
        host=postfix.address,
        port=25,
        sender="connector@example.test",
        recipients=("it@example.test",),
        ca_file=str(postfix._authority.ca_file),
        timeout_seconds=20,
    )


async def send(options: MailOptions, number: int) -> None:
    mailer = SmtpMailer(options, "connector.example.test")
    await mailer.send([ALERT], message_id=message_id(number), simulated=False)


def message_id(number: int) -> str:
    return f"<{number}.c0ffee@connector.example.test>"


async def delivered(postfix: Postfix, number: int) -> EmailMessage:
    deadline = time.monotonic() + 30
    while True:
        for message in postfix.messages():
            if message["Message-ID"] == message_id(number):
                return message
        assert time.monotonic() < deadline, postfix.log()
        await anyio.sleep(0.05)


def protocol_of(message: EmailMessage) -> str:
    """How Postfix got it (RFC 3848): S stands for TLS, A for a sign-in."""
    return str(message["Received"]).partition(" with ")[2].split()[0]


@pytest.mark.parametrize(
    ("number", "port", "signs_in", "protocol"),
    [(1, 587, True, "ESMTPSA"), (2, 465, True, "ESMTPSA"), (3, 25, False, "ESMTPS")],
    ids=["587 STARTTLS", "465 TLS", "25 STARTTLS offered"],
)
async def test_each_port_as_it_is_meant(
    postfix: Postfix, options: MailOptions, number: int, port: int, signs_in: bool, protocol: str
) -> None:
    if signs_in:
        options = replace(options, username=postfix.username, password=PASSWORD)
    await send(replace(options, port=port), number)
    message = await delivered(postfix, number)
    assert protocol_of(message) == protocol
    assert message["Subject"] == f"[Dropbox AD connector] CRITICAL: {ALERT.title}"
    assert message["To"] == "it@example.test"
    assert message["Bcc"] is None
    text, html = message.get_body(("plain",)), message.get_body(("html",))
    assert text is not None
    assert html is not None
    for line in ("..leading dots", "From here on", "Bcc: x@example.test"):
        assert line in text.get_content()
        assert line in html.get_content()


async def test_a_server_without_tls_on_25_gets_it_in_the_clear(
    postfix: Postfix, options: MailOptions
) -> None:
    await send(replace(options, host=postfix.bare), 4)
    assert protocol_of(await delivered(postfix, 4)) == "ESMTP"


async def refusal(options: MailOptions) -> MailError:
    with pytest.raises(MailError) as caught:
        await send(options, 99)
    return caught.value


async def test_a_wrong_password_is_permanent_and_nothing_is_sent(
    postfix: Postfix, options: MailOptions
) -> None:
    error = await refusal(replace(options, port=587, username=postfix.username, password="wrong"))
    assert error.permanent
    assert "wrong" not in str(error)
    assert "sasl_username=alerts" in postfix.log()


async def test_a_password_never_goes_to_a_server_without_tls(postfix: Postfix, options: MailOptions) -> None:
    await refusal(replace(options, host=postfix.bare, username=postfix.username, password=PASSWORD))
    await refusal(replace(options, host=postfix.bare, security="starttls"))


async def test_a_certificate_that_nobody_vouches_for_is_refused_on_every_port(
    postfix: Postfix, options: MailOptions, tmp_path: Path
) -> None:
    other = str(Authority(tmp_path / "other").ca_file)
    for port in (25, 465, 587):
        error = await refusal(replace(options, port=port, ca_file=other))
        assert "certificate" in str(error).lower(), port


async def test_without_a_sign_in_587_takes_nothing(postfix: Postfix, options: MailOptions) -> None:
    error = await refusal(replace(options, port=587))
    assert error.permanent
    assert not [one for one in postfix.messages() if one["Message-ID"] == message_id(99)]


async def test_check_sends_its_message(postfix: Postfix, options: MailOptions) -> None:
    before = len(postfix.messages())
    mailer = SmtpMailer(
        replace(options, port=587, username=postfix.username, password=PASSWORD), "connector.example.test"
    )
    findings = await mailer.check(send_mail=True)
    assert [one.state for one in findings if one.state == "failed"] == []
    deadline = time.monotonic() + 30
    while len(postfix.messages()) == before:
        assert time.monotonic() < deadline, postfix.log()
        await anyio.sleep(0.05)

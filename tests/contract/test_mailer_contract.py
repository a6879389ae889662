"""The obligations of the Mailer port, on the double and on real servers with each kind of security."""

from __future__ import annotations

from collections.abc import Iterator
from email.message import EmailMessage
from typing import Protocol

import pytest

from pipeline.errors import MailError
from pipeline.model import Alert, Severity
from pipeline.ports import Mailer
from sandbox.certificates import Authority
from sandbox.mailbox import Mailbox
from stages.mail.memory import MemoryMailer
from stages.mail.options import MailOptions
from stages.mail.smtp import SmtpMailer

pytestmark = pytest.mark.anyio

ALERT = Alert(
    key="held:leavers",
    severity=Severity.CRITICAL,
    title="300 leavers held by the brake",
    lines=("300 of them: left Sales", "Zoë <b>\r\nBcc: x@example.test"),
    remedy="`ad-connector approve ab12`",
)
ID = "<17.c0ffee@connector.example.test>"


class Harness(Protocol):
    mailer: Mailer

    def arrived(self) -> list[EmailMessage]: ...
    async def break_down(self) -> None: ...
    async def recover(self) -> None: ...


class MemoryHarness:
    def __init__(self) -> None:
        self._double = MemoryMailer()
        self.mailer: Mailer = self._double

    def arrived(self) -> list[EmailMessage]:
        return [kept.message for kept in self._double.kept]

    async def break_down(self) -> None:
        self._double.failure = MailError("send a mail", "no connection", "wait")

    async def recover(self) -> None:
        self._double.failure = None


class SmtpHarness:
    def __init__(self, box: Mailbox, options: MailOptions) -> None:
        self._box = box
        self.mailer: Mailer = SmtpMailer(options, "connector.example.test")

    def arrived(self) -> list[EmailMessage]:
        return list(self._box.messages)

    async def break_down(self) -> None:
        await self._box.stop()

    async def recover(self) -> None:
        await self._box.start()


@pytest.fixture(params=["memory", "starttls", "tls", "plain", "signed-in"])
def harness(request: pytest.FixtureRequest, authority: Authority) -> Iterator[Harness]:
    if request.param == "memory":
        yield MemoryHarness()
        return
    is_signed_in = request.param == "signed-in"
    username, password = ("alerts", "pass word ü") if is_signed_in else ("", "")
    kind = "starttls" if is_signed_in else request.param
    box = Mailbox(authority, security=kind, username=username, password=password)
    box.start_blocking()
    options = MailOptions(
        host=box.host,
        port=box.port,
        security="none" if kind == "plain" else kind,
        username=username,
        password=password,
        sender="connector@example.test",
        recipients=("admin@example.test", "second@example.test"),
        ca_file=str(box.ca_file),
        timeout_seconds=5,
    )
    yield SmtpHarness(box, options)
    box.stop_blocking()


async def test_one_mail_about_the_alerts_with_the_given_id(harness: Harness) -> None:
    await harness.mailer.send([ALERT], message_id=ID, simulated=False)
    (message,) = harness.arrived()
    assert message["Message-ID"] == ID
    assert message["Subject"] == "[Dropbox AD connector] CRITICAL: 300 leavers held by the brake"
    assert message.get_content_type() == "multipart/alternative"
    assert "Bcc" not in message
    text, html = message.get_body(("plain",)), message.get_body(("html",))
    assert text is not None
    assert html is not None
    assert "Zoë <b> Bcc: x@example.test" in text.get_content()
    assert "Zoë &lt;b&gt; Bcc" in html.get_content()
    assert "approve ab12" in text.get_content()


async def test_simulation_is_marked(harness: Harness) -> None:
    await harness.mailer.send([ALERT], message_id=ID, simulated=True)
    assert "SIMULATION" in harness.arrived()[0]["Subject"]


async def test_what_is_over_is_told(harness: Harness) -> None:
    await harness.mailer.send([], message_id=ID, simulated=False, over=["no free seat"])
    assert harness.arrived()[0]["Subject"] == "[Dropbox AD connector] OVER: no free seat"


async def test_a_server_that_is_down_is_a_temporary_error_and_the_same_id_goes_out_later(
    harness: Harness,
) -> None:
    await harness.break_down()
    with pytest.raises(MailError) as raised:
        await harness.mailer.send([ALERT], message_id=ID, simulated=False)
    assert not raised.value.permanent
    assert raised.value.hint
    assert harness.arrived() == []
    await harness.recover()
    await harness.mailer.send([ALERT], message_id=ID, simulated=False)
    assert [message["Message-ID"] for message in harness.arrived()] == [ID]


async def test_a_mail_about_nothing_is_a_fault_of_the_caller(harness: Harness) -> None:
    with pytest.raises(ValueError, match="needs an alert"):
        await harness.mailer.send([], message_id=ID, simulated=False)


async def test_check_says_ok_and_sends_a_message_only_when_asked(harness: Harness) -> None:
    findings = await harness.mailer.check(send_mail=False)
    assert {finding.section for finding in findings} == {"mail"}
    assert "failed" not in {finding.state for finding in findings}
    count = len(harness.arrived())
    findings = await harness.mailer.check(send_mail=True)
    assert findings[-1].name == "test message"
    assert findings[-1].state == "ok"
    assert len(harness.arrived()) - count in {0, 1}  # the double only says so


async def test_check_never_raises_and_says_what_to_do(harness: Harness) -> None:
    await harness.break_down()
    (finding,) = await harness.mailer.check(send_mail=True)
    assert (finding.section, finding.name, finding.state) == ("mail", "connect", "failed")
    assert finding.hint

import smtplib
from email.message import EmailMessage
from pathlib import Path

import pytest

from sandbox.certificates import Authority
from sandbox.mailbox import Mailbox


def _message(subject: str = "Änderung") -> EmailMessage:
    message = EmailMessage()
    message["From"] = "connector@example.test"
    message["To"] = "admin@example.test"
    message["Subject"] = subject
    message.set_content("Zwölf Personen wurden zurückgehalten.\n")
    return message


def test_mail_arrives_over_starttls(mailbox: Mailbox, authority: Authority) -> None:
    for host in ("127.0.0.1", "localhost"):
        with smtplib.SMTP(host, mailbox.port) as client:
            client.starttls(context=authority.client_context())
            client.send_message(_message())
    mail = mailbox.wait_for_blocking(2)[0]
    assert mail.subject == "Änderung"
    assert mail.text == "Zwölf Personen wurden zurückgehalten.\n"
    assert mail.recipients == ("admin@example.test",)
    assert mail.was_encrypted


def test_mail_is_refused_before_starttls(mailbox: Mailbox) -> None:
    with (
        smtplib.SMTP(mailbox.host, mailbox.port) as client,
        pytest.raises(smtplib.SMTPSenderRefused, match="STARTTLS"),
    ):
        client.send_message(_message())
    assert mailbox.received == ()


def test_implicit_tls(authority: Authority) -> None:
    box = Mailbox(authority, security="tls")
    box.start_blocking()
    try:
        with smtplib.SMTP_SSL(box.host, box.port, context=authority.client_context()) as client:
            client.send_message(_message())
        assert box.received[0].was_encrypted
    finally:
        box.stop_blocking()


def test_sign_in_is_asked_for_and_checked(authority: Authority) -> None:
    box = Mailbox(authority, username="alerts", password="right")
    box.start_blocking()
    try:
        with smtplib.SMTP(box.host, box.port) as client:
            client.starttls(context=authority.client_context())
            with pytest.raises(smtplib.SMTPSenderRefused, match="Authentication required"):
                client.send_message(_message())
            with pytest.raises(smtplib.SMTPAuthenticationError):
                client.login("alerts", "wrong")
            client.login("alerts", "right")
            client.send_message(_message())
        assert box.received[0].signed_in_as == "alerts"
    finally:
        box.stop_blocking()


def test_it_comes_back_on_the_same_port_and_keeps_what_it_had(authority: Authority, tmp_path: Path) -> None:
    box = Mailbox(authority, security="plain", folder=tmp_path)
    box.start_blocking()
    try:
        port = box.port
        lingering = smtplib.SMTP(box.host, port)
        lingering.send_message(_message("one"))
        box.stop_blocking()
        with pytest.raises((smtplib.SMTPServerDisconnected, OSError)):
            lingering.send_message(_message("lost"))
        lingering.close()
        with pytest.raises(ConnectionRefusedError):
            smtplib.SMTP(box.host, port)
        box.start_blocking()
        assert box.port == port
        with smtplib.SMTP(box.host, port) as client:
            client.send_message(_message("two"))
        assert [mail.subject for mail in box.received] == ["one", "two"]
        assert len(list((tmp_path / "new").iterdir())) == 2
    finally:
        box.stop_blocking()


def test_it_can_refuse(authority: Authority) -> None:
    box = Mailbox(authority, security="plain")
    box.start_blocking()
    box.refuse_with = "451 4.3.0 try later"
    try:
        with (
            smtplib.SMTP(box.host, box.port) as client,
            pytest.raises(smtplib.SMTPDataError, match="try later"),
        ):
            client.send_message(_message())
        assert box.received == ()
    finally:
        box.stop_blocking()


@pytest.mark.anyio
async def test_it_runs_beside_an_event_loop(authority: Authority) -> None:
    async with Mailbox(authority, security="plain") as box:
        with smtplib.SMTP(box.host, box.port) as client:
            client.send_message(_message())
        assert len(await box.wait_for()) == 1

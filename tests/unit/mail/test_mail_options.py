"""Which encryption a port means, and what can't work whatever the server says."""

from __future__ import annotations

import pytest

from stages.mail.options import Encryption, MailOptions

GOOD = {"host": "mail.example.test", "sender": "c@example.test", "recipients": ("admin@example.test",)}


@pytest.mark.parametrize(
    ("port", "security", "expected"),
    [
        (587, "auto", Encryption.STARTTLS),
        (25, "auto", Encryption.OFFERED),
        (465, "auto", Encryption.TLS),
        (2525, "auto", Encryption.STARTTLS),
        (25, "starttls", Encryption.STARTTLS),
        (587, "tls", Encryption.TLS),
        (25, "none", Encryption.NONE),
    ],
)
def test_port_and_security_decide_the_encryption(port: int, security: str, expected: Encryption) -> None:
    assert MailOptions(**GOOD, port=port, security=security).encryption is expected


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"host": ""}, "mail.host"),
        ({"host": "a b"}, "mail.host"),
        ({"host": "a\r\nEHLO b"}, "mail.host"),
        ({"port": 0}, "mail.port"),
        ({"security": "ssl"}, "mail.security"),
        ({"security": "none", "username": "u"}, "mail.username"),
        ({"sender": ""}, "mail.sender"),
        ({"sender": "c@example.test\r\nBcc: x@example.test"}, "mail.sender"),
        ({"recipients": ()}, "mail.recipients"),
        ({"recipients": ("a@example.test", "Ann <b@example.test>")}, "position 2"),
        ({"recipients": ("a@example.test, b@example.test",)}, "position 1"),
        ({"recipients": ("a@example.test> SIZE=1",)}, "position 1"),
    ],
)
def test_what_can_not_work_is_a_fault_with_its_key(change: dict[str, object], key: str) -> None:
    (fault,) = MailOptions(**{**GOOD, **change}).faults()
    assert key in fault


def test_all_faults_at_once() -> None:
    assert len(MailOptions(host="").faults()) == 3


@pytest.mark.parametrize(
    "address", ["root@localhost", "a.b+c@example.test", "o'neil@example.test", "jörg@exämple.test"]
)
def test_plain_addresses_are_fine(address: str) -> None:
    assert MailOptions(**{**GOOD, "sender": address}).faults() == ()


def test_the_password_is_not_shown() -> None:
    assert "hunter2" not in repr(MailOptions(**GOOD, password="hunter2"))

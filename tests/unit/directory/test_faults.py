"""What an admin is told: each cause by itself, with what to do."""

import socket
import ssl

import pytest
from ldap3.core.exceptions import LDAPInvalidFilterError, LDAPSessionTerminatedByServerError

from pipeline.errors import DirectoryBusy, DirectoryError
from stages.directory.faults import (
    ConnectionLost,
    CredentialsRefused,
    ServerStuck,
    bind_refusal,
    call_failure,
    name_failure,
    open_failure,
    refusal,
)


@pytest.mark.parametrize("code", [1, 3, 11, 51, 52])
def test_passing_results_keep_the_checkpoint(code: int) -> None:
    assert isinstance(refusal("read", code, ""), DirectoryBusy)


@pytest.mark.parametrize("code", [2, 4, 8, 10, 12, 32, 50, 53, 80])
def test_lasting_results_do_not(code: int) -> None:
    error = refusal("read", code, "why\x00 so")
    assert not isinstance(error, DirectoryBusy)
    assert f"LDAP result {code}" in error.cause
    assert "why so" in error.cause
    assert error.code == code


def test_missing_rights_name_the_command_that_tells_which() -> None:
    assert "check directory" in refusal("read", 50, "").hint


@pytest.mark.parametrize(
    ("subcode", "words"),
    [
        ("52e", "wrong user name or password"),
        ("525", "no such account"),
        ("532", "password has expired"),
        ("533", "disabled"),
        ("701", "account has expired"),
        ("773", "must change its password"),
        ("775", "locked"),
        ("999", "wrong user name or password"),
    ],
)
def test_refused_binds(subcode: str, words: str) -> None:
    text = f"80090308: LdapErr: DSID-0C0903A9, comment: AcceptSecurityContext error, data {subcode}, v1db1"
    error = bind_refusal("sign in", 49, text)
    assert isinstance(error, CredentialsRefused)
    assert words in error.cause


def test_another_refusal_of_the_bind_is_told_as_such() -> None:
    assert "start_tls" in bind_refusal("sign in", 8, "").hint


@pytest.mark.parametrize(
    ("error", "is_busy", "words"),
    [
        (ssl.SSLCertVerificationError("certificate verify failed: self-signed certificate (_ssl.c:1)"), False, "not trusted: self-signed"),
        (ssl.SSLError("[SSL: UNSUPPORTED_PROTOCOL] unsupported protocol"), False, "TLS 1.2 needed"),
        (ConnectionResetError("x"), True, "TLS 1.2 needed"),
        (TimeoutError("timed out"), True, "no answer in time"),
        (ConnectionRefusedError("refused"), True, "unreachable"),
        (RuntimeError("odd"), False, "odd"),
    ],
)  # fmt: skip
def test_failures_to_open(error: Exception, is_busy: bool, words: str) -> None:
    told = open_failure("connect", error)
    assert isinstance(told, DirectoryBusy) is is_busy
    assert words in str(told)


def test_failures_of_calls() -> None:
    assert isinstance(call_failure("read", TimeoutError("timed out")), ServerStuck)
    assert isinstance(call_failure("read", LDAPSessionTerminatedByServerError("gone")), ConnectionLost)
    assert isinstance(call_failure("read", AttributeError("'NoneType'")), ConnectionLost)
    assert not isinstance(call_failure("read", LDAPInvalidFilterError("bad")), DirectoryBusy)


def test_names() -> None:
    assert isinstance(
        name_failure("connect", "dc1", socket.gaierror(socket.EAI_AGAIN, "later")), DirectoryBusy
    )
    lasting = name_failure("connect", "dc1", socket.gaierror(socket.EAI_NONAME, "no"))
    assert isinstance(lasting, DirectoryError)
    assert not isinstance(lasting, DirectoryBusy)
    assert "DNS" in lasting.hint

"""From what Kerberos and a refused SASL bind say to the errors of the pipeline, with what the admin should do."""

from __future__ import annotations

import re

from pipeline.errors import DirectoryBusy, DirectoryError
from stages.directory.faults import (
    BIND_SUBCODE,
    INVALID_CREDENTIALS,
    STRONGER_AUTH,
    CredentialsRefused,
    refusal,
    refused_account,
)

# Major statuses (RFC 2744, 3.9.1), where the minor one says nothing that we know.
_NO_CREDENTIALS = 7
_CREDENTIALS_EXPIRED = 11

# Minor statuses: codes of MIT's library (krb5.h, and the mechanism's own gssapi_err_krb5.h), as it numbers them.
_CLIENT_UNKNOWN = -1765328378
_SERVICE_UNKNOWN = -1765328377
_NO_COMMON_CIPHER = frozenset({-1765328370, -1765328237})
_CLIENT_REVOKED = -1765328366
_PASSWORD_EXPIRED = -1765328361
_WRONG_KEY = frozenset({-1765328360, -1765328353})  # pre-authentication failed, decryption failed
_TICKET_EXPIRED = -1765328352
_SKEW = frozenset({-1765328351, -1765328347})  # the ticket is not valid yet, the clocks differ
_NOT_ITS_KEY = frozenset({-1765328349, -1765328343, -1765328340})  # the service could not decrypt the ticket
_NO_REALM = frozenset({-1765328316, -1765328230, -1765328164, -1765328160})
_NO_KDC = -1765328228
_BAD_CONFIGURATION = frozenset({-1765328249, -1765328248})
_NO_CACHE = frozenset({-1765328243, -1765328189, 39756044, 39756034})
_BAD_CACHE = frozenset({-1765328245, -1765328244, -1765328242, -1765328191, -1765328190, -1765328185})
_ANOTHER_ACCOUNT = 39756032
_BAD_KEYTAB = frozenset({-1765328205, -1765328204, -1765328200, -1765328149})
_NOT_IN_KEYTAB = frozenset({-1765328203, -1765328202, -1765328154, 39756033})

_CLOCKS = "set this machine's clock by the domain's (NTP): Kerberos tolerates five minutes"
_BAD_BINDINGS = "80090346"  # SEC_E_BAD_BINDINGS


class TicketMissing(DirectoryError):
    """There is no ticket to sign in with, and no domain controller would change that. Looked at again each time."""


class KdcUnreachable(DirectoryBusy):
    """No KDC answers. Not tried again with the next domain controller: each try may take the whole time-out."""


def package_missing(operation: str) -> DirectoryError:
    return TicketMissing(
        operation,
        "the Python package gssapi is not installed, or the system's Kerberos library is missing",
        "install the kerberos extra with `./run kerberos-setup` in the connector's folder (it builds the packages of "
        'requirements-kerberos.lock, which needs libkrb5-dev and a C compiler), or use directory.auth = "simple"',
    )


def kdc_silent(operation: str, seconds: float) -> DirectoryError:
    return KdcUnreachable(
        operation,
        f"no Kerberos server (KDC) of the domain answers: silent for {seconds:g} seconds",
        "check that port 88 of a domain controller can be reached, and that krb5.conf or DNS name those that run",
    )


def keytab_unreadable(operation: str, keytab: str, reason: str) -> DirectoryError:
    return TicketMissing(
        operation,
        f"the keytab {keytab} can't be read: {reason}",
        "correct directory.keytab, and let the account that runs the connector own the file",
    )


def kerberos_failure(
    operation: str, error: Exception, *, principal: str, host: str, from_keytab: bool
) -> DirectoryError:
    """The error for what the Kerberos library raised: `maj_code`, `min_code` and a text that ends with the cause."""
    minor = int(getattr(error, "min_code", 0))
    minor -= (minor >> 31) << 32  # handed out as unsigned 32 bits
    major = int(getattr(error, "maj_code", 0)) >> 16 & 0xFF
    said = _minor_text(str(error))
    who = principal or "the account"
    if minor in _WRONG_KEY:
        return CredentialsRefused(
            operation,
            f"the keytab's key is not that of {who} (any more): {said}",
            "make the keytab anew: it is void whenever the account's password is set; no further server was tried, so "
            "that the account is not locked",
        )
    if minor == _CLIENT_UNKNOWN:
        return CredentialsRefused(
            operation,
            f"the domain knows no account {who}: {said}",
            "set directory.username to the account's name as the keytab has it, name@REALM (`klist -k` shows it)",
        )
    if minor == _CLIENT_REVOKED:
        return CredentialsRefused(
            operation, f"{who} is disabled, locked or expired: {said}", "enable or unlock the service account"
        )
    if minor == _PASSWORD_EXPIRED:
        return CredentialsRefused(
            operation,
            f"the password of {who} has expired: {said}",
            "set a new password, best one that never expires, and make the keytab anew",
        )
    if minor == _NO_KDC:
        return KdcUnreachable(
            operation,
            f"no Kerberos server (KDC) of the domain answers: {said}",
            "check the realm in krb5.conf or DNS, and that port 88 of a domain controller can be reached",
        )
    if minor in _SKEW or "clock skew" in said.lower():
        return DirectoryError(operation, f"the clocks are too far apart: {said}", _CLOCKS)
    if minor == _SERVICE_UNKNOWN:
        return DirectoryError(
            operation,
            f"the domain has no service ldap/{host}: {said}",
            "name the domain controller in directory.servers by its own full host name, not by an address or an alias; "
            "with wrong reverse DNS also set rdns = false in krb5.conf",
        )
    if minor in _NO_COMMON_CIPHER:
        return DirectoryError(
            operation,
            f"no cipher that all sides accept: {said}",
            "make the keytab with AES keys (ktpass /crypto AES256-SHA1), and allow AES for the account",
        )
    if minor in _NOT_ITS_KEY:
        return DirectoryError(
            operation,
            f"the domain controller can't read the ticket: {said}",
            f"ldap/{host} must be registered for that domain controller alone (`setspn -Q ldap/{host}`)",
        )
    if minor in _NO_REALM:
        return DirectoryError(
            operation,
            f"the realm is not known: {said}",
            "give directory.username with its realm, name@EXAMPLE.TEST; krb5.conf or DNS must lead to the realm's servers",
        )
    if minor in _BAD_CONFIGURATION:
        return DirectoryError(operation, f"krb5.conf can't be read: {said}", "correct krb5.conf")
    if minor in _BAD_KEYTAB:
        return TicketMissing(
            operation, f"the keytab can't be read: {said}", "name a keytab in directory.keytab"
        )
    is_without = minor in _NO_CACHE or major == _NO_CREDENTIALS
    if minor in _NOT_IN_KEYTAB or (
        is_without and from_keytab
    ):  # the library then falls back on an empty cache
        return TicketMissing(
            operation,
            f"the keytab has no key of {who}: {said}",
            "set directory.username to a name that `klist -k` shows, with the realm in capitals",
        )
    if minor == _ANOTHER_ACCOUNT:
        return TicketMissing(
            operation,
            f"the tickets are not those of {who}: {said}",
            "correct directory.username or directory.ccache; an empty username takes the cache's own account",
        )
    if minor == _TICKET_EXPIRED or major == _CREDENTIALS_EXPIRED:
        return TicketMissing(operation, f"the ticket has expired: {said}", _new_ticket(from_keytab))
    if minor in _BAD_CACHE:
        return TicketMissing(
            operation, f"the credential cache can't be read: {said}", _new_ticket(from_keytab)
        )
    if is_without:
        return TicketMissing(operation, f"there is no ticket: {said}", _new_ticket(from_keytab))
    return DirectoryError(operation, f"Kerberos failed: {said}")


def sasl_refusal(operation: str, code: int, message: str) -> DirectoryError:
    """The error for a SASL bind that ended with an LDAP result other than 0."""
    text = " ".join(message.replace("\x00", "").split()).rstrip(".")
    if code == STRONGER_AUTH:
        return DirectoryError(
            operation,
            f"the domain controller wants signing or sealing inside TLS, which is not offered: {text}",
            "with Samba set `ldap server require strong auth = allow_sasl_over_tls` in smb.conf, or use "
            'directory.auth = "simple"',
        )
    if code != INVALID_CREDENTIALS:
        return refusal(operation, code, message)
    if _BAD_BINDINGS in text:
        return DirectoryError(
            operation,
            f"the domain controller sees another TLS connection than we do (channel binding): {text}",
            "connect to the domain controller itself: something between ends the TLS connection",
        )
    found = BIND_SUBCODE.search(text)
    if found and (known := refused_account(found[1])):
        return CredentialsRefused(operation, f"{known[0]} (LDAP result 49)", known[1])
    return CredentialsRefused(
        operation,
        f"the domain controller did not accept the ticket: {text or 'LDAP result 49'}",
        f"check that the account may sign in; {_CLOCKS}",
    )


def _new_ticket(from_keytab: bool) -> str:
    if from_keytab:
        return "check directory.keytab and directory.username; the next try gets a new ticket"
    return (
        "get a ticket for the account that runs the connector (kinit, with directory.ccache or KRB5CCNAME naming the "
        "same cache), or set directory.keytab: then tickets are got and renewed without anybody's help"
    )


def _minor_text(text: str) -> str:
    """Of 'Major (851968): …, Minor (2529638944): Ticket expired' the last part."""
    _, _, said = text.rpartition("Minor (")
    return " ".join(re.sub(r"^\d+\):", "", said).split())

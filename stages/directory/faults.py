"""From what ldap3, sockets, TLS and the server say to the errors of the pipeline, with what the admin should do."""

from __future__ import annotations

import re
import socket
import ssl

from ldap3.core.exceptions import LDAPCommunicationError

from pipeline.errors import DirectoryBusy, DirectoryError

OPERATIONS_ERROR = 1
PROTOCOL_ERROR = 2
TIME_LIMIT = 3
SIZE_LIMIT = 4
STRONGER_AUTH = 8
REFERRAL = 10
ADMIN_LIMIT = 11
UNAVAILABLE_CRITICAL_EXTENSION = 12
SASL_BIND_IN_PROGRESS = 14
NO_SUCH_OBJECT = 32
INVALID_DN = 34
INVALID_CREDENTIALS = 49
INSUFFICIENT_RIGHTS = 50
BUSY = 51
UNAVAILABLE = 52
UNWILLING = 53

_TRANSIENT = frozenset({OPERATIONS_ERROR, TIME_LIMIT, ADMIN_LIMIT, BUSY, UNAVAILABLE})

_NAMES = {
    OPERATIONS_ERROR: "operations error",
    PROTOCOL_ERROR: "protocol error",
    TIME_LIMIT: "time limit exceeded",
    SIZE_LIMIT: "size limit exceeded, the answer was cut short",
    STRONGER_AUTH: "stronger authentication required",
    REFERRAL: "referred to another server",
    ADMIN_LIMIT: "administrative limit exceeded",
    UNAVAILABLE_CRITICAL_EXTENSION: "a control was not accepted",
    NO_SUCH_OBJECT: "no such object",
    INVALID_DN: "invalid DN",
    INVALID_CREDENTIALS: "invalid credentials",
    INSUFFICIENT_RIGHTS: "insufficient access rights",
    BUSY: "busy",
    UNAVAILABLE: "unavailable",
    UNWILLING: "unwilling to perform",
}

_TRY_LATER = "nothing was lost; it is tried again with the same checkpoint"

_HINTS = {
    STRONGER_AUTH: "use ldaps://, or ldap:// with directory.start_tls = true",
    REFERRAL: "referrals are never followed; name a domain controller of the domain that holds the people",
    INSUFFICIENT_RIGHTS: "give the service account the right to read this: `ad-connector check directory` names it",
    SIZE_LIMIT: "the domain controller's MaxPageSize is smaller than usual; see its LDAP policies",
}

# Sub-codes of a refused bind; Windows and Samba both write them into the text of result 49 (MS-ERREF 2.2, system errors).
_BIND_CAUSES = {
    "525": ("no such account", "correct directory.username (user@domain)"),
    "52e": (
        "wrong user name or password",
        "correct directory.username and directory.password; no further server was tried, so that the account is not locked",
    ),
    "530": ("the account may not sign in at this hour", "lift the logon hours of the service account"),
    "531": ("the account may not sign in from here", "lift the workstation list of the service account"),
    "532": ("the account's password has expired", "set a new password, best one that never expires"),
    "533": ("the account is disabled", "enable the service account"),
    "701": ("the account has expired", "extend the service account"),
    "773": ("the account must change its password first", "clear 'must change password at next logon'"),
    "775": ("the account is locked", "unlock it, and find what uses an old password"),
}
BIND_SUBCODE = re.compile(r"\bdata ([0-9a-f]{3}),", re.IGNORECASE)


class LdapRefusal(DirectoryError):
    """The server answered with a result other than success. `code` is the LDAP result code."""

    def __init__(self, operation: str, cause: str, hint: str = "", *, code: int) -> None:
        super().__init__(operation, cause, hint)
        self.code = code


class LdapBusy(DirectoryBusy):
    """A result that may be another one later. `code` is the LDAP result code."""

    def __init__(self, operation: str, cause: str, hint: str = "", *, code: int) -> None:
        super().__init__(operation, cause, hint)
        self.code = code


class ConnectionLost(DirectoryBusy):
    """The connection ended in the middle of a call."""


class ServerStuck(ConnectionLost):
    """The server stayed silent for longer than the timeout."""


class CredentialsRefused(DirectoryError):
    """The bind was refused. Never tried on the next server: that would lock the account the sooner."""


def refusal(operation: str, code: int, message: str) -> LdapRefusal | LdapBusy:
    """The error for an LDAP result code (RFC 4511, appendix A) other than 0."""
    text = " ".join(message.replace("\x00", "").split())
    cause = f"LDAP result {code} ({_NAMES.get(code, 'see RFC 4511')})" + (f": {text}" if text else "")
    if code in _TRANSIENT:
        return LdapBusy(operation, cause, _TRY_LATER, code=code)
    return LdapRefusal(operation, cause, _HINTS.get(code, ""), code=code)


def bind_refusal(operation: str, code: int, message: str) -> DirectoryError:
    if code != INVALID_CREDENTIALS:
        return refusal(operation, code, message)
    found = BIND_SUBCODE.search(message)
    cause, hint = _BIND_CAUSES.get(found[1].lower() if found else "52e", _BIND_CAUSES["52e"])
    return CredentialsRefused(operation, f"{cause} (LDAP result 49)", hint)


def refused_account(subcode: str) -> tuple[str, str] | None:
    """Cause and hint for what is wrong with the account itself; None where the sub-code says nothing beyond "refused"."""
    return _BIND_CAUSES.get(subcode.lower()) if subcode.lower() != "52e" else None


def open_failure(operation: str, error: Exception) -> DirectoryError:
    """The error for what went wrong before the bind: TCP, TLS."""
    if isinstance(error, ssl.SSLCertVerificationError):
        reason = getattr(error, "verify_message", "") or _certificate_reason(str(error))
        return DirectoryError(
            operation,
            f"the server's certificate is not trusted: {reason}",
            "set directory.ca_file to the certificate of the authority that issued it, and name the server as the "
            "certificate does",
        )
    if isinstance(error, ssl.SSLError):
        return DirectoryError(
            operation,
            f"no TLS connection: {_tls_reason(error)}",
            "TLS 1.2 needed: enable it on the domain controller, and check that the port speaks TLS",
        )
    if isinstance(error, TimeoutError):
        return DirectoryBusy(operation, "no answer in time", "check the address, the port and the firewall")
    if isinstance(error, ConnectionResetError | BrokenPipeError):
        return DirectoryBusy(
            operation,
            "the server hung up during the handshake",
            "TLS 1.2 needed: check that the domain controller has a certificate for LDAPS and TLS 1.2 enabled",
        )
    if isinstance(error, OSError):
        return DirectoryBusy(
            operation, f"unreachable: {_plain(error)}", "check the address, the port and the firewall"
        )
    return DirectoryError(operation, _plain(error))


def call_failure(operation: str, error: Exception) -> DirectoryError:
    """The error for what broke a call on an open connection."""
    if isinstance(error, TimeoutError) or "timed out" in str(error):
        return ServerStuck(operation, "no answer in time", _TRY_LATER)
    if isinstance(error, LDAPCommunicationError | OSError | AttributeError | ValueError):
        # AttributeError and ValueError: ldap3 after its socket was closed under it.
        return ConnectionLost(operation, f"the connection broke: {_plain(error)}", _TRY_LATER)
    return DirectoryError(operation, f"unexpected: {type(error).__name__}: {_plain(error)}")


def name_failure(operation: str, host: str, error: OSError) -> DirectoryError:
    hint = "check the name in directory.servers, and this machine's DNS servers: they should be the domain's"
    if isinstance(error, socket.gaierror) and error.errno == socket.EAI_AGAIN:
        return DirectoryBusy(operation, f"the name {host} can't be resolved now", hint)
    return DirectoryError(operation, f"the name {host} can't be resolved", hint)


def _certificate_reason(text: str) -> str:
    found = re.search(r"certificate verify failed: (.*?)(?: \(_ssl|$)", text)
    return found[1] if found else text


def _tls_reason(error: ssl.SSLError) -> str:
    found = re.search(r"\[SSL(?:: (\w+))?\]", str(error))
    # ldap3 makes errors anew from their text, and then they have no reason of their own.
    reason = getattr(error, "reason", "") or (found[1] if found and found[1] else "") or _plain(error)
    return reason.replace("_", " ").lower()


def _plain(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text.removeprefix("socket connection error while opening: ") or type(error).__name__

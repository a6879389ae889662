"""What a mail server's refusal means: MailError, permanent or temporary, with what to do.

Permanent is what a repetition can't change: RFC 5321 4.2.1 (5yz: "should not repeat the exact request"), bad TLS,
bad credentials. Refusals while connecting stay temporary: they come from overload and block lists too.
"""

from __future__ import annotations

import ssl
from collections.abc import Collection, Mapping

import aiosmtplib

from pipeline.errors import MailError
from stages.mail.options import MailOptions
from stages.mail.wording import shown

_REPLY_CHARACTERS = 300
_NEEDS_SIGN_IN_OR_TLS = 530  # RFC 4954 6 and RFC 3207 4
_HINTS = {
    "sender": "check mail.sender: the server must let this account write under that address",
    "recipient": "check mail.recipients",
    "sign-in": "check mail.username and mail.password with `ad-connector check mail`",
    "security": "check mail.username (the server may want a sign-in) and mail.security (or encryption)",
    "certificate": "name mail.host as the certificate does, or give the issuing authority as mail.ca_file",
    "tls": "TLS 1.2 needed: update the mail server, or check mail.port and mail.security "
    "(465 is TLS from the start, 587 is STARTTLS)",
    "reach": "check mail.host and mail.port, the network, and whether the server is up; it is tried again",
}


class PartlyDelivered(MailError):
    """Some recipients have the mail, others were refused (`accepted`, `refused`: their addresses).

    Where it is `permanent`, the mail counts as sent: sending it again would only repeat it to those who have it.
    """

    def __init__(
        self,
        operation: str,
        cause: str,
        hint: str,
        *,
        permanent: bool,
        accepted: tuple[str, ...],
        refused: tuple[str, ...],
    ) -> None:
        super().__init__(operation, cause, hint, permanent=permanent)
        self.accepted = accepted
        self.refused = refused


def refusal_of(operation: str, error: Exception, options: MailOptions) -> MailError:
    """The MailError for anything that aiosmtplib, ssl or a socket raised while doing `operation`."""
    tls = _tls_error(error)
    if tls is not None:
        return _tls_refusal(operation, tls, options)
    if isinstance(error, aiosmtplib.SMTPConnectResponseError | aiosmtplib.SMTPHeloError):
        return MailError(operation, reply_text(error.code, error.message, options), _HINTS["reach"])
    if isinstance(error, aiosmtplib.SMTPResponseException):
        return _reply_refusal(operation, error, options)
    if isinstance(error, OSError):  # aiosmtplib's connection errors and timeouts are OSErrors too
        return MailError(operation, _quoted(str(error) or type(error).__name__, options), _HINTS["reach"])
    return MailError(operation, _quoted(str(error), options), permanent=True)


def recipients_refusal(
    operation: str,
    refused: Mapping[str, tuple[int, str]],
    accepted: Collection[str],
    options: MailOptions,
) -> MailError:
    """Some or all recipients were refused. Permanent when none of them can be hoped for."""
    names = ", ".join(
        f"{address} ({reply_text(code, text, options)})" for address, (code, text) in refused.items()
    )
    cause = f"the server refused {names}"
    is_permanent = all(code >= 500 for code, _ in refused.values())
    if not accepted:
        return MailError(operation, cause, _HINTS["recipient"], permanent=is_permanent)
    return PartlyDelivered(
        operation,
        f"{cause}; the other {len(accepted)} have it",
        _HINTS["recipient"],
        permanent=is_permanent,
        accepted=tuple(sorted(accepted)),
        refused=tuple(refused),
    )


def reply_text(code: int, text: str, options: MailOptions) -> str:
    return f"{code} {_quoted(text, options)}"


def _tls_refusal(operation: str, error: ssl.SSLError, options: MailOptions) -> MailError:
    if isinstance(error, ssl.SSLCertVerificationError):
        cause = f"the certificate of {options.host} is not trusted ({error.verify_message})"
        return MailError(operation, cause, _HINTS["certificate"], permanent=True)
    # A server that hangs up in the handshake may be restarting, or too old to say what it lacks.
    is_permanent = not isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError)
    # Python sets `reason` only on what OpenSSL itself raised.
    reason = getattr(error, "reason", None) or "the server hung up"
    cause = f"TLS 1.2 needed, and no such connection could be made ({reason})"
    return MailError(operation, cause, _HINTS["tls"], permanent=is_permanent)


def _reply_refusal(
    operation: str, error: aiosmtplib.SMTPResponseException, options: MailOptions
) -> MailError:
    hint = ""
    if error.code == _NEEDS_SIGN_IN_OR_TLS:
        hint = _HINTS["security"]
    elif isinstance(error, aiosmtplib.SMTPSenderRefused):
        hint = _HINTS["sender"]
    elif isinstance(error, aiosmtplib.SMTPAuthenticationError):
        hint = _HINTS["sign-in"]
    return MailError(
        operation, reply_text(error.code, error.message, options), hint, permanent=error.code >= 500
    )


def _quoted(text: str, options: MailOptions) -> str:
    """A server's words on one line. Some repeat what they were sent: the password is not passed on."""
    if options.password:
        text = text.replace(options.password, "[password]")
    return shown(text, _REPLY_CHARACTERS)


def _tls_error(error: BaseException | None) -> ssl.SSLError | None:
    """The handshake's error, which aiosmtplib wraps only sometimes (implicit TLS yes, STARTTLS no)."""
    while error is not None:
        if isinstance(error, ssl.SSLError):
            return error
        error = error.__cause__
    return None

"""TLS of the port that `watch` serves, for those who reach it from another machine."""

from __future__ import annotations

import ssl
from contextlib import suppress
from pathlib import Path

from pipeline.errors import ConfigurationError

_MOST_ROUNDS = 4  # a handshake has two


def server_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """TLS 1.2 or later with this chain (PEM, the server's own first) and this key, which must not be encrypted. ConfigurationError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    _load(context, certificate, key)
    return context


def renew(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    """What the files hold by now, for connections that come from here on; the old one stays where they can't be used. ConfigurationError.

    One that has run out takes the place of nothing but another such: then it is no reason to refuse what else was changed.
    """
    fresh = server_context(
        certificate, key
    )  # a pair that does not fit would leave the context with half of it
    fault = fault_of(fresh)
    if fault and not fault_of(context):
        raise _refused(certificate, key, fault)
    _load(context, certificate, key)


def fault_of(context: ssl.SSLContext) -> str:
    """Why no client would take this certificate, whomever it trusts: that it has run out, say. "" where all is well."""
    try:
        shown = _shaken(context, trusted=None)
        _shaken(context, trusted=shown)
    except ssl.SSLCertVerificationError as error:
        return error.verify_message
    except OSError as error:
        return str(error)
    return ""


def _shaken(context: ssl.SSLContext, *, trusted: bytes | None) -> bytes:
    """Shakes hands in memory with a client that trusts this certificate alone (None: any); the one that was shown (DER). OSError."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False  # by which name it will be reached, only the browser knows
    if trusted is None:
        client.verify_mode = ssl.CERT_NONE
    else:
        client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        client.load_verify_locations(cadata=trusted)
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(to_client, to_server)
    theirs = context.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(_MOST_ROUNDS):
        for side in (ours, theirs):
            with suppress(ssl.SSLWantReadError):
                side.do_handshake()
    return ours.getpeercert(binary_form=True) or b""


def _load(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    try:
        # With a password nobody is asked for one at the terminal; a key in the clear has no use for it.
        context.load_cert_chain(certificate, key, password="-")  # noqa: S106
    except (OSError, ValueError) as error:  # SSLError is an OSError
        raise _refused(certificate, key, getattr(error, "strerror", "") or str(error)) from error


def _refused(certificate: Path, key: Path, cause: str) -> ConfigurationError:
    return ConfigurationError(
        "read the certificate of service.listen",
        f"service.tls_certificate: {certificate}, service.tls_key: {key}: {cause}",
        "give a certificate chain that has not run out and its key, both PEM, the key without a passphrase",
    )

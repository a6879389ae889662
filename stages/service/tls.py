"""TLS of the port that `watch` serves, for those who reach it from another machine."""

from __future__ import annotations

import ssl
from pathlib import Path

from pipeline.errors import ConfigurationError


def server_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """TLS 1.2 or later with this chain (PEM, the server's own first) and this key, which must not be encrypted. ConfigurationError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    _load(context, certificate, key)
    return context


def renew(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    """What the files hold by now, for connections that come from here on; the old one stays where they can't be used. ConfigurationError."""
    server_context(certificate, key)  # a pair that does not fit would leave the context with half of it
    _load(context, certificate, key)


def _load(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    try:
        # With a password nobody is asked for one at the terminal; a key in the clear has no use for it.
        context.load_cert_chain(certificate, key, password="-")  # noqa: S106
    except (OSError, ValueError) as error:  # SSLError is an OSError
        cause = getattr(error, "strerror", "") or str(error)
        raise ConfigurationError(
            "read the certificate of service.listen",
            f"service.tls_certificate: {certificate}, service.tls_key: {key}: {cause}",
            "give a certificate chain and its key, both PEM, the key without a passphrase",
        ) from error

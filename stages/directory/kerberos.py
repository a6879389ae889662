"""Kerberos: tickets from a keytab or a credential cache, and signing in with them (SASL mechanism GSSAPI, RFC 4752).

The only file that knows `gssapi`, a package that comes as source only and is an extra: imported when first needed. ldap3's
own GSSAPI bind is not used, since it refuses a server that offers nothing but "no security layer" (a comparison of bytes
with text in `_common_process_end_token_get_security_layers`), which is the very answer of a server inside TLS.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeVar

from pipeline.errors import DirectoryError
from stages.directory.bounded import Bounded, GivenUp
from stages.directory.faults import SASL_BIND_IN_PROGRESS, call_failure
from stages.directory.kerberos_faults import (
    kdc_silent,
    kerberos_failure,
    keytab_unreadable,
    package_missing,
    sasl_refusal,
)

T = TypeVar("T")

_NO_LAYER = 1  # bit mask of RFC 4752, 3.3: TLS signs and encrypts already
_MOST_STEPS = 8  # Kerberos needs three; a server that goes on for ever is given up
_caches = itertools.count(1)


@dataclass(frozen=True, slots=True)
class SaslReply:
    """A server's answer to one step: LDAP result code, its token, its text."""

    code: int
    token: bytes
    message: str


Exchange = Callable[[bytes], SaslReply]
"""Sends one token of the SASL bind and answers what came back; raises DirectoryError where the connection broke."""


def load_gssapi() -> Any:
    """ImportError where the package is not installed, OSError where the system's library does not load."""
    import gssapi
    import gssapi.raw

    return gssapi


class KerberosLogin:
    """Whom to sign in as, and the tickets for it. May be used by several threads."""

    def __init__(
        self,
        *,
        principal: str,
        keytab: str,
        ccache: str,
        now: Callable[[], datetime],
        timeout_seconds: float = 30.0,
        load: Callable[[], Any] = load_gssapi,
    ) -> None:
        """`keytab`: a path; tickets are got with it, into memory, and anew after half their life. Without one the tickets of
        `ccache` are used (a path or TYPE:NAME; empty: the process's default cache), which somebody else keeps fresh.
        `principal` may be empty without a keytab: then it is the cache's own. `timeout_seconds` bounds each wait for the KDC.
        """
        name, at, realm = principal.partition("@")
        self._principal = (
            f"{name}{at}{realm.upper()}"  # realms are in capitals in every keytab; names are as they are
        )
        self._keytab = keytab
        self._ccache = ccache
        self._now = now
        self._load = load
        self._timeout_seconds = timeout_seconds
        # The library waits half a minute for a silent KDC (measured, MIT 1.20), and has no call that cuts it short.
        self._patience = Bounded(timeout_seconds)
        self._cache = ""
        self._renewed_at = now()

    def sign_in_blocking(
        self,
        operation: str,
        host: str,
        certificate: bytes,
        exchange: Exchange,
        is_given_up: Callable[[], bool] = lambda: False,
    ) -> float | None:
        """Signs in to `ldap/host` behind the TLS certificate (DER). Answers for how many seconds the ticket is good,
        None for ever. Once `is_given_up` says so, a wait for the KDC ends within a moment, with ConnectionLost.

        TicketMissing, KdcUnreachable, CredentialsRefused, DirectoryError.
        """
        try:
            gssapi = self._load()
        except (ImportError, OSError) as error:
            raise package_missing(operation) from error
        if self._keytab:
            _demand_readable(operation, self._keytab)

        def patiently(function: Callable[[], T]) -> T:
            return self._patience.call_blocking(function, is_given_up)

        try:
            credentials = patiently(lambda: self._credentials(gssapi))
            context = gssapi.SecurityContext(
                name=gssapi.Name(f"ldap@{host}", gssapi.NameType.hostbased_service),
                creds=credentials,
                mech=gssapi.MechType.kerberos,
                usage="initiate",
                channel_bindings=_channel_bindings(gssapi, certificate),
            )
            _negotiate(operation, context, exchange, patiently)
            lifetime = context.lifetime
        except TimeoutError as error:
            self._forget()
            raise kdc_silent(operation, self._timeout_seconds) from error
        except GivenUp as error:
            self._forget()
            raise call_failure(operation, ConnectionAbortedError("given up")) from error
        except gssapi.exceptions.GSSError as error:
            self._forget()
            raise kerberos_failure(
                operation, error, principal=self._principal, host=host, from_keytab=bool(self._keytab)
            ) from error
        except DirectoryError:
            self._forget()
            raise
        return None if lifetime is None or lifetime >= 2**31 else float(lifetime)

    def _credentials(self, gssapi: Any) -> Any:
        name = gssapi.Name(self._principal, gssapi.NameType.kerberos_principal) if self._principal else None
        if not self._keytab:
            store = {"ccache": self._ccache} if self._ccache else None
            return gssapi.Credentials(name=name, usage="initiate", store=store)
        if not self._cache or self._now() >= self._renewed_at:
            # A cache of its own each time: what the last one holds is not to be mixed with what is new.
            self._cache = f"MEMORY:ad-connector-{os.getpid()}-{next(_caches)}"
            self._renewed_at = datetime.max.replace(tzinfo=self._now().tzinfo)
            credentials = self._from_keytab(gssapi, name)
            if (lifetime := credentials.lifetime) is not None and lifetime < 2**31:
                self._renewed_at = self._now() + timedelta(seconds=lifetime / 2)
            return credentials
        return self._from_keytab(gssapi, name)

    def _from_keytab(self, gssapi: Any, name: Any) -> Any:
        store = {"client_keytab": f"FILE:{self._keytab}", "ccache": self._cache}
        return gssapi.Credentials(name=name, usage="initiate", store=store)

    def _forget(self) -> None:
        """The next try gets a ticket of its own: what was wrong may have been this one."""
        self._cache = ""


def _negotiate(operation: str, context: Any, exchange: Exchange, patiently: Callable[..., bytes]) -> None:
    reply = SaslReply(SASL_BIND_IN_PROGRESS, b"", "")
    for _ in range(_MOST_STEPS):
        # The client speaks first; once all is said on its side it sends an empty token (RFC 4752, 3.1).
        token = patiently(partial(context.step, reply.token or None)) or b""
        reply = _sent(operation, exchange, token)
        if context.complete:
            break
    else:
        raise DirectoryError(operation, "the domain controller never ended the Kerberos exchange")
    offered = bytes(context.unwrap(reply.token).message)
    if len(offered) != 4 or not offered[0] & _NO_LAYER:
        raise sasl_refusal(operation, 8, "it offers no exchange without a security layer")
    # No layer, no buffer, no other identity to act as.
    answer = context.wrap(bytes((_NO_LAYER, 0, 0, 0)), False).message
    reply = exchange(bytes(answer))
    if reply.code != 0:
        raise sasl_refusal(operation, reply.code, reply.message)


def _sent(operation: str, exchange: Exchange, token: bytes) -> SaslReply:
    reply = exchange(token)
    if reply.code == SASL_BIND_IN_PROGRESS:
        return reply
    if reply.code == 0:
        raise DirectoryError(operation, "the domain controller ended the Kerberos exchange too early")
    raise sasl_refusal(operation, reply.code, reply.message)


def _channel_bindings(gssapi: Any, certificate: bytes) -> Any:
    """Ties the ticket to this very TLS connection: `tls-server-end-point` (RFC 5929, 4), which Windows checks."""
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import hashes

    try:
        algorithm = x509.load_der_x509_certificate(certificate).signature_hash_algorithm
    except (ValueError, UnsupportedAlgorithm):
        return None
    if algorithm is None:  # Ed25519 and the like: the RFC defines no binding
        return None
    if algorithm.name in {"md5", "sha1"}:
        algorithm = hashes.SHA256()
    digest = hashes.Hash(algorithm)
    digest.update(certificate)
    return gssapi.raw.ChannelBindings(application_data=b"tls-server-end-point:" + digest.finalize())


def _demand_readable(operation: str, keytab: str) -> None:
    try:
        with open(keytab, "rb") as file:  # noqa: PTH123  # the library takes the path as text as well
            file.read(1)
    except OSError as error:
        raise keytab_unreadable(operation, keytab, error.strerror or type(error).__name__) from error

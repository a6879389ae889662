"""One TLS connection to one server through ldap3: the only file that calls it. Everything here blocks, except `abort`."""

from __future__ import annotations

import contextlib
import socket
import ssl
from functools import lru_cache
from typing import Any

import ldap3
from ldap3.core.exceptions import LDAPException
from ldap3.operation.search import compile_filter, parse_filter
from ldap3.protocol.sasl.sasl import send_sasl_negotiation
from ldap3.utils.asn1 import decode_message_fast, encode

from pipeline.errors import DirectoryError
from stages.directory import controls
from stages.directory.faults import bind_refusal, call_failure, open_failure, refusal
from stages.directory.kerberos import KerberosLogin, SaslReply
from stages.directory.messages import (
    DONE,
    ENTRY,
    REFERENCE,
    Message,
    MessageReader,
    NotLdap,
    read_entry,
    search_message,
)
from stages.directory.options import Target
from stages.directory.wire import Answer, RawEntry, Search

# ldap3 reads 4,096 bytes at a time and appends them to one bytes object: quadratic. Over TLS a read gives up to 16 KiB.
_SOCKET_BYTES = 262_144
_KEEPALIVE = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 15, "TCP_KEEPCNT": 4}


class VerifiedTls(ldap3.Tls):  # type: ignore[misc]  # ldap3 has no types
    """TLS 1.2 or later, the certificate checked by Python itself: chain, host name or address, and name indication.

    ldap3's own wrapping knows no minimum version, sends no name indication and compares DNS names only on
    Python 3.12 and later. `failure` keeps the error that ldap3 would turn into text.
    """

    def __init__(self, host: str, ca_file: str) -> None:
        super().__init__(validate=ssl.CERT_REQUIRED)
        context = ssl.create_default_context(cafile=ca_file or None)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        # Python 3.13 refuses authorities without the key identifiers that RFC 5280 asks for; many an enterprise's root
        # is older than that. The signature chain and the name are checked all the same.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        self._context: ssl.SSLContext | None = context
        self._host = host
        self.failure: Exception | None = None

    def wrap_socket(self, connection: Any, do_handshake: bool = False) -> None:
        del do_handshake  # always: the handshake must be over before anything is said
        assert self._context is not None
        try:
            connection.socket = self._context.wrap_socket(connection.socket, server_hostname=self._host)
        except Exception as error:
            self.failure = error
            raise

    def release(self) -> None:
        """Nothing is secured any more. ldap3's objects hold each other, and by this the certificates of all authorities, a megabyte."""
        self._context, self.failure = None, None


class Line:
    """Opened once, used by one thread at a time, closed once. After any error that is not a server's result it is dead."""

    def __init__(self, target: Target, address: str, *, timeout_seconds: int) -> None:
        """`address` is one numeric address of `target.host`; `timeout_seconds` bounds each wait for the server."""
        self.target = target
        self._address = address
        self._timeout_seconds = max(1, int(timeout_seconds))  # ldap3 packs it as a whole number
        self._connection: Any = None
        self._reader = MessageReader()
        self._aborted = False
        self.is_dead = False
        self.lasts_seconds: float | None = None
        """For how long the server keeps a connection that signed in with a ticket; None: it does not end by itself."""

    def open_blocking(
        self, username: str, password: str, ca_file: str, login: KerberosLogin | None = None
    ) -> None:
        """Connects, secures and binds: with the password, or with `login`'s ticket where there is one.

        DirectoryError, DirectoryBusy, CredentialsRefused, TicketMissing.
        """
        operation = f"connect to {self.target.url}"
        tls = self._prepare(operation, username, password, ca_file, login)
        try:
            self._secure_blocking(operation, tls)
            if login is None:
                self._bind_blocking(f"sign in to {self.target.url} as {username}")
            else:
                self._sign_in_blocking(
                    f"sign in to {self.target.url} with Kerberos" + (f" as {username}" if username else ""),
                    login,
                )
        except BaseException:
            self.close_blocking()
            raise

    def secure_blocking(self, ca_file: str) -> None:
        """Connects and secures, says goodbye, and never names an account. DirectoryError, DirectoryBusy."""
        operation = f"connect to {self.target.url}"
        tls = self._prepare(operation, "nobody", "-", ca_file, None)  # ldap3 wants a name; it is not sent
        try:
            self._secure_blocking(operation, tls)
        finally:
            self.close_blocking()

    def _prepare(
        self, operation: str, username: str, password: str, ca_file: str, login: KerberosLogin | None
    ) -> VerifiedTls:
        ldap3.set_config_parameter("SOCKET_SIZE", _SOCKET_BYTES)
        try:
            tls = VerifiedTls(self.target.host, ca_file)
        except (OSError, ssl.SSLError) as error:
            raise DirectoryError(
                operation,
                f"the certificates in {ca_file or 'the system store'} can't be read: {error}",
                "directory.ca_file must be a readable PEM file",
            ) from error
        server = ldap3.Server(
            self._address,
            port=self.target.port,
            use_ssl=self.target.implicit_tls,
            tls=tls,
            get_info=ldap3.NONE,  # a loaded schema corrupts GUID filters (cannatag/ldap3#1000) and values' types
            connect_timeout=self._timeout_seconds,
            allowed_referral_hosts=[],
        )
        self._connection = ldap3.Connection(
            server,
            user=None if login else username,
            password=None if login else password,
            authentication=ldap3.SASL if login else ldap3.SIMPLE,
            sasl_mechanism=ldap3.KERBEROS if login else None,
            # One thread at a time is our rule, so the copies that SAFE_SYNC makes for others would be for nobody.
            client_strategy=ldap3.SYNC,
            auto_bind=ldap3.AUTO_BIND_NONE,
            auto_referrals=False,  # else it would bind with our password wherever a server points
            auto_range=False,
            check_names=False,
            return_empty_attributes=False,  # else unchanged looks like cleared
            raise_exceptions=False,
            read_only=True,
            receive_timeout=self._timeout_seconds,
        )
        return tls

    def _secure_blocking(self, operation: str, tls: VerifiedTls) -> None:
        connection = self._connection
        try:
            connection.open(read_server_info=False)
            if not self.target.implicit_tls:
                connection.start_tls(read_server_info=False)
        except (LDAPException, OSError) as error:
            raise open_failure(operation, tls.failure or error) from error
        if not isinstance(connection.socket, ssl.SSLSocket):
            raise DirectoryError(operation, "the connection is not encrypted", "TLS 1.2 needed")
        if self._aborted:
            raise call_failure(operation, ConnectionAbortedError("given up"))
        _keep_alive(connection.socket)

    def _bind_blocking(self, operation: str) -> None:
        try:
            self._connection.bind(read_server_info=False)
            result = self._connection.result
        except (LDAPException, OSError, AttributeError, ValueError) as error:
            raise call_failure(operation, error) from error
        if result["result"] != 0:
            raise bind_refusal(operation, int(result["result"]), str(result["message"] or ""))

    def _sign_in_blocking(self, operation: str, login: KerberosLogin) -> None:
        certificate = self._connection.socket.getpeercert(binary_form=True)

        def exchange(token: bytes) -> SaslReply:
            try:
                result = send_sasl_negotiation(self._connection, None, token)
            except (LDAPException, OSError, AttributeError, ValueError) as error:
                raise call_failure(operation, error) from error
            return SaslReply(
                int(result["result"]), bytes(result["saslCreds"] or b""), str(result["message"] or "")
            )

        self.lasts_seconds = login.sign_in_blocking(
            operation, self.target.host, certificate, exchange, lambda: self._aborted
        )
        self._connection.bound = True  # else ldap3 would say no goodbye

    def search_blocking(self, request: Search) -> Answer:
        """The whole answer to one request. LdapRefusal, LdapBusy, ConnectionLost; a result other than 0 never gives entries."""
        try:
            self.secured.settimeout(request.patience_seconds or self._timeout_seconds)
            number = self._send_blocking(request)
            entries, end = self._receive_blocking(number)
            result = self._connection.strategy.decode_response_fast(decode_message_fast(end.data))
        except Exception as error:
            self.is_dead = True
            raise call_failure(request.purpose, error) from error
        if result["result"] != 0:
            raise refusal(request.purpose, int(result["result"]), str(result["message"] or ""))
        return _answer(result, entries)

    def send_blocking(self, request: Search) -> int:
        """Sends a search and leaves its answers, which have this message id, to the caller, who reads `secured`."""
        try:
            return self._send_blocking(request)
        except Exception as error:
            self.is_dead = True
            raise call_failure(request.purpose, error) from error

    def _send_blocking(self, request: Search) -> int:
        number = int(self._connection.server.next_message_id())
        self.secured.sendall(search_message(number, request, encoded(request.filter)))
        return number

    def _receive_blocking(self, number: int) -> tuple[list[RawEntry], Message]:
        """The entries that answer the request, and the message that ends them."""
        entries: list[RawEntry] = []
        while True:
            data = self.secured.recv(_SOCKET_BYTES)
            if not data:
                raise ConnectionError("the server hung up")
            messages = self._reader.feed(data)
            for message in messages:
                if message.number != number:
                    # Its own (number 0) is a notice of disconnection, RFC 4511 4.4.1.
                    raise ConnectionError("the server ends the connection, or answers what was not asked")
                if message.operation == ENTRY:
                    entries.append(read_entry(message))
                elif message.operation == DONE:
                    return entries, message
                elif message.operation != REFERENCE:  # references are never followed
                    raise NotLdap(f"a search was answered by the operation {message.operation:#x}")

    @property
    def secured(self) -> ssl.SSLSocket:
        """The encrypted connection, while it is open."""
        secured: ssl.SSLSocket = self._connection.socket
        return secured

    def close_blocking(self) -> None:
        self.is_dead = True
        connection, self._connection = self._connection, None
        if connection is None:
            return
        secured = connection.socket
        with contextlib.suppress(Exception):  # a goodbye to a server that may be gone
            if secured is not None:
                secured.settimeout(1)
            connection.unbind()
        with contextlib.suppress(Exception):  # ldap3 forgets the socket when it fails while opening
            if secured is not None:
                secured.close()
        connection.server.tls.release()

    def abort(self) -> None:
        """From any thread, at any time: whatever blocks on this connection fails within milliseconds."""
        self._aborted = True
        self.is_dead = True
        opened = getattr(self._connection, "socket", None)
        if opened is not None:
            with contextlib.suppress(OSError):
                # Not `opened.shutdown`: an SSLSocket forgets its encryption first, and what the other thread is about
                # to send would leave in the clear.
                socket.socket.shutdown(opened, socket.SHUT_RDWR)


@lru_cache(maxsize=256)
def encoded(condition: str) -> bytes:
    """A filter in BER (RFC 4515 to RFC 4511)."""
    root = parse_filter(condition, None, False, False, None, False)
    return bytes(encode(compile_filter(root.elements[0])))


def _answer(result: dict[str, Any], entries: list[RawEntry]) -> Answer:
    received = result.get("controls") or {}
    page = received.get(controls.PAGED_OID)
    change = received.get(controls.DIRSYNC_OID)
    return Answer(
        tuple(entries),
        page_cookie=bytes(page["value"]["cookie"] or b"") if page else None,
        change_cookie=bytes(change["value"]["cookie"] or b"") if change else None,
        more_changes=bool(change and change["value"]["more_results"]),
    )


def _keep_alive(secured: socket.socket) -> None:
    secured.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE.items():
        option = getattr(socket, name, None)
        if option is not None:
            secured.setsockopt(socket.IPPROTO_TCP, option, value)

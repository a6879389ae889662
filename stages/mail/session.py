"""One conversation with a mail server, step by step: connect, secure, sign in, deliver, close."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from email.message import EmailMessage

import aiosmtplib
import anyio.lowlevel
import anyio.to_thread

from pipeline.errors import MailError
from stages.mail.letter import needs_smtputf8, plain_host_name, wire_form
from stages.mail.options import Encryption, MailOptions
from stages.mail.refusal import refusal_of

_QUIT_SECONDS = 5.0
_TURNS_TO_CLOSE = 2  # of the loop, until asyncio has closed an aborted socket
# PLAIN first: within TLS it is as safe as the others, and CRAM-MD5 makes the server keep readable passwords.
_MECHANISMS = ("plain", "login", "cram-md5")
_OTHER_MECHANISM_CODES = frozenset({504, 534})  # RFC 4954 6: mechanism unknown, or too weak for this user


class SmtpSession:
    """Steps are called in order, each once; each returns what it found, for `check`, or raises MailError."""

    def __init__(self, options: MailOptions, host_name: str) -> None:
        self._options = options
        self._host_name = plain_host_name(host_name)
        self._client: aiosmtplib.SMTP | None = None
        self._context: ssl.SSLContext | None = None
        self._transport: asyncio.BaseTransport | None = None

    async def connect(self) -> str:
        options = self._options
        if options.encryption is not Encryption.NONE:
            self._context = await anyio.to_thread.run_sync(_tls_context_blocking, options)
        self._client = aiosmtplib.SMTP(
            hostname=options.host,
            port=options.port,
            local_hostname=self._host_name,
            timeout=options.timeout_seconds,
            use_tls=options.encryption is Encryption.TLS,
            start_tls=False,  # `secure` does it: aiosmtplib's own rule would not say why it gave up
            tls_context=self._context,
        )
        async with self._refusals(f"connect to the mail server {options.host}:{options.port}"):
            await self._open()
            await self._greet()
        return f"{options.host}:{options.port} answers"

    async def secure(self) -> str:
        """STARTTLS as the options ask for. Where the server offers it and it fails, nothing is sent in the clear."""
        encryption, client = self._options.encryption, self._connected
        operation = "encrypt the connection to the mail server"
        if encryption in (Encryption.STARTTLS, Encryption.OFFERED):
            if client.supports_extension("starttls"):
                async with self._refusals(operation):
                    await self._start_tls()
                    await self._greet()
            elif encryption is Encryption.STARTTLS:
                raise MailError(
                    operation,
                    "the server offers no STARTTLS, which this port and mail.security require",
                    'check mail.host and mail.port; mail.security = "tls" where the port is TLS from the start',
                    permanent=True,
                )
        tls = client.get_transport_info("ssl_object")
        return f"{tls.version()}, certificate verified" if tls is not None else ""

    @property
    def is_encrypted(self) -> bool:
        client = self._connected
        return client.is_connected and client.get_transport_info("ssl_object") is not None

    async def sign_in(self) -> str:
        """Tries each mechanism that the server offers and knows, and stops at the first refused password: trying
        it again another way would count against the account's lock-out.
        """
        options, client = self._options, self._connected
        if not options.username:
            return "no username given: none needed"
        operation = f"sign in to the mail server as {options.username}"
        if not self.is_encrypted:
            raise MailError(
                operation,
                "the server offers no encryption, and a password never goes over an unencrypted connection",
                "use port 587 or 465, or leave mail.username empty",
                permanent=True,
            )
        offered = [name for name in _MECHANISMS if name in client.server_auth_methods]
        if not offered:
            raise MailError(
                operation,
                "the server offers no sign-in that the connector knows (PLAIN, LOGIN, CRAM-MD5)",
                "leave mail.username empty where the server asks for none",
                permanent=True,
            )
        async with self._refusals(operation):
            for name in offered:
                try:
                    await self._authenticate(name)
                except aiosmtplib.SMTPAuthenticationError as error:
                    if error.code not in _OTHER_MECHANISM_CODES or name == offered[-1]:
                        raise
                else:
                    break
        return f"signed in as {options.username}"

    async def deliver(self, message: EmailMessage, recipients: Sequence[str]) -> dict[str, tuple[int, str]]:
        """Hands the message over. Returns the recipients that were refused, with the server's reply; the others
        have it. MailError when nobody got it for another reason.
        """
        async with self._refusals("send a mail"):
            try:
                refused, _ = await self._connected.sendmail(
                    self._options.sender,
                    list(recipients),
                    wire_form(message),
                    mail_options=["SMTPUTF8"] if needs_smtputf8(message) else [],
                )
            except aiosmtplib.SMTPRecipientsRefused as error:
                return {one.recipient: (one.code, one.message) for one in error.recipients}
        return {address: (reply.code, reply.message) for address, reply in refused.items()}

    async def close(self) -> None:
        """Says good-bye where that is still possible. Never fails: what was delivered stays delivered."""
        client = self._client
        if client is None:
            return
        try:
            if client.is_connected:
                # The message is already accepted or refused; a lost reply to QUIT changes neither.
                with suppress(aiosmtplib.SMTPException, OSError):
                    await client.quit(timeout=min(_QUIT_SECONDS, self._options.timeout_seconds))
        finally:
            client.close()
            # Closing TLS politely waits for the peer, up to 30 s, and nobody would wait for it: a command that ends
            # its loop would leave the socket open. All has been said by now.
            if isinstance(self._transport, asyncio.WriteTransport):
                self._transport.abort()
            for _ in range(_TURNS_TO_CLOSE):
                await anyio.lowlevel.checkpoint()

    @property
    def _connected(self) -> aiosmtplib.SMTP:
        assert self._client is not None, "connect comes first"
        return self._client

    async def _greet(self) -> None:
        try:
            await self._connected.ehlo()
        except aiosmtplib.SMTPHeloError:
            # Servers older than ESMTP know HELO only; they then offer neither TLS nor a sign-in.
            await self._connected.helo()

    async def _open(self) -> None:
        client = self._connected
        try:
            await client.connect()
        except aiosmtplib.SMTPConnectError as error:
            if client.use_tls and isinstance(error.__cause__, ConnectionResetError):
                raise _hung_up() from error
            raise
        self._transport = client.transport

    async def _start_tls(self) -> None:
        client = self._connected
        try:
            await client.starttls()
        except aiosmtplib.SMTPServerDisconnected as error:
            raise _hung_up() from error
        self._transport = client.transport

    async def _authenticate(self, mechanism: str) -> None:
        client, username, password = self._connected, self._options.username, self._options.password
        if mechanism == "plain":
            await client.auth_plain(username, password)
        elif mechanism == "login":
            await client.auth_login(username, password)
        else:
            await client.auth_crammd5(username, password)

    @asynccontextmanager
    async def _refusals(self, operation: str) -> AsyncIterator[None]:
        try:
            yield
        except (aiosmtplib.SMTPException, OSError, ValueError) as error:
            # ValueError: an address or name that aiosmtplib or IDNA can't put on the wire.
            raise refusal_of(operation, error, self._options) from error


def _hung_up() -> ssl.SSLError:
    """In the handshake: old servers hang up rather than say which version they lack."""
    return ssl.SSLEOFError("the server hung up")


def _tls_context_blocking(options: MailOptions) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=options.ca_file or None)
    except OSError as error:  # ssl.SSLError is one
        raise MailError(
            "read mail.ca_file",
            f"no certificates could be read ({error.strerror or error})",
            "give a PEM file with the certificates of the issuing authority",
            permanent=True,
        ) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context

"""The connection: one aiohttp session with TLS 1.2 or later, verified, proxies from the environment.

It sends one POST and says what came back, or how it failed: before anything left, or after.
"""

from __future__ import annotations

import io
import ssl
from collections.abc import Mapping
from dataclasses import dataclass

import aiohttp

from pipeline.errors import DropboxSetupError
from stages.dropbox.options import DropboxOptions

CONNECT_SECONDS = 20.0
LARGE_BODY_BYTES = 1_000_000
MOST_REPLY_BYTES = 64 * 1024 * 1024  # unpacked; a page of a thousand members has two
CUT_HANDSHAKES_ARE_TLS = 3  # in a row; fewer may be an overloaded server
TLS_NEEDED = "TLS 1.2 needed"


class NeverLeft(Exception):
    """No connection came about: the other side has seen nothing."""


class NoReply(Exception):
    """The request left, at least in part, and no whole reply came back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RawReply:
    status: int
    headers: Mapping[str, str]
    body: bytes


class Transport:
    """Made lazily: aiohttp wants a running event loop. Usable again after `close`."""

    def __init__(self, options: DropboxOptions) -> None:
        self._options = options
        self._session: aiohttp.ClientSession | None = None
        self._handshakes_cut = 0  # in a row

    async def post(self, path: str, *, headers: Mapping[str, str], body: bytes) -> RawReply:
        """One POST to `api_url` + `path`. Raises NeverLeft, NoReply, DropboxSetupError (TLS, certificates).

        Redirects are not followed: the token would go along to wherever they lead.
        """
        url = f"{self._options.base_url}{path}"
        operation = f"connecting to {self._options.base_url}"
        session = self._opened()
        try:
            # aiohttp wants large bodies as streams.
            data = body if len(body) <= LARGE_BODY_BYTES else io.BytesIO(body)
            async with session.post(url, data=data, headers=headers, allow_redirects=False) as response:
                self._handshakes_cut = 0
                raw = await _read(response)
                return RawReply(status=response.status, headers=dict(_lowered(response.headers)), body=raw)
        except aiohttp.ClientConnectorCertificateError as error:
            raise DropboxSetupError(
                operation,
                f"the server's certificate is not trusted: {_first_line(error.certificate_error)}",
                f"check dropbox.api_url, the clock and the proxy; a proxy that opens TLS needs its certificate in the "
                f"system's store. {TLS_NEEDED}, with a verified certificate",
            ) from error
        except aiohttp.ClientSSLError as error:
            raise DropboxSetupError(
                operation,
                f"TLS could not be set up: {_first_line(error)}",
                f"{TLS_NEEDED}: check the proxy or firewall in between, and the OpenSSL of this Python",
            ) from error
        except (
            aiohttp.ClientConnectorError,
            aiohttp.ConnectionTimeoutError,
            aiohttp.ClientProxyConnectionError,
        ) as error:
            if self._is_cut_handshake(error):
                self._handshakes_cut += 1
                if self._handshakes_cut >= CUT_HANDSHAKES_ARE_TLS:
                    raise DropboxSetupError(
                        operation,
                        "the other side ends every connection during the TLS handshake",
                        f"{TLS_NEEDED}: check dropbox.api_url, and the proxy or firewall in between",
                    ) from error
            raise NeverLeft(f"no connection to {self._options.base_url}: {_first_line(error)}") from error
        except aiohttp.ClientHttpProxyError as error:
            # It refused to connect us, so nothing went through it.
            raise NeverLeft(f"the proxy answers with {error.status} {error.message[:100]}") from error
        except aiohttp.InvalidURL as error:
            raise DropboxSetupError(
                operation, "dropbox.api_url is not a usable URL", "fix the URL"
            ) from error
        except ValueError as error:
            raise DropboxSetupError(
                operation,
                "the proxy that the environment names is not a usable URL",
                "fix HTTPS_PROXY, such as http://proxy.example.test:3128",
            ) from error
        except TimeoutError as error:
            raise NoReply(f"no reply within {self._options.timeout_seconds:g} s") from error
        except (aiohttp.ClientError, OSError) as error:
            raise NoReply(f"the connection was lost: {_first_line(error)}") from error

    def _is_cut_handshake(self, error: aiohttp.ClientError) -> bool:
        """Old TLS is often refused without a word: the peer hangs up while asyncio shakes hands (no errno)."""
        cause = getattr(error, "os_error", None)
        return (
            self._options.base_url.startswith("https:")
            and isinstance(cause, ConnectionResetError)
            and cause.errno is None
        )

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None or self._session.closed:
            # A sandbox in plain http needs no trust; reading the system's takes longer than all else here.
            tls = self._tls() if self._options.base_url.startswith("https:") else True
            connector = aiohttp.TCPConnector(ssl=tls, limit=self._options.max_concurrency + 1)
            self._session = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                # A loopback address is a sandbox: it never goes through the company's proxy.
                trust_env=not self._options.is_loopback,
                timeout=aiohttp.ClientTimeout(
                    total=self._options.timeout_seconds,
                    sock_connect=min(CONNECT_SECONDS, self._options.timeout_seconds),
                ),
            )
        return self._session

    def _tls(self) -> ssl.SSLContext:
        try:
            context = ssl.create_default_context()
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            if self._options.ca_file:
                context.load_verify_locations(cafile=self._options.ca_file)
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            raise DropboxSetupError(
                "setting up TLS for Dropbox",
                f"the certificates can't be loaded: {_first_line(error)}",
                f"check the certificate file, and that this Python's OpenSSL is recent: {TLS_NEEDED}",
            ) from error
        return context

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """The whole body. NoReply for one that would not end: packed, little may become very much."""
    pieces = bytearray()
    async for piece in response.content.iter_any():
        pieces += piece
        if len(pieces) > MOST_REPLY_BYTES:
            raise NoReply(f"the reply is longer than {MOST_REPLY_BYTES} bytes")
    return bytes(pieces)


def _lowered(headers: Mapping[str, str]) -> Mapping[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def _first_line(error: object) -> str:
    """Short enough for a log line; aiohttp's texts hold addresses, never headers or bodies."""
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:200]

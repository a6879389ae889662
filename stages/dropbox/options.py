"""What the Dropbox adapter needs to know, as plain values. Checked when made, before anything connects."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from pipeline.errors import DropboxSetupError
from stages.dropbox.pace import NOTHING_KNOWN, KnownPace

LIVE_API_HOST = "api.dropboxapi.com"
LIVE_WEB_URL = "https://www.dropbox.com"


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class DropboxOptions:
    """Either `access_token` (used as it is) or `refresh_token` with `app_key`; `app_secret` is empty for PKCE.

    `keep_refresh_token` is told of a new refresh token, should Dropbox ever send one instead of the old.
    `ca_file` names extra trusted certificates (PEM), "" for the system's. Raises DropboxSetupError (-13) for a
    URL that would send the token in the clear and for limits that make no sense. Missing credentials are
    reported when a token is first needed: `authorize` works without any.
    """

    api_url: str = "https://api.dropboxapi.com"
    app_key: str = ""
    app_secret: str = field(default="", repr=False)
    refresh_token: str = field(default="", repr=False)
    access_token: str = field(default="", repr=False)
    keep_refresh_token: Callable[[str], None] | None = field(default=None, repr=False)
    max_requests_per_second: float = 10.0
    max_concurrency: int = 4
    known_pace: KnownPace = NOTHING_KNOWN  # what an earlier client came to
    timeout_seconds: float = 100.0
    ca_file: str = ""
    syncs_groups: bool = False  # `check` then looks for the scopes of groups as well

    def __post_init__(self) -> None:
        operation = "setting up the Dropbox client"
        try:
            parts = urlsplit(self.api_url)
            host, _port = parts.hostname or "", parts.port
        except ValueError as error:
            raise DropboxSetupError(
                operation, f"dropbox.api_url is not a URL: {error}", "fix the URL"
            ) from error
        if parts.scheme not in {"http", "https"} or not host:
            raise DropboxSetupError(
                operation,
                "dropbox.api_url must be a URL that starts with https://",
                "use https://api.dropboxapi.com",
            )
        if parts.username or parts.password or parts.query or parts.fragment:
            raise DropboxSetupError(
                operation,
                "dropbox.api_url may hold neither a user nor a query",
                "use https://api.dropboxapi.com",
            )
        if parts.scheme == "http" and not _is_loopback(host):
            raise DropboxSetupError(
                operation,
                "plain http is accepted for loopback addresses only: the token would travel in the clear",
                "use https://; TLS 1.2 needed",
            )
        if self.max_requests_per_second <= 0 or self.max_concurrency < 1 or self.timeout_seconds <= 0:
            raise DropboxSetupError(
                operation,
                "max_requests_per_second, max_concurrency and timeout_seconds must be above zero",
                "fix these keys in [dropbox]",
            )

    @property
    def base_url(self) -> str:
        """`api_url` without a trailing slash."""
        return self.api_url.rstrip("/")

    @property
    def is_loopback(self) -> bool:
        return _is_loopback(urlsplit(self.api_url).hostname or "")

    @property
    def web_url(self) -> str:
        """Where people approve the app; a simulator serves both sides at one address."""
        return LIVE_WEB_URL if urlsplit(self.api_url).hostname == LIVE_API_HOST else self.base_url

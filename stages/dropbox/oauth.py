"""OAuth 2 for a team app: where the bearer token comes from, and how an admin grants one.

Source: RFC 6749, RFC 7636 (PKCE); Dropbox serves `/oauth2/token` without the `/2/` of the routes. Tokens appear in
no error, log or repr.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import anyio

from pipeline.errors import DropboxSetupError
from pipeline.ports import Clock
from stages.dropbox.options import DropboxOptions
from stages.dropbox.refusal import LONGEST_RETRY_SECONDS
from stages.dropbox.transport import NeverLeft, NoReply, RawReply, Transport
from stages.dropbox.wire import json_or_none

EARLY_SECONDS = 300.0  # refreshed so long before its end, as the vendor's SDK does
SHORTEST_LIFE_SECONDS = 30.0
LONGEST_LIFE_SECONDS = 86_400.0 * 365
TOKEN_PATH = "/oauth2/token"  # noqa: S105 -- a path, not a secret
NEEDED_SCOPES = ("team_info.read", "members.read", "members.write", "members.delete", "events.read")
GROUP_SCOPES = ("groups.read", "groups.write")
SECRET_FIELDS = ("refresh_token", "client_secret", "code", "code_verifier")
AUTHORIZE = "run `ad-connector authorize`"


class TokenOutOfReach(Exception):
    """The token endpoint can't be reached or is in trouble: not a refusal, try again later."""

    def __init__(self, text: str, retry_after: float | None = None) -> None:
        self.retry_after = retry_after
        super().__init__(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What an exchanged code gave. `refresh_token` is to be stored; the rest is for people."""

    refresh_token: str = field(repr=False)
    access_token: str = field(repr=False)
    expires_in_seconds: float
    scopes: tuple[str, ...]
    team_id: str


def new_code_verifier() -> str:
    """A PKCE verifier: 86 characters of the 43 to 128 that RFC 7636 allows."""
    return secrets.token_urlsafe(64)


def code_challenge(verifier: str) -> str:
    """S256 of RFC 7636, section 4.2."""
    digest = hashlib.sha256(verifier.encode("ascii")).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode("ascii")


def authorization_url(
    options: DropboxOptions, verifier: str, *, scopes: Sequence[str] = NEEDED_SCOPES, state: str = ""
) -> str:
    """Where a team admin approves the app; Dropbox then shows a code to copy. Asks for `scopes` and no more."""
    query = {
        "response_type": "code",
        "client_id": options.app_key,
        "token_access_type": "offline",
        "scope": " ".join(scopes),
        "code_challenge": code_challenge(verifier),
        "code_challenge_method": "S256",
    }
    if state:
        query["state"] = state
    return f"{options.web_url}/oauth2/authorize?{urlencode(query)}"


async def exchange_code(options: DropboxOptions, code: str, verifier: str) -> Grant:
    """The code of `authorization_url` for a refresh token. Raises DropboxSetupError."""
    operation = "exchanging the authorisation code"
    form = {
        "grant_type": "authorization_code",
        "code": code.strip(),
        "client_id": options.app_key,
        "code_verifier": verifier,
    }
    if options.app_secret:
        form["client_secret"] = options.app_secret
    transport = Transport(options)
    try:
        reply = await _ask(transport, form, operation)
    except TokenOutOfReach as error:
        raise DropboxSetupError(operation, str(error), "try again; see the Dropbox status page") from error
    finally:
        await transport.close()
    refresh_token, access_token = reply.get("refresh_token"), reply.get("access_token")
    if not isinstance(refresh_token, str) or not isinstance(access_token, str) or not refresh_token:
        raise DropboxSetupError(operation, "the reply holds no refresh token", f"{AUTHORIZE} again")
    return Grant(
        refresh_token=refresh_token,
        access_token=access_token,
        expires_in_seconds=_life_seconds(reply),
        scopes=tuple(str(reply.get("scope") or "").split()),
        team_id=str(reply.get("team_id") or ""),
    )


class TokenSource:
    """The bearer token for the next request. One refresh at a time, however many callers wait."""

    def __init__(self, options: DropboxOptions, transport: Transport, clock: Clock) -> None:
        self._options = options
        self._transport = transport
        self._clock = clock
        self._lock = anyio.Lock()
        self._token = options.access_token
        self._refresh_token = options.refresh_token
        self._renew_at: float | None = None  # monotonic; None: a token that is used as it is

    @property
    def can_refresh(self) -> bool:
        return not self._options.access_token and bool(self._options.refresh_token)

    async def token(self) -> str:
        """Raises DropboxSetupError (none configured, refresh refused) or TokenOutOfReach."""
        if self._is_good():
            return self._token
        async with self._lock:
            if not self._is_good():
                await self._refresh()
            return self._token

    def reject(self, token: str) -> bool:
        """Dropbox refused `token`. True: another can be had, ask `token` again."""
        if not self.can_refresh:
            return False
        if token == self._token:
            self._token = ""
        return True

    def _is_good(self) -> bool:
        return bool(self._token) and (self._renew_at is None or self._clock.monotonic() < self._renew_at)

    async def _refresh(self) -> None:
        operation = "refreshing the Dropbox token"
        if not self._refresh_token:
            raise DropboxSetupError(
                operation, "no refresh token and no access token is configured", AUTHORIZE
            )
        if not self._options.app_key:
            raise DropboxSetupError(operation, "dropbox.app_key is not set", f"set it, then {AUTHORIZE}")
        form = {
            "grant_type": "refresh_token",
            "refresh_token": self._refresh_token,
            "client_id": self._options.app_key,
        }
        if self._options.app_secret:
            form["client_secret"] = self._options.app_secret
        reply = await _ask(self._transport, form, operation)
        token = reply.get("access_token")
        if not isinstance(token, str) or not token:
            raise TokenOutOfReach("the reply of the token endpoint holds no access token")
        self._keep(reply.get("refresh_token"))
        self._token = token
        life_seconds = _life_seconds(reply)
        early_seconds = min(
            EARLY_SECONDS, life_seconds / 2
        )  # a short-lived token must not be renewed each time
        self._renew_at = self._clock.monotonic() + max(SHORTEST_LIFE_SECONDS, life_seconds - early_seconds)

    def _keep(self, rotated: Any) -> None:
        """RFC 6749, section 6: a new refresh token replaces the old one, here and where it is stored.

        Dropbox sends none today. Were one dropped, the next start would need `authorize`.
        """
        if not isinstance(rotated, str) or not rotated or rotated == self._refresh_token:
            return
        self._refresh_token = rotated
        if self._options.keep_refresh_token is not None:
            self._options.keep_refresh_token(rotated)


def _life_seconds(reply: Mapping[str, Any]) -> float:
    value = reply.get("expires_in")
    return (
        float(min(value, LONGEST_LIFE_SECONDS)) if isinstance(value, int | float) and value > 0 else 14400.0
    )


async def _ask(transport: Transport, form: Mapping[str, str], operation: str) -> dict[str, Any]:
    """One call of the token endpoint. Raises DropboxSetupError for a refusal, TokenOutOfReach for trouble."""
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    try:
        reply = await transport.post(TOKEN_PATH, headers=headers, body=urlencode(form).encode("ascii"))
    except (NeverLeft, NoReply) as error:
        raise TokenOutOfReach(str(error)) from error
    body = json_or_none(reply.body)
    if reply.status == 200 and isinstance(body, dict):
        return body
    if reply.status == 429 or reply.status >= 500 or reply.status == 200:
        raise TokenOutOfReach(f"the token endpoint answered with status {reply.status}", _retry_after(reply))
    word = body.get("error") if isinstance(body, dict) else ""
    word = word if isinstance(word, str) else ""
    explanation = body.get("error_description") if isinstance(body, dict) else ""
    explanation = explanation if isinstance(explanation, str) else ""
    for secret in (form.get(name, "") for name in SECRET_FIELDS):
        explanation = explanation.replace(secret, "***") if secret else explanation
    raise DropboxSetupError(
        operation,
        f"refused with {word or f'status {reply.status}'}"
        + (f": {explanation[:200]}" if explanation else ""),
        _refusal_hint(word),
    )


def _retry_after(reply: RawReply) -> float | None:
    value = reply.headers.get("retry-after", "")
    return min(float(value), LONGEST_RETRY_SECONDS) if value.isascii() and value.isdigit() else None


def _refusal_hint(word: str) -> str:
    if word == "invalid_grant":
        return f"the code or token is used up, revoked or expired: {AUTHORIZE} again, as a team admin"
    if word in {"invalid_client", "unauthorized_client"}:
        return "check dropbox.app_key and dropbox.app_secret against the App Console"
    return f"check [dropbox] in the configuration, then {AUTHORIZE}"

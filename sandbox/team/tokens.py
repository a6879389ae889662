"""OAuth tokens and codes of the one app that is linked to the team (section 4)."""

import base64
import hashlib
import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sandbox.team.refusal import AuthFailureError, PlainTextError
from sandbox.team.team import Team

MALFORMED = "The given OAuth 2 access token is malformed."
_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]{8,}")
_VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}")
UID = "4711"
ACCOUNT_ID = "dbid:" + "A" * 35


class GrantError(Exception):
    """A 400 of the token endpoint."""

    def __init__(self, error: str, description: str) -> None:
        super().__init__(error)
        self.body = {"error": error, "error_description": description}


@dataclass
class AccessToken:
    value: str
    scopes: frozenset[str]
    expires: datetime | None
    kind: str = "team"
    revoked: bool = False


@dataclass
class RefreshToken:
    value: str
    scopes: frozenset[str]
    pkce: bool
    revoked: bool = False


@dataclass
class Code:
    value: str
    scopes: frozenset[str]
    expires: datetime
    offline: bool
    redirect_uri: str | None
    challenge: str | None
    method: str = "plain"
    used: bool = False


@dataclass
class Tokens:
    team: Team
    access: dict[str, AccessToken] = field(default_factory=dict)
    refresh: dict[str, RefreshToken] = field(default_factory=dict)
    codes: dict[str, Code] = field(default_factory=dict)

    def __post_init__(self) -> None:
        config = self.team.config
        self.app_scopes = config.app_scopes
        expires = self.team.clock.now() + timedelta(seconds=config.token_lifetime)
        self.access[config.access_token] = AccessToken(config.access_token, config.token_scopes, expires)
        self.refresh[config.refresh_token] = RefreshToken(
            config.refresh_token, config.token_scopes, config.refresh_token_pkce
        )

    # --- access --------------------------------------------------------------------------------------------------

    def issue(self, scopes: frozenset[str] | None = None, kind: str = "team") -> AccessToken:
        lifetime = timedelta(seconds=self.team.config.token_lifetime)
        granted = self.team.config.token_scopes if scopes is None else scopes
        value = "sl." + self.team.identifiers.secret(64)
        token = AccessToken(value, granted, self.team.clock.now() + lifetime, kind)
        self.access[value] = token
        return token

    def examine(self, bearer: str) -> AccessToken:
        """The token, or the failure for one that is malformed, unknown, revoked or expired."""
        if _TOKEN.fullmatch(bearer) is None:
            raise PlainTextError(MALFORMED)
        token = self.access.get(bearer)
        if token is None or token.revoked:
            raise AuthFailureError("invalid_access_token")
        if token.expires is not None and token.expires <= self.team.clock.now():
            raise AuthFailureError("expired_access_token")
        if token.kind == "team" and self.team.switches.tokens_die_with_admin:
            admin = self.team.authorising_admin
            if admin is None or admin.id not in self.team.members.active_admins:
                raise AuthFailureError("invalid_access_token")
        return token

    def expire(self) -> None:
        for token in self.access.values():
            token.expires = self.team.clock.now()

    def revoke(self, *, refresh_too: bool) -> None:
        for token in self.access.values():
            token.revoked = True
        if refresh_too:
            for refresh in self.refresh.values():
                refresh.revoked = True

    def set_scopes(self, scopes: frozenset[str]) -> None:
        """Of all tokens there are (as after a new authorisation)."""
        for token in self.access.values():
            token.scopes = scopes
        for refresh in self.refresh.values():
            refresh.scopes = scopes

    # --- codes ---------------------------------------------------------------------------------------------------

    def authorize(
        self,
        *,
        scopes: frozenset[str],
        offline: bool,
        redirect_uri: str | None,
        challenge: str | None,
        method: str,
    ) -> Code:
        expires = self.team.clock.now() + timedelta(seconds=self.team.config.code_lifetime)
        value = self.team.identifiers.secret(43)
        code = Code(value, scopes, expires, offline, redirect_uri, challenge, method)
        self.codes[value] = code
        return code

    def grant(self, form: dict[str, str]) -> dict[str, Any]:
        if form.get("client_id") != self.team.config.app_key:
            raise GrantError("invalid_client", "Invalid client_id or client_secret")
        secret = form.get("client_secret")
        if secret is not None and secret != self.team.config.app_secret:
            raise GrantError("invalid_client", "Invalid client_id or client_secret")
        kind = form.get("grant_type")
        if kind == "authorization_code":
            return self._exchange(form)
        if kind == "refresh_token":
            return self._refresh(form)
        raise GrantError("unsupported_grant_type", "grant type must be authorization_code or refresh_token")

    def _exchange(self, form: dict[str, str]) -> dict[str, Any]:
        code = self.codes.get(form.get("code", ""))
        if code is None or code.used or code.expires <= self.team.clock.now():
            raise GrantError("invalid_grant", "code doesn't exist or has expired")
        if form.get("redirect_uri") != code.redirect_uri:
            raise GrantError("invalid_grant", "redirect_uri mismatch")
        verifier = form.get("code_verifier")
        if code.challenge is not None:
            if verifier is None or not _proves(verifier, code):
                raise GrantError("invalid_grant", "invalid code verifier")
        elif verifier is not None:
            raise GrantError("invalid_grant", "code was not issued with a code challenge")
        elif form.get("client_secret") is None:
            raise GrantError("invalid_client", "Invalid client_id or client_secret")
        code.used = True
        token = self.issue(code.scopes)
        body = self._reply(token)
        if code.offline:
            refresh = RefreshToken(
                self.team.identifiers.secret(64), code.scopes, pkce=code.challenge is not None
            )
            self.refresh[refresh.value] = refresh
            body["refresh_token"] = refresh.value
        if self.team.switches.oauth_reply != "fewer":
            body.update(scope=" ".join(sorted(token.scopes)), uid=UID, team_id=self.team.id)
        return body

    def _refresh(self, form: dict[str, str]) -> dict[str, Any]:
        value = form.get("refresh_token", "")
        if _TOKEN.fullmatch(value) is None:
            raise GrantError("invalid_grant", "refresh token is malformed")
        refresh = self.refresh.get(value)
        if refresh is None or refresh.revoked:
            raise GrantError("invalid_grant", "refresh token is invalid or revoked")
        if not refresh.pkce and form.get("client_secret") is None:
            raise GrantError("invalid_client", "Invalid client_id or client_secret")
        scopes = refresh.scopes
        if form.get("scope"):
            scopes = frozenset(form["scope"].split())
            if not scopes <= refresh.scopes:
                raise GrantError("invalid_scope", "requested scope was not granted to the refresh token")
        return self._reply(self.issue(scopes))

    def _reply(self, token: AccessToken) -> dict[str, Any]:
        body: dict[str, Any] = {
            "access_token": token.value,
            "token_type": "bearer",
            "expires_in": self.team.config.token_lifetime,
        }
        if self.team.switches.oauth_reply == "more":
            # A user's reply has account_id (section 4); whether a team's has it too is not confirmed.
            body.update(
                scope=" ".join(sorted(token.scopes)), account_id=ACCOUNT_ID, id_token="ey.unasked.for"
            )
        return body


def _proves(verifier: str, code: Code) -> bool:
    if _VERIFIER.fullmatch(verifier) is None:
        return False
    if code.method == "plain":
        return verifier == code.challenge
    digest = hashlib.sha256(verifier.encode()).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=") == code.challenge

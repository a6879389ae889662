"""The browser page and the token endpoint (section 4)."""

import base64
import binascii
import html
from collections.abc import Mapping
from urllib.parse import parse_qsl, urlencode

from aiohttp import web

from sandbox.team.engine import Call
from sandbox.team.tokens import GrantError, Tokens
from sandbox.team.wire import JSON, Reply, encode

_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title></head>
<body><h1>{title}</h1>{content}</body></html>
"""
_FORM = "application/x-www-form-urlencoded"


class OAuth:
    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens
        self.deny = False
        """The admin clicks on Cancel."""

    def authorize(self, query: Mapping[str, str]) -> web.Response:
        problem = self._problem(query)
        if problem is not None:
            content = f"<p>{html.escape(problem)}</p>"
            return web.Response(
                status=400, text=_PAGE.format(title="Error (400)", content=content), content_type="text/html"
            )
        redirect_uri = query.get("redirect_uri")
        state = {"state": query["state"]} if "state" in query else {}
        if self.deny:
            answer = {
                "error": "access_denied",
                "error_description": "The user chose not to give access.",
                **state,
            }
            return self._finish(redirect_uri, answer, "<p>Access denied.</p>")
        wanted = query.get("scope")
        code = self._tokens.authorize(
            scopes=frozenset(wanted.split()) if wanted else self._tokens.app_scopes,
            offline=query.get("token_access_type") == "offline",
            redirect_uri=redirect_uri,
            challenge=query.get("code_challenge"),
            method=query.get("code_challenge_method", "plain"),
        )
        content = f'<p>Enter this code into {html.escape(self._tokens.team.config.app_name)}:</p><p><code id="auth-code">{code.value}</code></p>'
        return self._finish(redirect_uri, {"code": code.value, **state}, content)

    @staticmethod
    def _finish(redirect_uri: str | None, answer: dict[str, str], content: str) -> web.Response:
        if redirect_uri is None:
            return web.Response(
                text=_PAGE.format(title="Dropbox sandbox", content=content), content_type="text/html"
            )
        glue = "&" if "?" in redirect_uri else "?"
        return web.Response(status=302, headers={"Location": f"{redirect_uri}{glue}{urlencode(answer)}"})

    def _problem(self, query: Mapping[str, str]) -> str | None:
        config = self._tokens.team.config
        redirect_uri = query.get("redirect_uri")
        wanted = frozenset(query.get("scope", "").split())
        if query.get("response_type") != "code":
            return 'response_type: this parameter must be "code".'
        if query.get("client_id") != config.app_key:
            return "Invalid client_id: there is no app with this key."
        if query.get("token_access_type", "online") not in ("online", "offline"):
            return "Invalid token_access_type."
        if redirect_uri and config.redirect_uris is not None and redirect_uri not in config.redirect_uris:
            return "Invalid redirect_uri: it must match one that is registered for the app."
        if not wanted <= self._tokens.app_scopes:
            return f"Invalid scope: the app may not ask for {' '.join(sorted(wanted - self._tokens.app_scopes))}."
        if query.get("code_challenge_method", "S256") not in ("S256", "plain"):
            return "Invalid code_challenge_method."
        if "code_challenge" in query and not 43 <= len(query["code_challenge"]) <= 128:
            return "Invalid code_challenge."
        return None

    def token(self, call: Call) -> Reply:
        if call.headers.get("Content-Type", "").split(";")[0].strip().lower() != _FORM:
            error = {"error": "invalid_request", "error_description": f"the request must be {_FORM}"}
            return Reply(400, encode(error), JSON)
        form = dict(parse_qsl(call.body.decode("utf-8", "replace"), keep_blank_values=True))
        form.update(_basic(call.headers.get("Authorization", "")))
        try:
            return Reply(200, encode(self._tokens.grant(form)), JSON)
        except GrantError as error:
            return Reply(400, encode(error.body), JSON)


def _basic(header: str) -> dict[str, str]:
    kind, _, credentials = header.partition(" ")
    if kind.lower() != "basic":
        return {}
    try:
        key, _, secret = base64.b64decode(credentials, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return {}
    return {"client_id": key, "client_secret": secret}

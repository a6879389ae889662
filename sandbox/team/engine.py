"""From a request to a reply: who asks, may they, what do they want, what comes of it. No network in here."""

import base64
import binascii
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sandbox.team.arguments import ARGUMENTS, scope_of
from sandbox.team.departure import Departure
from sandbox.team.group_routes import GroupRoutes
from sandbox.team.launching import Launching
from sandbox.team.lifecycle import Lifecycle
from sandbox.team.log import Actor
from sandbox.team.member_routes import MemberRoutes
from sandbox.team.membership import Membership
from sandbox.team.ratelimit import Limiter
from sandbox.team.refusal import AuthFailureError, BadInputError, PlainTextError, RefusalError
from sandbox.team.schema import ArgumentError
from sandbox.team.team import Team
from sandbox.team.team_routes import WHOLE_TEAM_TOKEN, TeamRoutes
from sandbox.team.tokens import Tokens
from sandbox.team.views import Views
from sandbox.team.wire import Errors, Reply, bad_input, ok, text

USER_TOKEN = (
    "This is a DfB team management function. The OAuth 2 access token you provided is for a specific Dropbox user "
    "account and does not work with this function."
)
USER_ROUTES = frozenset({"check/user", "auth/token/revoke", "users/get_current_account"})


@dataclass(frozen=True)
class Call:
    route: str
    headers: Mapping[str, str]
    body: bytes
    request_id: str


class Engine:
    def __init__(self, team: Team) -> None:
        self.team = team
        self.tokens = Tokens(team)
        self.limiter = Limiter(team.clock, team.config.rate_limit)
        self.errors = Errors(team.identifiers)
        self.lifecycle = Lifecycle(team)
        self.departure = Departure(team, self.lifecycle)
        self.membership = Membership(team)
        self.launching = Launching(team)
        self.views = Views(team)
        self._handlers: dict[str, Callable[[Any, Actor], Any]] = {
            **TeamRoutes(team, self.views).table(),
            **MemberRoutes(team, self.lifecycle, self.departure, self.views, self.launching).table(),
            **GroupRoutes(team, self.membership, self.views, self.launching).table(),
        }

    @property
    def routes(self) -> list[str]:
        return sorted(self._handlers)

    def answer(self, call: Call) -> Reply:
        try:
            return self._answer(call)
        except PlainTextError as error:
            return text(400, str(error))
        except BadInputError as error:
            return bad_input(call.route, str(error))
        except ArgumentError as error:
            return bad_input(call.route, f"request body: {error}")
        except AuthFailureError as error:
            return self.errors.auth(error.tag, error.fields)
        except RefusalError as error:
            return self.errors.endpoint(error.body())

    def _answer(self, call: Call) -> Reply:
        handler = self._handlers.get(call.route)
        if handler is None and call.route not in USER_ROUTES:
            raise PlainTextError(f'Unknown API function: "{call.route}"')
        by = self._authenticate(call)
        if handler is None:
            raise BadInputError(WHOLE_TEAM_TOKEN if by.kind == "app" else "not part of the sandbox")
        wait = self.limiter.refuse()
        if wait is not None and self.limiter.limit is not None:
            return self.errors.too_many(self.limiter.limit.form, wait)
        self._check_content_type(call)
        try:
            decoded = json.loads(call.body)
        except ValueError:
            raise ArgumentError("could not decode input as JSON") from None
        arguments = ARGUMENTS[call.route].decode(decoded)
        return ok(handler(arguments, by))

    @staticmethod
    def _check_content_type(call: Call) -> None:
        found = call.headers.get("Content-Type", "")
        if found.split(";")[0].strip().lower() != "application/json":
            raise BadInputError(
                f'Bad HTTP "Content-Type" header: "{found}".  Expecting one of "application/json", '
                '"application/json; charset=utf-8", "text/plain; charset=dropbox-cors-hack".'
            )

    def _authenticate(self, call: Call) -> Actor:
        header = call.headers.get("Authorization")
        if not header:
            raise BadInputError('Must provide HTTP header "Authorization" or URL parameter "authorization".')
        kind, _, credentials = header.partition(" ")
        if call.route == "check/app":
            return self._authenticate_app(kind, credentials)
        if kind.lower() != "bearer":
            raise BadInputError(
                'Invalid authorization value in HTTP header "Authorization": expecting "Bearer".'
            )
        token = self.tokens.examine(credentials.strip())
        if token.kind == "user" and call.route not in USER_ROUTES:
            raise PlainTextError(f'Error in call to API function "{call.route}": {USER_TOKEN}')
        if token.kind == "team" and call.route in USER_ROUTES:
            raise BadInputError(WHOLE_TEAM_TOKEN)
        scope = scope_of(call.route)
        if scope is not None and scope not in self.tokens.app_scopes:
            raise BadInputError(
                f"Your app (ID: {self.team.config.app_id}) is not permitted to access this endpoint because it does "
                f"not have the required scope '{scope}'. The owner of the app can enable the scope for the app using "
                "the Permissions tab on the App Console."
            )
        if scope is not None and scope not in token.scopes:
            raise AuthFailureError("missing_scope", required_scope=scope)
        number = (
            call.request_id if self.team.switches.request_id_is_dbarid else self.team.identifiers.request()
        )
        return Actor("app" if token.kind == "team" else "user", request_id=number)

    def _authenticate_app(self, kind: str, credentials: str) -> Actor:
        config = self.team.config
        try:
            pair = base64.b64decode(credentials, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            pair = ""
        if kind.lower() != "basic" or ":" not in pair:
            raise BadInputError(
                'Invalid authorization value in HTTP header "Authorization": expecting "Basic".'
            )
        if pair != f"{config.app_key}:{config.app_secret}":
            raise PlainTextError("Invalid app key or app secret")
        return Actor("app")

"""The sandbox's own routes, for people and for black-box tests: JSON in, JSON out, no token.

    GET    /sandbox                      this text
    GET    /sandbox/state                members, groups, seats, clock; ?removed=0 leaves out former members
    GET    /sandbox/requests             the timeline: at, route, status (0: no reply), request, reply, fault
                                         ?route=team/members/add_v2 &last=50
    DELETE /sandbox/requests             forget it
    GET    /sandbox/effects              counts of what really happened: welcome_mails, wipes, invitations, ...
    GET    /sandbox/log                  all events of the team log, delivered or not
    POST   /sandbox/log/reset            make readers of the log start again; {"to": "2026-11-20T00:00:00Z"}

    POST   /sandbox/accept               {"email": ".."}: the person follows the invitation; {"all": true}
    POST   /sandbox/accept_all           {}
    POST   /sandbox/console/ACTION       a human admin acts; ACTION and fields:
               add email given_name surname welcome | suspend email wipe | unsuspend email
               remove email wipe keep_account permanently | recover email | leave email
               rename email given_name surname | set_email email new_email
               set_external_id email external_id | set_role email role | mark email legal_hold must_sign_tos
               group_create name external_id user_managed | group_delete name | group_rename name new_name
               group_set_external_id name external_id | group_set_management name management
               group_add name email owner | group_remove name email

    GET    /sandbox/faults               what is queued
    POST   /sandbox/faults               one fault or a list: {"kind": .., "route": "team/members/*", "count": 1,
                                         "probability": 1.0, "skip": 0, "seconds": 1, "retry_after": 1,
                                         "form": "json|json_no_field|empty|text", "tag": .., "value": ..,
                                         "where": "error|result"}; count null: for ever. Kinds:
               without effect: drop_before 500_before 503 429 timeout html 400 401 403 error invalid_cursor reset
               with effect: drop_after 500_after 503_after timeout_after html_after truncated_json unknown_tag
                            unknown_field empty_body
               else: delay delay_after async job_failed
    DELETE /sandbox/faults               no more troubles
    POST   /sandbox/limits               {"per_second": 5, "burst": 10, "form": "json", "refused_count": true};
                                         null lifts the limit
    POST   /sandbox/seats                {"seats": 10}
    GET    /sandbox/clock
    POST   /sandbox/clock                {"advance_seconds": 604800}
    GET    /sandbox/switches             the contested points
    POST   /sandbox/switches             {"suspend_invited": "user_not_in_team", ...}
    POST   /sandbox/tokens/expire        all access tokens
    POST   /sandbox/tokens/revoke        {"refresh_too": true}
    POST   /sandbox/tokens/scopes        {"scopes": ["members.read"]} of all tokens; {"app_scopes": [..]} of the app
    POST   /sandbox/tokens/issue         {"scopes": [..], "kind": "team|user"}
    POST   /sandbox/oauth                {"deny": true}: the admin refuses from now on
    POST   /sandbox/other_team_emails    {"add": [..], "remove": [..]}
    POST   /sandbox/personal_emails      {"add": [..], "remove": [..]}
    POST   /sandbox/add_results          {"email": "..", "tag": "user_already_paired"}; tag null lifts it
    POST   /sandbox/cursors/invalidate   every listing that is under way must start again
    POST   /sandbox/save                 write the storage file

Refusals are 409 {"error": tag}, mistakes in the request are 400 {"error": sentence}.
"""

import inspect
import json
from collections.abc import Callable
from dataclasses import asdict, fields
from datetime import UTC, datetime
from typing import Any, Protocol

from aiohttp import web

from sandbox.team.config import RateLimit, Switches
from sandbox.team.console import Console
from sandbox.team.engine import Engine
from sandbox.team.faults import Fault, Faults
from sandbox.team.members import Member
from sandbox.team.oauth import OAuth
from sandbox.team.refusal import RefusalError
from sandbox.team.schema import TIMESTAMP_FORMAT
from sandbox.team.team import Team
from sandbox.team.tokens import Tokens

ACTIONS = frozenset(
    [
        "add",
        "suspend",
        "unsuspend",
        "remove",
        "recover",
        "leave",
        "rename",
        "set_email",
        "set_external_id",
        "set_role",
        "mark",
        "group_create",
        "group_delete",
        "group_rename",
        "group_set_external_id",
        "group_set_management",
        "group_add",
        "group_remove",
    ]
)


class Simulator(Protocol):
    """What is controlled: the server that these routes are part of."""

    team: Team
    engine: Engine
    tokens: Tokens
    faults: Faults
    console: Console
    oauth: OAuth

    def save(self) -> bool: ...


class Control:
    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator

    def register(self, app: web.Application) -> None:
        gets: dict[str, Callable[[web.Request], Any]] = {
            "state": self._state,
            "requests": self._requests,
            "effects": lambda _r: self._simulator.team.effects.as_json(),
            "log": lambda _r: [event.body for event in self._simulator.team.log.everything()],
            "faults": lambda _r: [fault.as_json() for fault in self._simulator.faults.queue],
            "clock": lambda _r: self._clock({}),
            "switches": lambda _r: asdict(self._simulator.team.switches),
        }
        posts: dict[str, Callable[[Any], Any]] = {
            "accept": self._accept,
            "accept_all": lambda _w: self._accept({"all": True}),
            "log/reset": self._log_reset,
            "faults": self._faults,
            "limits": self._limits,
            "seats": self._seats,
            "clock": self._clock,
            "switches": self._switches,
            "tokens/expire": lambda _w: self._simulator.tokens.expire(),
            "tokens/revoke": self._revoke,
            "tokens/scopes": self._scopes,
            "tokens/issue": self._issue,
            "oauth": self._oauth,
            "other_team_emails": lambda w: _edit(self._simulator.team.other_team_emails, w),
            "personal_emails": lambda w: _edit(self._simulator.team.personal_emails, w),
            "add_results": self._add_results,
            "cursors/invalidate": lambda _w: self._simulator.team.cursors.invalidate(),
            "save": lambda _w: {"saved": self._simulator.save()},
        }
        for name, action in gets.items():
            app.router.add_get(f"/sandbox/{name}", self._guarded(action, with_body=False))
        for name, action in posts.items():
            app.router.add_post(f"/sandbox/{name}", self._guarded(action, with_body=True))
        app.router.add_post("/sandbox/console/{action}", self._console)
        app.router.add_delete(
            "/sandbox/faults", self._guarded(lambda _r: self._simulator.faults.clear(), with_body=False)
        )
        app.router.add_delete(
            "/sandbox/requests",
            self._guarded(lambda _r: self._simulator.team.timeline.clear(), with_body=False),
        )
        for path in ("/sandbox", "/sandbox/"):
            app.router.add_get(path, self._help)

    def _guarded(self, action: Callable[[Any], Any], *, with_body: bool) -> Any:
        async def handler(request: web.Request) -> web.Response:
            try:
                return _json(action(await _body(request) if with_body else request))
            except RefusalError as error:
                return _json({"error": error.tag}, 409)
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                return _json({"error": f"{type(error).__name__}: {error}"}, 400)

        return handler

    @staticmethod
    async def _help(_request: web.Request) -> web.Response:
        return web.Response(text=__doc__ or "")

    # --- looking -------------------------------------------------------------------------------------------------

    def _state(self, request: web.Request) -> dict[str, Any]:
        team = self._simulator.team
        removed = request.query.get("removed", "1") != "0"
        return {
            "team": {"name": team.config.team_name, "team_id": team.id},
            "seats": {"bought": team.seats, "used": team.members.present, "free": team.free_seats},
            "counts": dict(team.members.count),
            "clock": team.clock.now().isoformat(),
            "members": [self._member(member) for member in team.members if removed or member.present],
            "groups": [
                {
                    "id": group.id,
                    "name": group.name,
                    "external_id": group.external_id,
                    "management": group.management,
                    "members": [
                        {"email": team.members[member_id].email, "access": access}
                        for member_id, access in group.members.items()
                    ],
                }
                for group in team.groups
            ],
        }

    def _member(self, member: Member) -> dict[str, Any]:
        team = self._simulator.team
        return {
            "id": member.id,
            "email": member.email,
            "external_id": member.external_id,
            "given_name": member.given_name,
            "surname": member.surname,
            "status": member.status,
            "recoverable": team.recoverable(member),
            "disconnected": member.disconnected,
            "role": member.role,
            "groups": sorted(
                group.name for group_id in member.groups if (group := team.groups.get(group_id))
            ),
        }

    def _requests(self, request: web.Request) -> list[dict[str, Any]]:
        exchanges = self._simulator.team.timeline.exchanges(request.query.get("route"))
        last = int(request.query.get("last", "200"))
        return [exchange.as_json() for exchange in exchanges[-last:]]

    # --- people --------------------------------------------------------------------------------------------------

    def _accept(self, wanted: dict[str, Any]) -> dict[str, Any]:
        if wanted.get("all"):
            return {"accepted": self._simulator.console.accept_all()}
        return self._member(self._simulator.console.accept(wanted["email"]))

    async def _console(self, request: web.Request) -> web.Response:
        action = request.match_info["action"]
        if action not in ACTIONS:
            return _json({"error": f"the console can: {' '.join(sorted(ACTIONS))}"}, 404)
        method = getattr(self._simulator.console, action)

        def act(wanted: dict[str, Any]) -> Any:
            inspect.signature(method).bind(**wanted)
            result = method(**wanted)
            return self._member(result) if isinstance(result, Member) else {"ok": True, "id": result}

        response: web.Response = await self._guarded(act, with_body=True)(request)
        return response

    # --- troubles ------------------------------------------------------------------------------------------------

    def _faults(self, wanted: Any) -> list[dict[str, Any]]:
        faults = [Fault.from_json(entry) for entry in (wanted if isinstance(wanted, list) else [wanted])]
        for fault in faults:
            self._simulator.faults.add(fault)
        return [fault.as_json() for fault in self._simulator.faults.queue]

    def _limits(self, wanted: dict[str, Any]) -> dict[str, Any] | None:
        limit = RateLimit(**wanted) if wanted else None
        self._simulator.engine.limiter.set(limit)
        return asdict(limit) if limit else None

    def _seats(self, wanted: dict[str, Any]) -> dict[str, int]:
        team = self._simulator.team
        team.seats = int(wanted["seats"])
        return {"bought": team.seats, "used": team.members.present, "free": team.free_seats}

    def _clock(self, wanted: dict[str, Any]) -> dict[str, str]:
        self._simulator.team.clock.advance(float(wanted.get("advance_seconds", 0)))
        return {"now": self._simulator.team.clock.now().isoformat()}

    def _switches(self, wanted: dict[str, Any]) -> dict[str, Any]:
        known = {entry.name for entry in fields(Switches)}
        if unknown := set(wanted) - known:
            raise ValueError(f"no such switches: {sorted(unknown)}; there are {sorted(known)}")
        changes = {name: tuple(value) if isinstance(value, list) else value for name, value in wanted.items()}
        return asdict(self._simulator.team.switch(**changes))

    def _log_reset(self, wanted: dict[str, Any]) -> None:
        to = wanted.get("to")
        moment = datetime.strptime(to, TIMESTAMP_FORMAT).replace(tzinfo=UTC) if to else None
        self._simulator.team.log.reset(moment)

    def _add_results(self, wanted: dict[str, Any]) -> dict[str, str]:
        forced = self._simulator.team.forced_add_results
        email = wanted["email"].lower()
        if wanted.get("tag") is None:
            forced.pop(email, None)
        else:
            forced[email] = wanted["tag"]
        return forced

    # --- tokens --------------------------------------------------------------------------------------------------

    def _revoke(self, wanted: dict[str, Any]) -> None:
        self._simulator.tokens.revoke(refresh_too=bool(wanted.get("refresh_too", True)))

    def _scopes(self, wanted: dict[str, Any]) -> dict[str, Any]:
        tokens = self._simulator.tokens
        if "scopes" in wanted:
            tokens.set_scopes(frozenset(wanted["scopes"]))
        if "app_scopes" in wanted:
            tokens.app_scopes = frozenset(wanted["app_scopes"])
        return {"app_scopes": sorted(tokens.app_scopes)}

    def _issue(self, wanted: dict[str, Any]) -> dict[str, Any]:
        scopes = frozenset(wanted["scopes"]) if "scopes" in wanted else None
        token = self._simulator.tokens.issue(scopes, wanted.get("kind", "team"))
        return {"access_token": token.value, "scope": " ".join(sorted(token.scopes))}

    def _oauth(self, wanted: dict[str, Any]) -> dict[str, bool]:
        self._simulator.oauth.deny = bool(wanted["deny"])
        return {"deny": self._simulator.oauth.deny}


def _edit(emails: set[str], wanted: dict[str, Any]) -> list[str]:
    emails.update(email.lower() for email in wanted.get("add", ()))
    emails.difference_update(email.lower() for email in wanted.get("remove", ()))
    return sorted(emails)


async def _body(request: web.Request) -> Any:
    raw = await request.read()
    return json.loads(raw) if raw.strip() else {}


def _json(payload: Any, status: int = 200) -> web.Response:
    content = {"ok": True} if payload is None else payload
    return web.json_response(content, status=status, dumps=lambda value: json.dumps(value, indent=1))

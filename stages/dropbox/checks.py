"""The lines of `check dropbox`. Each failure is a finding; nothing here raises or writes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from functools import partial

from pipeline.errors import ConnectorError
from pipeline.model import Finding, Member, Status, TeamInfo
from pipeline.ports import Clock
from stages.dropbox import routes
from stages.dropbox.answer import Refusal, Reply
from stages.dropbox.client import Client
from stages.dropbox.events import EventLog
from stages.dropbox.reading import read_acting_admin, read_team_info
from stages.dropbox.refusal import APP_LACKS_SCOPE, TOKEN_LACKS_SCOPE

SECTION = "dropbox"
OTHER_APPS_HOURS = 24
MOST_EVENT_PAGES = 5
NOBODY = "dbmid:ad-connector-scope-probe"
NO_JOB = "ad-connector-scope-probe"

# Scopes are told by asking: a missing one is refused before the argument is looked at. For the scopes that
# write, the routes that only tell how a job stands are asked, about a job that can't exist.
_PROBES: tuple[tuple[str, str, object], ...] = (
    ("team_info.read", routes.GET_INFO, None),
    ("members.read", routes.GET_MEMBERS, {"members": [{".tag": "team_member_id", "team_member_id": NOBODY}]}),
    ("members.write", routes.ADD_STATUS, {"async_job_id": NO_JOB}),
    ("members.delete", routes.REMOVE_STATUS, {"async_job_id": NO_JOB}),
)

# Of a token for users only, nothing more is asked.
_GROUP_PROBES: tuple[tuple[str, str, object], ...] = (
    ("groups.read", routes.GROUPS, {"limit": 1}),
    ("groups.write", routes.GROUP_JOB, {"async_job_id": NO_JOB}),
)


def _ok(name: str, detail: str) -> Finding:
    return Finding(SECTION, name, "ok", detail)


def _failed(name: str, error: ConnectorError) -> Finding:
    return Finding(SECTION, name, "failed", error.cause, error.hint)


async def check_team(
    client: Client, log: EventLog, clock: Clock, *, syncs_groups: bool = False
) -> Sequence[Finding]:
    """Team and seats, the authorising admin, scopes, other apps. Ends early where no call can succeed."""
    try:
        info = await read_team_info(client)
    except ConnectorError as error:
        return [_failed("team", error)]
    findings = [_ok("team", f"{info.name} ({info.team_id})"), _seats(info)]
    findings.append(await _finding("admin", partial(_admin, client)))
    for scope, route, body in (*_PROBES, *(_GROUP_PROBES if syncs_groups else ())):
        findings.append(await _finding(f"scope {scope}", partial(_scope, client, scope, route, body)))
    findings.append(await _finding("other apps", partial(_other_apps, log, clock)))
    return findings


async def _finding(name: str, ask: Callable[[], Awaitable[Finding]]) -> Finding:
    try:
        return await ask()
    except ConnectorError as error:
        return _failed(name, error)


def _seats(info: TeamInfo) -> Finding:
    detail = f"{info.provisioned} of {info.seats} in use, {info.free_seats} free"
    if info.free_seats:
        return _ok("seats", detail)
    return Finding(
        SECTION, "seats", "warning", detail, "new people wait until a seat is free: buy licences or free some"
    )


async def _admin(client: Client) -> Finding:
    admin: Member = await read_acting_admin(client)
    if admin.status is Status.ACTIVE:
        return _ok("admin", f"authorised by {admin.email}")
    hint = "run `ad-connector authorize` as an active team admin"
    return Finding(SECTION, "admin", "failed", f"authorised by {admin.email}, who is {admin.status}", hint)


async def _scope(client: Client, scope: str, route: str, body: object) -> Finding:
    name = f"scope {scope}"
    answer = await client.call(route, body, is_write=False)
    if isinstance(answer, Refusal):
        if answer.tag == TOKEN_LACKS_SCOPE:
            return Finding(SECTION, name, "failed", "the token does not have it", answer.hint)
        if answer.tag == APP_LACKS_SCOPE:
            return Finding(SECTION, name, "failed", "the app does not have it", answer.hint)
        if answer.status in {401, 403}:
            return Finding(SECTION, name, "failed", answer.text, answer.hint)
        return _ok(name, "granted")  # it found fault with the argument: it looked at it
    if isinstance(answer, Reply):
        return _ok(name, "granted")
    return Finding(SECTION, name, "failed", answer.cause, "try again; see the Dropbox status page")


async def _other_apps(log: EventLog, clock: Clock) -> Finding:
    """Another connector that writes the same members (the original's scheduled task) would undo our work."""
    since, cursor = clock.now() - timedelta(hours=OTHER_APPS_HOURS), ""
    for _ in range(MOST_EVENT_PAGES):
        page = await log.read(cursor, since)
        since, cursor = page.reset_to or since, page.cursor
        if not page.more:
            break
    names = log.other_apps()
    if not names:
        return _ok("other apps", f"no other app changed members in the last {OTHER_APPS_HOURS} hours")
    return Finding(
        SECTION,
        "other apps",
        "warning",
        f"changed members in the last {OTHER_APPS_HOURS} hours: {', '.join(names)}",
        "if one of these is not this connector (the original's scheduled task, another directory's), disable it first",
    )

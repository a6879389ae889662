"""The event log and the lines of `check dropbox`."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from pipeline.errors import TeamReadError
from stages.dropbox import routes

pytestmark = pytest.mark.anyio

SINCE = datetime(2026, 11, 20, tzinfo=UTC)
TEAM = {"name": "Acme", "team_id": "dbtid:1", "num_licensed_users": 10, "num_provisioned_users": 4}
NO_JOB = (409, {"error_summary": "invalid_async_job_id/", "error": {".tag": "invalid_async_job_id"}})


def _event(app: str = "", name: str = "", request_id: str = "") -> dict:
    actor = (
        {".tag": "app", "app": {".tag": "team_linked_app", "app_id": app, "display_name": name}}
        if app
        else {
            ".tag": "admin",
            "admin": {".tag": "team_member", "email": "Boss@example.test", "display_name": "Boss"},
        }
    )
    return {
        "timestamp": "2026-11-20T09:12:33Z",
        "event_category": {".tag": "members"},
        "actor": actor,
        "origin": {"access_method": {".tag": "api", "request_id": f"dbarid:{request_id}"}}
        if request_id
        else None,
        "context": {".tag": "team_member", "email": "Ann@example.test", "team_member_id": "dbmid:ann"},
        "participants": [{".tag": "group", "group_id": "g:1", "display_name": "Sales"}],
        "event_type": {".tag": "member_change_status", "description": "..."},
        "details": {".tag": "member_change_status_details", "new_value": {".tag": "suspended"}},
    }


def _page(*events, cursor: str = "c", more: bool = False) -> tuple[int, dict]:
    return 200, {"events": list(events), "cursor": cursor, "has_more": more}


async def test_events_say_who_was_changed_and_by_whom(dropbox, make_team):
    dropbox.on(routes.EVENTS, _page(_event(), cursor="c1", more=True))
    page = await make_team().events("", SINCE)
    [event] = page.events
    assert (event.kind, event.member_id, event.email, event.group_id, event.actor, event.by_us) == (
        "member_change_status",
        "dbmid:ann",
        "ann@example.test",
        "g:1",
        "Boss@example.test",
        False,
    )
    assert event.at == datetime(2026, 11, 20, 9, 12, 33, tzinfo=UTC)
    assert (page.cursor, page.more) == ("c1", True)
    assert dropbox.sent(routes.EVENTS) == [
        {"limit": 1000, "time": {"start_time": "2026-11-20T00:00:00Z"}, "category": {".tag": "members"}}
    ]


async def test_what_we_did_ourselves_is_told_by_the_request_id_and_then_by_the_app(dropbox, make_team):
    dropbox.on(routes.UNSUSPEND, (200, None))
    team = make_team()
    await team.unsuspend("dbmid:ann")
    ours = f"{1:032x}"
    dropbox.on(
        routes.EVENTS,
        _page(
            _event("dbaid:us", "AD connector", ours),
            _event("dbaid:us", "AD connector"),
            _event("dbaid:x", "Other"),
        ),
    )
    page = await team.events("", SINCE)
    assert [event.by_us for event in page.events] == [True, True, False]


async def test_a_reset_says_where_to_start_again(dropbox, make_team):
    reset = {".tag": "reset", "reset": "2026-11-20T08:00:00Z"}
    dropbox.on(routes.EVENTS_CONTINUE, (409, {"error_summary": "reset/", "error": reset}))
    page = await make_team().events("old", SINCE)
    assert (page.events, page.cursor, page.reset_to) == ((), "", datetime(2026, 11, 20, 8, tzinfo=UTC))


async def test_a_void_cursor_starts_again_from_since(dropbox, make_team):
    dropbox.on(
        routes.EVENTS_CONTINUE, (409, {"error_summary": "bad_cursor/", "error": {".tag": "bad_cursor"}})
    )
    dropbox.on(routes.EVENTS, _page(_event()))
    assert len((await make_team().events("old", SINCE)).events) == 1


async def test_lines_that_lack_something_stop_nobody(dropbox, make_team):
    odd = [{}, {"timestamp": "2026-11-20T09:12:33Z"}, {"timestamp": 7, "actor": "dropbox"}, None, _event()]
    dropbox.on(routes.EVENTS, _page(*odd))
    assert len((await make_team().events("", SINCE)).events) == 2


async def test_an_unreadable_log_is_an_error(dropbox, make_team):
    dropbox.on(routes.EVENTS, (200, {"events": "none"}))
    with pytest.raises(TeamReadError):
        await make_team().events("", SINCE)


# --- check dropbox -----------------------------------------------------------------------------------------


def _healthy(dropbox, profile_of, *events) -> None:
    dropbox.on(routes.GET_INFO, (200, TEAM))
    dropbox.on(routes.GET_ADMIN, (200, {"admin_profile": profile_of("boss@example.test")["profile"]}))
    dropbox.on(routes.GET_MEMBERS, (200, {"members_info": [{".tag": "id_not_found", "id_not_found": "x"}]}))
    dropbox.on(routes.ADD_STATUS, NO_JOB)
    dropbox.on(routes.REMOVE_STATUS, NO_JOB)
    dropbox.on(routes.EVENTS, _page(*events))


async def test_a_healthy_team_is_all_ok_and_checking_writes_nothing(dropbox, make_team, profile_of):
    _healthy(dropbox, profile_of)
    findings = await make_team().check()
    assert {finding.state for finding in findings} == {"ok"}
    assert {"team", "seats", "admin", "scope members.delete", "other apps"} <= {
        finding.name for finding in findings
    }
    writes = {routes.ADD, routes.SET_PROFILE, routes.SUSPEND, routes.UNSUSPEND, routes.REMOVE, routes.RECOVER}
    assert not writes & {each.route for each in dropbox.seen}


async def test_another_app_that_changes_members_is_a_warning(dropbox, make_team, profile_of):
    _healthy(dropbox, profile_of, _event("dbaid:old", "Dropbox AD Connector"))
    [finding] = [each for each in await make_team().check() if each.name == "other apps"]
    assert finding.state == "warning"
    assert "Dropbox AD Connector" in finding.detail


async def test_a_missing_scope_a_gone_admin_and_full_seats_are_shown(dropbox, make_team, profile_of):
    _healthy(dropbox, profile_of)
    dropbox.on(routes.GET_INFO, (200, {**TEAM, "num_provisioned_users": 10}))
    dropbox.on(
        routes.GET_ADMIN, (409, {"error_summary": "admin_not_active/", "error": {".tag": "admin_not_active"}})
    )
    scope = {".tag": "missing_scope", "required_scope": "members.delete"}
    dropbox.on(routes.REMOVE_STATUS, (401, {"error_summary": "missing_scope/", "error": scope}))
    findings = {finding.name: finding for finding in await make_team().check()}
    assert findings["seats"].state == "warning"
    assert findings["admin"].state == "failed"
    assert "another team admin" in findings["admin"].hint
    assert findings["scope members.delete"].state == "failed"
    assert "authorize" in findings["scope members.delete"].hint


async def test_check_never_raises(dropbox, make_team):
    dropbox.on(routes.GET_INFO, (401, b""))
    [finding] = await make_team().check()
    assert finding.state == "failed"
    [finding] = await make_team(refresh_token="").check()
    assert finding.state == "failed"
    assert "authorize" in finding.hint

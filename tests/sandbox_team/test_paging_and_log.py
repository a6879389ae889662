"""Listings page by page, lagging reads, and the team log."""

import pytest

from sandbox.team import SeedMember, Switches

ADMIN = SeedMember("admin@example.com", "Ada", "Admin", admin=True)
CROWD = (ADMIN, *(SeedMember(f"p{i}@example.com") for i in range(9)))


def emails(page):
    return [m["profile"]["email"] for m in page["members"]]


def rest(table, page):
    found = []
    while page["has_more"]:
        page = table.ok("team/members/list/continue_v2", {"cursor": page["cursor"]})
        found += emails(page)
    return found


def test_the_server_caps_pages_and_cursors_stay_good(bench):
    table = bench(members=CROWD, page_cap=4)
    first = table.ok("team/members/list_v2", {"limit": 1000})
    assert len(first["members"]) == 4
    assert len(rest(table, first)) == 6
    assert len(rest(table, first)) == 6  # a cursor may be used twice
    last = table.ok("team/members/list/continue_v2", {"cursor": first["cursor"]})
    last = table.ok("team/members/list/continue_v2", {"cursor": last["cursor"]})
    assert last["has_more"] is False
    after = table.ok("team/members/list/continue_v2", {"cursor": last["cursor"]})
    assert (after["members"], after["has_more"]) == ([], False)


@pytest.mark.parametrize("spoiled", ["kind", "version", "seal", "generation", "age", "junk"])
def test_cursors_that_are_no_good(bench, spoiled):
    table = bench(members=CROWD, cursor_lifetime=60)
    cursor = table.ok("team/members/list_v2", {"limit": 3})["cursor"]
    route = "team/members/list/continue_v2"
    if spoiled == "kind":
        cursor = table.ok("team/groups/list")["cursor"]
    if spoiled == "version":
        route = "team/members/list/continue"
    if spoiled == "seal":
        cursor = cursor[:-2] + ("AA" if cursor[-2:] != "AA" else "BB")
    if spoiled == "generation":
        table.team.cursors.invalidate()
    if spoiled == "age":
        table.team.clock.advance(61)
    if spoiled == "junk":
        cursor = "ü"
    assert table.tag(route, {"cursor": cursor}) == "invalid_cursor"


def test_changes_between_pages_when_paging_by_place(bench):
    table = bench(members=CROWD)
    first = table.ok("team/members/list_v2", {"limit": 5})
    table.console.remove("p0@example.com", permanently=True)
    table.console.add("new@example.com")
    seen = emails(first) + rest(table, first)
    assert len(seen) == len(set(seen)) == 11


def test_changes_between_pages_when_counting(bench):
    """The nasty way: one comes twice, another never."""
    table = bench(members=CROWD, switches=Switches(list_paging="offset"))
    first = table.ok("team/members/list_v2", {"limit": 5})
    assert emails(first)[0] == "p8@example.com"
    table.console.add("new@example.com")
    seen = emails(first) + rest(table, first)
    assert len(seen) == len(set(seen)) + 1
    table = bench(members=CROWD, switches=Switches(list_paging="offset"))
    first = table.ok("team/members/list_v2", {"limit": 5})
    table.console.remove("p8@example.com")
    seen = set(emails(first) + rest(table, first))
    assert "p3@example.com" not in seen
    assert len(seen) == 9


def test_lists_that_lag(bench):
    table = bench(switches=Switches(stale_lists_seconds=10))
    made = table.console.group_create("New")
    table.console.group_add("New", "active@example.com")
    table.console.suspend("active@example.com")
    table.console.add("new@example.com")

    def seen():
        members = table.ok("team/members/list_v2")["members"]
        return {m["profile"]["email"]: m["profile"]["status"][".tag"] for m in members}

    table.team.clock.advance(9)
    assert (seen().get("new@example.com"), seen()["active@example.com"]) == (None, "active")
    assert len(table.ok("team/groups/list")["groups"]) == 1
    group = {"group": {".tag": "group_id", "group_id": made}}
    assert table.ok("team/groups/members/list", group)["members"] == []
    info = table.ok("team/members/get_info_v2", {"members": [table.user("active")]})["members_info"][0]
    assert info["profile"]["status"][".tag"] == "suspended"  # what is asked for by name is fresh
    table.team.clock.advance(1)
    assert (seen()["new@example.com"], seen()["active@example.com"]) == ("invited", "suspended")
    assert len(table.ok("team/groups/members/list", group)["members"]) == 1
    table.console.group_delete("New")
    assert len(table.ok("team/groups/list")["groups"]) == 2
    table.team.clock.advance(10)
    assert len(table.ok("team/groups/list")["groups"]) == 1


def test_get_info_that_lags(bench):
    table = bench(switches=Switches(stale_get_info_seconds=5))
    table.console.add("new@example.com")
    who = {"members": [{".tag": "email", "email": "new@example.com"}]}
    assert table.ok("team/members/get_info_v2", who)["members_info"][0][".tag"] == "id_not_found"
    table.team.clock.advance(5)
    assert table.ok("team/members/get_info_v2", who)["members_info"][0][".tag"] == "member_info"


# --- the log -----------------------------------------------------------------------------------------------------


def read(table, **argument):
    page = table.ok("team_log/get_events", argument)
    events, pages = list(page["events"]), [page]
    while page["has_more"]:
        page = table.ok("team_log/get_events/continue", {"cursor": page["cursor"]})
        events += page["events"]
        pages.append(page)
    return events, pages


def kinds(events):
    return sorted(event["event_type"][".tag"] for event in events)


def test_an_event_for_every_change(bench):
    table = bench()
    before = len(table.team.log.everything())
    user = table.user("active")
    profile = {"new_email": "a2@example.com", "new_surname": "B", "new_external_id": "x2"}
    table.ok("team/members/set_profile_v2", {"user": user, **profile})
    table.ok("team/members/set_profile_v2", {"user": user, **profile})  # nothing new, no event
    table.ok("team/members/set_profile_v2", {"user": user, "new_external_id": ""})
    table.ok("team/members/set_profile_v2", {"user": user, "new_external_id": "x3"})
    table.ok("team/members/set_admin_permissions_v2", {"user": user, "new_roles": ["pid_dbtmr:3456"]})
    table.ok("team/members/suspend", {"user": user})
    table.ok("team/members/unsuspend", {"user": user})
    table.ok("team/members/remove", {"user": user})
    table.ok("team/members/recover", {"user": user})
    table.ok("team/members/remove", {"user": user, "permanently_delete_files": True})
    wanted = [{"member_email": "n@example.com", "member_external_id": "n", "role_ids": ["pid_dbtmr:4567"]}]
    table.ok("team/members/add_v2", {"new_members": wanted})
    table.console.accept("n@example.com")
    made = table.ok(
        "team/groups/create", {"group_name": "G", "group_external_id": "g", "add_creator_as_owner": True}
    )
    group = {"group": {".tag": "group_id", "group_id": made["group_id"]}}
    table.ok(
        "team/groups/members/add",
        {**group, "members": [{"user": table.user("admin"), "access_type": "member"}]},
    )
    managed = {**group, "new_group_management_type": "user_managed"}
    table.ok("team/groups/update", {**managed, "new_group_name": "H", "new_group_external_id": "h"})
    table.ok(
        "team/groups/members/set_access_type", {**group, "user": table.user("admin"), "access_type": "owner"}
    )
    table.ok("team/groups/members/remove", {**group, "users": [table.user("admin")]})
    table.ok("team/groups/update", {**group, "new_group_external_id": ""})
    table.ok("team/groups/delete", group["group"])
    events = table.team.log.everything()[before:]
    assert kinds([event.body for event in events]) == sorted(
        [
            "member_change_email",
            "member_change_name",
            "member_change_external_id",
            "member_remove_external_id",
            "member_add_external_id",
            "member_change_admin_role",
            "member_change_status",
            "member_change_status",
            "member_change_status",
            "member_change_status",
            "member_change_status",
            "member_permanently_delete_account_contents",
            "member_change_status",
            "member_add_external_id",
            "member_change_admin_role",
            "member_change_status",
            "group_create",
            "group_add_external_id",
            "group_add_member",
            "group_change_management_type",
            "group_rename",
            "group_change_external_id",
            "group_change_member_role",
            "group_remove_member",
            "group_remove_external_id",
            "group_delete",
        ]
    )
    assert len(read(table)[0]) == len(table.team.log.everything())  # and the oracle has read each of them


def test_who_did_it(bench):
    table = bench()
    table.ok("team/members/suspend", {"user": table.user("active")})
    table.console.unsuspend("active@example.com")
    table.console.accept("invited@example.com")
    last = [event.body for event in table.team.log.everything()][-3:]
    assert [event["actor"][".tag"] for event in last] == ["app", "admin", "user"]
    methods = [event["origin"]["access_method"] for event in last]
    assert [method[".tag"] for method in methods] == ["api", "admin_console", "end_user"]
    assert last[1]["actor"]["admin"]["email"] == "admin@example.com"
    assert last[2]["context"]["email"] == "invited@example.com"


@pytest.mark.parametrize("same", [True, False])
def test_the_request_id(bench, same):
    table = bench(switches=Switches(request_id_is_dbarid=same))
    call_ids = []
    request = table.team.identifiers.request
    table.team.identifiers.request = lambda: call_ids.append(request()) or call_ids[-1]
    table.ok("team/members/suspend", {"user": table.user("active")})
    logged = table.team.log.everything()[-1].body["origin"]["access_method"]["request_id"]
    assert (logged == f"dbarid:{call_ids[0]}") is same


def test_filters(bench):
    table = bench(members=CROWD)
    table.console.suspend("p0@example.com")
    table.team.clock.advance(100)
    table.console.group_create("G")
    assert kinds(read(table, category="groups")[0]) == ["group_create"]
    assert kinds(read(table, event_type="member_change_status")[0]) == ["member_change_status"]
    time = {"start_time": "2026-11-20T09:01:00Z"}
    assert kinds(read(table, time=time)[0]) == ["group_create"]
    assert kinds(read(table, time={"end_time": "2026-11-20T09:01:00Z"})[0]) == ["member_change_status"]
    account = table.team.members[table.id("p0")].account_id
    assert kinds(read(table, account_id=account)[0]) == ["member_change_status"]


def test_unsorted_late_and_empty_pages(bench):
    table = bench(members=CROWD, switches=Switches(log_latency_seconds=60, log_empty_pages=True))
    for i in range(9):
        table.console.suspend(f"p{i}@example.com")
        table.team.clock.advance(1)
    early, _ = read(table)
    assert len(early) < 9
    table.team.clock.advance(60)
    events, pages = read(table, limit=4)
    assert len(events) == 9
    stamps = [event["timestamp"] for event in events]
    assert stamps != sorted(stamps)
    assert [bool(page["events"]) for page in pages[:2]] == [False, True]
    # The cursor of the last page goes on working, and brings what comes later.
    table.console.unsuspend("p0@example.com")
    table.team.clock.advance(61)
    cursor, later = pages[-1]["cursor"], []
    for _ in range(2):
        page = table.ok("team_log/get_events/continue", {"cursor": cursor})
        cursor, later = page["cursor"], later + page["events"]
    assert len(later) == 1


def test_reset(bench):
    table = bench()
    cursor = table.ok("team_log/get_events")["cursor"]
    table.team.log.reset()
    status, reply = table("team_log/get_events/continue", {"cursor": cursor})
    assert (status, reply["error"]) == (409, {".tag": "reset", "reset": "2026-11-20T09:00:00Z"})
    cursor = table.ok("team_log/get_events", {"time": {"start_time": reply["error"]["reset"]}})["cursor"]
    assert table.tag("team_log/get_events/continue", {"cursor": cursor}) == "ok"

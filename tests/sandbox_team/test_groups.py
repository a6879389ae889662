"""Groups: names, external ids, and member changes that happen whole or not at all."""

import pytest

from sandbox.team import Switches

ADD, REMOVE = "team/groups/members/add", "team/groups/members/remove"


def group(table, **fields):
    argument = {"group_name": "Sales", "group_management_type": "company_managed", **fields}
    made = table.ok("team/groups/create", argument)
    return {".tag": "group_id", "group_id": made["group_id"]}


def access(user, kind="member"):
    return {"user": user, "access_type": kind}


def test_refusals_of_create_and_update(bench):
    table = bench(switches=Switches(group_name_forbidden="/"))
    mine = group(table, group_external_id="g1")
    create = "team/groups/create"
    assert table.tag(create, {"group_name": ""}) == "group_name_invalid"
    assert table.tag(create, {"group_name": "  "}) == "group_name_invalid"
    assert table.tag(create, {"group_name": "a/b"}) == "group_name_invalid"
    assert table.tag(create, {"group_name": "everyone at example team"}) == "group_name_already_used"
    assert (
        table.tag(create, {"group_name": "Other", "group_external_id": "g1"}) == "external_id_already_in_use"
    )
    system = {"group_name": "S", "group_management_type": "system_managed"}
    assert table.tag(create, system) == "system_managed_group_disallowed"
    update = "team/groups/update"
    assert table.tag(update, {"group": mine, "new_group_name": "SALES"}) == "ok"
    group(table, group_name="Second", group_external_id="g2")
    assert table.tag(update, {"group": mine, "new_group_name": "second"}) == "group_name_already_used"
    assert table.tag(update, {"group": mine, "new_group_external_id": "g2"}) == "external_id_already_in_use"
    managed = {"group": mine, "new_group_management_type": "system_managed"}
    assert table.tag(update, managed) == "system_managed_group_disallowed"
    unknown = {"group": {".tag": "group_external_id", "group_external_id": "no"}, "new_group_name": "X"}
    assert table.tag(update, unknown) == "group_not_found"
    everyone = {".tag": "group_id", "group_id": table.team.groups.everyone_id}
    assert table.tag(update, {"group": everyone, "new_group_name": "X"}) == "system_managed_group_disallowed"


@pytest.mark.parametrize(("fold", "expected"), [(True, "group_name_already_used"), (False, "ok")])
def test_case_of_names(bench, fold, expected):
    table = bench(switches=Switches(group_names_ignore_case=fold))
    group(table)
    assert table.tag("team/groups/create", {"group_name": "SALES"}) == expected
    assert table.tag("team/groups/create", {"group_name": "Sales"}) == "group_name_already_used"


def test_all_or_nothing(bench):
    table = bench()
    mine = group(table)
    nobody = {".tag": "email", "email": "no@example.com"}
    active, removed = table.user("active"), table.user("removed")
    status, reply = table(ADD, {"group": mine, "members": [access(active), access(nobody), access(removed)]})
    assert (status, reply["error"]) == (
        409,
        {".tag": "users_not_found", "users_not_found": ["no@example.com"]},
    )
    status, reply = table(ADD, {"group": mine, "members": [access(active), access(removed)]})
    assert reply["error"] == {".tag": "members_not_in_team", "members_not_in_team": [table.id("removed")]}
    assert table.ok("team/groups/members/list", {"group": mine})["members"] == []
    everybody = [access(table.user(who)) for who in ("active", "invited", "suspended")]
    assert table.tag(ADD, {"group": mine, "members": everybody}) == "ok"
    status, reply = table(REMOVE, {"group": mine, "users": [active, table.user("admin")]})
    assert reply["error"][".tag"] == "member_not_in_group"
    assert table.tag(REMOVE, {"group": mine, "users": [active, nobody]}) == "users_not_found"
    assert len(table.ok("team/groups/members/list", {"group": mine})["members"]) == 3


@pytest.mark.parametrize(("rule", "expected"), [("rejected", "duplicate_user"), ("tolerated", "ok")])
def test_duplicates(bench, rule, expected):
    table = bench(switches=Switches(group_duplicates=rule))
    mine = group(table)
    active, invited = access(table.user("active")), access(table.user("invited"))
    assert table.tag(ADD, {"group": mine, "members": [active, active]}) == expected
    table.tag(ADD, {"group": mine, "members": [active]})
    assert table.tag(ADD, {"group": mine, "members": [invited, active]}) == expected
    assert len(table.ok("team/groups/members/list", {"group": mine})["members"]) == (
        1 if expected != "ok" else 2
    )


def test_owners(bench):
    table = bench()
    mine = group(table)
    _, reply = table(ADD, {"group": mine, "members": [access(table.user("active"), "owner")]})
    assert reply["error"]["user_cannot_be_manager_of_company_managed_group"] == [table.id("active")]
    free = group(table, group_name="Free", group_management_type="user_managed", add_creator_as_owner=True)
    assert table.ok("team/groups/members/list", {"group": free})["members"][0]["access_type"] == {
        ".tag": "owner"
    }
    suspended = access(table.user("suspended"), "owner")
    assert table.tag(ADD, {"group": free, "members": [suspended]}) == "user_must_be_active_to_be_owner"
    table.ok(ADD, {"group": mine, "members": [access(table.user("active"))]})
    change = {"group": mine, "user": table.user("active"), "access_type": "owner"}
    route = "team/groups/members/set_access_type"
    assert table.tag(route, change) == "user_cannot_be_manager_of_company_managed_group"
    assert table.tag(route, {**change, "user": table.user("invited")}) == "member_not_in_group"
    managed = {"group": free, "new_group_management_type": "company_managed"}
    info = table.ok("team/groups/update", managed)
    assert info["members"][0]["access_type"] == {".tag": "member"}


def test_largest_lists(bench):
    table = bench(switches=Switches(max_get_info=1, max_group_change=1))
    mine = group(table)
    active, invited = table.user("active"), table.user("invited")
    assert table("team/members/get_info_v2", {"members": [active, invited]})[0] == 400
    assert table(ADD, {"group": mine, "members": [access(active), access(invited)]})[0] == 400
    assert table(REMOVE, {"group": mine, "users": [active, invited]})[0] == 400


def test_deleting(bench):
    table = bench()
    mine = group(table, group_external_id="g1")
    table.ok(ADD, {"group": mine, "members": [access(table.user("active"))]})
    assert table.tag("team/groups/delete", {".tag": "group_external_id", "group_external_id": "g1"}) == "ok"
    assert table.team.members[table.id("active")].groups == frozenset()
    again = {".tag": "group_external_id", "group_external_id": "g1"}
    assert table.tag("team/groups/delete", again) == "group_not_found"
    assert table.tag("team/groups/delete", mine) == "group_already_deleted"
    assert table.tag("team/groups/members/list", {"group": mine}) == "group_not_found"
    assert table.tag("team/groups/create", {"group_name": "Sales", "group_external_id": "g1"}) == "ok"


def test_the_group_of_everyone(bench):
    table = bench()
    groups = table.ok("team/groups/list")["groups"]
    assert groups[0]["group_name"] == "Everyone at Example Team"
    info = table.ok("team/groups/get_info", {".tag": "group_ids", "group_ids": [groups[0]["group_id"]]})[0]
    assert ("members" in info, info["member_count"]) == (False, 4)
    table = bench(everyone_group_limit=3)
    assert table.ok("team/groups/list")["groups"] == []

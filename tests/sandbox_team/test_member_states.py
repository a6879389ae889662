"""The table of section 3.2, in every position of the contested switches."""

import itertools

import pytest

from sandbox.team import SeedMember, Switches

STATES = ("active", "invited", "suspended", "removed", "gone")
ROUTES = {
    "suspend": ("team/members/suspend", lambda user: {"user": user, "wipe_data": False}),
    "unsuspend": ("team/members/unsuspend", lambda user: {"user": user}),
    "remove": ("team/members/remove", lambda user: {"user": user, "wipe_data": False}),
    "remove_keeping": (
        "team/members/remove",
        lambda user: {"user": user, "wipe_data": False, "keep_account": True},
    ),
    "recover": ("team/members/recover", lambda user: {"user": user}),
    "welcome": ("team/members/send_welcome_email", lambda user: user),
    "names": ("team/members/set_profile_v2", lambda user: {"user": user, "new_surname": "Other"}),
    "external": ("team/members/set_profile_v2", lambda user: {"user": user, "new_external_id": "other"}),
    "email": ("team/members/set_profile_v2", lambda user: {"user": user, "new_email": "other@example.com"}),
    "role": (
        "team/members/set_admin_permissions_v2",
        lambda user: {"user": user, "new_roles": ["pid_dbtmr:3456"]},
    ),
}
TABLE = {
    "suspend": ("ok", "suspend_inactive_user", "suspend_inactive_user", "user_not_in_team", "user_not_found"),
    "unsuspend": (
        "unsuspend_non_suspended_member",
        "unsuspend_non_suspended_member",
        "ok",
        "user_not_in_team",
        "user_not_found",
    ),
    "remove": ("ok", "ok", "ok", "user_not_in_team", "user_not_found"),
    "remove_keeping": ("ok", "cannot_keep_invited_user_account", "ok", "user_not_in_team", "user_not_found"),
    "recover": ("user_unrecoverable", "user_unrecoverable", "user_unrecoverable", "ok", "user_unrecoverable"),
    "welcome": ("ok", "ok", "ok", "user_not_in_team", "user_not_found"),
    "names": ("ok", "ok", "ok", "set_profile_disallowed", "user_not_in_team"),
    "external": ("ok", "ok", "ok", "set_profile_disallowed", "user_not_in_team"),
    "email": ("ok", "ok", "ok", "set_profile_disallowed", "user_not_in_team"),
    "role": ("ok", "ok", "cannot_set_permissions", "user_not_in_team", "user_not_found"),
}
CASES = [(deed, who, TABLE[deed][column]) for deed in TABLE for column, who in enumerate(STATES)]
CONTESTED = {
    "suspend_invited": ("suspend_inactive_user", "user_not_in_team"),
    "suspend_removed": ("user_not_in_team", "inactive"),
    "invited_email_change": ("allowed", "set_profile_disallowed"),
    "removed_resolvable": (False, True),
}
POSITIONS = [dict(zip(CONTESTED, values, strict=True)) for values in itertools.product(*CONTESTED.values())]


def contested(deed, who, answer, switches):
    """What the switches make of an entry of the table."""
    inactive = switches["suspend_removed"] == "inactive"
    if (deed, who) == ("suspend", "invited"):
        return switches["suspend_invited"]
    if (deed, who) == ("suspend", "removed") and inactive:
        return "suspend_inactive_user"
    if (deed, who) == ("unsuspend", "removed") and inactive:
        return "unsuspend_non_suspended_member"
    if (deed, who) == ("email", "invited") and switches["invited_email_change"] != "allowed":
        return "set_profile_disallowed"
    return answer


@pytest.mark.parametrize("switches", POSITIONS, ids=lambda s: "-".join(str(v) for v in s.values()))
def test_every_state_in_every_position(bench, switches):
    for deed, who, answer in CASES:
        table = bench(switches=Switches(**switches))
        route, argument = ROUTES[deed]
        expected = contested(deed, who, answer, switches)
        assert table.tag(route, argument(table.user(who))) == expected, (deed, who)


@pytest.mark.parametrize("deed", TABLE)
def test_nobody(bench, deed):
    table = bench()
    route, argument = ROUTES[deed]
    assert table.tag(route, argument({".tag": "email", "email": "no@example.com"})) == "user_not_found"


@pytest.mark.parametrize("tag", ["email", "external_id"])
@pytest.mark.parametrize("resolvable", [False, True])
def test_removed_people_by_name(bench, tag, resolvable):
    table = bench(switches=Switches(removed_resolvable=resolvable))
    value = "removed@example.com" if tag == "email" else "x-removed"
    user = {".tag": tag, tag: value}
    info = table.ok("team/members/get_info_v2", {"members": [user]})["members_info"][0]
    assert info[".tag"] == ("member_info" if resolvable else "id_not_found")
    refused = "user_not_in_team" if resolvable else "user_not_found"
    assert table.tag("team/members/suspend", {"user": user}) == refused
    assert table.tag("team/members/recover", {"user": user}) == "ok"  # this one always finds them
    assert table.status("removed") == "active"


@pytest.mark.parametrize(
    ("who", "expected"),
    [
        ("active", "active"),
        ("invited", "invited"),
        ("suspended", "suspended"),
        ("removed", "removed"),
        ("gone", None),
    ],
)
def test_get_info_by_id(bench, who, expected):
    table = bench()
    info = table.ok("team/members/get_info_v2", {"members": [table.user(who)]})["members_info"][0]
    if expected is None:
        assert info == {".tag": "id_not_found", "id_not_found": table.id(who)}
    else:
        assert info["profile"]["status"][".tag"] == expected
    if who == "removed":
        assert info["profile"]["status"]["is_recoverable"] is True


@pytest.mark.parametrize("who", STATES)
def test_adding_an_address_that_is_there(bench, who):
    table = bench()
    wanted = {"new_members": [{"member_email": f"{who.upper()}@example.com"}]}
    item = table.ok("team/members/add_v2", wanted)["complete"][0]
    assert item[".tag"] == ("success" if who == "gone" else "user_already_on_team")


@pytest.mark.parametrize("who", STATES)
def test_an_external_id_that_is_taken(bench, who):
    table = bench()
    wanted = {"new_members": [{"member_email": "new@example.com", "member_external_id": f"x-{who}"}]}
    item = table.ok("team/members/add_v2", wanted)["complete"][0]
    assert item[".tag"] == ("success" if who == "gone" else "duplicate_external_member_id")
    table = bench()
    change = {"user": table.user("active"), "new_external_id": f"x-{who}"}
    expected = "ok" if who in ("active", "gone") else "external_id_used_by_other_user"
    assert table.tag("team/members/set_profile_v2", change) == expected


def test_everything_that_stops_an_addition(bench):
    table = bench(
        seats=6,
        other_team_emails=frozenset({"theirs@example.com"}),
        personal_emails=frozenset({"own@example.com"}),
    )
    table.team.forced_add_results["odd@example.com"] = "user_already_paired"
    wanted = [
        {"member_email": "theirs@example.com"},
        {"member_email": "odd@example.com"},
        {"member_email": "saml@example.com", "member_persistent_id": "p"},
        {"member_email": "own@example.com"},
        {"member_email": "role@example.com", "role_ids": ["pid_dbtmr:none"]},
        {"member_email": "one@example.com", "send_welcome_email": False},
        {"member_email": "two@example.com"},
    ]
    items = table.ok("team/members/add_v2", {"new_members": wanted})["complete"]
    assert [item[".tag"] for item in items] == [
        "user_on_another_team",
        "user_already_paired",
        "persistent_id_disabled",
        "success",
        "user_creation_failed",
        "success",
        "team_license_limit",
    ]
    assert items[6]["team_license_limit"] == "two@example.com"
    assert table.effects.welcome_mails == {"own@example.com": 1}
    assert table.effects.migration_mails == {"own@example.com": 1}


def test_seats_when_coming_back(bench):
    table = bench(seats=4)
    assert table.tag("team/members/recover", {"user": table.user("removed")}) == "team_license_limit"
    assert table.tag("team/members/unsuspend", {"user": table.user("suspended")}) == "ok"
    table.console.suspend("suspended@example.com")
    table.team.seats = 3
    assert table.tag("team/members/unsuspend", {"user": table.user("suspended")}) == "team_license_limit"
    table.console.remove("invited@example.com")
    assert table.tag("team/members/unsuspend", {"user": table.user("suspended")}) == "ok"


def test_the_week_of_grace(bench):
    table = bench()
    table.team.clock.advance(7 * 86400 - 1)
    info = table.ok("team/members/list_v2", {"include_removed": True})
    assert [m["profile"]["status"]["is_recoverable"] for m in info["members"][-2:]] == [True, False]
    table.team.clock.advance(1)
    assert table.tag("team/members/recover", {"user": table.user("removed")}) == "user_unrecoverable"
    wanted = {"new_members": [{"member_email": "removed@example.com", "member_external_id": "x-removed"}]}
    assert table.ok("team/members/add_v2", wanted)["complete"][0][".tag"] == "success"


def test_coming_back_restores_groups_role_and_suspension(bench):
    table = bench()
    table.console.group_create("Kept")
    table.console.group_create("Lost")
    for name in ("Kept", "Lost"):
        table.console.group_add(name, "suspended@example.com")
    table.console.remove("suspended@example.com")
    assert table.ok("team/groups/list")["groups"][1]["member_count"] == 0
    table.console.group_delete("Lost")
    assert table.tag("team/members/recover", {"user": table.user("suspended")}) == "ok"
    member = table.team.members[table.id("suspended")]
    assert member.status == "suspended"
    assert [table.team.groups.get(g).name for g in member.groups] == ["Kept"]


def test_an_invitation_that_was_withdrawn_is_gone_for_good_and_the_address_free(bench):
    table = bench()
    assert table.tag("team/members/remove", {"user": table.user("invited"), "wipe_data": True}) == "ok"
    assert table.tag("team/members/recover", {"user": table.user("invited")}) == "user_unrecoverable"
    assert table.effects.wipes == {}
    wanted = {"new_members": [{"member_email": "invited@example.com", "member_external_id": "x-invited"}]}
    assert table.ok("team/members/add_v2", wanted)["complete"][0][".tag"] == "success"


@pytest.mark.parametrize("listed", [True, False])
def test_whether_the_irrecoverable_are_listed(bench, listed):
    table = bench(switches=Switches(unrecoverable_listed=listed))
    members = table.ok("team/members/list_v2", {"include_removed": True})["members"]
    assert ("gone@example.com" in [m["profile"]["email"] for m in members]) is listed


def test_wiping_is_counted_once_and_is_the_default(bench):
    table = bench()
    user = table.user("active")
    assert table.tag("team/members/suspend", {"user": user}) == "ok"
    assert table.tag("team/members/suspend", {"user": user}) == "suspend_inactive_user"
    assert table.effects.wipes == {table.id("active"): 1}
    assert table.effects.suspensions == {table.id("active"): 1}


def test_the_last_admin(bench):
    table = bench()
    admin = table.user("admin")
    assert table.tag("team/members/suspend", {"user": admin}) == "suspend_last_admin"
    assert table.tag("team/members/remove", {"user": admin}) == "remove_last_admin"
    assert (
        table.tag("team/members/set_admin_permissions_v2", {"user": admin, "new_roles": []}) == "last_admin"
    )
    table.console.set_role("active@example.com", "team_admin")
    assert table.tag("team/members/remove", {"user": admin}) == "ok"
    assert table.tag("team/token/get_authenticated_admin") == "admin_not_active"
    assert table("team/get_info")[0] == 200
    table.team.switch(tokens_die_with_admin=True)
    assert table("team/get_info")[0] == 401


def test_profile_refusals(bench):
    table = bench(
        personal_emails=frozenset({"own@example.com"}), other_team_emails=frozenset({"theirs@example.com"})
    )
    route, user = "team/members/set_profile_v2", table.user("active")
    for email in ("own@example.com", "theirs@example.com", "suspended@example.com", "removed@example.com"):
        assert table.tag(route, {"user": user, "new_email": email}) == "email_reserved_for_other_user"
    assert (
        table.tag(route, {"user": user, "new_surname": "S", "new_persistent_id": "p"})
        == "persistent_id_disabled"
    )
    restricted = {"user": user, "new_surname": "S", "new_is_directory_restricted": True}
    assert table.tag(route, restricted) == "directory_restricted_off"
    assert table.team.members[table.id("active")].surname == "Active"  # nothing by halves
    table.team.switch(persistent_ids=True, directory_restriction=True)
    assert table.tag(route, {**restricted, "new_persistent_id": "p"}) == "ok"
    other = {"user": table.user("suspended"), "new_surname": "S", "new_persistent_id": "p"}
    assert table.tag(route, other) == "persistent_id_used_by_other_user"
    assert table.tag(route, {"user": user, "new_external_id": ""}) == "ok"
    assert table.team.members[table.id("active")].external_id is None
    status, text = table(route, {"user": user, "new_email": ""})
    assert (status, "did not match pattern" in text) == (400, True)


@pytest.mark.parametrize("fold", [True, False])
def test_case_of_selectors(bench, fold):
    table = bench(switches=Switches(selectors_ignore_case=fold, external_ids_ignore_case=fold))
    members = [
        {".tag": "email", "email": "Active@Example.com"},
        {".tag": "external_id", "external_id": "X-Active"},
    ]
    infos = table.ok("team/members/get_info_v2", {"members": members})["members_info"]
    assert [info[".tag"] for info in infos] == ["member_info" if fold else "id_not_found"] * 2


def test_shapes_that_switches_change(bench):
    table = bench(
        switches=Switches(
            empty_roles_absent=True,
            invited_have_account_id=False,
            removed_email_rewritten=True,
            everyone_in_profile_groups=True,
        )
    )
    members = table.ok("team/members/list_v2", {"include_removed": True})["members"]
    by_id = {m["profile"]["team_member_id"]: m for m in members}
    assert "roles" not in by_id[table.id("active")]
    assert by_id[table.id("admin")]["roles"][0]["role_id"] == "pid_dbtmr:2345"
    assert "account_id" not in by_id[table.id("invited")]["profile"]
    assert by_id[table.id("removed")]["profile"]["email"] != "removed@example.com"
    assert by_id[table.id("active")]["profile"]["groups"] == [table.team.groups.everyone_id]
    table.team.switch(provisioned_counts_suspended=False)
    assert table.ok("team/get_info")["num_provisioned_users"] == 3
    table.team.switch(sparse_policies=True)
    status, payload = table.raw("team/get_info", b"null").status, table.raw("team/get_info", b"null").body
    assert (status, b"num_used_licenses" in payload) == (200, False)


@pytest.mark.parametrize("effect", ["launch", "completion"])
def test_jobs_take_effect_when_they_are_told_to(bench, effect):
    table = bench(switches=Switches(async_routes=("team/members/*",), async_polls=2, async_effect=effect))
    wanted = {"new_members": [{"member_email": "new@example.com"}]}
    job = {"async_job_id": table.ok("team/members/add_v2", wanted)["async_job_id"]}
    present = len([m for m in table.team.members if m.email == "new@example.com"])
    assert present == (1 if effect == "launch" else 0)
    route = "team/members/add/job_status/get_v2"
    tags = [table.ok(route, job)[".tag"] for _ in range(4)]
    assert tags == ["in_progress", "in_progress", "complete", "complete"]
    assert table.effects.invitations == {"new@example.com": 1}


@pytest.mark.parametrize("effect", ["launch", "completion"])
@pytest.mark.parametrize("lifetime", [None, 60.0])
def test_how_long_a_job_can_be_asked_after_is_a_switch(bench, effect, lifetime):
    table = bench(
        switches=Switches(
            async_routes=("team/members/*",),
            async_polls=2,
            async_effect=effect,
            job_lifetime_seconds=lifetime,
        )
    )
    wanted = {"new_members": [{"member_email": "new@example.com"}]}
    job = {"async_job_id": table.ok("team/members/add_v2", wanted)["async_job_id"]}
    route = "team/members/add/job_status/get_v2"
    assert table.ok(route, job)[".tag"] == "in_progress"
    table.team.clock.advance(60)
    if lifetime is None:
        assert [table.ok(route, job)[".tag"] for _ in range(2)] == ["in_progress", "complete"]
    else:
        assert [table.tag(route, job) for _ in range(2)] == ["invalid_async_job_id"] * 2
    assert table.effects.invitations == {"new@example.com": 1}


def test_an_unclaimed_mapping(bench):
    assert bench(admin_mapping_known=False).tag("team/token/get_authenticated_admin") == "mapping_not_found"
    table = bench(members=(SeedMember("a@example.com"),))
    assert table.tag("team/token/get_authenticated_admin") == "mapping_not_found"

"""The official SDK drives every route; the simulator fixture lets the oracle read all replies at the end."""

from datetime import datetime

import dropbox
import pytest
from dropbox import team, team_common, team_log

from sandbox.team import Switches, TeamConfig, TeamSimulator

pytestmark = pytest.mark.anyio


def by_email(email: str) -> team.UserSelectorArg:
    return team.UserSelectorArg.email(email)


def by_external(external_id: str) -> team.UserSelectorArg:
    return team.UserSelectorArg.external_id(external_id)


ADMIN, ACTIVE, INVITED = (
    by_email("admin@example.com"),
    by_email("active@example.com"),
    by_email("invited@example.com"),
)


async def refused(sdk, tag, method, *arguments, **named):
    with pytest.raises(dropbox.exceptions.ApiError) as caught:
        await sdk(method, *arguments, **named)
    assert caught.value.error._tag == tag
    return caught.value


async def test_the_team(sdk, simulator):
    info = await sdk("team_get_info")
    assert (info.name, info.num_licensed_users, info.num_provisioned_users) == ("Example Team", 50, 4)
    assert info.num_used_licenses == 3
    features = [team.Feature.upload_api_rate_limit, team.Feature.has_team_shared_dropbox]
    features += [team.Feature.has_team_file_events, team.Feature.has_team_selective_sync]
    features += [team.Feature.has_distinct_member_homes]
    assert len((await sdk("team_features_get_values", features)).values) == 5
    await refused(sdk, "empty_features_list", "team_features_get_values", [])
    admin = await sdk("team_token_get_authenticated_admin")
    assert admin.admin_profile.email == "admin@example.com"
    roles = await sdk("team_members_get_available_team_member_roles")
    assert roles.roles[0].role_id == "pid_dbtmr:2345"


@pytest.mark.parametrize("suffix", ["", "_v2"])
async def test_listing_and_info(sdk, suffix):
    first = await sdk(f"team_members_list{suffix}", limit=2, include_removed=True)
    assert first.has_more
    emails = [m.profile.email for m in first.members]
    while first.has_more:
        first = await sdk(f"team_members_list_continue{suffix}", first.cursor)
        emails += [m.profile.email for m in first.members]
    assert len(emails) == 6
    with pytest.raises(dropbox.exceptions.ApiError) as caught:
        await sdk(f"team_members_list_continue{suffix}", "nonsense")
    assert caught.value.error.is_invalid_cursor()
    infos = await sdk(f"team_members_get_info{suffix}", [ACTIVE, by_email("nobody@example.com")])
    items = infos.members_info if suffix else infos
    assert [item._tag for item in items] == ["member_info", "id_not_found"]


async def test_adding_version_2(sdk, simulator):
    wanted = [
        team.MemberAddV2Arg(
            member_email="New@Example.com", member_external_id="n1", role_ids=["pid_dbtmr:3456"]
        ),
        team.MemberAddV2Arg(member_email="active@example.com"),
    ]
    result = await sdk("team_members_add_v2", wanted)
    success, already = result.get_complete()
    assert success.get_success().profile.email == "new@example.com"
    assert already.get_user_already_on_team() == "active@example.com"
    launched = await sdk(
        "team_members_add_v2", [team.MemberAddV2Arg(member_email="b@example.com")], force_async=True
    )
    job = launched.get_async_job_id()
    assert (await sdk("team_members_add_job_status_get_v2", job)).is_in_progress()
    assert (await sdk("team_members_add_job_status_get_v2", job)).get_complete()[0].is_success()
    await refused(sdk, "invalid_async_job_id", "team_members_add_job_status_get", job)
    await refused(sdk, "invalid_async_job_id", "team_members_add_job_status_get_v2", " ")


async def test_adding_version_1(sdk):
    wanted = [team.MemberAddArg(member_email="v1@example.com", role=team.AdminTier.support_admin)]
    done = await sdk("team_members_add", wanted)
    assert done.get_complete()[0].get_success().role.is_support_admin()
    launched = await sdk(
        "team_members_add", [team.MemberAddArg(member_email="w1@example.com")], force_async=True
    )
    job = launched.get_async_job_id()
    assert (await sdk("team_members_add_job_status_get", job)).is_in_progress()
    assert (await sdk("team_members_add_job_status_get", job)).is_complete()


async def test_more_than_twenty_is_a_400(sdk):
    wanted = [team.MemberAddV2Arg(member_email=f"p{i}@example.com") for i in range(21)]
    with pytest.raises(dropbox.exceptions.BadInputError, match="more than 20 items"):
        await sdk("team_members_add_v2", wanted)


async def test_profiles(sdk):
    done = await sdk("team_members_set_profile_v2", ACTIVE, new_given_name="Anna", new_external_id="x2")
    assert done.member_info.profile.name.given_name == "Anna"
    done = await sdk("team_members_set_profile", by_external("x2"), new_email="anna@example.com")
    assert (done.profile.email, done.profile.external_id) == ("anna@example.com", "x2")
    await refused(sdk, "no_new_data_specified", "team_members_set_profile_v2", ADMIN)
    await refused(
        sdk,
        "external_id_and_new_external_id_unsafe",
        "team_members_set_profile_v2",
        by_external("x2"),
        new_external_id="x3",
    )
    await refused(
        sdk, "user_not_found", "team_members_set_profile", by_email("no@example.com"), new_surname="X"
    )


async def test_suspension_and_roles(sdk, simulator):
    assert await sdk("team_members_suspend", ACTIVE, wipe_data=False) is None
    await refused(sdk, "suspend_inactive_user", "team_members_suspend", ACTIVE, wipe_data=False)
    assert await sdk("team_members_unsuspend", ACTIVE) is None
    await refused(sdk, "unsuspend_non_suspended_member", "team_members_unsuspend", ACTIVE)
    done = await sdk("team_members_set_admin_permissions_v2", ACTIVE, new_roles=["pid_dbtmr:2345"])
    assert done.roles[0].name == "Team admin"
    done = await sdk("team_members_set_admin_permissions", ACTIVE, team.AdminTier.member_only)
    assert done.role.is_member_only()
    await refused(sdk, "last_admin", "team_members_set_admin_permissions_v2", ADMIN, new_roles=[])
    await refused(
        sdk, "role_not_found", "team_members_set_admin_permissions_v2", ACTIVE, new_roles=["pid_dbtmr:9"]
    )
    assert await sdk("team_members_send_welcome_email", INVITED) is None
    assert simulator.team.effects.welcome_mails == {"invited@example.com": 1}
    await refused(sdk, "user_not_found", "team_members_send_welcome_email", by_email("no@example.com"))


async def test_leaving_and_coming_back(sdk, simulator):
    assert (await sdk("team_members_remove", ACTIVE, wipe_data=False)).is_complete()
    assert await sdk("team_members_recover", ACTIVE) is None
    await refused(sdk, "user_unrecoverable", "team_members_recover", ACTIVE)
    await refused(sdk, "remove_last_admin", "team_members_remove", ADMIN)
    simulator.team.switch(async_routes=("team/members/remove",))
    job = (await sdk("team_members_remove", ACTIVE, wipe_data=False)).get_async_job_id()
    assert (await sdk("team_members_remove_job_status_get", job)).is_in_progress()
    assert (await sdk("team_members_remove_job_status_get", job)).is_complete()
    await refused(sdk, "invalid_async_job_id", "team_members_remove_job_status_get", "x")
    move = (ACTIVE, ADMIN, ADMIN)
    job = (await sdk("team_members_move_former_member_files", *move)).get_async_job_id()
    await refused(
        sdk, "user_data_is_being_transferred", "team_members_move_former_member_files", *move_by_id(simulator)
    )
    check = "team_members_move_former_member_files_job_status_check"
    assert (await sdk(check, job)).is_in_progress()
    assert (await sdk(check, job)).is_complete()
    await refused(
        sdk, "user_data_already_transferred", "team_members_move_former_member_files", *move_by_id(simulator)
    )


def move_by_id(simulator):
    found = next(m for m in simulator.team.members if m.email == "active@example.com")
    return team.UserSelectorArg.team_member_id(found.id), ADMIN, ADMIN


@pytest.mark.parametrize("name", ["suspend_batch", "bulk_suspend"])
@pytest.mark.filterwarnings("ignore:members/bulk_suspend:DeprecationWarning")
async def test_suspending_in_batches(sdk, name):
    def row(name, who):
        return team.MembersSuspendBatchTarget(name, team.MembersDeactivateArg(who, wipe_data=False))

    rows = [row("1", ACTIVE), row("2", INVITED)]
    job = (await sdk(f"team_members_{name}", rows)).get_async_job_id()
    assert (await sdk(f"team_members_{name}_job_status_check", job)).is_in_progress()
    done = (await sdk(f"team_members_{name}_job_status_check", job)).get_complete()
    assert (done.requested, done.suspended, done.failed, done.unknown) == (2, 1, 1, 0)
    await refused(sdk, "duplicate_client_item_id", f"team_members_{name}", [rows[0], row("1", INVITED)])
    await refused(sdk, "duplicate_team_member_id", f"team_members_{name}", [rows[0], row("2", ACTIVE)])
    await refused(sdk, "acting_admin", f"team_members_{name}", [row("1", ADMIN)])


async def test_groups(sdk, simulator):
    managed = team_common.GroupManagementType.company_managed
    made = await sdk("team_groups_create", "Sales", group_external_id="g1", group_management_type=managed)
    assert (made.member_count, made.members) == (0, [])
    await refused(sdk, "group_name_already_used", "team_groups_create", "sales")
    group = team.GroupSelector.group_external_id("g1")
    member = team.GroupAccessType.member
    added = await sdk(
        "team_groups_members_add",
        group,
        [team.MemberAccess(ACTIVE, member), team.MemberAccess(INVITED, member)],
        return_members=False,
    )
    assert (added.async_job_id, added.group_info.member_count, added.group_info.members) == (" ", 2, None)
    await refused(
        sdk, "duplicate_user", "team_groups_members_add", group, [team.MemberAccess(ACTIVE, member)]
    )
    unknown = [team.MemberAccess(by_email("no@example.com"), member)]
    error = await refused(sdk, "users_not_found", "team_groups_members_add", group, unknown)
    assert error.error.get_users_not_found() == ["no@example.com"]
    listed = await sdk("team_groups_members_list", group, limit=1)
    assert listed.has_more
    listed = await sdk("team_groups_members_list_continue", listed.cursor)
    assert [m.profile.email for m in listed.members] == ["invited@example.com"]
    await refused(sdk, "invalid_cursor", "team_groups_members_list_continue", "x")
    infos = await sdk("team_groups_get_info", team.GroupsSelector.group_external_ids(["g1", "g2"]))
    assert [info._tag for info in infos] == ["group_info", "id_not_found"]
    done = await sdk("team_groups_members_set_access_type", group, ACTIVE, member)
    assert done[0].is_group_info()
    left = await sdk("team_groups_members_remove", group, [ACTIVE])
    assert [m.profile.email for m in left.group_info.members] == ["invited@example.com"]
    await refused(sdk, "member_not_in_group", "team_groups_members_remove", group, [ACTIVE])
    done = await sdk("team_groups_update", group, new_group_name="Sales west", new_group_external_id="")
    assert (done.group_name, done.group_external_id) == ("Sales west", None)
    groups = await sdk("team_groups_list", limit=1)
    assert groups.groups[0].group_management_type.is_system_managed()
    groups = await sdk("team_groups_list_continue", groups.cursor)
    assert [g.group_name for g in groups.groups] == ["Sales west"]
    await refused(sdk, "invalid_cursor", "team_groups_list_continue", "x")
    everyone = team.GroupSelector.group_id(simulator.team.groups.everyone_id)
    await refused(sdk, "system_managed_group_disallowed", "team_groups_delete", everyone)
    assert len((await sdk("team_groups_members_list", everyone)).members) == 4
    simulator.team.switch(async_routes=("team/groups/delete",))
    mine = team.GroupSelector.group_id(made.group_id)
    job = (await sdk("team_groups_delete", mine)).get_async_job_id()
    assert (await sdk("team_groups_job_status_get", job)).is_in_progress()
    assert (await sdk("team_groups_job_status_get", job)).is_complete()
    await refused(sdk, "group_already_deleted", "team_groups_delete", mine)
    await refused(sdk, "invalid_async_job_id", "team_groups_job_status_get", " ")


async def test_the_log(sdk, simulator):
    await sdk("team_members_suspend", ACTIVE, wipe_data=False)
    page = await sdk("team_log_get_events", limit=3, category=team_log.EventCategory.members)
    tags = []
    while True:
        tags += [event.event_type._tag for event in page.events]
        if not page.has_more:
            break
        page = await sdk("team_log_get_events_continue", page.cursor)
    assert tags.count("member_change_status") == 3
    event_type = team_log.EventTypeArg.member_change_status
    await refused(
        sdk,
        "invalid_filters",
        "team_log_get_events",
        category=team_log.EventCategory.members,
        event_type=event_type,
    )
    time = team_common.TimeRange(datetime(2026, 11, 20), datetime(2026, 11, 19))  # noqa: DTZ001 - the SDK wants it so
    await refused(sdk, "invalid_time_range", "team_log_get_events", time=time)
    await refused(sdk, "account_id_not_found", "team_log_get_events", account_id="dbid:" + "x" * 35)
    await refused(sdk, "bad_cursor", "team_log_get_events_continue", "x")
    simulator.team.log.reset()
    error = await refused(sdk, "reset", "team_log_get_events_continue", page.cursor)
    assert error.error.get_reset() == datetime(2026, 11, 20, 9)  # noqa: DTZ001


async def test_the_checks(sdk, simulator):
    config = simulator.config
    app = sdk.client(dropbox.Dropbox, app_key=config.app_key, app_secret=config.app_secret)
    assert (await sdk.run(app.check_app, "foo")).result == "foo"
    user = sdk.client(dropbox.Dropbox, oauth2_access_token=simulator.tokens.issue(kind="user").value)
    assert (await sdk.run(user.check_user, "foo")).result == "foo"
    bare = sdk.client(dropbox.Dropbox, oauth2_access_token=config.access_token)
    for method in (bare.check_user, bare.auth_token_revoke):
        with pytest.raises(dropbox.exceptions.BadInputError, match="entire Dropbox Business team"):
            await sdk.run(method)
    with pytest.raises(dropbox.exceptions.BadInputError, match="team management function"):
        await sdk.run(
            sdk.client(oauth2_access_token=simulator.tokens.issue(kind="user").value).team_get_info,
        )


async def test_scopes_and_expiry(sdk, simulator):
    simulator.tokens.set_scopes(frozenset({"members.read"}))
    with pytest.raises(dropbox.exceptions.AuthError) as caught:
        await sdk("team_get_info")
    assert caught.value.error.get_missing_scope().required_scope == "team_info.read"
    simulator.tokens.app_scopes = frozenset({"team_info.read"})
    with pytest.raises(dropbox.exceptions.BadInputError, match="does not have the required scope"):
        await sdk("team_members_list_v2")
    simulator.tokens.expire()
    with pytest.raises(dropbox.exceptions.AuthError) as caught:
        await sdk("team_get_info")
    assert caught.value.error.is_expired_access_token()
    with pytest.raises(dropbox.exceptions.BadInputError, match="malformed"):
        await sdk.run(sdk.client(oauth2_access_token="!").team_get_info)


async def test_the_sdk_refreshes(sdk, simulator):
    config = simulator.config
    client = sdk.client(oauth2_refresh_token=config.refresh_token, app_key=config.app_key)
    assert (await sdk.run(client.team_get_info)).name == "Example Team"
    simulator.team.clock.advance(14400)
    assert (await sdk.run(client.team_get_info)).name == "Example Team"
    assert simulator.team.effects.requests["oauth2/token 200"] == 2
    simulator.tokens.revoke(refresh_too=True)
    with pytest.raises(dropbox.exceptions.AuthError):
        await sdk.run(client.team_get_info)


def test_nothing_is_left_out(stone_oracle):
    """Every route of the simulator exists in the SDK, and this file drives it by the SDK's name for it."""
    from pathlib import Path

    text = Path(__file__).read_text(encoding="utf-8")
    routes = TeamSimulator(TeamConfig(switches=Switches())).engine.routes
    for path in routes:
        assert stone_oracle.route(path)
        stem = path.replace("/", "_")
        name = stem.removesuffix("_v2")
        driven = any(
            part in text
            for part in (
                stem,
                name + "{suffix}",
                name.replace("suspend_batch", "{name}").replace("bulk_suspend", "{name}"),
            )
        )
        assert driven, path
    assert len(routes) >= 44

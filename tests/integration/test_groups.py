"""Groups through `run`, on Samba and the simulator: the rules of behaviour.md §6 and the article's sentences about groups."""

import json
from dataclasses import replace

import pytest

COCO = "coco.chanel@example.test"
ESTEE = "estee.lauder@example.test"
GRACE = "grace.hopper@example.test"
INGVAR = "ingvar.kamprad@example.test"
MARGARET = "margaret.hamilton@example.test"
WILLY = "willy.loman@example.test"
SAME = {"groups": {"mode": "same"}}
APOLLO = {"groups": {"mode": "separate", "sync_group": "Dropbox Groups"}}


def groups(world):
    """Company-managed groups of the team: name → e-mails of who is in it."""

    def look():
        team = world.team.team
        return {
            group.name: sorted(team.members[one].email for one in group.members)
            for group in team.groups
            if group.management != "system_managed"
        }

    return world.inside(look)


def group_writes(world):
    return [
        one.route.removeprefix("team/groups/")
        for one in world.writes()
        if one.route.startswith("team/groups/")
    ]


def test_same_syncs_the_groups_in_the_user_sync_group_flattened(world):
    """ "You can't nest groups inside other groups in Dropbox. Each group is flat." """
    world.configure(**SAME)
    world.admin.remove_members(
        "Platform Team", "Dropbox"
    )  # the circle would bring everybody, also who is skipped
    done = world.ok("run")
    world.check_exit_line(0, done)
    found = groups(world)
    assert found["Sales Team"] == [COCO, ESTEE, INGVAR, WILLY]
    assert found["Sales Europe"] == [COCO, INGVAR]
    assert set(found) == {"Sales Team", "Sales Europe", "Engineering Team", "Platform Team"}
    assert sorted(group_writes(world)) == ["create"] * 4 + ["members/add"] * 4
    world.forget_exchanges()
    world.ok("run")
    assert world.writes() == []


def test_same_a_group_with_users_that_are_not_synced_fails_and_the_others_go_on(world):
    """ "For groups with users that aren't in the sync group, the group fails to sync to Dropbox." """
    world.configure(**SAME)
    done = world("run")  # by the circle Nikola, who has no e-mail, is in two of the groups
    assert done.code == -17
    assert set(groups(world)) == {"Sales Team", "Sales Europe"}
    log = "\n".join(world.log_lines)
    assert "Engineering Team" in log
    assert "Nikola Tesla" in log
    assert {one.email for one in world.members().values()}  # the users went on


def test_separate_syncs_the_other_groups_and_leaves_out_who_is_not_in_user_scope(world):
    world.admin.create_group("Dropbox Groups", ou="Groups")
    world.admin.add_members("Dropbox Groups", "Project Apollo", "Hedy Lamarr")
    world.configure(**APOLLO)
    world.ok("run")
    assert groups(world) == {"Project Apollo": [GRACE, MARGARET]}
    plan = json.loads(world("plan", "--format", "json").out)
    assert any(
        "katherine.johnson@example.test (not in user scope)" in row["reason"] for row in plan["skipped"]
    )


def test_one_person_added_costs_one_group_request(world):
    world.configure(**SAME)
    world("run")
    world.accept_all()
    world("run")
    world.forget_exchanges()
    world.admin.add_members("Sales Europe", "Willy Loman")
    world("run")
    assert [one.route for one in world.exchanges() if "groups" in one.route] == ["team/groups/members/add"]
    assert groups(world)["Sales Europe"] == [COCO, INGVAR, WILLY]


def test_explain_group_tells_why_it_fails_what_it_has_and_who_is_left_out(world):
    world.configure(**SAME)
    world("run")
    done = world("explain", "--group", "Engineering Team", "--json")
    told = done.json
    assert told["synced"]
    assert "nikola" in told["failure"].lower()
    told = world("explain", "--group", "sales europe", "--json").json
    assert (told["users"], told["dropbox"]["members"], told["next"]) == (2, 2, [])
    text = world("explain", "--group", "Sales Europe").out
    assert "in Dropbox  Sales Europe, 2 members" in text
    assert world("explain", "--group", "Nothing").code != 0
    assert world("explain").code == 2


def test_renames_and_names_that_change_hands_in_one_pass(world):
    world.configure(groups={"mode": "separate", "sync_group": "Dropbox Groups"})
    world.admin.create_group("Dropbox Groups", ou="Groups")
    world.admin.add_members("Dropbox Groups", "Sales Team", "Sales Europe")
    world.ok("run")
    world.admin.rename("Sales Team", "Sales World")
    world.admin.rename("Sales Europe", "Sales Team")
    world.ok("run")
    assert groups(world) == {"Sales World": [COCO, ESTEE, INGVAR, WILLY], "Sales Team": [COCO, INGVAR]}


def test_two_groups_of_one_name_fail_between_directory_and_dropbox_and_adopt_existing_links(world):
    """ "If you have multiple groups with the same name between the Active Directory and Dropbox, group sync fails." """
    world.configure(groups={"mode": "separate", "sync_group": "Dropbox Groups"})
    world.admin.create_group("Dropbox Groups", ou="Groups")
    world.admin.add_members("Dropbox Groups", "Sales Team", "Sales Europe")
    world.console("group_create", "SALES TEAM")
    done = world("run")
    world.check_exit_line(-17, done)
    assert groups(world) == {"SALES TEAM": [], "Sales Europe": [COCO, INGVAR]}
    world.configure(groups={"mode": "separate", "sync_group": "Dropbox Groups", "adopt_existing": True})
    world.ok("run")
    assert groups(world) == {"Sales Team": [COCO, ESTEE, INGVAR, WILLY], "Sales Europe": [COCO, INGVAR]}


def test_article_deleting_a_group_in_dropbox_does_not_delete_it_in_the_directory_and_it_comes_back(world):
    world.configure(groups={"mode": "separate", "sync_group": "Dropbox Groups"})
    world.admin.create_group("Dropbox Groups", ou="Groups")
    world.admin.add_members("Dropbox Groups", "Sales Europe")
    world.ok("run")
    world.console("group_delete", "Sales Europe")
    world.ok("run", "--full")
    assert world.admin.members("Sales Europe")
    assert groups(world) == {"Sales Europe": [COCO, INGVAR]}


def test_an_empty_or_missing_group_sync_group_fails_the_groups_and_users_go_on(world, tools):
    world.configure(groups={"mode": "separate", "sync_group": "Dropbox Groups"})
    done = world("run")
    world.check_exit_line(-17, done)
    assert set(world.members()) == tools.standard_emails()
    world.admin.create_group("Dropbox Groups", ou="Groups")
    world.check_exit_line(-17, world("run"))
    world.admin.add_members("Dropbox Groups", "Sales Europe")
    world.check_exit_line(0, world.ok("run"))


def test_on_leave_delete_waits_for_approval(world):
    settings = {"mode": "separate", "sync_group": "Dropbox Groups", "on_leave": "delete"}
    world.configure(groups=settings)
    world.admin.create_group("Dropbox Groups", ou="Groups")
    world.admin.add_members("Dropbox Groups", "Sales Europe", "Sales Team")
    world.ok("run")
    world.admin.remove_members("Dropbox Groups", "Sales Team")
    # Sales Europe stays by itself; Sales Team is no longer to be synced.
    world.check_exit_line(-18, world("run"))
    assert set(groups(world)) == {"Sales Europe", "Sales Team"}
    [held] = world.status()["brake"]["sets"]
    world.ok("approve", held["hash"])
    world.ok("run")
    assert set(groups(world)) == {"Sales Europe"}


def test_watch_follows_a_group_and_sets_right_what_the_console_changed(world, tools):
    world.configure(
        groups={"mode": "separate", "sync_group": "Dropbox Groups"}, dropbox={"drift_poll_seconds": 1}
    )
    world.admin.create_group("Dropbox Groups", ou="Groups")
    world.admin.add_members("Dropbox Groups", "Sales Europe")
    running = world.watch()
    assert groups(world) == {"Sales Europe": [COCO, INGVAR]}
    world.admin.add_members("Sales Europe", "Willy Loman")
    tools.wait_until(lambda: groups(world)["Sales Europe"] == [COCO, INGVAR, WILLY], lambda: groups(world))
    world.console("group_remove", "Sales Europe", COCO)
    tools.wait_until(lambda: groups(world)["Sales Europe"] == [COCO, INGVAR, WILLY], lambda: groups(world))
    assert running.terminate() == 0


def _synced(world, *names, **settings):
    """A group sync group with these in it, and a first pass."""
    world.configure(
        groups={"mode": "separate", "sync_group": "Dropbox Groups", **settings.pop("groups", {})}, **settings
    )
    world.admin.create_group("Dropbox Groups", ou="Groups")
    world.admin.add_members("Dropbox Groups", *names)
    world.ok("run")
    world.accept_all()
    world.ok("run")
    world.forget_exchanges()


def test_nobody_is_added_before_they_are_on_the_team(world):
    _synced(world, "Sales Europe")
    world.admin.create_user(
        "Nia New", given_name="Nia", surname="New", mail="nia.new@example.test", ou="Sales"
    )
    world.admin.add_members("Sales Europe", "Nia New")
    world.ok("run")
    routes = [one.route for one in world.writes()]
    assert routes == ["team/members/add_v2", "team/groups/members/add"]
    assert "nia.new@example.test" in groups(world)["Sales Europe"]


def test_leavers_are_suspended_and_taken_out_once_and_who_is_deleted_not_at_all(world):
    _synced(world, "Sales Team")
    world.admin.remove_members("Sales Team", "Willy Loman")
    world.admin.delete("Estee Lauder")
    world.ok("run")
    assert world.statuses(WILLY, ESTEE) == ["suspended", "removed"]
    assert groups(world)["Sales Team"] == [COCO, INGVAR]
    assert group_writes(world) == ["members/remove"]
    world.forget_exchanges()
    world.ok("run", "--full")
    assert world.writes() == []


def test_who_was_put_in_by_hand_already_stops_nobody(world):
    _synced(world, "Sales Europe", dropbox={"drift_poll_seconds": 0})
    world.console("group_add", "Sales Europe", WILLY)  # nobody told the journal
    world.admin.add_members("Sales Europe", "Willy Loman", "Estee Lauder", "Hedy Lamarr")
    world.ok("run")
    assert groups(world)["Sales Europe"] == [COCO, ESTEE, "hedy.lamarr@example.test", INGVAR, WILLY]


def test_a_refused_size_is_halved_until_it_works(world):
    world.inside(
        lambda: setattr(world.team.team, "switches", replace(world.team.team.switches, max_group_change=3))
    )
    _synced(world, "Sales Team")
    assert groups(world)["Sales Team"] == [COCO, ESTEE, INGVAR, WILLY]


@pytest.mark.parametrize("route", ["create", "members/add", "members/remove", "update", "delete"])
@pytest.mark.parametrize("kind", ["drop_after", "drop_before"])
def test_a_lost_reply_about_a_group_is_read_back(world, kind, route):
    _synced(world, "Sales Team", groups={"on_leave": "delete"})
    world.admin.add_members("Dropbox Groups", "Sales Europe")
    world.admin.rename("Sales Team", "Sales World")
    world.admin.remove_members("Sales World", "Willy Loman")
    world.admin.add_members("Sales Europe", "Willy Loman")
    if route == "delete":
        world.admin.remove_members("Dropbox Groups", "Sales World")
        world("run")
        [held] = world.status()["brake"]["sets"]
        world.ok("approve", held["hash"])
    world.fault(kind, f"team/groups/{route}")
    world.ok("run")
    expected = {"Sales World": [COCO, ESTEE, INGVAR, WILLY], "Sales Europe": [COCO, INGVAR, WILLY]}
    if route == "delete":
        del expected["Sales World"]
    assert groups(world) == expected
    world.no_more_faults()
    world.forget_exchanges()
    world.ok("run")
    assert world.writes() == []


def test_an_emptied_group_is_held_by_the_brake_and_released_by_approve(world):
    _synced(world, "Sales Europe", safety={"max_leavers": 1})
    world.admin.add_members("Sales Team", "Coco Chanel", "Ingvar Kamprad")  # they stay in user scope
    world.admin.remove_members("Sales Europe", "Coco Chanel", "Ingvar Kamprad")
    done = world("run")
    world.check_exit_line(-18, done)
    assert groups(world)["Sales Europe"] == [COCO, INGVAR]
    [held] = world.status()["brake"]["sets"]
    assert (held["kind"], held["count"]) == ("group_members", 2)
    world.ok("approve", held["hash"])
    world.ok("run")
    assert groups(world)["Sales Europe"] == []

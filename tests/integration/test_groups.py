"""Groups through `run`, on Samba and the simulator: the rules of behaviour.md §6 and the article's sentences about groups."""

import json

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
    return [one.route.removeprefix("team/groups/") for one in world.writes() if one.route.startswith("team/groups/")]


def test_same_syncs_the_groups_in_the_user_sync_group_flattened(world):
    """"You can't nest groups inside other groups in Dropbox. Each group is flat." """
    world.configure(**SAME)
    world.admin.remove_members("Platform Team", "Dropbox")  # the circle would bring everybody, also who is skipped
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
    """"For groups with users that aren't in the sync group, the group fails to sync to Dropbox." """
    world.configure(**SAME)
    done = world("run")  # by the circle Nikola, who has no e-mail, is in two of the groups
    assert done.code == -17
    assert set(groups(world)) == {"Sales Team", "Sales Europe"}
    log = "\n".join(world.log_lines)
    assert "Engineering Team" in log and "Nikola Tesla" in log
    assert {one.email for one in world.members().values()}  # the users went on


def test_separate_syncs_the_other_groups_and_leaves_out_who_is_not_in_user_scope(world):
    world.admin.create_group("Dropbox Groups", ou="Groups")
    world.admin.add_members("Dropbox Groups", "Project Apollo", "Hedy Lamarr")
    world.configure(**APOLLO)
    world.ok("run")
    assert groups(world) == {"Project Apollo": [GRACE, MARGARET]}
    plan = json.loads(world("plan", "--format", "json").out)
    assert any("katherine.johnson@example.test (not in user scope)" in row["reason"] for row in plan["skipped"])


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

"""behaviour.md §6 through `run` on Samba and the simulator, several rules in one world each; the article's sentences by name."""

import json

from stages.directory.entries import sid_text

COCO = "coco.chanel@example.test"
ESTEE = "estee.lauder@example.test"
GRACE = "grace.hopper@example.test"
HEDY = "hedy.lamarr@example.test"
INGVAR = "ingvar.kamprad@example.test"
KATHERINE = "katherine.johnson@example.test"
MARGARET = "margaret.hamilton@example.test"
WILLY = "willy.loman@example.test"
SEPARATE = {"mode": "separate", "sync_group": "Dropbox Groups"}
BOSS = "it-admin@example.test"


def groups(world):
    """The team's groups but its own: name → e-mails of who is in it."""

    def look():
        team = world.team.team
        return {
            group.name: sorted(team.members[one].email for one in group.members)
            for group in team.groups
            if group.management != "system_managed"
        }

    return world.inside(look)


def routes(world):
    return [one.route.removeprefix("team/") for one in world.writes()]


def sid_of(world, name):
    """As the original connector wrote it into external ids."""
    connection = world.admin.connect()
    _, _, response, _ = connection.search(world.admin.dn(name), "(objectClass=*)", attributes=["objectSid"])
    return sid_text(response[0]["raw_attributes"]["objectSid"][0])


def separate(world, *names, **settings):
    world.configure(groups={**SEPARATE, **settings})
    world.admin.create_group("Dropbox Groups", ou="Groups")
    world.admin.add_members("Dropbox Groups", *names)


def test_article_different_groups_what_is_ignored_and_what_the_console_did_is_set_right_by_the_next_run(
    world,
):
    """ "Any groups in the user sync group are ignored. Users placed in the group sync group are ignored unless also in the
    user sync group. Groups placed in the user sync group are ignored unless also in the group sync group." """
    separate(world, "Sales Europe", "Project Apollo", "Hedy Lamarr", "Katherine Johnson")
    world.ok("run")
    assert groups(world) == {"Sales Europe": [COCO, INGVAR], "Project Apollo": [GRACE, MARGARET]}
    assert (
        KATHERINE not in world.members()
    )  # in the group sync group and in Project Apollo, not in user scope
    assert ESTEE in world.members()  # in Sales Team below the user sync group, which is no group in Dropbox
    world.accept_all()
    world.ok("run")

    # Rules 5 and 6: changes of the console between two passes; who is not managed is nobody's business.
    world.console("group_remove", "Sales Europe", COCO)
    world.console("group_add", "Sales Europe", BOSS)
    world.console("group_rename", "Project Apollo", "Mine")
    world.forget_exchanges()
    world.ok("run")
    assert groups(world) == {
        "Sales Europe": sorted([BOSS, COCO, INGVAR]),
        "Project Apollo": [GRACE, MARGARET],
    }
    assert sorted(routes(world)) == ["groups/members/add", "groups/update"]

    # Rule 5: suspended members stay. Rule 6: a group deleted in the directory stays as it is, and it is said once.
    world.admin.disable("Ingvar Kamprad")
    world.admin.delete("Project Apollo")
    world.forget_exchanges()
    world.ok("run")
    assert world.statuses(INGVAR) == ["suspended"]
    assert groups(world) == {
        "Sales Europe": sorted([BOSS, COCO, INGVAR]),
        "Project Apollo": [GRACE, MARGARET],
    }
    assert routes(world) == ["members/suspend"]
    assert any("Project Apollo" in line and "no longer synced" in line for line in world.log_lines)

    # Rules 1 and 6: with the mode taken out of the configuration nothing is synced, and nothing is taken away.
    world.configure()
    world.admin.add_members("Sales Europe", "Willy Loman")
    world.forget_exchanges()
    world.ok("run")
    assert routes(world) == []
    assert set(groups(world)) == {"Sales Europe", "Project Apollo"}


def test_article_one_group_for_both_fails_single_groups_by_name_and_the_others_go_on(world):
    """ "For groups with users that aren't in the sync group, the group fails to sync." "If you have multiple groups with
    the same name between the Active Directory and Dropbox, group sync fails. An error is also logged." """
    world.configure(groups={"mode": "same"}, users={"exclude_emails": [WILLY], "leave_settle_seconds": 0})
    world.admin.remove_members("Dropbox", "Engineering Team")
    for name, account in (("Twins", "Twins"), ("TWINS", "Twins2")):
        world.admin.create_group(account, ou="Groups" if name == "Twins" else "Sales")
        world.admin.add_members("Dropbox", account)
    world.admin.rename("Twins2", "TWINS")
    world.admin.create_group("Everyone", ou="Groups")
    world.admin.create_group("Old", ou="Groups", members=["Hedy Lamarr"])
    world.admin.add_members("Dropbox", "Everyone", "Old")
    sid = sid_of(world, "Old")
    world.console("group_create", "Under its old name", external_id=f"ADSYNC {sid}")
    world.console("group_create", "everyone", user_managed=True)
    done = world("run")
    world.check_exit_line(-17, done)
    # Rule 3: Willy, who is excluded, is in Sales Team. Rule 4: twins in the directory, a namesake in Dropbox, and one whose
    # external id holds the SID, which counts as ours.
    assert groups(world) == {"Sales Europe": [COCO, INGVAR], "Old": [HEDY], "everyone": []}
    log = "\n".join(line for line in world.log_lines if "group_failed" in line)
    for name in ("Sales Team", "willy.loman@example.test", "Twins", "TWINS", "Everyone"):
        assert name in log, name
    # The plan says so before, in every form that people read.
    for form in ("table", "csv", "html"):
        told = " ".join(world("plan", "--format", form).out.split())
        assert "Sales Team" in told, form

    # Rule 3: from the moment that it fails, a group that was synced gains nobody, and still loses who left it.
    world.accept_all()
    world.admin.add_members("Sales Europe", "Willy Loman", "Estee Lauder")
    world.admin.remove_members("Sales Europe", "Coco Chanel")
    world.admin.add_members("Sales Team", "Coco Chanel")
    world.check_exit_line(-17, world("run"))
    assert groups(world)["Sales Europe"] == [INGVAR]


def test_a_saved_plan_one_person_and_an_undone_pass_carry_groups(world):
    separate(world, "Sales Europe")
    plan = world.folder / "plan.json"
    world.ok("plan", "--format", "json", "--out", plan)
    rows = {row["action"]: row for row in json.loads(plan.read_text())["actions"] if "group" in row}
    assert rows["group_add"]["emails"] == [COCO, INGVAR]
    done = world.ok("apply", plan)
    assert groups(world) == {"Sales Europe": [COCO, INGVAR]}
    assert f"applied    group_add      group Sales Europe: {COCO}, {INGVAR}" in done.out
    world.accept_all()
    world.ok("run")

    world.admin.add_members("Sales Europe", "Willy Loman", "Hedy Lamarr")
    world.ok("run", "--only", HEDY)
    assert groups(world) == {"Sales Europe": [COCO, HEDY, INGVAR]}
    world.ok("run")
    number = world.status()["last_pass"]["id"]
    told = world.ok("undo", number).out
    assert "group_add -> group_remove" in told
    assert WILLY in told
    world.ok("run")
    assert groups(world) == {"Sales Europe": [COCO, HEDY, INGVAR]}
    assert "undo of pass" in world.ok("explain", "--group", "Sales Europe").out
    world.forget_exchanges()
    world.ok("run", "--full")
    assert world.writes() == []

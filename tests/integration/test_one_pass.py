"""Many changes carried by one pass, and taken back by the next; each test names one rule (behaviour.md §2, §4, §5)."""

from types import SimpleNamespace

import pytest

ADA = "ada.lovelace@example.test"
ALAN = "alan.turing@example.test"
COCO = "coco.chanel@example.test"
ESTEE = "estee.lauder@example.test"
GRACE = "grace.hopper@example.test"
HEDY = "hedy.lamarr@example.test"
INGVAR = "ingvar.kamprad@example.test"
KATHERINE = "katherine.johnson@example.test"
LINUS = "linus.pauling@example.test"
MARGARET = "margaret.hamilton@example.test"
ROSALIND = "rosalind.franklin@example.test"


@pytest.fixture(scope="module")
def seen(make_shared_world, tools):
    """What was planned and sent, and how the team stood, in a first pass of changes and in a second that takes back."""
    world = make_shared_world()
    admin = world.admin
    world.join_standard_people()
    world.configure(users={"exclude_emails": ["willy.*"]})
    world.ok("run")
    assert world.writes() == []
    world.forget_exchanges()
    start = world.members()

    admin.modify("Ada Lovelace", givenName="Augusta", sn="King", mail="Augusta.King@example.test")
    admin.disable("Alan Turing")
    coco = admin.delete("Coco Chanel")
    admin.modify("Estee Lauder", mail=None)
    admin.disable("Estee Lauder")
    admin.add_members("Sales Team", "Grace Hopper")
    admin.remove_members("Engineering Team", "Grace Hopper")
    admin.remove_members("Dropbox", "Hedy Lamarr")
    admin.set_primary_group("Katherine Johnson", "Engineering Team")
    admin.modify("Linus Pauling", mail="l.pauling@example.test")
    admin.modify("Margaret Hamilton", mail=LINUS)
    admin.enable("Rosalind Franklin")
    admin.disable("Willy Loman")
    plan = world.ok("plan", "--format", "json").json
    assert world.writes() == []
    done = world.ok("run")
    world.check_exit_line(0, done)
    first = SimpleNamespace(
        plan=plan, sent=world.sent(), writes=world.writes(), members=world.members(), effects=world.effects()
    )

    world.forget_exchanges()
    admin.enable("Alan Turing")
    admin.restore(coco, givenName="Coco", sn="Chanel", mail=COCO, userAccountControl=544)
    admin.add_members("Sales Europe", coco)
    admin.add_members("Dropbox", "Hedy Lamarr")
    world.configure(users={"wipe_data": False, "on_delete": "suspend", "exclude_emails": ["willy.*"]})
    admin.delete("Ingvar Kamprad")
    plan = world.ok("plan", "--format", "json").json
    world.ok("run")
    second = SimpleNamespace(
        plan=plan, sent=world.sent(), writes=world.writes(), members=world.members(), effects=world.effects()
    )
    return SimpleNamespace(start=start, first=first, second=second, admin=admin, tools=tools)


def _requests(writes, route, member):
    return [
        one.request_json
        for one in writes
        if one.route == f"team/members/{route}"
        and one.request_json.get("user", one.request_json)["team_member_id"] == member.id
    ]


def test_a_run_sends_exactly_what_the_plan_listed(seen):
    assert seen.first.plan["summary"] == {"invite": 2, "remove": 1, "suspend": 3, "update": 3}
    assert seen.first.sent == seen.tools.planned(seen.first.plan)
    assert seen.second.plan["summary"] == {"recover": 1, "suspend": 1, "unsuspend": 2}
    assert seen.second.sent == seen.tools.planned(seen.second.plan)


def test_names_and_email_follow_the_directory_and_the_member_is_addressed_by_id(seen):
    member = seen.first.members["augusta.king@example.test"]
    assert (member.id, member.given_name, member.surname) == (seen.start[ADA].id, "Augusta", "King")
    (request,) = _requests(seen.first.writes, "set_profile_v2", member)
    assert request["user"] == {".tag": "team_member_id", "team_member_id": member.id}


def test_a_chain_of_email_changes_works_in_one_pass(seen):
    assert seen.first.members["l.pauling@example.test"].id == seen.start[LINUS].id
    assert seen.first.members[LINUS].id == seen.start[MARGARET].id


def test_a_disabled_person_is_suspended_with_a_wipe(seen):
    member = seen.first.members[ALAN]
    assert member.status == "suspended"
    (request,) = _requests(seen.first.writes, "suspend", member)
    assert request["wipe_data"] is True


def test_an_enabled_person_is_unsuspended(seen):
    assert seen.second.members[ALAN].status == "active"


def test_who_leaves_the_group_is_suspended_and_who_comes_back_is_unsuspended(seen):
    assert seen.first.members[HEDY].status == "suspended"
    assert seen.second.members[HEDY].status == "active"


def test_who_is_still_reached_another_way_has_not_left(seen):
    assert seen.first.members[GRACE].status == "active"


def test_clearing_the_email_of_a_leaver_does_not_keep_the_account_open(seen):
    assert seen.first.members[ESTEE].status == "suspended"


def test_a_deleted_person_is_removed_with_everything_kept_for_the_console(seen):
    member = seen.first.members[COCO]
    assert member.status == "removed"
    (request,) = _requests(seen.first.writes, "remove", member)
    assert request["wipe_data"] is True
    for name in ("keep_account", "retain_team_shares", "permanently_delete_files"):
        assert request[name] is False
    assert not request.get("transfer_dest_id")
    assert not request.get("transfer_admin_id")


def test_a_restored_person_gets_the_old_account_back(seen):
    member = seen.second.members[COCO]
    assert (member.status, member.id) == ("active", seen.start[COCO].id)
    assert seen.second.effects["recoveries"] == {member.id: 1}


def test_with_on_delete_suspend_a_deleted_person_is_suspended(seen):
    assert seen.second.members[INGVAR].status == "suspended"


def test_wipe_data_false_is_sent_explicitly(seen):
    (request,) = _requests(seen.second.writes, "suspend", seen.second.members[INGVAR])
    assert request["wipe_data"] is False


def test_a_disabled_person_is_not_invited_until_enabled(seen):
    assert ROSALIND not in seen.start
    assert seen.first.members[ROSALIND].status == "invited"


def test_members_by_primary_group_count(seen):
    assert not any("Katherine" in dn for dn in seen.admin.members("Engineering Team"))
    assert seen.first.members[KATHERINE].status == "invited"


def test_an_excluded_person_is_not_touched(seen):
    assert seen.second.members["willy.loman@example.test"].status == "active"


def test_everything_is_done_once(seen):
    for name in ("invitations", "suspensions", "removals", "recoveries", "unsuspensions", "wipes"):
        assert set(seen.second.effects[name].values()) <= {1}, name

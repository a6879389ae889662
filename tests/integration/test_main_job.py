"""One pass, case by case (issue 2, point 3; behaviour.md §2 to §5 and §9). Many changes in one pass: `test_one_pass.py`."""

import json
import re
import time

import pytest

ADA = "ada.lovelace@example.test"
ALAN = "alan.turing@example.test"
COCO = "coco.chanel@example.test"
GRACE = "grace.hopper@example.test"
HEDY = "hedy.lamarr@example.test"
LINUS = "linus.pauling@example.test"


def test_an_invited_member_is_updated_only_after_joining(world):
    world.ok("run")
    world.forget_exchanges()
    world.admin.modify("Ada Lovelace", sn="King")
    done = world.ok("run")
    assert world.writes() == []
    assert world.status()["pending"]["waiting"] == 1
    world.check_exit_line(0, done)
    world.console("accept", ADA)
    world.ok("run")
    assert world.members()[ADA].surname == "King"
    assert world.status()["pending"]["waiting"] == 0


def test_who_leaves_waits_for_the_settling_time_within_the_same_run(settled):
    settled.configure(users={"leave_settle_seconds": 3})
    settled.admin.remove_members("Dropbox", "Hedy Lamarr")
    started = time.monotonic()
    settled.ok("run")
    assert settled.states()[HEDY] == "suspended"
    assert time.monotonic() - started >= 3


def test_who_is_back_before_the_settling_time_is_over_is_never_touched(settled, tools):
    settled.configure(users={"leave_settle_seconds": 4})
    settled.admin.remove_members("Dropbox", "Hedy Lamarr")
    run = settled.start("run")
    tools.wait_until(lambda: "changes_read" in run.err, "the leaver was seen")
    settled.admin.add_members("Dropbox", "Hedy Lamarr")
    assert run.wait() == 0
    assert settled.writes() == []
    assert settled.status()["pending"]["waiting"] == 0


def test_the_invitation_of_a_leaver_is_revoked(world):
    world.ok("run")
    world.admin.remove_members("Dropbox", "Hedy Lamarr")
    world.admin.disable("Ada Lovelace")
    world.admin.delete("Coco Chanel")
    world.ok("run")
    present = world.members(removed=False)
    assert not {HEDY, ADA, COCO} & set(present)
    assert not world.effects()["suspensions"]


def test_the_invitation_of_a_leaver_stays_when_so_configured(world):
    world.configure(users={"invited_leavers": "keep"})
    world.ok("run")
    world.forget_exchanges()
    world.admin.remove_members("Dropbox", "Hedy Lamarr")
    world.ok("run")
    assert world.states()[HEDY] == "invited"
    assert world.writes() == []


def test_two_people_with_one_email_are_skipped_and_reported(world):
    world.admin.modify("Alan Turing", mail=ADA)
    done = world.ok("run")
    assert not {ADA, ALAN} & set(world.members())
    assert done.err.count("same e-mail") >= 2


# --- who is managed


def test_with_manage_existing_off_an_existing_member_is_never_touched(world):
    world.configure(users={"manage_existing": False})
    world.console("add", ADA, given_name="A", surname="L")
    world.console("accept", ADA)
    world.admin.modify("Ada Lovelace", sn="King")
    world.ok("run")
    world.admin.disable("Ada Lovelace")
    world.ok("run")
    member = world.members()[ADA]
    assert (member.status, member.given_name, member.external_id) == ("active", "A", None)


def test_a_member_that_nobody_in_the_directory_matches_is_never_touched(settled):
    settled.console("add", "guest@elsewhere.test")
    settled.console("accept", "guest@elsewhere.test")
    settled.ok("run", "--full")
    assert settled.states()["guest@elsewhere.test"] == "active"
    assert settled.writes() == []


def test_losing_the_journal_loses_nothing_but_history(settled):
    for file in settled.folder.glob("journal.db*"):
        if file.is_file():
            file.unlink()
    settled.ok("run")
    assert settled.writes() == []
    settled.admin.disable("Ada Lovelace")
    settled.ok("run")
    assert settled.states()[ADA] == "suspended"


def test_changes_made_in_the_console_are_overridden_by_a_pass_and_told(settled):
    settled.console("suspend", ADA)
    settled.console("rename", ALAN, "Al", "T")
    settled.ok("run", "--full")
    assert settled.states()[ADA] == "active"
    assert settled.members()[ALAN].given_name == "Alan"
    (mail,) = settled.mailbox.wait_for_blocking(1)
    assert ADA in mail.text
    assert "disable the person in the directory" in mail.text


# --- exclusions


def test_excluded_people_are_never_touched(world):
    world.admin.create_group("Hands Off", members=["Alan Turing"])
    world.configure(users={"exclude_emails": ["ada.*@example.test"], "exclude_group": "Hands Off"})
    world.ok("run")
    assert not {ADA, ALAN} & set(world.members())
    assert GRACE in world.members()


def test_an_excluded_member_keeps_the_account_when_disabled_deleted_or_leaving(settled):
    settled.admin.create_group("Hands Off", members=["Alan Turing", "Hedy Lamarr"])
    settled.configure(users={"exclude_emails": [ADA, COCO], "exclude_group": "Hands Off"})
    settled.ok("run")
    settled.admin.disable("Ada Lovelace")
    settled.admin.delete("Coco Chanel")
    settled.admin.disable("Alan Turing")
    settled.admin.remove_members("Dropbox", "Hedy Lamarr")
    settled.ok("run")
    assert settled.statuses(ADA, COCO, ALAN, HEDY) == ["active"] * 4
    assert settled.writes() == []


def test_a_member_excluded_by_group_keeps_the_account_when_deleted(settled):
    settled.admin.create_group("Hands Off", members=["Alan Turing"])
    settled.configure(users={"exclude_group": "Hands Off"})
    settled.ok("run")
    settled.admin.delete("Alan Turing")
    settled.ok("run")
    assert settled.states()[ALAN] == "active"


def test_an_exclusion_group_that_is_missing_ends_the_pass_with_minus_10(settled):
    settled.configure(users={"exclude_group": "Nowhere"})
    settled.admin.disable("Ada Lovelace")
    done = settled("run")
    settled.check_exit_line(-10, done)
    assert "users.exclude_group" in done.err
    assert settled.writes() == []


# --- seats


def test_without_free_seats_people_wait_and_get_one_when_it_is_freed(make_world):
    world = make_world(seats=9)  # the admin and eight of ten
    done = world("run")
    world.check_exit_line(0, done)
    assert len(world.members()) == 8
    assert world.status()["pending"]["waiting"] == 2
    (mail,) = world.mailbox.wait_for_blocking(1)
    assert "no free seat" in mail.text
    assert "2 people" in mail.text
    world.ok("run")
    assert len(world.mailbox.received) == 1, "one alert, whatever the number of passes"
    world.inside(lambda: setattr(world.team.team, "seats", 10))
    world.ok("run")
    assert len(world.members()) == 9
    world.inside(lambda: setattr(world.team.team, "seats", 50))
    world.ok("run")
    assert len(world.members()) == 10
    assert set(world.effects()["invitations"].values()) == {1}


def test_a_leaver_frees_the_seat_for_who_waits_in_the_same_run(make_world, tools):
    world = make_world(seats=10)  # the admin and nine of ten
    world("run")
    (waiting,) = tools.standard_emails() - set(world.members())
    leaver = HEDY if waiting != HEDY else ADA
    world.admin.delete("Hedy Lamarr" if leaver == HEDY else "Ada Lovelace")
    world.ok("run")
    assert set(world.members(removed=False)) == tools.standard_emails() - {leaver}


# --- the last admin


def test_the_authorising_admin_is_never_suspended_and_the_others_go_on(settled):
    settled.admin.create_user("Ines Admin", given_name="Ines", surname="Admin", mail="it-admin@example.test")
    settled.admin.add_members("Dropbox", "Ines Admin")
    settled.ok("run")
    settled.admin.remove_members("Dropbox", "Ines Admin", "Hedy Lamarr")
    done = settled("run")
    settled.check_exit_line(-17, done)
    assert settled.states()[HEDY] == "suspended"
    admin = settled.inside(
        lambda: next(one for one in settled.team.team.members if one.email == "it-admin@example.test")
    )
    assert admin.status == "active"
    (mail,) = settled.mailbox.wait_for_blocking(1)
    assert "admin" in mail.text


# --- plan and simulation


def test_the_first_pass_sends_exactly_what_the_plan_listed_and_the_team_equals_the_sync_group(world, tools):
    world.console("add", ADA, given_name="A", surname="L")
    world.console("accept", ADA)
    plan = world.ok("plan", "--format", "json").json
    assert world.writes() == []
    assert LINUS in world.ok("plan").out.replace("\n", "")
    file = world.folder / "plan.json"
    world.ok("plan", "--format", "json", "--out", file)
    assert json.loads(file.read_text())["summary"] == plan["summary"] == {"invite": 9, "update": 1}
    assert file.stat().st_mode & 0o077 == 0
    _check_shape(plan, world)

    done = world.ok("run")
    world.check_exit_line(0, done)
    assert world.sent() == tools.planned(plan)
    members = world.members()
    assert set(members) == tools.standard_emails()
    adopted, alan = members[ADA], members[ALAN]
    assert (adopted.status, alan.status) == ("active", "invited")
    assert (adopted.given_name, adopted.surname) == ("Ada", "Lovelace")
    for member, name in ((adopted, "Ada Lovelace"), (alan, "Alan Turing")):
        assert member.external_id == f"ad-guid:{world.admin.guid(name)}"
    assert set(world.effects()["invitations"].values()) == {1}
    assert set(world.effects()["welcome_mails"].values()) == {1}

    world.forget_exchanges()
    done = world.ok("run")
    world.check_exit_line(0, done)
    assert world.writes() == [], "a second run sends no write"
    world.ok("run", "--full")
    assert world.exchanges("team/members/list_v2")
    assert world.writes() == [], "nor does a full comparison"


def _check_shape(plan, world):
    assert plan["plan"].startswith("sha256:")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", plan["created"])
    assert plan["simulation"] is True
    assert plan["held"] == []
    assert plan["errors"] == []
    row = next(row for row in plan["actions"] if row["email"] == LINUS)
    assert set(row) >= {"action", "email", "guid", "reason", "detail"}
    assert (row["action"], row["guid"]) == ("invite", world.admin.guid("Linus Pauling"))
    assert "Dropbox" in row["reason"]
    assert "Platform Team" in row["reason"]
    skipped = {row["guid"]: row for row in plan["skipped"]}
    nikola = skipped[world.admin.guid("Nikola Tesla")]
    assert set(nikola) >= {"email", "guid", "dn", "reason"}
    assert "e-mail" in nikola["reason"]
    assert nikola["dn"].startswith("CN=Nikola Tesla,")


def test_plan_beside_a_running_watch(settled):
    watch = settled.watch()
    assert settled.ok("plan", "--format", "json").json["actions"] == []
    assert watch.terminate() == 0


def test_simulation_writes_nothing_and_the_first_real_pass_is_full(world, tools):
    world.configure(simulation=True)
    done = world.ok("run")
    world.check_exit_line(0, done)
    assert LINUS in done.out.replace("\n", "")
    assert world.writes() == []
    status = world.status()
    assert status["last_pass"]["simulated"] is True
    assert status["managed"] == 0
    assert status["checkpoint"] is None
    told = world.ok("explain", ADA).out
    assert "only simulated passes have run" in told
    assert "set simulation = false" in told
    assert "after that  invite: in sync group Dropbox via Engineering Team" in told
    world.configure(simulation=False)
    world.forget_exchanges()
    world.ok("run")
    assert "only simulated" not in world.ok("explain", ADA).out
    assert not world.journal_file.with_name(f"{world.journal_file.name}.simulated").exists()
    assert world.exchanges("team/members/list_v2"), "a full comparison lists the team"
    assert set(world.members()) == tools.standard_emails()


def test_simulate_on_the_command_line_changes_no_state_of_real_passes(settled):
    before = settled.status()
    settled.admin.disable("Ada Lovelace")
    done = settled.ok("run", "--simulate")
    assert ADA in done.out.replace("\n", "")
    assert settled.writes() == []
    after = settled.status()
    assert after["last_pass"]["simulated"] is True
    assert after["last_pass"]["actions"] == {"suspend": 1}
    for part in ("managed", "by_status", "pending", "checkpoint"):
        assert after[part] == before[part]
    settled.ok("run")
    assert settled.states()[ADA] == "suspended"


@pytest.mark.parametrize("arguments", [("approve", "123456789abc"), ("retry", "--failed"), ("watch",)])
def test_what_writes_refuses_while_simulation_is_on(world, arguments):
    world.configure(simulation=True)
    done = world(*arguments)
    assert done.code == -10
    assert "simulation" in done.err
    assert world.writes() == []

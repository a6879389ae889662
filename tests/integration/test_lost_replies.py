"""A reply that is lost or spoilt: read back, settled, counted once (behaviour.md §7)."""

import pytest

ADA = "ada.lovelace@example.test"
ALAN = "alan.turing@example.test"
COCO = "coco.chanel@example.test"
GRACE = "grace.hopper@example.test"
HEDY = "hedy.lamarr@example.test"
KATHERINE = "katherine.johnson@example.test"
WRITES = ("add_v2", "set_profile_v2", "suspend", "unsuspend", "remove", "recover")


def _make_changes(world):
    """One of each kind of write."""
    world.console("suspend", GRACE)
    world.console("remove", HEDY)
    world.admin.add_members("Dropbox", "Katherine Johnson")
    world.admin.modify("Ada Lovelace", sn="King")
    world.admin.disable("Alan Turing")
    world.admin.delete("Coco Chanel")


def _check_changes(world, before):
    members = world.members()
    assert world.statuses(KATHERINE, ADA, ALAN, COCO, GRACE, HEDY) == [
        "invited",
        "active",
        "suspended",
        "removed",
        "active",
        "active",
    ]
    assert members[ADA].surname == "King"
    effects = world.effects()
    assert effects["welcome_mails"] == {KATHERINE: 1}
    assert effects["invitations"][KATHERINE] == 1
    for name, email in (
        ("suspensions", ALAN),
        ("removals", COCO),
        ("unsuspensions", GRACE),
        ("recoveries", HEDY),
    ):
        identity = members[email].id
        assert effects[name][identity] - before[name].get(identity, 0) == 1, name
    assert effects["wipes"] == {members[ALAN].id: 1, members[COCO].id: 1}
    assert (
        effects["profile_changes"].get(members[ADA].id, 0) - before["profile_changes"].get(members[ADA].id, 0)
        == 1
    )


@pytest.mark.parametrize("kind", ["drop_after", "500_after", "truncated_json", "drop_before", "429", "503"])
def test_every_kind_of_write_is_counted_once_whatever_becomes_of_the_reply(settled, kind):
    _make_changes(settled)
    before = settled.effects()
    faults = [settled.fault(kind, f"team/members/{route}") for route in WRITES]
    settled.ok("run", "--full")
    assert [fault.hits for fault in faults] == [1] * len(WRITES)
    _check_changes(settled, before)
    if kind == "drop_after":
        settled.forget_exchanges()
        settled.ok("run", "--full")
        assert settled.writes() == []


def test_invitations_and_removals_that_dropbox_makes_a_job_of_are_waited_for(settled):
    _make_changes(settled)
    before = settled.effects()
    faults = [settled.fault("async", f"team/members/{route}") for route in ("add_v2", "remove")]
    settled.ok("run", "--full")
    assert [fault.hits for fault in faults] == [1, 1]
    _check_changes(settled, before)


def test_a_reply_that_never_comes_is_given_up_and_read_back(settled):
    settled.configure(dropbox={"timeout_seconds": 2})
    settled.fault("timeout_after", "team/members/suspend")
    settled.admin.disable("Ada Lovelace")
    settled.ok("run")
    assert settled.states()[ADA] == "suspended"
    assert list(settled.effects()["wipes"].values()) == [1]


def test_when_reading_back_fails_too_the_next_run_settles_it(settled):
    settled.admin.disable("Ada Lovelace")
    settled.fault("drop_after", "team/members/suspend")
    settled.fault("500_before", "team/members/get_info_v2", skip=1, count=None)
    done = settled("run")
    assert done.code in (-16, -17), done.err
    settled.no_more_faults()
    settled.forget_exchanges()
    settled.ok("run")
    assert settled.writes() == []
    assert settled.states()[ADA] == "suspended"
    assert list(settled.effects()["wipes"].values()) == [1]
    assert settled.status()["pending"] == {"waiting": 0, "retry": 0, "failed": 0, "held": 0}


def test_one_bad_person_never_stops_the_others(settled):
    settled.inside(lambda: settled.team.team.forced_add_results.update({KATHERINE: "user_already_paired"}))
    settled.admin.add_members("Dropbox", "Katherine Johnson")
    settled.admin.enable("Rosalind Franklin")
    settled.admin.disable("Ada Lovelace")
    done = settled("run")
    settled.check_exit_line(-17, done)
    assert settled.states()["rosalind.franklin@example.test"] == "invited"
    assert settled.states()[ADA] == "suspended"
    (mail,) = settled.mailbox.wait_for_blocking(1)
    assert KATHERINE in mail.text
    assert settled.status()["pending"]["failed"] == 1
    settled.inside(settled.team.team.forced_add_results.clear)
    settled.ok("retry", "--failed")
    settled.ok("run")
    assert settled.states()[KATHERINE] == "invited"


def test_rate_limits_slow_down_and_lose_nobody(make_world):
    from sandbox.team.config import RateLimit

    world = make_world(people=40)
    world.configure(users={"send_welcome_email": False})
    world.inside(lambda: world.team.engine.limiter.set(RateLimit(per_second=2, burst=2)))
    world.ok("run")
    assert set(world.effects()["invitations"].values()) == {1}
    assert len(world.members()) == 50

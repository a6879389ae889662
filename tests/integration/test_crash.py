"""`kill -9` at any moment loses nothing and does nothing twice (issue 2, point 4). The simulator's own counts are the witness."""

import pytest

ADD = "team/members/add_v2"
SUSPEND = "team/members/suspend"


def _check_200_invitations(world):
    effects = world.effects()
    assert len(effects["invitations"]) == 200
    assert set(effects["invitations"].values()) == {1}
    assert len(effects["welcome_mails"]) == 200
    assert set(effects["welcome_mails"].values()) == {1}
    assert len(world.members()) == 200


def _killed_run(world, tools, is_reached):
    run = world.start("run")
    tools.wait_until(lambda: is_reached() or not run.is_alive, lambda: f"the moment: {run.err}", seconds=40)
    assert run.is_alive, run.err
    run.kill()


@pytest.mark.parametrize("moment", ["between requests", "effect but no reply", "before the effect"])
def test_killed_in_200_invitations_the_next_run_sends_each_exactly_once(make_world, tools, moment):
    world = make_world(people=190)
    if moment == "between requests":
        world.fault("delay_after", ADD, seconds=0.05, count=None)
        _killed_run(world, tools, lambda: len(world.exchanges(ADD)) >= 5)
    elif moment == "effect but no reply":
        world.fault("delay_after", ADD, seconds=20.0, skip=3, count=None)
        _killed_run(world, tools, lambda: len(world.exchanges(ADD)) >= 5)
    else:
        fault = world.fault("delay", ADD, seconds=1.5, skip=2, count=1)
        _killed_run(world, tools, lambda: fault.hits)
    world.no_more_faults()
    assert len(world.members()) < 200
    world.ok("run")
    _check_200_invitations(world)
    world.forget_exchanges()
    world.ok("run")
    assert world.writes() == []
    status = world.status()
    assert status["managed"] == 200
    assert status["by_status"] == {"invited": 200}


def test_killed_again_and_again_the_last_run_still_ends_with_200(make_world, tools):
    world = make_world(people=190)
    for round_number in range(3):
        world.fault("drop_after", ADD, skip=1)
        world.fault("delay_after", ADD, seconds=20.0, skip=1)
        # The dropped reply is read back, and the one that hangs has had its effect.
        seen = len(world.exchanges(ADD))
        _killed_run(world, tools, lambda seen=seen: len(world.exchanges(ADD)) >= seen + 3)
        world.no_more_faults()
        assert len(world.members()) < 200, round_number
    world.ok("run")
    _check_200_invitations(world)


def test_killed_before_the_first_plan_is_sent_the_directory_is_not_lost(make_world, tools):
    world = make_world()
    world.fault("delay", "team/members/list_v2", seconds=20.0)
    run = world.start("run")
    tools.wait_until(lambda: "full_read" in run.err, lambda: run.err)
    run.kill()
    world.no_more_faults()
    world.ok("run")
    assert set(world.members()) == tools.standard_emails()


@pytest.mark.parametrize("moment", ["between requests", "effect but no reply"])
def test_killed_in_12_suspensions_nobody_is_wiped_twice(make_world, tools, moment):
    world = make_world(people=20)
    world.configure(safety={"max_leavers": 15})
    world.ok("run")
    world.accept_all()
    world.ok("run")
    leavers = [f"Person {number:06d}" for number in range(1, 13)]
    for leaver in leavers:
        world.admin.disable(leaver)
    if moment == "between requests":
        world.fault("delay_after", SUSPEND, seconds=0.05, count=None)
        _killed_run(world, tools, lambda: len(world.exchanges(SUSPEND)) >= 5)
    else:
        world.fault("delay_after", SUSPEND, seconds=20.0, skip=3, count=None)
        _killed_run(world, tools, lambda: len(world.exchanges(SUSPEND)) >= 6)
    world.no_more_faults()
    world.ok("run")
    effects = world.effects()
    assert len(effects["wipes"]) == len(effects["suspensions"]) == 12
    assert set(effects["wipes"].values()) == set(effects["suspensions"].values()) == {1}
    assert sorted(world.states().values()).count("suspended") == 12


def test_a_killed_watch_is_taken_up_by_the_next(settled, tools):
    watch = settled.watch()
    settled.fault("delay_after", "team/members/suspend", seconds=20.0)
    settled.admin.disable("Ada Lovelace")
    tools.wait_until(lambda: settled.exchanges(SUSPEND), "the suspension is under way")
    watch.kill()
    settled.admin.modify("Alan Turing", sn="Mathison")
    watch = settled.watch()
    assert watch.terminate() == 0
    assert settled.members()["alan.turing@example.test"].surname == "Mathison"
    assert list(settled.effects()["wipes"].values()) == [1]

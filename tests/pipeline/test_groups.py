"""Groups through the whole pipeline, between doubles: behaviour.md §6 as passes show it."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from pipeline.core.exits import ExitCode
from pipeline.core.plan import NoteKind
from pipeline.errors import TeamReadError
from pipeline.model import ActionKind, Status, TeamEvent
from tests.pipeline.group_world import in_group, nest, notes, settled, writes
from tests.pipeline.world import World

pytestmark = pytest.mark.anyio

Make = Callable[..., World]


@pytest.fixture
def same(new_world: Make) -> World:
    return new_world(groups={"mode": "same"}, users={"leave_settle_seconds": 0})


# --- the main job -------------------------------------------------------------------------------------------


async def test_created_and_filled_in_one_pass_with_those_who_were_invited_in_it(same: World) -> None:
    nest(same, "Sales", "ann", "bob")
    summary = await same.run()
    assert summary.code is ExitCode.OK
    assert in_group(same, "Sales") == ["ann", "bob"]
    assert summary.actions["group_create"] == summary.actions["group_add"] == 1
    assert writes(same) == {"group_create": 1, "group_add": 1, "list_groups": 1}
    same.team.requests.clear()
    await same.run()
    assert writes(same) == {}


async def test_nested_groups_are_flattened_into_each(same: World) -> None:
    sales = nest(same, "Sales", "ann")
    nest(same, "Europe", "bob", below=sales)
    await same.run()
    assert in_group(same, "Sales") == ["ann", "bob"]
    assert in_group(same, "Europe") == ["bob"]


async def test_one_person_more_costs_one_request_and_no_list(same: World) -> None:
    sales = nest(same, "Sales", "ann")
    await settled(same)
    same.person("bob", groups=[sales])
    await same.run()
    assert writes(same) == {"group_add": 1}
    assert in_group(same, "Sales") == ["ann", "bob"]


async def test_who_left_the_group_leaves_and_who_left_the_scope_is_suspended_and_leaves(same: World) -> None:
    sales = nest(same, "Sales", "ann", "bob", "cid")
    await settled(same)
    ann, bob = (member for member in same.directory.living_members(sales)[:2])
    same.directory.add_member(same.group, ann)
    same.directory.remove_members(sales, ann, bob)
    await same.run()
    assert in_group(same, "Sales") == ["cid"]
    assert [same.status(one) for one in ("ann", "bob")] == ["active", "suspended"]
    assert writes(same) == {"group_remove": 1}


async def test_who_is_deleted_is_not_taken_out_twice(same: World) -> None:
    sales = nest(same, "Sales", "ann", "bob")
    await settled(same)
    same.directory.delete(same.directory.living_members(sales)[0])
    await same.run()
    assert in_group(same, "Sales") == ["bob"]
    assert "group_remove" not in writes(same)
    await same.run(full=True)
    assert "group_remove" not in writes(same)


async def test_a_leaver_stays_in_the_group_until_the_leaving_has_settled(new_world: Make) -> None:
    world = new_world(groups={"mode": "same"}, users={"leave_settle_seconds": 60})
    sales = nest(world, "Sales", "ann", "bob")
    await settled(world)
    ann = world.directory.living_members(sales)[0]
    world.directory.remove_member(sales, ann)
    world.clock.on_sleep.append(lambda: world.directory.add_member(sales, ann))
    await world.run()
    assert in_group(world, "Sales") == ["ann", "bob"]
    assert "group_remove" not in writes(world)


async def test_a_disabled_person_is_suspended_and_stays(same: World) -> None:
    sales = nest(same, "Sales", "ann", "bob")
    await settled(same)
    same.directory.disable(same.directory.living_members(sales)[0])
    await same.run()
    assert same.status("ann") == "suspended"
    assert in_group(same, "Sales") == ["ann", "bob"]


async def test_who_waits_for_a_seat_comes_in_once_invited(same: World) -> None:
    nest(same, "Sales", "ann", "bob")
    same.team.seats = 2  # the admin has one
    summary = await same.run()
    assert in_group(same, "Sales") == ["ann"]
    assert summary.code is ExitCode.OK
    same.team.seats = 9
    await same.run()
    assert in_group(same, "Sales") == ["ann", "bob"]


# --- failures -----------------------------------------------------------------------------------------------


async def test_a_group_with_somebody_skipped_fails_by_name_and_the_others_go_on(same: World) -> None:
    sales = nest(same, "Sales", "ann")
    nest(same, "Tech", "bob")
    same.person("nik", mail="", groups=[sales])
    summary = await same.run()
    assert summary.code is ExitCode.SYNC
    assert in_group(same, "Sales") is None
    assert in_group(same, "Tech") == ["bob"]
    assert same.status("ann") == "invited"
    assert "nik" in notes(same, NoteKind.GROUP_FAILED)["Sales"]
    assert any("Sales" in line for alert in summary.alerts for line in alert.lines)
    nik = same.directory.living_members(sales)[-1]
    same.directory.modify(nik, mail="nik@example.test")
    summary = await same.run()
    assert summary.code is ExitCode.OK
    assert in_group(same, "Sales") == ["ann", "nik"]


async def test_two_groups_of_one_name_fail_and_neither_is_changed(same: World) -> None:
    nest(same, "Sales", "ann")
    await settled(same)
    same.team.groups.create("Tech", "")
    nest(same, "TECH", "bob")
    summary = await same.run()
    assert int(summary.code) == -17
    assert in_group(same, "Tech") == []
    assert "Tech" in notes(same, NoteKind.GROUP_FAILED)["TECH"]
    assert in_group(same, "Sales") == ["ann"]


async def test_adopt_existing_takes_the_group_over_with_whom_it_has(new_world: Make) -> None:
    world = new_world(groups={"mode": "same", "adopt_existing": True})
    made = world.team.groups.create("sales", "").group
    assert made is not None
    stranger = world.team.add("zoe@example.test").member_id
    world.team.groups.add(made.group_id, [stranger], world.team.members)
    guid = nest(world, "Sales", "ann")
    summary = await world.run()
    assert summary.code is ExitCode.OK
    assert in_group(world, "Sales") == ["ann", "zoe"]
    assert world.team.groups.groups[made.group_id].external_id == f"ad-guid:{guid}"


async def test_an_empty_or_missing_group_sync_group_fails_the_groups_only(new_world: Make) -> None:
    world = new_world(groups={"mode": "separate", "sync_group": "Groups"})
    world.people("ann")
    summary = await world.run()
    assert int(summary.code) == -17
    assert world.status("ann") == "invited"
    assert "Groups" in notes(world, NoteKind.GROUP_FAILED)
    groups = world.directory.create_group("Groups")
    assert int((await world.run()).code) == -17  # there, but empty
    nest(world, "Apollo", below=groups)
    assert (await world.run()).code is ExitCode.OK
    assert in_group(world, "Apollo") == []


# --- names --------------------------------------------------------------------------------------------------


async def test_created_renamed_and_filled_in_one_pass_with_a_name_that_another_frees(same: World) -> None:
    old = nest(same, "Sales", "ann")
    await settled(same)
    before = {group.external_id: group_id for group_id, group in same.team.groups.groups.items()}
    same.directory.rename(old, "Marketing")
    nest(same, "Sales", "bob")
    summary = await same.run()
    assert summary.code is ExitCode.OK
    assert (in_group(same, "Marketing"), in_group(same, "Sales")) == (["ann"], ["bob"])
    assert same.team.groups.groups[before[f"ad-guid:{old}"]].name == "Marketing"


# --- leaving ------------------------------------------------------------------------------------------------


async def test_on_leave_keep_leaves_the_group_as_it_is_and_says_so_once(same: World) -> None:
    sales = nest(same, "Sales")
    ann = same.person("ann")
    same.directory.add_member(sales, ann)
    await settled(same)
    same.directory.remove_member(same.group, sales)
    summary = await same.run()
    assert summary.code is ExitCode.OK
    assert in_group(same, "Sales") == ["ann"]
    assert "Sales" in notes(same, NoteKind.GROUP_KEPT)
    await same.run()
    assert notes(same, NoteKind.GROUP_KEPT) == {}
    same.directory.add_member(same.group, sales)
    await same.run()
    assert len(same.team.groups.groups) == 1


async def test_on_leave_delete_is_held_until_approved(new_world: Make) -> None:
    world = new_world(groups={"mode": "same", "on_leave": "delete"})
    sales = nest(world, "Sales")
    world.person("ann")
    await settled(world)
    world.directory.delete(sales)
    summary = await world.run()
    assert summary.code is ExitCode.BRAKE
    assert in_group(world, "Sales") == []
    [digest] = await world.held()
    assert await world.approve(digest) == 1
    assert int((await world.run()).code) == 0
    assert in_group(world, "Sales") is None


async def test_mode_off_lets_go_of_the_groups(new_world: Make) -> None:
    world = new_world(groups={"mode": "same"})
    nest(world, "Sales", "ann")
    await settled(world)
    world.config["groups"] = {"mode": "off"}
    summary = await world.run()
    assert summary.code is ExitCode.OK
    assert in_group(world, "Sales") == ["ann"]
    assert "Sales" in notes(world, NoteKind.GROUP_KEPT)
    assert writes(world) == {} or set(writes(world)) <= {"list_groups"}


# --- drift --------------------------------------------------------------------------------------------------


def event(world: World, kind: str, group_id: str, *, by_app: bool = False) -> None:
    world.team.log.append(TeamEvent(at=world.clock.now(), kind=kind, group_id=group_id, by_app=by_app))


async def test_what_the_console_changed_is_set_right_by_the_next_pass(same: World) -> None:
    """Somebody put in, somebody taken out, a group renamed, one deleted: a plain pass reads the log, and these groups."""
    nest(same, "Sales", "ann", "bob")
    nest(same, "Tech", "eve")
    nest(same, "Lab", "gus")
    nest(same, "Quiet", "hal")
    await settled(same)
    register = same.team.groups
    ids = {group.name: group_id for group_id, group in register.groups.items()}
    cid = same.team.add("cid@example.test", status=Status.ACTIVE)
    register.members[ids["Sales"]] = {
        *(one for one in register.members[ids["Sales"]] if one != same.member("ann").member_id),
        cid.member_id,
    }
    event(same, "group_remove_member", ids["Sales"])
    event(same, "group_add_member", ids["Sales"])
    register.groups[ids["Tech"]] = replace(register.groups[ids["Tech"]], name="Mine")
    event(same, "group_rename", ids["Tech"])
    register.groups.pop(ids["Lab"])
    register.members.pop(ids["Lab"])
    event(same, "group_delete", ids["Lab"])
    same.team.requests.clear()
    await same.run()
    assert in_group(same, "Sales") == ["ann", "bob", "cid"]  # Cid is nobody's business: not managed
    assert in_group(same, "Tech") == ["eve"]
    assert in_group(same, "Lab") == ["gus"]
    assert writes(same) == {
        "list_groups": 1, "list_group_members": 2,
        "group_create": 1, "group_rename": 1, "group_add": 2,
    }  # fmt: skip
    same.team.requests.clear()
    await same.run()
    assert writes(same) == {}


async def test_what_apps_did_is_no_drift_for_a_single_pass_and_a_dead_log_stops_nothing(
    same: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next process can't tell our own writes from another app's: it would list every group that was just filled."""
    nest(same, "Sales", "ann")
    await settled(same)
    event(same, "group_add_member", next(iter(same.team.groups.groups)), by_app=True)
    await same.run()
    assert writes(same) == {}

    async def dead(*_: object, **__: object) -> None:
        raise TeamReadError("reading the event log", "missing_scope")

    monkeypatch.setattr(same.team, "events", dead)
    assert (await same.run()).code is ExitCode.OK


async def test_what_the_console_changed_is_set_right_by_a_full_comparison(same: World) -> None:
    nest(same, "Sales", "ann", "bob")
    await settled(same)
    [group_id] = same.team.groups.groups
    ann, stranger = same.member("ann"), same.team.add("zoe@example.test")
    same.team.groups.remove(group_id, [ann.member_id], same.team.members)
    same.team.groups.add(group_id, [stranger.member_id], same.team.members)
    same.team.groups.rename(group_id, "Other", "")
    await same.run(full=True)
    assert in_group(same, "Sales") == ["ann", "bob", "zoe"]  # who is not managed is left alone


async def test_a_synced_group_deleted_in_dropbox_is_created_again(same: World) -> None:
    sales = nest(same, "Sales", "ann")
    await settled(same)
    [group_id] = same.team.groups.groups
    same.team.groups.delete(group_id)
    same.person("bob", groups=[sales])
    summary = await same.run()  # told by the refusal of the next write
    assert summary.code is ExitCode.OK
    assert in_group(same, "Sales") == ["ann", "bob"]


# --- the brake ----------------------------------------------------------------------------------------------


async def test_the_brake_counts_group_remove_per_group(new_world: Make) -> None:
    world = new_world(
        groups={"mode": "same"},
        safety={"max_leavers": "5%", "min_leavers_allowed": 2},
        users={"leave_settle_seconds": 0},
    )
    sales = nest(world, "Sales", *(f"s{n}" for n in range(6)))
    tech = nest(world, "Tech", *(f"t{n}" for n in range(100)))
    await settled(world)
    people = world.directory.living_members(sales)
    world.directory.add_members(world.group, *people)
    world.directory.remove_members(sales, *people[:3])
    world.directory.remove_members(tech, world.directory.living_members(tech)[0])
    summary = await world.run()
    assert int(summary.code) == -18
    assert len(in_group(world, "Sales") or []) == 6
    assert [held.wanted for held in summary.held] == [3]
    [digest] = await world.held()
    assert await world.approve(digest) == 3
    summary = await world.run()
    assert int(summary.code) == 0
    assert len(in_group(world, "Sales") or []) == 3


async def test_the_brake_counts_group_remove_over_all_groups(new_world: Make) -> None:
    world = new_world(groups={"mode": "same"}, safety={"max_leavers": 5})
    groups = [nest(world, f"G{n}", *(f"p{n}x{m}" for m in range(6))) for n in range(4)]
    await settled(world)
    for guid in groups:
        people = world.directory.living_members(guid)
        world.directory.add_members(world.group, *people)
        world.directory.remove_members(guid, *people[:2])
    summary = await world.run()
    assert int(summary.code) == -18
    assert [held.wanted for held in summary.held] == [8]
    assert all(len(in_group(world, f"G{n}") or []) == 6 for n in range(4))


# --- trouble on the way -------------------------------------------------------------------------------------


@pytest.mark.parametrize("lost", ["before", "after"])
@pytest.mark.parametrize("kind", [ActionKind.GROUP_CREATE, ActionKind.GROUP_ADD])
async def test_a_lost_reply_is_read_back_and_nothing_happens_twice(
    same: World, kind: ActionKind, lost: str
) -> None:
    nest(same, "Sales", "ann", "bob")
    same.team.break_next(kind, lost=lost)
    summary = await same.run()
    assert summary.code is ExitCode.OK
    assert in_group(same, "Sales") == ["ann", "bob"]
    assert len(same.team.groups.groups) == 1
    assert await same.states() == {}


async def test_a_refused_name_fails_the_group_alone(same: World) -> None:
    nest(same, "Sales", "ann")
    nest(same, "Tech", "bob")
    same.team.break_next(ActionKind.GROUP_CREATE, tag="group_name_invalid")
    summary = await same.run()
    assert int(summary.code) == -17
    assert len(same.team.groups.groups) == 1
    await same.run()
    assert len(same.team.groups.groups) == 1  # it stays failed until somebody changes something


async def test_the_plan_shows_groups_and_a_real_pass_does_just_that(
    same: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    guid = nest(same, "Sales", "ann", "bob")
    simulated = await same.simulate(monkeypatch)
    rows = [row for row in simulated.plan["actions"] if row["action"].startswith("group")]
    assert [(row["action"], row["group"], row["group_guid"]) for row in rows] == [
        ("group_create", "Sales", guid),
        ("group_add", "Sales", guid),
    ]
    assert sorted(rows[1]["emails"]) == ["ann@example.test", "bob@example.test"]
    assert simulated.plan["summary"] == {"invite": 2, "group_create": 1, "group_add": 1}
    assert same.team.groups.groups == {}
    summary = await same.run()
    assert summary.actions == simulated.plan["summary"]


@pytest.mark.parametrize("after_effect", [False, True])
async def test_a_crash_anywhere_ends_in_the_same_groups(new_world: Make, *, after_effect: bool) -> None:
    """A group created, one renamed, one person in and one out: killed at every border that is crossed."""
    at, died = 0, True
    while died:
        at += 1
        world = new_world(groups={"mode": "same"}, users={"leave_settle_seconds": 0})
        tech = nest(world, "Tech", "eve", "fay")
        await world.run()
        people = world.directory.living_members(tech)
        world.directory.rename(tech, "Engineering")
        world.directory.remove_member(tech, people[0])
        world.directory.add_member(world.group, people[0])
        world.person("gus", groups=[tech])
        nest(world, "Sales", "ann", "bob")
        died = await world.run_and_die(at, after_effect=after_effect)
        where = f"{world.gate.died_in} at {at}"
        await world.run()
        assert (in_group(world, "Sales"), in_group(world, "Engineering")) == (
            ["ann", "bob"],
            ["fay", "gus"],
        ), where
        assert len(world.team.groups.groups) == 2, where
        assert await world.states() == {}, where

"""`apply`, `run --only`, `undo` and `replay` for groups, between doubles."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from pipeline.app.policies import group_options_of, planner_options_of
from pipeline.app.report import PassSummary
from pipeline.app.requests import Requests
from pipeline.app.reversal import plan_undo, replay, write_undo
from pipeline.app.selected import outcome_of_rows, parse_plan, select_person, select_rows
from pipeline.core.exits import ExitCode
from pipeline.errors import ControlError
from pipeline.model import Json
from stages.groups.planner import GroupPlanner
from stages.people.planner import Planner
from tests.pipeline.group_world import in_group, nest, settled, writes
from tests.pipeline.test_live import HeldClock, watching
from tests.pipeline.world import World

pytestmark = pytest.mark.anyio

Make = Callable[..., World]


@pytest.fixture
def same(new_world: Make) -> World:
    return new_world(groups={"mode": "same"}, users={"leave_settle_seconds": 0})


async def run(world: World, *, full: bool = False) -> PassSummary:
    """A minute after the pass before: which pass did what is told by the time."""
    world.clock.turn(minutes=1)
    return await world.run(full=full)


async def saved(world: World, monkeypatch: pytest.MonkeyPatch) -> str:
    return json.dumps((await world.simulate(monkeypatch)).plan)


async def apply(world: World, document: str) -> list[Json]:
    """What became of each row that is about a group."""
    rows = parse_plan(document, "the plan")
    world.clock.turn(minutes=1)
    async with world.open() as assembly:

        async def select() -> Any:
            return select_rows(rows)

        began = world.clock.now()
        await assembly.engine.run(select=select)
        told = await outcome_of_rows(assembly.parts.journal, rows, began)
    return [row for row in told["rows"] if row["action"].startswith("group_")]


async def only(world: World, who: str) -> PassSummary:
    world.clock.turn(minutes=1)
    async with world.open() as assembly:

        async def select() -> Any:
            return await select_person(assembly.parts.journal, who)

        return await assembly.engine.run(select=select)


async def undo(world: World) -> Any:
    """Of the last pass."""
    world.clock.turn(minutes=1)
    assert world.summary is not None
    journal = await world.open_journal()
    try:
        planned = await plan_undo(journal, world.summary.id, world.clock.now())
        await write_undo(journal, planned, world.summary.id, world.clock.now())
    finally:
        await journal.close()
    return planned


# --- apply --------------------------------------------------------------------------------------------------


async def test_a_saved_plan_makes_fills_and_renames_groups(
    same: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    tech = nest(same, "Tech", "eve")
    await settled(same)
    nest(same, "Sales", "ann", "bob")
    same.directory.rename(tech, "Engineering")
    told = await apply(same, await saved(same, monkeypatch))
    assert {(row["action"], row["group"], row["state"]) for row in told} == {
        ("group_create", "Sales", "applied"),
        ("group_add", "Sales", "applied"),
        ("group_rename", "Engineering", "applied"),
    }
    assert (in_group(same, "Sales"), in_group(same, "Engineering")) == (["ann", "bob"], ["eve"])
    assert await same.states() == {}


async def test_a_row_is_stale_for_whom_it_no_longer_holds_and_what_came_later_is_left_to_the_next_pass(
    same: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    sales = nest(same, "Sales", "ann")
    await settled(same)
    bob = same.person("bob", groups=[sales])
    same.person("cid", groups=[sales])
    document = await saved(same, monkeypatch)
    same.directory.remove_member(sales, bob)
    same.directory.add_member(same.group, bob)
    same.person("dan", groups=[sales])
    nest(same, "Tech", "eve")
    told = await apply(same, document)
    assert [(row["state"], row["emails"]) for row in told] == [
        ("stale", ["bob@example.test"]),
        ("applied", ["cid@example.test"]),
    ]
    assert "make a new plan" in told[0]["why"]
    assert in_group(same, "Sales") == ["ann", "cid"]
    assert in_group(same, "Tech") is None
    await run(same)
    assert in_group(same, "Sales") == ["ann", "cid", "dan"]
    assert in_group(same, "Tech") == ["eve"]


async def test_a_renaming_to_another_name_than_the_saved_one_is_stale(
    same: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    tech = nest(same, "Tech", "eve")
    await settled(same)
    same.directory.rename(tech, "Engineering")
    document = await saved(same, monkeypatch)
    same.directory.rename(tech, "Development")
    told = await apply(same, document)
    assert [(row["action"], row["state"]) for row in told] == [("group_rename", "stale")]
    assert in_group(same, "Tech") == ["eve"]


async def test_the_brake_binds_a_saved_plan(new_world: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    world = new_world(groups={"mode": "same"}, users={"leave_settle_seconds": 0}, safety={"max_leavers": 10})
    people = [f"p{number:02}" for number in range(20)]
    sales = nest(world, "Sales", *people)
    await settled(world)
    leavers = list(world.directory.living_members(sales))[:6]
    for one in leavers:
        world.directory.add_member(world.group, one)
        world.directory.remove_member(sales, one)
    document = await saved(world, monkeypatch)
    world.config["safety"] = {"max_leavers": 5}
    (row,) = await apply(world, document)
    assert (row["state"], len(row["emails"])) == ("held", 6)
    assert in_group(world, "Sales") == people


async def test_a_plan_of_an_earlier_version_is_stale_and_nobody_is_touched(
    same: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline.app.selected import plan_digest

    nest(same, "Sales", "ann")
    plan = (await same.simulate(monkeypatch)).plan
    for row in plan["actions"]:
        if row["action"].startswith("group_"):
            row["detail"] = {}
    plan["plan"] = plan_digest(plan["actions"], plan["held"])
    assert {row["state"] for row in await apply(same, json.dumps(plan))} == {"stale"}
    assert same.team.groups.groups == {}


# --- run --only ---------------------------------------------------------------------------------------------


async def test_only_carries_the_memberships_of_the_person_and_of_nobody_else(same: World) -> None:
    sales, tech = nest(same, "Sales", "ann"), nest(same, "Tech", "eve", "zoe")
    await settled(same)
    bob = same.person("bob", groups=[sales, tech])
    same.person("cid", groups=[sales])
    eve = same.directory.living_members(tech)[0]
    same.directory.remove_member(tech, eve)
    same.directory.add_member(same.group, eve)
    same.directory.add_member(nest(same, "New", "gus"), bob)
    summary = await only(same, "bob@example.test")
    assert summary.code is ExitCode.OK
    assert (in_group(same, "Sales"), in_group(same, "Tech")) == (["ann", "bob"], ["bob", "eve", "zoe"])
    assert in_group(same, "New") is None  # a group is no matter of one person: the next pass makes it
    await only(same, "eve@example.test")
    assert in_group(same, "Tech") == ["bob", "zoe"]
    await run(same)
    assert (in_group(same, "Sales"), in_group(same, "New")) == (["ann", "bob", "cid"], ["bob", "gus"])
    assert await same.states() == {}


# --- undo ---------------------------------------------------------------------------------------------------


async def test_undo_takes_out_who_was_put_in_and_leaves_them_until_the_directory_says_something_new(
    same: World,
) -> None:
    sales = nest(same, "Sales", "ann")
    bob = same.person("bob")
    await settled(same)
    same.directory.add_member(sales, bob)
    await run(same)
    planned = await undo(same)
    assert [(row["done"], row["undo"], row["email"]) for row in planned.all_rows] == [
        ("group_add", "group_remove", "group Sales: bob@example.test")
    ]
    await run(same)
    assert in_group(same, "Sales") == ["ann"]
    same.person("cid", groups=[sales])  # says nothing about Bob
    await run(same)
    await run(same, full=True)
    assert in_group(same, "Sales") == ["ann", "cid"]
    same.directory.remove_member(sales, bob)
    await run(same)
    same.directory.add_member(sales, bob)
    await run(same)
    assert in_group(same, "Sales") == ["ann", "bob", "cid"]


async def test_undo_of_a_removal_and_a_renaming_brings_both_back_and_says_first_what_stays_lost(
    same: World,
) -> None:
    tech = nest(same, "Tech", "eve", "fay")
    await settled(same)
    eve = same.directory.living_members(tech)[0]
    same.directory.add_member(same.group, eve)
    same.directory.remove_member(tech, eve)
    same.directory.rename(tech, "Engineering")
    await run(same)
    assert in_group(same, "Engineering") == ["fay"]
    planned = await undo(same)
    assert any("mounted" in line for line in planned.all_lost)
    await run(same)
    await run(same, full=True)
    assert in_group(same, "Tech") == ["eve", "fay"]
    same.directory.rename(tech, "Research")
    await run(same)
    assert in_group(same, "Research") == ["eve", "fay"]  # the name is news, Eve is not


async def test_undo_of_a_creation_is_held_until_approved_and_the_group_does_not_come_back(
    same: World,
) -> None:
    sales = nest(same, "Sales", "ann", "bob")
    await run(same)
    planned = await undo(same)
    assert [row["undo"] for row in planned.groups.rows] == ["group_delete"]
    assert "held until approved" in planned.groups.lost[0]
    summary = await run(same)
    assert summary.code is ExitCode.BRAKE
    assert in_group(same, "Sales") is not None
    (digest, *more) = [one.hash for one in summary.held if one.subject.value == "group_deletes"]
    assert more == []
    await same.approve(digest)
    await run(same)
    await run(same, full=True)
    assert in_group(same, "Sales") is None
    same.person("cid", groups=[sales])
    await run(same)
    assert "cid" in (in_group(same, "Sales") or [])


async def test_undo_says_that_a_deleted_group_is_lost(new_world: Make) -> None:
    world = new_world(groups={"mode": "same", "on_leave": "delete"}, users={"leave_settle_seconds": 0})
    sales = nest(world, "Sales", "ann")
    await settled(world)
    world.directory.add_member(world.group, world.directory.living_members(sales)[0])
    world.directory.remove_member(world.group, sales)
    await run(world)
    await world.approve((await world.held())[0])
    await run(world)
    assert in_group(world, "Sales") is None
    planned = await undo(world)
    assert planned.groups.pins == ()
    assert "can't be brought back" in planned.groups.lost[0]


async def test_undo_of_a_pass_that_did_nothing_is_refused(same: World) -> None:
    nest(same, "Sales", "ann")
    await settled(same)
    await run(same)
    with pytest.raises(ControlError, match="sent nothing to Dropbox"):
        await undo(same)


async def test_what_undo_takes_out_is_under_the_brake(new_world: Make) -> None:
    world = new_world(groups={"mode": "same"}, users={"leave_settle_seconds": 0}, safety={"max_leavers": 5})
    people = world.people(*(f"p{number}" for number in range(20)))
    sales = nest(world, "Sales", "ann")
    await settled(world)
    world.directory.add_members(sales, *people)
    await run(world)
    await undo(world)
    summary = await run(world)
    assert summary.code is ExitCode.BRAKE
    assert len(in_group(world, "Sales") or []) == 21


# --- replay -------------------------------------------------------------------------------------------------


async def test_replay_tells_what_today_s_rules_say_of_groups(same: World) -> None:
    sales = nest(same, "Sales", "ann", "bob")
    await settled(same)
    same.config["groups"] = {"mode": "same", "on_leave": "delete"}
    nest(same, "Tech", "eve")
    await settled(same)
    journal = await same.open_journal()
    try:
        settings = same.settings()
        people = Planner(same.team, journal, same.clock, planner_options_of(settings))
        groups = GroupPlanner(
            same.team, journal, same.clock, group_options_of(settings), preview=people.preview
        )
        rows = await replay(journal, people, groups, first=1, last=None, guid="", now=same.clock.now())
        about = {row["group"]: row for row in rows if row.get("group")}
        assert {name: row["differs"] for name, row in about.items()} == {"Sales": False, "Tech": False}
        (member,) = [one for one in same.team.groups.members.values() if len(one) == 2]
        async with journal.transaction():
            link = (await journal.groups.links())[sales]
            await journal.groups.change_members(link.group_id, removed=[min(member)])
        rows = await replay(journal, people, groups, first=1, last=None, guid="", now=same.clock.now())
    finally:
        await journal.close()
    (row,) = [row for row in rows if row.get("group") == "Sales"]
    assert (row["wanted"], row["open"], row["differs"]) == (["group_add (1)"], [], True)
    assert row["changes"]
    assert writes(same) == {}


# --- beside a running watch ---------------------------------------------------------------------------------


async def test_a_running_watch_undoes_applies_and_looks_at_one_person(
    same: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = HeldClock()
    same.clock = held
    same.directory._clock = held
    same.team._clock = held
    sales = nest(same, "Sales", "ann")
    bob, cid = same.people("bob", "cid")
    async with watching(same) as watch:
        requests = Requests(watch.assembly, watch.assembly.parts.journal)
        same.accept_all()
        await watch.look(minutes=20)
        same.clock.turn(minutes=1)
        same.directory.add_member(sales, bob)
        await watch.look(seconds=5)
        assert in_group(same, "Sales") == ["ann", "bob"]
        summary = watch.engine.last_summary
        assert summary is not None
        reply = await requests.answer({"command": "undo", "pass": summary.id})
        assert reply == {"persons": 0, "groups": 1}
        await watch.look(seconds=5)
        assert in_group(same, "Sales") == ["ann"]
        await watch.look(minutes=1)
        same.directory.add_member(sales, cid)
        document = await saved(same, monkeypatch)
        told = await requests.answer({"command": "apply", "plan": document})
        assert [(row["state"], row["emails"]) for row in told["rows"]] == [("applied", ["cid@example.test"])]
        same.directory.remove_member(sales, cid)
        assert (await requests.answer({"command": "only", "person": "cid@example.test"}))["guid"] == cid
        assert in_group(same, "Sales") == ["ann"]

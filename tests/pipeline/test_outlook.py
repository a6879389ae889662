"""`explain` promises nothing that will not happen: after a failed read, under the brake, in simulation."""

from collections.abc import Callable
from contextlib import asynccontextmanager

import pytest

from pipeline.app.clock import SystemClock
from pipeline.app.explanation import answer_about
from pipeline.app.group_explanation import explain_group, text_of_group
from pipeline.app.policies import group_options_of, planner_options_of
from pipeline.cli.explain import text_of
from pipeline.core.exits import ExitCode
from pipeline.core.obstacles import SIMULATION
from pipeline.errors import DirectoryError, TeamInfoError, TeamReadError
from pipeline.model import ActionKind
from stages.dropbox.memory import MemoryTeam
from stages.groups.planner import GroupPlanner
from stages.people.planner import Planner
from state.journal import Journal
from tests.pipeline.group_world import nest, settled
from tests.pipeline.test_leavers import team_of
from tests.pipeline.world import World

pytestmark = pytest.mark.anyio

Make = Callable[..., World]


@asynccontextmanager
async def looking(world: World):  # type: ignore[no-untyped-def]
    journal = await Journal.open(world.journal_path, read_only=True)
    try:
        yield journal
    finally:
        await journal.close()


async def told(world: World, name: str, *, is_simulation: bool = False) -> str:
    async with looking(world) as journal:
        options = planner_options_of(world.settings())
        simulation = SIMULATION if is_simulation else None
        answer = await answer_about(journal, options, name, world.clock, simulation=simulation)
    [one] = answer.persons
    return text_of(one)


async def told_of_group(world: World, name: str) -> str:
    settings = world.settings()
    async with looking(world) as journal:
        team, clock = MemoryTeam(), SystemClock()
        persons = Planner(team, journal, clock, planner_options_of(settings))
        planner = GroupPlanner(team, journal, clock, group_options_of(settings), preview=persons.preview)
        [one] = await explain_group(journal, planner, name)
    return text_of_group(one)


def next_lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.startswith(("  next", "  after that"))]


async def test_with_nobody_in_scope_nobody_is_said_to_be_suspended_next(new_world: Make) -> None:
    world = new_world(users={"leave_settle_seconds": 0})
    [ann] = world.people("ann")
    await settled(world)
    await world.run(full=True)
    world.directory.remove_member(world.group, ann)
    summary = await world.run()
    assert summary.code is ExitCode.SCOPE
    text = await told(world, "ann")
    now, later = next_lines(text)
    assert "nothing is sent for now" in now
    assert f"pass {summary.id} ended with -15" in now
    assert "proves nothing about anybody" in now
    assert later.startswith("after that  suspend:")
    assert later.endswith("if it is so then")
    assert "what to do  check that the sync group has members" in text
    world.directory.add_member(world.group, ann)
    await world.run()
    assert next_lines(await told(world, "ann")) == ["next        nothing: as it should be"]


async def test_with_the_group_missing_what_stands_is_said_to_be_of_before(world: World) -> None:
    world.people("ann")
    await world.run()
    world.directory.delete(world.group)
    assert (await world.run()).code is ExitCode.SCOPE
    now, later = next_lines(await told(world, "ann"))
    assert "ended with -15" in now
    assert later == "after that  nothing: as it should be"


@pytest.mark.parametrize(
    ("name", "error", "code"),
    [
        ("directory.identify", DirectoryError("bind", "no answer"), -12),
        ("team.read", TeamInfoError("fetch the team", "500", "see the status page"), -14),
        ("team.read", TeamReadError("read members", "500"), -16),
    ],
)
async def test_after_a_failed_read_it_is_said_which_and_what_to_do(
    new_world: Make, name: str, error: Exception, code: int
) -> None:
    world = new_world(users={"leave_settle_seconds": 0})
    _, bob = world.people("ann", "bob")
    await settled(world)
    await world.run(full=True)
    world.directory.disable(bob)
    world.gate.reset()
    world.gate.fail(name, error, call=2 if code == -16 else 1)
    assert int((await world.run()).code) == code
    for person in ("ann", "bob"):
        text = await told(world, person)
        assert f"ended with {code}" in next_lines(text)[0]
        assert "  what to do  " in text
    if code != -12:  # then the directory was read: the change is known, and waits
        assert next_lines(text)[1].startswith("after that  suspend: disabled")
    await world.run()
    assert world.status("bob") == "suspended"


async def test_who_is_held_is_told_with_the_hash_and_the_command(world: World) -> None:
    guids = await team_of(world, 40)
    for guid in guids[:11]:
        world.directory.disable(guid)
    await world.run()
    [digest] = await world.held()
    text = await told(world, guids[0])
    now, later = next_lines(text)
    assert "held by the brake" in now
    assert f"`ad-connector approve {digest}`" in text
    assert later.startswith("after that  suspend:")
    assert next_lines(await told(world, guids[20])) == ["next        nothing: as it should be"]
    await world.approve(digest)
    await world.run()
    assert "held" not in next_lines(await told(world, guids[0]))[0]


async def test_members_of_a_group_that_are_held_too(new_world: Make) -> None:
    world = new_world(groups={"mode": "same"}, safety={"max_leavers": 1, "min_leavers_allowed": 1})
    sales = nest(world, "Sales", *(f"p{number}" for number in range(6)))
    await settled(world)
    for number in range(4):
        guid = world.member(f"p{number}").external_id.removeprefix("ad-guid:")
        world.directory.remove_member(sales, guid)
        world.directory.add_member(world.group, guid)
    assert (await world.run()).code is ExitCode.BRAKE
    [digest] = await world.held()
    text = await told_of_group(world, "Sales")
    assert f"pending     4 of group_remove held: `ad-connector approve {digest}`" in text
    now, later = next_lines(text)
    assert "held by the brake" in now
    assert later.startswith("after that  group_remove")


async def test_in_simulation_nothing_is_promised(world: World) -> None:
    world.people("ann")
    await world.run()
    world.accept_all()
    world.directory.modify(world.person("bob"), surname="Late")
    world.team.break_next(ActionKind.INVITE, tag="other")
    await world.run()
    now, later = next_lines(await told(world, "bob", is_simulation=True))
    assert "simulation = true" in now
    assert later.startswith("after that  invite:")
    [line] = next_lines(await told(world, "ann", is_simulation=True))
    assert line == "next        nothing: as it should be"

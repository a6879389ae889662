"""A company of 1,000, and the mistakes that would empty a team: nobody is suspended or removed for one of them, the alert

says which cause, and what may go on goes on. (behaviour.md §5 and §8)
"""

import copy
import shutil
from pathlib import Path

import pytest

from pipeline.core.exits import ExitCode
from pipeline.errors import DirectoryError
from pipeline.model import ActionKind, Outcome, Verdict
from tests.pipeline.world import World

pytestmark = pytest.mark.anyio

MANY, SALES = 1_000, 300


@pytest.fixture(scope="module")
def founded(tmp_path_factory: pytest.TempPathFactory) -> World:
    """1,000 people with accounts, 300 of them by the nested group Sales alone; no pass has run yet."""
    world = World(tmp_path_factory.mktemp("company"))
    world.team.seats = 2 * MANY
    directory = world.directory
    sales = directory.create_group("Sales")
    directory.add_member(world.group, sales)
    for number in range(MANY):
        name = f"p{number:04}"
        guid = world.person(name, groups=[sales if number < SALES else world.group])
        world.team.add(
            f"{name}@example.test",
            given_name=name.capitalize(),
            surname="Example",
            external_id=f"ad-guid:{guid}",
        )
    return world


@pytest.fixture
async def company(founded: World, tmp_path: Path) -> World:
    """The company in a copy of its own, once everybody is managed."""
    if not founded.journal_path.exists():
        assert (await founded.run()).code is ExitCode.OK
        assert founded.team.effects == []
    world = copy.deepcopy(founded)
    world.folder = tmp_path
    shutil.copy(founded.journal_path, world.journal_path)
    world.clock.turn(hours=1)
    return world


def guid_of(world: World, name: str) -> str:
    return next(guid for guid, found in world.directory.objects.items() if found.name == name)


def alert(world: World, key: str) -> str:
    assert world.summary is not None
    (found,) = [one for one in world.summary.alerts if one.key.startswith(key)]
    return "\n".join((found.title, *found.lines, found.remedy))


async def test_the_sync_group_emptied_by_mistake(company: World) -> None:
    """-15, never "everybody left". What was due before and harms nobody is still sent."""
    world = company
    world.directory.modify(guid_of(world, "p0500"), surname="Due")
    world.team.break_next(
        ActionKind.UPDATE, outcome=Outcome(verdict=Verdict.RETRY, tag="internal", retry_after=3600.0)
    )
    await world.run()
    assert world.team.effects == []
    world.directory.remove_members(world.group, *list(world.directory.objects[world.group].members))
    for _ in range(3):
        world.clock.turn(hours=1)
        assert (await world.run()).code is ExitCode.SCOPE
    assert world.effects() == [("update", "p0500@example.test")]
    assert "sync group" in alert(world, "exit-code")


async def test_a_nested_group_of_300_removed(company: World) -> None:
    world = company
    world.directory.remove_member(world.group, guid_of(world, "Sales"))
    world.directory.modify(guid_of(world, "p0500"), surname="Renamed")
    world.person("newcomer")
    for _ in range(2):
        assert (await world.run()).code is ExitCode.BRAKE
        world.clock.turn(hours=25)
    assert world.harm() == []
    assert world.effects() == [("update", "p0500@example.test"), ("invite", "newcomer@example.test")]
    text = alert(world, "held")
    assert "300 leavers held" in text
    assert "300 of them: cause group Sales was removed from Dropbox" in text
    (digest,) = await world.held()
    assert digest in text
    world.directory.add_member(world.group, guid_of(world, "Sales"))
    assert (await world.run()).code is ExitCode.OK
    assert await world.held() == []
    assert world.harm() == []


async def test_the_service_account_is_stripped_of_its_rights(company: World) -> None:
    """It sees the group, and nobody in it: nobody is gone, and nothing is sent but what needs no sight of anybody."""
    world = company
    for guid, found in world.directory.objects.items():
        if found.name.startswith("p"):
            world.directory.move_out_of_sight(guid)
    world.person("newcomer")
    for full in (False, True):
        await world.run(full=full)
        world.clock.turn(hours=1)
    assert world.harm() == []
    text = alert(world, "right")
    assert "may not read" in text
    assert f"and {MANY - 40} more" in text
    assert world.effects() == [("invite", "newcomer@example.test")]


async def test_the_service_account_may_not_read_anything_any_more(company: World) -> None:
    world = company
    for method in ("identify", "find_group", "read_members", "read_entries", "changes", "start"):
        for _ in range(3):
            world.directory.fail(method, DirectoryError("read the directory", "insufficientAccessRights"))
    for full in (False, True, False):
        assert (await world.run(full=full)).code is ExitCode.DIRECTORY
        world.clock.turn(hours=1)
    assert world.team.effects == []
    assert "insufficientAccessRights" in alert(world, "exit-code")


@pytest.mark.parametrize("comes_back", [True, False])
async def test_a_domain_controller_answers_with_half_of_the_members(
    company: World, *, comes_back: bool
) -> None:
    """For a moment: the second read has them. For good: the brake holds them, and says that a full read misses them."""
    world = company
    members = world.directory.objects[world.group].members
    kept = dict(members)
    for guid in list(members)[::2]:
        del members[guid]
    world.directory.refuse_checkpoints()
    world.person("newcomer")
    if comes_back:
        world.clock.on_sleep.append(lambda: members.update(kept))
    summary = await world.run()
    assert world.clock.slept
    assert world.harm() == []
    assert world.effects() == [("invite", "newcomer@example.test")]
    if comes_back:
        assert summary.code is ExitCode.OK
    else:
        assert summary.code is ExitCode.BRAKE
        assert "no longer found in the sync group" in alert(world, "held")
        assert await world.held()


async def test_a_living_member_is_moved_to_where_the_account_may_not_read(company: World) -> None:
    world = company
    world.directory.move_out_of_sight(guid_of(world, "p0100"))
    world.directory.move_out_of_sight(guid_of(world, "p0600"))
    world.directory.disable(guid_of(world, "p0700"))
    for full in (False, True, True):
        await world.run(full=full)
        world.clock.turn(hours=1)
    assert world.harm() == [("suspend", "p0700@example.test")]  # who was disabled is suspended all the same
    assert world.status("p0100") == world.status("p0600") == "active"
    assert world.summary is not None
    told = "\n".join(line for one in world.summary.alerts for line in one.lines)
    assert "p0100" in told
    assert "p0600" in told


async def test_nobody_of_a_thousand_is_let_go_by_ten_every_five_minutes(company: World) -> None:
    """A leak: the window counts what was sent, however it comes; five percent of 1,000 is where it ends."""
    world = company
    async with world.open() as assembly:
        for start in range(0, 100, 10):
            for number in range(start, start + 10):
                world.directory.disable(guid_of(world, f"p{number:04}"))
            summary = await assembly.engine.run()
            world.clock.turn(minutes=5)
    assert len(world.harm()) == 50
    assert summary.code is ExitCode.BRAKE
    world.summary = summary
    assert "50 of them: cause disabled" in alert(world, "held")

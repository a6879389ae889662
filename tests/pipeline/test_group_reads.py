"""What can't be read proves nothing: no read that fails, is cut short or lacks rights takes anybody out of a group."""

from collections.abc import AsyncIterator, Callable, Sequence

import pytest

from pipeline.core.exits import ExitCode
from pipeline.errors import TeamReadError
from pipeline.model import Kind
from pipeline.records import Edge
from tests.pipeline.group_world import in_group, nest, settled, writes
from tests.pipeline.world import World

pytestmark = pytest.mark.anyio

Make = Callable[..., World]
EVERYBODY = ["ann", "bob", "cid", "dan"]


@pytest.fixture
def same(new_world: Make) -> World:
    return new_world(groups={"mode": "same", "on_leave": "delete"}, users={"leave_settle_seconds": 0})


async def company(world: World) -> tuple[str, str]:
    """Sales has Ann and Bob, and Europe below it has Cid and Dan."""
    sales = nest(world, "Sales", "ann", "bob")
    europe = nest(world, "Europe", "cid", "dan", below=sales)
    await settled(world)
    assert (in_group(world, "Sales"), in_group(world, "Europe")) == (EVERYBODY, ["cid", "dan"])
    return sales, europe


def untouched(world: World) -> None:
    assert (in_group(world, "Sales"), in_group(world, "Europe")) == (EVERYBODY, ["cid", "dan"])
    assert not {"group_remove", "group_delete"} & set(writes(world))
    assert world.harm() == []


@pytest.mark.parametrize("full", [False, True])
async def test_a_group_out_of_sight_keeps_everybody_who_is_in_it(same: World, *, full: bool) -> None:
    _, europe = await company(same)
    same.directory.move_out_of_sight(europe)
    summary = await same.run(full=full)
    assert summary.code in (ExitCode.DIRECTORY, ExitCode.OK)
    untouched(same)
    await same.run()
    await same.run(full=True)
    untouched(same)
    same.directory.move_into_sight(europe)
    assert (await same.run()).code is ExitCode.OK
    untouched(same)


@pytest.mark.parametrize("full", [False, True])
async def test_a_person_out_of_sight_stays_in_the_groups_that_list_them(same: World, *, full: bool) -> None:
    _, europe = await company(same)
    same.directory.move_out_of_sight(same.directory.living_members(europe)[0])
    await same.run(full=full)
    await same.run(full=True)
    untouched(same)


@pytest.mark.parametrize("full", [False, True])
async def test_a_failed_read_at_any_point_takes_nobody_out(same: World, *, full: bool) -> None:
    """While the directory changes for real: only what was read whole is acted upon, and nothing is lost by the failure."""
    sales, europe = await company(same)
    ann = same.directory.living_members(sales)[0]
    contact = same.directory.create_contact("Partner")
    number, told = 0, ["first"]
    while told:
        number += 1
        told = []
        same.directory.modify(ann, surname=f"Example {number}")
        if number % 2:
            same.directory.add_member(europe, contact)
        else:
            same.directory.remove_member(europe, contact)
        same.gate.fail_at(number, told)
        await same.run(full=full)
        untouched(same)
    assert number > 4
    same.gate.reset()
    assert (await same.run(full=True)).code is ExitCode.OK
    untouched(same)


async def test_a_list_of_members_that_breaks_off_changes_nothing(
    same: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await company(same)

    async def broken(group_id: str) -> AsyncIterator[Sequence[str]]:
        yield sorted(same.team.groups.members[group_id])[:1]
        raise TeamReadError("listing the members of a group", "no answer")

    with monkeypatch.context() as patched:
        patched.setattr(same.team, "list_group_members", broken)
        summary = await same.run(full=True)
    assert summary.code is ExitCode.TEAM_READ
    untouched(same)
    assert (await same.run()).code is ExitCode.OK
    untouched(same)


async def test_a_list_of_members_that_is_cut_short_puts_in_who_is_in_and_takes_nobody_out(
    same: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await company(same)

    async def short(group_id: str) -> AsyncIterator[Sequence[str]]:
        yield sorted(same.team.groups.members[group_id])[:1]

    with monkeypatch.context() as patched:
        patched.setattr(same.team, "list_group_members", short)
        assert (await same.run(full=True)).code is ExitCode.OK
    untouched(same)


async def test_a_list_of_groups_that_is_cut_short_deletes_and_doubles_none(
    same: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await company(same)

    async def short() -> AsyncIterator[Sequence[object]]:
        yield []

    with monkeypatch.context() as patched:
        patched.setattr(same.team, "list_groups", short)
        await same.run(full=True)
    untouched(same)
    await same.run(full=True)
    untouched(same)
    assert len(same.team.groups.groups) == 2
    assert (await same.run()).code is ExitCode.OK


async def test_an_unreadable_object_below_the_sync_group_keeps_every_group_that_is_missing(
    new_world: Make,
) -> None:
    world = new_world(
        groups={"mode": "separate", "sync_group": "Synced", "on_leave": "delete"},
        users={"leave_settle_seconds": 0},
    )
    root = world.directory.create_group("Synced")
    sales = nest(world, "Sales", "ann")
    world.directory.add_member(root, sales)
    other = nest(world, "Other", "bob")
    world.directory.add_member(root, other)
    await settled(world)
    world.directory.move_out_of_sight(sales)
    for full in (False, True, True):
        await world.run(full=full)
        assert in_group(world, "Sales") == ["ann"]
        assert await world.held() == []


async def test_a_group_that_goes_while_it_is_decided_about_does_not_look_emptied(
    same: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`watch` reads on while groups are decided about: what is in a group and whether it is synced are of one moment."""
    sales, europe = await company(same)
    async with same.open() as assembly:
        await assembly.engine.run()
        nesting = assembly.parts.poller.nesting
        groups = assembly.parts.journal.groups
        links = groups.links

        async def meanwhile():  # type: ignore[no-untyped-def]
            for child in nesting.scope.members(europe, primary=False):
                nesting.remove(Edge(europe, child))
            nesting.remove(Edge(sales, europe))
            nesting.set_node(europe, Kind.GROUP, live=False)
            return await links()

        monkeypatch.setattr(groups, "links", meanwhile)
        decisions = await assembly.parts.groups.planner.preview(nesting)
    assert [one.kind for decision in decisions for one in decision.wanted] == []

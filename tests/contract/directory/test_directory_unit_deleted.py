"""A whole organizational unit deleted at once: everybody in it is gone by a tombstone, or else only by a second read, and nobody
outside is touched. (behaviour.md §5: proof of deletion is a tombstone and nothing else)
"""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from pipeline.model import Kind
from pipeline.records import Node
from stages.directory.ldap import SystemClock
from stages.directory.poller import Poller, PollOptions
from state.journal import Journal

pytestmark = pytest.mark.anyio


class Unit:
    """Three people and a group in the unit, nested in the sync group beside people outside; the group holds one of them."""

    def __init__(self, world) -> None:
        unit = world.create_ou("Unit")
        self.world, self.ou = world, unit
        self.inside = {world.create_user(name) for name in ("Ann", "Bob", "Cid")}
        self.staff = world.create_group("Staff", sorted(self.inside)[:2])
        self.dan, self.eve = world.create_user("Dan"), world.create_user("Eve")
        world.add_members(self.staff, self.dan)
        self.outer = world.create_group("Outer", [self.staff, *self.inside, self.eve, self.dan])
        for each in (*self.inside, self.staff):
            world.move(each, unit)

    def delete(self) -> None:
        self.world.delete_unit(self.ou)


@pytest.fixture
async def journal(tmp_path: Path, anyio_backend: str) -> AsyncIterator[Journal]:
    journal = await Journal.open(tmp_path / "journal.db")
    yield journal
    await journal.close()


def poller_of(directory, journal: Journal, unit: Unit) -> Poller:
    return Poller(
        directory, journal, SystemClock(), PollOptions(sync_group=unit.outer, settle=timedelta(seconds=0))
    )


async def people(journal: Journal, unit: Unit) -> tuple[list[Node], list[Node]]:
    """Those who were in the unit, and those outside."""
    async with journal.reading():
        nodes = await journal.mirror.nodes([*unit.inside, unit.dan, unit.eve])
    return [nodes[guid] for guid in sorted(unit.inside)], [nodes[unit.dan], nodes[unit.eve]]


async def test_each_object_of_a_deleted_unit_has_its_own_tombstone(world) -> None:
    unit = Unit(world)
    await world.begin()
    unit.delete()
    deltas = await world.poll()
    gone = {*unit.inside, unit.staff}
    assert {guid for guid, delta in deltas.items() if delta.tombstone} == gone
    assert set(deltas) == gone
    assert await world.members(unit.outer) == {unit.dan, unit.eve}
    everybody = [*gone, unit.outer, unit.dan, unit.eve]
    assert set(await world.directory.read_entries(everybody)) == {unit.outer, unit.dan, unit.eve}
    assert await world.directory.read_tombstones(everybody) == gone


@pytest.mark.parametrize("full", [False, True], ids=["by changes", "by a full read"])
async def test_the_people_of_a_deleted_unit_are_dead_and_nobody_else_has_left(
    world, journal: Journal, full: bool
) -> None:
    unit = Unit(world)
    poller = poller_of(world.directory, journal, unit)
    await poller.poll()
    unit.delete()
    await poller.poll(full=full)
    inside, outside = await people(journal, unit)
    assert [(node.live, node.listed) for node in inside] == [(False, False)] * 3
    # Dan was in the group of the unit as well, and is still held by another.
    assert [(node.live, node.listed, node.left_at) for node in outside] == [(True, True, None)] * 2
    assert poller.nesting.scope.kind_of(unit.staff) is Kind.GROUP
    assert not poller.nesting.scope.is_live(unit.staff)


async def test_whoever_sees_no_tombstones_takes_nobody_of_a_deleted_unit_for_dead(
    world, journal: Journal
) -> None:
    unit = Unit(world)
    blind = world.look_blindly()
    poller = poller_of(blind, journal, unit)
    await poller.poll()
    unit.delete()
    await poller.poll(full=True)
    inside, outside = await people(journal, unit)
    assert [(node.live, node.left_how, node.left_confirmed) for node in inside] == [
        (True, "absent", False)
    ] * 3
    await poller.poll(full=True)
    inside, again = await people(journal, unit)
    assert [(node.live, node.left_how, node.left_confirmed) for node in inside] == [
        (True, "absent", True)
    ] * 3
    for node in (*outside, *again):
        assert (node.live, node.listed, node.left_at) == (True, True, None)

"""The same for groups: whatever becomes of the reply, journal and team agree afterwards and nothing happens twice."""

import json
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from pipeline.app.requests import approve
from pipeline.model import State
from sandbox.team.faults import Fault
from state.journal import Journal
from tests.applier.world import World

pytestmark = pytest.mark.anyio

NewWorld = Callable[..., Awaitable[World]]

ROUTES = ("create", "update", "delete", "members/add", "members/remove")
WITHOUT_EFFECT = ("drop_before", "500_before")
WITH_EFFECT = ("drop_after", "500_after")
SETTINGS: dict[str, Any] = {
    "groups": {"mode": "separate", "sync_group": "Dropbox Groups", "on_leave": "delete"},
    "users": {"leave_settle_seconds": 0},
}


def _groups(world: World) -> dict[str, list[str]]:
    team = world.simulator.team
    members = {member.id: member.email.split("@")[0] for member in team.members}
    return {group.name: sorted(members[each] for each in group.members) for group in team.groups}


def _sent(world: World) -> Counter[str]:
    """Writes about groups by route, and who was put in or taken out how often."""
    found: Counter[str] = Counter()
    for one in world.simulator.team.timeline.exchanges():
        name = one.route.removeprefix("team/groups/")
        if name in ROUTES:
            found[name] += 1
            if one.status == 200 and not one.fault:
                body = json.loads(one.request)
                found[f"{name} of"] += len(body.get("members") or body.get("users") or ())
    return found


async def _due(world: World) -> None:
    """A group to create and to fill, one to rename, to fill and to thin out, one to delete."""
    await world.settled("ann", "bob", "cid", "dan")
    top = world.directory.create_group("Dropbox Groups")
    guids = {name: world.directory.create_group(name) for name in ("Sales", "Old", "New")}
    world.directory.add_members(guids["Sales"], world.guids["ann"], world.guids["bob"])
    world.directory.add_members(top, guids["Sales"], guids["Old"])
    await world.run(full=True)
    world.directory.add_members(guids["New"], *(world.guids[each] for each in ("ann", "bob", "cid")))
    world.directory.rename(guids["Sales"], "Sales World")
    world.directory.add_member(guids["Sales"], world.guids["dan"])
    world.directory.remove_member(guids["Sales"], world.guids["ann"])
    world.directory.remove_member(top, guids["Old"])
    world.directory.add_member(top, guids["New"])
    await world.run()
    journal = await Journal.open(world.folder / "journal.db")
    try:
        async with journal.reading():
            (held,) = await journal.outbox.standing_held_sets()
        await approve(journal, held.hash, world.clock.now())
    finally:
        await journal.close()


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


DUE = {"New": ["ann", "bob", "cid"], "Sales World": ["bob", "dan"]}


async def _started(new_world: NewWorld, switches: dict[str, Any] | None = None) -> World:
    return await new_world(switches=switches, **SETTINGS)


@pytest.mark.parametrize("kind", [*WITHOUT_EFFECT, *WITH_EFFECT])
@pytest.mark.parametrize("route", ROUTES)
async def test_whatever_becomes_of_the_reply_about_a_group(new_world: NewWorld, route: str, kind: str):
    world = await _started(new_world)
    fault = Fault(kind, f"team/groups/{route}", skip=1 if route in {"create", "members/add"} else 0)
    world.simulator.faults.add(fault)
    await _due(world)
    await world.run()
    assert fault.hits == 1
    await world.run_until_quiet()
    assert {name: who for name, who in _groups(world).items() if name in DUE} == DUE
    assert "Old" not in _groups(world)
    assert await world.disagreements() == []
    assert await world.open(State.PLANNED, State.SENDING, State.RETRY, State.FAILED) == []
    sent = _sent(world)
    again = kind in WITHOUT_EFFECT
    # Sales and Old at first; then New, or New twice where the first did not arrive.
    assert sent["create"] == 3 + (again and route == "create")
    assert sent["update"] == 1 + (again and route == "update")
    assert sent["delete"] == 1 + (again and route == "delete")
    await world.run(full=True)
    assert _sent(world) == sent


@pytest.mark.parametrize("rule", ["rejected", "tolerated"])
async def test_a_member_who_was_added_before_the_reply_was_lost_either_way(new_world: NewWorld, rule: str):
    world = await _started(new_world, {"group_duplicates": rule})
    world.simulator.faults.add(Fault("500_after", "team/groups/members/add", skip=1))
    await _due(world)
    await world.run()
    await world.run_until_quiet()
    assert {name: who for name, who in _groups(world).items() if name in DUE} == DUE
    assert await world.open(State.PLANNED, State.SENDING, State.RETRY, State.FAILED) == []


@pytest.mark.parametrize("kind", ["drop_before", "500_after"])
async def test_a_group_that_is_deleted_by_a_job(new_world: NewWorld, kind: str):
    world = await _started(new_world, {"async_routes": ("team/groups/delete",), "async_polls": 3})
    world.simulator.faults.add(Fault(kind, "team/groups/delete"))
    await _due(world)
    await world.run()
    await world.run_until_quiet()
    assert {name: who for name, who in _groups(world).items() if name in DUE} == DUE
    assert "Old" not in _groups(world)
    assert _sent(world)["delete"] == 1 + (kind == "drop_before")
    assert await world.open(State.PLANNED, State.SENDING, State.RETRY, State.FAILED) == []

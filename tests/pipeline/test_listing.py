"""The list of the whole team: told in pieces, told again, or broken off."""

import gc
import random
import weakref
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from pipeline.core.exits import ExitCode
from pipeline.errors import TeamReadError
from pipeline.model import ActionKind, Member, Status
from tests.pipeline.world import World

pytestmark = pytest.mark.anyio


async def on_the_team(world: World, *names: str) -> dict[str, str]:
    """Their GUIDs by their names."""
    guids = world.people(*names)
    await world.run()
    world.accept_all()
    await world.run(full=True)
    world.clock.turn(minutes=10)
    world.team.effects.clear()
    world.team.requests.clear()
    return dict(zip(names, guids, strict=True))


async def known(world: World) -> list[Member]:
    journal = await world.open_journal()
    try:
        async with journal.reading():
            return await journal.members.all()
    finally:
        await journal.close()


def told_as(
    world: World, monkeypatch: pytest.MonkeyPatch, *pages: Sequence[str], fault: bool = False
) -> None:
    """Pages of members by their names; with `fault`, it breaks off after them."""

    async def list_members(*_: Any) -> AsyncIterator[Sequence[Member]]:
        for page in pages:
            yield [world.member(name) for name in page]
        if fault:
            raise TeamReadError("listing the team's members", "the connection broke")

    monkeypatch.setattr(world.team, "list_members", list_members)


async def test_a_list_that_breaks_off_forgets_nobody_and_asks_for_nobody(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await on_the_team(world, "ann", "bob", "eve")
    before = await known(world)
    told_as(world, monkeypatch, ["ann"], fault=True)
    assert (await world.run(full=True)).code is ExitCode.TEAM_READ
    assert await known(world) == before
    assert world.team.effects == []


async def test_whoever_one_telling_showed_is_there_though_the_next_does_not_show_them(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A list whose cursor dies begins anew: what came before counts all the same."""
    await on_the_team(world, "ann", "bob", "eve")
    before = [one for one in await known(world) if one.email != "admin@example.test"]
    told_as(world, monkeypatch, ["ann", "bob"], ["bob"], ["eve"])
    assert (await world.run(full=True)).code is ExitCode.OK
    assert world.team.requests["get_members"] == 0
    assert await known(world) == before
    assert world.team.effects == []


async def test_who_is_missing_in_the_list_is_asked_for_before_anything_is_done(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await on_the_team(world, "ann", "bob", "eve")
    told_as(world, monkeypatch, ["ann", "eve"])
    assert (await world.run(full=True)).code is ExitCode.OK
    assert world.team.requests["get_members"] == 1
    assert world.team.effects == []


async def forget_comparison(world: World) -> None:
    """The next pass compares everything with Dropbox, and reads of the directory what has changed: no full read marks everybody."""
    journal = await world.open_journal()
    async with journal.transaction():
        await journal.put("rules", "of other settings")
    await journal.close()


def unreliable(world: World, chance: random.Random) -> list[list[Member]]:
    """Pages of a list that may break off and begin anew, are empty, tell of somebody twice, and leave some out."""
    everybody = list(world.team.members.values())
    chance.shuffle(everybody)
    begun = everybody[: chance.randrange(len(everybody))] if chance.random() < 0.4 else []
    whole = [one for one in everybody if chance.random() < 0.85] + chance.sample(everybody, 3)
    pages: list[list[Member]] = []
    for telling in (begun, whole):
        place = 0
        while place < len(telling):
            size = chance.choice((0, 1, 5))
            pages.append(telling[place : place + size])
            place += size
    return pages


def stir(world: World, chance: random.Random, people: Mapping[str, str], away: set[str], step: int) -> None:
    """Something in the console, and something in the directory; `away`: whom it shuts out."""
    for name in chance.sample(sorted(people), 3):
        member = world.member(name)
        if member.status is Status.ACTIVE:
            changed = chance.choice(({"status": Status.SUSPENDED}, {"given_name": "X"}, {"external_id": ""}))
            world.team.members[member.member_id] = replace(member, **changed)
    for guid in chance.sample(sorted(people.values()), 2):
        if guid in away:
            world.directory.enable(guid)
            away.remove(guid)
        elif chance.random() < 0.5:
            world.directory.disable(guid)
            away.add(guid)
        else:
            world.directory.modify(guid, surname=f"Lee{step}")


@pytest.mark.parametrize("seed", range(3))
async def test_after_a_list_however_bad_everybody_is_as_the_directory_wants(
    new_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Whom it does not show is asked for, and whom it shows twice is judged twice: nobody is passed over, nobody harmed."""
    chance = random.Random(seed)
    world = new_world(safety={"max_leavers": "100%", "min_leavers_allowed": 1000})
    people = await on_the_team(world, *(f"p{number}" for number in range(16)))
    away = set[str]()

    async def list_members() -> AsyncIterator[Sequence[Member]]:
        for page in unreliable(world, chance):
            yield page

    monkeypatch.setattr(world.team, "list_members", list_members)
    for step in range(10):
        stir(world, chance, people, away, step)
        world.team.effects.clear()
        await forget_comparison(world)
        summary = await world.run()
        assert (summary.code, summary.full) == (ExitCode.OK, True)
        for name, guid in people.items():
            entry, member = world.directory.objects[guid], world.member(name)
            assert member.status is (Status.SUSPENDED if guid in away else Status.ACTIVE), (step, name)
            if guid not in away:
                assert (member.given_name, member.surname) == (entry.given_name, entry.surname)
                assert member.external_id == f"ad-guid:{guid}"
        shut_out = {world.member(name).email for name, guid in people.items() if guid in away}
        assert {email for _, email in world.effects(ActionKind.SUSPEND)} <= shut_out
        assert len(world.harm()) == len(world.effects(ActionKind.SUSPEND))
        world.clock.turn(hours=25)


@contextmanager
def without_collector() -> Iterator[None]:
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


class Told(list[Member]):
    """A page of which a weak reference can be had."""


async def test_a_list_that_breaks_off_leaves_nothing_of_it_in_memory(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its error is kept for the end of the pass; cyclic garbage is looked for seldom, and a team may have a million members."""
    await on_the_team(world, "ann", "bob")
    told: list[weakref.ref[Told]] = []

    async def list_members(*_: Any) -> AsyncIterator[Sequence[Member]]:
        for name in ("ann", "bob"):
            page = Told([world.member(name)])
            told.append(weakref.ref(page))
            yield page
        raise TeamReadError("listing the team's members", "the connection broke")

    monkeypatch.setattr(world.team, "list_members", list_members)
    with without_collector():
        assert (await world.run(full=True)).code is ExitCode.TEAM_READ
        assert [one() for one in told] == [None, None]

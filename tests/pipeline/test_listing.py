"""The list of the whole team: told in pieces, told again, or broken off."""

import gc
import weakref
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from pipeline.core.exits import ExitCode
from pipeline.errors import TeamReadError
from pipeline.model import Member
from tests.pipeline.world import World

pytestmark = pytest.mark.anyio


async def on_the_team(world: World, *names: str) -> None:
    world.people(*names)
    await world.run()
    world.accept_all()
    await world.run(full=True)
    world.clock.turn(minutes=10)
    world.team.effects.clear()
    world.team.requests.clear()


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

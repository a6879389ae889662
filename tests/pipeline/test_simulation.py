"""Simulation writes nothing anywhere, and says exactly what a real pass then does. (behaviour.md §9)"""

import sqlite3
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from pipeline.app.selected import plan_digest
from pipeline.core.exits import ExitCode
from state.database import migrations
from state.journal import Journal
from tests.pipeline.test_crash import busy_world
from tests.pipeline.world import World
from tests.state.test_upgrade import made_at

pytestmark = pytest.mark.anyio

Make = Callable[..., World]


def shape(plan: Any) -> list[tuple[str, str, str]]:
    return sorted((one["action"], one["guid"], str(sorted(one["detail"].items()))) for one in plan["actions"])


async def done(world: World, since: int) -> list[tuple[str, str, str]]:
    """What real passes did after the first `since` actions, in the same shape."""
    from dataclasses import asdict

    async with world.reading() as journal:
        rows = await journal.database.fetch("SELECT id FROM action WHERE state = 'done' AND id > ?", (since,))
        found = []
        for row in rows:
            (action,) = [
                one
                for one in await journal.outbox.done_since(world.clock.now().replace(year=2000))
                if one.id == row["id"]
            ]
            detail = {key: value for key, value in asdict(action.changes).items() if value}
            found.append((action.kind.value, action.guid, str(sorted(detail.items()))))
    return sorted(found)


async def dump(path: Path) -> list[str]:
    journal = await Journal.open(path)
    try:
        return [line async for line in journal.database._connection.iterdump()]
    finally:
        await journal.close()


async def test_the_plan_is_exactly_what_a_real_pass_then_sends(
    new_world: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = await busy_world(new_world)
    async with world.reading() as journal:
        since = int(await journal.database.value("SELECT max(id) FROM action"))
    simulated = await world.simulate(monkeypatch)
    assert world.team.effects == []
    await world.run()
    assert shape(simulated.plan) == await done(world, since)
    assert simulated.plan["summary"] == {
        "invite": 2,
        "recover": 1,
        "remove": 1,
        "revoke_invite": 1,
        "suspend": 2,
        "unsuspend": 1,
        "update": 2,
    }


@pytest.mark.parametrize("full", [False, True])
async def test_simulation_changes_nothing_in_the_journal_nor_in_the_team(
    new_world: Make, monkeypatch: pytest.MonkeyPatch, full: bool
) -> None:
    world = await busy_world(new_world)
    before, team = await dump(world.journal_path), dict(world.team.members)
    for _ in range(2):
        await world.simulate(monkeypatch, full=full)
        world.clock.turn(minutes=5)
    assert await dump(world.journal_path) == before
    assert world.team.members == team
    assert not world.team.sent or world.team.effects == []
    assert not world.mailer.kept or all(not one.simulated for one in world.mailer.kept)


async def test_a_simulation_asks_the_team_no_more_for_many_than_for_few(
    new_world: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of its writes is judged by what was read already: of people who are there, and of people who are not."""

    async def asked(size: int) -> Counter[str]:
        world = new_world()
        world.people(*(f"new{number}" for number in range(size)), *(f"old{number}" for number in range(size)))
        for number in range(size):
            world.team.add(f"old{number}@example.test", given_name="As it was")
        simulated = await world.simulate(monkeypatch)
        assert simulated.plan["summary"] == {"invite": size, "update": size}
        return Counter(name for name in world.gate.crossings if name.startswith("team."))

    few, many = await asked(25), await asked(75)
    assert sum(few.values()) > 0
    assert many == few


async def test_simulations_before_the_first_pass_leave_no_trace_and_the_first_pass_is_full(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.people("ann", "bob")
    world.team.add("ann@example.test")
    for _ in range(2):
        simulated = await world.simulate(monkeypatch)
        assert simulated.plan["summary"] == {"invite": 1, "update": 1}
    assert not world.journal_path.exists()
    summary = await world.run()
    assert summary.full
    assert sorted(world.effects()) == [("invite", "bob@example.test"), ("update", "ann@example.test")]


async def test_a_plan_is_made_before_a_pass_has_upgraded_the_journal(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.people("ann")
    earlier = migrations()[-2][0]
    made_at(world.journal_path, earlier).close()
    simulated = await world.simulate(monkeypatch)
    assert simulated.plan["summary"] == {"invite": 1}
    with closing(sqlite3.connect(world.journal_path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (earlier,)


async def test_the_plan_shows_what_the_brake_would_hold(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    guids = world.people(*(f"p{number:03}" for number in range(40)))
    await world.run()
    world.accept_all()
    await world.run()
    world.directory.remove_members(world.group, *guids[:20])
    simulated = await world.simulate(monkeypatch)
    assert simulated.summary.code is ExitCode.BRAKE
    (held,) = simulated.plan["held"]
    assert (held["count"], len(held["actions"])) == (20, 20)
    assert (await world.run()).code is ExitCode.BRAKE
    assert await world.held() == [held["hash"]]


async def test_a_chain_and_a_freed_seat_show_in_one_plan(
    new_world: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = new_world()
    world.team.seats = 6
    ann, bob, cid, *_ = world.people("ann", "bob", "cid", "dan", "eva")
    await world.run()
    world.accept_all()
    await world.run()
    world.team.effects.clear()
    world.directory.modify(ann, mail="bob@example.test")
    world.directory.modify(bob, mail="new@example.test")
    world.directory.delete(cid)
    world.person("gus")
    world.clock.turn(seconds=1)
    simulated = await world.simulate(monkeypatch)
    assert simulated.plan["summary"] == {"update": 2, "remove": 1, "invite": 1}
    assert (await world.run()).actions == simulated.plan["summary"]


async def test_an_error_of_a_simulation_is_in_its_plan(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    simulated = await world.simulate(monkeypatch)
    assert simulated.summary.code is ExitCode.SCOPE
    assert simulated.plan["errors"]
    assert simulated.plan["exit_code"] == -15


async def test_a_plan_is_read_by_action_and_then_by_e_mail(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = world.person("zoe")
    await world.run()
    world.accept_all()
    await world.run()
    await world.clock.sleep(60)
    world.people("mia", "Abe", "lea")
    world.directory.disable(gone)
    plan = (await world.simulate(monkeypatch)).plan
    assert [(row["action"], row["email"].partition("@")[0]) for row in plan["actions"]] == [
        ("invite", "abe"),
        ("invite", "lea"),
        ("invite", "mia"),
        ("suspend", "zoe"),
    ]
    assert plan["plan"] == plan_digest(plan["actions"], plan["held"])

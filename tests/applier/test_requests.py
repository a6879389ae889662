"""Counted work: how many requests what costs, and that neither planning nor applying is quadratic."""

import math
import sqlite3
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline import log
from pipeline.model import State
from stages.dropbox.applier import Applier
from state.database import Database
from tests.applier.world import World

pytestmark = pytest.mark.anyio

NewWorld = Callable[..., Awaitable[World]]
PEOPLE = 10_000
PATIENT = {"timeout_seconds": 60}  # nothing is lost here, however busy the machine is


def _counted(world: World) -> Counter[str]:
    """Requests by route, without the namespace, since the last look."""
    requests = world.simulator.team.effects.requests
    found = Counter({key.split(" ")[0].split("/", 1)[1]: 0 for key in requests})
    for key, count in requests.items():
        found[key.split(" ")[0].split("/", 1)[1]] += count
    requests.clear()
    # What the console did is read from the event log as it comes: its pages follow the events, not the people.
    return +Counter({route: count for route, count in found.items() if not route.startswith("get_events")})


GREETING = {"get_info": 1, "token/get_authenticated_admin": 1}


async def test_ten_thousand_people(new_world: NewWorld):
    world = await new_world(seats=PEOPLE + 1, dropbox=PATIENT)
    for number in range(PEOPLE):
        world.person(f"p{number}")
    await world.run()
    counted = _counted(world)
    assert counted.pop("members/add_v2") <= math.ceil(PEOPLE / 20) * 1.02
    assert counted == {**GREETING, "members/list_v2": 1}
    assert set(world.effects()["welcome_mails"].values()) == {1}
    world.simulator.console.accept_all()

    # A full comparison of people who have all joined: the pages of the list, and nothing else.
    await world.run(full=True)
    pages = math.ceil((PEOPLE + 1) / 1000)
    assert _counted(world) == {**GREETING, "members/list_v2": 1, "members/list/continue_v2": pages - 1}
    await world.run(full=True)
    assert _counted(world) == {**GREETING, "members/list_v2": 1, "members/list/continue_v2": pages - 1}

    # A plain pass: nobody, and one person.
    await world.run()
    assert _counted(world) == GREETING
    world.directory.modify(world.guids["p17"], surname="Lee")
    await world.run()
    assert _counted(world) == {**GREETING, "members/get_info_v2": 1, "members/set_profile_v2": 1}
    assert await world.open(State.PLANNED, State.SENDING, State.RETRY, State.FAILED) == []


async def test_what_goes_along_with_a_request_of_twenty(
    new_world: NewWorld, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    """Hops to the journal's thread and writes to the log: what the CPU of a request goes to, in numbers that hold still."""
    requests = 100
    world = await new_world(seats=20 * requests + 1, dropbox=PATIENT)
    for number in range(20 * requests):
        world.person(f"p{number}")
    counted: Counter[str] = Counter()
    apply, hop, write = Applier.apply, Database._hop, log._File.emit

    before_the_first_request: list[int] = []

    async def applying(*arguments: Any, **named: Any) -> None:
        before_the_first_request.append(counted["hops"])
        counted.clear()
        await apply(*arguments, **named)
        counted.update({f"{name} of apply": count for name, count in counted.items()})

    async def hopping(*arguments: Any) -> Any:
        counted["hops"] += 1
        return await hop(*arguments)

    def writing(*arguments: Any) -> None:
        counted["writes"] += 1
        write(*arguments)

    monkeypatch.setattr(Applier, "apply", applying)
    monkeypatch.setattr(Database, "_hop", hopping)
    monkeypatch.setattr(log._File, "emit", writing)
    log.configure(log.LogOptions(path=tmp_path / "x.log", to_stderr=False))
    try:
        await world.run()
    finally:
        log.close()
    lines = (tmp_path / "x.log").read_text().splitlines()
    assert sum(" action " in line for line in lines) == 20 * requests
    # Reading and planning: so many a batch of 500 people, and none for each of them.
    assert 0 < before_the_first_request[0] <= 15 * (20 * requests // 500) + 60
    # At most one exchange with the journal a request, of three hops: what was done, what is next, and COMMIT.
    assert 0 < counted["hops of apply"] <= 3 * requests + 20
    assert 0 < counted["writes of apply"] <= requests + 5


async def _rows_looked_at(
    new_world: NewWorld, monkeypatch: pytest.MonkeyPatch, people: int
) -> tuple[int, int]:
    """(statements, steps of SQLite's machine in thousands) of the first load of so many people."""
    steps = statements = 0
    world = await new_world(seats=people + 1, dropbox=PATIENT)
    for number in range(people):
        world.person(f"p{number}")
    opened = Database.open.__func__  # type: ignore[attr-defined]

    async def watched(cls: type[Database], *arguments: Any, **named: Any) -> Database:
        database = await opened(cls, *arguments, **named)
        connection = database._connection

        def step() -> int:
            nonlocal steps
            steps += 1
            return 0

        def statement(_text: str) -> None:
            nonlocal statements
            statements += 1

        await connection.set_progress_handler(step, 1000)
        await connection.set_trace_callback(statement)
        assert isinstance(connection._conn, sqlite3.Connection)
        return database

    with monkeypatch.context() as patch:
        patch.setattr(Database, "open", classmethod(watched))
        await world.run()
    assert len(world.effects()["invitations"]) == people
    return statements, steps


async def test_four_times_the_people_cost_four_times_the_work(
    new_world: NewWorld, monkeypatch: pytest.MonkeyPatch
):
    few_statements, few_steps = await _rows_looked_at(new_world, monkeypatch, 500)
    many_statements, many_steps = await _rows_looked_at(new_world, monkeypatch, 2000)
    assert many_statements < 4.4 * few_statements
    assert many_steps < 5.0 * few_steps

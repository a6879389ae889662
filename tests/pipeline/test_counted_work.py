"""Counted work that must not grow: statements and steps of SQLite per person, and what a decision allocates. Counts don't jitter."""

import gc
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from bench import made_up
from bench.decide import subjects_of
from pipeline.app.compose import Assembly
from pipeline.core.plan import Policy, decide
from state.journal import Journal

pytestmark = pytest.mark.anyio

FEW, MANY = 500, 2000
MOST_STATEMENTS = 0.01
"""A person, of a full comparison: each is for a page or a batch of people."""
MOST_STEPS = 190
"""Of SQLite's machine, a person."""
MOST_COLLECTIONS = 0.003
"""A person, of garbage: each looks through people who are all still needed."""
MOST_STEPS_OF_A_CHANGE = 1
"""A person who is not concerned: nothing reads everybody."""
MOST_HOPS = 6
"""To SQLite's thread, of a change that is seen and carried out."""
COMMITS_OF_A_CHANGE = 5
"""The change with its checkpoint; the pass begins, with what is decided and let go; `sending`, before the request leaves; settled;

the pass ends.
"""
MOST_STATEMENTS_OF_A_CHANGE = 80
"""Most of them are short reads, of some 15 microseconds each."""
MOST_BLOCKS = 0.2
"""Of memory kept, a decision that nothing is to be done: all of them are one value."""


class Counted:
    """What SQLite did since it was made, or since `restart`."""

    def __init__(self) -> None:
        self.statements: list[str] = []
        self.steps = 0

    async def watch(self, journal: Journal) -> None:
        connection = journal.database._connection
        await connection.set_trace_callback(self.statements.append)
        await connection.set_progress_handler(self._step, 100)

    def _step(self) -> int:
        self.steps += 100
        return 0

    def writes_of(self, table: str) -> int:
        verbs = (f"INSERT INTO {table} ", f"DELETE FROM {table} ")
        return sum(one.startswith(verbs) for one in self.statements)


def _collections() -> int:
    return sum(generation["collections"] for generation in gc.get_stats())


@asynccontextmanager
async def warm(
    folder: Path, people: int, a_group: int = made_up.PEOPLE_A_GROUP
) -> AsyncIterator[tuple[Assembly, Journal, made_up.MadeUpDirectory]]:
    """Everybody is known, linked and as wanted; the next pass is a full comparison of the Dropbox side."""
    folder.mkdir()
    directory, team = made_up.MadeUpDirectory(people, a_group), made_up.MadeUpTeam(people)
    async with made_up.connector(folder, directory, team) as (assembly, journal):
        assert (await assembly.engine.run()).code == 0
        await made_up.forget_comparison(journal)
        yield assembly, journal, directory


async def test_a_full_comparison_without_a_change_costs_a_bounded_amount_per_person(tmp_path: Path) -> None:
    found = {}
    for people in (FEW, MANY):
        async with warm(tmp_path / str(people), people) as (assembly, journal, _):
            counted = Counted()
            await counted.watch(journal)
            collections = _collections()
            summary = await assembly.engine.run()
            collections = _collections() - collections
            assert summary.code == 0
            assert summary.full
            assert summary.actions == {}
            writes = {
                table: counted.writes_of(table) for table in ("action", "link", "member", "dirty", "log")
            }
            # Everybody was in the list, so nobody is forgotten; the end of the pass is logged.
            assert writes == {"action": 0, "link": 0, "member": 0, "dirty": 0, "log": 1}
            assert collections <= MOST_COLLECTIONS * people
            found[people] = (len(counted.statements), counted.steps)
    statements, steps = ((found[MANY][one] - found[FEW][one]) / (MANY - FEW) for one in range(2))
    assert statements < MOST_STATEMENTS, statements
    assert steps < MOST_STEPS, steps


async def test_an_idle_look_costs_the_same_at_any_size(tmp_path: Path) -> None:
    found = []
    for people in (FEW, MANY):
        async with warm(tmp_path / str(people), people) as (assembly, journal, _):
            await assembly.engine.run()
            counted = Counted()
            await counted.watch(journal)
            await assembly.parts.poller.poll()
            found.append((len(counted.statements), counted.steps))
    assert found[0] == found[1]


async def test_what_a_change_costs_hardly_depends_on_the_size(tmp_path: Path) -> None:
    found = []
    for people in (FEW, MANY):
        # In many small groups: neither how many people there are nor how many groups must matter.
        async with warm(tmp_path / str(people), people, 4) as (assembly, journal, directory):
            await assembly.engine.run()
            counted = Counted()
            await counted.watch(journal)
            directory.rename(7, "Other")
            summary = await assembly.engine.run()
            assert summary.actions == {"update": 1}
            found.append((len(counted.statements), counted.steps))
    assert found[1][0] == found[0][0]
    assert (found[1][1] - found[0][1]) / (MANY - FEW) < MOST_STEPS_OF_A_CHANGE, found


async def test_what_a_change_costs_does_not_grow_with_the_passes_before(tmp_path: Path) -> None:
    async with warm(tmp_path / "warm", FEW) as (assembly, journal, directory):
        await assembly.engine.run()
        found = []
        for number, passes in enumerate((0, 5000)):
            async with journal.transaction():
                await journal.database.execute_many(
                    "INSERT INTO pass (started, ended, exit_code, simulated, is_full) VALUES (?, ?, 0, 0, 0)",
                    [("2026-01-01T00:00:00.000000Z",) * 2] * passes,
                )
            counted = Counted()
            await counted.watch(journal)
            directory.rename(number, "Other")
            assert (await assembly.engine.run()).actions == {"update": 1}
            found.append(counted.steps)
        assert found[1] - found[0] < 1000, found


async def test_a_change_in_a_watch_waits_for_the_disk_and_for_sqlites_thread_a_few_times(
    tmp_path: Path,
) -> None:
    async with warm(tmp_path / "warm", FEW) as (assembly, journal, directory):
        connection = journal.database._connection
        hop, hops = connection._execute, 0

        async def counted_hop(*values: Any, **named: Any) -> Any:
            nonlocal hops
            hops += 1
            return await hop(*values, **named)  # type: ignore[no-untyped-call]

        async with made_up.watching(assembly):
            directory.rename(6, "First")  # what a process asks once is asked with it
            assert (await made_up.look(assembly)).actions == {"update": 1}
            counted = Counted()
            await counted.watch(journal)
            connection._execute = counted_hop  # type: ignore[method-assign]
            directory.rename(7, "Other")
            assert (await made_up.look(assembly)).actions == {"update": 1}
        assert 0 < hops <= MOST_HOPS, hops
        assert 0 < len(counted.statements) <= MOST_STATEMENTS_OF_A_CHANGE, len(counted.statements)
        assert counted.statements.count("COMMIT") == COMMITS_OF_A_CHANGE


def test_what_a_decision_allocates_does_not_depend_on_how_many_are_decided() -> None:
    now, policy = datetime(2026, 11, 23, tzinfo=UTC), Policy()
    found = []
    for people in (FEW, MANY):
        subjects = subjects_of(people)
        decisions = [None] * people
        gc.collect()
        before = sys.getallocatedblocks()
        for number, subject in enumerate(subjects):
            decisions[number] = decide(subject, policy, now)
        found.append((sys.getallocatedblocks() - before) / people)
    assert found[1] < 1.1 * found[0] + 0.01
    assert found[1] < MOST_BLOCKS

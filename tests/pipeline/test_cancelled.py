"""Cancelled at any await, a pass leaves no open transaction and a journal from which the next pass goes on."""

import asyncio
from collections.abc import Callable
from typing import Any

import anyio
import pytest

from pipeline.app.compose import assemble
from pipeline.core.exits import ExitCode
from pipeline.model import State
from state.upkeep import verify
from tests.pipeline.group_world import in_group, nest
from tests.pipeline.world import GatedJournal, World

pytestmark = pytest.mark.anyio

Make = Callable[..., World]


async def _as_in_a_thread(function: Callable[..., Any], *values: Any, **named: Any) -> Any:
    """A statement that was handed over is carried out, also where nobody waits for it any more."""
    try:
        await asyncio.sleep(0)
    finally:
        result = function(*values, **named)
    return result


class Walk:
    """One journal connection; every pass has an engine of its own on it."""

    def __init__(self, world: World, journal: GatedJournal) -> None:
        self.world, self.journal = world, journal
        self.database = journal.database
        self.code: ExitCode | None = None
        self.database._connection._execute = _as_in_a_thread  # type: ignore[method-assign, assignment]

    async def run(self, *, turns: int | None = None) -> bool:
        """Cancelled after so many turns of the event loop; True when it came to its end."""
        world, over = self.world, False
        assembly = assemble(
            world.settings(),
            self.journal,
            world.clock,
            directory=world.directory,
            team=world.team,
            mailer=world.mailer,
            simulated=False,
        )
        world.clock.slept.clear()

        async def end() -> None:
            assert turns is not None
            for _ in range(turns):
                await asyncio.sleep(0)
            tasks.cancel_scope.cancel()

        with anyio.fail_after(30):
            async with anyio.create_task_group() as tasks:
                if turns is not None:
                    tasks.start_soon(end)
                self.code = (await assembly.engine.run()).code
                over = True
                tasks.cancel_scope.cancel()
        assembly.engine.close()
        return over

    async def assert_sound(self, number: int) -> None:
        """Nothing is open: what somebody else writes next is all that their commit writes."""
        assert not self.database._connection.in_transaction
        with anyio.fail_after(10):
            async with self.journal.transaction():
                before = self.database._connection.total_changes
                await self.journal.put("somebody else", str(number))
                assert self.database._connection.total_changes == before + 1
        assert await verify(self.journal) == []


async def test_a_pass_cancelled_at_any_turn_of_the_event_loop_leaves_nothing_open(new_world: Make) -> None:
    world = new_world(
        groups={"mode": "same"},
        users={"leave_settle_seconds": 0},
        safety={"max_leavers": 100000, "max_email_changes": 100000},
    )
    sales = nest(world, "Sales", "ann")
    bob, cid, dan = world.people("bob", "cid", "dan")
    journal = await world.open_journal()
    walk = Walk(world, journal)
    assert await walk.run()
    world.accept_all()
    world.clock.turn(minutes=20)
    assert await walk.run()
    number, is_over = 0, False
    while not is_over:
        number += 1
        world.clock.turn(minutes=2)
        world.person(f"new{number}")
        world.directory.modify(bob, surname=f"Lee{number}")
        if number % 2:
            world.directory.disable(cid)
            world.directory.add_member(sales, dan)
        else:
            world.directory.enable(cid)
            world.directory.remove_member(sales, dan)
        is_over = await walk.run(turns=number - 1)
        await walk.assert_sound(number)
        for _ in range(2):
            world.clock.turn(minutes=2)
            assert await walk.run()
        assert walk.code is ExitCode.OK
        assert world.status(f"new{number}") == "invited"
        assert world.member("bob").surname == f"Lee{number}"
        assert world.status("cid") == ("suspended" if number % 2 else "active")
        assert in_group(world, "Sales") == (["ann", "dan"] if number % 2 else ["ann"])
        assert world.team.sent["invite"] == 4 + number
        async with journal.reading():
            assert await journal.outbox.in_state(State.SENDING, State.PLANNED, State.RETRY) == []
    await journal.close()
    assert number > 45

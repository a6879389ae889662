"""The clock was wrong and is set back: nobody waits for a time that is a year away, and nothing is done twice."""

import pytest

from pipeline.model import ActionKind, Outcome, Verdict
from tests.pipeline.world import World

pytestmark = pytest.mark.anyio


class PowerCut(Exception):
    """The process ends in the middle of its waiting."""


async def test_a_leaver_seen_while_the_clock_was_a_year_ahead_is_suspended_at_once_after_it(
    world: World,
) -> None:
    people = world.people(*(f"p{number}" for number in range(12)))
    await world.run()
    world.accept_all()
    await world.run()
    world.clock.turn(days=400)
    await world.run()
    world.directory.remove_member(world.group, people[0])

    def cut() -> None:
        raise PowerCut

    world.clock.on_sleep.append(cut)
    with pytest.raises(BaseExceptionGroup):
        await world.run()
    assert world.status("p0") == "active"
    world.clock.turn(days=-400)
    await world.run()
    assert world.status("p0") == "suspended"
    assert sum(world.clock.slept) < 600
    assert world.effects(ActionKind.SUSPEND) == [("suspend", "p0@example.test")]
    async with world.reading() as journal:
        causes = [line["cause"] for line in await journal.entries() if line["kind"] == "alert"]
        assert sum("clock was set back" in cause for cause in causes) == 1
    await world.run()
    assert world.effects(ActionKind.SUSPEND) == [("suspend", "p0@example.test")]


async def test_a_retry_planned_while_the_clock_was_ahead_does_not_wait_for_that_time(world: World) -> None:
    [ann] = world.people("ann")
    await world.run()
    world.accept_all()
    await world.run()
    world.clock.turn(days=400)
    world.directory.modify(ann, surname="Late")
    for _ in range(50):
        world.team.break_next(ActionKind.UPDATE, outcome=Outcome(verdict=Verdict.RETRY, tag="internal_error"))
    await world.run()
    assert (await world.states())["retry"] == 1
    world.team._faults.clear()
    world.clock.turn(days=-400)
    await world.run()
    assert world.member("ann").surname == "Late"


async def test_a_second_or_two_back_changes_nothing(world: World) -> None:
    world.person("ann")
    await world.run()
    world.clock.turn(seconds=-2)
    await world.run()
    async with world.reading() as journal:
        assert not [line for line in await journal.entries() if "clock" in line["cause"]]

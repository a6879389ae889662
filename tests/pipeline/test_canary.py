"""The canary over a real journal: what arrived, since when, and that the end of a pass does not call it over."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from pipeline.app.canary import Canary
from pipeline.core.alerting import AlertKind
from tests.pipeline.world import World

pytestmark = pytest.mark.anyio

Make = Callable[..., World]
EMAIL = "ann@example.test"


async def test_an_arrival_silences_it_and_silence_raises_it(new_world: Make) -> None:
    world = new_world()
    guid, *_ = world.people("ann", "bob")
    await world.run()
    world.accept_all()
    await world.settle()
    async with world.open() as assembly:
        clock = assembly.parts.clock
        canary = Canary(assembly.parts.journal, person=EMAIL, every=timedelta(hours=1))
        assert await canary.look(clock.now()) is None
        world.clock.turn(minutes=61)
        overdue = await canary.look(clock.now())
        assert overdue is not None
        assert overdue.lines == ("no change has arrived yet",)

        world.directory.modify(guid, surname="Lee")
        await assembly.engine.run()
        assert await canary.look(clock.now()) is None
        assert canary.arrived_at is not None
        world.clock.turn(minutes=61)
        overdue = await canary.look(clock.now())
        assert overdue is not None
        assert overdue.lines[0].startswith("last arrival: ")

        # A restart does not begin to count anew, another person does.
        again = Canary(assembly.parts.journal, person=EMAIL, every=timedelta(hours=1))
        assert await again.look(clock.now()) == overdue
        other = Canary(assembly.parts.journal, person="bob@example.test", every=timedelta(hours=1))
        assert await other.look(clock.now()) is None


async def test_no_pass_calls_it_over_and_it_is_told_once(new_world: Make) -> None:
    world = new_world()
    world.people("ann", "bob")
    judged = frozenset({AlertKind.CANARY})
    async with world.open() as assembly:
        await assembly.engine.run()
        journal, notifier = assembly.parts.journal, assembly.parts.notifier

        async def is_open() -> list[bool]:
            async with journal.reading():
                return [
                    one.is_open for one in await journal.alerts.known() if one.alert.key == AlertKind.CANARY
                ]

        canary = Canary(journal, person="nobody", every=timedelta(hours=1))
        alert = await canary.look(assembly.parts.clock.now())
        assert alert is not None
        told = await notifier.judge([alert], judged=judged, simulated=False)
        await assembly.engine.run()
        assert await is_open() == [True]
        again = await notifier.judge([alert], judged=judged, simulated=False)
        assert (told, again) == (1, 0)
        await notifier.judge([], judged=judged, simulated=False)
        assert await is_open() == [False]

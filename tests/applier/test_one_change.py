"""What one change costs Dropbox in a `watch` that has nothing else to do: three requests, whatever the change is.

The team is asked how it is, the person is read, the write is sent; never a write without the read before it.
"""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager

import anyio
import pytest

from pipeline.app.compose import Assembly
from pipeline.model import State
from tests.applier.world import HurriedClock, World
from tests.watching import watching_engine

pytestmark = pytest.mark.anyio

NewWorld = Callable[..., Awaitable[World]]


class HeldClock(HurriedClock):
    """Who waits for a second or more waits until the test turns the time; the pace's moments go by as they come."""

    def __init__(self) -> None:
        super().__init__()
        self._turned = anyio.Event()

    def turn(self, **span: float) -> None:
        super().turn(**span)
        self._turned.set()
        self._turned = anyio.Event()

    async def sleep(self, seconds: float) -> None:
        if seconds < 1:
            await super().sleep(seconds)
            return
        until = self.monotonic() + seconds
        while self.monotonic() < until:
            await self._turned.wait()


def _watching(world: World) -> AbstractAsyncContextManager[Assembly]:
    return watching_engine(world.process(), world.clock, ready_seconds=60)


async def _look(world: World, assembly: Assembly, *, until: str = "") -> list[str]:
    """The directory is looked at, and the watch is quiet again, after a request to `until`: the requests of it, in order."""
    before = len(world.simulator.team.timeline.exchanges())

    def routes() -> list[str]:
        return [one.route for one in world.simulator.team.timeline.exchanges()[before:]]

    world.clock.turn(seconds=5)
    assembly.engine.nudge()
    with anyio.fail_after(60):
        while until and until not in routes():
            await anyio.sleep(0.005)
        for _ in range(5):
            await assembly.engine.quiet()
            await anyio.sleep(0)
    return routes()


GREETING, READ = "team/get_info", "team/members/get_info_v2"


async def test_one_change_in_a_watch_costs_three_requests(new_world: NewWorld):
    # The event log is read by a timer of its own, whether anything changes or not.
    world = await new_world(
        users={"leave_settle_seconds": 0}, dropbox={"drift_poll_seconds": 0}, clock=HeldClock()
    )
    await world.settled("ann", "ben", "cid", "dan", "eva", "fay", "gus", "hal")
    world.directory.disable(world.guids["fay"])
    await world.run(full=True)
    directory, guids = world.directory, world.guids
    changes: dict[str, tuple[Callable[[], object], str]] = {
        "a new name": (lambda: directory.modify(guids["ann"], surname="Lee"), "set_profile_v2"),
        "a new e-mail": (lambda: directory.modify(guids["ben"], mail="b.lee@example.test"), "set_profile_v2"),
        "somebody new": (lambda: world.person("zoe"), "add_v2"),
        "disabled": (lambda: directory.disable(guids["cid"]), "suspend"),
        "enabled again": (lambda: directory.enable(guids["fay"]), "unsuspend"),
        "out of the group": (lambda: directory.remove_member(world.group, guids["dan"]), "suspend"),
        "deleted": (lambda: directory.delete(guids["eva"]), "remove"),
    }
    found: dict[str, list[str]] = {}
    async with _watching(world) as assembly:
        assert await _look(world, assembly) == [], "a look that finds nothing"
        # Whom the connector must not touch is asked once a process, with the first change.
        directory.modify(guids["gus"], surname="Lee")
        first = await _look(world, assembly, until="team/members/set_profile_v2")
        assert first == [GREETING, "team/token/get_authenticated_admin", READ, "team/members/set_profile_v2"]
        for name, (change, route) in changes.items():
            change()
            found[name] = await _look(world, assembly, until=f"team/members/{route}")
        assert await _look(world, assembly) == []
    assert found == {name: [GREETING, READ, f"team/members/{route}"] for name, (_, route) in changes.items()}
    assert await world.disagreements() == []
    assert await world.open(State.PLANNED, State.SENDING, State.RETRY, State.FAILED) == []

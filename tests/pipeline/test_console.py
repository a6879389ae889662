"""What admins do in Dropbox's console: overridden by the next single pass, as far as the team's event log tells it."""

from collections.abc import Callable

import pytest

from pipeline.core.exits import ExitCode
from pipeline.model import TeamEvent
from tests.pipeline.world import World

pytestmark = pytest.mark.anyio

Make = Callable[..., World]


async def suspended_in_the_console(world: World) -> None:
    world.people("ann", "bob")
    await world.run()
    world.accept_all()
    world.clock.turn(minutes=10)
    await world.run()
    world.clock.turn(minutes=10)
    world.suspend_in_console("ann")
    member_id = world.member("ann").member_id
    world.team.log.append(TeamEvent(at=world.clock.now(), kind="member_suspend", member_id=member_id))
    world.team.requests.clear()


async def test_a_plain_pass_overrides_what_the_console_changed_and_reads_nobody_else(world: World) -> None:
    await suspended_in_the_console(world)
    assert (await world.run()).code is ExitCode.OK
    assert (world.status("ann"), world.status("bob")) == ("active", "active")
    assert world.team.requests["list_members"] == 0
    assert world.team.requests["get_members"] == 1


async def test_without_the_event_log_the_full_comparison_does(new_world: Make) -> None:
    world = new_world(dropbox={"drift_poll_seconds": 0})
    await suspended_in_the_console(world)
    await world.run()
    assert world.status("ann") == "suspended"
    assert world.team.requests["events"] == 0
    await world.run(full=True)
    assert world.status("ann") == "active"

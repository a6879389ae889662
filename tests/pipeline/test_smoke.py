import time
import pytest
from tests.pipeline.world import World
pytestmark = pytest.mark.anyio

async def test_smoke(world: World):
    world.people("ann", "bob")
    t=time.monotonic()
    summary = await world.run()
    print(summary.code, summary.actions, time.monotonic()-t)
    world.accept_all()
    t=time.monotonic()
    summary = await world.run()
    print(summary.code, summary.actions, summary.ended_by, time.monotonic()-t)
    print(len(world.gate.crossings), world.gate.crossings)
    print(world.team_now())

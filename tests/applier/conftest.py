"""A world a test; at its end the official SDK's validators read everything that went over the wire."""

import importlib.util
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from sandbox.team import Switches
from tests.applier.world import HurriedClock, World


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def _oracle() -> ModuleType:
    path = Path(__file__).parents[1] / "sandbox_team" / "stone_oracle.py"
    spec = importlib.util.spec_from_file_location("applier_stone_oracle", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


ORACLE = _oracle()
LONG_BYTES, MOST_LONG = 10_000, 20


def complaints(world: World) -> list[str]:
    found: list[str] = []
    long: Counter[str] = Counter()
    for one in world.simulator.team.timeline.exchanges():
        long[one.route] += len(one.reply) > LONG_BYTES
        if len(one.reply) > LONG_BYTES and long[one.route] > MOST_LONG:
            continue  # thousands of people: what holds for the first pages of a route holds for the others
        # A reply that a fault has made up or spoilt is not the connector's doing: then only the request counts.
        if one.route == "oauth2/token":
            continue  # no route of the API: the SDK has no validators for it
        status = 500 if one.fault or one.status == 0 else one.status
        found += ORACLE.check_exchange(one.route, one.request, status, one.reply)
    return found


@pytest.fixture
async def new_world(tmp_path: Path, anyio_backend: str) -> AsyncIterator[Callable[..., Any]]:
    """`await new_world(switches={"async_polls": 3}, users={"reinvite_days": 1})`."""
    worlds: list[World] = []

    async def make(
        *,
        switches: dict[str, Any] | None = None,
        seats: int = 1000,
        team: dict[str, Any] | None = None,
        clock: HurriedClock | None = None,
        **config: Any,
    ) -> World:
        folder = tmp_path / f"world{len(worlds)}"
        folder.mkdir()
        world = World(
            folder, config, Switches(**(switches or {})), seats, team or {}, clock or HurriedClock()
        )
        await world.simulator.start()
        worlds.append(world)
        return world

    yield make
    for world in worlds:
        await world.simulator.stop()
    for world in worlds:
        assert complaints(world) == []

"""Killed at any instruction, without harm: the seeded part. The whole matrix: `python -m bench.crash`."""

from __future__ import annotations

from functools import partial

import anyio
import pytest

pytestmark = [pytest.mark.anyio, pytest.mark.samba]

SEED = 20261123


@pytest.fixture
def crash():
    import sys

    return sys.modules["crash_matrix"]


async def test_killed_at_named_points_the_end_is_that_of_an_uninterrupted_run(matrix, crash) -> None:
    done = await anyio.to_thread.run_sync(partial(crash.every_point, matrix, seed=SEED, most=12))
    assert done["killed"] >= 10  # a point that a shorter pass does not reach kills nobody


async def test_killed_at_random_instants_nothing_is_done_twice_or_lost(matrix, crash) -> None:
    done = await anyio.to_thread.run_sync(partial(crash.random_instants, matrix, seed=SEED, times=6))
    assert done["killed"] == 6

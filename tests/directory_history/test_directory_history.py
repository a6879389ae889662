"""Random histories on a real domain: after every poll the mirror equals a fresh full read (issue 3, "must show" 2)."""

import pytest

from bench.directory_history import options_of
from bench.history_run import HistoryRun
from bench.history_world import HistoryWorld

pytestmark = [pytest.mark.anyio, pytest.mark.samba]


@pytest.mark.parametrize(("source", "steps", "seed"), [("dirsync", 1500, 20261123), ("usn", 500, 20261124)])
async def test_the_mirror_equals_a_fresh_read_after_every_poll(samba_domain, tmp_path, source, steps, seed):
    with samba_domain.administrator() as admin:
        world = HistoryWorld(admin, f"history{source}", seed)
        run = HistoryRun(world, options_of(samba_domain, source), tmp_path, seed=seed, batch=16)
        figures = await run.run(steps)
    assert figures.steps >= steps
    assert figures.checks >= steps / 32
    assert figures.restarts
    assert figures.faults
    assert figures.full_reads >= 2

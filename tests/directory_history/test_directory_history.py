"""Random histories of a domain: after every poll the mirror equals a fresh full read."""

import pytest

from bench.directory_history import options_of
from bench.history_hands import MemoryHands, SambaHands
from bench.history_run import HistoryRun
from bench.history_world import HistoryWorld
from pipeline.model import Source
from stages.directory.ldap import LdapDirectory
from stages.directory.memory import MemoryDirectory

pytestmark = pytest.mark.anyio


@pytest.mark.samba
@pytest.mark.parametrize(("source", "steps", "seed"), [("dirsync", 1500, 20261123), ("usn", 500, 20261124)])
async def test_on_samba_the_mirror_equals_a_fresh_read(samba_domain, tmp_path, source, steps, seed):
    with samba_domain.administrator() as admin:
        tag = f"h{source[0]}"
        run = HistoryRun(
            HistoryWorld(SambaHands(admin, tag), tag, seed),
            lambda clock: LdapDirectory(options_of(samba_domain, source), clock=clock),
            tmp_path,
            source=source,
            seed=seed,
            batch=16,
        )
        figures = await run.run(steps)
    assert figures.steps >= steps
    assert figures.checks >= steps / 32
    assert figures.restarts
    assert figures.faults
    assert figures.full_reads >= 2


@pytest.mark.parametrize("recycle_bin", [False, True], ids=["tombstones", "recycle bin"])
@pytest.mark.parametrize("source", list(Source))
async def test_on_the_double_the_mirror_equals_a_fresh_read(tmp_path, source, recycle_bin):
    """The Recycle Bin, which Samba lacks: links come back with their ends, and no group tells of it."""
    directory = MemoryDirectory(source=source, page_size=3, recycle_bin=recycle_bin)
    run = HistoryRun(
        HistoryWorld(MemoryHands(directory), "h", 2),
        lambda _: directory,
        tmp_path,
        source=source.value,
        seed=2,
    )
    figures = await run.run(400)
    assert figures.checks > 20

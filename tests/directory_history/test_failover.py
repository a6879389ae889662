"""Two domain controllers that replicate, failed over in both directions while changes go on."""

import pytest

from bench.failover import fail_over
from bench.replicas import missing_for_replicas

pytestmark = pytest.mark.samba


@pytest.mark.parametrize(("source", "seed"), [("dirsync", 1), ("usn", 2)])
def test_nothing_is_lost_and_nothing_is_seen_twice(source, seed):
    """Making the pair costs 20 s of CPU; it is kept, and copies of it run within seconds."""
    if missing := missing_for_replicas():
        pytest.skip(missing)
    outcome = fail_over(source, seed, people=16)
    assert outcome.faults == []
    assert outcome.changes == 16
    assert set(outcome.outages) == {"dc1", "dc2"}
    assert set(outcome.answered) == {"dc1", "dc2"}

"""Two domain controllers that replicate, failed over in both directions while changes go on."""

import os

import pytest

from bench.failover import fail_over
from bench.replicas import missing_for_replicas

pytestmark = pytest.mark.samba


SLOW = pytest.mark.skipif(
    not os.environ.get("AD_CONNECTOR_SLOW_TESTS"),
    reason="slow: set AD_CONNECTOR_SLOW_TESTS=1, or `python -m bench.failover --source usn` (recorded in bench/results/failover.json)",
)


@pytest.mark.parametrize(("source", "seed"), [("dirsync", 1), pytest.param("usn", 2, marks=SLOW)])
def test_nothing_is_lost_and_nothing_is_seen_twice(source, seed):
    """Making the pair costs 20 s of CPU; it is kept, and copies of it run within seconds."""
    if missing := missing_for_replicas():
        pytest.skip(missing)
    outcome = fail_over(source, seed, people=16)
    assert outcome.faults == []
    assert outcome.changes == 16
    assert set(outcome.outages) == {"dc1", "dc2"}
    assert set(outcome.answered) == {"dc1", "dc2"}

from __future__ import annotations

from stages.dropbox.breaker import Breaker


def _opened(clock) -> Breaker:
    breaker = Breaker(clock, threshold=3, first_period_seconds=5, longest_period_seconds=15)
    for _ in range(3):
        breaker.failed(was_probe=breaker.start())
    return breaker


def test_opens_after_failures_in_a_row_only(clock):
    breaker = Breaker(clock, threshold=3)
    for _ in range(5):
        breaker.failed(was_probe=False)
        breaker.failed(was_probe=False)
        breaker.succeeded()
    assert not breaker.is_open
    assert _opened(clock).seconds_until_allowed() == 5


def test_lets_one_probe_through_when_the_period_is_over(clock):
    breaker = _opened(clock)
    clock.seconds = 5
    assert breaker.seconds_until_allowed() == 0
    assert breaker.start() is True
    assert breaker.seconds_until_allowed() > 0


def test_a_failed_probe_doubles_the_period_up_to_a_cap(clock):
    breaker = _opened(clock)
    periods = []
    for _ in range(4):
        clock.seconds += breaker.seconds_until_allowed()
        breaker.failed(was_probe=breaker.start())
        periods.append(breaker.seconds_until_allowed())
    assert periods == [10, 15, 15, 15]


def test_a_probe_that_succeeds_closes_it(clock):
    breaker = _opened(clock)
    clock.seconds = 5
    breaker.start()
    breaker.succeeded()
    assert not breaker.is_open
    assert breaker.seconds_until_allowed() == 0


def test_a_cancelled_probe_frees_its_place_and_a_late_failure_is_no_probe(clock):
    breaker = _opened(clock)
    clock.seconds = 5
    was_probe = breaker.start()
    breaker.failed(was_probe=False)  # sent before the circuit opened
    assert breaker.seconds_until_allowed() > 0
    breaker.abandoned(was_probe=was_probe)
    assert breaker.seconds_until_allowed() == 0

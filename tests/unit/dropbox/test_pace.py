"""The pace by itself: a table of what each event does to it, and whole courses against hidden limits in virtual time.

No machine is involved: the same numbers come out wherever this runs.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from stages.dropbox import pace as rules
from stages.dropbox.pace import LOWEST_RATE, NOTHING_KNOWN, KnownPace, Pace, Sent, smallest_limit

ROUND_TRIP = 0.05
UNKNOWN_CHANGE_SECONDS = 10.0  # nobody can know of a change before meeting it


# --- the vendor


@dataclass
class Bucket:
    """A token bucket, full at first."""

    per_second: float
    burst: float
    refused_count: bool = False
    tokens: float | None = None
    at: float = 0.0

    def admits(self, now: float) -> bool:
        tokens = self.burst if self.tokens is None else self.tokens
        self.tokens = min(self.burst, tokens + max(0.0, now - self.at) * self.per_second)
        self.at = max(self.at, now)
        if self.tokens >= 1:
            self.tokens -= 1
            return True
        if self.refused_count:
            self.tokens = max(-self.burst, self.tokens - 1)
        return False


@dataclass
class Course:
    """What arrived: (when it left, whether it was accepted); and when each refusal was known."""

    arrived: list[tuple[float, bool]] = field(default_factory=list)
    known_refusals: list[float] = field(default_factory=list)
    knew: list[KnownPace] = field(default_factory=list)  # with each that arrived

    def used(self, per_second: float, start: float, end: float) -> float:
        return sum(ok for at, ok in self.arrived if start <= at < end) / (per_second * (end - start))

    def refused(self, *spans: tuple[float, float]) -> float:
        inside = [ok for at, ok in self.arrived if any(start <= at < end for start, end in spans)]
        return inside.count(False) / max(1, len(inside))


def run(
    phases: Sequence[tuple[float, float]],
    *,
    burst: float,
    retry_after: float = 1.0,
    workers: int = 8,
    ceiling: float = 500.0,
    stalls_per_second: float = 0.0,
    refused_count: bool = False,
    round_trip: float = ROUND_TRIP,
    seed: int = 1,
    known: KnownPace = NOTHING_KNOWN,
) -> Course:
    """`phases`: (seconds, requests a second that are allowed). Callers always have something to send.

    Round trips vary by a third. A stall is a machine that does nothing for up to 0.15 s.
    """
    chance = random.Random(seed)
    bucket = Bucket(phases[0][1], burst, refused_count)
    changes = [(sum(seconds for seconds, _ in phases[:n]), rate) for n, (_, rate) in enumerate(phases)][1:]
    end = sum(seconds for seconds, _ in phases)
    pace, course = Pace(0.0, ceiling=ceiling, known=known), Course()
    replies: list[tuple[float, int, bool, Sent]] = []
    now = awake_at = 0.0
    stalls_at = chance.expovariate(stalls_per_second) if stalls_per_second else end
    number = 0
    while now < end:
        sends_at = max(pace.next_at, now, awake_at)
        if stalls_at <= sends_at and stalls_at < end:
            awake_at = stalls_at + chance.uniform(0.02, 0.15)
            stalls_at = awake_at + chance.expovariate(stalls_per_second)
            continue
        if replies and (len(replies) >= workers or replies[0][0] <= sends_at):
            at, _, accepted, sent = heapq.heappop(replies)
            now = max(now, at)
            if accepted:
                pace.accepted(sent, now)
            else:
                pace.refused(sent, now, retry_after)
                course.known_refusals.append(now)
            continue
        now = sends_at
        sent = pace.send(now)
        way = round_trip * chance.uniform(2 / 3, 4 / 3)
        while changes and now + way / 2 >= changes[0][0]:
            bucket.per_second = changes.pop(0)[1]
        accepted = bucket.admits(now + way / 2)
        course.arrived.append((now, accepted))
        course.knew.append(pace.known)
        number += 1
        heapq.heappush(replies, (now + way, number, accepted, sent))
    return course


# --- a limit that changes, as in the bench


def _spans(phases: Sequence[tuple[float, float]]) -> list[tuple[float, float, float]]:
    """(rate, start, end) of each phase without its first ten seconds."""
    start, spans = 0.0, []
    for seconds, rate in phases:
        spans.append((rate, start + UNKNOWN_CHANGE_SECONDS, start + seconds))
        start += seconds
    return spans


@pytest.mark.parametrize("round_trip", [0.005, 0.05, 0.1])
@pytest.mark.parametrize("burst", [5, 10])
@pytest.mark.parametrize("seconds", [40.0, 60.0])
def test_a_limit_that_falls_and_rises_again_is_used_from_ten_seconds_after(
    seconds: float, burst: float, round_trip: float
):
    """Wherever in the rhythm of its probes the rise falls."""
    used: list[list[float]] = [[], [], []]
    for moment in range(6):
        phases = [(seconds, 50.0), (seconds + 1.4 * moment, 5.0), (seconds, 50.0)]
        course = run(phases, burst=burst, seed=moment, round_trip=round_trip)
        spans = _spans(phases)
        for phase, (rate, start, end) in enumerate(spans):
            used[phase].append(course.used(rate, start, end))
        assert course.refused(*((start, end) for _, start, end in spans)) < 0.02
        assert course.refused((0.0, 1e9)) < 0.02, "with the seconds after the changes"
    for phase in used:
        assert sum(phase) / len(phase) >= 0.91
        assert min(phase) >= 0.88


def test_a_busy_machine_does_not_spoil_it():
    phases = [(60.0, 50.0), (60.0, 5.0), (60.0, 50.0)]
    course = run(phases, burst=5, stalls_per_second=0.5)
    for rate, start, end in _spans(phases):
        assert course.used(rate, start, end) >= 0.88
    assert course.refused((0.0, 180.0)) < 0.02


# --- a limit that stays


@pytest.mark.parametrize("per_second", [5.0, 10.0, 20.0, 50.0, 100.0, 200.0])
@pytest.mark.parametrize("seconds_of_burst", [0.1, 1.0])
def test_a_steady_limit_is_used_with_few_refusals(per_second: float, seconds_of_burst: float):
    burst = max(5.0, seconds_of_burst * per_second)
    course = run([(100.0, per_second)], burst=burst, workers=40)
    assert course.used(per_second, 30, 100) >= 0.92
    assert course.refused((30.0, 100.0)) < 0.02


@pytest.mark.parametrize(("burst", "least"), [(1, 0.35), (2, 0.84)])
def test_a_limit_that_forgives_next_to_nothing_is_still_used_and_hardly_ever_passed(
    burst: float, least: float
):
    course = run([(120.0, 20.0)], burst=burst)
    assert course.used(20, 20, 120) >= least
    assert course.refused((10.0, 120.0)) < 0.02


@pytest.mark.parametrize("retry_after", [0.2, 1.0, 7.0, 30.0])
@pytest.mark.parametrize("refused_count", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_nothing_leaves_before_retry_after_and_refusals_stay_few(
    seed: int, refused_count: bool, retry_after: float
):
    chance = random.Random(seed)
    phases = [(chance.uniform(5, 40), chance.choice([0.5, 3, 5, 20, 50, 200])) for _ in range(6)]
    course = run(
        phases,
        burst=chance.choice([1, 2, 5, 20, 100]),
        retry_after=retry_after,
        stalls_per_second=chance.choice([0.0, 0.5]),
        refused_count=refused_count,
        seed=seed,
    )
    assert course.known_refusals
    for known in course.known_refusals:
        assert not [at for at, _ in course.arrived if known < at < known + retry_after - 1e-9]
    # Each change may cost some; what probing costs is a share of the accepted.
    refused = sum(not accepted for _, accepted in course.arrived)
    accepted = len(course.arrived) - refused
    assert refused <= 12 * len(phases) + 0.02 * accepted


def test_a_ceiling_below_the_limit_is_kept_to_and_reached():
    course = run([(60.0, 1000.0)], burst=1000, ceiling=10)
    for second in range(60):
        assert sum(second <= at < second + 1 for at, _ in course.arrived) <= 11
    assert course.used(10, 20, 60) >= 0.98
    assert not course.known_refusals


def test_a_block_that_lifts_is_over_within_a_minute():
    course = run([(30.0, 20.0), (60.0, 0.0), (90.0, 20.0)], burst=5)
    assert course.used(20, 150, 180) >= 0.9


@pytest.mark.parametrize(("before", "after"), [(20.0, 50.0), (10.0, 30.0), (20.0, 30.0)])
def test_a_rise_that_no_fall_announced_is_found_within_half_a_minute(before: float, after: float):
    course = run([(60.0, before), (120.0, after)], burst=5)
    assert course.used(after, 95, 180) >= 0.9


# --- how it begins: 500 requests at 50 a second are ten seconds


def _seconds_for(requests: int, course: Course) -> float:
    return [at for at, ok in course.arrived if ok][requests - 1]


@pytest.mark.parametrize("round_trip", [0.005, 0.05, 0.1])
def test_a_ceiling_is_reached_at_once_and_without_a_refusal(round_trip: float):
    course = run([(20.0, 50.0)], burst=5, ceiling=50, round_trip=round_trip)
    assert _seconds_for(500, course) <= 1.05 * 10 + 2 * round_trip, "whose first replies are waited for"
    assert not course.known_refusals


@pytest.mark.parametrize("burst", [5, 10])
@pytest.mark.parametrize("round_trip", [0.005, 0.05, 0.1])
def test_a_limit_that_an_earlier_client_met_is_kept_to_from_the_first_request(
    round_trip: float, burst: float
):
    known = KnownPace(rate=25.0, limit=50.0, is_certain=True)
    course = run([(20.0, 50.0)], burst=burst, round_trip=round_trip, known=known)
    assert _seconds_for(500, course) <= 1.05 * 10
    assert not course.known_refusals


@pytest.mark.parametrize(
    ("rate", "limit", "is_certain", "excess", "fallen_from", "known"),
    [
        (40.0, None, False, 0.0, 0.0, KnownPace(40.0)),
        (24.0, 49.0, False, 0.0, 0.0, KnownPace(24.0, 49.0)),  # on the way back to a rough one
        (24.0, 49.0, True, 0.0, 0.0, KnownPace(24.0, 49.0, is_certain=True)),
        (52.0, 49.0, False, 0.0, 0.0, KnownPace(52.0, 52.0, is_certain=True)),  # passed, slowly
        (60.0, 49.0, True, 0.2, 0.0, KnownPace(60.0, 49.0, is_certain=True)),  # a probe is quick
        (5.0, 5.1, True, 0.0, 50.0, KnownPace(5.0, 5.1)),  # fallen: it is likely to come back
    ],
)
def test_what_the_next_client_is_told(
    rate: float,
    limit: float | None,
    is_certain: bool,
    excess: float,
    fallen_from: float,
    known: KnownPace,
):
    pace = _steady(rate, limit=limit)
    pace._is_certain, pace._excess, pace._fallen_from = is_certain, excess, fallen_from
    assert pace.known == known


@pytest.mark.parametrize("burst", [5, 10])
@pytest.mark.parametrize("round_trip", [0.005, 0.05])
def test_a_load_knows_the_limit_from_the_load_before(round_trip: float, burst: float):
    known, seconds = NOTHING_KNOWN, []
    for seed in range(4):
        course = run([(20.0, 50.0)], burst=burst, round_trip=round_trip, known=known, seed=seed)
        seconds.append(_seconds_for(500, course))
        known = course.knew[[at for at, _ in course.arrived].index(seconds[-1])]
    assert max(seconds[1:]) <= 1.12 * 10


@pytest.mark.parametrize("burst", [5, 10, 50])
@pytest.mark.parametrize("round_trip", [0.005, 0.05, 0.1])
def test_a_hidden_limit_costs_a_first_load_two_refusals_at_most(round_trip: float, burst: float):
    course = run([(20.0, 50.0)], burst=burst, round_trip=round_trip)
    assert _seconds_for(500, course) <= 1.45 * 10


@pytest.mark.parametrize("after", [5.0, 20.0, 30.0, 100.0])
def test_a_limit_that_changed_between_two_clients_is_found_as_within_one(after: float):
    known = KnownPace(rate=50.0, limit=50.0, is_certain=True)
    course = run([(120.0, after)], burst=5, known=known)
    within = run([(60.0, 50.0), (120.0, after)], burst=5)
    assert course.used(after, 60, 120) >= within.used(after, 120, 180) - 0.03
    assert course.refused((10.0, 120.0)) < 0.02
    for refused in course.known_refusals:
        assert not [at for at, _ in course.arrived if refused < at < refused + 1.0 - 1e-9]


# --- event by event


def _steady(rate: float, *, limit: float | None = None, at: float = 100.0) -> Pace:
    """A pace that has been at `rate` for ten seconds, with the limit it remembers."""
    pace = Pace(at - 20, ceiling=500)
    pace.rate, pace.limit = rate, limit
    pace._stood_at = limit or 0.0
    for number in range(int(8 * rate)):
        pace._accepted.append(at - 8 + number / rate)
    return pace


TABLE = [
    # (rate, limit, refused at once) -> (rate, limit) afterwards
    ("in search, what was reached", 40.0, None, False, (20.0, 33.6)),
    ("on the plateau, a little lower", 48.0, 49.0, False, (24.0, 47.0)),
    ("again at once after few replies, half", 20.0, 40.0, True, (10.0, 20.0)),
]


@pytest.mark.parametrize(("_name", "rate", "limit", "at_once", "after"), TABLE)
def test_what_a_refusal_does(
    _name: str, rate: float, limit: float | None, at_once: bool, after: tuple[float, float]
):
    pace = _steady(rate, limit=limit)
    if at_once:
        pace._accepted.clear()
        pace.silent_until = 99.5
    pace.refused(Sent(100.0), 100.05, 1.0)
    assert pace.rate == pytest.approx(after[0])
    assert pace.limit == pytest.approx(after[1], abs=0.05)
    assert pace.next_at == 101.05


def test_a_refusal_after_a_while_at_the_ceiling_measures_and_is_no_end_of_a_search():
    """The ceiling may be the very limit, and a machine that stalls between here and there makes a burst of a steady stream."""
    pace = Pace(0.0, ceiling=50)
    now = 0.0
    while now < 5:
        now = pace.next_at
        pace.accepted(pace.send(now), now + 0.01)
    pace.refused(pace.send(pace.next_at), now + 0.05, 1.0)
    assert pace.limit == pytest.approx(50.0, abs=1.0)
    assert pace.known.is_certain
    while now < 7:
        now = pace.next_at
        pace.accepted(pace.send(now), now + 0.01)
    assert pace.rate >= rules.PLATEAU_FROM * 49


def test_requests_on_their_way_belong_to_the_same_refusal():
    pace = _steady(40.0, limit=41.0)
    for sent_at in (100.0, 100.01, 100.02):
        pace.refused(Sent(sent_at), sent_at + 0.05, 2.0)
    assert pace.rate == 20.0
    assert pace.silent_until == pytest.approx(102.07)
    pace.accepted(Sent(100.03), 100.08)
    assert pace.rate == 20.0


def test_a_longer_retry_after_is_not_shortened_by_a_later_one():
    pace = _steady(40.0, limit=41.0)
    pace.refused(Sent(100.0), 100.05, 30.0)
    pace.refused(Sent(100.01), 100.06, 1.0)
    assert pace.next_at == 130.05


def test_only_replies_to_paced_requests_make_it_grow():
    pace = Pace(0.0, ceiling=500)
    before = pace.rate
    pace.accepted(Sent(0.1, was_paced=False), 0.2)
    assert pace.rate == before
    pace.accepted(Sent(0.3, was_paced=True), 0.4)
    assert pace.rate == before + rules.SEARCH_GAIN_PER_REPLY


def test_idle_time_is_no_evidence():
    pace = _steady(30.0, limit=50.0)
    pace._credited_until = 100.0
    pace.accepted(Sent(5000.0), 5000.05)
    assert pace.rate <= 30.0 + rules.RECOVERY_PER_SECOND * 50 * 2 / 30


def test_a_request_is_paced_when_it_had_to_wait_and_late_ones_make_no_burst():
    pace = Pace(0.0, ceiling=10)
    pace.rate = 10.0
    assert pace.send(0.0).was_paced
    assert pace.next_at == pytest.approx(0.1)
    assert pace.send(0.12).was_paced
    assert pace.next_at == pytest.approx(0.2), "two hundredths late, made good"
    assert not pace.send(5.0).was_paced
    assert pace.next_at == pytest.approx(5.05), "half an interval is made good, not five seconds"


def test_silence_says_nothing_about_the_limit():
    pace = _steady(40.0, limit=41.0)
    pace.silence(100.0, 3.0)
    assert (pace.rate, pace.limit, pace.next_at) == (40.0, 41.0, 103.0)


@pytest.mark.parametrize(
    ("excess", "measured", "limit", "plateau"),
    [
        (0.0, 50.0, 49.0, 30.0),  # on the way: measured well, and left in peace
        (0.2, 52.0, 50.0, 30.0),  # a probe that found what was known well already
        (0.2, 58.0, 53.8, 12.0),  # one that found more: half of it, and known roughly
        (2.0, 90.0, 85.1, 12.0),  # one that found another limit
    ],
)
def test_how_long_the_plateau_after_a_refusal_lasts_says_how_well_the_limit_is_known(
    excess: float, measured: float, limit: float, plateau: float
):
    pace = _steady(50.0, limit=50.0)
    pace._accepted.clear()
    pace._accepted.extend(pace.silent_until + number / measured for number in range(int(8 * measured)))
    pace._is_certain = True
    pace._excess, pace.rate = excess, 1.05 * measured if excess else measured
    at = pace.silent_until + 8
    pace.refused(Sent(at), at, 1.0)
    assert pace.limit == pytest.approx(limit, abs=0.1)
    assert pace._plateau(pace.limit or 0.0, at) == plateau


def test_the_pace_never_falls_to_nothing():
    pace = Pace(0.0, ceiling=10)
    now = 0.0
    for _ in range(50):
        now = pace.next_at
        pace.refused(pace.send(now), now + 0.05, 1.0)
    assert pace.rate == LOWEST_RATE


@pytest.mark.parametrize(
    ("accepted", "refused_at", "limit"),
    [
        ([], 1.0, 0.0),
        ([0.0, 0.5], 1.0, 0.0),  # a burst of three explains them all
        ([0.0, 0.1, 0.2, 0.3, 0.4, 0.5], 0.6, 5.0),  # six in 0.6 s: 3 + 5 x 0.6
        ([n / 10 for n in range(100)], 10.0, 9.7),
        ([n / 2 for n in range(20)] + [10 + n / 20 for n in range(20)], 11.0, 17.0),  # the end tells
    ],
)
def test_the_smallest_limit_that_explains_what_was_let_through(
    accepted: list[float], refused_at: float, limit: float
):
    assert smallest_limit(accepted, refused_at, burst=3) == pytest.approx(limit)

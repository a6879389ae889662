"""How fast to send, as a pure state machine: it is told of replies and refusals, and says what the pace is.

    search ──refused──▶ silence ──Retry-After over──▶ recovery ──▶ plateau ──quiet long enough──▶ probe
                           ▲                             │ refused      │ refused                   │ refused
                           └─────────────────────────────┴──────────────┴───────────────────────────┘

The vendor publishes no number, counts refused requests too, and answers 429 with a time in which nothing may leave.
So a refusal is dear (a second of silence), and the shape is that of TCP CUBIC (RFC 9438): halve, come back quickly to
just below where the limit was, stay there, and then grow ever faster, for what was passed unpunished is no limit any
more. How long the plateau lasts is a budget: a probe may cost so much time and so many refused requests, and no more.
A limit that was met at speed is known roughly. Its plateau climbs slowly past it until it is refused: that measures it
well, for the price of the probe that it saves, and the next plateau may be long.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

FIRST_RATE = 10.0  # what the configuration allows where nothing is set
LOWEST_RATE = 0.2
# Per accepted reply, in requests a second, while no limit has been met: e times as fast every half second.
SEARCH_GAIN_PER_REPLY = 2.0

# How it grows: shares of the remembered limit.
RECOVERY_PER_SECOND = 4.0
PLATEAU_FROM, PLATEAU_TO = 0.97, 1.0
UNSURE_PLATEAU_TO = 1.1  # of a limit that is known roughly
PROBE_FROM = 0.05  # beyond the limit; this excess doubles:
PROBE_DOUBLES_IN_SECONDS = 0.4
PROBE_DOUBLES_IN_REPLIES = 2.0  # not faster than this: replies are what tells

# When it probes: plateaus are so many times the silence that a refusal costs, longer where the limit is known well.
# Probes are paid for with accepted requests: 1.4 % of them may be refused by probing.
UNSURE_PLATEAU_SILENCES = 12.0
PLATEAU_SILENCES = 30.0
SAME_LIMIT = 0.08  # a probe that finds it within this share of what was remembered has found nothing new
REQUESTS_A_PROBE = 70.0
MOST_SAVED_PROBES = 12.0
UNPAID_PLATEAU_SECONDS = 60.0  # at a very low limit nothing can be saved; even so it is asked for at times
# What fell to less than half just now is likely to come back: asked for more often, with what was saved up before.
FRESH_PLATEAU_SILENCES = 4.0
FALL_IS_FRESH_SECONDS = 300.0

# A late wake-up is made good by so much at most: otherwise a pause would end in a burst.
MOST_LATE_INTERVALS = 0.5
MOST_LATE_SECONDS = 0.01  # where that is more: a busy event loop wakes nobody to the millisecond

# Where the limit is, by what was let through.
REMEMBERED_SECONDS = 8.0
ASSUMED_BURST = 3.5  # too small corrects itself by another refusal, too large would stay too low
LEAST_EVIDENCE = 5  # accepted requests; a refusal after fewer does not tell where the limit is
AT_ONCE_SECONDS = 3.0  # refused again so soon after a silence: it is lower than remembered
DOUBTS_AT_ONCE = (0.98, 0.96, 0.92)  # ... by this share at least, the first, second, third time in a row
MOST_AT_ONCE = 0.25  # ... and not lower than this share, whatever was measured in so short a time
SURPRISE = 0.98
ANOTHER_LIMIT = 0.5  # a probe that came so far beyond has found another one
OVERSHOT = 0.95  # and came at it fast, so that it is measured less well
SEARCH_OVERSHOT = 0.85  # the end of a search, which is faster still
CERTAIN_SECONDS = 1.5  # of steady sending before a refusal: it was measured well
CREEP = 0.15  # of the excess unpunished, taken for granted while it was not
HALF_WAY = 0.5  # from what held to what a probe measured, which its haste makes too high


@dataclass(frozen=True, slots=True)
class Sent:
    """A request that left. `was_paced`: it had to wait for the pace; only such say that the pace is too low."""

    at: float
    was_paced: bool = True


@dataclass(frozen=True, slots=True)
class KnownPace:
    """What an earlier client came to, in requests a second: its pace, and the limit that it met; 0.0 for none.

    `is_certain`: the limit was measured or passed while sending steadily. `silent_seconds`: a Retry-After has so long to go.
    """

    rate: float = 0.0
    limit: float = 0.0
    is_certain: bool = False
    silent_seconds: float = 0.0


NOTHING_KNOWN = KnownPace()


class Pace:
    """All times in seconds of a monotonic clock, all rates in requests a second."""

    def __init__(self, now: float, *, ceiling: float, known: KnownPace = NOTHING_KNOWN) -> None:
        self._ceiling = ceiling
        self.rate = _first_rate(known, ceiling)
        self.limit: float | None = known.limit or None
        self.silent_until = now + known.silent_seconds
        self._next_at = now
        self._credited_until = self.silent_until
        self._silence = 1.0
        self._refused_at_once = 0  # in a row
        self._is_warned = False
        self._is_certain = known.is_certain  # of the limit
        self._plateau_seconds = 0.0
        self._excess = 0.0  # of a probe, as a share of the limit
        self._saved_probes = 1.0
        self._is_charged = False
        self._stood_at = known.limit  # the limit before it began to fall
        self._fallen_from = 0.0
        self._fallen_at = float("-inf")
        self._accepted: deque[float] = deque()  # when they were sent, since the last silence

    @property
    def known(self) -> KnownPace:
        """For the next client. What a plateau climbed past unpunished is no limit any more, and no longer rough."""
        if self.limit is None:
            return KnownPace(self.rate)
        is_passed = not self._excess and self.rate > self.limit
        is_likely_to_rise = self.limit < self._fallen_from / 2
        return KnownPace(
            self.rate,
            self.rate if is_passed else self.limit,
            (self._is_certain or is_passed) and not is_likely_to_rise,
        )

    # --- sending

    @property
    def next_at(self) -> float:
        """When the next request may leave."""
        return max(self._next_at, self.silent_until)

    def send(self, now: float) -> Sent:
        """One leaves now, which is not before `next_at`. Hand it to `accepted` or `refused`, or to neither if it was lost."""
        interval = 1.0 / self.rate
        most_late = max(MOST_LATE_INTERVALS * interval, MOST_LATE_SECONDS)
        # Who comes later than that was kept by something else than the pace: no free place, or nothing to send.
        was_paced = now - self._next_at < max(interval, most_late)
        self._next_at = max(self._next_at, now - most_late) + interval
        return Sent(now, was_paced)

    # --- what comes back

    def accepted(self, sent: Sent, now: float) -> None:
        """The vendor looked at it, whatever it said: it was within the limit."""
        self._saved_probes = min(MOST_SAVED_PROBES, self._saved_probes + 1.0 / REQUESTS_A_PROBE)
        if sent.at < self.silent_until:
            return  # left before the last silence began, and tells of a time that is over
        self._accepted.append(sent.at)
        while self._accepted and self._accepted[0] < now - REMEMBERED_SECONDS:
            self._accepted.popleft()
        # Idle time is no evidence: growth is credited for the time between replies at the present pace.
        busy_seconds = max(0.0, min(now - self._credited_until, 2.0 / self.rate))
        self._credited_until = max(now, self._credited_until)
        if sent.was_paced:
            self.rate = min(self._ceiling, self._grown(busy_seconds, now))

    def refused(self, sent: Sent, now: float, retry_after: float) -> None:
        """429. Requests that were on their way already belong to the same refusal and don't halve again."""
        is_first = sent.at >= self.silent_until
        if is_first:
            self._is_charged = self._excess > 0.0
            self._learn(sent.at)
            self.rate = max(LOWEST_RATE, min(self.rate / 2, PLATEAU_FROM * (self.limit or self.rate)))
            self._plateau_seconds = self._excess = 0.0
            self._accepted.clear()
            self._silence = max(retry_after, 1.0)
        if self._is_charged:
            self._saved_probes = max(0.0, self._saved_probes - 1.0)
        self.silence(now, retry_after)

    def silence(self, now: float, seconds: float) -> None:
        """Nothing leaves for so long; says nothing about the limit."""
        self.silent_until = max(self.silent_until, now + seconds)
        self._credited_until = self.silent_until

    # --- where the limit is

    def _learn(self, refused_at: float) -> None:
        # The end of a search is quick, but no second refusal.
        is_at_once = self.limit is not None and refused_at - self.silent_until < AT_ONCE_SECONDS
        self._refused_at_once = self._refused_at_once + 1 if is_at_once else 0
        has_evidence = len(self._accepted) >= LEAST_EVIDENCE
        if self.limit is None and not has_evidence and not self._is_warned:
            self._is_warned = True
            return
        believed = max(LOWEST_RATE, self._believed(refused_at, has_evidence=has_evidence))
        self.limit = believed
        if not is_at_once:
            self._stood_at = believed
        elif believed < self._stood_at / 2:
            self._fallen_from, self._fallen_at = self._stood_at, refused_at

    def _believed(self, refused_at: float, *, has_evidence: bool) -> float:
        """What was measured, within what the way here allows: each stage of the pace tells something by itself."""
        limit, rate = self.limit, self.rate
        measured = smallest_limit(self._accepted, refused_at, ASSUMED_BURST)
        if limit is None:
            self._is_certain = self._plateau_seconds >= CERTAIN_SECONDS
            return _within(rate / 2, (1.0 if self._is_certain else SEARCH_OVERSHOT) * measured, rate)
        was_certain, self._is_certain = self._is_certain, False
        if self._refused_at_once:
            self._is_certain = refused_at - self.silent_until >= CERTAIN_SECONDS
            doubt = DOUBTS_AT_ONCE[min(self._refused_at_once, len(DOUBTS_AT_ONCE)) - 1]
            return _within(MOST_AT_ONCE * limit, measured, doubt * limit) if has_evidence else limit / 2
        if self._excess:  # the plateau held
            if was_certain and measured <= (1.0 + SAME_LIMIT) * limit:
                self._is_certain = True
                return limit
            if self._excess > ANOTHER_LIMIT:
                return _within(limit, OVERSHOT * measured, rate)
            least = limit if was_certain else limit * (1.0 + CREEP * self._excess)
            return _within(least, limit + HALF_WAY * (measured - limit), rate)
        self._is_certain = True
        return _within(limit / 2, measured, SURPRISE * rate)

    # --- growth

    def _grown(self, busy_seconds: float, now: float) -> float:
        limit = self.limit
        if limit is None:
            if self.rate >= self._ceiling:
                self._plateau_seconds += busy_seconds
            return self.rate + SEARCH_GAIN_PER_REPLY
        if self.rate < PLATEAU_FROM * limit:
            return min(self.rate + RECOVERY_PER_SECOND * limit * busy_seconds, PLATEAU_FROM * limit)
        self._plateau_seconds += busy_seconds
        if self._excess:
            if self.rate < self._ceiling:
                doublings = min(busy_seconds / PROBE_DOUBLES_IN_SECONDS, 1 / PROBE_DOUBLES_IN_REPLIES)
                self._excess *= 2.0**doublings
        else:
            plateau = self._plateau(limit, now)
            is_paid = self._saved_probes >= 1.0 or self._plateau_seconds >= UNPAID_PLATEAU_SECONDS
            if self._plateau_seconds < plateau or not is_paid:
                share = min(1.0, self._plateau_seconds / plateau)
                is_known = self._is_certain or self._is_fresh(limit, now)
                top = PLATEAU_TO if is_known else UNSURE_PLATEAU_TO
                return max(self.rate, limit * (PLATEAU_FROM + (top - PLATEAU_FROM) * share))
            self._excess = max(PROBE_FROM, self.rate / limit - 1.0)
        return max(self.rate, limit * (1.0 + self._excess))

    def _plateau(self, limit: float, now: float) -> float:
        """How long it lasts, in seconds of sending."""
        if self._is_fresh(limit, now):
            return self._silence * FRESH_PLATEAU_SILENCES
        return self._silence * (PLATEAU_SILENCES if self._is_certain else UNSURE_PLATEAU_SILENCES)

    def _is_fresh(self, limit: float, now: float) -> bool:
        """Whether the limit has fallen so far just now that it is likely to come back."""
        return limit < self._fallen_from / 2 and now - self._fallen_at < FALL_IS_FRESH_SECONDS


def _first_rate(known: KnownPace, ceiling: float) -> float:
    """Where a limit was met, just below it: should it have fallen since, that costs what any fall costs.

    Where none was met, at what was reached, if that was all that the configuration allows; else it was on the way up,
    perhaps within the forgiveness of a burst.
    """
    if known.limit:
        return min(max(LOWEST_RATE, PLATEAU_FROM * known.limit), ceiling)
    return min(known.rate if known.rate >= ceiling else max(FIRST_RATE, known.rate / 2), ceiling)


def _within(least: float, value: float, most: float) -> float:
    return min(max(least, value), most)


def smallest_limit(accepted_at: Iterable[float], refused_at: float, burst: float) -> float:
    """The smallest rate at which a token bucket of `burst` lets all these through until it refuses.

    For any stretch of time before the refusal, what was let through in it is at most burst + rate x time. 0.0 where
    so few were let through that any rate would have done.
    """
    smallest = 0.0
    for count, at in enumerate(reversed(list(accepted_at)), start=1):
        if count > burst and at < refused_at:
            smallest = max(smallest, (count - burst) / (refused_at - at))
    return smallest

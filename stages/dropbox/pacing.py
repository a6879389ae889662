"""One budget of requests for all callers, which finds the team's limit by itself.

The vendor publishes no number, counts refused requests too, and limits by team and app. So the pace starts
gently and grows with every accepted reply; a refusal halves it, sends nothing before Retry-After, and remembers
about where the limit was: growth is quick up to just below that, slow around it (a refusal costs a second of
silence, so that asking often costs more than it finds), and doubling again and again once it has been passed
unpunished (the limit has risen). After a fall it asks more often: what fell just now is likely to rise again.
Halving alone, without that memory, would use three quarters of what is allowed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

import anyio

from pipeline.ports import Clock

FIRST_RATE = 2.0
LOWEST_RATE = 0.2
SEARCH_GAIN_PER_REPLY = 0.4  # requests a second, per accepted reply, while the limit is not known
# The following: shares of the remembered limit, gained in a second of steady sending.
RECOVERY_PER_SECOND = 1.2
APPROACH_PER_SECOND = 0.002
PROBE_STEP = 0.02
PROBE_DOUBLES_IN_SECONDS = 0.5
PROBE_DOUBLES_IN_REPLIES = 2.0
PROBE_EVIDENCE = 10  # accepted beyond the remembered limit: more than a burst allowance, it is higher
FRESH_APPROACH_PER_SECOND = 0.006
FALL_IS_FRESH_SECONDS = 45.0  # to less than half
APPROACH_FROM = 0.97
PROBE_FROM = 1.0
LIMIT_HAS_RISEN = 2.0  # times the remembered limit: found by overshooting, as in a search
MEASURE_SECONDS = 8.0
SHORTEST_MEASURE_SECONDS = 1.5
AT_ONCE_SECONDS = 4.0  # refused again so soon: the limit has fallen, believe the memory less each time
SEARCH_MARGIN = 0.85  # a search overshoots by about one round trip of growth
AT_ONCE_MARGIN = 0.15
LEAST_MARGIN = 0.5
LEAST_EVIDENCE = 5  # accepted requests; a refusal after fewer does not tell where the limit is
READS_WAIT_FOR_WRITES = 2  # with both waiting, this many writes go before one read


@dataclass(slots=True, eq=False)
class _Waiter:
    is_write: bool
    event: anyio.Event


@dataclass(frozen=True, slots=True)
class Slot:
    """A granted request; hand it back with exactly one of accepted, refused or released."""

    sent_at: float


class Pacer:
    """Await `acquire`, send, then hand the slot back. Safe to cancel while waiting."""

    def __init__(self, clock: Clock, *, max_requests_per_second: float, max_concurrency: int) -> None:
        self._clock = clock
        self._ceiling = max_requests_per_second
        self._max_concurrency = max_concurrency
        self._rate = min(FIRST_RATE, self._ceiling)
        self._known_limit: float | None = None
        self._next_at = clock.monotonic()
        self._held_until = clock.monotonic()
        self._last_growth_at = clock.monotonic()
        self._halved_at = float("-inf")
        self._fallen_at = float("-inf")
        self._stood_at = 0.0
        self._probed_replies = 0
        self._refusals_at_once = 0
        self._accepted_at: deque[float] = deque()
        self._reads: deque[_Waiter] = deque()
        self._writes: deque[_Waiter] = deque()
        self._writes_in_a_row = 0
        self._in_flight = 0
        self._sent = 0
        self._refused = 0

    async def acquire(self, *, is_write: bool) -> Slot:
        """Waits for a free place, for the pace, and for the end of a Retry-After."""
        waiter = _Waiter(is_write, anyio.Event())
        queue = self._writes if is_write else self._reads
        queue.append(waiter)
        try:
            while True:
                if self._head() is not waiter or self._in_flight >= self._max_concurrency:
                    await waiter.event.wait()
                    waiter.event = anyio.Event()
                    continue
                wait_seconds = max(self._next_at, self._held_until) - self._clock.monotonic()
                if wait_seconds <= 0:
                    return self._grant(is_write=is_write)
                await self._clock.sleep(wait_seconds)
        finally:
            queue.remove(waiter)
            self._wake_head()

    def _grant(self, *, is_write: bool) -> Slot:
        now = self._clock.monotonic()
        # A late wake-up is made good by one interval at most: otherwise a pause would end in a burst.
        interval = 1.0 / self._rate
        self._next_at = max(self._next_at, now - interval) + interval
        self._in_flight += 1
        self._sent += 1
        self._writes_in_a_row = self._writes_in_a_row + 1 if is_write else 0
        return Slot(now)

    def _head(self) -> _Waiter | None:
        """Who goes next. Writes first, but a read after every second one: settling a write needs reads."""
        if self._writes and not (self._reads and self._writes_in_a_row >= READS_WAIT_FOR_WRITES):
            return self._writes[0]
        return self._reads[0] if self._reads else None

    def _wake_head(self) -> None:
        head = self._head()
        if head is not None:
            head.event.set()

    def accepted(self, slot: Slot) -> None:
        """The vendor looked at it, whatever it said: it was within the limit."""
        now = self._clock.monotonic()
        self._accepted_at.append(slot.sent_at)
        self._grow(now)
        self.released(slot)

    def released(self, slot: Slot) -> None:  # noqa: ARG002 -- the slot is what the caller gives up
        """Cancelled or lost: frees the place and says nothing about the limit."""
        self._in_flight -= 1
        self._wake_head()

    def refused(self, slot: Slot, retry_after_seconds: float) -> None:
        """429: nothing leaves for so long. Requests already on their way when the first one came back
        belong to the same refusal and don't halve the pace again.
        """
        now = self._clock.monotonic()
        self._refused += 1
        if slot.sent_at >= self._held_until:
            self._refusals_at_once = (
                self._refusals_at_once + 1 if now - self._halved_at < AT_ONCE_SECONDS else 0
            )
            self._halved_at = now
            if self._known_limit is not None or len(self._accepted_at) >= LEAST_EVIDENCE:
                self._known_limit = self._estimate_limit(now)
            self._rate = max(LOWEST_RATE, self._rate / 2)
            self._probed_replies = 0
            if not self._refusals_at_once:
                self._stood_at = self._known_limit or 0.0
            elif self._known_limit is not None and self._known_limit < self._stood_at / 2:
                self._fallen_at = now
            self._accepted_at.clear()
        self.hold(retry_after_seconds)
        self.released(slot)

    def hold(self, seconds: float) -> None:
        """Sends nothing for so long, without a word about the limit (503 with Retry-After)."""
        self._held_until = max(self._held_until, self._clock.monotonic() + seconds)
        self._next_at = max(self._next_at, self._held_until)
        self._last_growth_at = self._held_until

    def seconds_held(self) -> float:
        return max(0.0, self._held_until - self._clock.monotonic())

    def _estimate_limit(self, now: float) -> float:
        """About where the limit is: our pace, or what was let through lately where that is known and lower
        (a burst allowance of the vendor distorts it less than our own pace).
        """
        since = max(self._held_until, now - MEASURE_SECONDS)
        seconds = max(now - since, SHORTEST_MEASURE_SECONDS)
        let_through = sum(1 for at in self._accepted_at if at >= since) / seconds
        if self._refusals_at_once:
            believed = self._rate * max(LEAST_MARGIN, 1.0 - AT_ONCE_MARGIN * self._refusals_at_once)
            estimate = max(believed, min(self._rate, let_through))
        elif self._known_limit is None or self._rate > LIMIT_HAS_RISEN * self._known_limit:
            estimate = self._rate * SEARCH_MARGIN
        else:
            estimate = min(self._rate, let_through)
            if self._probed_replies >= PROBE_EVIDENCE:
                estimate = max(estimate, (self._known_limit + self._rate) / 2)
        return max(LOWEST_RATE, estimate)

    def _grow(self, now: float) -> None:
        while self._accepted_at and self._accepted_at[0] < now - MEASURE_SECONDS:
            self._accepted_at.popleft()
        # Idle time is no evidence: growth is credited for the time between replies at the present pace.
        busy_seconds = max(0.0, min(now - self._last_growth_at, 2.0 / self._rate))
        self._last_growth_at = max(now, self._last_growth_at)
        known = self._known_limit
        if known is None:
            gain = SEARCH_GAIN_PER_REPLY
        elif self._rate < APPROACH_FROM * known:
            gain = min(RECOVERY_PER_SECOND * known * busy_seconds, APPROACH_FROM * known - self._rate)
        elif self._rate < PROBE_FROM * known:
            has_fallen = now - self._fallen_at < FALL_IS_FRESH_SECONDS
            gain = (FRESH_APPROACH_PER_SECOND if has_fallen else APPROACH_PER_SECOND) * known * busy_seconds
        else:
            # Beyond it: each step unpunished makes the next one larger, by the word of a few replies.
            self._probed_replies += 1
            beyond = max(self._rate - known, 0.0) + PROBE_STEP * known
            gain = beyond * (
                2.0 ** min(busy_seconds / PROBE_DOUBLES_IN_SECONDS, 1 / PROBE_DOUBLES_IN_REPLIES) - 1
            )
        self._rate = min(self._ceiling, self._rate + gain)

    def snapshot(self) -> Mapping[str, float]:
        """requests_per_second (the present pace), refused and sent (since start), in_flight."""
        return {
            "requests_per_second": round(self._rate, 3),
            "refused": float(self._refused),
            "in_flight": float(self._in_flight),
            "sent": float(self._sent),
            "held_seconds": round(self.seconds_held(), 3),
        }

"""One budget of requests for all callers: who may send next, and when.

How fast that is, `pace` decides; here callers wait for it, for a free place, and for the end of a Retry-After.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

import anyio

from pipeline.ports import Clock
from stages.dropbox.pace import NOTHING_KNOWN, KnownPace, Pace, Sent

READS_WAIT_FOR_WRITES = 2  # with both waiting, this many writes go before one read


@dataclass(slots=True, eq=False)
class _Waiter:
    is_write: bool
    event: anyio.Event


class Pacer:
    """Await `acquire`, send, then hand the slot back. Safe to cancel while waiting."""

    def __init__(
        self,
        clock: Clock,
        *,
        max_requests_per_second: float,
        max_concurrency: int,
        known_pace: KnownPace = NOTHING_KNOWN,
    ) -> None:
        """`known_pace`: what an earlier client came to."""
        self._clock = clock
        self._max_concurrency = max_concurrency
        self._pace = Pace(clock.monotonic(), ceiling=max_requests_per_second, known=known_pace)
        self._reads: deque[_Waiter] = deque()
        self._writes: deque[_Waiter] = deque()
        self._writes_in_a_row = 0
        self._in_flight = 0
        self._sent = 0
        self._refused = 0

    async def acquire(self, *, is_write: bool) -> Sent:
        """Waits until the caller may send; hand what comes back to exactly one of accepted, refused or released."""
        waiter = _Waiter(is_write, anyio.Event())
        queue = self._writes if is_write else self._reads
        queue.append(waiter)
        try:
            while True:
                if self._head() is not waiter or self._in_flight >= self._max_concurrency:
                    await waiter.event.wait()
                    waiter.event = anyio.Event()
                    continue
                wait_seconds = self._pace.next_at - self._clock.monotonic()
                if wait_seconds <= 0:
                    return self._grant(is_write=is_write)
                await self._clock.sleep(wait_seconds)
        finally:
            queue.remove(waiter)
            self._wake_head()

    def _grant(self, *, is_write: bool) -> Sent:
        self._in_flight += 1
        self._sent += 1
        self._writes_in_a_row = self._writes_in_a_row + 1 if is_write else 0
        return self._pace.send(self._clock.monotonic())

    def _head(self) -> _Waiter | None:
        """Who goes next. Writes first, but a read after every second one: settling a write needs reads."""
        if self._writes and not (self._reads and self._writes_in_a_row >= READS_WAIT_FOR_WRITES):
            return self._writes[0]
        return self._reads[0] if self._reads else None

    def _wake_head(self) -> None:
        head = self._head()
        if head is not None:
            head.event.set()

    def accepted(self, slot: Sent) -> None:
        """The vendor looked at it, whatever it said: it was within the limit."""
        self._pace.accepted(slot, self._clock.monotonic())
        self.released(slot)

    def released(self, slot: Sent) -> None:  # noqa: ARG002 -- the slot is what the caller gives up
        """Cancelled or lost: frees the place and says nothing about the limit."""
        self._in_flight -= 1
        self._wake_head()

    def refused(self, slot: Sent, retry_after_seconds: float) -> None:
        """429: nothing leaves for so long, and then at half the pace."""
        self._refused += 1
        self._pace.refused(slot, self._clock.monotonic(), retry_after_seconds)
        self.released(slot)

    def hold(self, seconds: float) -> None:
        """Sends nothing for so long, without a word about the limit (503 with Retry-After)."""
        self._pace.silence(self._clock.monotonic(), seconds)

    def seconds_held(self) -> float:
        return max(0.0, self._pace.silent_until - self._clock.monotonic())

    def snapshot(self) -> Mapping[str, float]:
        """requests_per_second (the present pace), refused and sent (since start), in_flight, held_seconds;

        limit (requests a second; 0.0: none was met), limit_is_certain (1.0: measured or passed while sending steadily).
        """
        known = self._pace.known
        return {
            "requests_per_second": round(known.rate, 3),
            "limit": round(known.limit, 3),
            "limit_is_certain": float(known.is_certain),
            "refused": float(self._refused),
            "in_flight": float(self._in_flight),
            "sent": float(self._sent),
            "held_seconds": round(self.seconds_held(), 3),
        }

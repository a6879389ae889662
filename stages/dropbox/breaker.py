"""Circuit breaker: during an outage one probe now and then leaves, not a storm.

closed ──`threshold` failures in a row──▶ open ──period over──▶ half-open (one probe)
  ▲                                        ▲                        │ fails: period doubles, capped
  └────────────────── probe succeeds ──────┴────────────────────────┘
"""

from __future__ import annotations

from pipeline.ports import Clock


class Breaker:
    """Counts transport failures and 5xx of all callers together. A refusal (4xx) is a sign of life."""

    def __init__(
        self,
        clock: Clock,
        *,
        threshold: int = 6,
        first_period_seconds: float = 5.0,
        longest_period_seconds: float = 60.0,
    ) -> None:
        self._clock = clock
        self._threshold = threshold
        self._first_period = first_period_seconds
        self._longest_period = longest_period_seconds
        self._period = first_period_seconds
        self._failures = 0
        self._opened_at: float | None = None
        self._is_probing = False

    def seconds_until_allowed(self) -> float:
        """0.0: go ahead (and report how it went). Above: the circuit is open for so long at least."""
        if self._opened_at is None:
            return 0.0
        remaining = self._opened_at + self._period - self._clock.monotonic()
        if remaining > 0:
            return remaining
        # With a probe under way the rest wait one first period more rather than joining it.
        return self._first_period if self._is_probing else 0.0

    def start(self) -> bool:
        """Marks that a request leaves now. True: it is the probe; hand this back when it has ended."""
        if self._opened_at is None:
            return False
        self._is_probing = True
        return True

    def succeeded(self) -> None:
        self._failures = 0
        self._opened_at = None
        self._is_probing = False
        self._period = self._first_period

    def failed(self, *, was_probe: bool) -> None:
        self._failures += 1
        if self._opened_at is None:
            if self._failures >= self._threshold:
                self._opened_at = self._clock.monotonic()
        elif was_probe:  # any other left before the circuit opened and tells nothing new
            self._is_probing = False
            self._period = min(self._period * 2, self._longest_period)
            self._opened_at = self._clock.monotonic()

    def abandoned(self, *, was_probe: bool) -> None:
        """The request was cancelled: that says nothing about the other side, but frees the probe's place."""
        if was_probe:
            self._is_probing = False

    @property
    def is_open(self) -> bool:
        return self._opened_at is not None

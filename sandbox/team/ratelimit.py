"""The team's token bucket (section 5.1)."""

import math

from sandbox.team.clock import Clock
from sandbox.team.config import RateLimit


class Limiter:
    def __init__(self, clock: Clock, limit: RateLimit | None) -> None:
        self._clock = clock
        self.set(limit)

    def set(self, limit: RateLimit | None) -> None:
        self.limit = limit
        self._level = float(limit.burst) if limit else 0.0
        self._filled = self._clock.now().timestamp()

    def refuse(self) -> int | None:
        """None lets the request pass; otherwise the seconds to wait."""
        limit = self.limit
        if limit is None:
            return None
        now = self._clock.now().timestamp()
        # A clock that was put back must not drain the bucket.
        passed = max(0.0, now - self._filled)
        self._filled = now
        self._level = min(float(limit.burst), self._level + passed * limit.per_second)
        if self._level >= 1:
            self._level -= 1
            return None
        if limit.refused_count:
            # The debt has a floor, or a storm of retries would lock the team out for good.
            self._level = max(-float(limit.burst), self._level - 1)
        if limit.per_second <= 0:
            return 300
        return max(1, math.ceil((1 - self._level) / limit.per_second))

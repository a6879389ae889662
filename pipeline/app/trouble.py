"""An error that stands in the way of a watch: told once, and tried again with growing patience."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from pipeline.core.exits import ExitCode
from pipeline.errors import ConnectorError

FIRST_DELAY_SECONDS = 5.0
LONGEST_DELAY_SECONDS = 300.0


@dataclass(slots=True)
class Trouble:
    """`key` names what stands, and is empty when nothing does; `words` tell it to people, without the names that a cause may hold."""

    key: str = ""
    words: str = ""
    count: int = 0
    again_at: datetime | None = None

    def is_news(self, error: ConnectorError, now: datetime) -> bool:
        """Takes note of another failure; False when it is the one that stands already."""
        key = f"{type(error).__name__} {error.operation}"
        news = self.key != key
        self.key = key
        self.words = f"{error.operation}: {ExitCode(error.exit_code).reason}"
        self.count = 1 if news else self.count + 1
        delay = min(LONGEST_DELAY_SECONDS, FIRST_DELAY_SECONDS * 2.0 ** min(self.count - 1, 6))
        self.again_at = now + timedelta(seconds=delay)
        return news

    def is_resting(self, now: datetime) -> bool:
        """Whether it is too early to try again."""
        return self.again_at is not None and now < self.again_at

    def end(self) -> bool:
        """It is over; False when there was none."""
        was = bool(self.key)
        self.key, self.words, self.count, self.again_at = "", "", 0, None
        return was

"""The team's clock: any base, moved forward by tests."""

from collections.abc import Callable
from datetime import datetime, timedelta

from sandbox.team.schema import TIMESTAMP_FORMAT


class Clock:
    def __init__(self, base: Callable[[], datetime]) -> None:
        self._base = base
        self.offset = timedelta()

    def now(self) -> datetime:
        return self._base() + self.offset

    def advance(self, seconds: float) -> None:
        self.offset += timedelta(seconds=seconds)


def stamp(moment: datetime) -> str:
    """Whole seconds: the SDK refuses fractions (section 1.9)."""
    return moment.strftime(TIMESTAMP_FORMAT)

"""What things looked like a moment ago, for reads that lag behind writes."""

from collections import deque
from datetime import datetime, timedelta
from typing import Generic, TypeVar

T = TypeVar("T")


class History(Generic[T]):
    """Keeps, per key, what stood there before each recent change.

    The state at a past moment is the oldest "before" among the changes after that moment;
    without such a change it is the present state. Costs nothing while nothing lags.
    """

    def __init__(self) -> None:
        self.reach = timedelta()
        self._before: dict[str, deque[tuple[datetime, T | None]]] = {}
        self._queue: deque[tuple[datetime, str]] = deque()

    def changed(self, key: str, before: T | None, at: datetime) -> None:
        if not self.reach:
            return
        self._before.setdefault(key, deque()).append((at, before))
        self._queue.append((at, key))
        self._forget(at)

    def _forget(self, now: datetime) -> None:
        while self._queue and self._queue[0][0] <= now - self.reach:
            _, key = self._queue.popleft()
            entries = self._before[key]
            entries.popleft()
            if not entries:
                del self._before[key]

    def at(self, key: str, moment: datetime, present: T | None) -> T | None:
        for changed_at, before in self._before.get(key, ()):
            if changed_at > moment:
                return before
        return present

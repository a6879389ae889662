"""What really happened in the team, counted; and what arrived on the wire, in order."""

import json
from collections import Counter, deque
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass
class Effects:
    """Counts of deeds that a person would notice, so that "not twice" can be proved."""

    invitations: Counter[str] = field(default_factory=Counter)
    """By e-mail."""
    welcome_mails: Counter[str] = field(default_factory=Counter)
    """By e-mail: sent with an invitation or by send_welcome_email."""
    migration_mails: Counter[str] = field(default_factory=Counter)
    """By e-mail: invitations to people with a personal account on that address."""
    email_notices: Counter[str] = field(default_factory=Counter)
    """By old e-mail: "your address was changed"."""
    wipes: Counter[str] = field(default_factory=Counter)
    """By member id: devices erased from afar."""
    suspensions: Counter[str] = field(default_factory=Counter)
    unsuspensions: Counter[str] = field(default_factory=Counter)
    removals: Counter[str] = field(default_factory=Counter)
    recoveries: Counter[str] = field(default_factory=Counter)
    permanent_deletions: Counter[str] = field(default_factory=Counter)
    transfers: Counter[str] = field(default_factory=Counter)
    profile_changes: Counter[str] = field(default_factory=Counter)
    group_joins: Counter[str] = field(default_factory=Counter)
    """By "group id member id"."""
    group_leaves: Counter[str] = field(default_factory=Counter)
    requests: Counter[str] = field(default_factory=Counter)
    """By "route status"; status 0 stands for no reply."""

    def as_json(self) -> dict[str, dict[str, int]]:
        return {name: dict(counter) for name, counter in vars(self).items()}

    def load(self, stored: dict[str, dict[str, int]]) -> None:
        for name, counts in stored.items():
            getattr(self, name).update(counts)


@dataclass(frozen=True, slots=True)
class Exchange:
    at: datetime
    route: str
    status: int
    """0: no reply was sent."""
    request: bytes
    reply: bytes
    request_id: str
    fault: str | None = None
    retry_after: str | None = None
    content_type: str = ""

    @property
    def request_json(self) -> Any:
        return _parsed(self.request)

    @property
    def reply_json(self) -> Any:
        return _parsed(self.reply)

    def as_json(self) -> dict[str, Any]:
        return {
            "at": self.at.isoformat(),
            "route": self.route,
            "status": self.status,
            "request": self.request_json,
            "reply": self.reply_json,
            "request_id": self.request_id,
            "fault": self.fault,
            "retry_after": self.retry_after,
        }


def _parsed(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except ValueError:
        return raw.decode("utf-8", "replace")


class Timeline:
    """The newest exchanges, bounded by number and by bytes."""

    def __init__(self, length: int, size: int) -> None:
        self._length = length
        self._limit = size
        self._size = 0
        self._entries: deque[Exchange] = deque()
        self.total = 0

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, exchange: Exchange) -> None:
        self._entries.append(exchange)
        self.total += 1
        self._size += len(exchange.request) + len(exchange.reply)
        while len(self._entries) > 1 and (len(self._entries) > self._length or self._size > self._limit):
            oldest = self._entries.popleft()
            self._size -= len(oldest.request) + len(oldest.reply)

    def exchanges(self, route: str | None = None) -> list[Exchange]:
        return [entry for entry in self._entries if route is None or entry.route == route]

    def clear(self) -> None:
        self._entries.clear()
        self._size = 0

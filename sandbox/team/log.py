"""The team log: an event for every change, and its unordered, lagging, sometimes empty pages."""

import heapq
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sandbox.team.clock import Clock, stamp
from sandbox.team.identifiers import Identifiers
from sandbox.team.members import Member

_SCAN_BUDGET = 50_000
_DESCRIPTIONS = {
    "member_change_status": "(members) Changed member status (invited, joined, suspended, etc.)",
}


@dataclass(frozen=True)
class Actor:
    """Who does it: the app through the API, an admin in the console, or the user."""

    kind: str
    """app | admin | user"""
    member: Member | None = None
    request_id: str = ""


@dataclass(frozen=True)
class LoggedEvent:
    at: datetime
    category: str
    type: str
    account_id: str | None
    body: dict[str, Any]


class TeamLog:
    def __init__(self, clock: Clock, identifiers: Identifiers, team_name: str, app_name: str) -> None:
        self._clock = clock
        self._identifiers = identifiers
        self._team_name = team_name
        self._app = {
            ".tag": "team_linked_app",
            "app_id": "dbaid:AA" + identifiers.secret(33),
            "display_name": app_name,
        }
        self._session = identifiers.session()
        self.latency = timedelta()
        self._pending: list[tuple[datetime, int, LoggedEvent]] = []
        self._count = 0
        self.delivered: list[LoggedEvent] = []
        self.generation = 0
        self.reset_to: datetime | None = None

    def person(self, member: Member) -> dict[str, Any]:
        body = {
            ".tag": "team_member",
            "account_id": member.account_id,
            "display_name": member.display_name,
            "email": member.email,
            "team_member_id": member.id,
            "team": {"display_name": self._team_name},
        }
        if member.external_id is not None:
            body["member_external_id"] = member.external_id
        return body

    def write(
        self,
        by: Actor,
        category: str,
        event: str,
        details: dict[str, Any],
        *,
        about: Member | None = None,
        group: dict[str, Any] | None = None,
    ) -> None:
        now = self._clock.now()
        body: dict[str, Any] = {
            "timestamp": stamp(now),
            "event_category": {".tag": category},
            "actor": self._actor(by),
            "origin": self._origin(by),
            "involve_non_team_member": False,
            "context": self.person(about) if about else {".tag": "team"},
            "event_type": {
                ".tag": event,
                "description": _DESCRIPTIONS.get(
                    event, f"({category}) {event.replace('_', ' ').capitalize()}"
                ),
            },
            "details": {".tag": f"{event}_details", **details},
        }
        if group is not None:
            body["participants"] = [{".tag": "group", **group}]
        logged = LoggedEvent(now, category, event, about.account_id if about else None, body)
        # Every event takes its own time to show up: that is what mixes their order.
        lag = self.latency * self._identifiers.random.random() if self.latency else timedelta()
        self._count += 1
        heapq.heappush(self._pending, (now + lag, self._count, logged))

    def _actor(self, by: Actor) -> dict[str, Any]:
        if by.kind == "app":
            return {".tag": "app", "app": dict(self._app)}
        if by.member is None:
            return {".tag": "dropbox"}
        # A member with admin rights is logged as admin, not as user (section 2.x).
        kind = "admin" if by.kind == "admin" or by.member.role else "user"
        return {".tag": kind, kind: self.person(by.member)}

    def _origin(self, by: Actor) -> dict[str, Any]:
        method: dict[str, Any]
        if by.kind == "app":
            method = {".tag": "api", "request_id": f"dbarid:{by.request_id}"}
        elif by.kind == "admin":
            method = {".tag": "admin_console", "session_id": self._session}
        else:
            method = {".tag": "end_user", "end_user": {".tag": "web", "session_id": self._session}}
        return {
            "geo_location": {
                "city": "San Francisco",
                "region": "California",
                "country": "US",
                "ip_address": "45.56.78.100",
            },
            "access_method": method,
        }

    def settle(self) -> list[LoggedEvent]:
        """All events that are visible by now, in the order of their appearance."""
        now = self._clock.now()
        while self._pending and self._pending[0][0] <= now:
            self.delivered.append(heapq.heappop(self._pending)[2])
        return self.delivered

    def everything(self) -> list[LoggedEvent]:
        """Visible or not, in the order of writing; for tests and for the control routes."""
        waiting = [entry[2] for entry in sorted(self._pending, key=lambda entry: entry[1])]
        return sorted([*self.delivered, *waiting], key=lambda event: event.at)

    def reset(self, to: datetime | None = None) -> None:
        """Make every cursor of the log invalid; readers are told where to start again."""
        self.generation += 1
        self.reset_to = to or self._clock.now()

    def scan(self, start: int, limit: int, filters: dict[str, Any]) -> tuple[list[LoggedEvent], int, bool]:
        """Up to limit matches from a position on; gives up after a while, so pages may come out empty."""
        events = self.settle()
        found: list[LoggedEvent] = []
        position = start
        end = min(len(events), start + _SCAN_BUDGET)
        while position < end and len(found) < limit:
            if _matches(events[position], filters):
                found.append(events[position])
            position += 1
        return found, position, position < len(events)

    def shuffle(self, page: list[LoggedEvent]) -> list[LoggedEvent]:
        mixed = list(page)
        self._identifiers.random.shuffle(mixed)
        return mixed


def _matches(event: LoggedEvent, filters: dict[str, Any]) -> bool:
    when = stamp(event.at)
    return not (
        (filters.get("category") and event.category != filters["category"])
        or (filters.get("event_type") and event.type != filters["event_type"])
        or (filters.get("account_id") and event.account_id != filters["account_id"])
        or (filters.get("start") and when < filters["start"])
        or (filters.get("end") and when >= filters["end"])
    )

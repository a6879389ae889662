"""What the simulated team saw: requests in their order, and what really happened to people."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sandbox.narration import until
from sandbox.team import TeamSimulator
from sandbox.team.effects import Exchange
from sandbox.team.members import Member

_HAPPENED = 200
_READS = ("/list", "/continue", "/get_", "/job_status/", "token/get_authenticated_admin")


@dataclass(frozen=True, slots=True)
class Arrival:
    """A write as it arrived in Dropbox: `at` is when the simulator had carried it out."""

    at: datetime
    text: str


class Witness:
    def __init__(self, simulator: TeamSimulator) -> None:
        self._simulator = simulator
        self._team = simulator.team

    # --- requests

    @property
    def now(self) -> int:
        """A place in the timeline, to look from later."""
        return self._team.timeline.total

    def since(self, mark: int) -> list[Exchange]:
        new = self.now - mark
        return self._team.timeline.exchanges()[-new:] if new else []

    def writes(self, mark: int) -> list[Exchange]:
        """Whatever is no known read counts as a write, refused ones too."""
        return [one for one in self.since(mark) if not _is_read(one.route)]

    def reads(self, mark: int) -> list[Exchange]:
        return [one for one in self.since(mark) if _is_read(one.route)]

    def invitations_requested(self, mark: int) -> list[Exchange]:
        return [one for one in self.since(mark) if one.route == "team/members/add_v2"]

    async def arrival(self, mark: int, action: str, who: str, *, what: str) -> Arrival:
        """Waits for the write of this kind about this member id (or, for add_v2, this e-mail). NotAsTold if it stays out."""

        def look() -> Arrival | None:
            for one in self.since(mark):
                if one.route == f"team/members/{action}" and one.status == _HAPPENED:
                    content = one.request_json
                    if who in str(content):
                        return Arrival(one.at, _told(action, content))
            return None

        return await until(look, what)

    # --- people

    def found(self, email: str) -> Member | None:
        """Who has this e-mail, removed ones too."""
        return next((member for member in self._team.members if member.email == email), None)

    def accept(self, email: str) -> None:
        self._simulator.console.accept(email)

    def emails(self, *statuses: str) -> set[str]:
        """Of members in one of these states, without the admin of the sandbox."""
        return {
            member.email for member in self._team.members if member.status in statuses and member.role is None
        }

    def count(self, status: str) -> int:
        return len(self.emails(status))

    @property
    def seats(self) -> int:
        return self._team.seats

    @property
    def seats_used(self) -> int:
        return self._team.members.present

    # --- effects

    def total(self, effect: str) -> int:
        counts: dict[str, int] = getattr(self._team.effects, effect)
        return sum(counts.values())

    def most(self, effect: str) -> int:
        """How often it happened to whom it happened most."""
        counts: dict[str, int] = getattr(self._team.effects, effect)
        return max(counts.values(), default=0)

    def invited(self, emails: frozenset[str]) -> dict[str, int]:
        counts = self._team.effects.invitations
        return {email: counts[email] for email in emails if counts[email]}


def _is_read(route: str) -> bool:
    return not route.startswith("team/") or any(part in route for part in _READS)


def _told(action: str, content: dict[str, Any]) -> str:
    """The request in words, from what it held."""
    devices = "devices wiped" if content.get("wipe_data") else "devices left alone"
    match action:
        case "add_v2":
            return "invited"
        case "set_profile_v2":
            names = {"new_given_name": "first name", "new_surname": "last name", "new_email": "e-mail"}
            changes = [f"{word} {content[key]}" for key, word in names.items() if content.get(key)]
            return f"profile changed: {', '.join(changes)}"
        case "suspend":
            return f"suspended, {devices}"
        case "unsuspend":
            return "active again"
        case "remove":
            files = "deleted" if content.get("permanently_delete_files") else "kept for transfer"
            return f"removed, {devices}, files {files}"
    return action

"""The real pipeline with the real HTTP client on the simulated team: one loop, no waiting, a journal on disk.

The simulator lives on the same clock, so that what lags there lags in the time that passes here.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel

from config.settings import Settings
from pipeline.app.compose import Assembly, assemble, team_of
from pipeline.app.report import PassSummary
from pipeline.model import Action, State
from sandbox.team import SeedMember, Switches, TeamConfig, TeamSimulator
from sandbox.team.faults import Fault
from stages.directory.memory import MemoryDirectory
from state.journal import Journal
from state.outbox import Outbox
from tests.pipeline.world import without_waiting

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
ADMIN = "admin@example.test"
TOKEN = "sl.sandbox-team-access-token"
WRITES = ("add_v2", "set_profile_v2", "suspend", "unsuspend", "remove", "recover", "send_welcome_email")
WRITE_ROUTES = frozenset(f"team/members/{name}" for name in WRITES)
CLIENT_TIMEOUT_SECONDS = 0.25


class HurriedClock:
    """`sleep` is over at once, and that much later. Seconds as a float: a datetime can't hold less than a millionth."""

    def __init__(self) -> None:
        self._seconds = 0.0
        self.on_sleep: Callable[[], None] = lambda: None

    def now(self) -> datetime:
        return START + timedelta(seconds=self._seconds)

    def monotonic(self) -> float:
        return self._seconds

    def turn(self, **span: float) -> None:
        self._seconds += timedelta(**span).total_seconds()

    async def sleep(self, seconds: float) -> None:
        self.on_sleep()
        await anyio.lowlevel.checkpoint()
        self._seconds += max(0.0, seconds)


@dataclass
class World:
    folder: Path
    config: dict[str, dict[str, Any]] = field(default_factory=dict)
    switches: Switches = field(default_factory=Switches)
    seats: int = 1000
    team: dict[str, Any] = field(default_factory=dict)
    clock: HurriedClock = field(default_factory=HurriedClock)

    def __post_init__(self) -> None:
        seed = (SeedMember(ADMIN, "Ada", "Admin", admin=True),)
        config = TeamConfig(
            seats=self.seats, members=seed, clock=self.clock.now, switches=self.switches, **self.team
        )
        self.simulator = TeamSimulator(config)
        self.simulator.tokens.access[TOKEN].expires = None
        self.directory = MemoryDirectory(clock=self.clock)
        self.group = self.directory.create_group("Dropbox")
        self.guids: dict[str, str] = {}

    # --- people

    def person(self, name: str, **values: Any) -> str:
        values = {"given_name": name.capitalize(), "surname": "Example", **values}
        guid = self.directory.create_user(name, mail=f"{name}@example.test", **values)
        self.directory.add_member(self.group, guid)
        self.guids[name] = guid
        return guid

    async def settled(self, *names: str) -> None:
        """These have been invited and have joined; what happens from now on counts."""
        for name in names:
            self.person(name)
        await self.run()
        self.simulator.console.accept_all()
        await self.run()

    # --- passes

    def settings(self) -> Settings:
        sections: dict[str, Any] = {
            "simulation": False,
            "directory": {"servers": ["ldaps://dc1.example.test"], "username": "svc@example.test"},
            "users": {"leave_settle_seconds": 0},
            "dropbox": {
                "access_token": "env:DROPBOX",
                "api_url": self.simulator.url,
                "max_requests_per_second": 1000,
                "timeout_seconds": CLIENT_TIMEOUT_SECONDS,
            },
        }
        for section, values in self.config.items():
            sections[section] = {**sections.get(section, {}), **values}
        environ = {"AD_PASSWORD": "not a secret", "DROPBOX": TOKEN}
        return Settings.model_validate(sections, context={"folder": self.folder, "environ": environ})

    @asynccontextmanager
    async def process(self) -> AsyncIterator[Assembly]:
        """A process of its own: its journal connection, its client, its engine."""
        settings = self.settings()
        with without_waiting():
            journal = await Journal.open(self.folder / "journal.db")
        assembly = assemble(
            settings,
            journal,
            self.clock,
            directory=self.directory,
            team=team_of(settings, self.clock),
            mailer=None,
            simulated=False,
        )
        try:
            yield assembly
        finally:
            with anyio.CancelScope(shield=True):
                await assembly.close()
                await journal.close()

    async def run(self, *, full: bool = False) -> PassSummary:
        with anyio.fail_after(60):
            async with self.process() as assembly:
                return await assembly.engine.run(full=full)

    async def run_until_quiet(self, passes: int = 12) -> PassSummary:
        """Passes, with time between them, until one neither wrote anything nor has anything under way."""
        for _ in range(passes):
            before = len(self.writes())
            summary = await self.run(full=True)
            self.clock.turn(minutes=2)
            if len(self.writes()) == before and not await self.open(
                State.RETRY, State.SENDING, State.PLANNED
            ):
                return summary
        raise AssertionError(f"never quiet: {await self.open(*State)}")

    @asynccontextmanager
    async def journal(self) -> AsyncIterator[Journal]:
        with without_waiting():
            journal = await Journal.open(self.folder / "journal.db", read_only=True)
        try:
            async with journal.reading():
                yield journal
        finally:
            await journal.close()

    async def open(self, *states: State) -> list[Action]:
        async with self.journal() as journal:
            outbox: Outbox = journal.outbox
            return await outbox.in_state(*states)

    # --- the team

    def fault(self, kind: str, route: str, **fields: Any) -> Fault:
        fault = Fault(kind, f"team/members/{route}", **fields)
        self.simulator.faults.add(fault)
        return fault

    def requests(self, route: str = "") -> list[Any]:
        return [
            json.loads(one.request)
            for one in self.simulator.team.timeline.exchanges()
            if one.route == f"team/members/{route}"
        ]

    def writes(self) -> list[str]:
        return [one.route for one in self.simulator.team.timeline.exchanges() if one.route in WRITE_ROUTES]

    def effects(self) -> dict[str, dict[str, int]]:
        """What really happened, by e-mail of today."""
        team = self.simulator.team
        found: dict[str, dict[str, int]] = {}
        for name, counts in team.effects.as_json().items():
            if name == "requests":
                continue
            by_email: Counter[str] = Counter()
            for key, count in counts.items():
                member = team.members.get(key)
                by_email[member.email if member is not None else key] += count
            if by_email:
                found[name] = dict(by_email)
        return found

    def states(self) -> dict[str, str]:
        return {
            member.email: member.status for member in self.simulator.team.members if member.email != ADMIN
        }

    async def disagreements(self) -> list[str]:
        """Between what the journal believes of managed members and what the team is."""
        async with self.journal() as journal:
            links = await journal.links.of(self.guids.values())
            believed = await journal.members.by_id(link.member_id for link in links.values())
        real = {member.id: member for member in self.simulator.team.members}
        ours = {
            member.external_id: member
            for member in real.values()
            if (member.external_id or "").startswith("ad-guid:") and member.status != "removed"
        }
        wrong = [
            f"{member.email} is {member.status} and nobody's"
            for external_id, member in ours.items()
            if external_id.removeprefix("ad-guid:") not in links
        ]
        for guid, link in links.items():
            member, shown = real[link.member_id], believed.get(link.member_id)
            now = (member.status, member.email, member.given_name, member.surname, member.external_id or "")
            then = shown and (
                shown.status.value,
                shown.email,
                shown.given_name,
                shown.surname,
                shown.external_id,
            )
            if member.status == "removed":
                # What a former member shows, and whether it is shown at all, is a contested point.
                now, then = now[:1], (shown.status.value,) if shown else now[:1]
            if now != then:
                wrong.append(f"{guid}: the team says {now}, the journal {then}")
        return wrong

"""The real pipeline between three doubles and a journal on disk, with a clock that a test turns: a pass takes milliseconds.

Everything that crosses a border (a call into the directory, the team, the journal) goes past a `Gate`, where a test
may make it fail, or have the process die at exactly that moment.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiosqlite
import anyio
import anyio.lowlevel

from config.settings import Settings
from pipeline.app import passes
from pipeline.app.compose import Assembly, assemble
from pipeline.app.passes import Outside, Simulated
from pipeline.app.report import PassSummary
from pipeline.errors import DirectoryBusy, TeamReadError
from pipeline.model import ActionKind, Member, Outcome, Profile, State, Status, TeamGroup, Verdict
from stages.directory.memory import MemoryDirectory
from stages.dropbox.memory import MemoryTeam
from stages.mail.memory import MemoryMailer
from state.journal import Journal

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
ENVIRON = {"AD_PASSWORD": "not a secret", "DROPBOX": "not a token"}


class TurnedClock:
    """`sleep` is over at once, and that much later. `on_sleep` runs before, as what happens meanwhile."""

    def __init__(self, now: datetime = START) -> None:
        self._now = now
        self.slept: list[float] = []
        self.on_sleep: list[Callable[[], None]] = []

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return (self._now - START).total_seconds()

    def turn(self, **span: float) -> None:
        self._now += timedelta(**span)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        assert len(self.slept) < 1000, "the pass waits again and again: it would never end"
        await anyio.lowlevel.checkpoint()
        while self.on_sleep:
            self.on_sleep.pop(0)()
        self._now += timedelta(seconds=seconds)


class Gate:
    """Counts every call that crosses a border, and lets a test stop one.

    `die_at`: at this crossing the process dies (`before` the call, or after its effect). `faults`: the n-th crossing
    of this name from now raises.
    """

    def __init__(self) -> None:
        self.crossings: list[str] = []
        self.die_at = 0
        self.dies_after_effect = False
        self.scope: anyio.CancelScope | None = None
        self.died_in = ""
        self._faults: list[tuple[str, int, BaseException]] = []
        self._reads = 0
        self._fail_at: tuple[int, list[str]] | None = None

    def reset(self) -> None:
        self.crossings.clear()
        self._fail_at = None
        self._reads = 0
        self.die_at = 0
        self.died_in = ""

    @property
    def has_faults(self) -> bool:
        return self._fail_at is not None or bool(self._faults)

    def fail(self, name: str, error: BaseException, *, call: int = 1) -> None:
        self._faults.append((name, self.crossings.count(name) + call, error))

    def clear_faults(self) -> int:
        """How many had not come to pass."""
        count = len(self._faults)
        self._faults.clear()
        return count

    def fail_at(self, number: int, told: list[str]) -> None:
        """The `number`-th read from now, of whatever, fails as such a read does; `told` learns which it was."""
        self._fail_at = (number, told)
        self._reads = 0

    async def enter(self, name: str) -> None:
        self.crossings.append(name)
        if self._fail_at is not None and name.startswith(("directory.", "team.read")):
            self._reads += 1
            if self._reads == self._fail_at[0]:
                self._fail_at[1].append(name)
                if name == "team.read":
                    raise TeamReadError("read the team", "no answer")
                raise DirectoryBusy(name, "the connection broke")
        for fault in self._faults:
            if fault[:2] == (name, self.crossings.count(name)):
                self._faults.remove(fault)
                raise fault[2]
        if len(self.crossings) == self.die_at and not self.dies_after_effect:
            await self._die(name)

    async def leave(self, number: int) -> None:
        if number == self.die_at and self.dies_after_effect:
            await self._die(self.crossings[number - 1])

    async def _die(self, name: str) -> None:
        assert self.scope is not None
        self.died_in = name
        self.scope.cancel()
        with anyio.CancelScope(shield=False):
            await anyio.lowlevel.checkpoint()
        raise AssertionError("cancelled, but still running")

    @asynccontextmanager
    async def passing(self, name: str) -> AsyncIterator[None]:
        await self.enter(name)
        number = len(self.crossings)
        yield
        await self.leave(number)


@dataclass(frozen=True, slots=True)
class Effect:
    """One change of the team by the connector. `wiped`: the devices of an active person were. `external_id`: of then."""

    kind: ActionKind
    member_id: str
    email: str
    at: datetime
    wiped: bool = False
    external_id: str = ""


class WatchedTeam(MemoryTeam):
    """Records what every write really changed, hands control over within every call, and has the world's time."""

    def __init__(self, clock: TurnedClock, gate: Gate, *, seats: int = 1000) -> None:
        self._clock = clock
        super().__init__(seats=seats)
        self._gate = gate
        self.effects: list[Effect] = []
        self.sent: Counter[str] = Counter()  # writes asked for, effect or not
        self.asked: list[tuple[str, str]] = []
        self.admin_unknown = False
        self.recovered_as = Status.ACTIVE

    @property
    def now(self) -> datetime:
        return self._clock.now()

    @now.setter
    def now(self, value: datetime) -> None:
        """The double's own time is not used."""

    async def team_info(self):  # type: ignore[no-untyped-def]
        async with self._gate.passing("team.read"):
            return await super().team_info()

    async def acting_admin(self) -> Member:
        async with self._gate.passing("team.admin"):
            if self.admin_unknown:
                from pipeline.errors import TeamInfoError

                raise TeamInfoError("asking who authorised the connector", "mapping_not_found")
            return await super().acting_admin()

    async def list_members(self) -> AsyncIterator[Sequence[Member]]:
        pages = super().list_members()
        while True:
            async with self._gate.passing("team.read"):
                page = await anext(pages, None)
            if page is None:
                return
            yield page

    async def get_members(self, **selectors: Any) -> Sequence[Member]:
        async with self._gate.passing("team.read"):
            return await super().get_members(**selectors)

    async def invite(self, profiles: Sequence[Profile], *, send_welcome: bool) -> Sequence[Outcome]:
        for profile in profiles:
            self._asked(ActionKind.INVITE, profile.email)
        async with self._gate.passing("team.write"):
            before = set(self.members)
            outcomes = await super().invite(profiles, send_welcome=send_welcome)
            for member_id in set(self.members) - before:
                self._effect(ActionKind.INVITE, self.members[member_id])
            return outcomes

    async def update(self, member_id: str, changes: Profile) -> Outcome:
        return await self._watched(ActionKind.UPDATE, member_id, super().update(member_id, changes))

    async def suspend(self, member_id: str, *, wipe_data: bool) -> Outcome:
        return await self._watched(
            ActionKind.SUSPEND, member_id, super().suspend(member_id, wipe_data=wipe_data), wiped=wipe_data
        )

    async def unsuspend(self, member_id: str) -> Outcome:
        return await self._watched(ActionKind.UNSUSPEND, member_id, super().unsuspend(member_id))

    async def remove(self, member_id: str, *, wipe_data: bool) -> Outcome:
        member = self.members.get(member_id)
        is_invitation = member is not None and member.status is Status.INVITED
        kind = ActionKind.REVOKE_INVITE if is_invitation else ActionKind.REMOVE
        return await self._watched(
            kind, member_id, super().remove(member_id, wipe_data=wipe_data), wiped=wipe_data
        )

    async def recover(self, member_id: str) -> Outcome:
        outcome = await self._watched(ActionKind.RECOVER, member_id, super().recover(member_id))
        if self.recovered_as is not Status.ACTIVE and outcome.verdict is Verdict.DONE:
            self.members[member_id] = replace(self.members[member_id], status=self.recovered_as)
        return outcome

    async def send_welcome(self, member_id: str) -> Outcome:
        before = sum(self.welcome_mails.values())
        async with self._gate.passing("team.write"):
            outcome = await super().send_welcome(member_id)
        if sum(self.welcome_mails.values()) > before:
            self._effect(ActionKind.RESEND_WELCOME, self.members[member_id])
        return outcome

    async def list_groups(self) -> AsyncIterator[Sequence[TeamGroup]]:
        async with self._gate.passing("team.read"):
            pages = [page async for page in super().list_groups()]
        for page in pages:
            yield page

    async def list_group_members(self, group_id: str) -> AsyncIterator[Sequence[str]]:
        async with self._gate.passing("team.read"):
            pages = [page async for page in super().list_group_members(group_id)]
        for page in pages:
            yield page

    async def get_groups(self, **selectors: Any) -> Sequence[TeamGroup]:
        async with self._gate.passing("team.read"):
            return await super().get_groups(**selectors)

    async def create_group(self, name: str, external_id: str) -> Outcome:
        async with self._gate.passing("team.write"):
            return await super().create_group(name, external_id)

    async def rename_group(self, group_id: str, *, name: str, external_id: str) -> Outcome:
        async with self._gate.passing("team.write"):
            return await super().rename_group(group_id, name=name, external_id=external_id)

    async def delete_group(self, group_id: str) -> Outcome:
        async with self._gate.passing("team.write"):
            return await super().delete_group(group_id)

    async def add_to_group(self, group_id: str, member_ids: Sequence[str]) -> Sequence[Outcome]:
        async with self._gate.passing("team.write"):
            return await super().add_to_group(group_id, member_ids)

    async def remove_from_group(self, group_id: str, member_ids: Sequence[str]) -> Sequence[Outcome]:
        async with self._gate.passing("team.write"):
            return await super().remove_from_group(group_id, member_ids)

    async def _watched(
        self, kind: ActionKind, member_id: str, call: Awaitable[Outcome], *, wiped: bool = False
    ) -> Outcome:
        self._asked(kind, member_id)
        try:
            await self._gate.enter("team.write")
        except BaseException:
            call.close()  # type: ignore[attr-defined]
            raise
        number = len(self._gate.crossings)
        before = self.members.get(member_id)
        outcome = await call
        after = self.members.get(member_id)
        if after is not None and after != before:
            self._effect(kind, after, wiped=wiped)
        await self._gate.leave(number)
        await anyio.lowlevel.checkpoint()
        return outcome

    def _asked(self, kind: ActionKind, whom: str) -> None:
        self.sent[kind.value] += 1
        self.asked.append((kind.value, whom))

    def _effect(self, kind: ActionKind, member: Member, *, wiped: bool = False) -> None:
        self.effects.append(
            Effect(
                kind=kind,
                member_id=member.member_id,
                email=member.email,
                at=self.now,
                wiped=wiped,
                external_id=member.external_id,
            )
        )


class GatedDirectory(MemoryDirectory):
    """Every call goes past the gate as well."""

    def __init__(self, gate: Gate, **options: Any) -> None:
        super().__init__(**options)
        self.gate = gate

    async def _called(self, method: str) -> None:
        await self.gate.enter(f"directory.{method}")
        await super()._called(method)


class GatedJournal(Journal):
    gate: Gate

    def transaction(self) -> AbstractAsyncContextManager[None]:
        return self._gated(super().transaction())

    @asynccontextmanager
    async def _gated(self, inner: AbstractAsyncContextManager[None]) -> AsyncIterator[None]:
        async with self.gate.passing("journal.write"), inner:
            yield


async def _at_once(function: Callable[..., Any], *values: Any, **named: Any) -> Any:
    # Only the process dies here, never the power: no need to wait for the disk, nor for a thread at each statement.
    await asyncio.sleep(0)
    if values[:1] == ("PRAGMA synchronous = FULL",):
        values = ("PRAGMA synchronous = OFF",)
    return function(*values, **named)


@contextmanager
def without_waiting() -> Iterator[None]:
    """Databases opened inside run every statement at once, on the loop's own thread."""
    connect = aiosqlite.connect

    def impatient(*values: Any, **named: Any) -> aiosqlite.Connection:
        connection = connect(*values, **named)
        connection._execute = _at_once  # type: ignore[method-assign, assignment]
        return connection

    aiosqlite.connect = impatient
    try:
        yield
    finally:
        aiosqlite.connect = connect


@dataclass(slots=True)
class World:
    """`await world.run()` is one pass by a process of its own: the journal is opened, used and closed."""

    folder: Path
    clock: TurnedClock = field(default_factory=TurnedClock)
    gate: Gate = field(default_factory=Gate)
    config: dict[str, dict[str, Any]] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    directory: GatedDirectory = field(init=False)
    team: WatchedTeam = field(init=False)
    mailer: MemoryMailer = field(init=False)
    group: str = field(init=False)
    summary: PassSummary | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.directory = GatedDirectory(self.gate, clock=self.clock, **self.options)
        self.team = WatchedTeam(self.clock, self.gate)
        self.team.add("admin@example.test", is_team_admin=True, given_name="Team", surname="Admin")
        self.mailer = MemoryMailer()
        self.group = self.directory.create_group("Dropbox")

    # --- people

    def person(
        self, name: str, *, mail: str | None = None, groups: Sequence[str] | None = None, **values: Any
    ) -> str:
        """`ann` is Ann of Example, ann@example.test, in the sync group (or in `groups`)."""
        guid = self.directory.create_user(
            name,
            mail=f"{name}@example.test" if mail is None else mail,
            given_name=values.pop("given_name", name.capitalize()),
            surname=values.pop("surname", "Example"),
            **values,
        )
        for group in [self.group] if groups is None else groups:
            self.directory.add_member(group, guid)
        return guid

    def people(self, *names: str, **values: Any) -> list[str]:
        return [self.person(name, **values) for name in names]

    def accept_all(self) -> None:
        for member in list(self.team.members.values()):
            if member.status is Status.INVITED:
                self.team.join(member.member_id)

    def member(self, name: str) -> Member:
        return self.team.by_email(name if "@" in name else f"{name}@example.test")

    def status(self, name: str) -> str:
        """ "" for somebody who was never on the team."""
        try:
            return self.member(name).status.value
        except KeyError:
            return ""

    def member_of(self, guid: str) -> Member | None:
        """By our external id; the living one where there are several."""
        found = [one for one in self.team.members.values() if one.external_id == f"ad-guid:{guid}"]
        return min(found, key=lambda one: one.status is Status.REMOVED, default=None)

    # --- passes

    @property
    def journal_path(self) -> Path:
        return self.folder / "journal.db"

    def settings(self) -> Settings:
        sections: dict[str, Any] = {
            "simulation": False,
            "directory": {"servers": ["ldaps://dc1.example.test"], "username": "svc@example.test"},
            "dropbox": {"access_token": "env:DROPBOX"},
        }
        for section, values in self.config.items():
            sections[section] = {**sections.get(section, {}), **values}
        return Settings.model_validate(sections, context={"folder": self.folder, "environ": ENVIRON})

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Assembly]:
        """A process: its own journal connection and engine. Within it, `engine.run()` may be called again."""
        journal = await self.open_journal()
        assembly = assemble(
            self.settings(),
            journal,
            self.clock,
            directory=self.directory,
            team=self.team,
            mailer=self.mailer,
            simulated=False,
        )
        try:
            yield assembly
        finally:
            assembly.engine.close()
            await journal.close()

    async def open_journal(self) -> GatedJournal:
        with without_waiting():
            journal = await GatedJournal.open(self.journal_path)
        assert isinstance(journal, GatedJournal)
        journal.gate = self.gate
        return journal

    async def run(self, *, full: bool = False) -> PassSummary:
        self.clock.slept.clear()
        with anyio.fail_after(20):
            async with self.open() as assembly:
                self.summary = await assembly.engine.run(full=full)
        return self.summary

    async def settle(self, passes: int = 3) -> None:
        """Passes until nothing more is sent."""
        for _ in range(passes):
            before = len(self.team.effects)
            await self.run()
            if len(self.team.effects) == before:
                return

    async def run_and_die(self, at: int, *, after_effect: bool = False) -> bool:
        """A pass whose process dies at the `at`-th crossing of a border. False: there are fewer."""
        self.gate.reset()
        self.gate.die_at, self.gate.dies_after_effect = at, after_effect
        self.clock.slept.clear()
        with anyio.fail_after(20), anyio.CancelScope() as scope:
            self.gate.scope = scope
            async with self.open() as assembly:
                await assembly.engine.run()
        self.gate.die_at = 0
        return len(self.gate.crossings) >= at

    async def simulate(self, monkeypatch: Any, *, full: bool = False, is_kept: bool = False) -> Simulated:
        monkeypatch.setattr(passes, "SystemClock", lambda: self.clock)
        with anyio.fail_after(20):
            return await passes.simulate(
                self.settings(),
                full=full,
                outside=Outside(directory=self.directory, team=self.team),
                is_kept=is_kept,
            )

    def lose_journal(self) -> None:
        for suffix in ("", "-wal", "-shm"):
            Path(f"{self.journal_path}{suffix}").unlink(missing_ok=True)

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Journal]:
        journal = await Journal.open(self.journal_path)
        try:
            async with journal.reading():
                yield journal
        finally:
            await journal.close()

    async def states(self) -> Mapping[str, int]:
        async with self.reading() as journal:
            return await journal.outbox.count_by_state()

    async def held(self) -> list[str]:
        """The hashes of the sets that stand held."""
        async with self.reading() as journal:
            return [one.hash for one in await journal.outbox.standing_held_sets()]

    async def approve(self, digest: str) -> int:
        from pipeline.app.requests import approve

        journal = await Journal.open(self.journal_path)
        try:
            return int((await approve(journal, digest, self.clock.now()))["released"])
        finally:
            await journal.close()

    async def failed(self) -> list[tuple[str, str]]:
        async with self.reading() as journal:
            return [(one.email, one.kind.value) for one in await journal.outbox.in_state(State.FAILED)]

    # --- what must be so

    def effects(self, *kinds: ActionKind) -> list[tuple[str, str]]:
        return [(one.kind.value, one.email) for one in self.team.effects if not kinds or one.kind in kinds]

    def harm(self) -> list[tuple[str, str]]:
        """What suspended or removed anybody."""
        return self.effects(ActionKind.SUSPEND, ActionKind.REMOVE, ActionKind.REVOKE_INVITE)

    def team_now(self) -> dict[str, tuple[str, str, str, str]]:
        """external id or e-mail → what the team shows, without the members that are gone for good."""
        return {
            one.external_id or one.email: (one.status.value, one.email, one.given_name, one.surname)
            for one in self.team.members.values()
            if one.status is not Status.REMOVED or one.recoverable
        }

    def suspend_in_console(self, name: str) -> None:
        member = self.member(name)
        self.team.members[member.member_id] = replace(member, status=Status.SUSPENDED)

    def unsuspend_in_console(self, name: str) -> None:
        member = self.member(name)
        self.team.members[member.member_id] = replace(member, status=Status.ACTIVE)

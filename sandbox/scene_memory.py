"""The demo's scene where Samba can't run: a directory in memory, and the connector inside this process.

Everything else is the same: the connector's own engine and journal, the team behind HTTP, the mail server. What a
process of its own would show (`kill -9`) is left to the real scene: here the pass is cut off.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import anyio

from config.load import load as load_settings
from config.settings import Settings
from pipeline import log
from pipeline.app import overview, passes
from pipeline.app.compose import Assembly
from pipeline.model import Json, Kind
from sandbox.certificates import Authority
from sandbox.environment import ADMIN_EMAIL
from sandbox.mailbox import Mailbox
from sandbox.narration import NotAsTold
from sandbox.population import Population, load
from sandbox.scene import Hands
from sandbox.team import SeedMember, TeamConfig, TeamSimulator
from stages.directory.memory import MemoryDirectory
from state.journal import Journal

_POLL_SECONDS = 1.0
_LOOK_SECONDS = 0.002
_SHOWN_LINES = 15


class MemoryAdministrator(MemoryDirectory):
    """A directory in memory that takes an administrator's words."""

    def create_ou(self, name: str, *, ou: str = "") -> str:
        """Containers are mere text here."""
        return f"{ou}/{name}"

    def modify(self, guid: str, **values: str | datetime | None) -> None:
        super().modify(guid, **{"surname" if name == "sn" else name: value for name, value in values.items()})


class MemoryScene:
    command_note = "   # its engine, inside this process"

    def __init__(self, folder: Path, team: TeamSimulator, mailbox: Mailbox) -> None:
        self.words: Mapping[str, str] = {
            "directory": "a directory in memory, the double that the tests use: Samba can't run here",
            "connector": "the same engine and journal as the program's, inside this process",
            "change": "change",
        }
        self.team = team
        self.mailbox = mailbox
        self.poll_seconds = _POLL_SECONDS
        self._folder = folder
        self._directory = MemoryAdministrator()
        self._settings = _settings(folder, team, mailbox)

    # --- the directory

    async def populate(self, population: Population) -> dict[str, str]:
        return dict(load(population, self._directory))

    async def change(self, act: Callable[[Hands], object]) -> datetime:
        act(self._directory)
        return datetime.now(UTC)

    async def emails_wanted(self, group: str) -> set[str]:
        directory = self._directory
        found: set[str] = set()
        seen: set[str] = set()
        waiting = [each.guid for each in directory.objects.values() if each.name == group]
        while waiting:
            for guid in directory.living_members(waiting.pop()):
                member = directory.objects[guid]
                if member.kind is Kind.GROUP and guid not in seen:
                    seen.add(guid)
                    waiting.append(guid)
                if member.kind is Kind.USER and member.enabled and member.mail:
                    found.add(member.mail.lower())
        return found

    # --- the connector

    @property
    def _outside(self) -> passes.Outside:
        return passes.Outside(directory=self._directory)

    async def plan(self) -> Json:
        return (await passes.simulate(self._settings, full=False, outside=self._outside)).plan

    async def status(self) -> Json:
        journal = await Journal.open(self._settings.journal.path, read_only=True)
        try:
            return await overview.status_of(journal, datetime.now(UTC))
        finally:
            await journal.close()

    async def run(self) -> int:
        async with self._assembly() as assembly:
            return int((await assembly.engine.run()).code)

    async def run_cut_short(self, when: Callable[[], bool]) -> tuple[str, datetime]:
        async with self._assembly() as assembly, anyio.create_task_group() as tasks:
            tasks.start_soon(self._to_its_end, assembly)
            while not when():  # noqa: ASYNC110 - the team tells nobody
                await anyio.sleep(_LOOK_SECONDS)
            died_at = datetime.now(UTC)
            tasks.cancel_scope.cancel()
        how = "the pass is cut off (kill -9 needs a program of its own: see the demo with Samba)"
        return how, died_at

    @staticmethod
    async def _to_its_end(assembly: Assembly) -> None:
        await assembly.engine.run()
        raise NotAsTold("the pass is still going on when it is to be cut off")

    @asynccontextmanager
    async def watch(self) -> AsyncIterator[None]:
        ready, stop = anyio.Event(), anyio.Event()

        async def on_ready() -> None:
            ready.set()

        async with self._assembly() as assembly, anyio.create_task_group() as tasks:

            async def watching() -> None:
                await assembly.engine.watch(
                    poll_seconds=_POLL_SECONDS,
                    wait_for_change=assembly.directory.wait_for_change,
                    on_ready=on_ready,
                    stop=stop,
                )
                if not stop.is_set():
                    raise NotAsTold("watch goes on until it is told to end")

            tasks.start_soon(watching)
            await ready.wait()
            yield
            stop.set()

    def last_lines(self) -> str:
        file = self._settings.log.path
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines() if file.exists() else []
        return "\n".join([f"last lines of {file.name}:", *lines[-_SHOWN_LINES:]])

    @asynccontextmanager
    async def _assembly(self) -> AsyncIterator[Assembly]:
        journal = await Journal.open(self._settings.journal.path)
        try:
            async with passes.assembled(
                self._settings, journal, simulated=False, outside=self._outside
            ) as assembly:
                yield assembly
        finally:
            with anyio.CancelScope(shield=True):
                await journal.close()


@asynccontextmanager
async def memory_scene(folder: Path) -> AsyncIterator[MemoryScene]:
    authority = Authority(folder / "ca")
    members = (SeedMember(ADMIN_EMAIL, "Ines", "Admin", admin=True),)
    team = TeamSimulator(TeamConfig(team_name="Sandbox", seats=500, members=members))
    async with team, Mailbox(authority) as mailbox:
        scene = MemoryScene(folder, team, mailbox)
        log.configure(log.LogOptions(path=folder / "ad-connector.log", to_stderr=False))
        try:
            yield scene
        finally:
            log.close()


def _settings(folder: Path, team: TeamSimulator, mailbox: Mailbox) -> Settings:
    """Through a file, as the program's own. The [directory] section names a server that nobody asks."""
    sections: dict[str, dict[str, object]] = {
        "directory": {"servers": ["ldaps://memory.invalid"], "username": "nobody", "password": "unused"},
        "users": {"sync_group": "Dropbox", "leave_settle_seconds": 0},
        "dropbox": {
            "app_key": team.config.app_key,
            "refresh_token": team.config.refresh_token,
            "api_url": team.url,
            "max_requests_per_second": 50.0,
        },
        "journal": {"path": "journal.db"},
        "log": {"path": "ad-connector.log"},
        "mail": {
            "enabled": True,
            "host": mailbox.host,
            "port": mailbox.port,
            "security": "starttls",
            "ca_file": str(mailbox.ca_file),
            "sender": "connector@example.test",
            "recipients": ["it@example.test"],
        },
        "service": {"listen": ""},
    }
    lines = ["simulation = false"]
    for section, keys in sections.items():
        lines += [f"[{section}]", *(f"{key} = {json.dumps(value)}" for key, value in keys.items())]
    file = folder / "connector.toml"
    file.touch(mode=0o600)  # it holds secrets of the sandbox as they are
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return load_settings(file, {})

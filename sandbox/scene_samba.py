"""The demo's real scene: a Samba domain, and the connector as a program of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import anyio
import anyio.abc
import anyio.to_thread

from pipeline.model import Json
from sandbox.environment import Sandbox, SandboxOptions
from sandbox.mailbox import Mailbox
from sandbox.narration import PATIENCE_SECONDS, NotAsTold
from sandbox.population import Population, load
from sandbox.samba_admin import DomainAdministrator
from sandbox.scene import Hands
from sandbox.team import TeamSimulator

_LOOK_SECONDS = 0.002
_SHOWN_LINES = 15
# Microsoft's matching rules: a bit that is set, and membership through any nesting ([MS-ADTS] 3.1.1.3.4.4)
_BIT_AND, _IN_CHAIN = "1.2.840.113556.1.4.803", "1.2.840.113556.1.4.1941"


class SambaScene:
    command_note = ""

    def __init__(self, sandbox: Sandbox, administrator: DomainAdministrator) -> None:
        self.words: Mapping[str, str] = {
            "directory": "a real Active Directory domain: Samba's domain controller, read over LDAPS by an ordinary account",
            "connector": "the real program, a process of its own for each command",
            "change": "LDAP write",
        }
        self.team: TeamSimulator = sandbox.team
        self.mailbox: Mailbox = sandbox.mailbox
        self.poll_seconds = sandbox.options.poll_seconds
        self._folder = sandbox.folder
        self._administrator = administrator
        self._configuration = sandbox.write_configuration()

    # --- the directory

    async def populate(self, population: Population) -> dict[str, str]:
        return dict(await anyio.to_thread.run_sync(load, population, self._administrator))

    async def change(self, act: Callable[[Hands], object]) -> datetime:
        def blocking() -> datetime:
            act(self._administrator)
            return datetime.now(UTC)

        return await anyio.to_thread.run_sync(blocking)

    async def emails_wanted(self, group: str) -> set[str]:
        return await anyio.to_thread.run_sync(self._emails_blocking, group)

    def _emails_blocking(self, group: str) -> set[str]:
        administrator = self._administrator
        query = (
            "(&(objectCategory=person)(objectClass=user)(mail=*)"
            f"(memberOf:{_IN_CHAIN}:={administrator.dn(group)})(!(userAccountControl:{_BIT_AND}:=2)))"
        )
        _, _, response, _ = administrator.connect().search(administrator.base_dn, query, attributes=["mail"])
        return {
            entry["raw_attributes"]["mail"][0].decode().lower()
            for entry in response
            if entry["type"] == "searchResEntry"
        }

    # --- the connector

    async def plan(self) -> Json:
        return await self._answer("plan", "--format", "json")

    async def status(self) -> Json:
        return await self._answer("status", "--json")

    async def run(self) -> int:
        done = await anyio.run_process(
            self._command("run"), check=False, stdin=subprocess.DEVNULL, env=_environment(), cwd=self._folder
        )
        return _code(done.returncode)

    async def run_cut_short(self, when: Callable[[], bool]) -> tuple[str, datetime]:
        async with self._process("run") as process:
            while not when():
                if process.returncode is not None:
                    raise NotAsTold("the pass is still going on when it is to be killed")
                await anyio.sleep(_LOOK_SECONDS)
            died_at = datetime.now(UTC)
            process.kill()
            await process.wait()
        return f"kill -9 {process.pid}", died_at

    @asynccontextmanager
    async def watch(self) -> AsyncIterator[None]:
        async with self._process("watch", stdout=subprocess.PIPE) as process:
            await self._ready(process)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_outlive, process)
                yield
                tasks.cancel_scope.cancel()
            process.terminate()
            with anyio.move_on_after(PATIENCE_SECONDS):
                await process.wait()
            if process.returncode != 0:
                raise NotAsTold(f"watch ends with 0 after SIGTERM (found: {process.returncode})")

    def last_lines(self) -> str:
        texts = []
        for name in ("ad-connector.log", "stderr.txt"):
            file = self._folder / name
            if file.exists():
                lines = file.read_text(encoding="utf-8", errors="replace").splitlines()[-_SHOWN_LINES:]
                texts.append("\n".join([f"last lines of {name}:", *lines]))
        return "\n\n".join(texts)

    # --- within

    def _command(self, *words: str) -> list[str]:
        # -P: else a folder named config or state in the current directory would be taken for ours
        return [sys.executable, "-P", "-m", "pipeline", "--config", str(self._configuration), *words]

    async def _answer(self, *words: str) -> Json:
        done = await anyio.run_process(
            self._command(*words), check=False, stdin=subprocess.DEVNULL, env=_environment(), cwd=self._folder
        )
        try:
            answer: Json = json.loads(done.stdout)
        except ValueError as error:
            raise NotAsTold(f"`{words[0]}` answers: {done.stderr.decode(errors='replace')[-500:]}") from error
        return answer

    @asynccontextmanager
    async def _process(
        self, word: str, *, stdout: int = subprocess.DEVNULL
    ) -> AsyncIterator[anyio.abc.Process]:
        """A child that does not outlive the block, however the block ends."""
        with (self._folder / "stderr.txt").open("wb") as stderr:
            process = await anyio.open_process(
                self._command(word),
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                env=_environment(),
                cwd=self._folder,
            )
        try:
            yield process
        finally:
            with anyio.CancelScope(shield=True):
                if process.returncode is None:
                    process.kill()  # the journal resumes from anywhere
                await process.aclose()

    @staticmethod
    async def _ready(process: anyio.abc.Process) -> None:
        assert process.stdout is not None
        said = b""
        with anyio.move_on_after(PATIENCE_SECONDS):
            try:
                while b"ready\n" not in said:
                    said += await process.stdout.receive()
            except anyio.EndOfStream:
                await process.wait()
        if b"ready\n" not in said:
            raise NotAsTold(f"watch becomes ready (found: exit status {process.returncode})")


@asynccontextmanager
async def samba_scene(folder: Path) -> AsyncIterator[SambaScene]:
    """A domain without people, a team with its admin, a mail server; all gone at the end."""
    cache = Path(__file__).resolve().parents[1] / ".sandbox" / "cache"
    async with Sandbox(folder, cache=cache, options=SandboxOptions(population=None)) as sandbox:
        with sandbox.administrator() as administrator:
            yield SambaScene(sandbox, administrator)


async def _outlive(process: anyio.abc.Process) -> None:
    code = await process.wait()
    raise NotAsTold(f"watch goes on until it is told to end (found: exit status {code})")


def _environment() -> dict[str, str]:
    """Ours, without what would override the sandbox's own configuration."""
    return {name: value for name, value in os.environ.items() if not name.startswith("AD_CONNECTOR")}


def _code(status: int) -> int:
    """An exit code of the connector from what a process shows: modulo 256, a signal as it is."""
    return status - 256 if status > 128 else status

"""The demo: the connector's life told on a sandbox, each sentence checked. Nothing is printed that was not measured."""

from __future__ import annotations

import contextlib
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import anyio

from pipeline.errors import ConnectorError
from pipeline.model import Json
from sandbox.cast import CARE_GROUP, FIRST, LATER, LATER_EMAILS, LATER_GROUP, drawn
from sandbox.narration import Narrator, NotAsTold, counted, until
from sandbox.samba_host import SambaError
from sandbox.scene import Hands, Scene
from sandbox.team import Fault
from sandbox.witness import Witness

SYNC_GROUP = FIRST.sync_group
STILL_INVITED = "hedy.lamarr@example.test"
KILL_AFTER = 120
"""Invitations, of 200, that are out when the process dies."""
REPLY_DELAY_SECONDS = 0.3

_EFFECTS = (
    ("invitations", "invitations sent"),
    ("welcome_mails", "welcome mails"),
    ("profile_changes", "profiles changed"),
    ("suspensions", "suspensions"),
    ("unsuspensions", "suspensions lifted"),
    ("removals", "removals"),
)


async def tell(directory: str) -> int:
    """Tells the story on `samba` or `memory`. 0: all was as told; 1: something was not; 128 + signal: interrupted."""
    if directory not in ("samba", "memory"):
        raise ConnectorError("start the demo", f"no such directory: {directory}", "say samba or memory")
    narrator = Narrator()
    caught: list[int] = []

    async def heed(scope: anyio.CancelScope) -> None:
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async for number in signals:
                caught.append(number)
                scope.cancel()
                return

    status = 1
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(heed, tasks.cancel_scope)
        status = await _told(directory, narrator)
        tasks.cancel_scope.cancel()
    if caught:
        narrator.say("\nInterrupted. Everything that the demo had started has ended.")
        return 128 + caught[0]
    return status


async def _told(directory: str, narrator: Narrator) -> int:
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="ad-connector-demo-") as folder:
        try:
            async with _scene(directory, Path(folder)) as scene:
                story = Story(scene, narrator)
                try:
                    await story.tell(started)
                except (NotAsTold, BaseExceptionGroup) as error:
                    _complain(narrator, _sentence(error), scene.last_lines())
                    return 1
        except (SambaError, ConnectorError) as error:
            _complain(narrator, str(error), "")
            return 1
    return 0


def _scene(directory: str, folder: Path) -> AbstractAsyncContextManager[Scene]:
    # imported where they are needed: the one drags in Samba's client, the other the whole connector
    if directory == "memory":
        from sandbox.scene_memory import memory_scene

        return memory_scene(folder)
    from sandbox.scene_samba import samba_scene

    return samba_scene(folder)


def _sentence(error: BaseException) -> str:
    """A task group wraps what ended the story. What is none of ours goes on upwards."""
    if isinstance(error, BaseExceptionGroup):
        matched, _ = error.split(NotAsTold)
        if matched is None:
            raise error
        return _sentence(matched.exceptions[0])
    return str(error)


def _complain(narrator: Narrator, sentence: str, detail: str) -> None:
    narrator.say(f"\nNOT AS TOLD: {sentence}")
    if detail:
        narrator.say(detail)
    narrator.say("\nThe demo ends here with exit status 1.")


@dataclass(frozen=True, slots=True)
class _Step:
    """One change in the directory, and the write to wait for."""

    what: str
    who: str
    act: Callable[[Hands], object]
    action: str
    outcome: Callable[[], bool]


class Story:
    def __init__(self, scene: Scene, narrator: Narrator) -> None:
        self._scene = scene
        self._tell = narrator
        self._team = Witness(scene.team)
        self._guids: dict[str, str] = {}
        self._before: list[tuple[str, int]] = []
        self._delays: list[float] = []

    async def tell(self, started: float) -> None:
        await self._introduce()
        await self._simulate()
        await self._run_first()
        await self._accept()
        await self._watch()
        await self._crash()
        await self._compare(started)

    # --- 0

    async def _introduce(self) -> None:
        tell, words = self._tell, self._scene.words
        tell.title("ad-connector demo")
        tell.say(
            "People in an Active Directory group get a Dropbox account, and lose it when they should.\n"
            "All of this happens on this machine, on loopback addresses. Nothing of it stays.\n"
        )
        self._guids = await self._scene.populate(FIRST)
        tell.facts(
            (
                ("directory", words["directory"]),
                ("Dropbox", f"a simulator of a Dropbox team: {self._team.seats} licences, one admin"),
                ("mail", "a mail server that keeps what it gets"),
                ("connector", words["connector"]),
            )
        )
        tell.say("\nThe people in question: everybody in the directory's group Dropbox, through any nesting.\n")
        tell.console.print(drawn(FIRST))
        self._before = await self._figures()

    async def _figures(self) -> list[tuple[str, int]]:
        team = self._team
        return [
            (
                "people the directory wants on the team (asked by LDAP)",
                len(await self._scene.emails_wanted(SYNC_GROUP)),
            ),
            *((f"members: {status}", team.count(status)) for status in ("active", "invited", "suspended")),
            ("members: removed, files kept", team.count("removed")),
            ("licences in use (one is the admin's)", team.seats_used),
            *((word, team.total(effect)) for effect, word in _EFFECTS),
            ("alert mails", len(self._scene.mailbox.received)),
        ]

    # --- 1

    async def _simulate(self) -> None:
        tell, mark = self._tell, self._team.now
        wanted = await self._scene.emails_wanted(SYNC_GROUP)
        tell.chapter("1. Simulation: what would happen?")
        tell.say("`plan` reads both sides and decides, but writes nothing. Start with it, whenever you like.")
        tell.command(f"{self._scene.program} plan")
        plan = await self._scene.plan()
        _show_plan(tell, plan)
        tell.expect_equal(
            f"it would invite the {len(wanted)} enabled people with an e-mail, each once",
            sorted(row["email"] for row in plan["actions"] if row["action"] == "invite"),
            sorted(wanted),
        )
        tell.expect_equal("and nothing else", plan["summary"], {"invite": len(wanted)})
        tell.expect_equal("Dropbox got no write", len(self._team.writes(mark)), 0)

    # --- 2

    async def _run_first(self) -> None:
        tell, mark, started = self._tell, self._team.now, time.monotonic()
        wanted = await self._scene.emails_wanted(SYNC_GROUP)
        tell.chapter("2. The first pass")
        tell.say("`run` is one pass from the directory to Dropbox: what a scheduled task starts.")
        tell.command(f"{self._scene.program} run")
        code = await self._scene.run()
        seconds = time.monotonic() - started
        requests = self._team.writes(mark)
        tell.expect_equal(f"it ended with exit code 0, after {seconds:.1f} s", code, 0)
        tell.expect(
            f"{self._team.total('invitations')} people were invited in {counted(len(requests), 'request')}",
            self._team.total("invitations") == len(wanted) and requests,
        )
        tell.expect_equal("the team equals the group", self._team.emails("invited"), wanted)

    # --- 3

    async def _accept(self) -> None:
        tell = self._tell
        tell.chapter("3. People follow their invitation, and a second pass finds nothing to do")
        invited = self._team.emails("invited") - {STILL_INVITED}
        for email in sorted(invited):
            self._team.accept(email)
        tell.say(f"{len(invited)} of {len(invited) + 1} people join. Hedy Lamarr leaves her invitation unread.")
        tell.command(f"{self._scene.program} run")
        await self._run_without_writes("run", [])
        tell.expect_equal(
            f"{len(invited)} members are active, 1 is invited",
            (self._team.count("active"), self._team.emails("invited")),
            (len(invited), {STILL_INVITED}),
        )

    async def _run_without_writes(self, sentence: str, _arguments: list[str]) -> None:
        mark = self._team.now
        code = await self._scene.run()
        reads = len(self._team.since(mark))
        writes = len(self._team.writes(mark))
        self._tell.expect_equal("exit code 0", code, 0)
        self._tell.expect_equal(
            f"{counted(reads - writes, 'read request')} to Dropbox, no write at all", writes, 0
        )

"""What the demo plays on: a directory to change, a connector to start, a team and a mail server to look at."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Protocol

from pipeline.model import Json
from sandbox.mailbox import Mailbox
from sandbox.population import Administrator, Population
from sandbox.team import TeamSimulator


class Hands(Administrator, Protocol):
    """What an administrator does in the story. Objects are named by their objectGUID."""

    def modify(self, who: str, /, *, sn: str, mail: str) -> None: ...

    def disable(self, who: str) -> None: ...

    def enable(self, who: str) -> None: ...

    def remove_members(self, group: str, *members: str) -> None: ...

    def delete(self, who: str) -> str: ...


class Scene(Protocol):
    """`words` say what the directory and the connector are here; `command_note` follows a command that is shown."""

    words: Mapping[str, str]
    command_note: str
    team: TeamSimulator
    mailbox: Mailbox
    poll_seconds: float

    async def populate(self, population: Population) -> dict[str, str]:
        """Answers the objectGUIDs by name."""

    async def change(self, act: Callable[[Hands], object]) -> datetime:
        """The moment at which the directory had confirmed the last of it."""

    async def emails_wanted(self, group: str) -> set[str]:
        """Of the enabled people with an e-mail in the group or below it: asked of the directory itself, not of the connector."""

    async def plan(self) -> Json: ...

    async def status(self) -> Json: ...

    async def run(self) -> int:
        """The exit code of one pass."""

    async def run_cut_short(self, when: Callable[[], bool]) -> tuple[str, datetime]:
        """Starts a pass and ends it the hard way once `when` is true; says how, and at which moment."""

    def watch(self) -> AbstractAsyncContextManager[None]:
        """From its ready line to its orderly end. NotAsTold when it ends by itself or with another code than 0."""

    def last_lines(self) -> str:
        """Of the connector's log, for a story that went wrong."""

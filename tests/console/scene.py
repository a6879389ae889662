"""A journal in which everything waits for somebody, and its console on a port of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import aiohttp

from pipeline.app.console_pages import ConsolePages
from pipeline.model import ActionKind
from stages.service.console import Console
from stages.service.health import Reading, serving
from tests.pipeline.world import World

EVIL = "<script>document.title='taken'</script>"
"""Fits into what Dropbox allows of a name only after it was cleaned; the directory keeps it as it is."""


async def trouble(world: World) -> dict[str, str]:
    """Forty people, of whom eleven are held as leavers, one has failed and one waits to join; a namesake. Returns GUIDs by role."""
    people = world.people(*(f"p{number:03}" for number in range(40)))
    sales = world.directory.create_group("Sales & <b>Friends</b>")
    world.directory.add_member(world.group, sales)
    nested = world.person("nested", groups=[sales], given_name="Nes", surname="Ted", display_name=EVIL)
    await world.run()
    world.accept_all()
    await world.settle()
    for guid in people[:11]:
        world.directory.disable(guid)
    world.team.break_next(ActionKind.UPDATE, tag=f"refused_{EVIL}")
    world.directory.modify(people[20], surname="Lee")
    guest = world.person("guest")
    # Somebody is deleted and made again under another GUID: that the account is theirs is for an admin to say.
    world.directory.remove_member(world.group, people[30])
    again = world.person("again", mail="p030@example.test")
    await world.run()
    return {
        "held": people[0],
        "failed": people[20],
        "waiting": guest,
        "nested": nested,
        "left": people[30],
        "namesake": again,
    }


@dataclass
class Page:
    status: int
    text: str
    headers: Mapping[str, str]


@dataclass
class Visitor:
    """A browser as far as a console needs one: cookies and redirects."""

    base: str
    console: Console
    session: aiohttp.ClientSession

    async def get(self, path: str, method: str = "GET", **options: object) -> Page:
        async with self.session.request(method, f"{self.base}{path}", **options) as reply:  # type: ignore[arg-type]
            return Page(reply.status, await reply.text(), reply.headers)

    async def open(self) -> Page:
        return await self.get(path_of(self.console.address()))


def path_of(address: str) -> str:
    parts = urlsplit(address)
    return f"{parts.path}?{parts.query}"


@dataclass
class Served:
    """`reading` is what the engine knows."""

    world: World
    reading: Reading = field(default_factory=Reading)

    async def read(self) -> Reading:
        return self.reading

    @asynccontextmanager
    async def console(self) -> AsyncIterator[tuple[str, Console]]:
        console = ConsolePages(self.world.settings, lambda: self.reading, self.world.clock).console()
        async with serving("127.0.0.1:0", self.read, None, console) as base:
            yield base, console

    @asynccontextmanager
    async def visitor(self) -> AsyncIterator[Visitor]:
        """Who has not been let in yet."""
        async with (
            self.console() as (base, console),
            aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session,  # of an IP address
        ):
            yield Visitor(base, console, session)

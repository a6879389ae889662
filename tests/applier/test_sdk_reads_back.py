"""The official SDK, pointed at the simulated team, reads back exactly what the connector wrote."""

import functools
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import dropbox
import dropbox.team
import pytest
import requests
from requests.adapters import HTTPAdapter

from tests.applier.world import ADMIN, TOKEN, World

pytestmark = pytest.mark.anyio

NewWorld = Callable[..., Awaitable[World]]
AWKWARD = (
    ("zoe", {"given_name": "Zoë", "surname": "Ångström-Müller"}),
    ("li", {"given_name": "李", "surname": "小龍"}),
    ("mary", {"given_name": "Mary: Ann", "surname": 'O\'Neil "Q" <x>'}),
    ("long", {"given_name": "G" * 64, "surname": "S" * 64}),
    ("cher", {"given_name": "Cher", "surname": ""}),
)


class _Loopback(HTTPAdapter):
    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = url

    def send(self, request: Any, **options: Any) -> Any:
        request.url = request.url.replace("https://api.dropboxapi.com", self._url, 1)
        return super().send(request, **options)


def _listed_blocking(url: str) -> dict[str, tuple[str, str, str, str]]:
    """e-mail → (status, first name, last name, external id), as the SDK's own classes tell it."""
    session = requests.Session()
    session.trust_env = False
    session.mount("https://", _Loopback(url))
    client = dropbox.DropboxTeam(TOKEN, session=session, max_retries_on_error=0, max_retries_on_rate_limit=0)
    try:
        page = client.team_members_list_v2(limit=3, include_removed=True)
        members = list(page.members)
        while page.has_more:
            page = client.team_members_list_continue_v2(page.cursor)
            members += page.members
        ids = [dropbox.team.UserSelectorArg.team_member_id(one.profile.team_member_id) for one in members]
        read = client.team_members_get_info_v2(ids).members_info
        assert [one.get_member_info().profile for one in read] == [one.profile for one in members]
    finally:
        session.close()
    return {
        one.profile.email: (
            one.profile.status._tag,
            one.profile.name.given_name,
            one.profile.name.surname,
            one.profile.external_id or "",
        )
        for one in members
        if one.profile.email != ADMIN
    }


async def _listed(world: World) -> dict[str, tuple[str, str, str, str]]:
    return await anyio.to_thread.run_sync(functools.partial(_listed_blocking, world.simulator.url))


async def _written(world: World) -> dict[str, tuple[str, str, str, str]]:
    """What the connector believes that it wrote."""
    async with world.journal() as journal:
        links = await journal.links.of(world.guids.values())
        members = await journal.members.by_id(link.member_id for link in links.values())
    return {
        one.email: (one.status.value, one.given_name, one.surname, one.external_id)
        for one in members.values()
    }


async def test_what_was_written_is_what_the_sdk_reads(new_world: NewWorld):
    world = await new_world()
    names = ("ann", "bob", "cid", "dan", "eva", "fay", "gus")
    for name, values in AWKWARD:
        world.person(name, **values)
    await world.settled(*names)

    def ours(name: str) -> str:
        return f"ad-guid:{world.guids[name]}"

    expected = {
        f"{name}@example.test": ("active", name.capitalize(), "Example", ours(name)) for name in names
    }
    expected |= {
        "zoe@example.test": ("active", "Zoë", "Ångström-Müller", ours("zoe")),
        "li@example.test": ("active", "李", "小龍", ours("li")),
        "long@example.test": ("active", "G" * 50, "S" * 50, ours("long")),
        "cher@example.test": ("active", "Cher", "", ours("cher")),
    }
    listed = await _listed(world)
    mary = listed.pop("mary@example.test")
    assert mary[3] == ours("mary")
    assert not set(mary[1] + mary[2]) & set('/:?*<>"|')
    assert listed == expected

    directory, guids = world.directory, world.guids
    directory.modify(guids["ann"], given_name="Anna", surname="Lee", mail="Anna.Lee@example.test")
    directory.disable(guids["bob"])
    directory.delete(guids["cid"])
    world.simulator.console.suspend("dan@example.test")
    world.simulator.console.remove("eva@example.test")
    # A chain: gus takes the address that fay gives up.
    directory.modify(guids["fay"], mail="fay.new@example.test")
    directory.modify(guids["gus"], mail="fay@example.test")
    world.person("new")
    await world.run(full=True)
    await world.run(full=True)
    listed = await _listed(world)
    listed.pop("mary@example.test")
    for gone in ("ann", "bob", "cid", "gus"):
        expected.pop(f"{gone}@example.test")
    removed = {email: one for email, one in listed.items() if one[0] == "removed"}
    assert [one[3] for one in removed.values()] == [ours("cid")]
    assert {email: one for email, one in listed.items() if email not in removed} == {
        **expected,
        "anna.lee@example.test": ("active", "Anna", "Lee", ours("ann")),
        "bob@example.test": ("suspended", "Bob", "Example", ours("bob")),
        "fay.new@example.test": ("active", "Fay", "Example", ours("fay")),
        "fay@example.test": ("active", "Gus", "Example", ours("gus")),
        "new@example.test": ("invited", "New", "Example", ours("new")),
    }
    written = await _written(world)
    assert {email: one for email, one in written.items() if email in listed} == listed
    assert await world.disagreements() == []

"""What the documents leave open about the team as a whole, either way: the connector does the same, or does nothing.

Which point is tested where stands in docs/contested-points.md.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from pipeline.model import State
from stages.dropbox.oauth import authorization_url, exchange_code, new_code_verifier
from stages.dropbox.options import DropboxOptions
from stages.dropbox.team import HttpTeam
from tests.applier.world import World

pytestmark = pytest.mark.anyio

NewWorld = Callable[..., Awaitable[World]]


@pytest.mark.parametrize("reply", ["known", "more", "fewer"])
async def test_whatever_fields_an_oauth_reply_has_the_token_is_used_and_renewed(
    new_world: NewWorld, reply: str
):
    world = await new_world(switches={"oauth_reply": reply})
    tokens, verifier = world.simulator.tokens, new_code_verifier()
    app: dict[str, Any] = {"api_url": world.simulator.url, "app_key": world.simulator.team.config.app_key}
    assert "code_challenge" in authorization_url(DropboxOptions(**app), verifier)
    code = tokens.authorize(
        scopes=tokens.app_scopes, offline=True, redirect_uri=None, challenge=verifier, method="plain"
    )
    grant = await exchange_code(DropboxOptions(**app), code.value, verifier)
    assert grant.expires_in_seconds == 14400
    assert grant.team_id == ("" if reply == "fewer" else world.simulator.team.id)
    team = HttpTeam(DropboxOptions(**app, refresh_token=grant.refresh_token), world.clock)
    try:
        before = len(tokens.access)
        for _ in range(2):
            assert (await team.team_info()).seats == 1000
            world.clock.turn(hours=5)
        assert len(tokens.access) == before + 2
    finally:
        await team.close()


@pytest.mark.parametrize("dies", [False, True])
async def test_a_token_that_dies_with_its_admin_ends_the_pass_and_removes_nobody(
    new_world: NewWorld, dies: bool
):
    world = await new_world(switches={"tokens_die_with_admin": dies}, users={"leave_settle_seconds": 0})
    await world.settled("ann", "bob", "cid")
    world.directory.disable(world.guids["ann"])
    world.simulator.team.authorising_admin_id = next(
        member.id for member in world.simulator.team.members if member.email == "bob@example.test"
    )  # who authorised the connector is no admin any more
    states, written = world.states(), len(world.writes())
    summary = await world.run(full=True)
    if dies:
        assert (int(summary.code), world.states(), len(world.writes())) == (-14, states, written)
    else:
        assert world.states() == {**states, "ann@example.test": "suspended"}


@pytest.mark.parametrize("lifetime", [None, 0.0])
async def test_cursors_that_are_void_at_once_are_a_list_that_was_not_read(
    new_world: NewWorld, lifetime: float | None
):
    world = await new_world(
        users={"leave_settle_seconds": 0}, team={"page_cap": 2, "cursor_lifetime": lifetime}
    )
    world.simulator.team.cursors._lifetime = None
    await world.settled("ann", "bob", "cid")
    world.simulator.team.cursors._lifetime = lifetime
    world.directory.disable(world.guids["ann"])
    world.person("dan")
    summary = await world.run(full=True)
    if lifetime is None:
        assert int(summary.code) == 0
        assert world.states()["ann@example.test"] == "suspended"
    else:
        assert int(summary.code) == -16
        assert "dan@example.test" not in world.states(), "who is on the team already is not known"


GROUPS: dict[str, Any] = {"groups": {"mode": "same"}, "users": {"leave_settle_seconds": 0}}


@pytest.mark.parametrize("management", ["company_managed", "user_managed"])
@pytest.mark.parametrize("forbidden", ["", "/"])
async def test_a_group_is_company_managed_and_a_name_that_is_refused_fails_alone(
    new_world: NewWorld, forbidden: str, management: str
):
    world = await new_world(
        switches={"group_name_forbidden": forbidden}, team={"default_management": management}, **GROUPS
    )
    await world.settled("ann", "bob")
    for name, person in (("North/South", "ann"), ("Sales", "bob")):
        group = world.directory.create_group(name)
        world.directory.add_member(group, world.guids[person])
        world.directory.add_member(world.group, group)
    summary = await world.run()
    found = {
        group.name: group.management for group in world.simulator.team.groups if group.name != "Everyone"
    }
    assert found.pop("North/South", None) == (None if forbidden else "company_managed")
    assert found == {"Sales": "company_managed"}
    assert int(summary.code) == (-17 if forbidden else 0)
    assert bool(await world.open(State.FAILED)) == bool(forbidden)

"""`undo` of what was done to persons, between doubles."""

import pytest

from pipeline.app.reversal import Reversal, plan_undo, write_undo
from pipeline.model import ActionKind
from state.journal import Journal
from tests.pipeline.world import World

pytestmark = pytest.mark.anyio


async def undo(world: World, number: int) -> Reversal:
    journal = await Journal.open(world.journal_path)
    try:
        planned = await plan_undo(journal, number, world.clock.now())
        await write_undo(journal, planned, number, world.clock.now())
    finally:
        await journal.close()
    return planned


async def test_an_invitation_is_either_revoked_or_said_to_be_past_it(world: World) -> None:
    _, _, cleo = world.people("ann", "bob", "cleo")
    number = (await world.run()).id
    world.team.join(world.member("ann").member_id)
    world.directory.remove_member(world.group, cleo)
    await world.run(full=True)
    planned = await undo(world, number)
    assert {row["email"]: (row["undo"], bool(row["cannot"])) for row in planned.rows} == {
        "ann@example.test": ("nothing", True),
        "bob@example.test": ("revoke_invite", False),
        "cleo@example.test": ("nothing", True),
    }
    assert sorted(planned.lost) == [
        "ann@example.test: has joined meanwhile, and is left as they are",
        "cleo@example.test: is no longer on the team: nothing is left to revoke",
    ]
    already = world.effects(ActionKind.REVOKE_INVITE)
    await world.run()
    assert world.effects(ActionKind.REVOKE_INVITE) == [*already, ("revoke_invite", "bob@example.test")]
    assert world.status("ann") == "active"

"""The team's event log is a hint that may be lost: what it can't tell any more is found by comparing."""

from dataclasses import replace
from datetime import datetime

import pytest

from pipeline.model import EventPage
from tests.pipeline.test_identity import settled
from tests.pipeline.world import World

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("compared_since", [False, True])
async def test_what_a_log_that_starts_anew_has_lost_is_found_at_once(
    world: World, monkeypatch: pytest.MonkeyPatch, compared_since: bool
) -> None:
    ann, _ = world.people("ann", "bob")
    await settled(world)
    world.clock.turn(minutes=1)
    begins_anew_at = world.clock.now()
    world.clock.turn(minutes=1)
    async with world.open() as assembly:
        drift = assembly.parts.drift
        if compared_since:
            await assembly.engine.run(full=True)
        await drift.look()
        listed = world.team.requests["list_members"]
        member = world.member_of(ann)
        assert member is not None
        world.team.members[member.member_id] = replace(member, surname="Console")
        with monkeypatch.context() as patch:

            async def events(_cursor: str, _since: datetime, *, about_groups: bool = False) -> EventPage:
                patch.undo()
                return EventPage(events=(), cursor="", more=True, reset_to=begins_anew_at)

            patch.setattr(world.team, "events", events)
            await drift.look()
        sent = len(world.effects())
        await assembly.engine.run()
        assert world.team.requests["list_members"] == listed + (not compared_since)
        assert len(world.effects()) == sent + (not compared_since)

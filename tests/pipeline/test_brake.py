"""The brake: what an admin has to approve before it leaves, and what an approval is good for. (behaviour.md §8)"""

from collections.abc import Callable

import pytest

from pipeline.core.exits import ExitCode
from pipeline.errors import TeamInfoError
from pipeline.model import ActionKind
from tests.pipeline.test_leavers import names, team_of
from tests.pipeline.world import World

pytestmark = pytest.mark.anyio

Make = Callable[..., World]


async def test_more_leavers_than_the_limit_are_all_held_and_the_rest_goes_on(world: World) -> None:
    guids = await team_of(world, 40)
    for guid in guids[:11]:
        world.directory.disable(guid)
    world.directory.modify(guids[20], surname="Lee")
    summary = await world.run()
    assert summary.code is ExitCode.BRAKE
    assert world.effects() == [("update", "p020@example.test")]
    assert len(await world.held()) == 1
    assert summary.alerts


@pytest.mark.parametrize("live", [False, True])
async def test_ten_leavers_every_five_minutes_are_stopped_by_the_rolling_window(
    world: World, live: bool
) -> None:
    guids = await team_of(world, 100)
    async with world.open() as assembly:
        for start in range(0, 50, 10):
            for guid in guids[start : start + 10]:
                world.directory.disable(guid)
            await (assembly.engine.run() if live else world.run())
            world.clock.turn(minutes=5)
    assert len(world.harm()) == 10
    world.clock.turn(hours=24)
    summary = await world.run()
    assert summary.code is ExitCode.BRAKE
    assert len(world.harm()) == 10


async def test_what_was_let_go_and_has_not_left_yet_counts_as_well(world: World) -> None:
    """A token that is refused for an hour: ten after ten could be let go, and leave together once it is mended."""
    guids = await team_of(world, 100)
    for start in range(0, 40, 10):
        for guid in guids[start : start + 10]:
            world.directory.disable(guid)
        is_refused = start < 30
        for call in range(1, 5) if is_refused else ():
            world.gate.fail("team.write", TeamInfoError("suspend", "refused", "authorize"), call=call)
        summary = await world.run()
        assert summary.code is (ExitCode.TEAM_INFO if is_refused else ExitCode.BRAKE)
        world.gate.clear_faults()
        world.clock.turn(minutes=5)
    assert 0 < len(world.harm()) <= 10


async def test_retrying_what_failed_is_braked_as_well(world: World) -> None:
    """Failed leavers are not counted: ten after ten could pile up, and come back all at once."""
    guids = await team_of(world, 100)
    for start in range(0, 40, 10):
        for guid in guids[start : start + 10]:
            world.directory.disable(guid)
            world.team.break_next(ActionKind.SUSPEND, tag="other")
        await world.run()
        world.clock.turn(hours=25)
    assert world.harm() == []
    from pipeline.app.requests import retry

    async with world.open() as assembly:
        await retry(assembly.parts.journal, "", world.clock.now(), failed=True)  # type: ignore[arg-type]
        summary = await assembly.engine.run()
    assert len(world.harm()) <= 10
    assert summary.code is ExitCode.BRAKE


async def test_approve_releases_exactly_what_was_shown(world: World) -> None:
    guids = await team_of(world, 40)
    for guid in guids[:12]:
        world.directory.disable(guid)
    await world.run()
    (digest,) = await world.held()
    world.directory.enable(guids[0])  # no longer wanted
    assert await world.approve(digest) == 12
    world.directory.disable(guids[13])  # was not shown
    await world.run()
    shown = {f"p{number:03}@example.test" for number in range(1, 12)}
    assert {email for _, email in world.harm()} >= shown
    assert ("suspend", "p000@example.test") not in world.harm()


async def test_approve_does_not_release_another_content_under_the_same_name(new_world: Make) -> None:
    world = new_world(safety={"max_email_changes": "0"})
    guids = await team_of(world, 10)
    world.directory.modify(guids[0], mail="shown@example.test")
    assert (await world.run()).code is ExitCode.BRAKE
    (digest,) = await world.held()
    world.clock.turn(minutes=1)
    world.directory.modify(guids[0], mail="attacker@example.test")
    await world.run()
    await world.approve(digest)
    await world.run()
    assert world.effects() == []


async def test_a_set_that_is_held_again_after_its_approval_is_shown_again(world: World) -> None:
    guids = await team_of(world, 40)
    for turn in (world.directory.disable, world.directory.enable, world.directory.disable):
        for guid in guids[:12]:
            turn(guid)
        await world.run()
        for digest in await world.held():
            if turn == world.directory.disable and not world.effects(ActionKind.UNSUSPEND):
                await world.approve(digest)
                await world.run()
        world.clock.turn(days=2)
    assert len(world.harm()) == 12
    assert len(await world.held()) == 1


async def test_a_held_set_dissolves_when_it_is_no_longer_wanted(world: World) -> None:
    guids = await team_of(world, 40)
    world.directory.remove_members(world.group, *guids[:20])
    assert (await world.run()).code is ExitCode.BRAKE
    world.directory.add_members(world.group, *guids[:20])
    assert (await world.run()).code is ExitCode.OK
    assert await world.held() == []
    assert world.team.effects == []


async def test_who_is_held_stays_held_when_the_window_has_moved_on(world: World) -> None:
    guids = await team_of(world, 40)
    for guid in guids[:10]:
        world.directory.disable(guid)
    assert (await world.run()).code is ExitCode.OK
    for guid in guids[10:14]:
        world.directory.disable(guid)
    assert (await world.run()).code is ExitCode.BRAKE
    world.clock.turn(hours=25)
    world.directory.disable(guids[14])  # within the limit by now, and in no set
    summary = await world.run(full=True)
    assert summary.code is ExitCode.BRAKE
    assert len(world.harm()) == 11
    (digest,) = await world.held()
    assert await world.approve(digest) == 4
    assert (await world.run()).code is ExitCode.OK
    assert len(world.harm()) == 15


async def test_one_who_came_back_does_not_let_the_others_go(world: World) -> None:
    guids = await team_of(world, 40)
    world.directory.remove_members(world.group, *guids[:11])
    assert (await world.run()).code is ExitCode.BRAKE
    world.directory.add_members(world.group, guids[0])
    assert (await world.run()).code is ExitCode.BRAKE
    assert world.harm() == []


async def test_approving_an_earlier_set_does_not_release_who_was_held_later(world: World) -> None:
    guids = await team_of(world, 40)
    world.directory.remove_members(world.group, *guids[:11])
    await world.run()
    (digest,) = await world.held()
    world.directory.remove_members(world.group, guids[11])
    await world.run()
    assert await world.approve(digest) == 11
    assert (await world.run()).code is ExitCode.BRAKE
    assert len(world.harm()) == 11
    assert len(await world.held()) == 1


async def test_approved_persons_who_came_back_and_leave_again_are_held_again(world: World) -> None:
    guids = await team_of(world, 40)
    world.directory.remove_members(world.group, *guids[:20])
    await world.run()
    (digest,) = await world.held()
    await world.approve(digest)
    world.directory.add_members(world.group, *guids[:20])
    await world.run()
    world.clock.turn(hours=1)
    world.directory.remove_members(world.group, *guids[:20])
    assert (await world.run()).code is ExitCode.BRAKE
    assert world.team.effects == []


async def test_more_than_half_of_all_managed_is_held_whatever_the_setting(new_world: Make) -> None:
    world = new_world(safety={"max_leavers": "100%", "min_leavers_allowed": 100})
    guids = await team_of(world, 8)
    for guid in guids[:5]:
        world.directory.disable(guid)
    assert (await world.run()).code is ExitCode.BRAKE
    assert world.harm() == []


async def test_accounts_that_are_gone_for_good_are_managed_no_more(new_world: Make) -> None:
    """Dropbox does not show them for ever: counted all the same, they would let more and more leave at once."""
    world = new_world(safety={"max_leavers": "100%", "min_leavers_allowed": 100})
    guids = await team_of(world, 14)
    for guid in guids[:8]:
        world.directory.delete(guid)
        member = world.member_of(guid)
        assert member is not None
        del world.team.members[member.member_id]
    assert (await world.run(full=True)).code is ExitCode.OK
    for guid in guids[8:12]:
        world.directory.disable(guid)
    assert (await world.run()).code is ExitCode.BRAKE
    assert world.harm() == []


async def test_a_wrong_email_attribute_is_braked(world: World) -> None:
    guids = await team_of(world, 30)
    for number, guid in enumerate(guids):
        world.directory.modify(guid, mail=f"p{number}@wrong.test")
    assert (await world.run()).code is ExitCode.BRAKE
    assert world.team.effects == []


async def test_max_invites_brakes_after_the_first_real_pass(new_world: Make) -> None:
    world = new_world(safety={"max_invites": 5})
    await team_of(world, 8)
    world.people(*names(6, "q"))
    assert (await world.run()).code is ExitCode.BRAKE
    assert world.team.effects == []

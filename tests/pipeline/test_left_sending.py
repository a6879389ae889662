"""A write that a `watch` lost sight of is settled by that same process, without any change in the directory."""

from collections.abc import Callable, Sequence

import anyio
import pytest

from pipeline.errors import TeamReadError
from pipeline.model import ActionKind, Member, Outcome
from tests.pipeline.group_world import in_group, nest
from tests.pipeline.test_live import HeldClock, Watch, live, names, watching  # noqa: F401 - a fixture
from tests.pipeline.world import World

pytestmark = pytest.mark.anyio

Make = Callable[..., World]


async def assert_left_sending(watch: Watch, expected: int) -> None:
    journal = watch.assembly.parts.journal
    async with journal.reading():
        counts = await journal.outbox.count_by_state()
    assert counts.get("sending", 0) == expected, counts


@pytest.mark.parametrize("lost", ["before", "after"])
async def test_a_reply_that_could_not_be_read_back_is_settled_by_a_later_pass(
    live: World,  # noqa: F811
    lost: str,
) -> None:
    guids = live.people(*names(4))
    original = live.team.get_members

    async def broken(**_: object) -> list[Member]:
        raise TeamReadError("read members", "500")

    suspend = live.team.suspend

    async def breaking(member_id: str, *, wipe_data: bool) -> Outcome:
        live.team.get_members = broken  # type: ignore[method-assign, assignment]
        return await suspend(member_id, wipe_data=wipe_data)

    async with watching(live) as watch:
        live.accept_all()
        await watch.look(minutes=20)
        live.team.suspend = breaking  # type: ignore[method-assign]
        live.team.break_next(ActionKind.SUSPEND, lost=lost)  # type: ignore[arg-type]
        live.directory.disable(guids[0])
        await watch.look()
        live.team.suspend, live.team.get_members = suspend, original  # type: ignore[method-assign]
        await assert_left_sending(watch, 1)
        for _ in range(8):
            await watch.look(minutes=1)
        await assert_left_sending(watch, 0)
        assert live.harm() == [("suspend", "p000@example.test")]
        summary = watch.engine.last_summary
        await watch.look(seconds=5)
        assert watch.engine.last_summary is summary


@pytest.mark.parametrize("has_effect", [False, True])
async def test_a_request_cancelled_by_a_fault_beside_it_is_settled_by_a_later_pass(
    live: World,  # noqa: F811
    has_effect: bool,
) -> None:
    """A fault of ours in one worker ends the others in the middle of theirs."""
    guids = live.people(*names(8))
    suspend = live.team.suspend
    under_way = anyio.Event()

    async def faulty(member_id: str, *, wipe_data: bool) -> Outcome:
        if member_id == live.member("p000").member_id:
            if has_effect:
                await suspend(member_id, wipe_data=wipe_data)
            under_way.set()
            await anyio.sleep_forever()
        await under_way.wait()
        raise RuntimeError("a fault of ours")

    async with watching(live) as watch:
        live.accept_all()
        await watch.look(minutes=20)
        live.team.suspend = faulty  # type: ignore[method-assign]
        live.directory.disable(guids[0])
        live.directory.disable(guids[1])
        await watch.look()
        live.team.suspend = suspend  # type: ignore[method-assign]
        await assert_left_sending(watch, 2)
        for _ in range(8):
            await watch.look(minutes=1)
        await assert_left_sending(watch, 0)
        assert sorted(live.harm()) == [("suspend", "p000@example.test"), ("suspend", "p001@example.test")]


async def test_what_an_earlier_process_left_is_settled_by_a_watch_that_sees_no_change(
    live: World,  # noqa: F811
) -> None:
    guids = live.people(*names(8))
    async with watching(live) as watch:
        live.accept_all()
        await watch.look(minutes=20)
    suspend = live.team.suspend
    scope = anyio.CancelScope()

    async def dying(member_id: str, *, wipe_data: bool) -> Outcome:
        outcome = await suspend(member_id, wipe_data=wipe_data)
        scope.cancel()
        await anyio.sleep_forever()
        return outcome

    live.team.suspend = dying  # type: ignore[method-assign]
    live.directory.disable(guids[0])
    with scope:
        await live.run()
    assert (await live.states())["sending"] == 1
    live.team.suspend = suspend  # type: ignore[method-assign]
    async with watching(live) as watch:
        for _ in range(3):
            await watch.look(minutes=1)
        await assert_left_sending(watch, 0)
    assert live.harm() == [("suspend", "p000@example.test")]


async def test_a_write_about_a_group_is_settled_as_well(new_world: Make) -> None:
    world = new_world(groups={"mode": "same"})
    held = HeldClock()
    world.clock = held
    world.directory._clock = held
    world.team._clock = held
    sales = nest(world, "Sales", "ann")
    (bob,) = world.people("bob")
    add = world.team.add_to_group

    async def faulty(group_id: str, member_ids: Sequence[str]) -> Sequence[Outcome]:
        await add(group_id, member_ids)
        raise RuntimeError("a fault of ours")

    async with watching(world) as watch:
        world.accept_all()
        await watch.look(minutes=20)
        world.team.add_to_group = faulty  # type: ignore[method-assign]
        world.directory.add_member(sales, bob)
        await watch.look(seconds=5)
        world.team.add_to_group = add  # type: ignore[method-assign]
        await assert_left_sending(watch, 1)
        asked = world.team.requests[ActionKind.GROUP_ADD.value]
        assert asked
        for _ in range(8):
            await watch.look(minutes=1)
        await assert_left_sending(watch, 0)
        assert in_group(world, "Sales") == ["ann", "bob"]
        assert world.team.requests[ActionKind.GROUP_ADD.value] == asked

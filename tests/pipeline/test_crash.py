"""The process dies at any moment, replies get lost, the disk refuses: nothing twice, nothing lost. (behaviour.md §7)"""

import os
from collections import Counter
from collections.abc import Callable

import anyio
import pytest

from pipeline.core.exits import ExitCode
from pipeline.errors import JournalError
from pipeline.model import ActionKind, Status
from tests.pipeline.world import World

pytestmark = pytest.mark.anyio

Make = Callable[..., World]

STEP = 1 if os.environ.get("PIPELINE_EVERY_MOMENT") else 5
"""The suite looks at every fifth moment of a pass, each variant beginning at another one; `PIPELINE_EVERY_MOMENT=1` at all."""

WANTED = {
    "recover": ["gone@example.test"],
    "invite": ["new1@example.test", "new2@example.test"],
    "update": ["chain.a@example.test", "p001@example.test"],
    "suspend": ["p002@example.test", "p003@example.test"],
    "unsuspend": ["p004@example.test"],
    "remove": ["p005@example.test"],
    "revoke_invite": ["open@example.test"],
}


async def busy_world(make: Make) -> World:
    """A pass over it does one of everything."""
    from dataclasses import replace

    world = make()
    guids = world.people(*(f"p{number:03}" for number in range(24)))
    gone = world.person("gone")
    await world.run()
    world.accept_all()
    world.directory.disable(guids[4])
    opened = world.person("open")
    await world.run()
    world.team.effects.clear()
    world.team.welcome_mails.clear()
    world.team.wipes.clear()
    world.clock.turn(hours=30)
    member = world.member_of(gone)
    assert member is not None
    world.team.members[member.member_id] = replace(member, status=Status.REMOVED, recoverable=True)
    world.person("new1")
    world.person("new2")
    world.directory.modify(guids[0], mail="chain.a@example.test")
    world.directory.modify(guids[1], surname="Lee")
    world.directory.disable(guids[2])
    world.directory.remove_member(world.group, guids[3])
    world.directory.enable(guids[4])
    world.directory.delete(guids[5])
    world.directory.disable(opened)
    return world


def assert_done_once(world: World) -> None:
    done: dict[str, list[str]] = {}
    for kind, email in world.effects():
        done.setdefault(kind, []).append(email)
    assert {kind: sorted(emails) for kind, emails in done.items()} == WANTED, world.gate.died_in
    assert set(world.team.welcome_mails.values()) == {1}
    assert max(Counter(world.team.wipes).values()) == 1


async def test_the_busy_pass_does_one_of_everything(new_world: Make) -> None:
    world = await busy_world(new_world)
    await world.run()
    assert_done_once(world)
    assert len(world.gate.crossings) > 60


@pytest.mark.parametrize("after_effect", [False, True])
@pytest.mark.parametrize("lose_journal", [False, True])
async def test_a_pass_that_dies_anywhere_is_finished_by_the_next_and_nothing_happens_twice(
    new_world: Make, after_effect: bool, lose_journal: bool
) -> None:
    """At the k-th call into directory, team or journal, for every k; with and without losing the journal as well."""
    at, died = 1 + 2 * after_effect + lose_journal, True
    while died:
        world = await busy_world(new_world)
        world.gate.reset()
        died = await world.run_and_die(at, after_effect=after_effect)
        at += STEP
        if died and not world.gate.died_in:
            continue  # a read has no effect to die after
        if lose_journal:
            world.lose_journal()
        for _ in range(3):
            world.clock.turn(minutes=2)
            await world.run()
        assert_done_once(world)
        assert world.summary is not None
        assert world.summary.code is ExitCode.OK
    assert at > 60


@pytest.mark.parametrize("live", [False, True])
async def test_a_journal_that_refuses_a_write_anywhere_loses_nothing(new_world: Make, live: bool) -> None:
    """The disk is full for one moment, in the same process that goes on, or in one that is started anew."""
    at, failed = 1 + live, True
    while failed:
        world = await busy_world(new_world)
        world.gate.reset()
        error = JournalError("write to the journal", "the disk is full")
        world.gate.fail("journal.write", error, call=at)
        async with world.open() as assembly:
            try:
                summary = await assembly.engine.run()
                assert summary.code in (ExitCode.JOURNAL, ExitCode.OK)
            except* JournalError:
                pass
            failed = world.gate.clear_faults() == 0
            if live and failed:
                for _ in range(3):
                    world.clock.turn(minutes=2)
                    with anyio.fail_after(10):
                        await assembly.engine.run()
        if not live:
            for _ in range(3):
                world.clock.turn(minutes=2)
                await world.run()
        assert_done_once(world)
        at += STEP
    assert at > 20


async def test_a_journal_lost_between_passes_changes_nothing(new_world: Make) -> None:
    world = await busy_world(new_world)
    await world.run()
    world.lose_journal()
    for _ in range(3):
        world.clock.turn(minutes=2)
        await world.run()
    assert_done_once(world)


WRITES = (
    ActionKind.INVITE,
    ActionKind.UPDATE,
    ActionKind.SUSPEND,
    ActionKind.UNSUSPEND,
    ActionKind.REMOVE,
    ActionKind.RECOVER,
    ActionKind.REVOKE_INVITE,
)


@pytest.mark.parametrize("lost", ["before", "after"])
@pytest.mark.parametrize("kind", WRITES)
@pytest.mark.parametrize("times", [1, 3])
async def test_a_lost_reply_is_settled_by_reading_back(
    new_world: Make, kind: ActionKind, lost: str, times: int
) -> None:
    world = await busy_world(new_world)
    for _ in range(times):
        world.team.break_next(kind, lost=lost)  # type: ignore[arg-type]
    for _ in range(4):
        await world.run()
        world.clock.turn(minutes=2)
    assert_done_once(world)


@pytest.mark.parametrize("then", ["leaves", "is disabled", "is deleted", "changes"])
async def test_who_changes_while_an_invitation_is_in_doubt_is_decided_about_once_it_is_settled(
    world: World, then: str
) -> None:
    """The invitation had its effect, nobody heard of it, and the person is no longer to have it."""
    world.people(*(f"p{number:03}" for number in range(8)))
    await world.run()
    ann = world.person("ann")
    world.team.break_next(ActionKind.INVITE, lost="after")
    # Dies before it could look.
    world.gate.reset()
    world.gate.die_at = 0
    for at in range(1, 300):
        world.gate.reset()
        if not await world.run_and_die(at, after_effect=True) or world.gate.died_in == "team.write":
            break
    assert world.status("ann") == "invited"
    match then:
        case "leaves":
            world.directory.remove_member(world.group, ann)
        case "is disabled":
            world.directory.disable(ann)
        case "is deleted":
            world.directory.delete(ann)
        case _:
            world.directory.modify(ann, mail="ann.lee@example.test")
    for _ in range(3):
        world.clock.turn(minutes=2)
        await world.run()
    if then == "changes":
        world.accept_all()
        await world.run()
        assert world.status("ann.lee") == "active"
        assert len(world.effects(ActionKind.INVITE)) == 9
    else:
        assert world.status("ann") == "removed"


async def test_who_changes_while_a_suspension_is_in_doubt_ends_as_the_directory_says(world: World) -> None:
    guids = world.people(*(f"p{number:03}" for number in range(8)))
    await world.run()
    world.accept_all()
    await world.run()
    for lost in ("before", "after"):
        world.directory.disable(guids[0])
        world.team.break_next(ActionKind.SUSPEND, lost=lost)  # type: ignore[arg-type]
        async with world.open() as assembly:
            await assembly.engine.run()
            world.directory.enable(guids[0])
            await assembly.engine.run()
            world.clock.turn(minutes=2)
            await assembly.engine.run()
        assert world.status("p000") == "active"


async def test_an_outage_in_the_middle_of_a_pass_loses_nothing_and_ends_with_16_or_17(world: World) -> None:
    guids = world.people(*(f"p{number:03}" for number in range(20)))
    await world.run()
    world.accept_all()
    await world.run()
    world.team.effects.clear()
    for guid in guids[:5]:
        world.directory.modify(guid, surname="Lee")
    original = world.team.update
    count = 0

    async def update(member_id, changes):  # type: ignore[no-untyped-def]
        nonlocal count
        count += 1
        world.team.outage = count >= 2
        return await original(member_id, changes)

    world.team.update = update  # type: ignore[method-assign]
    summary = await world.run()
    assert summary.code in (ExitCode.TEAM_READ, ExitCode.SYNC)
    world.team.outage = False
    world.team.update = original  # type: ignore[method-assign]
    world.clock.turn(minutes=5)
    await world.settle()
    assert sorted(world.effects()) == [("update", f"p00{number}@example.test") for number in range(5)]

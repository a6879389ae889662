"""What the double offers beyond the contract: failures on demand, and the directory's nastier habits."""

from datetime import UTC, datetime

import anyio
import pytest

from pipeline.errors import CheckpointRefused, DirectoryBusy, DirectoryError
from pipeline.model import Checkpoint, Delta
from stages.directory.memory import MemoryDirectory

pytestmark = pytest.mark.anyio


async def drain(directory: MemoryDirectory, since: Checkpoint) -> tuple[list[Delta], Checkpoint]:
    deltas: list[Delta] = []
    async for page in directory.changes(since):
        deltas += page.deltas
        since = page.checkpoint
    return deltas, since


async def test_the_nth_call_fails_once() -> None:
    directory = MemoryDirectory()
    group = directory.create_group("G")
    directory.fail("read_members", DirectoryBusy("read", "busy"), call=2)
    await directory.read_members(group)
    with pytest.raises(DirectoryBusy):
        await directory.read_members(group)
    assert await directory.read_members(group) == ()


async def test_a_page_in_the_middle_can_fail() -> None:
    directory = MemoryDirectory(page_size=1)
    checkpoint = await directory.start()
    ann, bob = directory.create_user("Ann"), directory.create_user("Bob")
    directory.fail("changes", DirectoryBusy("read", "cut"), call=2)
    with pytest.raises(DirectoryBusy):
        await drain(directory, checkpoint)
    assert [delta.guid for delta in (await drain(directory, checkpoint))[0]] == [ann, bob]


async def test_the_checkpoint_of_a_page_in_between_loses_nothing() -> None:
    directory = MemoryDirectory(page_size=1)
    checkpoint = await directory.start()
    guids = {directory.create_user(name) for name in "ABC"}
    page = await anext(directory.changes(checkpoint))
    assert page.more
    assert {delta.guid for delta in (await drain(directory, page.checkpoint))[0]} >= guids - {
        page.deltas[0].guid
    }


async def test_a_cookie_may_replay() -> None:
    directory = MemoryDirectory()
    checkpoint = await directory.start()
    ann = directory.create_user("Ann")
    _, checkpoint = await drain(directory, checkpoint)
    directory.replay(1)
    assert [delta.guid for delta in (await drain(directory, checkpoint))[0]] == [ann]
    assert (await drain(directory, checkpoint))[0] == []


async def test_refused_checkpoints_and_unreadable_members() -> None:
    directory = MemoryDirectory()
    checkpoint = await directory.start()
    group = directory.create_group("G")
    directory.refuse_checkpoints()
    with pytest.raises(CheckpointRefused):
        await drain(directory, checkpoint)
    directory.make_members_unreadable(group)
    with pytest.raises(DirectoryError):
        await directory.read_members(group)


async def test_gone_without_a_tombstone() -> None:
    directory = MemoryDirectory()
    ann = directory.create_user("Ann")
    checkpoint = await directory.start()
    directory.expunge(ann)
    assert (await drain(directory, checkpoint))[0] == []
    assert await directory.read_tombstones([ann]) == frozenset()


async def test_the_recycle_bin_brings_links_back_without_an_event_on_the_group() -> None:
    directory = MemoryDirectory(recycle_bin=True)
    ann = directory.create_user("Ann", mail="a@x.test")
    group = directory.create_group("G", members=[ann])
    directory.delete(ann)
    assert await directory.read_members(group) == ()
    checkpoint = await directory.start()
    directory.restore(ann)
    deltas, _ = await drain(directory, checkpoint)
    assert [(delta.guid, delta.restored) for delta in deltas] == [(ann, True)]
    assert await directory.read_parents(ann) == (group,)
    assert (await directory.read_entries([ann]))[ann].email == "a@x.test"


async def test_what_comes_back_into_sight_is_a_change() -> None:
    directory = MemoryDirectory()
    ann = directory.create_user("Ann")
    directory.move_out_of_sight(ann)
    checkpoint = await directory.start()
    directory.move_into_sight(ann)
    assert [delta.guid for delta in (await drain(directory, checkpoint))[0]] == [ann]


async def test_an_expiry_is_told() -> None:
    directory = MemoryDirectory()
    ann = directory.create_user("Ann", expires=datetime(2027, 1, 1, tzinfo=UTC))
    assert (await directory.read_entries([ann]))[ann].account_expires == datetime(2027, 1, 1, tzinfo=UTC)


async def test_a_waiter_is_woken() -> None:
    directory = MemoryDirectory()
    await directory.wait_for_change(0)
    woken = []
    async with anyio.create_task_group() as group:

        async def wait() -> None:
            woken.append(await directory.wait_for_change(60))

        group.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        directory.create_user("Ann")
    assert woken == [True]


def test_guids_repeat_from_run_to_run_and_never_within_one() -> None:
    one, two = MemoryDirectory(), MemoryDirectory()
    first = [one.create_user(f"P{number}") for number in range(50)]
    assert first == [two.create_user(f"P{number}") for number in range(50)]
    assert len(set(first)) == 50

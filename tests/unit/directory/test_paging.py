"""The loops: whole or an error, whatever happens in between (reference §8.2)."""

from collections.abc import Callable

import pytest

from pipeline.errors import DirectoryBusy, DirectoryError
from stages.directory import reader
from stages.directory.controls import EXTENDED_DN
from stages.directory.faults import ConnectionLost, ServerStuck, refusal
from stages.directory.paging import read_values
from stages.directory.wire import Search

pytestmark = pytest.mark.anyio

ROOT = "00000000-0000-0000-0000-000000000001"


async def read_nest(server) -> tuple[set[str], int]:
    """What a full read of the nest does: every group ranged, every person by GUID."""
    waiting, seen, people = [ROOT], {ROOT}, set()
    while waiting:
        members = await reader.read_members(server, waiting.pop())
        fresh = [target.guid for target in members if target.guid not in seen]
        seen.update(fresh)
        entries = await reader.read_entries(server, fresh, "mail")
        assert set(entries) == set(fresh)
        waiting += [guid for guid in fresh if guid in server.groups]
        people |= {guid for guid in fresh if guid not in server.groups}
    return people, server.requests


async def test_the_nest_is_read_whole(nest) -> None:
    people, requests = await read_nest(nest)
    assert people == set(nest.people)
    assert requests > 10


ERRORS = {
    "busy": refusal("scripted", 51, ""),
    "time limit": refusal("scripted", 3, ""),
    "unavailable": refusal("scripted", 52, ""),
    "rights": refusal("scripted", 50, ""),
    "other": refusal("scripted", 80, ""),
    "lost": ConnectionLost("scripted", "cut"),
    "stuck": ServerStuck("scripted", "silent"),
}


@pytest.mark.parametrize("error", ERRORS.values(), ids=ERRORS.keys())
async def test_an_error_at_any_request_is_never_a_shorter_answer(nest, error: Exception) -> None:
    _, requests = await read_nest(nest)
    for number in range(1, requests + 1):
        nest.requests, nest.fail_at, nest.error = 0, number, error
        with pytest.raises(DirectoryError):
            await read_nest(nest)


@pytest.mark.parametrize("code", [1, 4], ids=["operations error", "size limit"])
async def test_what_can_be_asked_otherwise_is_read_anew_or_fails(nest, code: int) -> None:
    _, requests = await read_nest(nest)
    for number in range(1, requests + 1):
        nest.requests, nest.fail_at, nest.error = 0, number, refusal("scripted", code, "")
        try:
            people, _ = await read_nest(nest)
        except DirectoryError:
            continue
        assert people == set(nest.people)


async def test_a_page_without_its_control_is_an_error(nest) -> None:
    nest.forgets_paging_at = 1
    with pytest.raises(DirectoryError, match="cut short"):
        await reader.read_primary_members(nest, 513)
    nest.requests, nest.forgets_paging_at = 0, 3
    with pytest.raises(DirectoryError, match="cut short"):
        await reader.read_primary_members(nest, 513)


async def test_a_server_with_small_pages_is_read_in_pages(nest) -> None:
    nest.max_page = 60
    people, _ = await read_nest(nest)
    assert people == set(nest.people)


async def test_pages_are_joined(nest) -> None:
    assert list(await reader.read_primary_members(nest, 513)) == nest.people
    assert nest.requests == 4


def at_request(number: int, change: Callable[[], None]) -> Callable[[int, Search], None]:
    def before(request: int, _: Search) -> None:
        if request == number:
            change()

    return before


async def test_a_group_that_changes_while_it_is_read_is_read_again(nest) -> None:
    newcomer = "00000000-0000-0000-0000-00000000ffff"

    def join() -> None:
        nest.groups[ROOT].insert(0, newcomer)
        nest.versions[ROOT] += 1

    nest.before = at_request(2, join)
    members = [target.guid for target in await reader.read_members(nest, ROOT)]
    assert members == nest.groups[ROOT]
    assert newcomer in members


@pytest.mark.parametrize("position", [0, 1, 700, 1498, 1499, 1500, 1501, 2998, 2999, 3000])
@pytest.mark.parametrize("request_number", [2, 3])
async def test_a_member_deleted_meanwhile_pushes_nobody_over_the_edge(
    nest, position: int, request_number: int
) -> None:
    # No new uSNChanged: the deletion of a user is no write on the group (reference §2.3).
    before = list(nest.groups[ROOT])
    nest.before = at_request(request_number, lambda: nest.groups[ROOT].pop(position))
    members = [target.guid for target in await reader.read_members(nest, ROOT)]
    assert set(nest.groups[ROOT]) <= set(members) <= set(before)


async def test_a_group_that_never_rests_is_tried_later(nest) -> None:
    def change(_: int, __: Search) -> None:
        nest.versions[ROOT] += 1

    nest.before = change
    with pytest.raises(DirectoryBusy, match="changed"):
        await reader.read_members(nest, ROOT)


async def test_a_group_that_shrinks_below_the_next_range_without_the_control(nest) -> None:
    nest.controller = type(nest.controller)(
        **{name: getattr(nest.controller, name) for name in nest.controller.__slots__}
        | {"controls": frozenset()}
    )

    def shrink() -> None:
        del nest.groups[ROOT][1000:]
        nest.versions[ROOT] += 1

    nest.before = at_request(2, shrink)
    assert [target.guid for target in await reader.read_members(nest, ROOT)] == nest.groups[ROOT]


@pytest.mark.parametrize("size", [0, 1, 2, 1499, 1500, 1501, 2999, 3000, 3001, 4500])
async def test_every_size_is_whole(nest, size: int) -> None:
    nest.groups[ROOT] = (
        (nest.people * 2)[:size]
        if size <= 3100
        else [f"{n:08x}-0000-0000-0000-000000000000" for n in range(size)]
    )
    assert [target.guid for target in await reader.read_members(nest, ROOT)] == nest.groups[ROOT]


async def test_an_object_that_is_not_there_has_no_values(nest) -> None:
    with pytest.raises(DirectoryError):
        await read_values(
            nest, purpose="x", base="<GUID=nowhere>", attribute="member", controls=(EXTENDED_DN,)
        )
    assert await reader.read_parents(nest, "00000000-0000-0000-0000-00000000dead") == ()

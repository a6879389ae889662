"""Sequence numbers: pinned to one server and its epoch, nothing lost, nothing told over and over."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from pipeline.errors import CheckpointRefused, DirectoryBusy, DirectoryError
from stages.directory import usn
from stages.directory.faults import refusal
from stages.directory.usn import OVERLAP, Delivered
from stages.directory.wire import Answer, Controller, RawEntry, Search
from tests.unit.directory.conftest import guid

pytestmark = pytest.mark.anyio

T0 = datetime(2026, 11, 23, tzinfo=UTC)


class Server:
    """Objects by number of their last write; some dead. `epochs` are told one after the other."""

    def __init__(self, controller: Controller, guid: Callable[[int], bytes]) -> None:
        self.controller = controller
        self.guid = guid
        self.highest = 5000
        self.living: dict[int, int] = {}
        self.dead: dict[int, int] = {}
        self.epoch = b"\x07".rjust(16, b"\x00")
        self.hides_the_dead = False
        self.searches: list[str] = []
        self.more: dict[str, tuple[bytes, ...]] = {}

    async def search(self, request: Search) -> Answer:
        self.searches.append(request.filter)
        if request.base == "":
            return Answer((RawEntry("", {"highestcommittedusn": (str(self.highest).encode(),)}),))
        if request.base == self.controller.ds_service:
            return Answer((RawEntry("", {"invocationid": (self.epoch,)}),))
        is_dead = request.base.startswith("<WKGUID=")
        if is_dead and self.hides_the_dead:
            raise refusal(request.purpose, 32, "")
        low = int(request.filter.partition("uSNChanged>=")[2].partition(")")[0])
        found = self.dead if is_dead else self.living
        return Answer(
            tuple(
                RawEntry(
                    f"CN={number}",
                    {
                        "objectguid": (self.guid(number),),
                        "objectclass": (b"top", b"group") if number % 2 else (b"top", b"user"),
                        "usnchanged": (str(written).encode(),),
                    }
                    | ({"isdeleted": (b"TRUE",)} if is_dead else self.more),
                )
                for number, written in found.items()
                if written >= low
            ),
            page_cookie=b"",
        )


@pytest.fixture
def server(dc: Controller, raw_guid_of: Callable[[int], bytes]) -> Server:
    return Server(dc, raw_guid_of)


async def poll(server: Server, since: int, delivered: Delivered, number: int, since_at: datetime | None = T0):
    deltas, highest = [], None
    at = T0 + timedelta(seconds=number)
    async for page, highest in usn.changes(  # noqa: B007
        server, since, since_at, delivered, email_attribute="mail", at=at
    ):
        deltas += page
    return deltas, highest, at


async def test_the_new_number_is_the_one_from_before_the_search(server: Server) -> None:
    server.living = {2: 5001}  # written after the number was told
    deltas, highest, _ = await poll(server, 4999, Delivered(), 1)
    assert len(deltas) == 1
    assert highest == 5000


async def test_late_writes_below_the_number_are_seen_by_the_overlap(server: Server) -> None:
    delivered = Delivered()
    _, highest, at = await poll(server, 4999, delivered, 1)
    server.living = {2: 4990}  # given out before, written only now
    deltas, *_ = await poll(server, highest, delivered, 2, at)
    assert len(deltas) == 1


async def test_the_overlap_is_told_once_only(server: Server) -> None:
    delivered = Delivered()
    server.living = {2: 4998}
    deltas, highest, at = await poll(server, 4990, delivered, 1)
    assert len(deltas) == 1
    server.highest = 5010
    deltas, *_ = await poll(server, highest, delivered, 2, at)
    assert deltas == []
    server.living = {2: 5009}
    deltas, *_ = await poll(server, highest, delivered, 3, at)
    assert len(deltas) == 1


async def test_what_was_not_stored_is_told_again(server: Server) -> None:
    delivered = Delivered()
    server.living = {2: 4998}
    await poll(server, 4990, delivered, 1)
    deltas, *_ = await poll(server, 4990, delivered, 2)  # the old checkpoint came back
    assert len(deltas) == 1


async def test_start_notes_the_overlap_because_a_full_read_follows(server: Server) -> None:
    delivered = Delivered()
    server.living = {2: 4998}
    highest = await usn.start(server, delivered, T0)
    assert (await poll(server, highest, delivered, 1))[0] == []


async def test_a_new_process_is_told_the_overlap_once_more(server: Server) -> None:
    server.living = {2: 4998}
    assert len((await poll(server, 5000, Delivered(), 1))[0]) == 1


async def test_a_quiet_server_costs_one_request(server: Server) -> None:
    delivered = Delivered()
    _, highest, at = await poll(server, 4990, delivered, 1)
    _, highest, at = await poll(server, highest, delivered, 2, at)
    server.searches.clear()
    deltas, highest, at = await poll(server, highest, delivered, 3, at)
    assert (deltas, highest, len(server.searches)) == ([], 5000, 1)
    server.highest, server.living = 5001, {2: 5001}
    assert len((await poll(server, highest, delivered, 4, at))[0]) == 1


async def test_groups_must_be_read_and_the_dead_are_proof(server: Server) -> None:
    server.living, server.dead = {1: 5000, 2: 5000}, {3: 5000, 4: 5000}
    deltas, *_ = await poll(server, 4999, Delivered(), 1)
    assert [(delta.members_unknown, delta.tombstone) for delta in deltas] == [
        (True, False),
        (False, False),
        (False, True),
        (False, True),
    ]


async def test_an_account_that_may_not_look_at_the_dead_sees_the_living(server: Server) -> None:
    server.living, server.dead, server.hides_the_dead = {2: 5000}, {4: 5000}, True
    assert len((await poll(server, 4999, Delivered(), 1))[0]) == 1


async def test_a_restore_while_reading_refuses_the_checkpoint(server: Server) -> None:
    server.epoch = bytes(16)
    with pytest.raises(CheckpointRefused, match="restored"):
        await poll(server, 4999, Delivered(), 1)


async def test_a_server_before_the_checkpoint_refuses_it(server: Server) -> None:
    server.highest = 4000
    with pytest.raises(CheckpointRefused):
        await poll(server, 5000, Delivered(), 1)


async def test_without_an_epoch_numbers_are_not_used(server: Server) -> None:
    server.controller = replace(server.controller, invocation_id="")
    with pytest.raises(DirectoryError, match="invocationId"):
        await usn.start(server, Delivered(), T0)


async def test_an_error_in_the_middle_gives_no_new_number(server: Server) -> None:
    original = server.search

    async def search(request: Search) -> Answer:
        if request.base.startswith("<WKGUID="):
            raise refusal(request.purpose, 51, "")
        return await original(request)

    server.search = search  # type: ignore[method-assign]
    with pytest.raises(DirectoryBusy):
        await poll(server, 4999, Delivered(), 1)


@pytest.mark.parametrize(
    ("values", "holders"),
    [
        ({}, frozenset()),
        ({"memberof": (b"<GUID=00000000-0000-0000-0000-00000000000a>;CN=G",)}, {guid(10)}),
        # MaxValRange: a part of them is not all of them.
        (
            {"memberof": (), "memberof;range=0-1": (b"<GUID=00000000-0000-0000-0000-00000000000a>;CN=G",)},
            None,
        ),
    ],
)
async def test_the_groups_that_hold_an_object_are_told_whole_or_not_at_all(server, values, holders) -> None:
    server.living, server.more = {2: 5000}, values
    (delta,), *_ = await poll(server, 4999, Delivered(), 1)
    assert delta.holders == holders


def test_the_overlap_is_not_smaller_than_agreed() -> None:
    assert OVERLAP == 1000  # reference §2.2

"""What an object says of its groups is a claim: the group itself decides, and a burst of newcomers is read in bulk."""

from collections import Counter
from dataclasses import replace
from datetime import timedelta

import pytest

from bench.history_run import HandClock
from pipeline.model import Source
from stages.directory.memory import MemoryDirectory
from stages.directory.poller import Poller, PollOptions
from state.journal import Journal

pytestmark = pytest.mark.anyio


class Telling(MemoryDirectory):
    """Sequence numbers; `claims` replaces what objects say of their groups. Counts what is asked."""

    def __init__(self, clock) -> None:
        super().__init__(source=Source.USN, clock=clock)
        self.claims: dict[str, frozenset[str] | None] = {}
        self.asked = Counter()

    async def changes(self, since):
        async for page in super().changes(since):
            deltas = tuple(
                replace(delta, holders=self.claims.get(delta.guid, delta.holders)) for delta in page.deltas
            )
            yield replace(page, deltas=deltas)

    async def _called(self, name):
        self.asked[name] += 1
        await super()._called(name)


@pytest.fixture
async def world(tmp_path):
    clock = HandClock()
    directory = Telling(clock)
    journal = await Journal.open(tmp_path / "journal.db")
    ann, bob = (directory.create_user(name, mail=f"{name}@example.test") for name in ("ann", "bob"))
    root = directory.create_group("Dropbox", members=[ann])
    poller = Poller(directory, journal, clock, PollOptions(sync_group=root, settle=timedelta()))
    await poller.poll()

    async def listed():
        clock.advance(1)
        directory.asked.clear()
        await poller.poll()
        async with journal.reading():
            return {node.guid for node in await journal.mirror.listed_users()}

    yield directory, root, ann, bob, listed
    await journal.close()


async def test_a_claim_that_the_group_denies_brings_nobody_in(world):
    directory, root, ann, bob, listed = world
    directory.claims[bob] = frozenset({root})  # older than what took the link away
    directory.modify(bob, surname="B")
    assert await listed() == {ann}
    assert directory.asked["read_members"] == 1


async def test_who_says_to_be_in_no_group_is_kept_by_the_group(world):
    """`memberOf` that can't be read looks like none."""
    directory, _, ann, _, listed = world
    directory.claims[ann] = frozenset()
    directory.modify(ann, surname="B")
    assert await listed() == {ann}
    directory.claims[ann] = None  # too many to be told: asked for by itself
    directory.modify(ann, surname="C")
    assert await listed() == {ann}
    assert directory.asked["read_parents"] == 1


async def test_a_stranger_in_other_groups_costs_no_request(world):
    directory, _, ann, bob, listed = world
    directory.create_group("Elsewhere", members=[bob])
    directory.modify(bob, surname="B")
    assert await listed() == {ann}
    assert not directory.asked["read_members"]
    assert not directory.asked["read_parents"]


async def test_a_burst_of_newcomers_is_read_by_the_group(world):
    directory, root, ann, _, listed = world
    new = [directory.create_user(f"n{number}", mail=f"n{number}@example.test") for number in range(50)]
    directory.add_members(root, *new)
    assert await listed() == {ann, *new}
    assert directory.asked["read_members"] == 1
    assert not directory.asked["read_parents"]
    for person in new:
        directory.modify(person, surname="N")
    assert await listed() == {ann, *new}
    assert not directory.asked["read_members"]
    assert not directory.asked["read_parents"]

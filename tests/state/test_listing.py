"""A full listing of the team in the journal: only what differs is written, and who was not told is known afterwards."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from pipeline.model import Entry, Kind, Member, Status
from pipeline.records import Link, MirrorChange
from state.journal import Journal

pytestmark = pytest.mark.anyio

AT = datetime(2026, 11, 25, 12, tzinfo=UTC)


@pytest.fixture
async def journal() -> AsyncIterator[Journal]:
    opened = await Journal.open(":memory:")
    yield opened
    await opened.close()


def member(name: str, **more: str) -> Member:
    return Member(
        member_id=f"dbmid:{name}",
        status=Status.ACTIVE,
        email=f"{name}@example.test",
        joined_on=AT,
        given_name=more.get("given_name", "Ann"),
    )


async def test_a_listing_writes_what_differs_and_nothing_else(journal: Journal) -> None:
    known, other = [member("a"), member("b")], replace(member("b"), status=Status.SUSPENDED)
    async with journal.transaction():
        await journal.members.save(known)
    statements: list[str] = []
    await journal.database._connection.set_trace_callback(statements.append)
    async with journal.transaction():
        await journal.members.save_differing(known)
    assert not any(one.startswith("INSERT") for one in statements)
    async with journal.transaction():
        await journal.members.save_differing([known[0], other, member("c")])
    assert sum(one.startswith("INSERT") for one in statements) == 2
    async with journal.reading():
        assert await journal.members.all() == [known[0], other, member("c")]


async def test_only_who_was_not_told_is_forgotten_and_their_persons_are_found(journal: Journal) -> None:
    persons = {name: Entry(guid=f"guid-{name}", kind=Kind.USER, dn=f"CN={name}") for name in "abcd"}
    async with journal.transaction():
        await journal.members.save([member("a"), member("b"), member("stranger")])
        await journal.mirror.apply(
            MirrorChange(
                at=AT,
                entries=tuple(persons.values()),
                entered=frozenset(one.guid for one in persons.values()),
            )
        )
        await journal.links.set_all(
            [
                Link(guid=f"guid-{name}", member_id=f"dbmid:{name}", how="external_id", at=AT)
                for name in ("a", "b", "c")
            ]
        )
    told = {"dbmid:a", "dbmid:stranger"}
    async with journal.transaction():
        await journal.members.keep(told)
        assert {one.member_id for one in await journal.members.all()} == told
        # b is no longer on the team, c's member was never read, d has none.
        assert sorted(await journal.links.not_told(told)) == ["guid-b", "guid-c", "guid-d"]

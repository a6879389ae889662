"""From the first schema to the one with groups: what the journal held is still there, and works."""

import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipeline.core.groups import WantedGroup
from pipeline.model import ActionKind, State, TeamGroup
from pipeline.records import GroupLink
from state.database import APPLICATION_ID, migrations
from state.journal import Journal

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 11, 23, 17, 0, tzinfo=UTC)


def _first_schema(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(migrations()[0][1])
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute("PRAGMA user_version = 1")
        connection.execute(
            "INSERT INTO action (guid, kind, state, email, member_id, changes, reason, cause, pass_id, ordinal, planned_at) "
            "VALUES ('ann', 'suspend', 'held', 'ann@example.test', 'm:ann', '{}', 'left', 'left', 1, 0, '2026-11-23T16:00:00.000000Z')"
        )
        connection.execute("INSERT INTO meta VALUES ('domain_guid', 'd')")
        connection.commit()


async def test_an_older_journal_is_upgraded_with_what_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    path.touch(mode=0o600)
    _first_schema(path)
    journal = await Journal.open(path)
    async with journal.reading():
        [held] = await journal.outbox.unreleased()
        assert (held.guid, held.kind, held.state, held.group_guid) == (
            "ann",
            ActionKind.SUSPEND,
            State.HELD,
            "",
        )
        assert await journal.groups.links() == {}
        assert await journal.get("domain_guid") == "d"
    await journal.close()
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (migrations()[-1][0],)


async def test_writes_about_groups_stay_apart_from_those_about_the_same_person(tmp_path: Path) -> None:
    journal = await Journal.open(tmp_path / "journal.db")
    wanted = [
        WantedGroup(
            kind=ActionKind.GROUP_ADD, guid="ann", member_id="m:ann", reason="in it", email="ann@example.test"
        )
    ]
    async with journal.transaction():
        await journal.groups.save([TeamGroup(group_id="g:1", name="Sales")])
        await journal.groups.link(
            GroupLink(guid="sales", group_id="g:1", how="created", at=NOW, name="Sales")
        )
        await journal.groups.set_members("g:1", ["m:bob", "m:cid"])
        await journal.groups.add_actions(
            wanted, group_guid="sales", group_id="g:1", pass_id=1, now=NOW, seen_at=NOW
        )
    async with journal.transaction():
        assert await journal.outbox.open_of(["ann"]) == {}
        assert await journal.outbox.unreleased() == []
        [action] = await journal.outbox.unreleased(about_groups=True)
        await journal.groups.release([(action, 0)])
        assert await journal.outbox.claimable(10) == []
        assert [one.guid for one in await journal.groups.ready({ActionKind.GROUP_ADD})] == ["ann"]
        assert await journal.groups.ready({ActionKind.GROUP_REMOVE}) == []
        await journal.groups.change_members("g:1", added=["m:ann"], removed=["m:bob"])
        assert (await journal.groups.members_of(["g:1"]))["g:1"] == {"m:ann", "m:cid"}
        assert await journal.groups.doubt(["g:1", "g:2"]) == 1
        await journal.groups.drop_members(["m:cid"])
        await journal.groups.unlink(["sales"])
        assert (await journal.groups.members_of(["g:1"]))["g:1"] == frozenset()
        await journal.groups.replace_all([])
        assert await journal.groups.all() == {}
    await journal.close()

"""`journal verify` finds what must not be; `journal compact` drops history and nothing else."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
import pytest

from pipeline.model import ActionKind, Entry, Kind, Profile, State, Wanted
from pipeline.progress import Phase, watched_by
from pipeline.records import Edge, Link, MirrorChange, Pin
from state import upkeep
from state.journal import Journal
from state.upkeep import compact, verify

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
OLD = NOW - timedelta(days=500)


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    opened = await Journal.open(tmp_path / "journal.db")
    async with opened.transaction():
        await opened.put("sync_group_guid", "root")
        await opened.mirror.apply(
            MirrorChange(
                at=OLD,
                entries=(
                    Entry(guid="root", kind=Kind.GROUP, dn="CN=Dropbox"),
                    Entry(guid="ann", kind=Kind.USER, dn="CN=Ann", email="ann@example.test"),
                ),
                added=(Edge("root", "ann"),),
                entered=frozenset({"ann"}),
            )
        )
        await opened.links.set(Link(guid="ann", member_id="dbmid:1", how="invited", at=OLD))
        for number in range(5):
            await opened.append([{"kind": "delta", "guid": "ann", "detail": {"number": number}}], OLD)
    yield opened
    await opened.close()


async def _add(journal: Journal, kind: ActionKind, at: datetime) -> int:
    await journal.outbox.add(
        Wanted(kind=kind, reason="test"),
        guid="ann",
        email="ann@example.test",
        member_id="dbmid:1",
        precondition="",
        before=Profile(),
        pass_id=1,
        now=at,
        seen_at=at,
    )
    return max(action.id for action in await journal.outbox.of_person("ann"))


async def test_a_sound_journal_has_no_faults(journal: Journal) -> None:
    assert await verify(journal) == []


async def test_what_a_compact_drops_and_a_pass_changes_meanwhile_is_no_fault(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process's, between two slices of the log and before the scope is looked at."""
    monkeypatch.setattr(upkeep, "SLICE", 2)
    told: list[int] = []

    async def write() -> None:
        owner = await Journal.open(tmp_path / "journal.db")
        await compact(owner, NOW)
        async with owner.transaction():
            await owner.database.execute("DELETE FROM edge")
        await owner.close()

    def beside(_phase: Phase, done: int, _total: int | None) -> None:
        told.append(done)
        if done == 2:
            thread = threading.Thread(target=anyio.run, args=(write,))
            thread.start()
            thread.join()

    reader = await Journal.open(tmp_path / "journal.db", read_only=True)
    try:
        with watched_by(beside):
            assert await verify(reader) == []
        assert told == [0, 2, 4]
        assert {fault.what for fault in await verify(reader)} == {"the scope does not fit the edges"}
    finally:
        await reader.close()


@pytest.mark.parametrize(
    ("damage", "what"),
    [
        ("UPDATE log SET cause = 'forged' WHERE seq = 3", "the change log was altered"),
        ("UPDATE log SET detail = '{}' WHERE seq = 5", "the change log was altered"),
        ("DELETE FROM log WHERE seq = 3", "a hole in the change log"),
        ("DELETE FROM log WHERE seq = 1", "a hole in the change log"),
        ("UPDATE node SET listed = 0 WHERE guid = 'ann'", "the scope does not fit the edges"),
        ("DELETE FROM node WHERE guid = 'ann'", "a link to nobody"),
    ],
)
async def test_tampering_and_holes_show(journal: Journal, damage: str, what: str) -> None:
    async with journal.transaction():
        await journal.database.execute(damage)
    assert what in {fault.what for fault in await verify(journal)}


async def test_a_rolled_back_append_leaves_no_hole(journal: Journal) -> None:
    with pytest.raises(RuntimeError):
        async with journal.transaction():
            await journal.append([{"kind": "delta", "guid": "ann"}], NOW)
            raise RuntimeError
    async with journal.transaction():
        await journal.append([{"kind": "delta", "guid": "ann"}], NOW)
    assert await verify(journal) == []


async def test_compaction_keeps_open_actions_links_and_pins_and_the_chain_goes_on(journal: Journal) -> None:
    async with journal.transaction():
        done = await _add(journal, ActionKind.SUSPEND, OLD)
        await journal.outbox.release([((await journal.outbox.unreleased())[0], None)])
        action = (await journal.outbox.claimable(1))[0]
        await journal.outbox.mark_sending([action], OLD)
        sending = (await journal.outbox.in_state(State.SENDING))[0]
        await journal.outbox.settle(sending, State.DONE, OLD)
        still_open = await _add(journal, ActionKind.REMOVE, OLD)
        await journal.pin([Pin(guid="ann", kind=None, changes=Profile(), reason="undo of pass 1", at=OLD)])
        await journal.append([{"kind": "delta", "guid": "ann", "cause": "new"}], NOW)
    counts = await compact(journal, NOW - timedelta(days=400))
    assert counts["lines"] == 5
    assert counts["actions"] == 1
    async with journal.reading():
        kept = {one.id for one in await journal.outbox.of_person("ann")}
        assert kept == {still_open}
        assert done not in kept
        assert await journal.links.all_guids() == ["ann"]
        assert set(await journal.pins(["ann"])) == {"ann"}
        assert [line["cause"] for line in await journal.entries()] == ["new"]
    async with journal.transaction():
        await journal.append([{"kind": "delta", "guid": "ann", "cause": "newer"}], NOW)
    assert await verify(journal) == []


async def test_a_log_compacted_to_nothing_goes_on_with_its_chain(journal: Journal) -> None:
    await compact(journal, NOW)
    async with journal.transaction():
        await journal.append([{"kind": "delta", "guid": "ann", "cause": "first again"}], NOW)
    assert await verify(journal) == []

"""The journal beside bare sqlite3: appending, restarting, asking."""

from __future__ import annotations

import json
import resource
import sqlite3
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

import anyio

from bench.figure import Figure
from config.settings import Settings
from pipeline.app.clock import SystemClock
from pipeline.app.explanation import explain
from pipeline.app.overview import status_of
from pipeline.app.policies import planner_options_of
from pipeline.model import Entry, Kind, Member, State, Status
from pipeline.records import Edge, Link, MirrorChange
from stages.dropbox.memory import MemoryTeam
from stages.people.planner import Planner
from state.database import stamp
from state.journal import Journal
from state.portable import export_whole
from state.standby import restore, ship
from state.upkeep import compact, verify

BATCH = 5_000
PEOPLE = 10_000
STATEMENT = "INSERT INTO log (at, kind, guid, email, action, state, cause, pass_id, detail, chain) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"


def _rows(count: int) -> list[dict[str, object]]:
    return [
        {
            "kind": "delta",
            "guid": f"00000000-0000-4000-8000-{number % 1000:012d}",
            "cause": "changed",
            "detail": {"attributes": ["sn"]},
        }
        for number in range(count)
    ]


async def _append(folder: Path, count: int) -> float:
    journal = await Journal.open(folder / "journal.db")
    rows = _rows(BATCH)
    now = datetime.now(UTC)
    started = time.perf_counter()
    for _ in range(count // BATCH):
        async with journal.transaction():
            await journal.append(rows, now)
    elapsed = time.perf_counter() - started
    await journal.close()
    return elapsed


def _append_bare(folder: Path, count: int) -> float:
    """The same rows, indexes and durability, in one thread, with nothing in between."""
    schema = (Path(__file__).parent.parent / "state" / "schema.sql").read_text(encoding="utf-8")
    connection = sqlite3.connect(folder / "bare.db", isolation_level=None)
    connection.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;" + schema)
    row = (
        "2026-11-23T00:00:00.000000Z",
        "delta",
        "",
        "",
        "",
        "",
        "changed",
        None,
        '{"attributes":["sn"]}',
        "0" * 32,
    )
    rows = [(*row[:2], f"00000000-0000-4000-8000-{number % 1000:012d}", *row[3:]) for number in range(BATCH)]
    started = time.perf_counter()
    for _ in range(count // BATCH):
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(STATEMENT, rows)
        connection.execute("COMMIT")
    elapsed = time.perf_counter() - started
    connection.close()
    return elapsed


async def _people(folder: Path) -> None:
    """10,000 linked people in a nested group, each with a settled action; nothing is pending."""
    journal = await Journal.open(folder / "journal.db")
    now = datetime.now(UTC)
    guids = [f"00000000-0000-4000-8000-{number:012d}" for number in range(PEOPLE)]
    entries = [
        Entry(guid=guid, kind=Kind.USER, dn=f"CN=P{number},DC=example", email=f"p{number}@example.test")
        for number, guid in enumerate(guids)
    ]
    groups = [
        Entry(guid=name, kind=Kind.GROUP, dn=f"CN={name},DC=example", name=name) for name in ("root", "inner")
    ]
    async with journal.transaction():
        await journal.put("sync_group_guid", "root")
        await journal.mirror.apply(
            MirrorChange(
                at=now,
                entries=(*groups, *entries),
                added=(Edge("root", "inner"), *(Edge("inner", guid) for guid in guids)),
                entered=frozenset(guids),
            )
        )
        await journal.members.save(
            [
                Member(
                    member_id=f"dbmid:{number}",
                    status=Status.ACTIVE,
                    email=f"p{number}@example.test",
                    external_id=f"ad-guid:{guid}",
                )
                for number, guid in enumerate(guids)
            ]
        )
        await journal.links.set_all(
            [
                Link(guid=guid, member_id=f"dbmid:{number}", how="invited", at=now)
                for number, guid in enumerate(guids)
            ]
        )
        await journal.database.execute(
            "INSERT INTO action (guid, kind, state, email, member_id, changes, reason, cause, pass_id, ordinal, planned_at, "
            "seen_at, sent_at, settled_at) SELECT guid, 'invite', 'done', email, '', '{}', 'bench', '', 1, 0, ?1, ?1, ?1, ?1 "
            "FROM node WHERE kind = 'user'",
            [stamp(now)],
        )
    await journal.close()


async def _ask(folder: Path) -> tuple[float, float, float]:
    """Seconds of this process, all its threads, to open, to tell the status, and to explain a person."""
    now = datetime.now(UTC)
    started = time.process_time()
    journal = await Journal.open(folder / "journal.db")
    async with journal.reading():
        pending = await journal.outbox.in_state(State.SENDING) + await journal.outbox.unreleased()
        assert not pending
        await journal.dirty(1)
    opened = time.process_time()
    await status_of(journal, now)
    told = time.process_time()
    settings = {"simulation": True, "directory": {"servers": ["ldaps://x"], "username": "x"}}
    options = planner_options_of(
        Settings.model_validate(settings, context={"folder": folder, "environ": {"AD_PASSWORD": "-"}})
    )
    ready = time.process_time()
    planner = Planner(MemoryTeam(), journal, SystemClock(), options)
    [found] = await explain(journal, planner, "p7@example.test", now)
    assert found.history
    explained = time.process_time()
    await journal.close()
    return opened - started, told - opened, explained - ready


async def _take_over(folder: Path) -> tuple[float, float, float]:
    """Seconds to ship a base copy, to ship 1,000 lines, and to restore from both."""
    path, shelf, now = folder / "journal.db", folder / "shelf", datetime.now(UTC)
    shelf.mkdir()
    journal = await Journal.open(path)
    started = time.perf_counter()
    await ship(journal, shelf, now, "bench")
    based = time.perf_counter()
    async with journal.transaction():
        await journal.append(_rows(1_000), now)
    ready = time.perf_counter()
    await ship(journal, shelf, now, "bench")
    shipped = time.perf_counter()
    await journal.close()
    begun = time.perf_counter()
    await restore(shelf, folder / "second.db", now, "bench")
    return based - started, shipped - ready, time.perf_counter() - begun


def _peak() -> float:
    """MB of this process at its highest so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


async def _look_after(folder: Path) -> dict[str, tuple[float, float]]:
    """By operation: seconds, and by how many MB the peak of memory grew; `compact` comes last, it drops the change log."""
    path, found = folder / "journal.db", {}

    async def timed(name: str, work: Callable[[Journal], Awaitable[None]], *, read_only: bool) -> None:
        journal = await Journal.open(path, read_only=read_only)
        started, before = time.perf_counter(), _peak()
        await work(journal)
        found[name] = (time.perf_counter() - started, _peak() - before)
        await journal.close()

    async def check(journal: Journal) -> None:
        assert await verify(journal) == []

    async def export(journal: Journal) -> None:
        async for line in journal.export(since=None, guid=""):
            json.dumps(line)

    async def export_all(journal: Journal) -> None:
        async for line in export_whole(journal):
            json.dumps(line)

    async def back_up(journal: Journal) -> None:
        await journal.copy_to(folder / "backup.db")

    async def drop(journal: Journal) -> None:
        await compact(journal, datetime.now(UTC) + timedelta(days=1))

    await timed("journal verify", check, read_only=True)
    await timed("journal export", export, read_only=True)
    await timed("journal export --whole", export_all, read_only=True)
    await timed("journal backup", back_up, read_only=True)
    await timed("journal compact, all of it past its time", drop, read_only=False)
    return found


def measure(full: bool) -> list[Figure]:
    count = 1_000_000 if full else 100_000
    with tempfile.TemporaryDirectory() as name:
        pairs, folders = [], [Path(name) / word for word in ("small", "large")]
        for folder, number in zip(folders, (count // 10, count), strict=True):
            folder.mkdir()
            pairs.append((anyio.run(_append, folder, number), _append_bare(folder, number)))
            anyio.run(_people, folder)
        ours, bare = pairs[-1]
        answers = [[anyio.run(_ask, folder) for _ in range(5)] for folder in folders]
        (opened_small, *_), (opened, told, found) = (
            [median(column) for column in zip(*each, strict=True)] for each in answers
        )
        based, shipped, restored = anyio.run(_take_over, folders[-1])
        looked_after = anyio.run(_look_after, folders[-1])
    peak = _peak()
    note = f"{count:,} changes, batches of {BATCH:,}, synchronous = FULL"
    return [
        Figure(
            name="journal append",
            value=count / ours,
            unit="rows a second",
            beside="bare sqlite3.executemany",
            ratio=bare / ours,
            goal=">= 0.5",
            note=note,
        ),
        Figure(
            name="journal open",
            value=opened * 1000,
            unit="ms",
            beside=f"with {count // 10:,} changes",
            ratio=opened / opened_small,
            goal="independent of size",
            note=f"restart with nothing pending: {count:,} changes, CPU, median of 5",
        ),
        Figure(
            name="status",
            value=told * 1000,
            unit="ms",
            goal="< 100",
            note=f"in the process, {PEOPLE:,} people, CPU, median of 5",
        ),
        Figure(
            name="explain",
            value=found * 1000,
            unit="ms",
            goal="< 100",
            note=f"in the process, {PEOPLE:,} people, CPU, median of 5",
        ),
        *(
            Figure(name=name, value=seconds, unit="s", note=f"{count:,} changes")
            for name, seconds in (
                ("standby: a base copy", based),
                ("standby: 1,000 more lines", shipped),
                ("standby: restore", restored),
            )
        ),
        *(
            Figure(
                name=name,
                value=seconds,
                unit="s",
                goal="flat memory",
                note=f"{count:,} changes; the peak of memory grew by {grown:.1f} MB",
            )
            for name, (seconds, grown) in looked_after.items()
        ),
        Figure(
            name="peak memory of the bench process",
            value=peak,
            unit="MB",
            note="getrusage",
        ),
    ]

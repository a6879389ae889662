"""The journal beside bare sqlite3: appending, restarting, asking."""

from __future__ import annotations

import resource
import sqlite3
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import anyio

from bench.figure import Figure
from pipeline.app.overview import status_of
from state.journal import Journal

BATCH = 5_000
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


async def _ask(folder: Path) -> tuple[float, float, float]:
    """Seconds to open, to tell the status, and to find a person's last lines."""
    started = time.perf_counter()
    journal = await Journal.open(folder / "journal.db")
    opened = time.perf_counter()
    await status_of(journal, datetime.now(UTC))
    told = time.perf_counter()
    async with journal.reading():
        await journal.last_entries(guid="00000000-0000-4000-8000-000000000007", limit=20)
    found = time.perf_counter()
    await journal.close()
    return opened - started, told - opened, found - told


def measure(full: bool) -> list[Figure]:
    count = 1_000_000 if full else 100_000
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ours = anyio.run(_append, folder, count)
        bare = _append_bare(folder, count)
        answers = [anyio.run(_ask, folder) for _ in range(5)]
    opened, told, found = (median(column) for column in zip(*answers, strict=True))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
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
            beside="",
            ratio=0.0,
            goal="independent of size",
            note=f"{count:,} changes, median of 5",
        ),
        Figure(
            name="status",
            value=told * 1000,
            unit="ms",
            beside="",
            ratio=0.0,
            goal="< 100",
            note="in the process, median of 5",
        ),
        Figure(
            name="a person's last lines",
            value=found * 1000,
            unit="ms",
            beside="",
            ratio=0.0,
            goal="< 100",
            note="in the process, median of 5",
        ),
        Figure(
            name="peak memory of the bench process",
            value=peak,
            unit="MB",
            beside="",
            ratio=0.0,
            goal="",
            note="getrusage",
        ),
    ]

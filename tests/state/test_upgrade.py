"""Every earlier schema, with rows in all its tables, becomes the newest one and keeps each row as it was."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from pipeline.errors import JournalError
from state.database import APPLICATION_ID, migrations
from state.journal import Journal

pytestmark = pytest.mark.anyio

Rows = list[dict[str, object]]

ROWS = 3
DROPPED = {"member": {"sweep"}}
"""Columns that held nothing beyond the run of one full listing."""
VALUES = {"INTEGER": lambda name, number: number, "BLOB": lambda name, number: bytes([0, 255, number])}


def made_at(path: Path, version: int) -> sqlite3.Connection:
    """An empty journal as an earlier version of the program made it."""
    connection = sqlite3.connect(path)
    for number, script in migrations():
        if number <= version:
            connection.executescript(script)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {version}")
    return connection


def _tables(connection: sqlite3.Connection) -> list[str]:
    found = connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    )
    return [row[0] for row in found]


def _fill(connection: sqlite3.Connection, table: str) -> None:
    """Every column of every row has a value of its own; the checkpoint is the one table that holds one row."""
    columns = [(row[1], row[2]) for row in connection.execute(f"PRAGMA table_info({table})")]
    for number in range(1, 2 if table == "checkpoint" else ROWS + 1):
        values = [
            VALUES.get(kind, lambda name, number: f"Ü {name} {number}")(name, number)
            for name, kind in columns
        ]
        marks = ", ".join("?" * len(values))
        connection.execute(f"INSERT INTO {table} VALUES ({marks})", values)


def _rows(connection: sqlite3.Connection, table: str) -> Rows:
    cursor = connection.execute(f"SELECT * FROM {table} ORDER BY 1, 2")
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor]


@pytest.mark.parametrize("version", [number for number, _ in migrations()][:-1])
async def test_an_earlier_journal_keeps_every_row(tmp_path: Path, version: int) -> None:
    path = tmp_path / "journal.db"
    with closing(made_at(path, version)) as connection:
        before: dict[str, Rows] = {}
        for table in _tables(connection):
            _fill(connection, table)
            before[table] = _rows(connection, table)
        connection.commit()
    assert all(before.values())
    await (await Journal.open(path)).close()
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (migrations()[-1][0],)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert set(before) <= set(_tables(connection))
        for table, rows in before.items():
            after = _rows(connection, table)
            kept = rows[0].keys() - DROPPED.get(table, set())
            assert [{name: row[name] for name in kept} for row in after] == [
                {name: row[name] for name in kept} for row in rows
            ], table
            added = {name: value for row in after for name, value in row.items() if name not in rows[0]}
            assert set(added.values()) <= {""}, added


async def test_an_earlier_journal_is_copied_as_it_is_and_read_by_nothing_else(tmp_path: Path) -> None:
    """Whoever only simulates, or makes a backup before the upgrade, has no pass that would upgrade it."""
    path, copy = tmp_path / "journal.db", tmp_path / "copy.db"
    version = migrations()[-2][0]
    with closing(made_at(path, version)) as connection:
        connection.execute("INSERT INTO meta VALUES ('a', '1')")
        connection.commit()
    journal = await Journal.open(path, is_for_copy=True)
    await journal.copy_to(copy)
    await journal.close()
    for file in (path, copy):
        with closing(sqlite3.connect(file)) as connection:
            assert connection.execute("PRAGMA user_version").fetchone() == (version,)
            assert connection.execute("SELECT * FROM meta").fetchall() == [("a", "1")]
    with pytest.raises(JournalError, match="older schema"):
        await Journal.open(path, read_only=True)

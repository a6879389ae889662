"""The database: all or nothing whatever happens, and errors that say what to do."""

from __future__ import annotations

import os
import sqlite3
import stat
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from pipeline.errors import JournalError, RightsError
from state.database import MOST_ROWS_AT_ONCE, MOST_STEPS_AT_ONCE, Database
from state.database_file import journal_errors
from state.journal import Journal

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 11, 23, tzinfo=UTC)


async def _count(database: Database) -> int:
    async with database.reading():
        return int(await database.value("SELECT count(*) FROM meta"))


async def test_the_file_is_private_from_its_first_moment(tmp_path: Path) -> None:
    database = await Database.open(tmp_path / "journal.db")
    await database.close()
    assert stat.S_IMODE((tmp_path / "journal.db").stat().st_mode) == 0o600


async def test_an_error_in_a_transaction_leaves_nothing(tmp_path: Path) -> None:
    database = await Database.open(tmp_path / "journal.db")
    with pytest.raises(ZeroDivisionError):
        async with database.transaction():
            await database.execute("INSERT INTO meta VALUES ('a', '1')")
            raise ZeroDivisionError
    assert await _count(database) == 0
    await database.close()


async def test_a_statement_outside_a_scope_is_a_fault_of_ours(tmp_path: Path) -> None:
    database = await Database.open(tmp_path / "journal.db")
    with pytest.raises(AssertionError, match="half a transaction"):
        await database.fetch("SELECT 1")
    await database.close()


@pytest.mark.parametrize("checkpoints", range(12))
async def test_cancelling_at_any_await_leaves_no_open_transaction(tmp_path: Path, checkpoints: int) -> None:
    """Cancelled after k turns of the event loop: the transaction is whole or not there, and the next writer is sound."""
    database = await Database.open(tmp_path / "journal.db")

    async def write() -> None:
        async with database.transaction():
            await database.execute("INSERT INTO meta VALUES ('a', '1')")
            await database.execute("INSERT INTO meta VALUES ('b', '2')")

    async with anyio.create_task_group() as group:
        group.start_soon(write)
        for _ in range(checkpoints):
            await anyio.lowlevel.checkpoint()
        group.cancel_scope.cancel()
    assert await _count(database) in (0, 2)
    async with database.transaction():
        await database.execute("INSERT OR REPLACE INTO meta VALUES ('c', '3')")
    assert await _count(database) in (1, 3)
    await database.close()


class Hops:
    """How often something was asked of SQLite's thread."""

    def __init__(self, database: Database) -> None:
        self.count = 0
        self._hop = database._connection._execute
        database._connection._execute = self._counted  # type: ignore[method-assign]

    async def _counted(self, *values: Any, **named: Any) -> Any:
        self.count += 1
        return await self._hop(*values, **named)  # type: ignore[no-untyped-call]


async def test_what_nobody_waits_for_goes_along_in_its_order(tmp_path: Path) -> None:
    database = await Database.open(tmp_path / "journal.db")
    hops = Hops(database)
    async with database.transaction():
        await database.execute_many("INSERT INTO meta VALUES (?, '1')", ((one,) for one in "abc"))
        await database.execute_many("UPDATE meta SET value = '2' WHERE key = ?", [("b",)])
        assert await database.value("SELECT group_concat(value, '') FROM meta") == "121"
        await database.execute_many("DELETE FROM meta WHERE key = ?", [("a",)])
    assert hops.count == 2
    assert await _count(database) == 2
    async with database.transaction():
        pass
    assert hops.count == 2
    await database.close()


NUMBERS = "(WITH RECURSIVE numbers (one) AS (SELECT 1 UNION ALL SELECT one + 1 FROM numbers LIMIT {}) SELECT one FROM numbers)"


async def test_short_reads_need_no_thread_and_long_ones_are_begun_again_in_it(tmp_path: Path) -> None:
    database = await Database.open(tmp_path / "journal.db")
    hops = Hops(database)
    async with database.transaction():
        assert await database.value("SELECT count(*) FROM meta") == 0
        assert hops.count == 0
        await database.execute_many("INSERT INTO meta VALUES (?, '1')", [("a",)])
        assert await database.value("SELECT count(*) FROM meta") == 1, "what was put off is seen"
        assert hops.count == 1
        # Broken off on the way, with a transaction open: nothing of it is lost.
        many = MOST_STEPS_AT_ONCE
        assert await database.value(f"SELECT count(*) FROM {NUMBERS.format(many)}") == many
        assert hops.count == 2
        rows = await database.fetch(f"SELECT one FROM {NUMBERS.format(3 * MOST_ROWS_AT_ONCE)}")
        assert [row[0] for row in rows] == list(range(1, 3 * MOST_ROWS_AT_ONCE + 1))
        assert hops.count == 3
    assert await _count(database) == 1
    await database.close()


async def test_who_is_cancelled_keeps_the_lock_until_the_thread_is_done(tmp_path: Path) -> None:
    database = await Database.open(tmp_path / "journal.db")
    done, entered = threading.Event(), False

    async def read() -> None:
        async with database.reading():
            await database._hop(lambda _: done.wait(30))

    async def read_next() -> None:
        nonlocal entered
        async with database.reading():
            entered = True

    async with anyio.create_task_group() as group, anyio.create_task_group() as cancelled:
        cancelled.start_soon(read)
        await anyio.lowlevel.checkpoint()
        group.start_soon(read_next)
        cancelled.cancel_scope.cancel()
        with anyio.CancelScope(shield=True):
            for _ in range(10):
                await anyio.lowlevel.checkpoint()
            assert not entered
            done.set()
    assert entered
    await database.close()


async def test_what_would_be_put_off_needs_a_transaction(tmp_path: Path) -> None:
    database = await Database.open(tmp_path / "journal.db")
    async with database.reading():
        with pytest.raises(AssertionError, match="outside transaction"):
            await database.execute_many("INSERT INTO meta VALUES (?, '1')", [("a",)])
    assert await _count(database) == 0
    await database.close()


async def test_an_error_of_what_was_put_off_leaves_nothing(tmp_path: Path) -> None:
    database = await Database.open(tmp_path / "journal.db")
    with pytest.raises(JournalError, match="UNIQUE"):
        async with database.transaction():
            await database.execute("INSERT INTO meta VALUES ('a', '1')")
            await database.execute_many("INSERT INTO meta VALUES (?, '')", [("b",), ("b",)])
    assert not database._connection.in_transaction
    assert await _count(database) == 0
    async with database.transaction():
        await database.execute_many("INSERT INTO meta VALUES (?, '')", [("c",)])
    assert await _count(database) == 1
    await database.close()


async def test_a_reader_of_the_same_connection_never_sees_half_a_transaction(tmp_path: Path) -> None:
    database = await Database.open(tmp_path / "journal.db")
    seen: list[int] = []

    async def write() -> None:
        for number in range(20):
            async with database.transaction():
                await database.execute("INSERT INTO meta VALUES (?, '')", (f"{number}a",))
                await database.execute("INSERT INTO meta VALUES (?, '')", (f"{number}b",))

    async def read() -> None:
        seen.extend([await _count(database) for _ in range(40)])

    async with anyio.create_task_group() as group:
        group.start_soon(write)
        group.start_soon(read)
    assert all(number % 2 == 0 for number in seen)
    await database.close()


async def test_a_full_disk_is_minus_20_and_nothing_half_written_remains(tmp_path: Path) -> None:
    """SQLite's own limit of pages gives the very error of a full disk (SQLITE_FULL)."""
    database = await Database.open(tmp_path / "journal.db")
    async with database.reading():
        pages = int(await database.value("PRAGMA page_count"))
        await database.execute(f"PRAGMA max_page_count = {pages + 2}")
    with pytest.raises(JournalError) as caught:
        async with database.transaction():
            await database.execute("INSERT INTO meta VALUES ('first', '')")
            for number in range(100):
                await database.execute("INSERT INTO meta VALUES (?, ?)", (str(number), "x" * 4000))
    assert caught.value.exit_code == -20
    assert "free disk space" in caught.value.hint
    assert await _count(database) == 0
    async with database.reading():
        await database.execute(f"PRAGMA max_page_count = {pages + 1000}")
    async with database.transaction():
        await database.execute("INSERT INTO meta VALUES ('after', '')")
    assert await _count(database) == 1
    await database.close()


async def test_a_file_that_is_no_database_is_minus_20_with_a_way_out(tmp_path: Path) -> None:
    file = tmp_path / "journal.db"
    file.write_bytes(b"this is not a database, but it is long enough to be looked at" * 20)
    with pytest.raises(JournalError) as caught:
        await Database.open(file)
    assert "move the file away" in caught.value.hint


async def test_a_damaged_page_is_found_and_nothing_is_lost_by_starting_anew(tmp_path: Path) -> None:
    file = tmp_path / "journal.db"
    journal = await Journal.open(file)
    async with journal.transaction():
        for number in range(200):
            await journal.append(
                [{"kind": "delta", "guid": str(number), "detail": {"filler": "x" * 200}}], NOW
            )
    await journal.close()
    content = bytearray(file.read_bytes())
    content[8192:40960] = os.urandom(40960 - 8192)
    file.write_bytes(content)
    with pytest.raises(JournalError) as caught:
        damaged = await Journal.open(file)
        try:
            async with damaged.reading():
                await damaged.database.fetch("SELECT * FROM log ORDER BY seq")
                await damaged.database.fetch("SELECT * FROM meta")
        finally:
            await damaged.close()
    assert caught.value.exit_code == -20


async def test_a_folder_that_does_not_exist_is_minus_11(tmp_path: Path) -> None:
    with pytest.raises(RightsError, match="does not exist"):
        await Database.open(tmp_path / "nowhere" / "journal.db")


async def test_reading_beside_the_owner_works_and_never_writes(tmp_path: Path) -> None:
    owner = await Database.open(tmp_path / "journal.db")
    reader = await Database.open(tmp_path / "journal.db", read_only=True)
    async with owner.transaction():
        await owner.execute("INSERT INTO meta VALUES ('a', '1')")
    assert await _count(reader) == 1
    with pytest.raises(JournalError):
        async with reader.reading():
            await reader.execute("INSERT INTO meta VALUES ('b', '2')")
    await reader.vacuum_into(tmp_path / "copy.db")
    copy = await Database.open(tmp_path / "copy.db")
    assert await _count(copy) == 1
    for one in (reader, owner, copy):
        await one.close()


async def test_what_goes_along_is_written_with_the_next_write_and_not_lost_by_one_that_fails(
    tmp_path: Path,
) -> None:
    database = await Database.open(tmp_path / "journal.db")
    async with database.transaction():
        database.go_along("INSERT INTO meta VALUES (?, ?)", ("along", "1"))
        assert await _rows(database) == []
    with pytest.raises(ValueError, match="on purpose"):
        async with database.transaction():
            await database.execute("INSERT INTO meta VALUES ('fails', '2')")
            assert await _rows(database) == ["along", "fails"]
            raise ValueError("on purpose")
    assert await _read(database) == []
    async with database.transaction():
        await database.execute("INSERT INTO meta VALUES ('next', '3')")
        database.go_along(
            "INSERT INTO meta VALUES (?, ?)", ("later", "4")
        )  # this transaction has begun already
    assert await _read(database) == ["along", "next"]
    async with database.transaction():
        await database.execute("DELETE FROM meta WHERE key = 'next'")
    assert await _read(database) == ["along", "later"]
    await database.close()


async def _rows(database: Database) -> list[str]:
    return [row[0] for row in await database.fetch("SELECT key FROM meta ORDER BY value")]


async def _read(database: Database) -> list[str]:
    async with database.reading():
        return await _rows(database)


@pytest.mark.parametrize("how", ["deleted", "replaced"])
async def test_a_file_deleted_or_replaced_underneath_is_minus_20_before_anything_is_written(
    tmp_path: Path, how: str
) -> None:
    file = tmp_path / "journal.db"
    database = await Database.open(file)
    async with database.transaction():
        await database.execute("INSERT INTO meta VALUES ('before', '')")
    if how == "replaced":
        await database.vacuum_into(tmp_path / "other.db")
        (tmp_path / "other.db").replace(file)
    else:
        file.unlink()
    with pytest.raises(JournalError, match="deleted or replaced") as caught:
        async with database.transaction():
            await database.execute("INSERT INTO meta VALUES ('after', '')")
    assert caught.value.exit_code == -20
    await database.close()
    assert "backup" in caught.value.hint


async def test_what_overwrites_the_file_underneath_is_minus_20_and_nothing_half_written(
    tmp_path: Path,
) -> None:
    """Neither the cache nor the log of the last writes is asked: everything was written back, and is read anew."""
    file = tmp_path / "journal.db"
    database = await Database.open(file)
    async with database.transaction():
        for number in range(200):
            await database.execute("INSERT INTO meta VALUES (?, ?)", (f"{number:03}", "x" * 500))
    async with database.reading():
        await database.fetch("PRAGMA wal_checkpoint(TRUNCATE)")
        await database.fetch("PRAGMA cache_size = 0")
    with file.open("r+b") as opened:  # in another process, in life: what is closed here drops SQLite's locks
        opened.seek(4096)
        opened.write(os.urandom(file.stat().st_size - 4096))
    try:
        with pytest.raises(JournalError) as caught:
            async with database.transaction():
                await database.execute("INSERT INTO meta VALUES ('after', '')")
    finally:
        await database.close()
    assert caught.value.exit_code == -20
    assert "restore a backup" in caught.value.hint


async def test_the_number_of_a_pass_is_never_given_again(tmp_path: Path) -> None:
    journal = await Journal.open(tmp_path / "journal.db")

    async def begin() -> int:
        async with journal.transaction():
            return await journal.begin_pass(NOW, simulated=False, full=False)

    assert [await begin(), await begin()] == [1, 2]
    async with journal.transaction():
        await journal.database.execute("DELETE FROM pass")
    assert await begin() == 3
    await journal.close()


async def test_a_pass_that_is_not_written_at_once_is_written_with_what_it_does(tmp_path: Path) -> None:
    journal = await Journal.open(tmp_path / "journal.db")

    async def begin() -> int:
        async with journal.transaction():
            return await journal.begin_pass(NOW, simulated=False, full=False, at_once=False)

    async def known() -> list[int]:
        async with journal.reading():
            return [one.id for one in await journal.last_passes(9)]

    assert await begin() == 1
    assert await known() == []
    async with journal.transaction():
        await journal.mark_dirty(["00000003-0000-4000-8000-000000000001"], "delta", NOW)
    assert await known() == [1]
    assert [await begin(), await begin()] == [2, 2]  # the first of them could not be ended: its disk was full
    async with journal.transaction():
        await journal.end_pass(2, NOW, 0, {}, full=False)
    assert await known() == [2, 1]
    await journal.close()


def test_no_room_for_the_file_beside_the_journal_is_a_full_disk() -> None:
    """SQLite calls it an I/O error: the disk is too full for what readers and writer share."""
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorname = "SQLITE_IOERR_SHMSIZE"
    with pytest.raises(JournalError) as caught, journal_errors("open the journal", "journal.db"):
        raise error
    assert "the disk is full" in caught.value.cause
    assert "free disk space" in caught.value.hint

"""The database file: open it safely, migrate it, and write to it in one way only.

One process writes, over one connection (SQLite before 3.51.3 can corrupt a WAL file when two connections
write and checkpoint at once). Other processes read over read-only connections. The file is never copied,
hashed or opened by other means: closing it elsewhere in this process would drop SQLite's POSIX locks.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from importlib import resources
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import aiosqlite
import anyio

from pipeline.errors import JournalError
from state.database_file import IN_MEMORY, identity_of, journal_errors, prepare_file

Row = sqlite3.Row
Connection = sqlite3.Connection
Result = TypeVar("Result")
Step = Callable[[sqlite3.Connection], object]
"""What is done in SQLite's thread."""

APPLICATION_ID = 0x41444442  # "ADDB": another program's SQLite file is refused
MOST_ROWS_PUT_OFF = 1000  # so many are kept in memory before they go to SQLite
MOST_ROWS_AT_ONCE = 200  # of a read on the event loop's own thread; more are fetched in SQLite's
MOST_STEPS_AT_ONCE = 20_000  # of SQLite's machine, some two milliseconds: a longer read is begun again there


def stamp(moment: datetime) -> str:
    """Fixed width, so that text order is time order."""
    if moment.tzinfo is not UTC:
        moment = moment.astimezone(UTC)
    return moment.isoformat(timespec="microseconds")[: -len("+00:00")] + "Z"


def moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def migrations() -> list[tuple[int, str]]:
    """(number, script), in order."""
    folder = resources.files("state") / "migrations"
    found = [
        (int(item.name.split("_", 1)[0]), item.read_text(encoding="utf-8"))
        for item in folder.iterdir()
        if item.name.endswith(".sql")
    ]
    return sorted(found)


class Database:
    """One connection. Every statement runs inside `transaction()` or `reading()`, which take one lock:

    a reader of the same connection would otherwise see another task's half-done transaction.
    """

    def __init__(self, path: Path | str, connection: aiosqlite.Connection, *, read_only: bool) -> None:
        self.path = str(path)
        self.read_only = read_only
        self._connection = connection
        self._lock = anyio.Lock(fast_acquire=True)
        self._inside = False
        self._put_off: list[Step] = []
        self._rows_put_off = 0
        self._along: list[Step] = []
        self._along_under_way = 0  # so many of them are part of the transaction
        self._is_at_once = False
        self._is_shielded = False
        self._identity = identity_of(self.path)

    @classmethod
    async def open(cls, path: Path | str, *, read_only: bool = False, is_for_copy: bool = False) -> Database:
        """Opens (and creates, and migrates) the journal. JournalError, RightsError.

        `is_for_copy`: only to be read, and all that is done is `vacuum_into`; an older schema does not matter then.
        """
        read_only = read_only or is_for_copy
        text = str(path)
        if text != IN_MEMORY:
            prepare_file(Path(text), read_only=read_only)
        address = text if text == IN_MEMORY else f"file:{quote(text)}?mode={'ro' if read_only else 'rw'}"
        with journal_errors("open the journal", text):
            connection = await aiosqlite.connect(
                address,
                uri=text != IN_MEMORY,
                isolation_level=None,
                check_same_thread=False,  # never two at once: the lock is held until the thread is done (see `_hop`)
            )
        database = cls(text, connection, read_only=read_only)
        try:
            with journal_errors("open the journal", text):
                await database._prepare(is_for_copy=is_for_copy)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await connection.close()
            raise
        return database

    async def _prepare(self, *, is_for_copy: bool) -> None:
        self._connection.row_factory = sqlite3.Row
        await self._connection.execute("PRAGMA busy_timeout = 5000")
        version = await self._pragma("user_version")
        newest = migrations()[-1][0]
        if version > newest:
            raise JournalError(
                "open the journal",
                f"{self.path} has schema {version}, this program knows {newest}",
                "upgrade the connector, or restore the backup made before the upgrade",
            )
        application = await self._pragma("application_id")
        tables = await self._connection.execute_fetchall("SELECT count(*) FROM sqlite_master")
        if application != APPLICATION_ID and next(iter(tables))[0]:
            raise JournalError(
                "open the journal", f"{self.path} is not a journal of this program", "name another path"
            )
        if self.read_only:
            if version < newest and not is_for_copy:
                raise JournalError(
                    "open the journal",
                    f"{self.path} has the older schema {version}",
                    "run a pass first: it upgrades the journal",
                )
            await self._connection.execute("PRAGMA query_only = 1")
            return
        if self.path != IN_MEMORY:
            await self._connection.execute("PRAGMA journal_mode = WAL")
        # FULL: what is `sending` must be on disk before the request leaves, power cuts included.
        await self._connection.execute("PRAGMA synchronous = FULL")
        await self._connection.execute("PRAGMA foreign_keys = ON")
        await self._connection.execute("PRAGMA temp_store = MEMORY")
        await self._connection.set_progress_handler(lambda: int(self._is_at_once), MOST_STEPS_AT_ONCE)
        for number, script in migrations():
            if number > version:
                await self._migrate(number, script)

    async def _migrate(self, number: int, script: str) -> None:
        # One transaction a migration; user_version and application_id are part of it.
        with anyio.CancelScope(shield=True):
            try:
                await self._connection.executescript(
                    f"BEGIN IMMEDIATE; {script}; PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {number}; COMMIT;"
                )
            except BaseException:
                if self._connection.in_transaction:
                    await self._connection.execute("ROLLBACK")
                raise

    async def _pragma(self, name: str) -> int:
        rows = await self._connection.execute_fetchall(f"PRAGMA {name}")
        return int(next(iter(rows))[0])

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        """All or nothing. The body must not wait for anything but this database: it is shielded from cancellation,

        because cancelling inside would leave the transaction open and the next writer would commit its half.
        """
        async with self._lock:
            with anyio.CancelScope(shield=True), journal_errors("write to the journal", self.path):
                self._put_off.append(self._begin_immediate)
                self._inside = self._is_shielded = True
                try:
                    yield
                    self._inside = False
                    await self._commit()
                except BaseException:
                    self._inside = False
                    await self._rollback()
                    raise
                finally:
                    self._is_shielded = False

    async def _commit(self) -> None:
        if self._connection.in_transaction or len(self._put_off) > 1:
            await self._hop(lambda connection: connection.execute("COMMIT"))
            del self._along[: self._along_under_way]
        self._put_off.clear()  # a BEGIN that nothing followed
        self._along_under_way = 0

    def _begin_immediate(self, connection: sqlite3.Connection) -> None:
        self._check_identity()
        connection.execute("BEGIN IMMEDIATE")
        for step in self._along:
            step(connection)
        self._along_under_way = len(self._along)

    def _check_identity(self) -> None:
        """SQLite goes on writing into a file that was deleted or replaced, and all of it is lost when the process ends."""
        if identity_of(self.path) != self._identity:
            raise JournalError(
                "write to the journal",
                f"{self.path} was deleted or replaced while it was in use",
                "put a backup in its place, or start without it: the next pass compares everything and does nothing wrong",
            )

    async def _rollback(self) -> None:
        self._put_off.clear()
        self._rows_put_off = self._along_under_way = 0
        # SQLite rolls back by itself on some errors (disk full): then there is nothing left to do.
        if self._connection.in_transaction:
            await self._connection.execute("ROLLBACK")

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[None]:
        """One view for several reads: what others write meanwhile, in this process or beside it, is not seen.

        A connection that only reads is beside the owner, and needs a transaction for it; the owner's own has the lock.
        """
        async with self._lock:
            with journal_errors("read the journal", self.path):
                if self.read_only:
                    self._put_off.append(_begin)
                self._inside = True
                try:
                    yield
                finally:
                    self._inside = False
                    if self.read_only:
                        with anyio.CancelScope(shield=True):
                            await self._rollback()

    # Hops to the connection's thread, not SQLite, are what a busy journal's time goes to (80 microseconds each, where a look-up
    # takes 10). So what nobody waits for goes along with the next statement, or with COMMIT: the order stays, and an error ends
    # the same transaction. And a short read is made on the spot; what writes, or waits for the disk, is the thread's.

    async def _hop(self, step: Callable[[sqlite3.Connection], Result]) -> Result:
        put_off, self._put_off, self._rows_put_off = self._put_off, [], 0
        connection = self._handle

        def steps() -> Result:
            for one in put_off:
                one(connection)
            return step(connection)

        execute: Callable[[Callable[[], Result]], Awaitable[Result]] = self._connection._execute  # noqa: SLF001 - as above
        if self._is_shielded:
            return await execute(steps)
        # Who is cancelled must not let go of the lock while the thread is still at work.
        with anyio.CancelScope(shield=True):
            result: Result = await execute(steps)
        return result

    @property
    def _handle(self) -> sqlite3.Connection:
        # aiosqlite has no public way to run more than one statement in a hop, nor one without a hop.
        return self._connection._conn  # noqa: SLF001

    def _may_read_at_once(self, statement: str) -> bool:
        """Where no write of this transaction is still put off: the read must see it."""
        is_clean = not self._put_off or self._put_off == [self._begin_immediate]
        return is_clean and not self.read_only and statement.startswith("SELECT")

    def _read_at_once(self, statement: str, values: Sequence[Any]) -> tuple[list[Row], sqlite3.Cursor] | None:
        """The first rows, and where the others are to be had; None when it takes too long for the event loop."""
        self._is_at_once = True
        try:
            cursor = self._handle.execute(statement, values)
            return cursor.fetchmany(MOST_ROWS_AT_ONCE), cursor
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
                raise
            return None
        finally:
            self._is_at_once = False

    async def execute(self, statement: str, values: Sequence[Any] = ()) -> int:
        """Runs one statement; returns the number of rows it changed."""
        self._require_scope()

        def step(connection: sqlite3.Connection) -> int:
            before = connection.total_changes
            connection.execute(statement, values).fetchall()
            return connection.total_changes - before

        return await self._hop(step)

    async def insert(self, statement: str, values: Sequence[Any] = ()) -> int:
        """Runs one INSERT; returns the new row's id."""
        self._require_scope()
        return await self._hop(lambda connection: connection.execute(statement, values).lastrowid or 0)

    async def execute_many(self, statement: str, rows: Iterable[Sequence[Any]]) -> None:
        """Runs the statement for each row, at the latest when the transaction ends."""
        self._require_scope()
        self._require_transaction()
        remaining = iter(rows)
        # In slices: the rows of a first load of a million people are not to be in memory at once.
        while part := list(islice(remaining, MOST_ROWS_PUT_OFF)):
            await self._put_off_step(partial(_run_many, statement, part), len(part))

    def go_along(self, statement: str, row: Sequence[Any]) -> None:
        """Runs the statement with the next transaction that writes, for what a crash before that may lose: no wait for the disk."""
        self._require_scope()
        self._along.append(partial(_run_many, statement, [row]))

    async def put_off(self, step: Step, rows: int) -> None:
        """Runs a step that writes about so many rows, at the latest when the transaction ends."""
        self._require_scope()
        self._require_transaction()
        await self._put_off_step(step, rows)

    async def _put_off_step(self, step: Step, rows: int) -> None:
        self._put_off.append(step)
        self._rows_put_off += rows
        if self._rows_put_off >= MOST_ROWS_PUT_OFF:
            await self._hop(lambda _: None)

    async def fetch(self, statement: str, values: Sequence[Any] = ()) -> list[Row]:
        self._require_scope()
        if self._may_read_at_once(statement):
            found = self._read_at_once(statement, values)
            if found is not None:
                rows, cursor = found
                if len(rows) < MOST_ROWS_AT_ONCE:
                    return rows
                return rows + await self._hop(lambda _: cursor.fetchall())
        return await self._hop(lambda connection: connection.execute(statement, values).fetchall())

    async def stream(self, statement: str, size: int) -> AsyncGenerator[list[Row], None]:
        """Rows in slices, for what would not fit into memory; to be closed (`aclosing`) where it may not come to its end."""
        self._require_scope()
        cursor = await self._hop(lambda connection: connection.execute(statement))
        try:
            while part := await self._hop(lambda _: cursor.fetchmany(size)):
                yield part
        finally:
            await self._hop(lambda _: cursor.close())

    async def fetch_one(self, statement: str, values: Sequence[Any] = ()) -> Row | None:
        rows = await self.fetch(statement, values)
        return rows[0] if rows else None

    async def value(self, statement: str, values: Sequence[Any] = ()) -> Any:
        row = await self.fetch_one(statement, values)
        return None if row is None else row[0]

    def _require_transaction(self) -> None:
        if not self._put_off and not self._connection.in_transaction:
            raise AssertionError("a write outside transaction() would wait for somebody else's statement")

    def _require_scope(self) -> None:
        if not self._inside:
            raise AssertionError(
                "a statement outside transaction() or reading() could see half a transaction"
            )

    async def vacuum_into(self, target: Path) -> None:
        """A consistent copy, safe beside a running owner. `target` must not exist."""
        async with self._lock:
            with anyio.CancelScope(shield=True), journal_errors("copy the journal", self.path):
                # query_only refuses even this (seen with SQLite 3.40.1); a read-only file stays read-only without it.
                await self._connection.execute("PRAGMA query_only = 0")
                try:
                    await self._connection.execute("VACUUM INTO ?", (str(target),))
                finally:
                    await self._connection.execute(f"PRAGMA query_only = {int(self.read_only)}")

    async def close(self) -> None:
        with anyio.CancelScope(shield=True):
            await self._connection.close()


def _begin(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN")


def _run_many(statement: str, rows: Sequence[Sequence[Any]], connection: sqlite3.Connection) -> None:
    connection.executemany(statement, rows)


_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), sort_keys=True)


def dump(value: Any) -> str:
    """JSON that is the same text for the same value."""
    return _ENCODER.encode(value)

"""A journal as lines of JSON that another machine can import: everything but mails, with pseudonyms where wanted.

First a header, then one row a line, then an end line with their number, so that a file that broke off is refused.
Mails and alerts stay behind: nobody is to get them from two machines.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import AsyncGenerator, Iterable, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

from pipeline.core.mapping import clean_email
from pipeline.core.pseudonyms import Pseudonyms
from pipeline.errors import JournalError
from pipeline.model import Json
from pipeline.progress import Phase, tell
from state.chain import link_of_chain
from state.database import Database, dump, migrations
from state.journal import Journal

FORMAT = 1
LEFT_BEHIND = ("mail", "alert")
CHUNK = 1000

# What a column holds, where that is not free text. Whatever is not named here is treated as free text: nothing passes
# unseen because a migration has added a column.
_GUIDS = ("guid", "parent", "child", "group_guid")
_NAMES = ("name", "sam", "given_name", "surname", "display_name", "group_name")
_ADDRESSES = ("email", "email_key")
_DOCUMENTS = (
    ("log", "detail"),
    ("action", "changes"),
    ("action", "before"),
    ("pin", "changes"),
    ("held_set", "clusters"),
    ("held_set", "items"),
    ("pass", "actions"),
)
_OPAQUE = ("member_id", "group_id", "job_id")
_KEPT = frozenset(
    {
        *((table, "kind") for table in ("node", "note", "action", "pin", "group_pin", "held_set", "log")),
        *((table, "state") for table in ("action", "log")),
        *((table, "how") for table in ("link", "group_link")),
        ("node", "left_how"),
        ("dirty", "cause"),
        ("member", "status"),
        ("action", "wait"),
        ("held_set", "hash"),
        ("log", "action"),
    }
)
TOLD_EVERY = 500
"""So many rows are one step of the progress that is told."""
_KEPT_FACTS = ("rules", "sees_tombstones")
_LOST_FACTS = (
    "chain_base",
    "cursor",
)  # the chain begins anew; a cursor is the team's secret, and of no use elsewhere


async def export_whole(journal: Journal, pseudonyms: Pseudonyms | None = None) -> AsyncGenerator[Json, None]:
    """One moment of the journal, which must have been opened to be read only. Pseudonyms leave out the checkpoint."""
    database = journal.database
    async with journal.reading():
        if pseudonyms is not None:
            pseudonyms.know(await _names_in(database))
        yield {
            "ad_connector_journal": FORMAT,
            "schema": migrations()[-1][0],
            "last_seq": await journal.last_seq(),
            "pseudonyms": pseudonyms is not None,
        }
        rows = 0
        for table in await _tables(database):
            if pseudonyms is not None and table == "checkpoint":
                continue
            async with aclosing(_rows(database, table)) as found:
                async for row in found:
                    content = row if pseudonyms is None else disguised(table, row, pseudonyms)
                    if content is not None:
                        yield {"table": table, "row": content}
                        rows += 1
                        if not rows % TOLD_EVERY:
                            tell(Phase.ROWS, rows)
        yield {"end": rows}


def disguised(table: str, row: Json, pseudonyms: Pseudonyms) -> Json | None:
    """A row with pseudonyms for all that names; None for one that must stay behind."""
    if table == "meta":
        return _fact(row, pseudonyms)
    result = {}
    for column, value in row.items():
        if not isinstance(value, str) or (table, column) in _KEPT:
            result[column] = value
        elif column == "chain":
            result[column] = ""  # made anew by the import
        elif (table, column) in _DOCUMENTS:
            result[column] = dump(pseudonyms.document(json.loads(value)))
        else:
            result[column] = _disguise(column, value, pseudonyms)
    return result


async def import_whole(lines: Iterable[str], target: Path) -> Json:
    """Makes a new journal of what `export_whole` gave; returns the header. JournalError: exists, or can't be taken.

    Made under another name and moved to its place at the end: a file that broke off leaves no journal.
    """
    operation = "import a journal"
    if target.exists():
        raise JournalError(operation, f"{target} exists", "name a journal that does not exist yet")
    draft = target.with_name(target.name + ".importing")
    _remove(draft)
    journal = await Journal.open(draft)
    try:
        header = await _fill(journal, _parsed(lines, operation), operation)
    except BaseException:
        await journal.close()
        _remove(draft)
        raise
    await journal.close()
    draft.replace(target)
    return header


# --- inside: reading


async def _tables(database: Database) -> list[str]:
    rows = await database.fetch(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name"
    )
    return [row[0] for row in rows if row[0] not in LEFT_BEHIND]


async def _rows(database: Database, table: str) -> AsyncGenerator[Json, None]:
    order = "ORDER BY seq" if table == "log" else ""
    async with aclosing(database.stream(f"SELECT * FROM {table} {order}", CHUNK)) as parts:
        async for part in parts:
            for row in part:
                yield {key: _portable(row[key]) for key in row.keys()}  # noqa: SIM118 - a row iterates its values


def _portable(value: Any) -> Any:
    return {"base64": base64.b64encode(value).decode("ascii")} if isinstance(value, bytes) else value


async def _names_in(database: Database) -> set[str]:
    """Every name that a free text may hold."""
    names: set[str] = set()
    for statement in (
        "SELECT name, sam, given_name, surname, display_name FROM node",
        "SELECT given_name, surname FROM member",
        "SELECT name FROM team_group",
        "SELECT name FROM group_link",
        "SELECT DISTINCT group_name FROM action",
        "SELECT DISTINCT precondition FROM action WHERE kind = 'group_rename'",
        "SELECT name FROM group_pin",
    ):
        async with aclosing(database.stream(statement, CHUNK)) as parts:
            async for part in parts:
                names.update(value for row in part for value in row if value)
    return names


# --- inside: pseudonyms


def _fact(row: Json, pseudonyms: Pseudonyms) -> Json | None:
    key, value = row["key"], row["value"]
    if any(lost in key for lost in _LOST_FACTS):
        return None
    if key in _KEPT_FACTS:
        return row
    return {"key": key, "value": pseudonyms.domain(value) if key == "domain_name" else pseudonyms.text(value)}


def _disguise(column: str, value: str, pseudonyms: Pseudonyms) -> str:
    for columns, how in (
        (_GUIDS, pseudonyms.guid),
        (_NAMES, pseudonyms.name),
        (_OPAQUE, pseudonyms.opaque),
    ):
        if column in columns:
            return how(value)
    if column == "dn":
        return pseudonyms.dn(value)
    if column == "sid":
        return pseudonyms.sid(value)
    if column in _ADDRESSES and (" " not in value or clean_email(value).problem == ""):
        return pseudonyms.email(value)
    return pseudonyms.text(value)


# --- inside: importing


def _parsed(lines: Iterable[str], operation: str) -> Iterator[Json]:
    for number, line in enumerate(lines, 1):
        try:
            value = json.loads(line)
        except ValueError as error:
            raise _not_ours(operation, f"line {number} is no JSON") from error
        if not isinstance(value, dict):
            raise _not_ours(operation, f"line {number} is no object")
        yield value


async def _fill(journal: Journal, lines: Iterator[Json], operation: str) -> Json:
    header = next(lines, {})
    if header.get("ad_connector_journal") != FORMAT:
        raise _not_ours(operation, "it does not begin like an exported journal")
    if header.get("schema") != migrations()[-1][0]:
        raise JournalError(
            operation,
            f"it was exported with schema {header.get('schema')}, this program has {migrations()[-1][0]}",
            "import it with the version of the connector that exported it",
        )
    async with journal.transaction():
        ended = False
        writer = _Writer(journal.database, anew=bool(header.get("pseudonyms")))
        for rows, line in enumerate(lines):
            if "end" in line:
                ended = line["end"] == rows
                break
            await writer.take(line, operation)
            if not rows % TOLD_EVERY:
                tell(Phase.ROWS, rows)
        await writer.flush()
        if not ended:
            raise _not_ours(operation, "it broke off before its end")
        await _continue_log(journal, anew=bool(header.get("pseudonyms")))
        await journal.put("imported_from_seq", str(header.get("last_seq", 0)))
    return header


async def _continue_log(journal: Journal, *, anew: bool) -> None:
    """So that the next line has the next number, and the chain a beginning."""
    database = journal.database
    if anew:
        first = await database.value("SELECT min(seq) FROM log")
        await journal.put("chain_base_seq", str((first or 1) - 1))
    last = max(await journal.last_seq(), int(await journal.get("chain_base_seq") or 0))
    await database.execute("DELETE FROM sqlite_sequence WHERE name = 'log'")
    await database.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('log', ?)", (last,))


class _Writer:
    """Writes rows in batches of one table. `anew`: the chain over the log is made here; else it is what it was."""

    def __init__(self, database: Database, *, anew: bool) -> None:
        self._database = database
        self._anew = anew
        self._chain = ""
        self._columns: dict[str, tuple[str, ...]] = {}
        self._table = ""
        self._batch: list[list[Any]] = []

    async def take(self, line: Json, operation: str) -> None:
        table, row = line.get("table"), line.get("row")
        if not isinstance(table, str) or not isinstance(row, dict):
            raise _not_ours(operation, "a line is neither a row nor the end")
        if table != self._table or len(self._batch) >= CHUNK:
            await self.flush()
            self._table = table
        if table not in self._columns:
            # What stands in the file must never become part of a statement.
            known = await self._database.fetch("SELECT name FROM pragma_table_info(?)", (table,))
            self._columns[table] = tuple(one[0] for one in known)
        columns = self._columns[table]
        if table in LEFT_BEHIND or not columns or set(row) != set(columns):
            raise _not_ours(operation, f"table {table!r} is not what it should be")
        self._batch.append([_native(row[column]) for column in columns])
        if table == "log" and self._anew:
            fields = self._batch[-1]
            self._chain = link_of_chain(self._chain, fields[1:-1])
            fields[-1] = self._chain

    async def flush(self) -> None:
        if self._batch:
            places = ",".join("?" * len(self._columns[self._table]))
            # The table's name is one that the schema has.
            await self._database.execute_many(
                f"INSERT OR REPLACE INTO {self._table} VALUES ({places})", self._batch
            )
            self._batch = []


def _native(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    try:
        return base64.b64decode(value["base64"], validate=True)
    except (KeyError, TypeError, binascii.Error) as error:
        raise _not_ours("import a journal", "a value is not what it should be") from error


def _not_ours(operation: str, cause: str) -> JournalError:
    return JournalError(operation, cause, "export it again with `journal export --whole`")


def _remove(path: Path) -> None:
    for suffix in ("", "-wal", "-shm", "-journal"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)

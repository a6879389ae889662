"""The journal as one thing: change log, dirty marks, passes, pins, and the parts that have files of their own."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from pipeline.core.plan import Note, NoteKind
from pipeline.model import ActionKind, Json, PassRecord, Profile
from pipeline.progress import Phase, tell
from pipeline.records import Dirty, Node, Pin
from state.alerts import Alerts
from state.chain import CHAIN_END, write_lines
from state.chronology import bring_to_now
from state.database import Database, Row, dump, moment, stamp
from state.groups import Groups
from state.links import Links, Members
from state.mirror import Mirror, chunks, marks, node_of
from state.outbox import Outbox


class Journal:
    """Every method but `open`, `close` and `copy_to` runs inside `transaction()` or `reading()`."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.mirror = Mirror(database)
        self.members = Members(database)
        self.links = Links(database)
        self.outbox = Outbox(database)
        self.groups = Groups(database)
        self.alerts = Alerts(database)

    @classmethod
    async def open(cls, path: Path | str, *, read_only: bool = False, is_for_copy: bool = False) -> Journal:
        """As `Database.open`."""
        return cls(await Database.open(path, read_only=read_only, is_for_copy=is_for_copy))

    def transaction(self) -> AbstractAsyncContextManager[None]:
        return self.database.transaction()

    def reading(self) -> AbstractAsyncContextManager[None]:
        return self.database.reading()

    async def copy_to(self, target: Path) -> None:
        await self.database.vacuum_into(target)

    async def close(self) -> None:
        await self.database.close()

    # --- pins and other single facts

    async def get(self, key: str) -> str | None:
        value = await self.database.value("SELECT value FROM meta WHERE key = ?", (key,))
        return None if value is None else str(value)

    async def put(self, key: str, value: str) -> None:
        await self.database.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    # --- the change log

    async def append(self, rows: Iterable[Mapping[str, Any]], at: datetime) -> None:
        """Rows may have kind, guid, email, action, state, cause, pass_id, detail (a dict)."""
        text = stamp(at)
        lines = [
            (
                text,
                row["kind"],
                row.get("guid", ""),
                row.get("email", ""),
                row.get("action", ""),
                row.get("state", ""),
                row.get("cause", ""),
                row.get("pass_id"),
                dump(row.get("detail", {})),
            )
            for row in rows
        ]
        if lines:
            await self.database.put_off(partial(write_lines, lines), len(lines))

    async def chain_end(self) -> str:
        """The chain of the newest line; of a log that was compacted to nothing, what it ended with."""
        return str(await self.database.value(CHAIN_END))

    async def entries(
        self,
        *,
        after: int = 0,
        until: int | None = None,
        since: datetime | None = None,
        guid: str = "",
        limit: int = 1000,
    ) -> list[Json]:
        """Lines of the change log in order, in the shape of `journal export`."""
        statement = "SELECT * FROM log WHERE seq > ?"
        values: list[Any] = [after]
        for clause, value in (
            ("seq <= ?", until),
            ("at >= ?", stamp(since) if since else None),
            ("guid = ?", guid or None),
        ):
            if value is not None:
                statement += f" AND {clause}"
                values.append(value)
        rows = await self.database.fetch(statement + " ORDER BY seq LIMIT ?", [*values, limit])
        return [_line(row) for row in rows]

    async def entries_before(
        self, before: int, *, kind: str = "", guid: str = "", email: str = "", limit: int, span: int
    ) -> tuple[list[Json], int | None]:
        """Older lines than `before`, the newest first, and before which one to go on (None: there are no older ones).

        Of a person by their index; else at most `span` lines are looked at, however few of them are of this kind.
        """
        clauses = ["seq < ?"]
        values: list[Any] = [before]
        floor = 0
        if guid:
            clauses += ["guid = ?", "guid <> ''"]
            values.append(guid)
        elif email:
            clauses += ["email = ?", "email <> ''"]
            values.append(email)
        else:
            floor = max(0, before - span - 1)
            clauses.append("seq > ?")
            values.append(floor)
        if kind:
            clauses.append("kind = ?")
            values.append(kind)
        rows = await self.database.fetch(
            f"SELECT * FROM log WHERE {' AND '.join(clauses)} ORDER BY seq DESC LIMIT ?", [*values, limit]
        )
        older = rows[-1]["seq"] if len(rows) == limit else floor + 1 if floor else None
        return [_line(row) for row in rows], older

    async def last_entries(self, *, guid: str, limit: int) -> list[Json]:
        """The newest lines about a person, oldest first."""
        rows = await self.database.fetch(
            "SELECT * FROM log WHERE guid = ? AND guid <> '' ORDER BY seq DESC LIMIT ?", (guid, limit)
        )
        return [_line(row) for row in reversed(rows)]

    async def find_by_member_email(self, email: str) -> list[Node]:
        """The persons linked to a member with this e-mail, which the directory may know under another."""
        rows = await self.database.fetch(
            "SELECT node.* FROM node JOIN link USING (guid) JOIN member USING (member_id) WHERE member.email = lower(?) LIMIT 50",
            (email,),
        )
        return [node_of(row) for row in rows]

    async def links_moved_in(self, pass_id: int) -> list[Json]:
        """Lines about accounts that passed to a namesake in this pass; those of the new holders."""
        rows = await self.database.fetch(
            "SELECT * FROM log WHERE kind = 'link' AND cause = 'approved' AND pass_id = ? ORDER BY seq",
            (pass_id,),
        )
        return [line for line in map(_line, rows) if "from" in line["detail"]]

    async def last_seq(self) -> int:
        return int(await self.database.value("SELECT coalesce(max(seq), 0) FROM log") or 0)

    async def last_at(self) -> datetime | None:
        """When the newest line of the change log was written."""
        return moment(await self.database.value("SELECT at FROM log ORDER BY seq DESC LIMIT 1"))

    # --- dirty marks

    async def mark_dirty(self, guids: Iterable[str], cause: str, seen_at: datetime) -> None:
        """A newer cause replaces an older one only when it weighs more: a delta or a retry is never forgotten for a timer."""
        text = stamp(seen_at)
        await self.database.execute_many(
            "INSERT INTO dirty VALUES (?, 1, ?, ?) ON CONFLICT (guid) DO UPDATE SET mark = mark + 1, "
            "cause = CASE WHEN cause IN ('delta', 'retry') THEN cause ELSE excluded.cause END, seen_at = min(seen_at, excluded.seen_at)",
            ((guid, cause, text) for guid in guids),
        )

    async def dirty(self, limit: int, only: frozenset[str] | None = None) -> list[Dirty]:
        """The longest waiting first; `only` names the persons it may be about."""
        among = None if only is None else dump(sorted(only))
        rows = await self.database.fetch(
            "SELECT * FROM dirty WHERE ? IS NULL OR guid IN (SELECT value FROM json_each(?)) ORDER BY seen_at, guid LIMIT ?",
            (among, among, limit),
        )
        return [
            Dirty(
                guid=row["guid"],
                mark=row["mark"],
                cause=row["cause"],
                seen_at=datetime.fromisoformat(row["seen_at"]),
            )
            for row in rows
        ]

    async def clear_dirty(self, marks: Sequence[Dirty]) -> None:
        """Only if nothing was marked again since it was read."""
        await self.database.execute_many(
            "DELETE FROM dirty WHERE guid = ? AND mark = ?", ((mark.guid, mark.mark) for mark in marks)
        )

    async def count_dirty(self) -> int:
        return int(await self.database.value("SELECT count(*) FROM dirty") or 0)

    async def oldest_dirty(self) -> datetime | None:
        return moment(await self.database.value("SELECT min(seen_at) FROM dirty"))

    # --- timers

    async def set_timers(self, timers: Mapping[str, datetime | None]) -> None:
        """Each person's next moment, or None for none."""
        await self.database.execute_many("DELETE FROM timer WHERE guid = ?", ((guid,) for guid in timers))
        await self.database.execute_many(
            "INSERT INTO timer VALUES (?, ?)",
            ((guid, stamp(due)) for guid, due in timers.items() if due is not None),
        )

    async def ring_timers(self, now: datetime) -> int:
        """Marks those whose moment has come as dirty."""
        due = stamp(now)
        rows = await self.database.fetch("SELECT guid FROM timer WHERE due <= ?", (due,))
        if rows:
            await self.mark_dirty([row["guid"] for row in rows], "timer", now)
            await self.database.execute_many("DELETE FROM timer WHERE due <= ?", [(due,)])
        return len(rows)

    async def next_timer(self) -> datetime | None:
        return moment(await self.database.value("SELECT min(due) FROM timer"))

    # --- pins of undone persons

    async def pins(self, guids: Iterable[str]) -> dict[str, Pin]:
        found: dict[str, Pin] = {}
        for part in chunks(guids):
            for row in await self.database.fetch(
                f"SELECT * FROM pin WHERE guid IN ({marks(len(part))})", part
            ):
                found[row["guid"]] = Pin(
                    guid=row["guid"],
                    kind=ActionKind(row["kind"]) if row["kind"] else None,
                    changes=Profile(**json.loads(row["changes"])),
                    reason=row["reason"],
                    at=datetime.fromisoformat(row["at"]),
                )
        return found

    async def pin(self, pins: Sequence[Pin]) -> None:
        await self.database.execute_many(
            "INSERT OR REPLACE INTO pin VALUES (?, ?, ?, ?, ?)",
            (
                (
                    pin.guid,
                    pin.kind.value if pin.kind else "",
                    dump(asdict(pin.changes)),
                    pin.reason,
                    stamp(pin.at),
                )
                for pin in pins
            ),
        )

    async def unpin(self, guids: Iterable[str]) -> None:
        await self.database.execute_many("DELETE FROM pin WHERE guid = ?", ((guid,) for guid in guids))

    # --- notes

    async def set_notes(self, guids: Iterable[str], notes: Iterable[Note]) -> None:
        """Replaces what is told about these persons ("" stands for what is about nobody in particular)."""
        await self.database.execute_many("DELETE FROM note WHERE guid = ?", ((guid,) for guid in guids))
        await self.database.execute_many(
            "INSERT OR REPLACE INTO note VALUES (?, ?, ?, ?)",
            ((note.guid, note.kind.value, note.label, note.detail) for note in notes),
        )

    async def notes(self) -> list[Note]:
        rows = await self.database.fetch("SELECT * FROM note ORDER BY kind, label, guid")
        return [_note_of(row) for row in rows]

    async def notes_of(self, guids: Sequence[str]) -> set[Note]:
        found: set[Note] = set()
        for part in chunks(guids):
            rows = await self.database.fetch(f"SELECT * FROM note WHERE guid IN ({marks(len(part))})", part)
            found |= {_note_of(row) for row in rows}
        return found

    async def forget_notes(self, kinds: Sequence[NoteKind]) -> None:
        """For what happens rather than stands: once told, it is over."""
        among, values = f"kind IN ({marks(len(kinds))})", [kind.value for kind in kinds]
        if await self.database.value(f"SELECT 1 FROM note WHERE {among} LIMIT 1", values):
            await self.database.execute_many(f"DELETE FROM note WHERE {among}", [values])

    # --- passes

    async def begin_pass(self, now: datetime, *, simulated: bool, full: bool, at_once: bool = True) -> int:
        """Its number. Not `at_once`: it is written with what is written next; a pass that dies before did nothing."""
        if before := await bring_to_now(self.database, now):
            cause = "the clock was set back: what waited is looked at now, and everything is compared"
            row = {"kind": "alert", "state": "warning", "cause": cause, "detail": {"before": before}}
            await self.append([row], now)
        identity = int(await self.database.value(_NEXT_ID))
        begun = (identity, stamp(now), int(simulated), int(full))
        if at_once:
            await self.database.execute_many(_BEGUN, [begun])
        else:
            self.database.go_along(_BEGUN, begun)
        return identity

    async def end_pass(
        self, pass_id: int, now: datetime, exit_code: int, actions: Mapping[str, int], *, full: bool
    ) -> None:
        """`full`: whether it was meant to be, or became so on its way."""
        await self.database.execute_many(
            "UPDATE pass SET ended = ?, exit_code = ?, actions = ?, is_full = ? WHERE id = ?",
            [(stamp(now), exit_code, dump(dict(actions)), int(full), pass_id)],
        )

    async def last_pass(self, *, ended: bool = True) -> PassRecord | None:
        where = "WHERE ended IS NOT NULL" if ended else ""
        row = await self.database.fetch_one(f"SELECT * FROM pass {where} ORDER BY id DESC LIMIT 1")
        return None if row is None else _pass_of(row)

    async def last_passes(self, limit: int) -> list[PassRecord]:
        """The newest first, one that is under way included."""
        rows = await self.database.fetch("SELECT * FROM pass ORDER BY id DESC LIMIT ?", (limit,))
        return [_pass_of(row) for row in rows]

    async def has_real_pass(self) -> bool:
        """Whether a pass ended well that was not simulated; found without counting them all."""
        statement = "SELECT 1 FROM pass WHERE simulated = 0 AND exit_code IN (0, -17, -18) LIMIT 1"
        return await self.database.value(statement) is not None

    async def export(self, *, since: datetime | None = None, guid: str = "") -> AsyncIterator[Json]:
        """All lines, read in slices so that nothing waits long for the journal."""
        after = 0
        while True:
            async with self.reading():
                lines = await self.entries(after=after, since=since, guid=guid)
            for line in lines:
                yield line
            if not lines:
                return
            after = lines[-1]["seq"]
            tell(Phase.LINES, after)


# A number that went along with a transaction which failed may be given again.
_BEGUN = "INSERT OR REPLACE INTO pass (id, started, simulated, is_full) VALUES (?, ?, ?, ?)"
# As AUTOINCREMENT would have it: an id is never given again, not even after compacting.
_NEXT_ID = (
    "SELECT 1 + max(coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'pass'), 0), "
    "coalesce((SELECT max(id) FROM pass), 0))"
)


def _line(row: Row) -> Json:
    return {
        "seq": row["seq"],
        "at": row["at"],
        "kind": row["kind"],
        "guid": row["guid"],
        "email": row["email"],
        "action": row["action"],
        "state": row["state"],
        "cause": row["cause"],
        "pass": row["pass_id"],
        "detail": json.loads(row["detail"]),
    }


def _note_of(row: Row) -> Note:
    return Note(kind=NoteKind(row["kind"]), guid=row["guid"], label=row["label"], detail=row["detail"])


def _pass_of(row: Row) -> PassRecord:
    return PassRecord(
        id=row["id"],
        started=datetime.fromisoformat(row["started"]),
        ended=moment(row["ended"]),
        exit_code=row["exit_code"],
        simulated=bool(row["simulated"]),
        full=bool(row["is_full"]),
        actions=json.loads(row["actions"]),
    )

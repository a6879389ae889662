"""A second host in waiting: a folder that holds a base copy and the lines of the change log since, and what is made of it.

`base-SEQ.db` is a copy up to line SEQ, `lines-SEQ.jsonl` what came after, `current.json` says which of them counts (replaced in
one step). `primary.json` is the sign of life of the host that ships, `taken-over.json` the end of its turn. Lines tell history, not
state: what was open in the base is decided about anew after a takeover, from fresh reads of both sides.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from pipeline.errors import InstanceRunning, JournalError, RightsError
from pipeline.model import Json
from state.chain import link_of_chain
from state.database import Database, Row, stamp
from state.journal import Journal

NEW_BASE_AFTER = timedelta(hours=24)
SILENT_AFTER = timedelta(minutes=5)
"""A primary that shipped so lately is taken for alive."""
CHUNK = 1000
_SHIP = "ship the journal"
_TAKE = "restore the journal"
_FIELDS = ("at", "kind", "guid", "email", "action", "state", "cause", "pass_id", "detail")
_IN_BASE_ONLY = ("approved", "undo")  # what a line can't carry over: after them a new base is made


@dataclass(frozen=True, slots=True, kw_only=True)
class Shipment:
    """What was written: the number of lines, or a new base (`lines` is 0). `seq`: the last line that the folder has."""

    is_base: bool
    lines: int
    seq: int


async def ship(journal: Journal, folder: Path, now: datetime, host: str) -> Shipment:
    """Brings the folder up to date; cheap when little has happened. The journal may be read only, beside its owner.

    InstanceRunning when a standby has taken over; RightsError, JournalError.
    """
    if (taken := _read(folder / "taken-over.json")) is not None:
        raise InstanceRunning(
            _SHIP,
            f"{taken.get('host')} took over at {taken.get('at')}: this host must not go on",
            f"stop this connector now; to go back, see the page on the standby, and empty {folder} first",
        )
    if not folder.is_dir():
        raise RightsError(_SHIP, f"the folder {folder} does not exist", "create it, with mode 0700")
    try:
        shipment = await _ship_lines(journal, folder, now) or await _ship_base(journal, folder, now)
        _write(folder / "primary.json", {"host": host, "at": stamp(now), "seq": shipment.seq})
    except OSError as error:
        raise RightsError(
            _SHIP, f"{error.filename}: {error.strerror}", "make the folder writable and not full"
        ) from error
    return shipment


def refuse_if_alive(folder: Path, now: datetime) -> None:
    """InstanceRunning when the primary has shipped lately, or another standby has taken over already."""
    if (taken := _read(folder / "taken-over.json")) is not None:
        raise InstanceRunning(
            _TAKE, f"{taken.get('host')} took over at {taken.get('at')}", "look there; two must not run"
        )
    alive = _read(folder / "primary.json")
    if alive is not None and now - datetime.fromisoformat(alive["at"]) < SILENT_AFTER:
        raise InstanceRunning(
            _TAKE,
            f"the primary {alive['host']} shipped at {alive['at']}, less than {SILENT_AFTER.seconds // 60} minutes ago",
            "stop it, and its shipping; then wait so long, or say --primary-is-stopped",
        )


async def restore(source: Path, target: Path, now: datetime, host: str) -> Json:
    """Makes the journal `target` of a folder that was shipped to, or of one file of `journal backup`.

    Published at the end: a fault leaves no journal. Returns what was taken. JournalError: exists, damaged, a hole.
    """
    if target.exists():
        raise JournalError(_TAKE, f"{target} exists", "move it away: a restore never replaces a journal")
    base, lines = _parts_of(source)
    draft = target.with_name(target.name + ".restoring")
    _remove(draft)
    try:
        draft.touch(mode=0o600)
        shutil.copyfile(base, draft)
    except OSError as error:
        _remove(draft)
        raise JournalError(
            _TAKE,
            f"{error.filename}: {error.strerror}",
            "look at the copy, and at the journal's folder and disk",
        ) from error
    try:
        journal = await Journal.open(draft)
        try:
            told = await _catch_up(journal, lines, now, host)
        finally:
            await journal.close()
        if source.is_dir():
            _write(source / "taken-over.json", {"host": host, "at": stamp(now), "seq": told["seq"]})
        draft.replace(target)
    except BaseException:
        _remove(draft)
        raise
    return told


# --- shipping


async def _ship_lines(journal: Journal, folder: Path, now: datetime) -> Shipment | None:
    """None where a new base is needed: none yet, too old, compacted meanwhile, another journal, an approval or undo."""
    current = _read(folder / "current.json")
    if current is None or now - datetime.fromisoformat(current["at"]) > NEW_BASE_AFTER:
        return None
    file = folder / f"lines-{current['seq']}.jsonl"
    seq, chain = _end_of(file) or (current["seq"], current["chain"])
    async with journal.reading():
        if seq and await journal.database.value("SELECT chain FROM log WHERE seq = ?", (seq,)) != chain:
            return None
        fresh = await journal.database.value(
            "SELECT count(*) FROM log WHERE seq > ? AND state IN (?, ?)", (seq, *_IN_BASE_ONLY)
        )
    if fresh or not (folder / f"base-{current['seq']}.db").exists():
        return None
    count = 0
    with os.fdopen(os.open(file, os.O_RDWR | os.O_CREAT, 0o600), "r+b") as opened:
        opened.seek(_whole(file))
        opened.truncate()
        while True:
            async with journal.reading():
                rows = await journal.database.fetch(
                    "SELECT * FROM log WHERE seq > ? ORDER BY seq LIMIT ?", (seq, CHUNK)
                )
            if not rows:
                break
            opened.writelines(_line(row) for row in rows)
            seq, count = rows[-1]["seq"], count + len(rows)
        opened.flush()
        os.fsync(opened.fileno())
    return Shipment(is_base=False, lines=count, seq=seq)


async def _ship_base(journal: Journal, folder: Path, now: datetime) -> Shipment:
    draft = folder / "base.new"
    _remove(draft)
    await journal.copy_to(draft)
    draft.chmod(0o600)
    copy = await Database.open(draft, read_only=True)
    try:
        async with copy.reading():
            row = await copy.fetch_one("SELECT seq, chain FROM log ORDER BY seq DESC LIMIT 1")
    finally:
        await copy.close()
    seq, chain = (row["seq"], row["chain"]) if row else (0, "")
    # Only what current.json names counts: until it is replaced, the old base with its lines does.
    draft.replace(folder / f"base-{seq}.db")
    _remove(draft)
    (folder / f"lines-{seq}.jsonl").unlink(missing_ok=True)
    _write(folder / "current.json", {"seq": seq, "chain": chain, "at": stamp(now)})
    for old in folder.iterdir():
        if old.name.startswith(("base-", "lines-")) and old.name not in (
            f"base-{seq}.db",
            f"lines-{seq}.jsonl",
        ):
            old.unlink()
    return Shipment(is_base=True, lines=0, seq=seq)


def _line(row: Row) -> bytes:
    content = {"seq": row["seq"], **{name: row[name] for name in _FIELDS}, "chain": row["chain"]}
    return json.dumps(content, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n"


def _whole(file: Path) -> int:
    """The length without a last line that was torn off."""
    return file.read_bytes().rfind(b"\n") + 1 if file.exists() else 0


def _end_of(file: Path) -> tuple[int, str] | None:
    """(seq, chain) of the last whole line."""
    length = _whole(file)
    if not length:
        return None
    with file.open("rb") as opened:
        opened.seek(max(0, length - 1_000_000))
        last = json.loads(opened.read()[: min(length, 1_000_000)].splitlines()[-1])
    return int(last["seq"]), str(last["chain"])


# --- restoring


def _parts_of(source: Path) -> tuple[Path, Path | None]:
    if not source.is_dir():
        return source, None
    current = _read(source / "current.json")
    if current is None:
        raise JournalError(
            _TAKE, f"{source} holds no shipped journal", "name the folder that the primary ships to"
        )
    lines = source / f"lines-{current['seq']}.jsonl"
    return source / f"base-{current['seq']}.db", lines if lines.exists() else None


async def _catch_up(journal: Journal, lines: Path | None, now: datetime, host: str) -> Json:
    database = journal.database
    async with journal.reading():
        faults = await database.fetch("PRAGMA integrity_check(1)")
    if faults[0][0] != "ok":
        raise JournalError(_TAKE, f"the base copy is damaged: {faults[0][0]}", "restore an older backup")
    async with journal.transaction():
        count = await _append(journal, lines) if lines else 0
        await _decide_anew(database, now)
        seq = await journal.last_seq()
        await journal.append(
            [{"kind": "alert", "state": "warning", "cause": f"restored on {host} up to line {seq}"}], now
        )
    return {"lines": count, "seq": seq}


async def _append(journal: Journal, lines: Path) -> int:
    """The lines that were shipped, each fitting the chain; and what they tell about what the base still calls open."""
    database = journal.database
    seq, chain = await journal.last_seq(), await journal.chain_end()
    count = 0
    for line in _shipped(lines):
        if line["seq"] <= seq:
            continue
        fields = [line[name] for name in _FIELDS]
        chain = link_of_chain(chain, fields)
        if line["seq"] != seq + 1 or chain != line["chain"]:
            raise JournalError(
                _TAKE,
                f"line {line['seq']} of {lines.name} does not fit the one before",
                "restore the base alone",
            )
        seq, count = line["seq"], count + 1
        await database.execute(
            "INSERT INTO log (seq, at, kind, guid, email, action, state, cause, pass_id, detail, chain) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [seq, *fields, chain],
        )
        if line["kind"] == "action" and line["guid"]:
            await _learn(database, line)
        if line["kind"] == "pass" and line["pass_id"] is not None:
            await database.execute(
                "INSERT INTO pass (id, started, ended, exit_code, simulated, is_full) VALUES (?, ?, ?, ?, 0, 0) "
                "ON CONFLICT (id) DO UPDATE SET ended = excluded.ended, exit_code = excluded.exit_code",
                [line["pass_id"], line["at"], line["at"], int(line["state"])],
            )
    return count


async def _learn(database: Database, line: Json) -> None:
    """An action that the primary has settled: whatever the base holds open about this person is no longer so."""
    await database.execute(
        "UPDATE action SET state = 'superseded', settled_at = ? WHERE guid = ? AND state NOT IN ('done', 'superseded', 'sending')",
        [line["at"], line["guid"]],
    )
    await _mark(
        database,
        "SELECT guid, 1, 'timer', ? FROM node WHERE guid = ? AND kind = 'user'",
        [line["at"], line["guid"]],
    )
    if line["state"] != "done":
        return
    # Counted by the brake's window, shown by `explain`.
    group = json.loads(line["detail"])
    await database.execute(
        "INSERT INTO action (guid, kind, state, email, member_id, changes, reason, cause, pass_id, ordinal, planned_at, sent_at, "
        "settled_at, group_guid, group_name) VALUES (?, ?, 'done', ?, '', '{}', ?, ?, ?, 0, ?, ?, ?, ?, ?)",
        [
            *(line["guid"], line["action"], line["email"], group.get("reason", ""), line["cause"]),
            *(line["pass_id"] or 0, line["at"], line["at"], line["at"]),
            *(group.get("group_guid", ""), group.get("group", "")),
        ],
    )
    if line["action"] in ("suspend", "unsuspend"):
        await database.execute(
            "UPDATE link SET suspended_by_us = ? WHERE guid = ?",
            [int(line["action"] == "suspend"), line["guid"]],
        )


async def _decide_anew(database: Database, now: datetime) -> None:
    """Nothing that was released leaves by itself: each is judged again, after a comparison of the whole team."""
    await database.execute(
        "UPDATE action SET released = 0 WHERE state NOT IN ('done', 'superseded', 'sending')"
    )
    await _mark(
        database,
        "SELECT DISTINCT guid, 1, 'timer', ? FROM action WHERE state NOT IN ('done', 'superseded') AND group_guid = ''",
        [stamp(now)],
    )
    await database.execute("UPDATE group_link SET doubted = 1")
    await database.execute("DELETE FROM meta WHERE key IN ('compared_at', 'groups_compared_at')")


async def _mark(database: Database, selection: str, values: list[str]) -> None:
    await database.execute(
        f"INSERT INTO dirty {selection} ON CONFLICT (guid) DO UPDATE SET mark = mark + 1", values
    )


def _shipped(file: Path) -> Iterator[Json]:
    """Whole lines; one that was torn off at the end had not been shipped."""
    with file.open("rb") as opened:
        for raw in opened:
            if raw.endswith(b"\n"):
                try:
                    yield json.loads(raw.decode("utf-8", "surrogatepass"))
                except ValueError as error:
                    raise JournalError(
                        _TAKE, f"{file.name} is damaged: {error}", "restore the base alone"
                    ) from error


# --- small files


def _read(file: Path) -> Json | None:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise JournalError("read the standby's folder", f"{file}: {error}", "empty the folder") from error
    return content if isinstance(content, dict) else None


def _write(file: Path, content: Json) -> None:
    """All or nothing."""
    draft = file.with_name(file.name + ".new")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as opened:
        json.dump(content, opened)
        opened.flush()
        os.fsync(opened.fileno())
    draft.replace(file)


def _remove(path: Path) -> None:
    for suffix in ("", "-wal", "-shm", "-journal"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)

"""The mirror: the part of the directory in question, and what changed in it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from pipeline.model import Checkpoint, Entry, Kind, Source
from pipeline.records import Edge, MirrorChange, Node
from state.database import Database, dump, moment, stamp

_LISTED = "listed = 1 AND kind = 'user' AND live = 1"

CHUNK = 500  # below SQLite's limit of bound values


def chunks(items: Iterable[str]) -> Iterable[list[str]]:
    part: list[str] = []
    for item in items:
        part.append(item)
        if len(part) == CHUNK:
            yield part
            part = []
    if part:
        yield part


def marks(count: int) -> str:
    return ",".join("?" * count)


_KINDS = {kind.value: kind for kind in Kind}


def node_of(row: Sequence[Any]) -> Node:
    """Of a whole row of the table `node`, in the order of its columns: by position, since by name it takes four times as long."""
    (
        guid,
        kind,
        live,
        seen,
        dn,
        name,
        sid,
        sam,
        email,
        _email_key,
        given_name,
        surname,
        display_name,
        disabled,
        expires,
        primary_rid,
        listed,
        first_listed_at,
        left_at,
        left_how,
        left_confirmed,
        left_cause,
        deleted_at,
        died_excluded,
    ) = row
    return Node(
        entry=Entry(
            guid=guid,
            kind=_KINDS[kind],
            dn=dn,
            name=name,
            sid=sid,
            sam_account_name=sam,
            email=email,
            given_name=given_name,
            surname=surname,
            display_name=display_name,
            disabled=disabled == 1,
            account_expires=expires and moment(expires),
            primary_group_rid=primary_rid,
        ),
        live=live == 1,
        seen=seen == 1,
        listed=listed == 1,
        first_listed_at=first_listed_at and moment(first_listed_at),
        left_at=left_at and moment(left_at),
        left_how=left_how,
        left_confirmed=left_confirmed == 1,
        left_cause=left_cause,
        deleted_at=deleted_at and moment(deleted_at),
        died_excluded=died_excluded == 1,
    )


UPSERT = """
INSERT INTO node (guid, kind, live, seen, dn, name, sid, sam, email, email_key, given_name, surname, display_name,
                  disabled, expires, primary_rid)
VALUES (?, ?, 1, 1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (guid) DO UPDATE SET
    kind = excluded.kind, live = 1, seen = 1, deleted_at = NULL, died_excluded = 0, dn = excluded.dn, name = excluded.name,
    sid = CASE WHEN excluded.sid = '' THEN sid ELSE excluded.sid END, sam = excluded.sam,
    email = excluded.email, email_key = excluded.email_key, given_name = excluded.given_name,
    surname = excluded.surname, display_name = excluded.display_name, disabled = excluded.disabled,
    expires = excluded.expires, primary_rid = excluded.primary_rid
"""


class Mirror:
    def __init__(self, database: Database) -> None:
        self._database = database

    # --- reading

    async def graph(self) -> tuple[list[tuple[str, Kind, bool]], list[Edge]]:
        """All nodes (guid, kind, live) and direct edges: what the scope graph is built from at start-up."""
        nodes = await self._database.fetch("SELECT guid, kind, live FROM node")
        edges = await self._database.fetch("SELECT parent, child, is_primary FROM edge")
        kinds = {kind.value: kind for kind in Kind}
        return (
            [(row[0], kinds[row[1]], bool(row[2])) for row in nodes],
            [Edge(row[0], row[1], bool(row[2])) for row in edges],
        )

    async def graph_above(self, guids: Iterable[str]) -> tuple[list[tuple[str, Kind, bool]], list[Edge]]:
        """As `graph`, of these and whatever group holds them through any nesting: what is to be told of a few of many."""
        above = (
            "WITH RECURSIVE above (guid) AS (SELECT value FROM json_each(?) "
            "UNION SELECT edge.parent FROM edge JOIN above ON edge.child = above.guid) "
        )
        listed = dump(sorted(guids))
        nodes = await self._database.fetch(
            f"{above} SELECT guid, kind, live FROM node WHERE guid IN (SELECT guid FROM above)", (listed,)
        )
        edges = await self._database.fetch(
            f"{above} SELECT parent, child, is_primary FROM edge WHERE child IN (SELECT guid FROM above)",
            (listed,),
        )
        return (
            [(row[0], Kind(row[1]), bool(row[2])) for row in nodes],
            [Edge(row[0], row[1], bool(row[2])) for row in edges],
        )

    async def dns(self, guids: Iterable[str]) -> dict[str, str]:
        found: dict[str, str] = {}
        for part in chunks(guids):
            rows = await self._database.fetch(
                f"SELECT guid, dn FROM node WHERE guid IN ({marks(len(part))})", part
            )
            found.update((row[0], row[1]) for row in rows)
        return found

    async def nodes(self, guids: Iterable[str]) -> dict[str, Node]:
        found: dict[str, Node] = {}
        for part in chunks(guids):
            rows = await self._database.fetch(f"SELECT * FROM node WHERE guid IN ({marks(len(part))})", part)
            found.update((row["guid"], node_of(row)) for row in rows)
        return found

    async def listed_with_email(self, emails: Iterable[str]) -> dict[str, list[str]]:
        """For each lower-case e-mail the GUIDs of the living listed users that carry it, stable order."""
        found: dict[str, list[str]] = {}
        for part in chunks(emails):
            rows = await self._database.fetch(
                # <> '' for SQLite to see that the partial index serves
                f"SELECT email_key, guid FROM node WHERE email_key IN ({marks(len(part))}) AND email_key <> '' "
                "AND listed = 1 AND kind = 'user' AND live = 1 ORDER BY guid",
                part,
            )
            for row in rows:
                found.setdefault(row["email_key"], []).append(row["guid"])
        return found

    async def known_sids(self, sids: Iterable[str]) -> frozenset[str]:
        """Those of them that somebody in the mirror has. No index serves it: not for what is asked often."""
        statement = "SELECT sid FROM node WHERE sid IN (SELECT value FROM json_each(?))"
        return frozenset(row[0] for row in await self._database.fetch(statement, (dump(sorted(sids)),)))

    async def listed_users(self) -> list[Node]:
        rows = await self._database.fetch(
            "SELECT * FROM node WHERE listed = 1 AND kind = 'user' ORDER BY first_listed_at, guid"
        )
        return [node_of(row) for row in rows]

    async def has_listed(self) -> bool:
        """Whether anybody is in scope; found without counting them all."""
        return await self._database.value(f"SELECT 1 FROM node WHERE {_LISTED} LIMIT 1") is not None

    async def addressed(self, after: str, most: int) -> list[Node]:
        """Listed persons with an e-mail in the order of their GUIDs, from behind `after` on, so many at most."""
        statement = (
            f"SELECT * FROM node WHERE {_LISTED} AND email_key <> '' AND guid > ? ORDER BY guid LIMIT ?"
        )
        return [node_of(row) for row in await self._database.fetch(statement, (after, most))]

    async def unconfirmed(self) -> list[Node]:
        """Those who left and whose leaving no second read has confirmed yet."""
        rows = await self._database.fetch(
            "SELECT * FROM node WHERE left_at IS NOT NULL AND left_confirmed = 0"
        )
        return [node_of(row) for row in rows]

    async def expired_between(self, after: datetime, until: datetime) -> list[str]:
        rows = await self._database.fetch(
            "SELECT guid FROM node WHERE expires > ? AND expires <= ?", (stamp(after), stamp(until))
        )
        return [row["guid"] for row in rows]

    async def find_people(self, text: str) -> list[Node]:
        """By GUID, e-mail, DN, account name, display name or name; case-insensitive; for `explain`."""
        rows = await self._database.fetch(  # what an index finds, before all of them are looked at
            "SELECT * FROM node WHERE kind = 'user' AND (guid = lower(?1) OR (email_key <> '' AND email_key = lower(?1))) LIMIT 50",
            (text,),
        ) or await self._database.fetch(
            # NOCASE, not lower(): of 100,000 people it takes a third of the time
            "SELECT * FROM node WHERE kind = 'user' AND (dn = ?1 COLLATE NOCASE OR sam = ?1 COLLATE NOCASE "
            "OR display_name = ?1 COLLATE NOCASE OR name = ?1 COLLATE NOCASE) LIMIT 50",
            (text,),
        )
        return [node_of(row) for row in rows]

    async def find_strangers(self, text: str) -> list[Node]:
        """As `find_people`, among what is neither person nor group: contacts, computers, objects of other domains."""
        rows = await self._database.fetch(
            "SELECT * FROM node WHERE kind NOT IN ('user', 'group') AND (guid = lower(?1) OR email_key = lower(?1) "
            "OR lower(dn) = lower(?1) OR lower(sam) = lower(?1) OR lower(display_name) = lower(?1) OR lower(name) = lower(?1)) "
            "ORDER BY guid LIMIT 50",
            (text,),
        )
        return [node_of(row) for row in rows]

    async def bearing(self, name: str, limit: int) -> list[Node]:
        """People with this surname or given name, or whose display name ends with it; those in the sync group first."""
        rows = await self._database.fetch(
            "SELECT * FROM node WHERE kind = 'user' AND (surname = ?1 COLLATE NOCASE OR given_name = ?1 COLLATE NOCASE "
            "OR substr(display_name, -1 - length(?1)) = ' ' || ?1 COLLATE NOCASE) ORDER BY listed DESC, email_key, guid LIMIT ?2",
            (name.strip(), limit),
        )
        return [node_of(row) for row in rows]

    async def names_like(self, text: str) -> list[str]:
        """Words by which `find_people` and `find_strangers` find somebody, and that begin like `text`:

        two of its first three letters stand in their places. E-mails for what looks like one, else names and accounts.
        """
        patterns = _beginnings(text.strip())
        if "@" in text:  # from the index alone, which does not know who is a group
            alike = " OR ".join("email_key LIKE ? ESCAPE '!'" for _ in patterns)
            rows = await self._database.fetch(
                f"SELECT email_key FROM node WHERE email_key <> '' AND ({alike})", patterns
            )
            groups = await self._database.fetch(
                "SELECT email_key FROM node WHERE kind = 'group' AND email_key <> ''"
            )
            return sorted({row[0] for row in rows} - {row[0] for row in groups})
        columns = ("sam", "display_name", "name")
        alike = " OR ".join(f"{column} LIKE ? ESCAPE '!'" for column in columns for _ in patterns)
        rows = await self._database.fetch(
            f"SELECT {', '.join(columns)} FROM node WHERE kind <> 'group' AND ({alike})",
            patterns * len(columns),
        )
        return sorted({word for row in rows for word in row if word})

    async def find_groups(self, text: str) -> list[Node]:
        """By GUID, DN, account name or name; case-insensitive; for `explain --group`."""
        rows = await self._database.fetch(
            "SELECT * FROM node WHERE kind = 'group' AND (guid = lower(?1) OR lower(dn) = lower(?1) OR lower(sam) = lower(?1) "
            "OR lower(name) = lower(?1)) ORDER BY guid LIMIT 50",
            (text,),
        )
        return [node_of(row) for row in rows]

    async def checkpoint(self) -> Checkpoint | None:
        row = await self._database.fetch_one("SELECT * FROM checkpoint WHERE id = 1")
        if row is None:
            return None
        return Checkpoint(
            source=Source(row["source"]),
            server=row["server"],
            ds_service=row["ds_service"],
            invocation_id=row["invocation_id"],
            profile=row["profile"],
            cookie=bytes(row["cookie"]),
            usn=row["usn"],
            at=moment(row["at"]),
        )

    # --- writing

    async def save_checkpoint(self, checkpoint: Checkpoint, at: datetime) -> None:
        row = (
            checkpoint.source.value,
            checkpoint.server,
            checkpoint.ds_service,
            checkpoint.invocation_id,
            checkpoint.profile,
            checkpoint.cookie,
            checkpoint.usn,
            stamp(at),
        )
        await self._database.execute_many(
            "INSERT OR REPLACE INTO checkpoint VALUES (1, ?, ?, ?, ?, ?, ?, ?, ?)", [row]
        )

    async def forget_checkpoint(self) -> None:
        await self._database.execute("DELETE FROM checkpoint")

    async def apply(self, change: MirrorChange) -> None:
        """Writes a change; the caller's transaction also holds the checkpoint, the log and the dirty marks."""
        now = stamp(change.at)
        await self.upsert(change.entries)
        await self._update_each(
            "UPDATE node SET live = 0, deleted_at = coalesce(deleted_at, ?) WHERE guid = ?",
            now,
            change.tombstones,
        )
        await self._database.execute_many(
            "UPDATE node SET seen = 0 WHERE guid = ? AND live = 1", ((guid,) for guid in change.unseen)
        )
        await self._database.execute_many(
            "DELETE FROM node WHERE guid = ?", ((guid,) for guid in change.forgotten)
        )
        await self._database.execute_many(
            "UPDATE node SET died_excluded = 1 WHERE guid = ? AND live = 0",
            ((guid,) for guid in change.protected),
        )
        if change.replace:
            await self._database.execute("DELETE FROM edge")
        await self._database.execute_many(
            "DELETE FROM edge WHERE parent = ? AND child = ? AND is_primary = ?",
            ((edge.parent, edge.child, int(edge.primary)) for edge in change.removed),
        )
        await self._database.execute_many(
            "INSERT OR IGNORE INTO edge VALUES (?, ?, ?)",
            ((edge.parent, edge.child, int(edge.primary)) for edge in change.added),
        )
        await self._update_each(
            "UPDATE node SET listed = 1, first_listed_at = coalesce(first_listed_at, ?), left_at = NULL, left_how = '', "
            "left_cause = '', left_confirmed = 0 WHERE guid = ?",
            now,
            change.entered,
        )
        await self._database.execute_many(
            "UPDATE node SET listed = 0, left_at = ?, left_how = ?, left_cause = ?, left_confirmed = 0 WHERE guid = ?",
            ((now, change.left_how, cause, guid) for guid, cause in change.left.items()),
        )
        await self._database.execute_many(
            "UPDATE node SET left_confirmed = 1 WHERE guid = ?", ((guid,) for guid in change.confirmed)
        )

    async def upsert(self, entries: Sequence[Entry]) -> None:
        await self._database.execute_many(
            UPSERT,
            (
                (
                    entry.guid,
                    entry.kind.value,
                    entry.dn,
                    entry.name,
                    entry.sid,
                    entry.sam_account_name,
                    entry.email,
                    entry.email.strip().lower(),
                    entry.given_name,
                    entry.surname,
                    entry.display_name,
                    int(entry.disabled),
                    stamp(entry.account_expires) if entry.account_expires else None,
                    entry.primary_group_rid,
                )
                for entry in entries
            ),
        )

    async def add_departed(self, entry: Entry, *, live: bool, at: datetime) -> None:
        """A person known only by the external id of a member: not listed, absent until a second read says so."""
        await self.upsert([entry])
        await self._database.execute(
            "UPDATE node SET live = ?, deleted_at = CASE WHEN ? THEN NULL ELSE ? END, left_at = coalesce(left_at, ?), "
            "left_how = CASE left_how WHEN '' THEN 'absent' ELSE left_how END WHERE guid = ? AND listed = 0",
            (int(live), int(live), stamp(at), stamp(at), entry.guid),
        )

    async def _update_each(self, statement: str, now: str, guids: Iterable[str]) -> None:
        await self._database.execute_many(statement, ((now, guid) for guid in guids))

    async def forget_unused(self) -> int:
        """Drops nodes that nothing needs any more: not linked, not an end of an edge, no open action."""
        return await self._database.execute(
            "DELETE FROM node WHERE listed = 0 AND guid NOT IN (SELECT guid FROM link) AND guid NOT IN (SELECT child FROM edge) "
            "AND guid NOT IN (SELECT parent FROM edge) AND guid NOT IN (SELECT guid FROM dirty) "
            "AND guid NOT IN (SELECT guid FROM action WHERE state NOT IN ('done', 'superseded'))"
        )


def _beginnings(text: str) -> list[str]:
    """Patterns for LIKE, in which `!` escapes."""
    first, second, third, *_ = [f"!{letter}" if letter in "%_!" else letter for letter in text[:3]] + [""] * 3
    if not third:
        return [f"{first}{second}%"]
    return [f"{first}{second}%", f"{first}_{third}%", f"_{second}{third}%"]

"""Members of the team as last told, and the links between persons and members."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from contextlib import aclosing
from datetime import datetime
from typing import Any

from pipeline.model import Member, Status
from pipeline.records import Link, Node
from state.database import Database, Row, dump, moment, stamp
from state.dispatch import OPEN
from state.mirror import chunks, marks, node_of

SLICE = 10_000  # rows in memory at a time, of what may be a million

_STATUSES = {status.value: status for status in Status}


def member_of(row: Sequence[Any]) -> Member:
    """Of a whole row of the table `member`, in the order of its columns."""
    (
        member_id,
        status,
        email,
        given_name,
        surname,
        external_id,
        recoverable,
        is_team_admin,
        invited_on,
        joined_on,
    ) = row
    return Member(
        member_id=member_id,
        status=_STATUSES[status],
        email=email,
        given_name=given_name,
        surname=surname,
        external_id=external_id,
        recoverable=recoverable == 1,
        is_team_admin=is_team_admin == 1,
        invited_on=invited_on and moment(invited_on),
        joined_on=joined_on and moment(joined_on),
    )


def _stored(member: Member) -> tuple[object, ...]:
    """As a row of the table."""
    return (
        member.member_id,
        member.status.value,
        member.email,
        member.given_name,
        member.surname,
        member.external_id,
        int(member.recoverable),
        int(member.is_team_admin),
        stamp(member.invited_on) if member.invited_on else None,
        stamp(member.joined_on) if member.joined_on else None,
    )


def link_of(row: Sequence[Any]) -> Link:
    """Of a whole row of the table `link`, in the order of its columns."""
    guid, member_id, how, at, old_external_id, suspended_by_us, welcomes = row
    return Link(
        guid=guid,
        member_id=member_id,
        how=how,
        at=datetime.fromisoformat(at),
        old_external_id=old_external_id,
        suspended_by_us=suspended_by_us == 1,
        welcomes=welcomes,
    )


class Members:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def save(self, members: Sequence[Member]) -> None:
        """Remembers what Dropbox told."""
        await self._write(_stored(member) for member in members)

    async def save_differing(self, members: Sequence[Member]) -> None:
        """As `save`, of members who are mostly known as they are: rewriting a whole listing would cost more than everything else."""
        known = {
            row[0]: tuple(row) for row in await self._select("member_id", (one.member_id for one in members))
        }
        told = (_stored(member) for member in members)
        await self._write([one for one in told if known.get(one[0]) != one])

    async def _write(self, rows: Iterable[tuple[object, ...]]) -> None:
        await self._database.execute_many(
            "INSERT INTO member VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (member_id) DO UPDATE SET "
            "status = excluded.status, email = excluded.email, given_name = excluded.given_name, surname = excluded.surname, "
            "external_id = excluded.external_id, recoverable = excluded.recoverable, is_team_admin = excluded.is_team_admin, "
            "invited_on = excluded.invited_on, joined_on = excluded.joined_on",
            rows,
        )

    async def keep(self, told: Collection[str]) -> None:
        """After a *complete* listing: members that it did not show exist no more. `told` by their ids."""
        absent: list[str] = []
        async with aclosing(self._database.stream("SELECT member_id FROM member", SLICE)) as slices:
            async for rows in slices:
                absent += [row[0] for row in rows if row[0] not in told]
        await self._database.execute_many(
            "DELETE FROM member WHERE member_id = ?", ((one,) for one in absent)
        )

    async def lose(self, member_ids: Collection[str]) -> None:
        """Asked for by its id, the team knows none of these any more. Who is linked to one stays so, to one that is removed for good:

        the brake takes its share of those who are managed, and an account that is only missing would be one of them for ever.
        """
        await self._database.execute_many(
            "INSERT INTO member SELECT member_id, 'removed', '', '', '', '', 0, 0, NULL, NULL FROM link WHERE member_id = ? "
            "ON CONFLICT (member_id) DO UPDATE SET status = 'removed', recoverable = 0, email = '', external_id = ''",
            ((one,) for one in member_ids),
        )
        await self._database.execute_many(
            "DELETE FROM member WHERE member_id = ?1 AND NOT EXISTS (SELECT 1 FROM link WHERE member_id = ?1)",
            ((one,) for one in member_ids),
        )

    async def all(self) -> list[Member]:
        """The whole team as last told, unmanaged members included."""
        return [
            member_of(row) for row in await self._database.fetch("SELECT * FROM member ORDER BY member_id")
        ]

    async def by_id(self, member_ids: Iterable[str]) -> dict[str, Member]:
        return {row["member_id"]: member_of(row) for row in await self._select("member_id", member_ids)}

    async def by_email(self, emails: Iterable[str]) -> dict[str, list[Member]]:
        found: dict[str, list[Member]] = {}
        for row in await self._select("email", emails):
            found.setdefault(row["email"], []).append(member_of(row))
        return found

    async def by_external_id(self, external_ids: Iterable[str]) -> dict[str, list[Member]]:
        found: dict[str, list[Member]] = {}
        for row in await self._select("external_id", external_ids):
            found.setdefault(row["external_id"], []).append(member_of(row))
        return found

    async def _select(self, column: str, values: Iterable[str]) -> list[Row]:
        rows: list[Row] = []
        for part in chunks(values):
            rows += await self._database.fetch(
                # <> '' for SQLite to see that a partial index serves
                f"SELECT * FROM member WHERE {column} IN ({marks(len(part))}) AND {column} <> '' ORDER BY member_id",
                part,
            )
        return rows

    async def unlinked_with_external_id(self, prefix: str, after: str, limit: int) -> list[Member]:
        """Members nobody is linked to whose external id begins with `prefix`, by their id, those after `after`."""
        rows = await self._database.fetch(
            "SELECT * FROM member WHERE substr(external_id, 1, ?) = ? AND member_id NOT IN (SELECT member_id FROM link) "
            "AND member_id > ? ORDER BY member_id LIMIT ?",
            (len(prefix), prefix, after, limit),
        )
        return [member_of(row) for row in rows]

    async def count_by_status(self) -> dict[str, int]:
        rows = await self._database.fetch(
            "SELECT status, count(*) AS number FROM member JOIN link USING (member_id) WHERE status <> 'removed' GROUP BY status"
        )
        return {row["status"]: row["number"] for row in rows}


_LINK, _NODE = slice(2, 9), slice(9, None)  # columns of `of_members`


class Links:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def of(self, guids: Iterable[str]) -> dict[str, Link]:
        found: dict[str, Link] = {}
        for part in chunks(guids):
            rows = await self._database.fetch(f"SELECT * FROM link WHERE guid IN ({marks(len(part))})", part)
            found.update((row["guid"], link_of(row)) for row in rows)
        return found

    async def holders(self, member_ids: Iterable[str]) -> dict[str, str]:
        """member_id → GUID of the person who is linked to it."""
        found: dict[str, str] = {}
        for part in chunks(member_ids):
            rows = await self._database.fetch(
                f"SELECT member_id, guid FROM link WHERE member_id IN ({marks(len(part))})", part
            )
            found.update((row["member_id"], row["guid"]) for row in rows)
        return found

    async def count_by_match(self) -> dict[str, int]:
        """How the members of the team were matched with persons: by way, and those nobody was matched with."""
        rows = await self._database.fetch(
            "SELECT link.how, count(*) AS number FROM link JOIN member USING (member_id) WHERE status <> 'removed' GROUP BY link.how"
        )
        found = {row["how"]: row["number"] for row in rows}
        found["unmanaged"] = int(
            await self._database.value(
                "SELECT count(*) FROM member WHERE status <> 'removed' AND member_id NOT IN (SELECT member_id FROM link)"
            )
            or 0
        )
        return found

    async def of_members(self, member_ids: Iterable[str]) -> tuple[list[tuple[Link, Node]], list[str]]:
        """Who is linked to these members: those at rest, and the GUIDs of all others.

        At rest is who is listed and about whom nothing else stands in the journal: no open action, note, timer, pin, or
        suspension by us, and nobody else with their e-mail. Only the member can make a difference to what is decided about them.
        """
        rows = await self._database.fetch(
            "SELECT link.guid, link.suspended_by_us = 0 AND node.listed = 1 AND node.live = 1 AND node.seen = 1 AND node.kind = 'user' "
            "AND NOT EXISTS (SELECT 1 FROM node AS twin WHERE twin.email_key = node.email_key AND twin.email_key <> '' AND twin.guid <> node.guid) "
            f"AND NOT EXISTS (SELECT 1 FROM action WHERE action.guid = node.guid AND {OPEN}) "
            "AND NOT EXISTS (SELECT 1 FROM note WHERE note.guid = node.guid) "
            "AND NOT EXISTS (SELECT 1 FROM timer WHERE timer.guid = node.guid) "
            "AND NOT EXISTS (SELECT 1 FROM pin WHERE pin.guid = node.guid), "
            "link.*, node.* "
            "FROM json_each(?) AS asked JOIN link ON link.member_id = asked.value LEFT JOIN node USING (guid)",
            (dump(list(member_ids)),),
        )
        at_rest = [(link_of(row[_LINK]), node_of(row[_NODE])) for row in rows if row[1]]
        return at_rest, [row[0] for row in rows if not row[1]]

    async def not_told(self, told: Collection[str]) -> list[str]:
        """Whom a full listing did not show: linked persons whose member was not in it, and listed ones without a link."""
        rows = await self._database.fetch(
            "SELECT guid FROM node WHERE listed = 1 AND kind = 'user' AND guid NOT IN (SELECT guid FROM link)"
        )
        found = [row[0] for row in rows]
        async with aclosing(self._database.stream("SELECT guid, member_id FROM link", SLICE)) as slices:
            async for rows in slices:
                found += [guid for guid, member_id in rows if member_id not in told]
        return found

    async def all_guids(self) -> list[str]:
        return [row["guid"] for row in await self._database.fetch("SELECT guid FROM link")]

    async def count_managed(self) -> int:
        """Linked persons whose member is on the team (invited, active or suspended), or not yet read."""
        return int(
            await self._database.value(
                "SELECT (SELECT count(*) FROM link) - "
                "(SELECT count(*) FROM member JOIN link USING (member_id) WHERE status = 'removed')"
            )
            or 0
        )

    async def set(self, link: Link) -> None:
        await self.set_all([link])

    async def set_all(self, links: Sequence[Link]) -> None:
        """Links persons to members; a link of either to somebody else is replaced."""
        await self._database.execute_many(
            "INSERT OR REPLACE INTO link VALUES (?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    link.guid,
                    link.member_id,
                    link.how,
                    stamp(link.at),
                    link.old_external_id,
                    int(link.suspended_by_us),
                    link.welcomes,
                )
                for link in links
            ],
        )

    async def remove(self, guid: str) -> None:
        await self._database.execute("DELETE FROM link WHERE guid = ?", (guid,))

    async def mark_suspended(self, guid: str, *, by_us: bool) -> None:
        await self._database.execute("UPDATE link SET suspended_by_us = ? WHERE guid = ?", (int(by_us), guid))

    async def count_welcome(self, guid: str) -> None:
        await self._database.execute("UPDATE link SET welcomes = welcomes + 1 WHERE guid = ?", (guid,))

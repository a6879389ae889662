"""Groups: the team's as last told, their links to directory groups, who is in them, and intended writes about them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime

from pipeline.core.groups import WantedGroup
from pipeline.core.transitions import check_transition
from pipeline.model import Action, ActionKind, State, TeamGroup
from pipeline.records import GroupLink, GroupPin
from state.database import Database, Row, dump, stamp
from state.dispatch import OPEN, action_of
from state.mirror import chunks, marks


def _group_of(row: Row) -> TeamGroup:
    return TeamGroup(
        group_id=row["group_id"],
        name=row["name"],
        external_id=row["external_id"],
        is_company_managed=bool(row["is_company_managed"]),
        is_system_managed=bool(row["is_system_managed"]),
        member_count=row["member_count"],
    )


def _link_of(row: Row) -> GroupLink:
    return GroupLink(
        guid=row["guid"],
        group_id=row["group_id"],
        how=row["how"],
        at=datetime.fromisoformat(row["at"]),
        name=row["name"],
        doubted=bool(row["doubted"]),
    )


class Groups:
    def __init__(self, database: Database) -> None:
        self._database = database

    # --- the team's groups

    async def replace_all(self, groups: Sequence[TeamGroup]) -> None:
        """After a complete listing: what it did not show exists no more."""
        await self._database.execute("DELETE FROM team_group")
        await self.save(groups)

    async def save(self, groups: Sequence[TeamGroup]) -> None:
        await self._database.execute_many(
            "INSERT OR REPLACE INTO team_group VALUES (?, ?, ?, ?, ?, ?)",
            [
                (
                    group.group_id,
                    group.name,
                    group.external_id,
                    int(group.is_company_managed),
                    int(group.is_system_managed),
                    group.member_count,
                )
                for group in groups
            ],
        )

    async def forget(self, group_ids: Iterable[str]) -> None:
        """They are gone: with their members, and whatever they were linked to."""
        ids = [(one,) for one in group_ids]
        for statement in (
            "DELETE FROM team_group WHERE group_id = ?",
            "DELETE FROM membership WHERE group_id = ?",
            "DELETE FROM group_link WHERE group_id = ?",
        ):
            await self._database.execute_many(statement, ids)

    async def all(self) -> dict[str, TeamGroup]:
        rows = await self._database.fetch("SELECT * FROM team_group ORDER BY group_id")
        return {row["group_id"]: _group_of(row) for row in rows}

    async def named(self, group_ids: Iterable[str]) -> dict[str, str]:
        """Their names in Dropbox, of those that are known."""
        found: dict[str, str] = {}
        for part in chunks(group_ids):
            rows = await self._database.fetch(
                f"SELECT group_id, name FROM team_group WHERE group_id IN ({marks(len(part))})", part
            )
            found.update((row[0], row[1]) for row in rows)
        return found

    async def count_members(self, group_ids: Iterable[str]) -> dict[str, int]:
        """Of linked groups; those with nobody are missing."""
        found: dict[str, int] = {}
        for part in chunks(group_ids):
            rows = await self._database.fetch(
                f"SELECT group_id, count(*) FROM membership WHERE group_id IN ({marks(len(part))}) GROUP BY group_id",
                part,
            )
            found.update((row[0], row[1]) for row in rows)
        return found

    async def memberships(self) -> dict[str, set[str]]:
        """By the Dropbox group's id, those of linked groups only."""
        found: dict[str, set[str]] = {}
        for group_id, member_id in await self._database.fetch("SELECT group_id, member_id FROM membership"):
            found.setdefault(group_id, set()).add(member_id)
        return found

    # --- links

    async def links(self) -> dict[str, GroupLink]:
        """By the directory group's GUID."""
        rows = await self._database.fetch("SELECT * FROM group_link ORDER BY guid")
        return {row["guid"]: _link_of(row) for row in rows}

    async def link(self, link: GroupLink) -> None:
        """A link of either to something else is replaced."""
        await self._database.execute(
            "DELETE FROM group_link WHERE guid = ? OR group_id = ?", (link.guid, link.group_id)
        )
        await self._database.execute(
            "INSERT INTO group_link VALUES (?, ?, ?, ?, ?, ?)",
            (link.guid, link.group_id, link.how, stamp(link.at), link.name, int(link.doubted)),
        )

    async def unlink(self, guids: Iterable[str]) -> None:
        """The Dropbox groups stay as they are; who is in them is no longer followed."""
        for guid in guids:
            await self._database.execute(
                "DELETE FROM membership WHERE group_id IN (SELECT group_id FROM group_link WHERE guid = ?)",
                (guid,),
            )
            await self._database.execute("DELETE FROM group_link WHERE guid = ?", (guid,))

    async def doubt(self, group_ids: Iterable[str], *, doubted: bool = True) -> int:
        """Returns how many of them are linked."""
        count = 0
        for group_id in group_ids:
            count += await self._database.execute(
                "UPDATE group_link SET doubted = ? WHERE group_id = ?", (int(doubted), group_id)
            )
        return count

    # --- who is in them

    async def members_of(self, group_ids: Iterable[str]) -> dict[str, frozenset[str]]:
        found: dict[str, frozenset[str]] = {}
        for group_id in group_ids:
            rows = await self._database.fetch(
                "SELECT member_id FROM membership WHERE group_id = ?", (group_id,)
            )
            found[group_id] = frozenset(row[0] for row in rows)
        return found

    async def holding(self, guids: Iterable[str]) -> frozenset[str]:
        """The directory groups in whose Dropbox groups one of these persons is now, whatever the directory says."""
        rows = await self._database.fetch(
            "SELECT DISTINCT group_link.guid FROM link JOIN membership USING (member_id) JOIN group_link USING (group_id) "
            "WHERE link.guid IN (SELECT value FROM json_each(?))",
            (dump(sorted(set(guids))),),
        )
        return frozenset(row[0] for row in rows)

    async def set_members(self, group_id: str, member_ids: Iterable[str]) -> None:
        """As a whole listing has shown."""
        await self._database.execute("DELETE FROM membership WHERE group_id = ?", (group_id,))
        await self.change_members(group_id, added=member_ids)

    async def change_members(
        self, group_id: str, *, added: Iterable[str] = (), removed: Iterable[str] = ()
    ) -> None:
        await self._database.execute_many(
            "INSERT OR IGNORE INTO membership VALUES (?, ?)", [(group_id, one) for one in added]
        )
        await self._database.execute_many(
            "DELETE FROM membership WHERE group_id = ? AND member_id = ?",
            [(group_id, one) for one in removed],
        )

    async def drop_members(self, member_ids: Iterable[str]) -> None:
        """They are on the team no more: Dropbox took them out of every group by itself."""
        ids = dump(sorted(set(member_ids)))
        await self._database.execute(
            "DELETE FROM membership WHERE member_id IN (SELECT value FROM json_each(?))", (ids,)
        )

    # --- pins of what was undone

    async def pins(self) -> dict[str, dict[str, GroupPin]]:
        """By directory group and subject."""
        found: dict[str, dict[str, GroupPin]] = {}
        for row in await self._database.fetch("SELECT * FROM group_pin ORDER BY group_guid, guid"):
            found.setdefault(row["group_guid"], {})[row["guid"]] = GroupPin(
                group_guid=row["group_guid"],
                guid=row["guid"],
                kind=ActionKind(row["kind"]),
                was=row["was"],
                reason=row["reason"],
                at=datetime.fromisoformat(row["at"]),
                name=row["name"],
            )
        return found

    async def pin(self, pins: Iterable[GroupPin]) -> None:
        await self._database.execute_many(
            "INSERT OR REPLACE INTO group_pin VALUES (?, ?, ?, ?, ?, ?, ?)",
            [
                (pin.group_guid, pin.guid, pin.kind.value, pin.name, pin.was, pin.reason, stamp(pin.at))
                for pin in pins
            ],
        )

    async def unpin(self, pins: Iterable[GroupPin]) -> None:
        await self._database.execute_many(
            "DELETE FROM group_pin WHERE group_guid = ? AND guid = ?",
            [(pin.group_guid, pin.guid) for pin in pins],
        )

    # --- intended writes

    async def open_actions(self, guids: Iterable[str] | None = None) -> list[Action]:
        """Of these directory groups, or of all; by group and age."""
        if guids is None:
            rows = await self._database.fetch(
                f"SELECT * FROM action WHERE group_guid <> '' AND {OPEN} ORDER BY group_guid, id"
            )
            return [action_of(row) for row in rows]
        found: list[Action] = []
        for part in chunks(guids):
            rows = await self._database.fetch(
                f"SELECT * FROM action WHERE group_guid <> '' AND group_guid IN ({marks(len(part))}) AND {OPEN} "
                "ORDER BY group_guid, id",
                part,
            )
            found += [action_of(row) for row in rows]
        return found

    async def add_actions(
        self,
        wanted: Sequence[WantedGroup],
        *,
        group_guid: str,
        group_id: str,
        pass_id: int,
        now: datetime,
        seen_at: datetime | None,
    ) -> None:
        await self._database.execute_many(
            "INSERT INTO action (guid, kind, state, email, member_id, changes, reason, cause, pass_id, ordinal, precondition, "
            "seen_at, planned_at, group_guid, group_id, group_name) "
            "VALUES (?, ?, 'planned', ?, ?, ?, ?, ?, ?, 0, ?, ?, ?, ?, ?, ?)",
            [
                (
                    one.guid,
                    one.kind.value,
                    one.email,
                    one.member_id,
                    dump({"external_id": one.external_id} if one.external_id else {}),
                    one.reason,
                    one.cause,
                    pass_id,
                    one.old_name,
                    stamp(seen_at) if seen_at else None,
                    stamp(now),
                    group_guid,
                    group_id,
                    one.name,
                )
                for one in wanted
            ],
        )

    async def release(self, actions: Sequence[tuple[Action, int]]) -> None:
        """Each with its wave: what is in one may be sent side by side."""
        for action, _ in actions:
            if action.state is not State.PLANNED:
                check_transition(action.state, State.PLANNED)
        await self._database.execute_many(
            "UPDATE action SET state = 'planned', released = 1, ordinal = ? WHERE id = ?",
            [(wave, action.id) for action, wave in actions],
        )

    async def ready(self, kinds: Collection[ActionKind]) -> list[Action]:
        """Released writes of these kinds, in the order of their waves."""
        names = sorted(kind.value for kind in kinds)
        rows = await self._database.fetch(
            f"SELECT * FROM action WHERE group_guid <> '' AND {OPEN} AND state = 'planned' AND released = 1 "
            f"AND kind IN ({marks(len(names))}) ORDER BY ordinal, id",
            names,
        )
        return [action_of(row) for row in rows]

    async def set_group_id(self, group_guid: str, group_id: str) -> None:
        """The group was created: what waits for it knows now where to go."""
        await self._database.execute(
            f"UPDATE action SET group_id = ? WHERE group_guid = ? AND group_guid <> '' AND {OPEN}",
            (group_id, group_guid),
        )

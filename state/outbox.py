"""The outbox: intended writes and their states. Which state may follow which stands in core/transitions.py."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from pipeline.core.namesake import HELD_KIND
from pipeline.core.transitions import check_transition
from pipeline.model import OPEN_STATES, Action, ActionKind, Profile, State, WaitFor, Wanted
from pipeline.records import HeldRecord
from state.database import Row, dump, moment, stamp
from state.dispatch import OPEN, Dispatch, action_of, stored
from state.mirror import chunks, marks


class Outbox(Dispatch):
    """Reading and planning; what is on its way is `Dispatch`'s."""

    # --- reading

    async def open_of(self, guids: Iterable[str]) -> dict[str, list[Action]]:
        found: dict[str, list[Action]] = {}
        for part in chunks(guids):
            rows = await self._database.fetch(
                f"SELECT * FROM action WHERE guid IN ({marks(len(part))}) AND group_guid = '' AND {OPEN} ORDER BY guid, id",
                part,
            )
            for row in rows:
                found.setdefault(row["guid"], []).append(action_of(row))
        return found

    async def in_state(self, *states: State, wait: WaitFor | None = None) -> list[Action]:
        values: list[str] = [state.value for state in states]
        statement = f"SELECT * FROM action WHERE state IN ({marks(len(states))})"
        if OPEN_STATES.issuperset(states):
            statement += f" AND {OPEN}"  # else SQLite does not see that the index of open actions serves
        if wait is not None:
            statement += " AND wait = ?"
            values.append(wait.value)
        return [action_of(row) for row in await self._database.fetch(statement + " ORDER BY id", values)]

    async def some_in_state(self, state: State, limit: int) -> list[Action]:
        """In the order of their kinds and of when they are due: that of the index, so that many cost no more than a few."""
        rows = await self._database.fetch(
            f"SELECT * FROM action WHERE state = ? AND {OPEN} ORDER BY kind, due LIMIT ?",
            (state.value, limit),
        )
        return [action_of(row) for row in rows]

    async def unreleased(self, *, about_groups: bool = False) -> list[Action]:
        """What the brake has to judge: planned and not yet released, and what it holds; of persons, or of groups."""
        rows = await self._database.fetch(
            f"SELECT * FROM action WHERE state IN ('planned', 'held') AND {OPEN} AND (released = 0 OR state = 'held') "
            "AND (group_guid <> '') = ? ORDER BY id",
            (int(about_groups),),
        )
        return [action_of(row) for row in rows]

    async def count_unreleased(self, kinds: Iterable[ActionKind]) -> int:
        """What is planned of these kinds and the brake has not judged yet; of persons."""
        names = [kind.value for kind in kinds]
        return int(
            await self._database.value(
                f"SELECT count(*) FROM action WHERE state = 'planned' AND {OPEN} AND kind IN ({marks(len(names))}) "
                "AND released = 0 AND group_guid = ''",
                names,
            )
            or 0
        )

    async def sent_since(self, since: datetime, kinds: Iterable[ActionKind]) -> list[Action]:
        """What was sent of these kinds, and what was let go and has not left yet; approved ones aside: the brake's window."""
        names = [kind.value for kind in kinds]
        of_kinds = f"approved = 0 AND kind IN ({marks(len(names))})"
        rows = await self._database.fetch(
            f"SELECT * FROM action WHERE sent_at >= ? AND {of_kinds} AND state IN ('sending', 'done', 'retry', 'planned') "
            f"UNION SELECT * FROM action WHERE state = 'planned' AND released = 1 AND {of_kinds}",
            [stamp(since), *names, *names],
        )
        return [action_of(row) for row in rows]

    async def of_pass(self, pass_id: int) -> list[Action]:
        rows = await self._database.fetch(
            "SELECT * FROM action WHERE pass_id = ? ORDER BY ordinal, id", (pass_id,)
        )
        return [action_of(row) for row in rows]

    async def done_since(self, since: datetime) -> list[Action]:
        """What was settled as done, in that order."""
        rows = await self._database.fetch(
            "SELECT * FROM action WHERE state = 'done' AND settled_at >= ? ORDER BY settled_at, ordinal, id",
            (stamp(since),),
        )
        return [action_of(row) for row in rows]

    async def done_in_pass(self, pass_id: int) -> list[Action]:
        """What a pass did, in order: what was settled as done between its begin and its end."""
        rows = await self._database.fetch(
            "SELECT action.* FROM action JOIN pass ON pass.id = ? WHERE state = 'done' AND settled_at >= pass.started "
            "AND settled_at <= coalesce(pass.ended, settled_at) AND pass.simulated = 0 ORDER BY settled_at, action.id",
            (pass_id,),
        )
        return [action_of(row) for row in rows]

    async def of_person(self, guid: str, limit: int = 20) -> list[Action]:
        """The newest first."""
        rows = await self._database.fetch(
            "SELECT * FROM action WHERE guid = ? ORDER BY id DESC LIMIT ?", (guid, limit)
        )
        return [action_of(row) for row in rows]

    async def count_by_state(self) -> dict[str, int]:
        rows = await self._database.fetch(
            f"SELECT state, count(*) AS number FROM action WHERE {OPEN} GROUP BY state"
        )
        return {row["state"]: row["number"] for row in rows}

    async def newest_done(self, limit: int) -> list[Action]:
        """The last settled actions that came from a change that was seen."""
        rows = await self._database.fetch(
            "SELECT * FROM action WHERE state = 'done' AND seen_at IS NOT NULL ORDER BY id DESC LIMIT ?",
            (limit,),
        )
        return [action_of(row) for row in rows]

    async def next_due(self) -> datetime | None:
        return moment(
            await self._database.value(
                f"SELECT min(due) FROM action WHERE state IN ('retry', 'waiting') AND {OPEN} AND due IS NOT NULL"
            )
        )

    async def oldest_unsettled(self) -> datetime | None:
        """When the oldest change was seen whose action is neither done nor legitimately waiting."""
        return moment(
            await self._database.value(
                f"SELECT min(seen_at) FROM action WHERE state IN ('planned', 'sending', 'retry') AND {OPEN} AND seen_at <> ''"
            )
        )

    # --- planning

    async def add(
        self,
        wanted: Wanted,
        *,
        guid: str,
        email: str,
        member_id: str,
        precondition: str,
        before: Profile,
        pass_id: int,
        now: datetime,
        seen_at: datetime | None,
        approved: bool = False,
    ) -> None:
        """Written with the transaction's next statement: of a large plan nobody waits for each by itself."""
        state = State.WAITING if wanted.wait else State.PLANNED
        row = (
            guid,
            wanted.kind.value,
            state.value,
            email,
            member_id,
            stored(wanted.changes),
            wanted.reason,
            wanted.cause,
            pass_id,
            wanted.wait.value if wanted.wait else None,
            stamp(wanted.until) if wanted.until else None,
            precondition,
            stamp(seen_at) if seen_at else None,
            stamp(now),
            int(approved),
            stored(before),
        )
        await self._database.execute_many(
            "INSERT INTO action (guid, kind, state, email, member_id, changes, reason, cause, pass_id, ordinal, wait, due, "
            "precondition, seen_at, planned_at, approved, before) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?, ?, ?, ?, ?, ?, ?)",
            [row],
        )

    async def supersede(self, actions: Sequence[Action], now: datetime) -> None:
        if not actions:
            return
        for action in actions:
            check_transition(action.state, State.SUPERSEDED)
        at = stamp(now)
        await self._database.execute_many(
            "UPDATE action SET state = 'superseded', settled_at = ? WHERE id = ?",
            [(at, action.id) for action in actions],
        )

    async def release(self, order: Sequence[tuple[Action, int | None]]) -> None:
        """Lets the applier take these, in this order; each with the id of the action it must come after, or None."""
        for action, _ in order:
            if action.state is not State.PLANNED:
                check_transition(action.state, State.PLANNED)
        await self._database.execute_many(
            "UPDATE action SET state = 'planned', released = 1, ordinal = ?, after_id = ? WHERE id = ?",
            ((rank, after, action.id) for rank, (action, after) in enumerate(order)),
        )

    async def hold(self, actions: Sequence[Action], held: HeldRecord) -> None:
        for action in actions:
            if action.state is not State.HELD:
                check_transition(action.state, State.HELD)
        await self._database.execute_many(
            "UPDATE action SET state = 'held' WHERE id = ?", ((action.id,) for action in actions)
        )
        await self._database.execute(
            # Held again, perhaps long after it was approved: as it is shown now.
            "INSERT INTO held_set VALUES (?, ?, ?, ?, ?, ?, ?, NULL) ON CONFLICT (hash) DO UPDATE SET at = excluded.at, "
            "wanted = excluded.wanted, limit_text = excluded.limit_text, clusters = excluded.clusters, items = excluded.items, "
            "approved_at = NULL",
            _held_row(held),
        )

    async def standing_held_sets(self) -> list[HeldRecord]:
        """The newest set of each kind of which something is still held, and every namesake's claim."""
        rows = await self._database.fetch("SELECT * FROM held_set WHERE approved_at IS NULL ORDER BY at DESC")
        held = {
            (row[0], row[1])
            for row in await self._database.fetch(
                "SELECT CASE WHEN group_guid IN ('', guid) THEN guid ELSE group_guid || '/' || guid END, kind "
                f"FROM action WHERE state = 'held' AND {OPEN}"
            )
        }
        newest: dict[tuple[str, str], HeldRecord] = {}
        for row in rows:
            one = _held_of(row)
            if one.kind == HELD_KIND:
                newest[(one.kind, one.hash)] = one
            elif held.intersection(one.items):
                # Of memberships each group may be held by itself.
                groups = {item.partition("/")[0] for item, _ in one.items if "/" in item}
                newest.setdefault((one.kind, groups.pop() if len(groups) == 1 else ""), one)
        return list(newest.values())

    async def held_set(self, prefix: str) -> list[HeldRecord]:
        rows = await self._database.fetch(
            "SELECT * FROM held_set WHERE substr(hash, 1, ?) = ?", (len(prefix), prefix)
        )
        return [_held_of(row) for row in rows]

    async def approve(self, held: HeldRecord, now: datetime) -> int:
        """Marks those of the set that are still held; returns how many. The next release lets them pass.

        What was decided after the set was last shown is another action, also where person and kind are the same.
        """
        count = 0
        for item, kind in held.items:
            group, _, guid = item.rpartition("/")
            count += await self._database.execute(
                "UPDATE action SET approved = 1 WHERE guid = ? AND group_guid IN ('', ?) AND kind = ? AND state = 'held' "
                "AND planned_at <= ?",
                (guid, group or guid, kind, stamp(held.at)),
            )
        await self._database.execute(
            "UPDATE held_set SET approved_at = ? WHERE hash = ?", (stamp(now), held.hash)
        )
        return count

    async def claims(self) -> list[HeldRecord]:
        """Of namesakes on accounts, those that wait for an approval and those that have it; the oldest first."""
        rows = await self._database.fetch(
            "SELECT * FROM held_set WHERE kind = ? ORDER BY at, hash", (HELD_KIND,)
        )
        return [_held_of(row) for row in rows]

    async def offer(self, claim: HeldRecord) -> None:
        """Shows a namesake's claim; one that stands already stays as it is, with its approval."""
        await self._database.execute(
            "INSERT OR IGNORE INTO held_set VALUES (?, ?, ?, ?, ?, ?, ?, NULL)", _held_row(claim)
        )

    async def withdraw(self, hashes: Iterable[str]) -> None:
        """Claims that no longer hold, or are met: their approval is void."""
        await self._database.execute_many(
            "DELETE FROM held_set WHERE hash = ? AND kind = ?", ((one, HELD_KIND) for one in hashes)
        )

    async def counts_done_since(self, since: datetime) -> Mapping[str, int]:
        """Actions that were settled as done since the pass began, by kind."""
        rows = await self._database.fetch(
            "SELECT kind, count(*) AS number FROM action WHERE state = 'done' AND settled_at >= ? GROUP BY kind",
            (stamp(since),),
        )
        return {row["kind"]: row["number"] for row in rows}


def _held_row(held: HeldRecord) -> tuple[str | int, ...]:
    return (
        held.hash,
        held.kind,
        stamp(held.at),
        held.wanted,
        held.limit_text,
        dump(held.clusters),
        dump(held.items),
    )


def _held_of(row: Row) -> HeldRecord:
    return HeldRecord(
        hash=row["hash"],
        kind=row["kind"],
        at=datetime.fromisoformat(row["at"]),
        wanted=row["wanted"],
        limit_text=row["limit_text"],
        clusters=tuple((text, number) for text, number in json.loads(row["clusters"])),
        items=tuple((guid, kind) for guid, kind in json.loads(row["items"])),
        approved_at=moment(row["approved_at"]),
    )

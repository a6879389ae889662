"""The outbox: intended writes and their states. Which state may follow which stands in core/transitions.py."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime

from pipeline.core.transitions import check_transition
from pipeline.model import Action, ActionKind, Profile, State, WaitFor, Wanted
from pipeline.records import HeldRecord
from state.database import Database, Row, dump, moment, stamp
from state.mirror import chunks, marks

OPEN = "state NOT IN ('done', 'superseded')"


def action_of(row: Row) -> Action:
    return Action(
        id=row["id"],
        guid=row["guid"],
        kind=ActionKind(row["kind"]),
        state=State(row["state"]),
        email=row["email"],
        member_id=row["member_id"],
        changes=Profile(**json.loads(row["changes"])),
        reason=row["reason"],
        cause=row["cause"],
        pass_id=row["pass_id"],
        ordinal=row["ordinal"],
        attempts=row["attempts"],
        approved=bool(row["approved"]),
        wait=WaitFor(row["wait"]) if row["wait"] else None,
        due=moment(row["due"]),
        job_id=row["job_id"],
        precondition=row["precondition"],
        before=Profile(**json.loads(row["before"])),
        error=row["error"],
        hint=row["hint"],
        seen_at=moment(row["seen_at"]),
        planned_at=moment(row["planned_at"]),
        sent_at=moment(row["sent_at"]),
        settled_at=moment(row["settled_at"]),
    )


class Outbox:
    def __init__(self, database: Database) -> None:
        self._database = database

    # --- reading

    async def open_of(self, guids: Iterable[str]) -> dict[str, list[Action]]:
        found: dict[str, list[Action]] = {}
        for part in chunks(guids):
            rows = await self._database.fetch(
                f"SELECT * FROM action WHERE guid IN ({marks(len(part))}) AND {OPEN} ORDER BY guid, id", part
            )
            for row in rows:
                found.setdefault(row["guid"], []).append(action_of(row))
        return found

    async def in_state(self, *states: State, wait: WaitFor | None = None) -> list[Action]:
        values: list[str] = [state.value for state in states]
        statement = f"SELECT * FROM action WHERE state IN ({marks(len(states))})"
        if wait is not None:
            statement += " AND wait = ?"
            values.append(wait.value)
        return [action_of(row) for row in await self._database.fetch(statement + " ORDER BY id", values)]

    async def unreleased(self) -> list[Action]:
        """What the brake has to judge: planned and not yet released, and what it holds."""
        rows = await self._database.fetch(
            "SELECT * FROM action WHERE (state = 'planned' AND released = 0) OR state = 'held' ORDER BY id"
        )
        return [action_of(row) for row in rows]

    async def sent_since(self, since: datetime, kinds: Iterable[ActionKind]) -> list[Action]:
        """What was sent (approved ones aside) of these kinds: the brake's window."""
        names = [kind.value for kind in kinds]
        rows = await self._database.fetch(
            f"SELECT * FROM action WHERE sent_at >= ? AND approved = 0 AND kind IN ({marks(len(names))}) "
            "AND state IN ('sending', 'done', 'retry', 'planned')",
            [stamp(since), *names],
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
                "SELECT min(due) FROM action WHERE state IN ('retry', 'waiting') AND due IS NOT NULL"
            )
        )

    async def oldest_unsettled(self) -> datetime | None:
        """When the oldest change was seen whose action is neither done nor legitimately waiting."""
        return moment(
            await self._database.value(
                "SELECT min(seen_at) FROM action WHERE state IN ('planned', 'sending', 'retry') AND seen_at <> ''"
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
    ) -> int:
        state = State.WAITING if wanted.wait else State.PLANNED
        return await self._database.insert(
            "INSERT INTO action (guid, kind, state, email, member_id, changes, reason, cause, pass_id, ordinal, wait, due, "
            "precondition, seen_at, planned_at, approved, before) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?, ?, ?, ?, ?, ?, ?)",
            (
                guid,
                wanted.kind.value,
                state.value,
                email,
                member_id,
                _stored(wanted.changes),
                wanted.reason,
                wanted.cause,
                pass_id,
                wanted.wait.value if wanted.wait else None,
                stamp(wanted.until) if wanted.until else None,
                precondition,
                stamp(seen_at) if seen_at else None,
                stamp(now),
                int(approved),
                _stored(before),
            ),
        )

    async def supersede(self, actions: Sequence[Action], now: datetime) -> None:
        for action in actions:
            check_transition(action.state, State.SUPERSEDED)
        await self._database.execute_many(
            "UPDATE action SET state = 'superseded', settled_at = ? WHERE id = ?",
            ((stamp(now), action.id) for action in actions),
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
            "INSERT OR IGNORE INTO held_set VALUES (?, ?, ?, ?, ?, ?, ?, NULL)",
            (
                held.hash,
                held.kind,
                stamp(held.at),
                held.wanted,
                held.limit_text,
                dump(held.clusters),
                dump(held.items),
            ),
        )

    async def standing_held_sets(self) -> list[HeldRecord]:
        """The newest set of each kind of which something is still held."""
        rows = await self._database.fetch("SELECT * FROM held_set WHERE approved_at IS NULL ORDER BY at DESC")
        held = {
            (row[0], row[1])
            for row in await self._database.fetch("SELECT guid, kind FROM action WHERE state = 'held'")
        }
        newest: dict[str, HeldRecord] = {}
        for row in rows:
            one = _held_of(row)
            if held.intersection(one.items):
                newest.setdefault(one.kind, one)
        return list(newest.values())

    async def held_set(self, prefix: str) -> list[HeldRecord]:
        rows = await self._database.fetch(
            "SELECT * FROM held_set WHERE substr(hash, 1, ?) = ?", (len(prefix), prefix)
        )
        return [_held_of(row) for row in rows]

    async def approve(self, held: HeldRecord, now: datetime) -> int:
        """Marks those of the set that are still held; returns how many. The next release lets them pass."""
        count = 0
        for guid, kind in held.items:
            count += await self._database.execute(
                "UPDATE action SET approved = 1 WHERE guid = ? AND kind = ? AND state = 'held'", (guid, kind)
            )
        await self._database.execute(
            "UPDATE held_set SET approved_at = ? WHERE hash = ?", (stamp(now), held.hash)
        )
        return count

    # --- applying

    async def claimable(
        self, limit: int, *, without: frozenset[ActionKind] = frozenset(), only: frozenset[str] | None = None
    ) -> list[Action]:
        """Released actions whose turn it is: nothing earlier open for the person, nothing that must come first,

        and no seat taken while an action that frees one is under way. Kinds in `without` are left out; `only` names the
        persons it may be about.
        """
        barred = sorted(kind.value for kind in without)
        among = None if only is None else dump(sorted(only))
        rows = await self._database.fetch(
            "SELECT a.* FROM action AS a WHERE a.state = 'planned' AND a.released = 1 "
            f"AND a.kind NOT IN ({marks(len(barred))}) "
            "AND (? IS NULL OR a.guid IN (SELECT value FROM json_each(?))) "
            "AND NOT EXISTS (SELECT 1 FROM action AS b WHERE b.guid = a.guid AND b.id < a.id "
            "    AND b.state IN ('planned', 'sending', 'waiting', 'retry', 'held')) "
            "AND (a.after_id IS NULL OR NOT EXISTS (SELECT 1 FROM action AS c WHERE c.id = a.after_id AND c.state IN ('planned', 'sending'))) "
            "AND (a.kind NOT IN ('invite', 'recover') OR NOT EXISTS (SELECT 1 FROM action AS d "
            "    WHERE d.state IN ('planned', 'sending') AND d.released = 1 AND d.kind IN ('remove', 'revoke_invite'))) "
            "ORDER BY a.ordinal, a.id LIMIT ?",
            [*barred, among, among, limit],
        )
        return [action_of(row) for row in rows]

    async def mark_sending(self, actions: Sequence[Action], now: datetime) -> None:
        for action in actions:
            check_transition(action.state, State.SENDING)
        await self._database.execute_many(
            "UPDATE action SET state = 'sending', sent_at = ?, attempts = attempts + 1 WHERE id = ?",
            ((stamp(now), action.id) for action in actions),
        )

    async def note_job(self, actions: Sequence[Action], job_id: str) -> None:
        await self._database.execute_many(
            "UPDATE action SET job_id = ? WHERE id = ?", ((job_id, action.id) for action in actions)
        )

    async def settle(
        self,
        action: Action,
        state: State,
        now: datetime,
        *,
        error: str = "",
        hint: str = "",
        due: datetime | None = None,
        wait: WaitFor | None = None,
        member_id: str = "",
    ) -> None:
        check_transition(action.state, state)
        await self._database.execute(
            "UPDATE action SET state = ?, error = ?, hint = ?, due = ?, wait = ?, settled_at = ?, "
            "member_id = CASE WHEN ? = '' THEN member_id ELSE ? END WHERE id = ?",
            (
                state.value,
                error,
                hint,
                stamp(due) if due else None,
                wait.value if wait else None,
                stamp(now) if state is State.DONE else None,
                member_id,
                member_id,
                action.id,
            ),
        )

    async def later_siblings(self, action: Action) -> list[Action]:
        rows = await self._database.fetch(
            "SELECT * FROM action WHERE guid = ? AND id > ? AND state IN ('planned', 'waiting', 'held', 'retry')",
            (action.guid, action.id),
        )
        return [action_of(row) for row in rows]

    async def wake_retries(
        self, now: datetime, *, guids: Sequence[str] | None = None, failed: bool = False
    ) -> int:
        """`retry` actions whose time has come become planned; with `guids` or `failed`, those asked for now."""
        states = "('retry', 'failed')" if failed else "('retry')"
        if guids is None:
            return await self._database.execute(
                f"UPDATE action SET state = 'planned', due = NULL WHERE state IN {states} AND (? OR due IS NULL OR due <= ?)",
                (int(failed), stamp(now)),
            )
        count = 0
        for part in chunks(guids):
            count += await self._database.execute(
                f"UPDATE action SET state = 'planned', due = NULL WHERE state IN {states} AND guid IN ({marks(len(part))})",
                part,
            )
        return count

    async def give_seats(self, free: int) -> int:
        """People who wait for a seat, oldest wish first."""
        return await self._database.execute(
            "UPDATE action SET state = 'planned', wait = NULL, due = NULL WHERE id IN (SELECT id FROM action "
            "WHERE state = 'waiting' AND wait = 'seat' ORDER BY seen_at, id LIMIT ?)",
            (max(0, free),),
        )

    async def counts_done_since(self, since: datetime) -> Mapping[str, int]:
        """Actions that were settled as done since the pass began, by kind."""
        rows = await self._database.fetch(
            "SELECT kind, count(*) AS number FROM action WHERE state = 'done' AND settled_at >= ? GROUP BY kind",
            (stamp(since),),
        )
        return {row["kind"]: row["number"] for row in rows}


def _stored(profile: Profile) -> str:
    return dump({key: value for key, value in asdict(profile).items() if value})


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

"""Actions on their way: which may leave, what was sent, what became of it. The other half of the outbox."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any

from pipeline.core.transitions import check_transition
from pipeline.model import Action, ActionKind, Profile, State, WaitFor
from pipeline.records import Settlement
from state.database import Database, dump, moment, stamp
from state.mirror import chunks, marks

OPEN = "state NOT IN ('done', 'superseded')"


_NOTHING = Profile()


_FIELDS = tuple(field.name for field in fields(Profile))


def _profile(text: str) -> Profile:
    return _NOTHING if text == "{}" else Profile(**json.loads(text))


def stored(profile: Profile) -> str:
    if profile == _NOTHING:
        return "{}"
    return dump({name: value for name in _FIELDS if (value := getattr(profile, name))})


_KINDS = {kind.value: kind for kind in ActionKind}
_STATES = {state.value: state for state in State}
_WAITS = {wait.value: wait for wait in WaitFor}


def action_of(row: Sequence[Any]) -> Action:
    """Of a whole row of the table `action`, in the order of its columns."""
    (
        identity,
        guid,
        kind,
        state,
        email,
        member_id,
        changes,
        reason,
        cause,
        pass_id,
        ordinal,
        _released,
        approved,
        _after_id,
        attempts,
        wait,
        due,
        job_id,
        precondition,
        before,
        error,
        hint,
        seen_at,
        planned_at,
        sent_at,
        settled_at,
        group_guid,
        group_id,
        group_name,
    ) = row
    return Action(
        id=identity,
        guid=guid,
        kind=_KINDS[kind],
        state=_STATES[state],
        email=email,
        member_id=member_id,
        changes=_profile(changes),
        reason=reason,
        cause=cause,
        pass_id=pass_id,
        ordinal=ordinal,
        attempts=attempts,
        approved=approved == 1,
        wait=_WAITS[wait] if wait else None,
        due=due and moment(due),
        job_id=job_id,
        precondition=precondition,
        before=_profile(before),
        error=error,
        hint=hint,
        seen_at=seen_at and moment(seen_at),
        planned_at=moment(planned_at),
        sent_at=sent_at and moment(sent_at),
        settled_at=settled_at and moment(settled_at),
        group_guid=group_guid,
        group_id=group_id,
        group_name=group_name,
    )


class Dispatch:
    def __init__(self, database: Database) -> None:
        self._database = database

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
            "SELECT a.* FROM action AS a WHERE a.state = 'planned' AND a.released = 1 AND a.group_guid = '' "
            f"AND a.kind NOT IN ({marks(len(barred))}) "
            "AND (? IS NULL OR a.guid IN (SELECT value FROM json_each(?))) "
            "AND NOT EXISTS (SELECT 1 FROM action AS b WHERE b.guid = a.guid AND b.group_guid = '' AND b.id < a.id "
            "    AND b.state IN ('planned', 'sending', 'waiting', 'retry', 'held')) "
            "AND (a.after_id IS NULL OR NOT EXISTS (SELECT 1 FROM action AS c WHERE c.id = a.after_id AND c.state IN ('planned', 'sending', 'retry', 'held'))) "
            "AND (a.kind NOT IN ('invite', 'recover') OR NOT EXISTS (SELECT 1 FROM action AS d "
            f"    WHERE d.state IN ('planned', 'sending') AND d.{OPEN} AND d.released = 1 AND d.kind IN ('remove', 'revoke_invite'))) "
            "ORDER BY a.ordinal, a.id LIMIT ?",
            [*barred, among, among, limit],
        )
        return [action_of(row) for row in rows]

    async def count_released(self, most: int) -> int:
        """Up to `most` of the released actions that have not left yet, whether it is their turn or not."""
        statement = "SELECT count(*) FROM (SELECT 1 FROM action WHERE state = 'planned' AND released = 1 AND group_guid = '' LIMIT ?)"
        return int(await self._database.value(statement, (most,)))

    async def mark_sending(self, actions: Sequence[Action], now: datetime) -> None:
        if not actions:
            return
        for action in actions:
            check_transition(action.state, State.SENDING)
        at = stamp(now)
        await self._database.execute_many(
            "UPDATE action SET state = 'sending', sent_at = ?, attempts = attempts + 1 WHERE id = ?",
            [(at, action.id) for action in actions],
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
        await self.settle_all(
            [
                Settlement(
                    action=action,
                    state=state,
                    error=error,
                    hint=hint,
                    due=due,
                    wait=wait,
                    member_id=member_id,
                )
            ],
            now,
        )

    async def settle_all(self, settlements: Sequence[Settlement], now: datetime) -> None:
        if not settlements:
            return
        for one in settlements:
            check_transition(one.was or one.action.state, one.state)
        at = stamp(now)
        await self._database.execute_many(
            "UPDATE action SET state = ?, error = ?, hint = ?, due = ?, wait = ?, settled_at = ?, job_id = ?, "
            "changes = coalesce(?, changes), member_id = CASE WHEN ? = '' THEN member_id ELSE ? END WHERE id = ?",
            [
                (
                    one.state.value,
                    one.error,
                    one.hint,
                    stamp(one.due) if one.due else None,
                    one.wait.value if one.wait else None,
                    at if one.state is State.DONE else None,
                    one.job_id,
                    None if one.changes is None else stored(one.changes),
                    one.member_id,
                    one.member_id,
                    one.action.id,
                )
                for one in settlements
            ],
        )

    async def later_siblings(self, action: Action) -> list[Action]:
        rows = await self._database.fetch(
            "SELECT * FROM action WHERE guid = ? AND group_guid = '' AND id > ? AND state IN ('planned', 'waiting', 'held', 'retry')",
            (action.guid, action.id),
        )
        return [action_of(row) for row in rows]

    async def wake_retries(
        self, now: datetime, *, guids: Sequence[str] | None = None, failed: bool = False
    ) -> int:
        """`retry` actions whose time has come become planned; with `guids` or `failed`, those asked for now.

        The brake judges them again: failed ones are not counted while they stand, and might come back all at once.
        """
        states = "('retry', 'failed')" if failed else "('retry')"
        if guids is None:
            # A read is cheap, and there is mostly nothing to wake.
            due = f"state IN {states} AND {OPEN} AND (? OR due IS NULL OR due <= ?)"
            values = (int(failed), stamp(now))
            if not await self._database.value(f"SELECT 1 FROM action WHERE {due} LIMIT 1", values):
                return 0
            return await self._database.execute(
                f"UPDATE action SET state = 'planned', released = 0, due = NULL WHERE {due}", values
            )
        count = 0
        for part in chunks(guids):
            count += await self._database.execute(
                f"UPDATE action SET state = 'planned', released = 0, due = NULL WHERE state IN {states} AND guid IN ({marks(len(part))})",
                part,
            )
        return count

    async def give_seats(self, free: int) -> int:
        """People who wait for a seat, oldest wish first."""
        waiting = await self._database.fetch(
            f"SELECT id FROM action WHERE state = 'waiting' AND {OPEN} AND wait = 'seat' ORDER BY seen_at, id LIMIT ?",
            (max(0, free),),
        )
        await self._database.execute_many(
            "UPDATE action SET state = 'planned', released = 0, wait = NULL, due = NULL WHERE id = ?",
            [(row[0],) for row in waiting],
        )
        return len(waiting)

"""When the computer's clock was set back, moments in the journal lie in the future: they are brought to now.

Else a leaver would settle for a year, a retry would wait as long, and no comparison would be due until then.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from state.database import Database, stamp

TOLERANCE = timedelta(minutes=1)
"""Clocks are corrected by seconds all the time; nothing waits wrongly for so little."""

_BROUGHT_TO_NOW = (
    ("node", "left_at", ""),
    ("node", "deleted_at", ""),
    ("dirty", "seen_at", ""),
    ("timer", "due", ""),  # whatever it was for is looked at now, and sets its time anew
    ("action", "due", "AND state = 'retry'"),
    ("action", "seen_at", ""),
    ("action", "planned_at", ""),
    ("action", "sent_at", ""),  # the brake's window would count it until then
    ("held_set", "at", ""),
    ("alert", "first_at", ""),
    ("alert", "last_seen_at", ""),
    ("alert", "last_sent_at", ""),
    ("mail", "due", "AND sent_at IS NULL"),
)


_LATEST = (
    "SELECT max(coalesce((SELECT at FROM log ORDER BY seq DESC LIMIT 1), ''), "
    "coalesce((SELECT started FROM pass ORDER BY id DESC LIMIT 1), ''))"
)


async def bring_to_now(database: Database, now: datetime) -> str:
    """Inside a transaction, at the beginning of a pass. Returns the time that the clock had shown, "" if all is well.

    Who waits for a moment is decided about again, and the team is compared in full.
    """
    latest: str = await database.value(_LATEST)
    if latest <= stamp(now + TOLERANCE):
        return ""
    at = stamp(now)
    await database.execute(
        "INSERT INTO dirty SELECT DISTINCT guid, 1, 'timer', ? FROM action WHERE state = 'waiting' AND group_guid = '' AND due > ? "
        "ON CONFLICT (guid) DO UPDATE SET mark = mark + 1",
        (at, at),
    )
    for table, column, condition in _BROUGHT_TO_NOW:
        await database.execute(f"UPDATE {table} SET {column} = ? WHERE {column} > ? {condition}", (at, at))
    await database.execute("DELETE FROM meta WHERE key IN ('compared_at', 'groups_compared_at')")
    await database.execute("DELETE FROM meta WHERE key LIKE '%_since' AND value > ?", (now.isoformat(),))
    return latest

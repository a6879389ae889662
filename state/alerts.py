"""Alerts and mails in the journal: a mail server that is down loses none."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

from pipeline.core.alerting import Known
from pipeline.model import Alert, Json, Severity
from pipeline.records import MailRecord
from state.database import Database, dump, moment, stamp


@dataclass(frozen=True, slots=True, kw_only=True)
class _Unsent:
    """A mail not yet delivered, as the journal has it. `due` is a stamp."""

    id: int
    message_id: str
    alerts: list[Json]
    over: list[Json]
    simulated: bool
    attempts: int
    due: str

    @property
    def causes(self) -> set[str]:
        """What it alerts of."""
        return {one["key"] for one in self.alerts}


class Alerts:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def known(self) -> list[Known]:
        rows = await self._database.fetch("SELECT * FROM alert ORDER BY first_at, key")
        return [
            Known(
                alert=Alert(
                    key=row["key"],
                    severity=Severity(row["severity"]),
                    title=row["title"],
                    lines=tuple(json.loads(row["lines"])),
                    remedy=row["remedy"],
                    fingerprint=row["fingerprint"],
                ),
                first_at=datetime.fromisoformat(row["first_at"]),
                last_seen_at=datetime.fromisoformat(row["last_seen_at"]),
                last_sent_at=moment(row["last_sent_at"]),
                count=row["count"],
                is_open=bool(row["is_open"]),
            )
            for row in rows
        ]

    async def remember(self, rows: Sequence[Known]) -> None:
        await self._database.execute_many(
            "INSERT OR REPLACE INTO alert VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                (
                    row.alert.key,
                    row.alert.fingerprint,
                    row.alert.severity.value,
                    row.alert.title,
                    dump(list(row.alert.lines)),
                    row.alert.remedy,
                    stamp(row.first_at),
                    stamp(row.last_seen_at),
                    stamp(row.last_sent_at) if row.last_sent_at else None,
                    row.count,
                    int(row.is_open),
                )
                for row in rows
            ),
        )

    async def queue_mail(
        self,
        message_id: str,
        alerts: Sequence[Alert],
        over: Sequence[Alert],
        now: datetime,
        *,
        simulated: bool,
    ) -> None:
        await self._database.execute(
            "INSERT OR IGNORE INTO mail (message_id, alerts, over, simulated, due) VALUES (?, ?, ?, ?, ?)",
            (
                message_id,
                dump([asdict(alert) for alert in alerts]),
                dump([{"key": alert.key, "title": alert.title} for alert in over]),
                int(simulated),
                stamp(now),
            ),
        )

    async def withdraw_over(self, causes: Collection[str]) -> None:
        """Mails not yet delivered no longer say that these causes are over; one that says nothing else is gone."""
        for mail in await self._unsent():
            left = [one for one in mail.over if one["key"] not in causes]
            if len(left) == len(mail.over):
                continue
            if left or mail.alerts:
                await self._database.execute("UPDATE mail SET over = ? WHERE id = ?", (dump(left), mail.id))
            else:
                await self._database.execute("DELETE FROM mail WHERE id = ?", (mail.id,))

    async def hasten(self, causes: Collection[str], now: datetime) -> set[str]:
        """Mails not yet delivered that alert of one of these causes are due now; which causes that are."""
        found: set[str] = set()
        for mail in await self._unsent():
            if about := mail.causes & set(causes):
                found |= about
                await self._database.execute(
                    "UPDATE mail SET due = min(due, ?) WHERE id = ?", (stamp(now), mail.id)
                )
        return found

    async def due_mails(self, now: datetime | None) -> list[MailRecord]:
        """Those whose time has come (None: whatever waits), in the order in which they have to be sent: one that says that
        something is over comes after, or waits for, the alerts of it.
        """
        due: list[MailRecord] = []
        put_off: set[str] = set()  # causes of which an earlier mail alerts whose time has not come
        for mail in await self._unsent():
            in_back_off = now is not None and mail.due > stamp(now)
            if in_back_off or not put_off.isdisjoint(one["key"] for one in mail.over):
                put_off |= mail.causes
                continue
            due.append(
                MailRecord(
                    id=mail.id,
                    message_id=mail.message_id,
                    alerts=tuple(_alert_of(one) for one in mail.alerts),
                    over=tuple(one["title"] for one in mail.over),
                    simulated=mail.simulated,
                    attempts=mail.attempts,
                )
            )
        return due

    async def _unsent(self) -> list[_Unsent]:
        # The plus keeps SQLite to the index of the unsent ones: by id it would look through all that were ever sent.
        rows = await self._database.fetch("SELECT * FROM mail WHERE sent_at IS NULL ORDER BY +id")
        return [
            _Unsent(
                id=row["id"],
                message_id=row["message_id"],
                alerts=json.loads(row["alerts"]),
                # Earlier versions kept the titles alone.
                over=[
                    one if isinstance(one, dict) else {"key": "", "title": one}
                    for one in json.loads(row["over"])
                ],
                simulated=bool(row["simulated"]),
                attempts=row["attempts"],
                due=row["due"],
            )
            for row in rows
        ]

    async def mail_sent(self, mail_id: int, now: datetime) -> None:
        await self._database.execute(
            "UPDATE mail SET sent_at = ?, error = '' WHERE id = ?", (stamp(now), mail_id)
        )

    async def mail_failed(self, mail_id: int, error: str, due: datetime) -> None:
        await self._database.execute(
            "UPDATE mail SET attempts = attempts + 1, error = ?, due = ? WHERE id = ?",
            (error, stamp(due), mail_id),
        )

    async def unsent_mails(self) -> int:
        return int(await self._database.value("SELECT count(*) FROM mail WHERE sent_at IS NULL") or 0)


def _alert_of(stored: Json) -> Alert:
    return Alert(**{**stored, "severity": Severity(stored["severity"]), "lines": tuple(stored["lines"])})

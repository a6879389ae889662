"""Alerts and mails in the journal: a mail server that is down loses none."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime

from pipeline.core.alerting import Known
from pipeline.model import Alert, Json, Severity
from pipeline.records import MailRecord
from state.database import Database, dump, moment, stamp


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
        self, message_id: str, alerts: Sequence[Alert], over: Sequence[str], now: datetime, *, simulated: bool
    ) -> None:
        await self._database.execute(
            "INSERT OR IGNORE INTO mail (message_id, alerts, over, simulated, due) VALUES (?, ?, ?, ?, ?)",
            (
                message_id,
                dump([asdict(alert) for alert in alerts]),
                dump(list(over)),
                int(simulated),
                stamp(now),
            ),
        )

    async def due_mails(self, now: datetime) -> list[MailRecord]:
        rows = await self._database.fetch(
            "SELECT * FROM mail WHERE sent_at IS NULL AND due <= ? ORDER BY id", (stamp(now),)
        )
        return [
            MailRecord(
                id=row["id"],
                message_id=row["message_id"],
                alerts=tuple(_alert_of(one) for one in json.loads(row["alerts"])),
                over=tuple(json.loads(row["over"])),
                simulated=bool(row["simulated"]),
                attempts=row["attempts"],
            )
            for row in rows
        ]

    async def next_mail_due(self) -> datetime | None:
        return moment(await self._database.value("SELECT min(due) FROM mail WHERE sent_at IS NULL"))

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

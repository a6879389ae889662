"""Alerts and mails in the journal: a mail server that is down loses none."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime

from pipeline.model import Alert
from pipeline.records import AlertRecord, MailRecord
from state.database import Database, dump, moment, stamp


class Alerts:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def known(self) -> list[AlertRecord]:
        rows = await self._database.fetch("SELECT * FROM alert WHERE is_open = 1 ORDER BY first_at, key")
        return [
            AlertRecord(
                key=row["key"],
                fingerprint=row["fingerprint"],
                severity=row["severity"],
                title=row["title"],
                lines=tuple(json.loads(row["lines"])),
                remedy=row["remedy"],
                first_at=datetime.fromisoformat(row["first_at"]),
                last_seen_at=datetime.fromisoformat(row["last_seen_at"]),
                last_sent_at=moment(row["last_sent_at"]),
                count=row["count"],
                is_open=bool(row["is_open"]),
            )
            for row in rows
        ]

    async def remember(self, alert: Alert, now: datetime, *, sent: bool) -> None:
        text = stamp(now)
        await self._database.execute(
            "INSERT INTO alert VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 1, 1) ON CONFLICT (key) DO UPDATE SET "
            "first_at = CASE WHEN is_open THEN first_at ELSE excluded.first_at END, "
            "count = CASE WHEN is_open THEN count + 1 ELSE 1 END, fingerprint = excluded.fingerprint, "
            "severity = excluded.severity, title = excluded.title, lines = excluded.lines, remedy = excluded.remedy, "
            "last_seen_at = excluded.last_seen_at, last_sent_at = coalesce(excluded.last_sent_at, last_sent_at), is_open = 1",
            (
                alert.key,
                alert.fingerprint,
                alert.severity.value,
                alert.title,
                dump(alert.lines),
                alert.remedy,
                text,
                text,
                text if sent else None,
            ),
        )

    async def close(self, keys: Sequence[str]) -> None:
        await self._database.execute_many(
            "UPDATE alert SET is_open = 0 WHERE key = ?", ((key,) for key in keys)
        )

    async def queue_mail(
        self, message_id: str, alerts: str, over: Sequence[str], now: datetime, *, simulated: bool
    ) -> None:
        await self._database.execute(
            "INSERT OR IGNORE INTO mail (message_id, alerts, over, simulated, due) VALUES (?, ?, ?, ?, ?)",
            (message_id, alerts, dump(list(over)), int(simulated), stamp(now)),
        )

    async def due_mails(self, now: datetime) -> list[MailRecord]:
        rows = await self._database.fetch(
            "SELECT * FROM mail WHERE sent_at IS NULL AND due <= ? ORDER BY id", (stamp(now),)
        )
        return [
            MailRecord(
                id=row["id"],
                message_id=row["message_id"],
                alerts=row["alerts"],
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

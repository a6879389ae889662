"""The double of the Mailer port: it writes the real letter and keeps it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import EmailMessage

from pipeline.errors import MailError
from pipeline.model import Alert, Finding
from stages.mail.letter import compose


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """One mail as it was asked for, and as it would have been read."""

    alerts: tuple[Alert, ...]
    over: tuple[str, ...]
    simulated: bool
    message_id: str
    message: EmailMessage


class MemoryMailer:
    """`failure`, while set, is raised by every `send`, and nothing is kept."""

    def __init__(
        self,
        *,
        sender: str = "connector@example.test",
        recipients: Sequence[str] = ("admin@example.test",),
        at: datetime = datetime(2026, 1, 1, tzinfo=UTC),
    ) -> None:
        self.failure: MailError | None = None
        self.kept: list[Kept] = []
        self._sender = sender
        self._recipients = tuple(recipients)
        self._at = at

    async def send(
        self, alerts: Sequence[Alert], *, message_id: str, simulated: bool, over: Sequence[str] = ()
    ) -> None:
        message = compose(
            alerts,
            over=over,
            simulated=simulated,
            message_id=message_id,
            sender=self._sender,
            recipients=self._recipients,
            host_name="memory.example.test",
            at=self._at,
        )
        if self.failure is not None:
            raise self.failure
        self.kept.append(
            Kept(
                alerts=tuple(alerts),
                over=tuple(over),
                simulated=simulated,
                message_id=message_id,
                message=message,
            )
        )

    async def check(self, *, send_mail: bool) -> Sequence[Finding]:
        if self.failure is not None:
            return [Finding("mail", "connect", "failed", self.failure.cause, self.failure.hint)]
        findings = [Finding("mail", "connect", "ok", "kept in memory")]
        if send_mail:
            findings.append(Finding("mail", "test message", "ok", "kept in memory"))
        return findings

"""The notifier: turns what stands into alerts, queues mails in the journal, and sends what is due."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Sequence
from datetime import datetime, timedelta

from pipeline.core import alerting
from pipeline.core.alerting import AlertKind, Decision
from pipeline.errors import MailError
from pipeline.journal_port import Journal
from pipeline.model import Alert
from pipeline.ports import Clock, Mailer
from stages.mail.refusal import PartlyDelivered

FIRST_DELAY_SECONDS = 5.0
LONGEST_DELAY_SECONDS = 900.0
REFUSED_DELAY_SECONDS = 3600.0
"""After a permanent refusal: asking again and again with a wrong password locks accounts."""


class Notifier:
    """`mailer` None: alerts are judged and kept, nothing is mailed (`mail.enabled = false`)."""

    def __init__(
        self,
        mailer: Mailer | None,
        journal: Journal,
        clock: Clock,
        *,
        repeat_hours: float,
        settle_seconds: float = 0,
        host_name: str,
        log: Callable[[str, str], None],
    ) -> None:
        self._mailer = mailer
        self._journal = journal
        self._clock = clock
        self._repeat_hours = repeat_hours
        self._settle_seconds = settle_seconds
        self._host_name = host_name
        self._log = log

    async def judge(
        self, standing: Sequence[Alert], *, judged: Collection[AlertKind] | None, simulated: bool
    ) -> int:
        """Decides what to mail about what stands, and queues it; returns how many alerts are to be sent now."""
        now = self._clock.now()
        async with self._journal.transaction():
            decision = alerting.decide(
                standing,
                await self._journal.alerts.known(),
                now=now,
                repeat_hours=self._repeat_hours,
                judged=judged,
            )
            await self._journal.alerts.remember(decision.known)
            await self._journal.append(
                (
                    {
                        "kind": "alert",
                        "cause": alert.key,
                        "state": alert.severity.value,
                        "detail": {"title": alert.title},
                    }
                    for alert in decision.send
                ),
                now,
            )
            if decision.is_mail_due and self._mailer is not None:
                await self._queue(decision, now, simulated=simulated)
        return len(decision.send)

    async def _queue(self, decision: Decision, now: datetime, *, simulated: bool) -> None:
        """Inside a transaction. Of two mails about one cause the later one must not arrive first."""
        alerts = self._journal.alerts
        # Not told by now, and no longer true.
        await alerts.withdraw_over({alert.key for alert in decision.send})
        untold = await alerts.hasten({alert.key for alert in decision.over}, now)
        told = [alert for alert in decision.over if alert.key not in untold]
        waiting = [alert for alert in decision.over if alert.key in untold]
        # What has to wait for another mail has one of its own: nothing else waits with it.
        for send, over in ((decision.send, told), ((), waiting)):
            if send or over:
                message_id = f"<{uuid.uuid4()}@{self._host_name}>"
                await alerts.queue_mail(message_id, send, over, now, simulated=simulated)

    async def send_due(self, *, all_waiting: bool = False) -> int:
        """Sends the mails whose time has come. A mail server that is down stops nothing: they stay in the journal.

        `all_waiting`: those in back-off too. A pass that ends has one chance, and the admin may have started it just
        because the mail server is back; one refusal still ends the attempt.
        """
        if self._mailer is None:
            return 0
        async with self._journal.reading():
            mails = await self._journal.alerts.due_mails(None if all_waiting else self._clock.now())
        sent = 0
        for mail in mails:
            try:
                await self._mailer.send(
                    mail.alerts, message_id=mail.message_id, simulated=mail.simulated, over=mail.over
                )
            except MailError as error:
                if isinstance(error, PartlyDelivered) and error.permanent:
                    # The others have it; sent again by another process it would reach them twice.
                    async with self._journal.transaction():
                        await self._journal.alerts.mail_sent(mail.id, self._clock.now())
                    self._log("mail_failed", f"{error}; it is not sent again")
                    continue
                delay = min(LONGEST_DELAY_SECONDS, FIRST_DELAY_SECONDS * 2.0 ** min(mail.attempts, 10))
                if error.permanent:
                    delay = REFUSED_DELAY_SECONDS
                due = self._clock.now() + timedelta(seconds=delay)
                async with self._journal.transaction():
                    await self._journal.alerts.mail_failed(mail.id, error.cause, due)
                self._log("mail_failed", f"{error}; kept in the journal, again in {delay:.0f} s")
                # The server is the same for all: the others wait for their own time.
                break
            async with self._journal.transaction():
                await self._journal.alerts.mail_sent(mail.id, self._clock.now())
            self._log(
                "mail_sent",
                "; ".join(
                    [*(alert.title for alert in mail.alerts), *(f"over: {title}" for title in mail.over)]
                ),
            )
            sent += 1
        return sent

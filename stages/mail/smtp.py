"""The Mailer port over SMTP."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from email.utils import make_msgid

import anyio

from pipeline.errors import MailError
from pipeline.model import Alert, Finding, Severity
from stages.mail.letter import compose, plain_host_name
from stages.mail.options import Encryption, MailOptions
from stages.mail.refusal import recipients_refusal
from stages.mail.session import SmtpSession

_SECTION = "mail"
_REMEMBERED_MAILS = 100


def _utc_now() -> datetime:
    return datetime.now(UTC)


class SmtpMailer:
    """Opens a connection for each mail: alerts are rare, and a server forgets idle ones.

    A mail of which some recipients were refused raises PartlyDelivered. Sent again under the
    same id, it goes only to those who lack it: within this process nobody gets it twice.
    """

    def __init__(
        self, options: MailOptions, host_name: str, *, now: Callable[[], datetime] = _utc_now
    ) -> None:
        self._options = options
        self._host_name = host_name
        self._now = now
        self._accepted: dict[str, frozenset[str]] = {}

    async def send(
        self, alerts: Sequence[Alert], *, message_id: str, simulated: bool, over: Sequence[str] = ()
    ) -> None:
        faults = self._options.faults()
        if faults:
            raise MailError("send a mail", "; ".join(faults), permanent=True)
        message = compose(
            alerts,
            over=over,
            simulated=simulated,
            message_id=message_id,
            sender=self._options.sender,
            recipients=self._options.recipients,
            host_name=self._host_name,
            at=self._now(),
        )
        have_it = self._accepted.get(message_id, frozenset())
        wanted = [address for address in self._options.recipients if address not in have_it]
        session = SmtpSession(self._options, self._host_name)
        try:
            await session.connect()
            await session.secure()
            await session.sign_in()
            refused = await session.deliver(message, wanted)
            # Before the good-bye: a cancellation there must not make us forget who has it.
            have_it |= set(wanted) - set(refused)
            self._remember(message_id, have_it if refused else frozenset())
        finally:
            await _close(session)
        if refused:
            raise recipients_refusal("send a mail", refused, have_it, self._options)

    async def check(self, *, send_mail: bool) -> Sequence[Finding]:
        faults = self._options.faults()
        if faults:
            return [Finding(_SECTION, "settings", "failed", fault, "fix the key") for fault in faults]
        findings: list[Finding] = []
        session = SmtpSession(self._options, self._host_name)
        step = "connect"
        try:
            findings.append(Finding(_SECTION, step, "ok", await session.connect()))
            step = "encryption"
            findings.append(self._encryption(await session.secure()))
            step = "sign-in"
            findings.append(Finding(_SECTION, step, "ok", await session.sign_in()))
        except MailError as error:
            findings.append(_failed(step, error))
            return findings
        finally:
            await _close(session)
        if send_mail:
            findings.append(await self._test_message())
        return findings

    def _encryption(self, detail: str) -> Finding:
        if detail:
            return Finding(_SECTION, "encryption", "ok", detail)
        reason = (
            'mail.security = "none"'
            if self._options.encryption is Encryption.NONE
            else "the server offers no STARTTLS"
        )
        return Finding(
            _SECTION,
            "encryption",
            "warning",
            f"alerts travel unencrypted: {reason}",
            "use port 587 or 465 where the server has them",
        )

    async def _test_message(self) -> Finding:
        recipients = ", ".join(self._options.recipients)
        alert = Alert(
            key="test",
            severity=Severity.NOTICE,
            title="test message",
            lines=("Mail from the connector arrives: this is what an alert looks like.",),
            remedy="nothing; `ad-connector check mail --send-mail` was run",
        )
        message_id = make_msgid(domain=plain_host_name(self._host_name))
        try:
            await self.send([alert], message_id=message_id, simulated=False)
        except MailError as error:
            return _failed("test message", error)
        return Finding(_SECTION, "test message", "ok", f"accepted by the server for {recipients}")

    def _remember(self, message_id: str, accepted: frozenset[str]) -> None:
        self._accepted.pop(message_id, None)
        if accepted:
            self._accepted[message_id] = accepted
        while len(self._accepted) > _REMEMBERED_MAILS:
            del self._accepted[next(iter(self._accepted))]


def _failed(step: str, error: MailError) -> Finding:
    return Finding(_SECTION, step, "failed", f"{error.operation}: {error.cause}", error.hint)


async def _close(session: SmtpSession) -> None:
    # Shielded so that a cancelled send still closes its socket; `close` is bounded by its own time-out.
    with anyio.CancelScope(shield=True):
        await session.close()

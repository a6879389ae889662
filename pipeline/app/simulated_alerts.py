"""Mail about what a simulated pass met, marked as such (behaviour.md §9).

Its journal is a copy that is thrown away, so the mail does not go through it: it is tried once, and a small file beside the
log remembers what was told, as long as it is the same within `mail.repeat_hours`.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from email.utils import make_msgid

import anyio

from config.settings import Settings
from pipeline.app import compose
from pipeline.app.told import Told, repeat_of
from pipeline.core.alerting import fingerprint_of
from pipeline.errors import MailError
from pipeline.model import Alert
from pipeline.ports import Mailer

PATIENCE_SECONDS = 60.0


async def mail_simulated(settings: Settings, alerts: Sequence[Alert], *, mailer: Mailer | None = None) -> str:
    """Mails them if that is news. Answers why it did not arrive; "" when it did, or when there was nothing to tell."""
    mailer = mailer or compose.mailer_of(settings.mail)
    if mailer is None:
        return ""
    told = Told(settings.log.path.with_name(f"{settings.log.path.name}.simulated"))
    with suppress(OSError):
        if not alerts:
            told.forget()
            return ""
        fingerprint = fingerprint_of(*(f"{alert.key} {alert.fingerprint}" for alert in alerts))
        if told.has(fingerprint, repeat_of(settings.mail)):
            return ""
        try:
            with anyio.fail_after(PATIENCE_SECONDS):
                await mailer.send(alerts, message_id=make_msgid(), simulated=True)
        except MailError as error:
            return str(error)
        except TimeoutError:
            return f"sending mail: the mail server did not take it within {PATIENCE_SECONDS:.0f} s"
        told.keep(fingerprint)
    return ""

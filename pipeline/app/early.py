"""Alerts for what ends the program before it has a journal to carry them (-10, -11, -13, -20).

A small file beside the log remembers what was told, so that a scheduled task that fails every hour sends one
mail and not twenty-four.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from email.utils import make_msgid
from pathlib import Path

import anyio

from config.load import load, salvage
from config.sections import LogSettings, Mail
from pipeline.app import compose
from pipeline.app.told import Told, repeat_of
from pipeline.core.causes import ended_alert
from pipeline.core.exits import final_code
from pipeline.errors import ConnectorError
from pipeline.log import Event, logger
from pipeline.model import Alert
from pipeline.ports import Mailer


def mail_early_fault(path: Path | None, environ: Mapping[str, str], error: ConnectorError) -> None:
    """Best effort: what can't be mailed is in the log and on standard error already."""
    with suppress(ConnectorError, OSError):
        mail, log = _sections(path, environ)
        if mail is None or not mail.enabled:
            return
        code = int(final_code(error, held=False, failed=False))
        alert = ended_alert(
            code, operation=error.operation, cause=error.cause, causes=error.causes, remedy=error.hint
        )
        memory = Told(log.path.with_name(f"{log.path.name}.told")) if log is not None else None
        if alert is None or (memory and memory.has(alert.fingerprint, repeat_of(mail))):
            return
        mailer = compose.mailer_of(mail)
        if mailer is None:
            return
        try:
            anyio.run(_send, mailer, alert)
        except ConnectorError as failure:
            logger().warning(Event.ALERT_FAILED, detail=str(failure))
            return
        if memory:
            memory.keep(alert.fingerprint)


def _sections(path: Path | None, environ: Mapping[str, str]) -> tuple[Mail | None, LogSettings | None]:
    try:
        settings = load(path, environ)
    except ConnectorError:
        saved = salvage(path, environ)
        return saved.mail, saved.log
    return settings.mail, settings.log


async def _send(mailer: Mailer, alert: Alert) -> None:
    await mailer.send([alert], message_id=make_msgid(), simulated=False)

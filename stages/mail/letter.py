"""One mail: subject, plain text and HTML, from alerts whose texts nobody has cleaned."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from email.header import Header
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8, EmailPolicy
from email.utils import format_datetime
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from pipeline.core.alerting import by_urgency, see_more
from pipeline.model import Alert, Severity
from stages.mail.wording import header_text, shown

MAX_ALERTS = 25
MAX_LINES = 60
MAX_CHARACTERS = 400
"""Of a line. Together they keep the worst mail at a few megabytes, which mail servers take."""

_SUBJECT_TAG = "[Dropbox AD connector]"
_SUBJECT_TITLE_CHARACTERS = 120
_REMEDY_CHARACTERS = 1000
_LABELS = {Severity.CRITICAL: "CRITICAL", Severity.WARNING: "WARNING", Severity.NOTICE: "NOTICE"}
_COLOURS = {Severity.CRITICAL: "#b3261e", Severity.WARNING: "#9a6700", Severity.NOTICE: "#1e1e1e"}
_MAX_LINE_OCTETS = 990  # RFC 5321 4.5.3.1.6: 1000 with the line's end
_MESSAGE_ID = re.compile(r"<[A-Za-z0-9._+$=-]{1,80}@[A-Za-z0-9.-]{1,80}>")
_HOST_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,78}[A-Za-z0-9])?")


@dataclass(frozen=True, slots=True)
class _Paragraph:
    """An alert as the templates show it: cleaned and cut."""

    label: str
    colour: str
    title: str
    lines: tuple[str, ...]
    remedy: str
    command: str


def compose(
    alerts: Sequence[Alert],
    *,
    over: Sequence[str],
    simulated: bool,
    message_id: str,
    sender: str,
    recipients: Sequence[str],
    host_name: str,
    at: datetime,
) -> EmailMessage:
    """A multipart message in 7-bit encodings. `sender` and `recipients` are plain addresses already checked.

    ValueError when there is neither an alert nor anything over: such a mail says nothing.
    """
    if not alerts and not over:
        raise ValueError("a mail needs an alert or something that is over")
    ordered = by_urgency(alerts)
    host = plain_host_name(host_name)
    content = {
        "alerts": [_paragraph(alert) for alert in ordered[:MAX_ALERTS]],
        "more_alerts": max(0, len(ordered) - MAX_ALERTS),
        "over": _listed(over),
        "simulated": simulated,
        "host_name": host,
    }
    message = EmailMessage(policy=SMTP)
    message["Subject"] = _subject(ordered, over, simulated=simulated)
    message["From"] = f"Dropbox AD connector <{sender}>"
    message["To"] = ", ".join(recipients)
    message["Date"] = format_datetime(at)
    message["Message-ID"] = message_id_of(message_id, host)
    # RFC 3834: keeps holiday replies away.
    message["Auto-Submitted"] = "auto-generated"
    templates = _templates()
    # Quoted-printable whatever the text: no line is ever longer than SMTP's 998 octets, no relay has to re-encode.
    text = templates.get_template("alert.txt.j2").render(content)
    message.set_content(text, cte="quoted-printable")
    html = templates.get_template("alert.html.j2").render(content)
    message.add_alternative(html, subtype="html", cte="quoted-printable")
    return message


def needs_smtputf8(message: EmailMessage) -> bool:
    """Whether an address has other than ASCII characters: then the server must offer SMTPUTF8 (RFC 6531)."""
    return not f"{message['From']}{message['To']}".isascii()


def wire_form(message: EmailMessage) -> bytes:
    """The message as DATA carries it; ASCII, unless an address is not.

    Python folds a subject of more than 78 characters to an empty first line, which some mail programs show as a
    leading space. Lines may have 998 octets; only encoded words (RFC 2047 2) are bound to the short line.
    """
    if needs_smtputf8(message):
        return message.as_bytes(policy=SMTPUTF8.clone(max_line_length=_MAX_LINE_OCTETS // 4))
    if str(message["Subject"]).isascii():
        return message.as_bytes(policy=SMTP.clone(max_line_length=_MAX_LINE_OCTETS))
    return message.as_bytes(policy=_WholeSubject(linesep="\r\n"))


class _WholeSubject(EmailPolicy):
    """Encodes a subject as a whole: word by word, Python 3.11 loses the space between two encoded words (RFC 2047 6.2)."""

    def fold_binary(self, name: str, value: str) -> bytes:
        if name.lower() != "subject":
            return super().fold_binary(name, value)
        encoded = Header(str(value), "utf-8", header_name=name).encode(linesep=self.linesep)
        return f"{name}: {encoded}{self.linesep}".encode("ascii")


def message_id_of(given: str, host: str) -> str:
    """`given` where it is a Message-ID as it stands, else one made from it: the same text gives the same id.

    Long or odd ids would be folded or encoded on their way, and no longer compare equal.
    """
    if _MESSAGE_ID.fullmatch(given):
        return given
    digest = hashlib.sha256(given.encode("utf-8", "surrogatepass")).hexdigest()[:32]
    return f"<ad-connector.{digest}@{host}>"


def plain_host_name(name: str) -> str:
    """`name` where EHLO and a Message-ID can carry it, else `localhost`."""
    return name if _HOST_NAME.fullmatch(name) else "localhost"


def _subject(ordered: Sequence[Alert], over: Sequence[str], *, simulated: bool) -> str:
    if ordered:
        label, title, others = _LABELS[ordered[0].severity], ordered[0].title, len(ordered) - 1
    else:
        label, title, others = "OVER", over[0], len(over) - 1
    parts = [_SUBJECT_TAG]
    if simulated:
        parts.append("SIMULATION")
    parts.append(f"{label}: {header_text(title, _SUBJECT_TITLE_CHARACTERS)}")
    if others:
        parts.append(f"(and {others} more)")
    return " ".join(parts)


def _paragraph(alert: Alert) -> _Paragraph:
    return _Paragraph(
        label=_LABELS[alert.severity],
        colour=_COLOURS[alert.severity],
        title=shown(alert.title, MAX_CHARACTERS),
        lines=_listed(alert.lines),
        remedy=shown(alert.remedy, _REMEDY_CHARACTERS),
        command=see_more(alert.key),
    )


def _listed(values: Sequence[str]) -> tuple[str, ...]:
    lines = tuple(shown(value, MAX_CHARACTERS) for value in values[:MAX_LINES])
    return lines if len(values) <= MAX_LINES else (*lines, f"and {len(values) - MAX_LINES} more")


@cache
def _templates() -> Environment:
    return Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=select_autoescape(enabled_extensions=("html.j2",)),
        undefined=StrictUndefined,
        trim_blocks=True,
    )

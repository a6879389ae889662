"""A plan as CSV for spreadsheets and as a page to mail to one's boss."""

from __future__ import annotations

import csv
import io
from importlib import resources

from pipeline.core.exits import ExitCode
from pipeline.core.subject import NoteKind
from pipeline.model import Json
from pipeline.redaction import escaped

COLUMNS = ("action", "email", "guid", "reason", "detail")


def plain_cell(value: object) -> str:
    """A spreadsheet runs what begins like a formula (CWE-1236): such text gets an apostrophe in front."""
    text = "" if value is None else escaped(str(value))
    is_number = text.lstrip("-").isdigit()
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) and not is_number else text


SHOWN = 10


def who(row: Json, *, shown: int | None = SHOWN) -> str:
    """Whom a row of a plan is about: a person, or a group and the persons who are put in or taken out."""
    if not row.get("group_guid") and not row.get("group"):
        return str(row["email"] or row.get("dn") or row["guid"])
    emails = row.get("emails") or []
    few = emails if shown is None else emails[:shown]
    more = f" and {len(emails) - len(few)} more" if len(emails) > len(few) else ""
    return f"group {row['group']}{': ' if few else ''}{', '.join(few)}{more}"


def seconds(stamped: str | None) -> str:
    """A stamp as people need it, without the fractions: `2026-11-23T09:00:00Z`; "" for None."""
    return f"{stamped[:19]}Z" if stamped else ""


def no_action(plan: Json) -> str:
    """What a plan without actions means."""
    if plan["exit_code"] not in (ExitCode.OK, ExitCode.BRAKE):
        # What failed to be read says nothing of the team.
        return "No action, but this plan is not complete: see below."
    if plan["held"]:
        return "No action but those that are held."
    return "No action: the team is as the directory wants it."


def trouble(row: Json) -> str:
    """What has failed, or is to be known, and what to do. The kind of a note is a name for programs: its sentence says all."""
    return (
        str(row["hint"]) if row["error"] in _NOTES else " -> ".join(filter(None, (row["error"], row["hint"])))
    )


def matched(plan: Json) -> str:
    """How members and people found each other: the first thing to look at before the first real pass. "" where nothing is known."""
    return ", ".join(
        f"{number} {_MATCHES.get(how, how)}"
        for how, number in sorted((plan.get("matches") or {}).items())
        if number
    )


_NOTES = frozenset(NoteKind)
_MATCHES = {
    "invited": "invited by us (those of this plan included)",
    "external_id": "matched by external id",
    "legacy": "matched by the old connector's id",
    "email": "matched by e-mail",
    "approved": "passed on by an approval",
    "unmanaged": "of the team not managed: never touched",
}


def plan_csv(plan: Json) -> str:
    """One row an action, then one a held action, one a skipped person or group, one what has failed."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in plan["actions"]:
        writer.writerow(
            [
                plain_cell(cell)
                for cell in (row["action"], _subject(row), row["guid"], row["reason"], _detail(row))
            ]
        )
    for held in plan["held"]:
        for row in held["actions"]:
            cells = (f"held: {row['action']}", _subject(row), row["guid"], row["reason"], held["hash"])
            writer.writerow([plain_cell(cell) for cell in cells])
    for row in plan["skipped"]:
        writer.writerow(
            [
                plain_cell(cell)
                for cell in (
                    "skipped",
                    _subject(row),
                    row["guid"] or row.get("group_guid", ""),
                    row["reason"],
                    row["dn"],
                )
            ]
        )
    for row in plan["errors"]:
        kind = f"error: {row['action']}" if row.get("action") else "error"
        writer.writerow(
            [
                plain_cell(cell)
                for cell in (kind, row["email"], row.get("guid", ""), row["error"], row["hint"])
            ]
        )
    return buffer.getvalue().rstrip("\n")


def plan_html(plan: Json) -> str:
    """A page of its own; every text from the directory is escaped."""
    from jinja2 import Environment, select_autoescape

    source = (resources.files("pipeline.app") / "templates" / "plan.html.j2").read_text(encoding="utf-8")
    environment = Environment(autoescape=select_autoescape(default=True, default_for_string=True))
    return environment.from_string(source).render(
        plan=_shown(plan),
        who=who,
        no_action=no_action,
        trouble=trouble,
        matched=matched,
        code=ExitCode(plan["exit_code"]),
    )


def _shown(value: object) -> object:
    """Control and direction characters made visible, all the way down."""
    if isinstance(value, str):
        return escaped(value)
    if isinstance(value, dict):
        return {key: _shown(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_shown(one) for one in value]
    return value


def _subject(row: Json) -> str:
    """The e-mail column; of a row about a group, the group with everybody in question."""
    return who(row, shown=None) if row.get("group") else str(row["email"])


def _detail(row: Json) -> str:
    return "; ".join(f"{key}={value}" for key, value in row["detail"].items() if key != "guids")

"""Passes about some persons only: `run --only`, and `apply` of a saved plan row by row."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from pipeline.errors import ConfigurationError, ControlError
from pipeline.journal_port import Journal
from pipeline.model import GROUP_KINDS, ActionKind, Json, Profile, State
from stages.people.planner import Selection

_HOW_TO_MAKE = "name a file that `plan --format json --out FILE` wrote"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanRow:
    """One action of a saved plan."""

    guid: str
    email: str
    kind: ActionKind
    changes: Profile

    @property
    def content(self) -> tuple[str, ActionKind, Profile]:
        return (self.guid, self.kind, self.changes)


async def select_person(journal: Journal, text: str) -> Selection:
    """One person by e-mail, GUID, DN, account or name. ControlError when nobody or several fit."""
    async with journal.reading():
        found = await journal.mirror.find_people(text)
    if len(found) != 1:
        names = "; ".join(node.entry.dn for node in found)
        cause = (
            f"several persons fit {text!r}: {names}"
            if found
            else f"nobody in the sync group, and no managed person, is known as {text!r}"
        )
        raise ControlError("find the person", cause, "name the person by e-mail or objectGUID")
    return Selection(guids=frozenset({found[0].guid}))


def read_plan(path: Path) -> list[PlanRow]:
    """The rows of a plan that `plan --format json` wrote. ConfigurationError for anything else, or if it was changed."""
    try:
        return parse_plan(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"read the plan {path}", str(error), _HOW_TO_MAKE) from error


def parse_plan(text: str, name: str) -> list[PlanRow]:
    """The rows of a plan document. ConfigurationError."""
    operation = f"read {name}"
    try:
        document: Any = json.loads(text)
        actions = document["actions"]
        rows = [
            PlanRow(
                guid=one["guid"],
                email=one["email"],
                kind=ActionKind(one["action"]),
                changes=Profile(**one["detail"]),
            )
            for one in actions
        ]
        shown = document["plan"]
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(operation, "it is not a plan", _HOW_TO_MAKE) from error
    if shown != plan_digest(actions, document.get("held", [])):
        raise ConfigurationError(
            operation, "it was changed after it was made", "make a new plan; rows can't be edited"
        )
    return rows


def plan_digest(actions: Sequence[Json], held: Sequence[Json]) -> str:
    """What names a plan: a hash over everything that it would do and hold."""
    content = json.dumps([actions, held], sort_keys=True).encode()
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def select_rows(rows: Sequence[PlanRow]) -> Selection:
    """Groups are no part of it: they follow the directory with the next pass, and not from a saved plan."""
    people = [row for row in rows if row.kind not in GROUP_KINDS]
    return Selection(
        guids=frozenset(row.guid for row in people), rows=frozenset(row.content for row in people)
    )


async def outcome_of_rows(journal: Journal, rows: Sequence[PlanRow], since: datetime) -> Json:
    """For each row what became of it: applied, or why not."""
    async with journal.reading():
        done = {(one.guid, one.kind, one.changes) for one in await journal.outbox.done_since(since)}
        open_actions = await journal.outbox.open_of({row.guid for row in rows})
    results = []
    for row in rows:
        standing = next(
            (
                one
                for one in open_actions.get(row.guid, ())
                if (one.guid, one.kind, one.changes) == row.content
            ),
            None,
        )
        if row.kind in GROUP_KINDS:
            state, why = "left out", "groups are not applied from a plan; they follow with the next pass"
        elif row.content in done:
            state, why = "applied", ""
        elif standing is None or standing.state is State.PLANNED:
            state, why = "stale", "what it was based on no longer holds; make a new plan"
        else:
            state, why = standing.state.value, ": ".join(filter(None, (standing.error, standing.hint)))
        results.append(
            {"action": row.kind.value, "email": row.email, "guid": row.guid, "state": state, "why": why}
        )
    return {"rows": results}

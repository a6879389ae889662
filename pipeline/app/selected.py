"""Passes about some persons only: `run --only`, and `apply` of a saved plan row by row."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from pipeline.app.meant import whom_meant
from pipeline.core.group_values import GroupContent, GroupSelection
from pipeline.errors import ConfigurationError, WrongArgument
from pipeline.journal_port import Journal
from pipeline.model import GROUP_KINDS, MEMBERSHIP_KINDS, Action, ActionKind, Json, Profile, State
from stages.people.planner import Selection

_HOW_TO_MAKE = "name a file that `plan --format json --out FILE` wrote"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanRow:
    """One action of a saved plan; about a group, with all the persons whom one row names.

    `members`: GUID → e-mail of those who are put in or taken out.
    """

    guid: str
    email: str
    kind: ActionKind
    changes: Profile
    group: str = ""
    group_name: str = ""  # that is to be set
    members: tuple[tuple[str, str], ...] = ()

    @property
    def content(self) -> tuple[str, ActionKind, Profile]:
        return (self.guid, self.kind, self.changes)

    @property
    def group_contents(self) -> dict[GroupContent, str]:
        """Everything that the row stands for, each with the e-mail of whom it is about."""
        if self.kind in MEMBERSHIP_KINDS:
            return {GroupContent(self.kind, self.guid, person): email for person, email in self.members}
        if self.kind in GROUP_KINDS:
            external_id = self.changes.external_id
            return {GroupContent(self.kind, self.guid, self.guid, self.group_name, external_id): ""}
        return {}


async def select_person(journal: Journal, text: str) -> Selection:
    """One person by e-mail, GUID, DN, account or name. WrongArgument when nobody or several fit."""
    async with journal.reading():
        found = await journal.mirror.find_people(text) or await journal.find_by_member_email(text)
    if len(found) > 1:
        # A namesake who is gone is still remembered: whoever is in the sync group is meant.
        found = [node for node in found if node.listed] or found
    if len(found) != 1:
        names = "; ".join(
            f"{node.entry.email} ({node.entry.dn})" if node.entry.email else node.entry.dn for node in found
        )
        cause = (
            f"several persons fit {text!r}: {names}"
            if found
            else f"nobody in the sync group, and no managed person, is known as {text!r}{await whom_meant(journal, text)}"
        )
        raise WrongArgument("find the person", cause, "name the person by e-mail or objectGUID")
    guids = frozenset({found[0].guid})
    return Selection(guids=guids, groups=GroupSelection(people=guids))


def read_plan(path: Path) -> list[PlanRow]:
    """The rows of a plan that `plan --format json` wrote. ConfigurationError for anything else, or if it was changed."""
    try:
        return parse_plan(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not a text in UTF-8"
        raise ConfigurationError(f"read the plan {path}", str(why), _HOW_TO_MAKE) from error


def parse_plan(text: str, name: str) -> list[PlanRow]:
    """The rows of a plan document. ConfigurationError."""
    operation = f"read {name}"
    try:
        document: Any = json.loads(text)
        actions = document["actions"]
        rows = [_row(one) for one in actions]
        shown = document["plan"]
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(operation, "it is not a plan", _HOW_TO_MAKE) from error
    if shown != plan_digest(actions, document.get("held", [])):
        raise ConfigurationError(
            operation, "it was changed after it was made", "make a new plan; rows can't be edited"
        )
    return rows


def _row(one: Json) -> PlanRow:
    kind, detail = ActionKind(one["action"]), one["detail"]
    if kind not in GROUP_KINDS:
        return PlanRow(guid=one["guid"], email=one["email"], kind=kind, changes=Profile(**detail))
    return PlanRow(
        guid=one["group_guid"],
        email="",
        kind=kind,
        changes=Profile(external_id=detail.get("external_id", "")),
        group=one["group"],
        group_name=detail.get("name", ""),
        members=tuple(zip(detail.get("guids", ()), one.get("emails", ()), strict=False)),
    )


def plan_digest(actions: Sequence[Json], held: Sequence[Json]) -> str:
    """What names a plan: a hash over everything that it would do and hold."""
    content = json.dumps([actions, held], sort_keys=True).encode()
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def select_rows(rows: Sequence[PlanRow]) -> Selection:
    """Exactly these: what else is wanted of a person or a group is left to the next pass."""
    people = [row for row in rows if row.kind not in GROUP_KINDS]
    return Selection(
        guids=frozenset(row.guid for row in people),
        rows=frozenset(row.content for row in people),
        groups=GroupSelection(rows=frozenset(content for row in rows for content in row.group_contents)),
    )


_STALE = "what it was based on no longer holds; make a new plan"
_UNKNOWN = "the journal knows nobody and no group of this GUID: the plan may be of another configuration"


async def outcome_of_rows(journal: Journal, rows: Sequence[PlanRow], since: datetime) -> Json:
    """For each row what became of it: applied, or why not. A row about a group's members may come to several things."""
    async with journal.reading():
        done = await journal.outbox.done_since(since)
        open_actions = await journal.outbox.open_of({row.guid for row in rows if not row.group_contents})
        about_groups = await journal.groups.open_actions({row.guid for row in rows if row.group_contents})
        known = await journal.mirror.nodes({row.guid for row in rows})
    done_people = {(one.guid, one.kind, one.changes) for one in done if not one.group_guid}
    done_groups = {GroupContent.of(one) for one in done if one.group_guid}
    standing_groups = {GroupContent.of(one): one for one in about_groups}
    results: list[Json] = []
    for row in rows:
        if row.kind in GROUP_KINDS:
            results += _group_results(row, done_groups, standing_groups)
            continue
        standing = next(
            (
                one
                for one in open_actions.get(row.guid, ())
                if (one.guid, one.kind, one.changes) == row.content
            ),
            None,
        )
        state, why = ("applied", "") if row.content in done_people else _state_of(standing)
        results.append(
            {"action": row.kind.value, "email": row.email, "guid": row.guid, "state": state, "why": why}
        )
    strange = [one for one in results if one["why"] == _STALE and one["guid"] not in known]
    for one in strange:
        one["why"] = _UNKNOWN
    return {"rows": results}


def _state_of(standing: Action | None) -> tuple[str, str]:
    if standing is None or standing.state is State.PLANNED:
        return "stale", _STALE
    return standing.state.value, ": ".join(filter(None, (standing.error, standing.hint)))


def _group_results(
    row: PlanRow, done: AbstractSet[GroupContent], standing: Mapping[GroupContent, Action]
) -> list[Json]:
    """One line for all persons of whom the same became."""
    emails: dict[tuple[str, str], list[str]] = {}
    for content, email in row.group_contents.items():
        state = ("applied", "") if content in done else _state_of(standing.get(content))
        emails.setdefault(state, []).append(email)
    if not emails:  # a plan of an earlier version did not say whom it is about
        emails[("stale", _STALE)] = []
    common = {"action": row.kind.value, "email": "", "guid": row.guid, "group": row.group}
    return [
        {**common, "emails": sorted(filter(None, whom)), "state": state, "why": why}
        for (state, why), whom in emails.items()
    ]

"""What the console shows, as documents: put together from `status`, `explain` and `journal show`, and judged nowhere anew.

Every list is cut to a length that an admin reads; how many there are in all is said beside it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from pipeline.app.explanation import Answer, what_ends_it
from pipeline.app.overview import status_of
from pipeline.core.alerting import AlertKind, by_urgency, kind_of
from pipeline.core.exits import ExitCode
from pipeline.core.namesake import HELD_KIND
from pipeline.core.obstacles import held_set_of
from pipeline.core.subject import label_of
from pipeline.model import Action, Json, Kind, PassRecord, State
from pipeline.records import HeldRecord
from stages.service.health import Reading
from state.database import stamp
from state.journal import Journal

SHOWN_PEOPLE = 50
SHOWN_ACTIONS = 10
SHOWN_IN_STATE = 200
SHOWN_PASSES = 8
SHOWN_LINES = 50
LOOKED_AT_LINES = 20_000
"""Of the change log for one page: of a rare kind it may show fewer than there is room for, and leads on."""

PENDING = (State.FAILED, State.HELD, State.RETRY, State.WAITING)  # what needs somebody comes first
_GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
LINE_KINDS = ("delta", "action", "pass", "alert", "member", "link")


async def overview_of(journal: Journal, reading: Reading, now: datetime) -> Json:
    """The first page."""
    status = await status_of(journal, now)
    async with journal.reading():
        known = {one.alert.key: one for one in await journal.alerts.known() if one.is_open}
        passes = await journal.last_passes(SHOWN_PASSES)
        held = [await _held(journal, one) for one in await journal.outbox.standing_held_sets()]
        pending = {
            state.value: [_action(one) for one in await journal.outbox.some_in_state(state, SHOWN_ACTIONS)]
            for state in PENDING
            if state is not State.HELD  # shown in their sets
        }
    alerts = [
        one
        for one in by_urgency(one.alert for one in known.values())
        if kind_of(one.key) != AlertKind.HELD  # shown as what is held
    ]
    last = status["last_pass"]
    code = {**_code(last["exit_code"]), "remedy": last["remedy"]} if last else None
    return {
        "at": stamp(now),
        "troubles": list(reading.troubles),
        "alerts": [
            {
                "title": one.title,
                "severity": one.severity.value,
                "lines": list(one.lines),
                "remedy": one.remedy,
                "since": stamp(known[one.key].first_at),
            }
            for one in alerts
        ],
        "code": code,
        "is_fine": not (reading.troubles or alerts or held or code is None or code["number"]),
        "status": status,
        "passes": [_pass(one) for one in passes],
        "held": held,
        "pending": pending,
        "seats": _seats(reading.values),
        "canary": _canary(reading.values),
    }


async def pending_of(journal: Journal, state: State) -> Json:
    """What stands in one state."""
    async with journal.reading():
        actions = await journal.outbox.some_in_state(state, SHOWN_IN_STATE)
        count = (await journal.outbox.count_by_state()).get(state.value, 0)
        held = await journal.outbox.standing_held_sets() if state is State.HELD else []
    return {"state": state.value, "count": count, "actions": [_action(one, held) for one in actions]}


async def lines_of(journal: Journal, *, person: str, kind: str, before: int | None) -> Json:
    """A page of the change log, the newest first; of a person by e-mail, GUID, DN, account or name."""
    async with journal.reading():
        nodes = await journal.mirror.find_people(person) if person else []
        older: int | None = None
        lines: list[Json] = []
        if len(nodes) <= 1:
            # Of a group, or of somebody whom the mirror has forgotten, the journal still knows the GUID.
            guid = nodes[0].guid if nodes else person.lower() if _GUID.fullmatch(person.lower()) else ""
            email = "" if guid else person.lower()
            start = before if before is not None else await journal.last_seq() + 1
            lines, older = await journal.entries_before(
                start,
                kind=kind,
                guid=guid,
                email=email,
                limit=SHOWN_LINES,
                span=LOOKED_AT_LINES,
            )
        known = await journal.mirror.nodes({one["guid"] for one in lines if one["guid"]})
    return {
        "person": person,
        "kind": kind,
        "before": before,
        "lines": [
            {**one, "label": label_of(known[one["guid"]]) if one["guid"] in known else ""} for one in lines
        ],
        "older": older,
        "several": [{"guid": one.guid, "label": label_of(one)} for one in nodes] if len(nodes) > 1 else [],
    }


def person_of(text: str, answer: Answer | None) -> Json:
    """Whom a search found; without one, the empty form."""
    if answer is None:
        answer = Answer()
    return {
        "text": text,
        "persons": list(answer.persons),
        "strangers": list(answer.strangers),
        "bearers": [{"guid": guid, "who": who} for guid, who in answer.meant.bearers],
        "more_bearers": answer.meant.more,
        "near": list(answer.meant.near),
    }


async def _held(journal: Journal, held: HeldRecord) -> Json:
    """A set with its people, or groups; of a namesake's claim, both persons."""
    shown = held.items[:SHOWN_PEOPLE]
    subjects = [item.rpartition("/") for item, _ in shown]  # of a membership the group's GUID stands before
    guids = [guid for _, _, guid in subjects]
    nodes = await journal.mirror.nodes({*guids, *(group for group, _, _ in subjects if group)})
    open_actions = await journal.outbox.open_of(guids)
    people = []
    for (group, _, guid), (_, kind) in zip(subjects, shown, strict=True):
        node = nodes.get(guid)
        if held.kind == HELD_KIND:
            reason = node.entry.dn if node else ""  # it tells them apart
        else:
            reason = next(
                (one.reason for one in open_actions.get(guid, ()) if one.kind.value == kind and not group), ""
            )
        people.append(
            {
                "guid": guid if node and node.entry.kind is Kind.USER else "",
                "who": label_of(node) if node else guid,
                "group": label_of(nodes[group]) if group in nodes else group,
                "action": kind,
                "reason": reason,
            }
        )
    return {
        "hash": held.hash,
        "kind": held.kind,
        "is_namesake": held.kind == HELD_KIND,
        "count": held.wanted,
        "limit": held.limit_text,
        "at": stamp(held.at),
        "clusters": [{"cause": cause, "count": count} for cause, count in held.clusters],
        "people": people,
        "more": len(held.items) - len(shown),
    }


def _action(action: Action, held: Sequence[HeldRecord] = ()) -> Json:
    found = held_set_of(held, action.kind, action.guid, action.group_guid)
    group = action.group_name or action.group_guid
    return {
        "action": action.kind.value,
        "guid": "" if action.guid == action.group_guid else action.guid,
        "who": action.email or ("" if group else action.guid),
        "group": group,
        "reason": action.reason,
        "error": action.error,
        "hint": action.hint,
        "waits_for": action.wait.value if action.wait else "",
        "ends": what_ends_it(action, found.hash if found is not None else ""),
        "due": stamp(action.due) if action.due else None,
        "attempts": action.attempts,
    }


def _pass(one: PassRecord) -> Json:
    return {
        "id": one.id,
        "started": stamp(one.started),
        "ended": stamp(one.ended) if one.ended else None,
        "code": _code(one.exit_code) if one.exit_code is not None else None,
        "simulated": one.simulated,
        "full": one.full,
        "actions": one.actions,
    }


def _code(number: int) -> Json:
    code = ExitCode(number)
    return {"number": number, "reason": code.reason, "remedy": code.remedy}


def _seats(values: Mapping[tuple[str, str], float]) -> Json | None:
    if ("seats", "") not in values:
        return None
    return {"all": int(values["seats", ""]), "free": int(values["seats_free", ""])}


def _canary(values: Mapping[tuple[str, str], float]) -> Json | None:
    """None where none is configured."""
    if ("canary_overdue", "") not in values:
        return None
    arrived = values.get(("canary_arrival_timestamp_seconds", ""))
    return {
        "is_overdue": bool(values["canary_overdue", ""]),
        "arrived": stamp(datetime.fromtimestamp(arrived, UTC)) if arrived is not None else None,
    }

"""One line of the event log, as much of it as drift detection needs. Never refuses a line for what it lacks.

Unions whose member has subtypes are not flattened (`{".tag": "admin", "admin": {…}}`), others are
(`{".tag": "team_member", "email": …}`): both forms are taken everywhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from stages.dropbox.wire import UnreadableReply, moment, tag_of


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRecord:
    """`actor_name` is the app's display name, else the e-mail of who acted; `app_id` "" where no app did."""

    timestamp: datetime | None
    kind: str
    member_id: str = ""
    email: str = ""
    group_id: str = ""
    app_id: str = ""
    actor_name: str = ""
    request_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventLogPage:
    events: tuple[EventRecord, ...]
    cursor: str
    has_more: bool


def event_log_page(value: Any) -> EventLogPage:
    """Raises UnreadableReply where the page itself can't be used."""
    events = value.get("events") if isinstance(value, dict) else None
    if not isinstance(events, list):
        raise UnreadableReply("unexpected shape: no events")
    cursor = _text(value, "cursor")
    has_more = value.get("has_more") is True
    if has_more and not cursor:
        raise UnreadableReply("has_more without a cursor")
    return EventLogPage(
        events=tuple(event_record(event) for event in events), cursor=cursor, has_more=has_more
    )


def event_record(event: Any) -> EventRecord:
    member: Any = next(_team_members(event), None)
    actor = _inner(_field(event, "actor"))
    is_app = tag_of(_field(event, "actor")) == "app"
    groups = (each for each in _participants(event) if tag_of(each) == "group")
    return EventRecord(
        timestamp=moment(_field(event, "timestamp")),
        kind=tag_of(_field(event, "event_type")),
        member_id=_text(member, "team_member_id"),
        email=_text(member, "email"),
        group_id=_text(_inner(next(groups, {})), "group_id"),
        app_id=_text(actor, "app_id") if is_app else "",
        actor_name=_text(actor, "display_name")
        if is_app
        else _text(actor, "email") or tag_of(_field(event, "actor")),
        request_id=_text(_inner(_field(_field(event, "origin"), "access_method")), "request_id"),
    )


def _team_members(event: Any) -> Iterator[Any]:
    """Whom the event is about: its context, else the users among the participants."""
    for holder in (_field(event, "context"), *_participants(event)):
        inner = _inner(holder)
        if _text(inner, "team_member_id"):
            yield inner


def _participants(event: Any) -> list[Any]:
    value = _field(event, "participants")
    return value if isinstance(value, list) else []


def _field(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else None


def _text(value: Any, name: str) -> str:
    text = _field(value, name)
    return text if isinstance(text, str) else ""


def _inner(value: Any) -> Any:
    """The struct of a union member, flattened or not."""
    nested = _field(value, tag_of(value))
    return nested if isinstance(nested, dict) else value

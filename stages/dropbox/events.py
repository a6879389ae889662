"""The team's event log: a hint that somebody else changed a member. Truth is only ever read from the members.

The log is not sorted, has no event ids, and a page may be empty though more follow (team_log.stone).
"""

from __future__ import annotations

from datetime import UTC, datetime

from pipeline.errors import TeamReadError
from pipeline.model import EventPage, TeamEvent
from stages.dropbox import routes
from stages.dropbox.answer import Answer, Refusal
from stages.dropbox.client import Client
from stages.dropbox.event_record import EventLogPage, EventRecord, event_log_page
from stages.dropbox.outcomes import replied
from stages.dropbox.wire import UnreadableReply, moment

PAGE_SIZE = 1000
_OPERATION = "reading the team's event log"


class EventLog:
    """Categories `members` and `groups`, each with a cursor of its own: the log takes one category a request."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._own_apps: set[str] = set()
        self._app_names: dict[str, str] = {}  # apps seen in the log, by id

    async def read(self, cursor: str, since: datetime, *, about_groups: bool = False) -> EventPage:
        """A page from `cursor`, else from `since`. A void cursor starts again from `since`. Raises TeamReadError.

        Where the log itself asks to start elsewhere, the page is empty and says so in `reset_to`.
        """
        if cursor:
            answer = await self._client.call(routes.EVENTS_CONTINUE, {"cursor": cursor}, is_write=False)
            if isinstance(answer, Refusal) and answer.tag == "reset":
                return EventPage(
                    events=(),
                    cursor="",
                    more=True,
                    reset_to=moment((answer.payload or {}).get("reset")) or since,
                )
            if not (isinstance(answer, Refusal) and answer.tag == "bad_cursor"):
                return self._page(answer)
        start = since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        category = "groups" if about_groups else "members"
        body = {"limit": PAGE_SIZE, "time": {"start_time": start}, "category": {".tag": category}}
        return self._page(await self._client.call(routes.EVENTS, body, is_write=False))

    def _page(self, answer: Answer) -> EventPage:
        try:
            page: EventLogPage = event_log_page(replied(answer, _OPERATION, TeamReadError).body)
        except UnreadableReply as error:
            raise TeamReadError(_OPERATION, str(error)) from error
        for record in page.events:
            self._learn(record)
            if record.app_id:
                self._app_names[record.app_id] = record.actor_name
        return EventPage(
            events=tuple(self._event(record, record.timestamp) for record in page.events if record.timestamp),
            cursor=page.cursor,
            more=page.has_more,
        )

    def _event(self, record: EventRecord, at: datetime) -> TeamEvent:
        return TeamEvent(
            at=at,
            kind=record.kind,
            member_id=record.member_id,
            email=record.email.lower(),
            group_id=record.group_id,
            by_us=record.app_id in self._own_apps or self._client.is_own_request(record.request_id),
            by_app=bool(record.app_id),
            actor=record.actor_name,
        )

    def _learn(self, record: EventRecord) -> None:
        """An event that one of our own requests caused tells which app we are."""
        if record.app_id and self._client.is_own_request(record.request_id):
            self._own_apps.add(record.app_id)

    def other_apps(self) -> list[str]:
        """Names of the apps seen in the log that are not known to be us."""
        return sorted(
            name or app_id for app_id, name in self._app_names.items() if app_id not in self._own_apps
        )

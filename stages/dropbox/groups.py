"""Writing groups and who is in them: as few requests as Dropbox takes, and an Outcome for everybody.

Dropbox takes or refuses a membership change as a whole, and says no limit for its size. So a request carries
everybody; a refusal of the request as such is answered with halves, and the size that worked is remembered; a
refusal for somebody in it takes those out and sends the rest again. Nobody is dropped on the way.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pipeline.errors import TeamReadError
from pipeline.model import Json, Outcome, Verdict
from stages.dropbox import routes
from stages.dropbox.answer import LostReply, Refusal, Reply
from stages.dropbox.classify import outcome_for
from stages.dropbox.client import Client
from stages.dropbox.group_reading import group_from, group_selector, list_group_members
from stages.dropbox.outcomes import unreadable, unwanted
from stages.dropbox.refusal import BAD_REQUEST
from stages.dropbox.wire import UnreadableReply

MOST_MEMBERS_A_CALL = 20_000
TOO_LARGE = 413  # a proxy before the API; the vendor itself would say 400

_NAMING_TAGS = frozenset({"users_not_found", "members_not_in_team"})
_UNNAMED_TAGS = frozenset({"duplicate_user", "member_not_in_group"})
_GROUP_HINT = "the group is read back before anything else is sent"


_OPERATION = "changing a group's members"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sent:
    """What came of one request: for whom it is over, who is to be sent again, and parts to be sent one by one."""

    outcomes: dict[str, Outcome] = field(default_factory=dict)
    again: list[str] = field(default_factory=list)
    suspects: list[list[str]] = field(default_factory=list)


class GroupWriter:
    """Never repeats a write that may have had its effect; a lost reply is UNKNOWN. Raises DropboxSetupError only."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._size = MOST_MEMBERS_A_CALL

    # --- the group itself

    async def create(self, name: str, external_id: str) -> Outcome:
        body: Json = {
            "group_name": name,
            "group_management_type": {".tag": "company_managed"},
            "add_creator_as_owner": False,
        }
        if external_id:
            body["group_external_id"] = external_id
        return await self._written(routes.GROUP_CREATE, body, "creating a group")

    async def rename(self, group_id: str, *, name: str, external_id: str) -> Outcome:
        if not name and not external_id:
            return Outcome(verdict=Verdict.ALREADY)
        body: Json = {"group": group_selector(group_id), "return_members": False}
        if name:
            body["new_group_name"] = name
        if external_id:
            body["new_group_external_id"] = external_id
        return await self._written(routes.GROUP_UPDATE, body, "changing a group")

    async def delete(self, group_id: str) -> Outcome:
        """The group is gone at once; a job that the answer may name only follows what it owned."""
        answer = await self._client.call(routes.GROUP_DELETE, group_selector(group_id), is_write=True)
        if isinstance(answer, Reply):
            return Outcome(verdict=Verdict.DONE)
        return _of_group(unwanted(answer, "deleting a group"))

    async def _written(self, route: str, body: Json, operation: str) -> Outcome:
        answer = await self._client.call(route, body, is_write=True)
        if not isinstance(answer, Reply):
            return _of_group(unwanted(answer, operation))
        try:
            return Outcome(verdict=Verdict.DONE, group=group_from(answer.body))
        except UnreadableReply as error:
            return _of_group(unreadable(route, str(error), answer.request_id))

    # --- who is in it

    async def add(self, group_id: str, member_ids: Sequence[str]) -> Sequence[Outcome]:
        return await self._change(routes.GROUP_ADD, group_id, member_ids)

    async def remove(self, group_id: str, member_ids: Sequence[str]) -> Sequence[Outcome]:
        return await self._change(routes.GROUP_REMOVE, group_id, member_ids)

    async def _change(self, route: str, group_id: str, member_ids: Sequence[str]) -> Sequence[Outcome]:
        settled: dict[str, Outcome] = {}
        pending = list(dict.fromkeys(member_ids))
        suspects: list[list[str]] = []  # parts in which somebody is refused, and nobody said who
        while pending or suspects:
            if suspects:
                part = suspects.pop()
            else:
                part, pending = pending[: self._size], pending[self._size :]
            sent = await self._send(route, group_id, part)
            settled |= sent.outcomes
            pending = [*sent.again, *pending]
            suspects += sent.suspects
        return [settled[member_id] for member_id in member_ids]

    async def _send(self, route: str, group_id: str, part: list[str]) -> _Sent:
        """One request."""
        answer = await self._client.call(route, _body(route, group_id, part), is_write=True)
        if isinstance(answer, Reply):
            return _Sent(outcomes=dict.fromkeys(part, _changed(answer)))
        if isinstance(answer, Refusal):
            return await self._refused(answer, group_id, part)
        if isinstance(answer, LostReply):
            self._shrink(part)  # too much at once may be why no answer came
        return _Sent(outcomes=dict.fromkeys(part, _of_group(unwanted(answer, _OPERATION))))

    async def _refused(self, refusal: Refusal, group_id: str, part: list[str]) -> _Sent:
        is_too_large = refusal.status == TOO_LARGE or (refusal.status == 400 and refusal.tag == BAD_REQUEST)
        if is_too_large and len(part) > 1:
            self._shrink(part)
            return _Sent(again=part)
        if is_too_large:
            self._size = MOST_MEMBERS_A_CALL  # its size was not what is wrong with it
        if len(part) == 1 or refusal.tag not in _NAMING_TAGS | _UNNAMED_TAGS:
            return _Sent(outcomes=dict.fromkeys(part, _of_group(unwanted(refusal, _OPERATION))))
        if refusal.tag in _NAMING_TAGS:
            concerned = _named(refusal, part)
        else:
            concerned = await self._unneeded(refusal.route, group_id, part)
        if not concerned:
            middle = len(part) // 2
            return _Sent(suspects=[part[middle:], part[:middle]])
        outcomes = dict.fromkeys(concerned, outcome_for(refusal.route, refusal.tag))
        return _Sent(outcomes=outcomes, again=[one for one in part if one not in outcomes])

    def _shrink(self, part: Sequence[str]) -> None:
        self._size = max(1, min(self._size, (len(part) + 1) // 2))

    async def _unneeded(self, route: str, group_id: str, part: Iterable[str]) -> list[str]:
        """Who is in the group already, or is not in it: the refusal says only that there is somebody."""
        present: set[str] = set()
        try:
            async for page in list_group_members(self._client, group_id):
                present.update(page)
        except TeamReadError:
            return []  # then halves find them
        return [one for one in part if (one in present) == (route == routes.GROUP_ADD)]


def _body(route: str, group_id: str, member_ids: Sequence[str]) -> Json:
    users = [{".tag": "team_member_id", "team_member_id": each} for each in member_ids]
    body: Json = {"group": group_selector(group_id), "return_members": False}
    if route == routes.GROUP_ADD:
        body["members"] = [{"user": user, "access_type": {".tag": "member"}} for user in users]
    else:
        body["users"] = users
    return body


def _changed(reply: Reply) -> Outcome:
    """What the group looks like now is good to know, and not needed."""
    info: Any = reply.body.get("group_info") if isinstance(reply.body, dict) else None
    try:
        return Outcome(verdict=Verdict.DONE, group=group_from(info))
    except UnreadableReply:
        return Outcome(verdict=Verdict.DONE)


def _named(refusal: Refusal, part: Sequence[str]) -> list[str]:
    value = (refusal.payload or {}).get(refusal.tag)
    named = {each for each in value if isinstance(each, str)} if isinstance(value, list) else set()
    return [one for one in part if one in named]


def _of_group(outcome: Outcome) -> Outcome:
    if outcome.verdict is Verdict.UNKNOWN:
        return replace(outcome, hint=_GROUP_HINT)
    return outcome

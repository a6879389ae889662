"""Reading the team's groups and who is in them: whole, or an error."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipeline.errors import GroupGone, TeamReadError
from pipeline.model import Json, TeamGroup
from stages.dropbox import routes
from stages.dropbox.answer import Refusal
from stages.dropbox.client import Client
from stages.dropbox.outcomes import replied
from stages.dropbox.reading import MOST_EMPTY_PAGES, MOST_RESTARTS, PAGE_SIZE
from stages.dropbox.wire import Tag, Text, UnreadableReply, tag_of

SELECTORS_A_CALL = 100  # no limit is documented

_LIST = "listing the team's groups"
_GET = "reading groups of the team"
_MEMBERS = "listing the members of a group"


class _Shape(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class _Group(_Shape):
    group_id: str = Field(min_length=1)
    group_name: Text = ""
    group_external_id: Text = ""
    group_management_type: Tag = ""
    member_count: int | None = None


class _GroupPage(_Shape):
    groups: list[Any]
    cursor: Text = ""
    has_more: bool = False


class _MemberPage(_Shape):
    members: list[Any]
    cursor: Text = ""
    has_more: bool = False


class _InGroup(_Shape):
    class _Profile(_Shape):
        team_member_id: str = Field(min_length=1)

    profile: _Profile


def group_from(value: Any) -> TeamGroup:
    """A TeamGroup from GroupSummary, GroupFullInfo or what a write answers. Raises UnreadableReply.

    A way of management that this version does not know is not company-managed: nothing is adopted by it.
    """
    try:
        group = _Group.model_validate(value)
    except ValidationError as error:
        fields = ", ".join(".".join(str(part) for part in one["loc"]) for one in error.errors())
        raise UnreadableReply(f"unexpected shape of a group: {fields}") from error
    return TeamGroup(
        group_id=group.group_id,
        name=group.group_name,
        external_id=group.group_external_id,
        is_company_managed=group.group_management_type == "company_managed",
        is_system_managed=group.group_management_type == "system_managed",
        member_count=group.member_count,
    )


def group_selector(group_id: str) -> Json:
    return {".tag": "group_id", "group_id": group_id}


async def list_groups(client: Client) -> AsyncIterator[Sequence[TeamGroup]]:
    """Pages of all groups; repeats groups when a cursor dies and the listing starts again."""
    async for items in _pages(
        client, routes.GROUPS, routes.GROUPS_CONTINUE, {"limit": PAGE_SIZE}, _GroupPage, _LIST
    ):
        try:
            yield [group_from(item) for item in items]
        except UnreadableReply as error:
            raise TeamReadError(_LIST, str(error)) from error


async def list_group_members(client: Client, group_id: str) -> AsyncIterator[Sequence[str]]:
    """Pages of member ids. GroupGone where there is no such group."""
    body = {"group": group_selector(group_id), "limit": PAGE_SIZE}
    async for items in _pages(
        client, routes.GROUP_MEMBERS, routes.GROUP_MEMBERS_CONTINUE, body, _MemberPage, _MEMBERS
    ):
        try:
            yield [_InGroup.model_validate(item).profile.team_member_id for item in items]
        except ValidationError as error:
            raise TeamReadError(_MEMBERS, "a member is described in an unknown way") from error


async def _pages(
    client: Client,
    route: str,
    route_continue: str,
    body: Json,
    shape: type[_GroupPage | _MemberPage],
    operation: str,
) -> AsyncIterator[list[Any]]:
    for _ in range(MOST_RESTARTS + 1):
        cursor, empty_pages, is_more = "", 0, True
        while is_more:
            if cursor:
                answer = await client.call(route_continue, {"cursor": cursor}, is_write=False)
                if isinstance(answer, Refusal) and answer.tag == "invalid_cursor":
                    break  # from the first page again
            else:
                answer = await client.call(route, body, is_write=False)
            if isinstance(answer, Refusal) and answer.status == 409 and answer.tag == "group_not_found":
                raise GroupGone(operation, answer.cause)
            try:
                page = shape.model_validate(replied(answer, operation, TeamReadError).body)
            except ValidationError as error:
                raise TeamReadError(operation, "unexpected shape of a page") from error
            items = page.groups if isinstance(page, _GroupPage) else page.members
            if page.has_more and not page.cursor:
                raise TeamReadError(operation, "has_more without a cursor")
            if items:
                yield items
            empty_pages = 0 if items else empty_pages + 1
            if empty_pages > MOST_EMPTY_PAGES:
                raise TeamReadError(operation, "the list does not come to an end")
            cursor, is_more = page.cursor, page.has_more
        else:
            return
    raise TeamReadError(operation, f"the list was interrupted {MOST_RESTARTS + 1} times (invalid_cursor)")


async def get_groups(
    client: Client, *, group_ids: Sequence[str], external_ids: Sequence[str]
) -> Sequence[TeamGroup]:
    """The groups found, each once. The reply carries all members, so it is for few groups at a time."""
    found: dict[str, TeamGroup] = {}
    for tag, values in (("group_ids", group_ids), ("group_external_ids", external_ids)):
        wanted = [value for value in dict.fromkeys(values) if value]
        for start in range(0, len(wanted), SELECTORS_A_CALL):
            part = wanted[start : start + SELECTORS_A_CALL]
            answer = await client.call(routes.GROUPS_GET, {".tag": tag, tag: part}, is_write=False)
            items = replied(answer, _GET, TeamReadError).body
            if not isinstance(items, list) or len(items) != len(part):
                raise TeamReadError(_GET, f"asked for {len(part)} groups, the answer is for another number")
            for item in items:
                if tag_of(item) == "id_not_found":
                    continue
                try:
                    group = group_from(item)
                except UnreadableReply as error:
                    raise TeamReadError(_GET, str(error)) from error
                found[group.group_id] = group
    return list(found.values())

"""Reading the team and its members: whole, or an error."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from typing import Any

from pipeline.errors import TeamInfoError, TeamReadError
from pipeline.model import Json, Member, TeamInfo
from stages.dropbox import routes
from stages.dropbox.answer import Refusal, Reply
from stages.dropbox.client import Client
from stages.dropbox.outcomes import replied
from stages.dropbox.refusal import BAD_REQUEST
from stages.dropbox.wire import (
    EMAIL_PATTERN,
    MemberPage,
    UnreadableReply,
    admin_profile,
    info_items,
    member_page,
    members_from,
    tag_of,
    team_info,
)

PAGE_SIZE = 1000  # the vendor's most; sent explicitly, since lists without a limit have failed in the field
SELECTORS_A_CALL = 200  # no limit is documented; halved when refused
MOST_RESTARTS = 3
MOST_EMPTY_PAGES = 1000  # a page may be empty and still say that there is more
LONGEST_EXTERNAL_ID = 64

_LIST_OPERATION = "listing the team's members"
_GET_OPERATION = "reading members of the team"

_ADMIN_HINTS = {
    "admin_not_active": "the admin who authorised the connector has left or is no longer an admin: "
    "run `ad-connector authorize` as another team admin",
    "mapping_not_found": "the token does not say who authorised it: run `ad-connector authorize` again",
}


async def read_team_info(client: Client) -> TeamInfo:
    """Raises TeamInfoError."""
    operation = "fetching the team's information"
    reply = replied(await client.call(routes.GET_INFO, None, is_write=False), operation, TeamInfoError)
    try:
        return team_info(reply.body)
    except UnreadableReply as error:
        raise TeamInfoError(operation, str(error)) from error


async def read_acting_admin(client: Client) -> Member:
    """Raises TeamInfoError, also when that admin is no longer active."""
    operation = "asking who authorised the connector"
    answer = await client.call(routes.GET_ADMIN, None, is_write=False)
    if isinstance(answer, Refusal) and answer.tag in _ADMIN_HINTS:
        raise TeamInfoError(operation, answer.cause, _ADMIN_HINTS[answer.tag])
    try:
        return admin_profile(replied(answer, operation, TeamInfoError).body)
    except UnreadableReply as error:
        raise TeamInfoError(operation, str(error)) from error


async def list_members(client: Client) -> AsyncIterator[Sequence[Member]]:
    """Pages of all members, removed ones included. Starts again, up to MOST_RESTARTS times, when the cursor dies."""
    for _ in range(MOST_RESTARTS + 1):
        seen: set[str] = set()
        cursor, empty_pages, is_more = "", 0, True
        while is_more:
            page = await _next_page(client, cursor)
            if page is None:
                break  # the cursor is void: from the first page again, members repeat
            members = _members_from(page.members, _LIST_OPERATION)
            # Lists are no snapshots: whoever changes while we page may come twice.
            fresh = [member for member in members if member.member_id not in seen]
            seen.update(member.member_id for member in fresh)
            if fresh:
                empty_pages = 0
                yield _last_of_each(fresh)
            else:
                empty_pages += 1
                if empty_pages > MOST_EMPTY_PAGES:
                    raise TeamReadError(_LIST_OPERATION, "the list does not come to an end")
            cursor, is_more = page.cursor, page.has_more
        else:
            return
    raise TeamReadError(
        _LIST_OPERATION, f"the list was interrupted {MOST_RESTARTS + 1} times (invalid_cursor)"
    )


async def _next_page(client: Client, cursor: str) -> MemberPage | None:
    """None: the cursor is no longer valid."""
    if cursor:
        answer = await client.call(routes.LIST_CONTINUE, {"cursor": cursor}, is_write=False)
        if isinstance(answer, Refusal) and answer.tag == "invalid_cursor":
            return None
    else:
        answer = await client.call(routes.LIST, {"limit": PAGE_SIZE, "include_removed": True}, is_write=False)
    try:
        return member_page(replied(answer, _LIST_OPERATION, TeamReadError).body)
    except UnreadableReply as error:
        raise TeamReadError(_LIST_OPERATION, str(error)) from error


def _members_from(items: Sequence[Any], operation: str) -> list[Member]:
    try:
        return members_from(items)
    except UnreadableReply as error:
        raise TeamReadError(operation, str(error)) from error


def _last_of_each(members: Sequence[Member]) -> list[Member]:
    return list({member.member_id: member for member in members}.values())


async def get_members(
    client: Client, *, member_ids: Sequence[str], external_ids: Sequence[str], emails: Sequence[str]
) -> Sequence[Member]:
    """The members found, each once. Raises TeamReadError.

    Marks that Dropbox could not hold (an e-mail outside its pattern, an overlong id) find nobody: asked for, they
    would be refused together with everybody else in the request.
    """
    selectors = [
        *({".tag": "team_member_id", "team_member_id": each} for each in dict.fromkeys(member_ids) if each),
        *(
            {".tag": "external_id", "external_id": each}
            for each in dict.fromkeys(external_ids)
            if 0 < len(each) <= LONGEST_EXTERNAL_ID
        ),
        *(
            {".tag": "email", "email": each}
            for each in dict.fromkeys(email.lower() for email in emails)
            if len(each) <= 255 and re.fullmatch(EMAIL_PATTERN, each)
        ),
    ]
    found: dict[str, Member] = {}
    for start in range(0, len(selectors), SELECTORS_A_CALL):
        for member in await _get_chunk(client, selectors[start : start + SELECTORS_A_CALL]):
            found[member.member_id] = member
    return list(found.values())


async def _get_chunk(client: Client, selectors: Sequence[Json]) -> list[Member]:
    answer = await client.call(routes.GET_MEMBERS, {"members": list(selectors)}, is_write=False)
    if (
        isinstance(answer, Refusal)
        and answer.status == 400
        and answer.tag == BAD_REQUEST
        and len(selectors) > 1
    ):
        middle = len(selectors) // 2
        first = await _get_chunk(client, selectors[:middle])
        return first + await _get_chunk(client, selectors[middle:])
    return _found(replied(answer, _GET_OPERATION, TeamReadError), len(selectors))


def _found(reply: Reply, expected: int) -> list[Member]:
    """One item for each selector: fewer would make somebody look absent who was never answered for."""
    try:
        items = info_items(reply.body)
    except UnreadableReply as error:
        raise TeamReadError(_GET_OPERATION, str(error)) from error
    if len(items) != expected:
        raise TeamReadError(_GET_OPERATION, f"asked for {expected} members, answered for {len(items)}")
    tags = {tag_of(item) for item in items} - {"member_info", "id_not_found"}
    if tags:
        raise TeamReadError(
            _GET_OPERATION, f"a member is described in an unknown way ({', '.join(sorted(tags))})"
        )
    return _members_from([item for item in items if tag_of(item) == "member_info"], _GET_OPERATION)

"""The vendor's shapes. Tolerant of what comes in (unknown fields and tags), strict in what goes out.

Only what the connector reads is modelled. Source of the limits on outgoing fields: dropbox-api-spec,
common.stone and team_common.stone.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import (
    Annotated,
    Any,
    NotRequired,  # pydantic wants this one before Python 3.12
    TypeVar,
)

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    TypeAdapter,
    ValidationError,
)
from typing_extensions import TypedDict

from pipeline.model import Member, Status, TeamInfo

# --- what comes in -------------------------------------------------------------------------------------


def tag_of(value: Any) -> str:
    """The `.tag` of a union in either of its forms; "" where there is none."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        tag = value.get(".tag")
        return tag if isinstance(tag, str) else ""
    return ""


def _text_or_empty(value: Any) -> Any:
    return "" if value is None else value


def moment(value: Any) -> datetime | None:
    """`%Y-%m-%dT%H:%M:%SZ` as aware UTC. What can't be read is absent: no rule hangs on it."""
    if not isinstance(value, str):
        return None
    try:
        parsed = datetime.fromisoformat(value)
        return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)
    except (ValueError, OverflowError):  # no number of years is left on the other side of an offset
        return None


Text = Annotated[str, BeforeValidator(_text_or_empty)]
Tag = Annotated[str, BeforeValidator(tag_of)]
Moment = Annotated[datetime | None, BeforeValidator(moment)]


class _Incoming(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


# Members come by the hundred thousand: checked as plain dicts, a whole page at once, they take a fifth of the time of models.
# What may be absent or null is made whole in `_member_of`.


class _Name(TypedDict):
    given_name: NotRequired[str | None]
    surname: NotRequired[str | None]


_Status = TypedDict("_Status", {".tag": NotRequired[Any], "is_recoverable": NotRequired[bool]})


class _Profile(TypedDict):
    team_member_id: Annotated[str, Field(min_length=1)]
    status: _Status
    email: NotRequired[str | None]
    external_id: NotRequired[str | None]
    name: NotRequired[_Name]
    invited_on: NotRequired[Any]
    joined_on: NotRequired[Any]


class _Role(TypedDict):
    name: NotRequired[str | None]


class MemberRecord(TypedDict):
    profile: _Profile
    roles: NotRequired[list[_Role] | None]


_MEMBERS = TypeAdapter(list[MemberRecord])

# The vendor's union of states is closed today; a new one must neither stop everybody's sync nor be read as
# "absent". Until pipeline.model has a word for it we say SUSPENDED: of the four it is the one on which
# the rules act least (nobody is invited, revoked, suspended or wiped by it).
UNFAMILIAR_STATUS: Status = Status.__members__.get("UNKNOWN", Status.SUSPENDED)

TEAM_ADMIN_ROLE_NAME = "team admin"  # team.stone, get_available_team_member_roles; ids are not documented


_STATUSES = {status.value: status for status in Status}


def members_from(values: Sequence[Any]) -> list[Member]:
    """Members from TeamMemberInfo(V2), in order. Raises UnreadableReply: one that can't be read spoils all."""
    try:
        return [_member_of(record) for record in _MEMBERS.validate_python(values)]
    except ValidationError as error:
        raise UnreadableReply(_where(error)) from error


def member_from(value: Any) -> Member:
    """As `members_from`, of one."""
    return members_from([value])[0]


def _member_of(record: MemberRecord) -> Member:
    profile = record["profile"]
    name = profile.get("name", _NO_NAME)
    status = profile["status"]
    tag = tag_of(status.get(".tag"))
    return Member(
        member_id=profile["team_member_id"],
        status=_STATUSES.get(tag, UNFAMILIAR_STATUS),
        email=(profile.get("email") or "").lower(),
        given_name=name.get("given_name") or "",
        surname=name.get("surname") or "",
        external_id=profile.get("external_id") or "",
        recoverable=tag == Status.REMOVED and status.get("is_recoverable", False),
        is_team_admin=any(
            (role.get("name") or "").casefold() == TEAM_ADMIN_ROLE_NAME for role in record.get("roles") or ()
        ),
        invited_on=moment(profile.get("invited_on")),
        joined_on=moment(profile.get("joined_on")),
    )


_NO_NAME: _Name = {}


class UnreadableReply(Exception):
    """A reply that lacks what we can't do without. Names the fields only, never their values."""


def _where(error: ValidationError) -> str:
    faults = (
        # Which of a list it was says nothing to anybody.
        f"{'.'.join(str(part) for part in fault['loc'] if isinstance(part, str))} ({fault['type']})"
        for fault in error.errors()
    )
    return "unexpected shape: " + ", ".join(list(faults)[:3])


class MemberPage(_Incoming):
    members: list[Any]
    cursor: Text = ""
    has_more: bool = False


class InfoPage(_Incoming):
    members_info: list[Any]


class _TeamInfo(_Incoming):
    name: Text = ""
    team_id: Text = ""
    num_licensed_users: int
    num_provisioned_users: int


class _Admin(_Incoming):
    admin_profile: dict[str, Any]


Shape = TypeVar("Shape", bound=BaseModel)


def _parsed(shape: type[Shape], value: Any) -> Shape:
    try:
        return shape.model_validate(value)
    except ValidationError as error:
        raise UnreadableReply(_where(error)) from error


def member_page(value: Any) -> MemberPage:
    """Raises UnreadableReply, also for a page that says there is more but gives no cursor."""
    page = _parsed(MemberPage, value)
    if page.has_more and not page.cursor:
        raise UnreadableReply("has_more without a cursor")
    return page


def info_items(value: Any) -> list[Any]:
    return _parsed(InfoPage, value).members_info


def team_info(value: Any) -> TeamInfo:
    info = _parsed(_TeamInfo, value)
    return TeamInfo(
        name=info.name,
        team_id=info.team_id,
        seats=info.num_licensed_users,
        provisioned=info.num_provisioned_users,
    )


def admin_profile(value: Any) -> Member:
    """token/get_authenticated_admin: the profile alone, without roles; who authorised is an admin."""
    profile = _parsed(_Admin, value).admin_profile
    return member_from({"profile": profile, "roles": [{"name": TEAM_ADMIN_ROLE_NAME}]})


# --- error bodies --------------------------------------------------------------------------------------

LONGEST_ERROR_TEXT = 300


def json_or_none(raw: bytes) -> Any:
    """The parsed body; None for an empty or unreadable one."""
    try:
        return json.loads(raw) if raw else None
    except (ValueError, RecursionError):
        return None


class ErrorBody:
    """An error reply in any of its forms: JSON with `.tag`, plain text, or nothing at all."""

    def __init__(self, raw: bytes) -> None:
        body = json_or_none(raw)
        self.payload: dict[str, Any] | None = None
        self.tag = ""
        self.text = ""
        if isinstance(body, dict):
            error = body.get("error")
            if isinstance(error, dict):
                self.payload = error
            self.tag = tag_of(error)[:LONGEST_ERROR_TEXT]
            summary = body.get("error_summary")
            message = body.get("user_message")
            self.text = self.tag or (summary if isinstance(summary, str) else "")
            if isinstance(message, dict) and isinstance(message.get("text"), str):
                self.text = f"{self.text}: {message['text']}"
        elif raw:
            self.text = raw.decode("utf-8", "replace")
        self.text = self.text.strip()[:LONGEST_ERROR_TEXT] or "no explanation given"

    @property
    def retry_after_seconds(self) -> float | None:
        """`error.retry_after` of a 429 body, where it has one."""
        value = (self.payload or {}).get("retry_after")
        if not isinstance(value, int | float) or isinstance(value, bool):
            return None
        try:
            return float(value)
        except OverflowError:
            return math.inf


# --- what goes out -------------------------------------------------------------------------------------

# common.stone EmailAddress: ASCII only. Anything else is a 400 for the whole batch, not for one person.
EMAIL_PATTERN = r"^['#&A-Za-z0-9._%+-]+@[A-Za-z0-9-][A-Za-z0-9.-]*\.[A-Za-z]{2,15}$"
NAME_PATTERN = r'^[^/:?*<>"|]*$'

Email = Annotated[str, StringConstraints(to_lower=True, max_length=255, pattern=EMAIL_PATTERN)]
Name = Annotated[str, StringConstraints(max_length=50, pattern=NAME_PATTERN)]
ExternalId = Annotated[str, StringConstraints(max_length=64)]


class _Outgoing(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    def body(self) -> dict[str, Any]:
        """The JSON to send: absent means unchanged, so nothing empty is sent."""
        return self.model_dump(by_alias=True, exclude_none=True)


class Selector(_Outgoing):
    tag: str = Field(default="team_member_id", alias=".tag")
    team_member_id: str = Field(min_length=1)


class NewMember(_Outgoing):
    member_email: Email
    member_given_name: Name | None = None
    member_surname: Name | None = None
    member_external_id: ExternalId | None = None
    send_welcome_email: bool


class ProfileChange(_Outgoing):
    user: Selector
    new_email: Email | None = None
    new_given_name: Name | None = None
    new_surname: Name | None = None
    new_external_id: ExternalId | None = None


class SuspendRequest(_Outgoing):
    user: Selector
    wipe_data: bool  # no default: the vendor's is true


class RemoveRequest(_Outgoing):
    """The account and its files stay in the admin console to be transferred."""

    user: Selector
    wipe_data: bool
    keep_account: bool = False
    retain_team_shares: bool = False
    permanently_delete_files: bool = False


class UserRequest(_Outgoing):
    user: Selector


def selector(member_id: str) -> Selector:
    return Selector(team_member_id=member_id)


def unsendable_tag(error: ValidationError) -> str:
    """Which of our own checks an outgoing value failed: `invalid_email`, `invalid_name`, `invalid_external_id`."""
    field = str(error.errors()[0]["loc"][-1])
    for word in ("email", "external_id", "team_member_id"):
        if field.endswith(word):
            return f"invalid_{word}"
    return "invalid_name"

"""The words of the system as frozen values. No behaviour beyond what the values themselves say.

A GUID is the lower-case dashed text of `objectGUID` everywhere. Times are aware UTC datetimes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

# --- the directory -------------------------------------------------------------------------------------


class Kind(StrEnum):
    """What a directory object is to us. Only users can be persons; only groups are followed."""

    USER = "user"
    GROUP = "group"
    CONTACT = "contact"
    COMPUTER = "computer"  # gMSA accounts as well
    FOREIGN = "foreign"  # foreign security principals, and objects of another domain of the forest
    OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One living directory object as read now.

    `email` is the first value of the configured attribute as it stands there (not lowered).
    `account_expires` is None for "never". `primary_group_rid` is None where there is none.
    """

    guid: str
    kind: Kind
    dn: str
    name: str = ""  # the RDN's value; DirSync never delivers `cn`
    sid: str = ""
    sam_account_name: str = ""
    email: str = ""
    given_name: str = ""
    surname: str = ""
    display_name: str = ""
    disabled: bool = False
    account_expires: datetime | None = None
    primary_group_rid: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A value of a group's `member`: all that an extended DN tells. `sid` is "" for contacts."""

    guid: str
    dn: str
    sid: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delta:
    """One observed change of one object. Level-triggered: it says *look here*, not *what is now*.

    `added`/`removed` are explicit link changes of a group's `member` (DirSync, incremental values).
    `members_unknown` says that the group changed and its members must be read afresh (USN).
    `tombstone` is proof of deletion by this domain; `restored` an undelete.
    `attributes` names what came with the change, lower case, for the change log.
    `holders` are the groups that hold it explicitly, as the object itself said when the change was read (USN); None where it
    was not told. A claim of those groups only: it may be unreadable, and then looks like none.
    """

    guid: str
    dn: str = ""
    kind: Kind | None = None
    tombstone: bool = False
    restored: bool = False
    added: tuple[Target, ...] = ()
    removed: tuple[Target, ...] = ()
    members_unknown: bool = False
    attributes: tuple[str, ...] = ()
    holders: frozenset[str] | None = None


class Source(StrEnum):
    DIRSYNC = "dirsync"
    USN = "usn"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """Where the reading of changes stands; committed only together with the deltas it covers.

    DirSync: `cookie`, valid on any DC of the domain. USN: `usn`, valid only for this
    `ds_service` + `invocation_id`. `profile` is a hash over filter, attributes and flags: another profile
    makes the checkpoint void.
    """

    source: Source
    server: str
    ds_service: str
    invocation_id: str
    profile: str
    cookie: bytes = b""
    usn: int = 0
    at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangePage:
    """One page of changes. Plan only after a page with `more` false: edges may name what comes later."""

    deltas: tuple[Delta, ...]
    checkpoint: Checkpoint
    more: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Domain:
    """Which directory answered. `guid` is the objectGUID of the naming context: the pin of the journal."""

    guid: str
    dns_name: str
    base_dn: str
    sid: str
    server: str
    ds_service: str
    invocation_id: str
    read_only: bool = False
    tombstone_days: int = 60  # 60 where the attribute is unset (MS-ADTS 3.1.1)
    skew_seconds: float | None = None  # directory clock minus ours


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of `check`. `state` is ok, warning or failed; `hint` says what to do."""

    section: str
    name: str
    state: str
    detail: str
    hint: str = ""


# --- the team ------------------------------------------------------------------------------------------


class Status(StrEnum):
    ACTIVE = "active"
    INVITED = "invited"
    SUSPENDED = "suspended"
    REMOVED = "removed"
    UNKNOWN = "unknown"  # a word that a newer API may use: no rule touches such a member


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """An account of the team as Dropbox told it last. E-mail in lower case."""

    member_id: str
    status: Status
    email: str
    given_name: str = ""
    surname: str = ""
    external_id: str = ""
    recoverable: bool = False
    is_team_admin: bool = False
    invited_on: datetime | None = None
    joined_on: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TeamInfo:
    """Licensed and provisioned seats; provisioned counts invited, active and suspended."""

    name: str
    team_id: str
    seats: int
    provisioned: int

    @property
    def free_seats(self) -> int:
        return max(0, self.seats - self.provisioned)


@dataclass(frozen=True, slots=True, kw_only=True)
class TeamGroup:
    """A group of the team as Dropbox told it last. `is_company_managed` is false for those that members manage
    and for the system's own; `member_count` None where the reply left it out.
    """

    group_id: str
    name: str
    external_id: str = ""
    is_company_managed: bool = True
    is_system_managed: bool = False
    member_count: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TeamEvent:
    """One line of the team's event log, as far as drift detection needs it. There is no event id."""

    at: datetime
    kind: str  # the event_type tag
    member_id: str = ""
    email: str = ""
    group_id: str = ""
    by_us: bool = False  # actor is the app that our token belongs to, where that can be told
    by_app: bool = False  # actor is an app: ours, or another one
    actor: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventPage:
    events: tuple[TeamEvent, ...]
    cursor: str
    more: bool
    reset_to: datetime | None = None  # the log asks to start again from here


# --- actions -------------------------------------------------------------------------------------------


class ActionKind(StrEnum):
    INVITE = "invite"
    UPDATE = "update"
    SUSPEND = "suspend"
    UNSUSPEND = "unsuspend"
    REMOVE = "remove"
    RECOVER = "recover"
    REVOKE_INVITE = "revoke_invite"
    RESEND_WELCOME = "resend_welcome"
    GROUP_CREATE = "group_create"
    GROUP_RENAME = "group_rename"
    GROUP_ADD = "group_add"
    GROUP_REMOVE = "group_remove"
    GROUP_DELETE = "group_delete"


DESTRUCTIVE = frozenset(
    {
        ActionKind.SUSPEND,
        ActionKind.REMOVE,
        ActionKind.REVOKE_INVITE,
        ActionKind.GROUP_REMOVE,
        ActionKind.GROUP_DELETE,
    }
)
LEAVER_KINDS = frozenset({ActionKind.SUSPEND, ActionKind.REMOVE, ActionKind.REVOKE_INVITE})
"""Destructive actions whose subject is a person."""

GROUP_KINDS = frozenset(
    {
        ActionKind.GROUP_CREATE,
        ActionKind.GROUP_RENAME,
        ActionKind.GROUP_ADD,
        ActionKind.GROUP_REMOVE,
        ActionKind.GROUP_DELETE,
    }
)
MEMBERSHIP_KINDS = frozenset({ActionKind.GROUP_ADD, ActionKind.GROUP_REMOVE})
"""Of these each action is one person in one group; they are sent together, a group and kind at a time."""

FREES_SEAT = frozenset({ActionKind.REMOVE, ActionKind.REVOKE_INVITE})
NEEDS_SEAT = frozenset({ActionKind.INVITE, ActionKind.RECOVER})


class State(StrEnum):
    """States of an action; the transitions stand in `pipeline.core.transitions`."""

    PLANNED = "planned"
    SENDING = "sending"
    WAITING = "waiting"
    RETRY = "retry"
    FAILED = "failed"
    HELD = "held"
    DONE = "done"
    SUPERSEDED = "superseded"


OPEN_STATES = frozenset({State.PLANNED, State.SENDING, State.WAITING, State.RETRY, State.FAILED, State.HELD})


class WaitFor(StrEnum):
    """What a waiting action waits for."""

    JOINED = "joined"  # the invited member accepts
    SEAT = "seat"
    SETTLING = "settling"  # users.leave_settle_seconds, and a second read
    GRACE = "grace"  # users.delete_grace_days


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What the directory wants Dropbox to show, cleaned to what Dropbox accepts.

    An empty field means "the directory gives nothing usable": it is never sent.
    """

    email: str = ""
    given_name: str = ""
    surname: str = ""
    external_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """One action that a decision asks for. `changes` holds only what is to be set (update, invite)."""

    kind: ActionKind
    reason: str
    changes: Profile = field(default_factory=Profile)
    wait: WaitFor | None = None
    until: datetime | None = None  # for settling and grace
    cause: str = ""  # what the brake and the mails cluster by


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One row of the outbox: an intended write, written ahead.

    `group_guid` is the directory group's GUID where the write is about a group, else "". `guid` is then the
    person's for a membership, and the group's for all else; `group_name` the name that the group shall have.
    """

    id: int
    guid: str
    kind: ActionKind
    state: State
    email: str
    member_id: str
    changes: Profile
    reason: str
    cause: str
    pass_id: int
    ordinal: int = 0  # order among the actions of one person
    attempts: int = 0
    approved: bool = False
    wait: WaitFor | None = None
    due: datetime | None = None
    job_id: str = ""  # async job that carries it, once known
    precondition: str = ""  # what it was based on: the member's status, the name of a group to be renamed
    before: Profile = field(default_factory=Profile)  # what the member showed then: what `undo` goes back to
    error: str = ""
    hint: str = ""
    seen_at: datetime | None = None  # when the change behind it was seen
    planned_at: datetime | None = None
    sent_at: datetime | None = None
    settled_at: datetime | None = None
    group_guid: str = ""
    group_id: str = ""
    group_name: str = ""


class Verdict(StrEnum):
    """What became of a write, after the vendor's reply was classified."""

    DONE = "done"
    ALREADY = "already"  # the team already is as wanted
    RETRY = "retry"  # transient: nothing happened, try later
    NO_SEAT = "no_seat"
    NOT_JOINED = "not_joined"  # refused because the member is still invited
    FAILED = "failed"  # permanent until somebody changes something
    UNKNOWN = "unknown"  # the reply was lost: read back before anything else
    STALE = "stale"  # what it was based on no longer holds: decide again


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """`member` or `group` is what the reply showed, where it did. `hint` says what the admin can do."""

    verdict: Verdict
    member: Member | None = None
    group: TeamGroup | None = None
    tag: str = ""
    hint: str = ""
    retry_after: float | None = None
    job_id: str = ""


# --- what people are told ------------------------------------------------------------------------------


class Severity(StrEnum):
    NOTICE = "notice"
    WARNING = "warning"
    CRITICAL = "critical"


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """Something an admin must know. `key` groups: one mail a key until it changes or is over.

    `lines` are facts (who, what); `remedy` says what to do. `fingerprint` changes when the content does.
    """

    key: str
    severity: Severity
    title: str
    lines: tuple[str, ...] = ()
    remedy: str = ""
    fingerprint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PassRecord:
    id: int
    started: datetime
    ended: datetime | None = None
    exit_code: int | None = None
    simulated: bool = False
    full: bool = False
    actions: dict[str, int] = field(default_factory=dict)


Json = dict[str, Any]

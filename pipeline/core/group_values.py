"""What decisions about groups are made of, and what they come to, as frozen values. (behaviour.md §6)"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from pipeline.model import MEMBERSHIP_KINDS, Action, ActionKind, Status, TeamGroup
from pipeline.records import GroupPin


class Mode(StrEnum):
    OFF = "off"
    SAME = "same"
    SEPARATE = "separate"


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupPolicy:
    """The `[groups]` section. `own_id_prefix`: how our external ids begin."""

    mode: Mode = Mode.OFF
    adopt_existing: bool = False
    delete_on_leave: bool = False
    overwrite_foreign_ids: bool = False
    own_id_prefix: str = "ad-guid:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """A user of the directory, as far as groups look at them.

    `member_id` "" : not linked to anybody, so not managed. `is_listed`: in user scope. `is_leaving`: no longer listed,
    and no second read has confirmed it. `trouble`: why a person in user scope is not managed and won't be (skipped,
    unmanaged); "" for who is, or is still to be invited. `excluded`: never touched.
    """

    guid: str
    label: str
    member_id: str = ""
    status: Status | None = None
    is_listed: bool = True
    is_leaving: bool = False
    is_seen: bool = True
    is_disabled: bool = False
    trouble: str = ""
    excluded: str = ""

    @property
    def is_on_team(self) -> bool:
        return bool(self.member_id) and self.status in (Status.ACTIVE, Status.INVITED, Status.SUSPENDED)


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectoryGroup:
    """A group to sync. `users`: GUIDs of all users in it, through any nesting.

    `is_opaque`: something below it can't be read and may be a group, so that absence proves nothing. `external_id`
    "" where the configured format can't be filled.
    """

    guid: str
    name: str
    sid: str = ""
    external_id: str = ""
    users: frozenset[str] = frozenset()
    is_opaque: bool = False

    @property
    def fingerprint(self) -> str:
        """Changes whenever the directory changes its name or who is in it."""
        text = "\0".join([self.name, *sorted(self.users)])
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What the journal knows of the Dropbox side.

    `links`: directory group → Dropbox group. `members`: of linked groups, the member ids. `holders`: member id → the
    person linked to it. `names` are those of the linked directory groups, for when they are gone. `pins`: what was
    undone, by directory group and subject (a person, or the group itself).
    """

    team_groups: Mapping[str, TeamGroup] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    members: Mapping[str, frozenset[str]] = field(default_factory=dict)
    holders: Mapping[str, str] = field(default_factory=dict)
    pins: Mapping[str, Mapping[str, GroupPin]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedGroup:
    """One write that a decision asks for. `guid`: the person's for a membership, else the group's.

    `name` and `external_id` are what is to be set, `old_name` what a rename finds; `wave`: those of a wave may be sent
    side by side, after those before.
    """

    kind: ActionKind
    guid: str
    reason: str
    name: str = ""
    old_name: str = ""
    external_id: str = ""
    member_id: str = ""
    email: str = ""
    cause: str = ""
    wave: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupDecision:
    """`adopt`: link to this Dropbox group, and how it was found. `unlink`: it left, and the Dropbox group stays.

    `failure`: why the group fails to sync, and `fault` the same as one word that failures are grouped by. `left_out`:
    persons of the directory group who are not put into the Dropbox group, and why. `pinned`: what of it is left as an
    `undo` wants it; `unpin`: pins that the directory has overtaken.
    """

    guid: str
    name: str
    group_id: str = ""
    adopt: tuple[TeamGroup, str] | None = None
    unlink: bool = False
    wanted: tuple[WantedGroup, ...] = ()
    failure: str = ""
    fault: str = ""
    has_members: bool = True  # False: its memberships were not looked at
    left_out: tuple[tuple[str, str], ...] = ()
    pinned: tuple[GroupPin, ...] = ()
    unpin: tuple[GroupPin, ...] = ()


@dataclass(frozen=True, slots=True)
class GroupContent:
    """What makes two writes about groups the same one: nothing of it may have changed since it was shown."""

    kind: ActionKind
    group_guid: str
    guid: str
    name: str = ""
    external_id: str = ""

    @classmethod
    def of(cls, action: Action) -> GroupContent:
        is_membership = action.kind in MEMBERSHIP_KINDS
        return cls(
            kind=action.kind,
            group_guid=action.group_guid,
            guid=action.guid,
            name="" if is_membership else action.group_name,
            external_id=action.changes.external_id,
        )

    @classmethod
    def wanted(cls, one: WantedGroup, group_guid: str) -> GroupContent:
        return cls(
            kind=one.kind,
            group_guid=group_guid,
            guid=one.guid,
            name="" if one.kind in MEMBERSHIP_KINDS else one.name,
            external_id=one.external_id,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupSelection:
    """A pass about some writes only: the memberships of `people`, or with `rows` exactly these."""

    people: frozenset[str] = frozenset()
    rows: frozenset[GroupContent] | None = None

    def allows(self, content: GroupContent) -> bool:
        if self.rows is not None:
            return content in self.rows
        return content.kind in MEMBERSHIP_KINDS and content.guid in self.people

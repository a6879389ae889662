"""Who is decided about, under which settings, and what a decision consists of: the values of `plan.decide`."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from pipeline.core.identity import How, Match
from pipeline.core.mapping import Mapped
from pipeline.core.namesake import Claim
from pipeline.model import Member, Wanted
from pipeline.records import Link, Node, Pin


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The settings that a decision depends on, with the defaults of a new configuration."""

    manage_existing: bool = True
    remove_on_delete: bool = True
    delete_grace: timedelta = timedelta(0)
    revoke_invited_leavers: bool = True
    expired_is_disabled: bool = False
    leave_settle: timedelta = timedelta(seconds=60)
    reinvite_every: timedelta = timedelta(0)  # zero: never
    reinvite_on_email_change: bool = False
    hold_console_suspension: bool = False
    external_id_format: str = "ad-guid:{objectGUID}"
    overwrite_foreign_ids: bool = False
    adopt_legacy: bool = True


class Presence(StrEnum):
    LISTED = "listed"
    LEFT = "left"
    DELETED = "deleted"  # with proof: a tombstone of this domain
    UNREADABLE = "unreadable"  # listed, but the account can't see it: proves nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """All that is known about one person at the moment of the decision.

    `scope_path`: names of the groups that lead to the person. `duplicate_of`: another listed person with the
    same e-mail. `pin`: an `undo` stands until the directory changes the person. `claimed_by`: another, listed person who carries the e-mail of this person's member.
    `claim`: this person carries the e-mail of the member of somebody who is known. `parked_email`: an address that was refused, or that the brake holds.
    """

    node: Node
    mapped: Mapped
    link: Link | None = None
    match: Match = field(default_factory=Match)
    excluded: str = ""
    duplicate_of: str = ""
    claimed_by: str = ""
    claim: Claim | None = None
    parked_email: str = ""
    pin: Pin | None = None
    scope_path: tuple[str, ...] = ()

    @property
    def presence(self) -> Presence:
        if not self.node.live:
            return Presence.DELETED
        if self.node.listed:
            return Presence.LISTED if self.node.seen else Presence.UNREADABLE
        return Presence.LEFT


class NoteKind(StrEnum):
    """What is reported; notes of one kind make one alert."""

    SKIPPED = "skipped"
    CONSOLE_SUSPENSION = "console_suspension"
    MISSING_RIGHT = "missing_right"
    NAMESAKE = "namesake"
    FOREIGN_ID = "foreign_id"
    INVITED_EMAIL = "invited_email"
    GROUP_FAILED = "group_failed"  # `detail` begins with the fault that failures are grouped by
    GROUP_LEFT_OUT = "group_left_out"
    GROUP_KEPT = "group_kept"  # unlinked: it left, and stays in Dropbox as it is


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """Something to report: about whom (`label` is an e-mail, a name or a DN), and what."""

    kind: NoteKind
    guid: str = ""
    label: str = ""
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """`adopt`: link the person to this member, and how it was found. `skipped`: why nothing is done.

    `look_again`: a moment at which the answer changes without any event (expiry, another welcome mail).
    `claim`: the namesake's claim that waits for an approval.
    """

    wanted: tuple[Wanted, ...] = ()
    adopt: tuple[Member, How] | None = None
    skipped: str = ""
    notes: tuple[Note, ...] = ()
    look_again: datetime | None = None
    claim: Claim | None = None


NOTHING = Decision()
"""Nothing is wanted, noted or awaited: what is decided about nearly everybody."""


def is_disabled(node: Node, policy: Policy, now: datetime) -> bool:
    """Disabled is bit 2 of userAccountControl; an expired account counts only when the policy says so."""
    if node.entry.disabled:
        return True
    expires = node.entry.account_expires
    return policy.expired_is_disabled and expires is not None and expires <= now


def label_of(node: Node) -> str:
    """How a person is called in logs and mails."""
    entry = node.entry
    return entry.email or entry.display_name or entry.sam_account_name or entry.dn or entry.guid

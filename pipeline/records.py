"""What the journal hands out and takes in, as frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from pipeline.model import Action, ActionKind, Alert, Delta, Entry, Profile, State, WaitFor


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One object of the mirror. `entry` is the last sight of it.

    `live` false: a tombstone proved its deletion. `seen` false: it could not be read at the last look, which
    proves nothing. `left_confirmed`: no longer being listed held on a second read, after the settling time.
    """

    entry: Entry
    live: bool = True
    seen: bool = True
    listed: bool = False
    first_listed_at: datetime | None = None
    left_at: datetime | None = None
    left_how: str = ""
    left_confirmed: bool = False
    left_cause: str = ""
    deleted_at: datetime | None = None
    died_excluded: bool = (
        False  # the exclusion group held them when they were deleted: AD then takes them out of it
    )

    @property
    def guid(self) -> str:
        return self.entry.guid


@dataclass(frozen=True, slots=True)
class Edge:
    parent: str
    child: str
    primary: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class MirrorChange:
    """What one poll or full read changes in the mirror; written in one transaction with its checkpoint.

    `forgotten`: objects that the mirror drops. `replace`: the edges given are all there are (full read). `left` maps to the cause ("removed from Sales").
    """

    at: datetime
    entries: tuple[Entry, ...] = ()
    tombstones: frozenset[str] = frozenset()
    unseen: frozenset[str] = frozenset()
    protected: frozenset[str] = frozenset()  # in the exclusion group when they were deleted
    forgotten: frozenset[str] = frozenset()
    added: tuple[Edge, ...] = ()
    removed: tuple[Edge, ...] = ()
    replace: bool = False
    entered: frozenset[str] = frozenset()
    left: Mapping[str, str] = field(default_factory=dict)
    left_how: str = "edge"
    confirmed: frozenset[str] = frozenset()
    dirty: frozenset[str] = frozenset()
    deltas: tuple[Delta, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """Person ↔ member. `suspended_by_us`: the suspension that stands is ours, not the console's."""

    guid: str
    member_id: str
    how: str
    at: datetime
    old_external_id: str = ""
    suspended_by_us: bool = False
    welcomes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupLink:
    """Directory group ↔ Dropbox group. `doubted`: it may have changed in Dropbox; read before it is decided about."""

    guid: str
    group_id: str
    how: str
    at: datetime
    name: str
    doubted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupPin:
    """What an `undo` wants of a group, until the directory says something else about the same subject.

    `guid`: the person's for a membership, else the group's own. `kind`: what undoes (group_add, group_remove,
    group_rename, group_delete). `name`: the one to go back to. `was`: what the directory said when it was undone
    ("in" or "out", the group's name, or its fingerprint).
    """

    group_guid: str
    guid: str
    kind: ActionKind
    was: str
    reason: str
    at: datetime
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """A person whose actions were undone: `kind` is what still has to be done for it, None when nothing is."""

    guid: str
    kind: ActionKind | None
    changes: Profile
    reason: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Dirty:
    """A person to decide about, and why. `seen_at` is when the oldest change behind it was seen."""

    guid: str
    mark: int
    cause: str
    seen_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """The next state of an action that was on its way, and what goes with it. `job_id`: still in doubt.

    `was`: its state on disk, where that is newer than `action`, which may be as it was claimed.
    `changes`: the part of an update that this state is about; the rest is decided about afresh.
    """

    action: Action
    state: State
    was: State | None = None
    error: str = ""
    hint: str = ""
    due: datetime | None = None
    wait: WaitFor | None = None
    member_id: str = ""
    job_id: str = ""
    changes: Profile | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldRecord:
    """A set that the brake holds, as it was shown."""

    hash: str
    kind: str
    at: datetime
    wanted: int
    limit_text: str
    clusters: tuple[tuple[str, int], ...]
    items: tuple[tuple[str, str], ...]  # (guid, action kind)
    approved_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MailRecord:
    """One mail of the outbox, with the Message-ID that every try carries."""

    id: int
    message_id: str
    alerts: tuple[Alert, ...]
    over: tuple[str, ...]
    simulated: bool
    attempts: int

"""The brake (behaviour.md §8): what may be sent now, and what an admin has to approve first.

Items are counted per kind of subject over a rolling window: what was sent within it, and what is wanted now.
Over the limit **all** wanted items of that kind are held, the rest goes on. A held set is known by a hash over
exactly its content, so that an approval releases what was shown and nothing else. What is held stays held until it is
approved or wanted no more: an admin who does nothing must not find it sent once the window has moved on.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from enum import StrEnum

from pipeline.core.clusters import Cluster, clusters_of
from pipeline.model import FREES_SEAT, LEAVER_KINDS, Action, ActionKind, State
from pipeline.records import HeldRecord

HASH_LENGTH = 12
ALWAYS_HELD_FROM = 4
"""Managed members from which on more than half of them is held whatever the setting."""


class Subject(StrEnum):
    """What is counted together."""

    LEAVERS = "leavers"
    GROUP_MEMBERS = "group_members"
    GROUP_DELETES = "group_deletes"
    EMAIL_CHANGES = "email_changes"
    INVITES = "invites"


@dataclass(frozen=True, slots=True, kw_only=True)
class BrakeItem:
    """One wanted action, as far as the brake looks at it.

    `guid` is the person's, or for GROUP_DELETE the group's; `group_guid` the directory group of a GROUP_REMOVE.
    `new_email` is set when an UPDATE changes the e-mail. `detail` is whatever else the approval shall be bound
    to. `cause`, `dn` and `seen_at` only serve to show clusters. `held`: a set that was shown holds it already. `ref` is the
    caller's own, and not looked at.
    """

    guid: str
    kind: ActionKind
    group_guid: str = ""
    new_email: str = ""
    detail: str = ""
    cause: str = ""
    dn: str = ""
    seen_at: datetime | None = None
    approved: bool = False
    held: bool = False
    ref: int = 0

    @property
    def content(self) -> tuple[str, ...]:
        """What an approval is bound to."""
        return (self.guid, self.kind.value, self.group_guid, self.new_email.lower(), self.detail)


@dataclass(frozen=True, slots=True)
class Limit:
    """Either a number, or a percentage with a number as its floor."""

    number: int
    percent: Decimal | None = None

    @classmethod
    def parse(cls, setting: str | int, *, floor: int = 10) -> Limit:
        """From `5%` or a number as it stands in `connector.toml`. ValueError when it is neither, or negative."""
        text = str(setting).strip()
        try:
            limit = cls(floor, Decimal(text[:-1].strip())) if text.endswith("%") else cls(int(text))
            in_range = limit.number >= 0 and (limit.percent is None or 0 <= limit.percent <= 100)
        except (InvalidOperation, ValueError) as error:  # comparing Decimal's NaN is an InvalidOperation too
            raise ValueError(f"{text!r} is neither a number nor a percentage such as 5%") from error
        if not in_range:
            raise ValueError(f"{text!r} is out of range")
        return limit

    def of(self, total: int) -> int:
        """How many are let go when there are `total`; a part of one is none."""
        return self.number if self.percent is None else max(self.number, int(total * self.percent / 100))

    def describe(self, total: int) -> str:
        if self.percent is None:
            return f"at most {self.number}"
        return f"at most {self.percent}% of {total}, but {self.number} in any case"


@dataclass(frozen=True, slots=True, kw_only=True)
class BrakePolicy:
    """The `[safety]` section. `max_invites` 0 is no limit."""

    max_leavers: Limit = field(default_factory=lambda: Limit(10, Decimal(5)))
    max_email_changes: Limit = field(default_factory=lambda: Limit(10, Decimal(10)))
    max_invites: int = 0
    window: timedelta = timedelta(hours=24)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """One write that left, or was let go and may leave at any moment (`at` is now). `approved`: by hand, and so it counts no more."""

    guid: str
    kind: ActionKind
    at: datetime
    group_guid: str = ""
    new_email: str = ""
    approved: bool = False

    @classmethod
    def of(cls, action: Action, now: datetime) -> Sent:
        """Of an action that was sent, or let go: then it is still `planned`."""
        at = now if action.state is State.PLANNED else action.sent_at
        assert at is not None
        return cls(
            guid=action.guid,
            kind=action.kind,
            at=at,
            group_guid=action.group_guid,
            new_email=action.changes.email if action.kind is ActionKind.UPDATE else "",
            approved=action.approved,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowCounts:
    """The distinct persons whom writes within the window touched, per kind of subject; built by `count_window`.

    `gone` are those leavers whose account or invitation went, and who therefore are managed no more.
    """

    leavers: frozenset[str] = frozenset()
    gone: frozenset[str] = frozenset()
    group_members: Mapping[str, frozenset[str]] = field(default_factory=dict)
    email_changes: frozenset[str] = frozenset()
    invites: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldSet:
    """Items that wait for `approve HASH`.

    `wanted` and `sent` count distinct persons (group deletes: groups), `limit` is what both together may
    reach, `rule` says in words where it comes from. `group_guid` is set when one group alone is over its limit.
    """

    hash: str
    subject: Subject
    items: tuple[BrakeItem, ...]
    wanted: int
    sent: int
    limit: int
    rule: str
    kinds: tuple[tuple[ActionKind, int], ...]
    clusters: tuple[Cluster, ...]
    group_guid: str = ""

    def record(self, now: datetime) -> HeldRecord:
        """As it is kept in the journal."""
        return HeldRecord(
            hash=self.hash,
            kind=self.subject.value,
            at=now,
            wanted=self.wanted,
            limit_text=self.rule,
            clusters=tuple(
                (f"{cluster.by}: {cluster.value}" if cluster.value else "others", cluster.count)
                for cluster in self.clusters
            ),
            items=tuple(
                (f"{item.group_guid}/{item.guid}" if item.group_guid else item.guid, item.kind.value)
                for item in self.items
            ),
        )


@dataclass(frozen=True, slots=True)
class BrakeResult:
    """`released` keeps the order of what was wanted."""

    released: tuple[BrakeItem, ...]
    held: tuple[HeldSet, ...]


def subject_of(kind: ActionKind, *, new_email: str = "") -> Subject | None:
    """What the action counts as; None for what the brake never looks at."""
    if kind in LEAVER_KINDS:
        return Subject.LEAVERS
    if kind is ActionKind.UPDATE:
        return Subject.EMAIL_CHANGES if new_email else None
    return {
        ActionKind.GROUP_REMOVE: Subject.GROUP_MEMBERS,
        ActionKind.GROUP_DELETE: Subject.GROUP_DELETES,
        ActionKind.INVITE: Subject.INVITES,
    }.get(kind)


def counted_kinds(wanted: Iterable[BrakeItem], policy: BrakePolicy) -> frozenset[ActionKind]:
    """Of which kinds `count_window` must see what was sent, for `apply_brake` to judge these persons; of none where none is
    braked. On the day of a first load the window holds an invitation for everybody: it is read only where it counts.
    """
    subjects = {subject_of(item.kind, new_email=item.new_email) for item in wanted}
    kinds = set(
        LEAVER_KINDS if subjects & {Subject.LEAVERS, Subject.EMAIL_CHANGES} else ()
    )  # the base has who is gone
    if Subject.EMAIL_CHANGES in subjects:
        kinds.add(ActionKind.UPDATE)
    if Subject.INVITES in subjects and policy.max_invites:
        kinds.add(ActionKind.INVITE)
    return frozenset(kinds)


def count_window(sent: Iterable[Sent], *, now: datetime, policy: BrakePolicy) -> WindowCounts:
    """Counts what was sent within the policy's window before `now`, each person once."""
    touched: dict[Subject, set[str]] = defaultdict(set)
    group_members: dict[str, set[str]] = defaultdict(set)
    gone: set[str] = set()
    for one in sent:
        subject = subject_of(one.kind, new_email=one.new_email)
        if subject is None or one.approved or one.at <= now - policy.window:
            continue
        touched[subject].add(one.guid)
        if one.kind in FREES_SEAT:
            gone.add(one.guid)
        if subject is Subject.GROUP_MEMBERS:
            group_members[one.group_guid].add(one.guid)
    return WindowCounts(
        leavers=frozenset(touched[Subject.LEAVERS]),
        gone=frozenset(gone),
        group_members={group: frozenset(persons) for group, persons in group_members.items()},
        email_changes=frozenset(touched[Subject.EMAIL_CHANGES]),
        invites=frozenset(touched[Subject.INVITES]),
    )


def apply_brake(
    wanted: Sequence[BrakeItem],
    window: WindowCounts,
    managed: int,
    policy: BrakePolicy,
    *,
    group_sizes: Mapping[str, int] | None = None,
    first_pass: bool = False,
) -> BrakeResult:
    """Splits what is wanted into what may be sent and what is held.

    `managed` is the number of members managed now (removed accounts are not among them); shares are taken of these
    and of those whom the window's writes removed, else a leak would shrink its own base. `group_sizes` is
    the present size of each Dropbox group by the GUID of its directory group. `first_pass`: no real pass has
    ended yet, so invitations aren't limited. Approved items pass, and count neither here nor later.
    """
    managed += len(window.gone)
    by_subject: dict[Subject, list[BrakeItem]] = defaultdict(list)
    for item in wanted:
        subject = subject_of(item.kind, new_email=item.new_email)
        if subject is not None and not item.approved:
            by_subject[subject].append(item)

    held: list[HeldSet] = []
    for subject, items in sorted(by_subject.items()):
        if subject is Subject.LEAVERS:
            held += _hold(subject, items, window.leavers, *_limit_of_people(managed, policy))
        elif subject is Subject.GROUP_MEMBERS:
            held += _hold_group_members(items, window, managed, policy, group_sizes or {})
        elif subject is Subject.GROUP_DELETES:
            held += _hold(subject, items, frozenset(), 0, "deleting a group always needs approval")
        elif subject is Subject.EMAIL_CHANGES:
            limit = policy.max_email_changes
            held += _hold(subject, items, window.email_changes, limit.of(managed), limit.describe(managed))
        elif policy.max_invites and not first_pass:
            limit = Limit(policy.max_invites)
            held += _hold(subject, items, window.invites, limit.number, limit.describe(managed))

    # by identity: two equal items are still two rows of the caller's
    stopped = {id(item) for one in held for item in one.items}
    return BrakeResult(tuple(item for item in wanted if id(item) not in stopped), tuple(held))


def content_hash(subject: Subject, items: Iterable[BrakeItem], *, group_guid: str = "") -> str:
    """Twelve hex digits over the subject and the sorted content of the items; order doesn't matter."""
    lines = sorted("\x1f".join(item.content) for item in items)
    return hashlib.sha256("\x1e".join([subject.value, group_guid, *lines]).encode()).hexdigest()[:HASH_LENGTH]


def _limit_of_people(managed: int, policy: BrakePolicy) -> tuple[int, str]:
    limit = policy.max_leavers.of(managed)
    half = managed // 2
    if managed >= ALWAYS_HELD_FROM and half < limit:
        return half, f"never more than half of {managed} managed members"
    return limit, policy.max_leavers.describe(managed)


def _hold_group_members(
    items: list[BrakeItem],
    window: WindowCounts,
    managed: int,
    policy: BrakePolicy,
    group_sizes: Mapping[str, int],
) -> list[HeldSet]:
    """All groups together like leavers, else group by group, as a share of the group's members."""
    everybody: frozenset[str] = frozenset().union(*window.group_members.values())
    limit, rule = _limit_of_people(managed, policy)
    if len(everybody | {item.guid for item in items}) > limit:
        return _hold(Subject.GROUP_MEMBERS, items, everybody, limit, rule)
    by_group: dict[str, list[BrakeItem]] = defaultdict(list)
    for item in items:
        by_group[item.group_guid].append(item)
    held: list[HeldSet] = []
    for group, of_group in sorted(by_group.items()):
        sent = window.group_members.get(group, frozenset())
        size = group_sizes.get(group, 0) + len(sent)  # the size before the window's removals
        of_size = policy.max_leavers
        held += _hold(
            Subject.GROUP_MEMBERS, of_group, sent, of_size.of(size), of_size.describe(size), group=group
        )
    return held


def _hold(
    subject: Subject,
    items: Sequence[BrakeItem],
    sent: frozenset[str],
    limit: int,
    rule: str,
    *,
    group: str = "",
) -> list[HeldSet]:
    """The items as one held set when they and what was sent exceed the limit; else those that are held already."""
    persons = {item.guid for item in items}
    if len(persons | sent) <= limit:
        items = [item for item in items if item.held]
        if not items:
            return []
        persons = {item.guid for item in items}
        rule = f"{rule}; more than that when they were held"
    elif sent:
        # Four of eleven are no half: whoever reads the rule must see what else was counted.
        rule = f"{rule}; {len(sent)} sent within safety.window_hours count too"
    return [
        HeldSet(
            hash=content_hash(subject, items, group_guid=group),
            subject=subject,
            items=tuple(sorted(items, key=lambda item: (item.content, item.ref))),
            wanted=len(persons),
            sent=len(sent),
            limit=limit,
            rule=rule,
            kinds=tuple(sorted(Counter(item.kind for item in items).items())),
            clusters=clusters_of(items),
            group_guid=group,
        )
    ]

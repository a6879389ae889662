"""The order in which a pass's actions are sent.

What frees an address comes before what takes it. Between actions that don't depend on each other the kinds come
in this order: what frees a seat (removals, revoked invitations), suspensions, re-activations, updates, new accounts
in the order in which people were first seen, and groups last. (behaviour.md §4: chains of e-mail changes;
§5: actions that free seats go first, freed seats are used first come first served)
"""

from __future__ import annotations

import heapq
import itertools
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from pipeline.model import FREES_SEAT, ActionKind, Profile

_RANKS = {
    kind: rank
    for rank, kinds in enumerate(
        (
            (ActionKind.REMOVE, ActionKind.REVOKE_INVITE),
            (ActionKind.SUSPEND,),
            (ActionKind.UNSUSPEND,),
            (ActionKind.UPDATE,),
            (ActionKind.RECOVER, ActionKind.INVITE),  # one queue: both wait for the same seats
            (ActionKind.RESEND_WELCOME,),
            (ActionKind.GROUP_DELETE,),  # frees a name
            (ActionKind.GROUP_RENAME,),  # frees one and takes one
            (ActionKind.GROUP_CREATE,),
            (ActionKind.GROUP_REMOVE,),
            (ActionKind.GROUP_ADD,),
        )
    )
    for kind in kinds
}

# Of one person, whatever else waits: the account comes back before it is changed, and the suspension that a grace
# starts with comes before the removal that ends it.
_OWN_ORDER = (
    ActionKind.REVOKE_INVITE,
    ActionKind.SUSPEND,
    ActionKind.REMOVE,
    ActionKind.RECOVER,
    ActionKind.UNSUSPEND,
    ActionKind.UPDATE,
    ActionKind.INVITE,
    ActionKind.RESEND_WELCOME,
)
_OWN_RANKS = {kind: rank for rank, kind in enumerate(_OWN_ORDER)}

_LAST = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """One action, as far as its order depends on it.

    `guid` is the person's, of a group's action the group's. `member_email`: the address that the member has in
    Dropbox now, empty when there is no member. `seen_at`: when the change behind it was first seen. `ref` is the
    caller's own and decides between equals.
    """

    guid: str
    kind: ActionKind
    changes: Profile = field(default_factory=Profile)
    member_email: str = ""
    seen_at: datetime | None = None
    ref: int = 0

    @property
    def takes(self) -> str:
        """The address that must be free for this action; empty when it needs none."""
        if self.kind not in (ActionKind.UPDATE, ActionKind.INVITE):
            return ""
        email = self.changes.email.lower()
        return "" if self.kind is ActionKind.UPDATE and email == self.member_email.lower() else email

    @property
    def frees(self) -> str:
        """The address that is free once this action is done; empty when none is."""
        is_freed = self.kind in FREES_SEAT or (self.kind is ActionKind.UPDATE and self.takes)
        return self.member_email.lower() if is_freed else ""


@dataclass(frozen=True, slots=True)
class Ordered:
    """Each action is in exactly one of the three.

    `swaps`: circles of actions, each of which waits for an address that the next one holds; no order makes
    them work. `blocked`: what could only come after a swap.
    """

    sequence: tuple[Planned, ...]
    swaps: tuple[tuple[Planned, ...], ...] = ()
    blocked: tuple[Planned, ...] = ()


def order(actions: Sequence[Planned]) -> Ordered:
    """Sorts so that all dependencies hold; the same actions in any order give the same result."""
    nodes = sorted(actions, key=_priority)
    after, waits_for = _dependencies(nodes)
    missing = [len(one) for one in waits_for]
    ready = [place for place, count in enumerate(missing) if not count]  # ascending: a heap already
    sequence = []
    while ready:
        place = heapq.heappop(ready)
        sequence.append(place)
        for later in after[place]:
            missing[later] -= 1
            if not missing[later]:
                heapq.heappush(ready, later)
    stuck = set(range(len(nodes))).difference(sequence)
    circles = _circles(stuck, waits_for)
    blocked = sorted(stuck.difference(*circles))
    return Ordered(
        tuple(nodes[place] for place in sequence),
        tuple(tuple(nodes[place] for place in circle) for circle in circles),
        tuple(nodes[place] for place in blocked),
    )


def _priority(action: Planned) -> tuple[int, datetime, str, int, int]:
    own = _OWN_RANKS.get(action.kind, 0)
    return (_RANKS[action.kind], action.seen_at or _LAST, action.guid, own, action.ref)


def _dependencies(nodes: Sequence[Planned]) -> tuple[list[set[int]], list[set[int]]]:
    """For each action the places of those that must come after it, and of those that must come before it."""
    of_person: dict[str, list[int]] = defaultdict(list)
    freed_by: dict[str, list[int]] = defaultdict(list)
    for place, action in enumerate(nodes):
        if action.kind in _OWN_RANKS:
            of_person[action.guid].append(place)
        if action.frees:
            freed_by[action.frees].append(place)
    waits_for: list[set[int]] = [set() for _ in nodes]
    for places in of_person.values():
        places.sort(key=lambda place: (_OWN_RANKS[nodes[place].kind], place))
        for first, second in itertools.pairwise(places):
            waits_for[second].add(first)
    for place, action in enumerate(nodes):
        if action.takes:
            waits_for[place].update(freed_by.get(action.takes, ()))
    after: list[set[int]] = [set() for _ in nodes]
    for place, before in enumerate(waits_for):
        for first in before:
            after[first].add(place)
    return after, waits_for


def _circles(stuck: set[int], waits_for: Sequence[set[int]]) -> list[tuple[int, ...]]:
    """Circles among those that wait for each other: from each, back to what it waits for, until one comes again."""
    circles = []
    done: set[int] = set()
    for start in sorted(stuck):
        trail: dict[int, None] = {}  # keeps the order
        place = start
        while place not in done and place not in trail:
            trail[place] = None
            place = min(waits_for[place] & stuck)
        if place in trail:
            way = list(trail)
            circles.append(tuple(way[way.index(place) :]))
        done.update(trail)
    return circles

"""Who is reached from the sync group: reachability over direct edges, kept up to date change by change.

Only direct edges are stored. A node is *reached* when it lives and is the root, or when a reached group holds
it, as an explicit member or by primary group. Reached users are *listed*. Dead nodes keep their edges (a
Recycle-Bin restore makes the links visible again without an event), and so do edges to objects not yet seen:
both count again once the node lives.

What a change costs: an addition walks what it newly reaches. A removal first walks *up* from the child: most
of the time another path is found among the ancestors and nothing below has to be looked at. Only when the child
is lost is its subtree taken back, and what an outside parent still holds is reached again. The rest of the
graph is never visited.

Memory: a person costs one entry in the state table, one per kind of edge in the parents' tables and one in the
group's set; a single parent is stored bare, without a tuple around it. GUIDs are interned: each text exists once.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from pipeline.model import Kind

_LIVE = 1
_REACHED = 2
_KIND_SHIFT = 2
_KINDS = tuple(Kind)
_KIND_NUMBER = {kind: number for number, kind in enumerate(_KINDS)}
_USER = _KIND_NUMBER[Kind.USER]
_GROUP = _KIND_NUMBER[Kind.GROUP]

_Parents = dict[str, str | tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Changes:
    """Users that became listed, and users that are listed no more. A user is never in both."""

    entered: frozenset[str]
    left: frozenset[str]


class ScopeGraph:
    """The nesting below one group. Not thread-safe; every operation leaves it consistent.

    GUIDs are lower-case dashed text; `root` is the sync group's. Nothing is reached before the root itself is
    known as a living group (`set_node`).
    """

    def __init__(self, root: str) -> None:
        self.root = sys.intern(root)
        self._states: dict[str, int] = {}
        self._explicit: _Parents = {}
        self._primary: _Parents = {}
        self._children: dict[str, set[str]] = {}
        self._groups: set[str] = set()  # reached groups, the root among them
        self._listed_count = 0
        self._entered: set[str] = set()
        self._left: set[str] = set()

    # --- what is asked -----------------------------------------------------------------------------

    @property
    def listed_count(self) -> int:
        """How many users are listed."""
        return self._listed_count

    @property
    def listed_groups(self) -> frozenset[str]:
        """The living groups that are reached, without the root."""
        return frozenset(self._groups - {self.root})

    def listed_users(self) -> Iterator[str]:
        """All listed users, in no order. Don't change the graph while iterating."""
        wanted = _USER << _KIND_SHIFT | _LIVE | _REACHED
        return (guid for guid, state in self._states.items() if state == wanted)

    def is_listed(self, guid: str) -> bool:
        """Whether `guid` is a living user that the root reaches."""
        return self._states.get(guid, 0) == _USER << _KIND_SHIFT | _LIVE | _REACHED

    def is_reached(self, guid: str) -> bool:
        """Whether `guid`, of whatever kind, lives and hangs on the root."""
        return bool(self._states.get(guid, 0) & _REACHED)

    def is_live(self, guid: str) -> bool:
        """Whether the node is known and lives, reached or not."""
        return bool(self._states.get(guid, 0) & _LIVE)

    def kind_of(self, guid: str) -> Kind | None:
        """The node's kind, dead or alive; None for a node that was never set."""
        state = self._states.get(guid)
        return None if state is None else _KINDS[state >> _KIND_SHIFT]

    def members(self, group: str, *, primary: bool = False) -> frozenset[str]:
        """The direct members of `group` by explicit edge, or by primary group; dead and unknown ones included."""
        parents = self._primary if primary else self._explicit
        return frozenset(child for child in self._children.get(group, ()) if _holds(parents, child, group))

    def children(self, group: str) -> frozenset[str]:
        """All direct members by either kind of edge; dead and unknown ones included."""
        return frozenset(self._children.get(group, ()))

    def holders(self, member: str) -> frozenset[str]:
        """The groups that hold `member` by either kind of edge, reached or not."""
        return frozenset(self._parents_of(member))

    def parents(self, member: str, *, primary: bool = False) -> frozenset[str]:
        """The groups that hold `member` by explicit edge, or by primary group; reached or not."""
        return frozenset(_as_tuple((self._primary if primary else self._explicit).get(member)))

    def path(self, guid: str) -> tuple[str, ...]:
        """The groups from the root down to the one that holds `guid`, by the shortest way.

        Of several shortest ways always the same one is given. Empty when `guid` is not reached, and for the root.
        """
        if not self._states.get(guid, 0) & _REACHED or guid == self.root:
            return ()
        below = {guid: ""}
        queue = deque([guid])
        while queue:
            node = queue.popleft()
            for parent in sorted(self._parents_of(node)):
                if parent in below or parent not in self._groups:
                    continue
                below[parent] = node
                if parent == self.root:
                    return self._walk_down(parent, below)
                queue.append(parent)
        raise AssertionError(f"{guid} is marked as reached, but no path leads to it")

    def take_changes(self) -> Changes:
        """What became of the listed users since the last call; what came and went between cancels out."""
        changes = Changes(frozenset(self._entered), frozenset(self._left))
        self._entered = set()
        self._left = set()
        return changes

    # --- what happens ------------------------------------------------------------------------------

    def set_node(self, guid: str, kind: Kind, live: bool) -> None:
        """What `guid` is, and whether it lives. Edges are untouched."""
        number = _KIND_NUMBER[kind]
        before = self._states.get(guid)
        after = number << _KIND_SHIFT | (_LIVE if live else 0)
        if before is not None and before & ~_REACHED == after:
            return
        taken_back = self._take_back(guid) if before is not None and before & _REACHED else []
        self._states[sys.intern(guid)] = after
        self._reach_again([*taken_back, guid])

    def add_edge(self, group: str, member: str, *, primary: bool = False) -> None:
        """`group` holds `member`: as a value of `member`, or as its primary group. Either may be unknown."""
        parents = self._primary if primary else self._explicit
        if _holds(parents, member, group):
            return
        group = sys.intern(group)
        member = sys.intern(member)
        _attach(parents, member, group)
        self._children.setdefault(group, set()).add(member)
        if group in self._groups:
            self._reach([member])

    def remove_edge(self, group: str, member: str, *, primary: bool = False) -> None:
        """Takes back one kind of edge; the other kind, where both exist, goes on holding the member."""
        parents, others = (self._primary, self._explicit) if primary else (self._explicit, self._primary)
        if not _holds(parents, member, group):
            return
        _detach(parents, member, group)
        if _holds(others, member, group):
            return
        self._drop_child(group, member)
        if group in self._groups and self._states.get(member, 0) & _REACHED and not self._is_held(member):
            self._reach_again(self._take_back(member))

    def replace_members(self, group: str, members: Iterable[str]) -> None:
        """The explicit members of `group` are exactly these, as a whole read has shown."""
        wanted = frozenset(members)
        present = self.members(group)
        for member in wanted - present:
            self.add_edge(group, member)
        for member in present - wanted:
            self.remove_edge(group, member)

    def forget(self, guid: str) -> None:
        """Drops the node and every edge to and from it, as if it had never been seen."""
        members = list(self._children.get(guid, ()))
        taken_back = self._take_back(guid) if self._states.get(guid, 0) & _REACHED else []
        for member in members:
            for parents in (self._explicit, self._primary):
                if _holds(parents, member, guid):
                    _detach(parents, member, guid)
        self._children.pop(guid, None)
        for parent in self._parents_of(guid):
            self._drop_child(parent, guid)
        self._explicit.pop(guid, None)
        self._primary.pop(guid, None)
        self._states.pop(guid, None)
        self._reach_again(taken_back)

    # --- how it is kept ----------------------------------------------------------------------------

    def _parents_of(self, guid: str) -> set[str]:
        return {*_as_tuple(self._explicit.get(guid)), *_as_tuple(self._primary.get(guid))}

    def _drop_child(self, group: str, member: str) -> None:
        children = self._children[group]
        children.discard(member)
        if not children:
            del self._children[group]

    def _walk_down(self, top: str, below: dict[str, str]) -> tuple[str, ...]:
        path = []
        node = top
        while below[node]:
            path.append(node)
            node = below[node]
        return tuple(path)

    def _is_held(self, guid: str) -> bool:
        """Whether a node that just lost a parent still hangs on the root, told from its ancestors alone."""
        if guid == self.root:
            return True
        if self._states[guid] >> _KIND_SHIFT != _GROUP:  # holds nobody, so no parent can depend on it
            return not self._groups.isdisjoint(self._parents_of(guid))
        seen = {guid}
        queue = deque([guid])
        while queue:
            for parent in self._parents_of(queue.popleft()):
                if parent == self.root:
                    return True
                if parent in self._groups and parent not in seen:
                    seen.add(parent)
                    queue.append(parent)
        return False

    def _reach(self, seeds: Iterable[str]) -> None:
        """Marks the living seeds, and all that hangs below them, as reached."""
        states = self._states
        stack = list(seeds)
        while stack:
            guid = stack.pop()
            state = states.get(guid, 0)
            if not state & _LIVE or state & _REACHED:
                continue
            states[guid] = state | _REACHED
            kind = state >> _KIND_SHIFT
            if kind == _USER:
                self._listed_count += 1
                _shift(guid, into=self._entered, out_of=self._left)
            elif kind == _GROUP:
                self._groups.add(sys.intern(guid))
                stack.extend(self._children.get(guid, ()))

    def _take_back(self, top: str) -> list[str]:
        """Unmarks the reached node `top` and all reached nodes below it; returns them.

        The root stands by itself: it is taken back only as `top`. A parent outside what is returned never
        depended on `top`, else it would be below it.
        """
        states = self._states
        taken_back = []
        stack = [top]
        while stack:
            guid = stack.pop()
            state = states.get(guid, 0)
            if not state & _REACHED or (guid == self.root and guid != top):
                continue
            states[guid] = state & ~_REACHED
            taken_back.append(guid)
            kind = state >> _KIND_SHIFT
            if kind == _USER:
                self._listed_count -= 1
                _shift(guid, into=self._left, out_of=self._entered)
            elif kind == _GROUP:
                self._groups.discard(guid)
                stack.extend(self._children.get(guid, ()))
        return taken_back

    def _reach_again(self, candidates: Iterable[str]) -> None:
        """Reaches those candidates that the root or a parent that is still reached holds."""
        for guid in candidates:
            if guid == self.root:
                if self._states.get(guid, 0) >> _KIND_SHIFT == _GROUP:
                    self._reach([guid])
            elif not self._groups.isdisjoint(self._parents_of(guid)):
                self._reach([guid])


def _shift(guid: str, *, into: set[str], out_of: set[str]) -> None:
    """One change, or the undoing of one that nobody has taken yet."""
    if guid in out_of:
        out_of.discard(guid)
    else:
        into.add(sys.intern(guid))


def _as_tuple(parents: str | tuple[str, ...] | None) -> tuple[str, ...]:
    if parents is None:
        return ()
    return (parents,) if isinstance(parents, str) else parents


def _holds(parents: _Parents, member: str, group: str) -> bool:
    held_by = parents.get(member)
    return held_by == group if held_by is None or isinstance(held_by, str) else group in held_by


def _attach(parents: _Parents, member: str, group: str) -> None:
    held_by = parents.get(member)
    parents[member] = group if held_by is None else (*_as_tuple(held_by), group)


def _detach(parents: _Parents, member: str, group: str) -> None:
    rest = tuple(parent for parent in _as_tuple(parents[member]) if parent != group)
    if not rest:
        del parents[member]
    else:
        parents[member] = rest[0] if len(rest) == 1 else rest

"""The nestings that matter, kept in step: the sync group's, and the exclusion group's where there is one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pipeline.core.scope import Changes, ScopeGraph
from pipeline.model import Kind
from pipeline.records import Edge


@dataclass(frozen=True, slots=True)
class Removal:
    """Why somebody may have left: an edge that went, or a group that died."""

    child: str
    text: str


class Nesting:
    """Feeds every change to each graph, remembers group names, and words why people left."""

    def __init__(self, root: str, exclusion_root: str = "", groups_root: str = "") -> None:
        self.scope = ScopeGraph(root)
        self.exclusion = ScopeGraph(exclusion_root) if exclusion_root else None
        self.groups = ScopeGraph(groups_root) if groups_root else None
        self._graphs = [
            self.scope,
            *([self.exclusion] if self.exclusion else []),
            *([self.groups] if self.groups else []),
        ]
        self._touched: set[str] = set()  # groups that changed, or whose direct members did
        self._names: dict[str, str] = {}
        self._rids: dict[int, str] = {}  # the last part of a group's SID → the group; it never changes
        self._opaque: set[str] = set()  # members that nobody could read yet: a person, or a group
        self._removals: list[Removal] = []

    def load(
        self,
        nodes: Sequence[tuple[str, Kind, bool]],
        edges: Sequence[Edge],
        names: Mapping[str, str],
        rids: Mapping[int, str] | None = None,
    ) -> None:
        """Builds the graphs from the mirror; nobody counts as having entered or left by it. `names` by group; `rids`: which
        group a `primaryGroupID` names.
        """
        self._opaque |= {guid for guid, kind, _ in nodes if kind is Kind.OTHER}
        for graph in self._graphs:
            for guid, kind, live in nodes:
                graph.set_node(guid, kind, live)
            for edge in edges:
                graph.add_edge(edge.parent, edge.child, primary=edge.primary)
            graph.take_changes()
        self._names.update(names)
        self._rids.update(rids or {})
        self._removals.clear()
        self._touched.clear()

    def knows(self, guid: str) -> bool:
        return self.scope.kind_of(guid) is not None

    def name(self, guid: str) -> str:
        return self._names.get(guid, guid)

    def group_with_rid(self, rid: int | None) -> str | None:
        """The living group that the `primaryGroupID` of its members names, where we know one."""
        guid = None if rid is None else self._rids.get(rid)
        return guid if guid is not None and self.scope.is_live(guid) else None

    def set_node(self, guid: str, kind: Kind, *, live: bool, name: str = "", rid: int | None = None) -> None:
        if kind in (Kind.GROUP, Kind.OTHER) or self.scope.kind_of(guid) in (Kind.GROUP, Kind.OTHER):
            self._touched.add(guid)
        if kind is Kind.GROUP:
            if name:
                self._names[guid] = name
            if rid is not None:
                self._rids[rid] = guid
            if not live and self.scope.is_live(guid):
                self._removals.append(Removal(guid, f"group {self.name(guid)} was deleted"))
        (self._opaque.add if kind is Kind.OTHER else self._opaque.discard)(guid)
        for graph in self._graphs:
            graph.set_node(guid, kind, live)

    def add(self, edge: Edge) -> None:
        self._touched.add(edge.parent)
        for graph in self._graphs:
            graph.add_edge(edge.parent, edge.child, primary=edge.primary)

    def remove(self, edge: Edge) -> None:
        group = self.name(edge.parent)
        if edge.primary:
            text = f"primary group is no longer {group}"
        elif self.scope.kind_of(edge.child) is Kind.GROUP:
            text = f"group {self.name(edge.child)} was removed from {group}"
        else:
            text = f"removed from group {group}"
        self._removals.append(Removal(edge.child, text))
        self._touched.add(edge.parent)
        for graph in self._graphs:
            graph.remove_edge(edge.parent, edge.child, primary=edge.primary)

    def take_changes(self) -> tuple[Changes, dict[str, str]]:
        """Who entered and left the scope since last time, and for each who left, why."""
        changes = self.scope.take_changes()
        causes = self._causes()
        self._removals.clear()
        return changes, {guid: causes.get(guid, "no longer in the sync group") for guid in changes.left}

    def _causes(self) -> dict[str, str]:
        """For everybody at or below what was removed, why; who is reached by several removals, by the first."""
        causes = {removal.child: removal.text for removal in self._removals}
        walked: set[str] = set()
        for removal in self._removals:
            pending = [removal.child]
            while pending:
                guid = pending.pop()
                if guid in walked or self.scope.kind_of(guid) is not Kind.GROUP:
                    continue
                walked.add(guid)
                below = [*self.scope.members(guid, primary=False), *self.scope.members(guid, primary=True)]
                for child in below:
                    causes.setdefault(child, removal.text)
                pending += below
        return causes

    def path(self, guid: str) -> tuple[str, ...]:
        return tuple(self.name(group) for group in self.scope.path(guid))

    def is_excluded(self, guid: str) -> bool:
        return self.exclusion is not None and self.exclusion.is_listed(guid)

    def is_opaque(self, guid: str) -> bool:
        """Whether nobody could read it yet."""
        return guid in self._opaque

    def is_opaque_member(self, guid: str) -> bool:
        """Whether the sync group's nesting holds this, but nobody could read it: a person, perhaps."""
        return guid in self._opaque and self.scope.is_reached(guid)

    def unreadable_protection(self) -> list[str]:
        """What hangs below the exclusion group and could not be read."""
        if self.exclusion is None:
            return []
        return sorted(guid for guid in self._opaque if self.exclusion.is_reached(guid))

    def take_exclusion_changes(self) -> frozenset[str]:
        """Those whose exclusion by group came or went: to be decided again."""
        if self.exclusion is None:
            return frozenset()
        changes = self.exclusion.take_changes()
        return changes.entered | changes.left

    # --- groups as such

    def synced_groups(self, *, separate: bool) -> frozenset[str]:
        """The groups that are reached, without the sync group itself; `separate`: from the group sync group."""
        graph = self.groups if separate else self.scope
        return graph.listed_groups if graph is not None else frozenset()

    def is_complete(self, *, separate: bool) -> bool:
        """Whether nothing that can't be read hangs below the sync group: else a group that is missing proves nothing."""
        graph = self.groups if separate else self.scope
        return graph is not None and not any(graph.is_reached(guid) for guid in self._opaque)

    def users_of(self, group: str) -> tuple[frozenset[str], bool]:
        """All living users in a group, through any nesting; True: something in it can't be read, and may be a group."""
        users: set[str] = set()
        walked = {group}
        pending = [group]
        is_opaque = False
        while pending:
            for child in self.scope.children(pending.pop()):
                if child in walked or not self.scope.is_live(child):
                    continue
                walked.add(child)
                kind = self.scope.kind_of(child)
                if kind is Kind.USER:
                    users.add(child)
                elif kind is Kind.GROUP:
                    pending.append(child)
                is_opaque = is_opaque or kind is Kind.OTHER
        return frozenset(users), is_opaque

    def groups_holding(self, guids: Iterable[str]) -> frozenset[str]:
        """These (where they are groups) and every group that holds one of them, through any nesting."""
        found: set[str] = set()
        pending = list(guids)
        found.update(guid for guid in pending if self.scope.kind_of(guid) is Kind.GROUP)
        while pending:
            for parent in self.scope.holders(pending.pop()):
                if parent not in found:
                    found.add(parent)
                    pending.append(parent)
        return frozenset(found)

    def take_touched(self) -> frozenset[str]:
        """The groups whose flattened members may have changed since last time."""
        touched = self.groups_holding(self._touched)
        self._touched.clear()
        return touched

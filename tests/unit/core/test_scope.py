"""Who is listed: behaviour.md §2.1, and section 4.5 of the directory's reference sheet."""

from __future__ import annotations

import itertools
import sys
from collections import defaultdict

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pipeline.core.scope import Changes, ScopeGraph
from pipeline.model import Kind

ROOT = "root"


def graph_of(*edges: tuple[str, str], users: str = "", groups: str = "") -> ScopeGraph:
    graph = ScopeGraph(ROOT)
    graph.set_node(ROOT, Kind.GROUP, live=True)
    for group in groups.split():
        graph.set_node(group, Kind.GROUP, live=True)
    for user in users.split():
        graph.set_node(user, Kind.USER, live=True)
    for group, member in edges:
        graph.add_edge(group, member)
    graph.take_changes()
    return graph


def change(entered: str = "", left: str = "") -> Changes:
    return Changes(frozenset(entered.split()), frozenset(left.split()))


def test_nesting_is_followed_to_any_depth() -> None:
    graph = graph_of((ROOT, "g"), ("g", "h"), ("h", "ann"), users="ann", groups="g h")
    assert graph.is_listed("ann")
    assert graph.listed_groups == {"g", "h"}
    assert graph.path("ann") == (ROOT, "g", "h")


def test_the_sync_group_itself_is_no_listed_group() -> None:
    assert graph_of((ROOT, ROOT)).listed_groups == frozenset()


def test_a_person_reached_twice_counts_once_and_leaves_with_the_last_path() -> None:
    graph = graph_of((ROOT, "g"), (ROOT, "h"), ("g", "ann"), ("h", "ann"), users="ann", groups="g h")
    assert graph.listed_count == 1
    graph.remove_edge("g", "ann")
    assert graph.take_changes() == change()
    graph.remove_edge("h", "ann")
    assert graph.take_changes() == change(left="ann")
    assert graph.listed_count == 0


def test_cycles_are_legal_and_do_not_hold_themselves_up() -> None:
    graph = graph_of((ROOT, "g"), ("g", "h"), ("h", "g"), ("h", "ann"), users="ann", groups="g h")
    assert graph.is_listed("ann")
    graph.remove_edge(ROOT, "g")
    assert graph.take_changes() == change(left="ann")
    assert graph.listed_groups == frozenset()


def test_a_cycle_through_the_root_never_loses_the_root() -> None:
    graph = graph_of((ROOT, "g"), ("g", ROOT), (ROOT, "ann"), users="ann", groups="g")
    graph.remove_edge("g", ROOT)
    graph.remove_edge(ROOT, "g")
    assert graph.take_changes() == change()


def test_a_group_taken_out_of_one_parent_stays_by_another() -> None:
    graph = graph_of(
        (ROOT, "a"), (ROOT, "b"), ("a", "g"), ("b", "g"), ("g", "ann"), users="ann", groups="a b g"
    )
    graph.remove_edge("a", "g")
    assert graph.take_changes() == change()
    assert graph.path("ann") == (ROOT, "b", "g")


def test_part_of_a_lost_subtree_that_another_group_holds_stays() -> None:
    edges = [(ROOT, "g"), ("g", "ann"), ("g", "h"), ("h", "bob"), (ROOT, "k"), ("k", "h")]
    graph = graph_of(*edges, users="ann bob", groups="g h k")
    graph.remove_edge(ROOT, "g")
    assert graph.take_changes() == change(left="ann")
    assert graph.listed_groups == {"h", "k"}


def test_members_by_primary_group_count_too() -> None:
    graph = graph_of(users="ann")
    graph.add_edge(ROOT, "ann", primary=True)
    assert graph.take_changes() == change(entered="ann")
    assert graph.members(ROOT, primary=True) == {"ann"}
    assert graph.members(ROOT) == frozenset()


@pytest.mark.parametrize("first", [True, False])
def test_an_explicit_and_a_primary_edge_of_one_pair_are_kept_apart(first: bool) -> None:
    graph = graph_of((ROOT, "ann"), users="ann")
    graph.add_edge(ROOT, "ann", primary=True)
    graph.remove_edge(ROOT, "ann", primary=first)
    assert graph.is_listed("ann")
    graph.remove_edge(ROOT, "ann", primary=not first)
    assert graph.take_changes() == change(left="ann")


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind not in (Kind.USER, Kind.GROUP)])
def test_other_kinds_are_neither_listed_nor_followed(kind: Kind) -> None:
    graph = graph_of((ROOT, "x"), ("x", "ann"), users="ann")
    graph.set_node("x", kind, live=True)
    assert graph.take_changes() == change()
    assert graph.listed_groups == frozenset()


def test_an_edge_to_an_unknown_object_resolves_when_it_arrives() -> None:
    graph = graph_of((ROOT, "g"), ("g", "ann"))
    assert graph.take_changes() == change()
    graph.set_node("ann", Kind.USER, live=True)
    assert graph.take_changes() == change()
    graph.set_node("g", Kind.GROUP, live=True)
    assert graph.take_changes() == change(entered="ann")


def test_a_dead_group_keeps_its_edges_and_brings_them_back_when_restored() -> None:
    graph = graph_of((ROOT, "g"), ("g", "ann"), users="ann", groups="g")
    graph.set_node("g", Kind.GROUP, live=False)
    assert graph.take_changes() == change(left="ann")
    assert graph.members("g") == {"ann"}
    graph.set_node("g", Kind.GROUP, live=True)
    assert graph.take_changes() == change(entered="ann")


def test_a_group_below_a_dead_one_stays_by_another() -> None:
    edges = [(ROOT, "g"), (ROOT, "k"), ("g", "h"), ("k", "h"), ("h", "ann"), ("g", "bob")]
    graph = graph_of(*edges, users="ann bob", groups="g h k")
    graph.set_node("g", Kind.GROUP, live=False)
    assert graph.take_changes() == change(left="bob")
    assert graph.listed_groups == {"h", "k"}


def test_a_group_that_holds_itself_can_be_forgotten() -> None:
    graph = graph_of((ROOT, "g"), ("g", "g"), ("g", "ann"), users="ann", groups="g")
    graph.forget("g")
    assert graph.take_changes() == change(left="ann")


def test_a_dead_user_is_not_listed() -> None:
    graph = graph_of((ROOT, "ann"), users="ann")
    graph.set_node("ann", Kind.USER, live=False)
    assert graph.take_changes() == change(left="ann")
    assert graph.kind_of("ann") is Kind.USER
    assert not graph.is_live("ann")


def test_a_dead_root_lists_nobody() -> None:
    graph = graph_of((ROOT, "ann"), users="ann")
    graph.set_node(ROOT, Kind.GROUP, live=False)
    assert graph.take_changes() == change(left="ann")
    assert graph.path("ann") == ()


def test_what_came_and_went_between_two_looks_is_no_change() -> None:
    graph = graph_of((ROOT, "ann"), users="ann bob")
    graph.remove_edge(ROOT, "ann")
    graph.add_edge(ROOT, "bob")
    graph.add_edge(ROOT, "ann")
    graph.remove_edge(ROOT, "bob")
    assert graph.take_changes() == change()


def test_forgetting_drops_the_node_and_its_edges_both_ways() -> None:
    graph = graph_of((ROOT, "g"), ("g", "ann"), (ROOT, "bob"), users="ann bob", groups="g")
    graph.forget("g")
    graph.forget("nobody")
    assert graph.take_changes() == change(left="ann")
    graph.set_node("g", Kind.GROUP, live=True)
    assert graph.listed_groups == frozenset()
    assert graph.members("g") == graph.members(ROOT) - {"bob"} == frozenset()


def test_a_whole_read_replaces_explicit_members_only() -> None:
    graph = graph_of((ROOT, "ann"), (ROOT, "bob"), users="ann bob cid")
    graph.add_edge(ROOT, "cid", primary=True)
    graph.replace_members(ROOT, ["bob", "new"])
    assert graph.take_changes() == change(entered="cid", left="ann")
    assert graph.members(ROOT) == {"bob", "new"}
    assert graph.is_listed("cid")


def test_the_shortest_path_is_given_and_always_the_same() -> None:
    edges = [(ROOT, "a"), ("a", "b"), ("b", "ann"), (ROOT, "d"), (ROOT, "c"), ("d", "ann"), ("c", "ann")]
    graph = graph_of(*edges, users="ann", groups="a b c d")
    assert graph.path("ann") == (ROOT, "c")
    assert graph.path("b") == (ROOT, "a")
    assert graph.path(ROOT) == graph.path("nobody") == ()


def test_ten_thousand_levels_do_not_recurse() -> None:
    depth = 10_000
    assert depth > sys.getrecursionlimit()
    names = [ROOT, *(f"g{level}" for level in range(depth))]
    graph = graph_of(*itertools.pairwise([*names, "ann"]), users="ann", groups=" ".join(names[1:]))
    assert len(graph.path("ann")) == depth + 1
    graph.add_edge(names[-1], names[1])
    graph.remove_edge(ROOT, names[1])
    assert graph.take_changes() == change(left="ann")
    graph.set_node(ROOT, Kind.GROUP, live=False)
    graph.add_edge(ROOT, names[1])
    assert graph.take_changes() == change()


class WatchedGraph(ScopeGraph):
    """Remembers whose parents were looked at: the measure of how far a change walks."""

    def __init__(self, root: str) -> None:
        super().__init__(root)
        self.visited: set[str] = set()

    def _parents_of(self, guid: str) -> set[str]:
        self.visited.add(guid)
        return super()._parents_of(guid)


def test_a_change_walks_neither_the_other_members_nor_a_subtree_that_stays() -> None:
    graph = WatchedGraph(ROOT)
    for group in (ROOT, "g", "h"):
        graph.set_node(group, Kind.GROUP, live=True)
    for group, member in [(ROOT, "g"), (ROOT, "h"), ("h", "g")]:
        graph.add_edge(group, member)
    for number in range(500):
        for group, user in [(ROOT, f"u{number}"), ("g", f"v{number}")]:
            graph.set_node(user, Kind.USER, live=True)
            graph.add_edge(group, user)
    graph.take_changes()
    graph.visited.clear()
    graph.remove_edge(ROOT, "u7")
    graph.remove_edge("h", "g")
    assert graph.take_changes() == change(left="u7")
    assert graph.visited == {"u7", "g"}


GUIDS = [ROOT, *(f"n{number}" for number in range(6))]
guids = st.sampled_from(GUIDS)
kinds = st.sampled_from([Kind.GROUP, Kind.GROUP, Kind.GROUP, Kind.USER, Kind.USER, Kind.CONTACT])
edges = st.tuples(guids, guids, st.sampled_from([False, False, True]))


class AgainstBruteForce(RuleBasedStateMachine):
    """Random histories with cycles, deaths, births, primary edges and edges to unknown objects.

    They begin with a dense graph: what a removal may get wrong shows only where other ways lead round it.
    """

    @initialize(kinds=st.lists(kinds, min_size=6, max_size=6), held=st.sets(edges, min_size=4, max_size=16))
    def begin(self, kinds: list[Kind], held: set[tuple[str, str, bool]]) -> None:
        self.graph = ScopeGraph(ROOT)
        self.nodes: dict[str, tuple[Kind, bool]] = {}
        self.held: set[tuple[str, str, bool]] = set()
        self.known: frozenset[str] = frozenset()
        for guid, kind in zip(GUIDS, [Kind.GROUP, *kinds], strict=True):
            self.set_node(guid, kind, live=True)
        for edge in held:
            self.add_edge(edge)

    @rule(guid=guids, kind=kinds, live=st.booleans())
    def set_node(self, guid: str, kind: Kind, live: bool) -> None:
        self.nodes[guid] = (kind, live)
        self.graph.set_node(guid, kind, live=live)

    @rule(guid=guids)
    def die_or_come_back(self, guid: str) -> None:
        kind, live = self.nodes.get(guid, (Kind.GROUP, False))
        self.set_node(guid, kind, live=not live)

    @rule(edge=edges)
    def add_edge(self, edge: tuple[str, str, bool]) -> None:
        self.held.add(edge)
        self.graph.add_edge(edge[0], edge[1], primary=edge[2])

    @rule(edge=edges)
    def remove_edge(self, edge: tuple[str, str, bool]) -> None:
        self.held.discard(edge)
        self.graph.remove_edge(edge[0], edge[1], primary=edge[2])

    @precondition(lambda self: self.held)
    @rule(number=st.integers(0, 99))
    def remove_a_present_edge(self, number: int) -> None:
        self.remove_edge(sorted(self.held)[number % len(self.held)])

    @rule(group=guids, members=st.sets(guids, max_size=4))
    def replace_members(self, group: str, members: set[str]) -> None:
        self.held = {edge for edge in self.held if edge[0] != group or edge[2]}
        self.held |= {(group, member, False) for member in members}
        self.graph.replace_members(group, members)

    @rule(guid=guids)
    def forget(self, guid: str) -> None:
        self.nodes.pop(guid, None)
        self.held = {edge for edge in self.held if guid not in edge[:2]}
        self.graph.forget(guid)

    @rule()
    def take_changes(self) -> None:
        _, listed = self.brute_force()
        changes = self.graph.take_changes()
        assert changes.entered == listed - self.known
        assert changes.left == self.known - listed
        self.known = frozenset(listed)

    def brute_force(self) -> tuple[dict[str, int], set[str]]:
        children = defaultdict(set)
        for group, member, _ in self.held:
            children[group].add(member)
        level = {ROOT} if self.nodes.get(ROOT) == (Kind.GROUP, True) else set()
        depth: dict[str, int] = {}
        for distance in itertools.count():
            if not level:
                break
            depth |= dict.fromkeys(level, distance)
            level = {
                member
                for group in level
                if self.nodes[group][0] is Kind.GROUP
                for member in children[group]
                if member not in depth and self.nodes.get(member, (None, False))[1]
            }
        return depth, {guid for guid in depth if self.nodes[guid][0] is Kind.USER}

    @invariant()
    def equals_brute_force(self) -> None:
        depth, listed = self.brute_force()
        assert (
            {guid for guid in GUIDS if self.graph.is_listed(guid)} == listed == set(self.graph.listed_users())
        )
        assert self.graph.listed_count == len(listed)
        groups = {guid for guid in depth if self.nodes[guid][0] is Kind.GROUP}
        assert self.graph.listed_groups == groups - {ROOT}
        for guid in GUIDS:
            path = self.graph.path(guid)
            assert len(path) == depth.get(guid, 0)
            held = {edge[:2] for edge in self.held}
            assert all(pair in held for pair in itertools.pairwise((*path, guid)))


AgainstBruteForce.TestCase.settings = settings(max_examples=200, stateful_step_count=25, deadline=None)
TestAgainstBruteForce = AgainstBruteForce.TestCase

"""Who is in the sync group, who is protected, and what nobody could read. (behaviour.md §2)"""

import pytest

from pipeline.core.nesting import Nesting
from pipeline.model import Kind
from pipeline.records import Edge

USERS = ("ann", "bob", "cid")


def build(*edges: tuple[str, str], primary: tuple[tuple[str, str], ...] = ()) -> Nesting:
    nesting = Nesting("root", "protected")
    names = {part for edge in (*edges, *primary) for part in edge} | {"root", "protected"}
    nodes = [(name, Kind.USER if name in USERS else Kind.GROUP, True) for name in sorted(names)]
    nesting.load(
        nodes,
        [*(Edge(*edge) for edge in edges), *(Edge(*edge, primary=True) for edge in primary)],
        {name: name.title() for name in names},
    )
    return nesting


def test_loading_lets_nobody_enter_or_leave() -> None:
    nesting = build(("root", "ann"), ("protected", "bob"))
    changes, causes = nesting.take_changes()
    assert (changes.entered, changes.left, causes) == (frozenset(), frozenset(), {})
    assert nesting.take_exclusion_changes() == frozenset()


def test_a_person_reached_twice_counts_once_and_leaves_only_with_the_last_path() -> None:
    nesting = build(("root", "sales"), ("sales", "ann"), ("root", "ann"))
    nesting.remove(Edge("root", "ann"))
    assert nesting.take_changes()[0].left == frozenset()
    nesting.remove(Edge("sales", "ann"))
    assert nesting.take_changes()[0].left == {"ann"}


def test_membership_by_primary_group_counts_beside_an_explicit_one() -> None:
    nesting = build(("root", "staff"), ("staff", "ann"), primary=(("staff", "ann"),))
    nesting.remove(Edge("staff", "ann"))
    assert nesting.scope.is_listed("ann")
    nesting.remove(Edge("staff", "ann", primary=True))
    assert not nesting.scope.is_listed("ann")


def test_the_group_that_a_primary_group_id_names_is_known_while_it_lives() -> None:
    nesting = build(("root", "staff"))
    assert nesting.group_with_rid(513) is None
    nesting.set_node("staff", Kind.GROUP, live=True, rid=513)
    nesting.set_node("ann", Kind.USER, live=True, rid=1104)
    assert nesting.group_with_rid(513) == "staff"
    assert nesting.group_with_rid(1104) is None
    assert nesting.group_with_rid(None) is None
    nesting.set_node("staff", Kind.GROUP, live=False)
    assert nesting.group_with_rid(513) is None


def test_circles_are_legal_and_do_not_hold_each_other_up() -> None:
    nesting = build(("root", "a"), ("a", "b"), ("b", "a"), ("b", "ann"))
    nesting.remove(Edge("root", "a"))
    assert nesting.take_changes()[0].left == {"ann"}


def test_a_deleted_group_takes_its_people_out_and_a_restored_one_brings_them_back() -> None:
    nesting = build(("root", "sales"), ("sales", "ann"))
    nesting.set_node("sales", Kind.GROUP, live=False)
    assert nesting.take_changes()[0].left == {"ann"}
    nesting.set_node("sales", Kind.GROUP, live=True)
    assert nesting.take_changes()[0].entered == {"ann"}


def test_exclusion_follows_its_own_nesting() -> None:
    nesting = build(("root", "ann"), ("protected", "vips"), ("vips", "ann"))
    assert nesting.is_excluded("ann")
    nesting.remove(Edge("vips", "ann"))
    assert not nesting.is_excluded("ann")
    assert nesting.take_exclusion_changes() == {"ann"}
    assert nesting.scope.is_listed("ann")


def test_without_an_exclusion_group_nobody_is_excluded() -> None:
    nesting = Nesting("root")
    nesting.set_node("ann", Kind.USER, live=True)
    assert not nesting.is_excluded("ann")
    assert nesting.unreadable_protection() == []


def test_what_nobody_could_read_is_no_person_but_is_known_to_hang_there() -> None:
    nesting = build(("root", "sales"))
    nesting.set_node("hidden", Kind.OTHER, live=True)
    nesting.add(Edge("sales", "hidden"))
    assert not nesting.scope.is_listed("hidden")
    assert nesting.is_opaque_member("hidden")
    nesting.remove(Edge("sales", "hidden"))
    assert nesting.is_opaque("hidden")
    assert not nesting.is_opaque_member("hidden")


@pytest.mark.parametrize("kind", [Kind.USER, Kind.GROUP])
def test_below_the_exclusion_group_what_nobody_could_read_endangers_the_protection(kind: Kind) -> None:
    nesting = build(("protected", "vips"))
    nesting.set_node("hidden", Kind.OTHER, live=True)
    nesting.add(Edge("vips", "hidden"))
    assert nesting.unreadable_protection() == ["hidden"]
    nesting.set_node("hidden", kind, live=True)
    assert nesting.unreadable_protection() == []
    assert not nesting.is_opaque("hidden")

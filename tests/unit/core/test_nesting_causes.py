"""Why somebody left is told by what was removed above them, not by whatever else was removed in the same look."""

from pipeline.core.nesting import Nesting
from pipeline.model import Kind
from pipeline.records import Edge


def _nesting() -> Nesting:
    nesting = Nesting("root")
    groups = {"root": "Dropbox", "sales": "Sales", "europe": "Sales Europe", "tech": "Engineering"}
    nesting.load(
        [*((guid, Kind.GROUP, True) for guid in groups), *((one, Kind.USER, True) for one in "abcd")],
        [
            Edge("root", "sales"),
            Edge("root", "tech"),
            Edge("sales", "europe"),
            Edge("sales", "a"),
            Edge("europe", "b", primary=True),
            Edge("tech", "c"),
            Edge("root", "d"),
        ],
        groups,
    )
    return nesting


def test_two_groups_removed_at_once_are_each_their_peoples_cause() -> None:
    nesting = _nesting()
    nesting.remove(Edge("root", "sales"))
    nesting.remove(Edge("root", "tech"))
    nesting.remove(Edge("root", "d"))
    _, causes = nesting.take_changes()
    assert causes == {
        "a": "group Sales was removed from Dropbox",
        "b": "group Sales was removed from Dropbox",
        "c": "group Engineering was removed from Dropbox",
        "d": "removed from group Dropbox",
    }


def test_a_deleted_group_is_the_cause_of_who_was_below_it() -> None:
    nesting = _nesting()
    nesting.set_node("europe", Kind.GROUP, live=False)
    nesting.remove(Edge("root", "d"))
    _, causes = nesting.take_changes()
    assert causes == {"b": "group Sales Europe was deleted", "d": "removed from group Dropbox"}


def test_cycles_below_a_removed_group_end() -> None:
    nesting = _nesting()
    nesting.add(Edge("europe", "sales"))
    nesting.take_changes()
    nesting.remove(Edge("root", "sales"))
    _, causes = nesting.take_changes()
    assert set(causes) == {"a", "b"}


def test_what_was_removed_before_is_no_cause_later() -> None:
    nesting = _nesting()
    nesting.remove(Edge("root", "sales"))
    nesting.take_changes()
    nesting.remove(Edge("tech", "c"))
    _, causes = nesting.take_changes()
    assert causes == {"c": "removed from group Engineering"}

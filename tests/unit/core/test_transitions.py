"""The life of an action: the diagram of behaviour.md §7."""

from __future__ import annotations

from itertools import product

import pytest

from pipeline.core.transitions import TRANSITIONS, check_transition, may_follow, render_mermaid
from pipeline.errors import SyncError
from pipeline.model import State

S = State
ALLOWED = {
    None: {S.PLANNED, S.WAITING, S.HELD},
    S.PLANNED: {S.SENDING, S.WAITING, S.FAILED, S.HELD, S.SUPERSEDED},
    S.SENDING: {S.DONE, S.WAITING, S.RETRY, S.FAILED, S.PLANNED, S.SUPERSEDED},
    S.WAITING: {S.PLANNED, S.HELD, S.SUPERSEDED},
    S.RETRY: {S.PLANNED, S.HELD, S.SUPERSEDED},
    S.FAILED: {S.PLANNED, S.HELD, S.SUPERSEDED},
    S.HELD: {S.PLANNED, S.SUPERSEDED},
    S.DONE: set(),
    S.SUPERSEDED: set(),
}


@pytest.mark.parametrize(("source", "target"), list(product([None, *State], State)))
def test_only_the_transitions_of_the_diagram_are_allowed(source: State | None, target: State) -> None:
    assert may_follow(source, target) is (target in ALLOWED[source])
    if target in ALLOWED[source]:
        check_transition(source, target)
    else:
        with pytest.raises(
            SyncError, match=f"{target.value} may not follow {source.value if source else 'new'}"
        ):
            check_transition(source, target)


def test_only_a_planned_action_is_ever_sent() -> None:
    assert [source for source in ALLOWED if S.SENDING in ALLOWED[source]] == [S.PLANNED]


def test_no_transition_stands_twice() -> None:
    assert len({(one.source, one.target) for one in TRANSITIONS}) == len(TRANSITIONS)


def test_the_picture_shows_every_transition_and_both_ends() -> None:
    lines = render_mermaid().splitlines()
    assert lines[0] == "stateDiagram-v2"
    assert "    [*] --> planned: decided" in lines
    assert "    held --> planned: approve, or the limit was switched off" in lines
    assert lines[-2:] == ["    done --> [*]", "    superseded --> [*]"]
    assert len(lines) == 1 + len(TRANSITIONS) + 2

"""What is wanted now against what is still open: what stays, what is replaced, what is new. (behaviour.md §7)"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.model import Action, State, WaitFor, Wanted


@dataclass(frozen=True, slots=True)
class Merge:
    """`approved` tells for each inserted action whether the one that it replaces had been approved."""

    keep: tuple[Action, ...]
    supersede: tuple[Action, ...]
    insert: tuple[tuple[Wanted, bool], ...]


def merge(open_actions: Sequence[Action], wanted: Sequence[Wanted], *, person_changed: bool) -> Merge:
    """Keeps the longest common beginning, so that one person's actions stay in order by their ids.

    A failed action that is wanted again stays as it is wherever it stands in that order.

    A failed action that is wanted again stays failed until the person changes: repeating a permanent
    refusal on every pass would be noise.
    """
    keep: list[Action] = []
    # What has failed leaves nowhere, and holds no place in the order.
    failed = [one for one in open_actions if one.state is State.FAILED and not person_changed]
    for want in wanted:
        if (standing := next((one for one in failed if _is_same(one, want)), None)) is not None:
            keep.append(standing)
            failed.remove(standing)
            wanted = [one for one in wanted if one is not want]
    open_actions = [one for one in open_actions if one not in keep]
    place = 0
    for action, want in zip(open_actions, wanted, strict=False):
        if not _is_same(action, want) or action.state is State.FAILED:
            break
        place += 1
    keep += open_actions[:place]
    rest, wanted = open_actions[place:], wanted[place:]
    # An approval is for what was shown: another address under the same name was not.
    approved = {(action.kind, action.changes.email) for action in rest if action.approved}
    inserts = tuple((want, (want.kind, want.changes.email) in approved) for want in wanted)
    return Merge(tuple(keep), tuple(rest), inserts)


def _is_same(action: Action, want: Wanted) -> bool:
    return (action.kind, action.changes, *_wait(action)) == (want.kind, want.changes, want.wait, want.until)


def _wait(action: Action) -> tuple[WaitFor | None, object]:
    """A person who waits for a seat wants what they wanted; only waits that a decision asked for count."""
    if action.state is State.WAITING and action.wait in (WaitFor.SETTLING, WaitFor.GRACE):
        return action.wait, action.due
    if action.state is State.WAITING and action.wait is WaitFor.JOINED:
        return action.wait, None
    return None, None

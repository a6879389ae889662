"""The life of an action, as data (behaviour.md §7): what may follow what, and why.

The journal checks each change of state against this table; the picture in the documentation is drawn from it.
"""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.errors import SyncError
from pipeline.model import State


@dataclass(frozen=True, slots=True)
class Transition:
    """`source` None: the action is written for the first time."""

    source: State | None
    target: State
    why: str


TRANSITIONS = (
    Transition(None, State.PLANNED, "decided"),
    Transition(None, State.WAITING, "decided, but it must settle, or a grace runs"),
    Transition(None, State.HELD, "brake, namesake"),
    Transition(State.PLANNED, State.SENDING, "written ahead, the request leaves"),
    Transition(State.PLANNED, State.WAITING, "not joined yet, no seat"),
    Transition(State.PLANNED, State.FAILED, "may not be sent: the authorising admin, the last admin"),
    Transition(State.PLANNED, State.HELD, "brake"),
    Transition(State.SENDING, State.DONE, "the effect is there"),
    Transition(State.SENDING, State.WAITING, "refused for now: not joined, no seat"),
    Transition(State.SENDING, State.RETRY, "transient"),
    Transition(State.SENDING, State.FAILED, "permanent"),
    Transition(State.SENDING, State.PLANNED, "reply lost, read back: no effect"),
    Transition(State.SENDING, State.SUPERSEDED, "reply lost, read back: decide again"),
    Transition(State.WAITING, State.PLANNED, "its time or event came"),
    Transition(State.WAITING, State.HELD, "brake"),
    Transition(State.RETRY, State.PLANNED, "back-off is over"),
    Transition(State.RETRY, State.HELD, "brake"),
    Transition(State.FAILED, State.PLANNED, "the person changed, or retry"),
    Transition(State.FAILED, State.HELD, "brake"),
    Transition(State.HELD, State.PLANNED, "approve, or the limit was switched off"),
    *(
        Transition(state, State.SUPERSEDED, "a newer decision, or no longer wanted")
        for state in (State.PLANNED, State.WAITING, State.RETRY, State.FAILED, State.HELD)
    ),
)
"""An action on its way is superseded only once it was read back: else its effect would be nobody's."""

_ALLOWED = frozenset((transition.source, transition.target) for transition in TRANSITIONS)


def may_follow(source: State | None, target: State) -> bool:
    """Whether an action in `source` may become `target`; `source` None for a new one."""
    return (source, target) in _ALLOWED


def check_transition(source: State | None, target: State) -> None:
    """SyncError (-17) when `target` may not follow `source`: a fault of ours, never of a person's data."""
    if not may_follow(source, target):
        before = "new" if source is None else source.value
        raise SyncError(
            "changing the state of an action",
            f"{target.value} may not follow {before}",
            "run `ad-connector journal verify`, and report this with its output",
        )


def render_mermaid() -> str:
    """The table as a Mermaid state diagram, with a line break at the end."""
    lines = ["stateDiagram-v2"]
    for transition in TRANSITIONS:
        source = "[*]" if transition.source is None else transition.source.value
        lines.append(f"    {source} --> {transition.target.value}: {transition.why}")
    sources = {transition.source for transition in TRANSITIONS}
    lines += [f"    {state.value} --> [*]" for state in State if state not in sources]
    return "\n".join(lines) + "\n"

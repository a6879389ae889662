"""How far long work has come: told by who does it, seen by who watches. Where nobody watches, telling costs next to nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from enum import StrEnum


class Phase(StrEnum):
    """What long work consists of, as a person reads it."""

    DIRECTORY = "reading the directory"
    TEAM = "reading the team"
    DECIDING = "deciding"
    SENDING = "sending"
    GROUPS = "sending what is about groups"
    WAITING = "waiting for leavers to settle, or to try again"
    LINES = "going through the change log"
    ROWS = "rows of the journal"
    JOURNAL = "working on the journal"


Watcher = Callable[[Phase, int, int | None], None]
"""Takes a phase, how much of it is done, and of how much; None where nobody knows yet."""

_watcher: ContextVar[Watcher | None] = ContextVar("progress", default=None)


@contextmanager
def watched_by(watcher: Watcher) -> Iterator[None]:
    """Inside, in tasks started inside too, `watcher` is told."""
    token = _watcher.set(watcher)
    try:
        yield
    finally:
        _watcher.reset(token)


def is_watched() -> bool:
    """For what is worth finding out only where somebody looks."""
    return _watcher.get() is not None


def tell(phase: Phase, done: int = 0, total: int | None = None) -> None:
    watcher = _watcher.get()
    if watcher is not None:
        watcher(phase, done, total)

"""Async jobs of Dropbox: telling of one the moment it is known, and asking whether it still runs.

Dropbox may answer an invitation or a removal with the id of a job instead of a result. Who sent the request writes
that id down before the job is waited for: after a crash, nothing else could tell that its effect may still come.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol, runtime_checkable

from pipeline.model import ActionKind, Outcome

Note = Callable[[str], Awaitable[None]]

_note: ContextVar[Note | None] = ContextVar("note_of_a_job", default=None)


@contextmanager
def noting(note: Note) -> Iterator[None]:
    """Writes sent inside, in this task, tell `note` the id of a job before they wait for it."""
    token = _note.set(note)
    try:
        yield
    finally:
        _note.reset(token)


async def tell(job_id: str) -> None:
    note = _note.get()
    if note is not None:
        await note(job_id)


@runtime_checkable
class JobReader(Protocol):
    """A team that can be asked about its jobs."""

    async def ask_job(self, kind: ActionKind, job_id: str) -> Mapping[str, Outcome] | None:
        """None: the job of such an action still runs. Else it has ended, well or not, or nobody knows it any more;
        what it tells about invitations, by e-mail in lower case. TeamReadError where Dropbox can't be asked.
        """

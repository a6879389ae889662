"""Progress bars: what a person at a terminal sees while a command works; nothing where nobody looks."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from pipeline import log
from pipeline.progress import Phase, watched_by


@contextmanager
def bars(first: Phase, *, prints: bool = False, screen: TextIO | None = None) -> Iterator[None]:
    """A line at the foot of standard error: the phase, from `first` on, how far it is, for how long. Log lines go above; gone at the end.

    Only on a terminal: FORCE_COLOR and the like make none of a pipe. `prints`: the work writes to standard output as it goes;
    where that is a terminal too, it would go through the bar.
    """
    target = screen or sys.stderr
    if not target.isatty() or os.environ.get("TERM") == "dumb" or (prints and sys.stdout.isatty()):
        yield
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    console = Console(file=target)
    with Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        TextColumn("{task.fields[count]}"),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    ) as shown:
        bar, phase_now = shown.add_task(first.value, total=None, count=""), first

        def show(phase: Phase, done: int, total: int | None) -> None:
            nonlocal phase_now
            if phase is not phase_now:
                shown.reset(bar, description=phase.value, total=None)
                phase_now = phase
            shown.update(bar, completed=done, total=total, count=_count(done, total))

        def above(line: str) -> None:
            console.print(line, soft_wrap=True, markup=False, highlight=False, emoji=False)

        with watched_by(show), log.shown_by(above):
            yield


def _count(done: int, total: int | None) -> str:
    if total is None:
        return f"{done:,}" if done else ""
    return f"{done:,} of {total:,}"

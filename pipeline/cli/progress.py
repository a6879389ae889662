"""What a person at a terminal sees while a long command works; nothing where nobody looks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from pipeline.model import Action

Note = Callable[[Action, str, str], None]


@contextmanager
def progress(what: str, console: Console | None = None) -> Iterator[Note]:
    """A line on standard error with the time that went by and how many actions came so far; gone at the end.

    Yields what is to be told of each action. How many there will be is what the command is about to find out.
    """
    shown = console or Console(stderr=True)
    with Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        TextColumn("{task.fields[found]}"),
        TimeElapsedColumn(),
        console=shown,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
        disable=not shown.is_terminal,
    ) as bar:
        task = bar.add_task(what, total=None, found="")
        count = 0

        def note(_action: Action, _outcome: str, _reason: str) -> None:
            nonlocal count
            count += 1
            bar.update(task, found=f"{count} actions")

        yield note

"""Progress is shown to a person at a terminal, and to nobody else."""

import io
from typing import Any, cast

from rich.console import Console

from pipeline.cli.progress import progress
from pipeline.model import Action

ACTION = cast("Action", None)


def shown(**options: Any) -> str:
    screen = io.StringIO()
    with progress("reading both sides", Console(file=screen, **options)) as note:
        note(ACTION, "done", "")
        note(ACTION, "done", "")
    return screen.getvalue()


def test_a_terminal_sees_what_is_done_and_how_much_came_of_it() -> None:
    text = shown(force_terminal=True, width=80)
    assert "reading both sides" in text
    assert "2 actions" in text
    assert text.endswith("\x1b[2K"), "and the line is gone at the end"


def test_a_file_or_a_pipe_sees_nothing() -> None:
    assert shown(force_terminal=False) == ""

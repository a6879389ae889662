"""Asking at a terminal: a line, a hidden line, yes or no; what others wrote is shown on one line, without controls."""

from __future__ import annotations

import typer
from rich.console import Console
from rich.markup import escape

from pipeline.redaction import escaped

Abort = typer.Abort
"""Ctrl-C, Ctrl-D, or the end of the input."""


class Terminal:
    """Raises Abort where somebody gives up."""

    def __init__(self) -> None:
        self.console = Console(highlight=False, soft_wrap=True)

    def say(self, text: str = "", *, style: str = "") -> None:
        """One line each, whatever stands in them."""
        for line in text.split("\n"):
            shown = escape(escaped(line))
            self.console.print(f"[{style}]{shown}[/]" if style else shown)

    def ask(self, text: str, default: str = "") -> str:
        answer: str = typer.prompt(
            escaped(text), default=escaped(default) if default else "", show_default=bool(default)
        )
        return answer.strip()

    def ask_hidden(self, text: str) -> str:
        """Nothing is shown, nothing is kept of it by the terminal. "" where only Enter was pressed."""
        answer: str = typer.prompt(
            f"{escaped(text)} (not shown)", default="", show_default=False, hide_input=True
        )
        return answer

    def ask_yes(self, text: str, *, default: bool) -> bool:
        while True:
            answer = self.ask(f"{text} (yes/no)", "yes" if default else "no").lower()
            if answer in ("y", "yes", "n", "no"):
                return answer.startswith("y")
            self.say("answer yes or no", style="yellow")

"""Asking at a terminal: a line, a hidden line, yes or no; what others wrote is shown on one line, without controls."""

from __future__ import annotations

import typer
from rich.console import Console
from rich.markup import escape

from pipeline.redaction import escaped

Abort = typer.Abort
"""Ctrl-C, Ctrl-D, or the end of the input."""

BACK = "<"
"""An answer that means the question before."""


class Back(Exception):
    """Somebody wants to answer the question before once more."""


class Terminal:
    """Every question raises Abort where somebody gives up, and Back where they want the one before."""

    usage = (
        f"Enter keeps what stands in brackets, - empties it, {BACK} goes back a question, Ctrl-C gives up."
    )
    again_or_keep = f"Enter: answer again; k: keep it all the same; {BACK}: the question before"

    def __init__(self) -> None:
        self.console = Console(highlight=False, soft_wrap=True)

    def say(self, text: str = "", *, style: str = "") -> None:
        """One line each, whatever stands in them."""
        for line in text.split("\n"):
            shown = escape(escaped(line))
            self.console.print(f"[{style}]{shown}[/]" if style else shown)

    def say_address(self, address: str) -> None:
        """One to be opened."""
        self.say(f"  {address}")

    def conclude(self, text: str, *, style: str = "") -> None:
        """What it all came to; also said where it was started."""
        self.say(text, style=style)

    def explain(self, sentence: str) -> None:
        """A sentence, broken between words. Addresses and commands are `say`'s: they have to be copied in one piece."""
        self.console.print(f"[dim]{escape(escaped(sentence))}[/]", soft_wrap=False)

    def ask(self, text: str, default: str = "") -> str:
        answer: str = typer.prompt(
            escaped(text), default=escaped(default) if default else "", show_default=bool(default)
        )
        return _unless_back(answer.strip())

    def ask_keep(self) -> bool:
        """Whether an answer stands although its test failed; else it is asked for again."""
        return self.ask(self.again_or_keep).lower() in ("k", "keep")

    def ask_hidden(self, text: str) -> str:
        """Nothing is shown, nothing is kept of it by the terminal. "" where only Enter was pressed."""
        answer: str = typer.prompt(
            f"{escaped(text)} (not shown)", default="", show_default=False, hide_input=True
        )
        return _unless_back(answer)

    def ask_yes(self, text: str, *, default: bool) -> bool:
        while True:
            answer = self.ask(f"{text} (yes/no)", "yes" if default else "no").lower()
            if answer in ("y", "yes", "n", "no"):
                return answer.startswith("y")
            self.say("answer yes or no", style="yellow")


def _unless_back(answer: str) -> str:
    if answer == BACK:
        raise Back
    return answer

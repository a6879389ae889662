"""How the demo speaks: chapters, tables, and expectations that end the story when they don't hold."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import NoReturn, TypeVar

import anyio
from rich import box
from rich.console import Console
from rich.panel import Panel
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

T = TypeVar("T")

_NARROW, _WIDE, _WITHOUT_TERMINAL = 80, 110, 100
PATIENCE_SECONDS = 30.0
_LOOK_SECONDS = 0.005
_SHOWN = 5  # addresses, of those that differ


class NotAsTold(Exception):
    """The story says one thing and another happened. The text is the sentence that did not hold."""


class Narrator:
    """Prints the story and counts its expectations. Texts are never taken for markup."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or _console()
        self.held = 0

    # --- telling

    def title(self, text: str) -> None:
        self.console.print(Rule(Text(text, style="bold"), characters="="))

    def chapter(self, text: str) -> None:
        self.console.print()
        self.console.print(Rule(Text(text, style="bold cyan"), align="left", characters="-"))

    def say(self, text: str) -> None:
        self.console.print(Text(text))

    def command(self, text: str) -> None:
        self.console.print(Text(f"\n$ {text}", style="bold"))

    def table(
        self, headings: Sequence[str], rows: Iterable[Sequence[object]], *, title: str = "", right: str = ""
    ) -> None:
        """`right` names the columns, by number, that hold figures."""
        table = Table(
            title=Text(title) if title else None, title_justify="left", title_style="bold", box=box.SIMPLE
        )
        for number, heading in enumerate(headings):
            table.add_column(
                heading, overflow="fold", justify="right" if str(number) in right.split() else "left"
            )
        for row in rows:
            table.add_row(*(Text(str(cell)) for cell in row))
        self.console.print(table)

    def facts(self, rows: Iterable[tuple[str, str]]) -> None:
        table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2))
        table.add_column(style="bold", no_wrap=True)
        table.add_column(overflow="fold")
        for name, text in rows:
            table.add_row(Text(name), Text(text))
        self.console.print(table)

    def letter(self, title: str, text: str) -> None:
        self.console.print(Panel(Text(text), title=Text(title), title_align="left", box=box.ROUNDED))

    # --- checking

    def expect(self, sentence: str, truth: object, found: str = "") -> None:
        """Says the sentence, as something that was looked at. NotAsTold when it does not hold."""
        if not truth:
            self.fail(sentence, found)
        self.held += 1
        self.console.print(Text.assemble(("  ok  ", "green"), sentence))

    @staticmethod
    def fail(sentence: str, found: str) -> NoReturn:
        raise NotAsTold(f"{sentence}{f' (found: {found})' if found else ''}")

    def expect_equal(self, sentence: str, found: T, told: T) -> None:
        self.expect(sentence, found == told, _difference(found, told))


async def until(look: Callable[[], T | None], what: str, *, seconds: float = PATIENCE_SECONDS) -> T:
    """What `look` finds, as soon as it finds something. NotAsTold after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > deadline:
            raise NotAsTold(f"{what} (waited {seconds:g} s)")
        await anyio.sleep(_LOOK_SECONDS)


def _difference(found: object, told: object) -> str:
    """Of sets only what differs: they hold hundreds of addresses."""
    if isinstance(found, set | frozenset) and isinstance(told, set | frozenset):
        parts = ((found - told, "too much"), (told - found, "missing"))
        return "; ".join(
            f"{len(which)} {word}: {', '.join(sorted(map(str, which))[:_SHOWN])}"
            for which, word in parts
            if which
        )
    return f"{found!r} instead of {told!r}"


def counted(number: int, one: str, many: str = "") -> str:
    """`1 person`, `3 people`."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def _console() -> Console:
    """Between 80 and 110 columns, whatever the terminal; without one, as in the log of a CI job, 100."""
    console = Console(highlight=False, emoji=False)
    width = min(max(console.width, _NARROW), _WIDE) if console.is_terminal else _WITHOUT_TERMINAL
    return Console(highlight=False, emoji=False, width=width)

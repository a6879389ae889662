"""A conversation between a thread that asks and waits, and a page that shows and answers when somebody types."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field


class ConversationOver(Exception):
    """Nobody will answer any more."""


class WentBack(Exception):
    """Instead of an answer, the question before is wanted."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """One question. `number` tells an answer to it from one to an earlier question, sent twice or late."""

    number: int
    text: str
    default: str = ""
    is_hidden: bool = False


@dataclass(frozen=True, slots=True)
class Shown:
    """What a page has to show: all lines so far, the question that waits for an answer, and whether it is over.

    `addresses` are those of the lines that are to be opened.
    """

    lines: Sequence[str]
    prompt: Prompt | None
    is_over: bool
    addresses: frozenset[str] = frozenset()


@dataclass(slots=True)
class Conversation:
    """Safe for threads. `ask_blocking` and `wait_blocking` block, nothing else does."""

    _lines: list[str] = field(default_factory=list)
    _addresses: set[str] = field(default_factory=set)
    _prompt: Prompt | None = None
    _answer: str | None = None
    _goes_back: bool = False
    _count: int = 0
    _is_over: bool = False
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def say(self, line: str, *, is_address: bool = False) -> None:
        with self._changed:
            self._lines.append(line)
            if is_address:
                self._addresses.add(line)

    def ask_blocking(self, text: str, default: str = "", *, is_hidden: bool = False) -> str:
        """The answer, as it was typed. WentBack, or ConversationOver when there will be none."""
        with self._changed:
            self._count += 1
            self._answer, self._goes_back = None, False
            self._prompt = Prompt(self._count, text, default, is_hidden)
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._answer is not None or self._is_over)
            self._prompt = None
            if self._answer is None:
                raise ConversationOver
            if self._goes_back:
                raise WentBack
            return self._answer

    def answer(self, number: int, text: str, *, goes_back: bool = False) -> bool:
        """Whether this was the question that waits."""
        with self._changed:
            if self._prompt is None or self._prompt.number != number or self._answer is not None:
                return False
            self._answer, self._goes_back = text, goes_back
            self._changed.notify_all()
            return True

    def end(self) -> None:
        with self._changed:
            self._is_over = True
            self._changed.notify_all()

    def wait_blocking(self, seconds: float) -> Shown:
        """What there is to show, once a question waits or it is over, at the latest after so long."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_over or self._waits(), timeout=seconds)
            return Shown(
                tuple(self._lines),
                self._prompt if self._waits() else None,
                self._is_over,
                frozenset(self._addresses),
            )

    def _waits(self) -> bool:
        return self._prompt is not None and self._answer is None

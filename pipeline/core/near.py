"""What somebody may have meant who mistyped a name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

_SHOWN = 3
_ALIKE = 0.75


def near_to(text: str, names: Iterable[str]) -> tuple[str, ...]:
    """Of `names` those that resemble `text` most, letter case aside; the most alike first, three at most."""
    by_word: dict[str, str] = {}
    for name in names:
        by_word.setdefault(name.casefold(), name)
    found = difflib.get_close_matches(text.strip().casefold(), list(by_word), n=_SHOWN, cutoff=_ALIKE)
    return tuple(by_word[word] for word in found)


def did_you_mean(text: str, names: Iterable[str]) -> str:
    """A sentence's end for an error, "" when nothing is alike."""
    return suggestion(near_to(text, names))


def suggestion(found: Sequence[str]) -> str:
    """The same of what `near_to` found."""
    return f"; did you mean {' or '.join(found)}?" if found else ""

"""What somebody may have meant who mistyped a name."""

from __future__ import annotations

import difflib
import heapq
from collections.abc import Iterable, Sequence

_SHOWN = 3
_ALIKE = 0.75
_COMPARED = 200
"""So many are compared letter by letter, which takes a hundred times as long as to look for what they share."""


def near_to(text: str, names: Iterable[str]) -> tuple[str, ...]:
    """Of `names` those that resemble `text` most, letter case aside; the most alike first, three at most."""
    by_word: dict[str, str] = {}
    for name in names:
        by_word.setdefault(name.casefold(), name)
    wanted = text.strip().casefold()
    found = difflib.get_close_matches(wanted, _likely(wanted, by_word), n=_SHOWN, cutoff=_ALIKE)
    return tuple(by_word[word] for word in found)


def _likely(wanted: str, words: Iterable[str]) -> list[str]:
    """Those of about the same length that share most pairs of letters with it."""
    least, most = len(wanted) * _ALIKE / (2 - _ALIKE), len(wanted) * (2 - _ALIKE) / _ALIKE
    of_a_length = [word for word in words if least <= len(word) <= most]
    if len(of_a_length) <= _COMPARED:
        return of_a_length
    pairs = {wanted[place : place + 2] for place in range(len(wanted) - 1)}
    return heapq.nlargest(_COMPARED, of_a_length, key=lambda word: sum(map(word.__contains__, pairs)))


def did_you_mean(text: str, names: Iterable[str]) -> str:
    """A sentence's end for an error, "" when nothing is alike."""
    return suggestion(near_to(text, names))


def suggestion(found: Sequence[str]) -> str:
    """The same of what `near_to` found."""
    return f"; did you mean {' or '.join(found)}?" if found else ""

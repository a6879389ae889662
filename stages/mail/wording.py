"""Text from the directory made safe to show: one line, no controls, no reordering of what stands around it."""

from __future__ import annotations

import unicodedata

_ELLIPSIS = "…"
# Format characters that words are spelt with: zero-width joiners and non-joiners (Persian, Indic, emoji), soft hyphen.
_SPELLING = frozenset("\u200c\u200d\u00ad")


def shown(value: str, limit: int) -> str:
    """`value` on one line of at most `limit` characters.

    Controls and line separators become spaces, runs of white space one. Other format characters (bidi overrides and
    isolates, zero-width marks, tags) become their visible code point, so that a name can't turn "not" around unseen.
    Lone surrogates, which no encoding takes, become U+FFFD.
    """
    # Cut before the costly part, generously: a 10-megabyte attribute is not worth reading.
    start = value[: limit * 4]
    line = " ".join("".join(map(_character, start)).split())
    if len(line) <= limit and len(start) == len(value):
        return line
    return line[: limit - 1].rstrip() + _ELLIPSIS


def header_text(value: str, limit: int) -> str:
    """As `shown`, for a header: `=?` is broken up as well.

    Python decodes an encoded word (RFC 2047) while *setting* a header, so a name like `=?utf-8?q?a=0Ab?=` would bring
    back the line break that cleaning took out.
    """
    return shown(shown(value, limit).replace("=?", "= ?"), limit)


def _character(char: str) -> str:
    if char.isascii() and char.isprintable():
        return char
    category = unicodedata.category(char)
    if category in ("Cc", "Zl", "Zp"):
        return " "
    if category == "Cs":
        return "\ufffd"
    if category == "Cf" and char not in _SPELLING:
        return f"[U+{ord(char):04X}]"
    return char

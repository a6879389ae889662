"""Nothing secret and nothing forged in what is written for people: redaction and escaping of text.

Standard library only, so that commands which never log don't pay for the log.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import quote, quote_plus

MASK = "[redacted]"
_SHORTEST = 4  # characters; a shorter "secret" would mask half of every line and tell by that what it is

_forms: set[str] = set()
_pattern: re.Pattern[str] | None = None

# Credentials that nobody registered: authorization headers, Dropbox tokens, `password=…` in a library's error.
# A colon counts only after a quoted name, as in JSON: "directory.password: is empty" is a sentence.
_NAME = r"(?:password|passwd|secret|app_secret|access_token|refresh_token|client_secret|code_verifier)"
_TOKENS = re.compile(
    r"(?P<scheme>\b(?i:bearer)(?:\s+|%20)|\bBasic\s+(?=[A-Za-z]*[0-9+/=]))[A-Za-z0-9._~+/=-]{8,}"
    r"|\bsl\.[A-Za-z0-9._-]{16,}"
    rf"|(?P<name>\b(?i:{_NAME})(?:[\"']?\s*=|[\"']\s*:)\s*)(?:\"(?:[^\"\\]|\\.)*\"?|'(?:[^'\\]|\\.)*'?|[^\s,;&\"'}}]+)"
)
# Every match of _TOKENS holds one of these, in lower case: looking for them is ten times as fast.
_CREDENTIAL_WORDS = ("bearer", "basic", "sl.", "password", "passwd", "secret", "_token", "code_verifier")
_SECRET_NAMES = re.compile(
    r"(?i)(password|passwd|secret|authorization|(access|refresh|id)_token|code_verifier)$"
)

# C0 and C1 controls, line and paragraph separators, bidirectional controls, invisible marks, lone surrogates
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]")


def register_secret(value: str) -> None:
    """From now on this value is masked in every line, also JSON- or percent-encoded. Short ones are ignored."""
    global _pattern  # noqa: PLW0603 - one process, one log, one set of secrets
    if len(value) < _SHORTEST:
        return
    forms = {
        value,
        json.dumps(value)[1:-1],
        json.dumps(value, ensure_ascii=False)[1:-1],
        quote(value, safe="", errors="replace"),
        quote_plus(value, errors="replace"),
        repr(value)[1:-1],
        escaped(value),
    }
    if forms <= _forms:
        return
    _forms.update(forms)
    # longest first: a secret that contains another one must go whole
    _pattern = re.compile("|".join(re.escape(form) for form in sorted(_forms, key=len, reverse=True)))


def redacted(text: str) -> str:
    """The text with registered secrets and whatever looks like a credential masked."""
    if _pattern is not None:
        text = _pattern.sub(MASK, text)
    return _TOKENS.sub(_mask, text) if _may_hold_credential(text) else text


def redacted_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """`redacted_value` of each field. Nearly all lines hold nothing secret, and one look at the whole line tells."""
    values = fields.values()
    if all(isinstance(value, str) for value in values) and not any(map(_is_secret_name, fields)):
        # What would match in one of the values matches in all of them in a row: no pattern asks what comes after.
        text = " ".join(values)
        if (_pattern is None or _pattern.search(text) is None) and not _may_hold_credential(text):
            return dict(fields)
    return {name: redacted_value(value, name) for name, value in fields.items()}


def _may_hold_credential(text: str) -> bool:
    """False: _TOKENS finds nothing in it."""
    if not text.isascii():
        return True  # some letters beyond ASCII count as these when case is ignored
    lower = text.lower()
    return any(word in lower for word in _CREDENTIAL_WORDS)


def redacted_value(value: Any, name: str = "") -> Any:
    """The same for a value of any shape, for logging: containers are walked, unknown objects become text."""
    if name and _is_secret_name(name) and value not in (None, "", True, False):
        return MASK
    if isinstance(value, str):  # first: nearly all are
        return redacted(str(value))
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return value if redacted(str(value)) == str(value) else MASK
    if isinstance(value, bytes):
        return redacted(value.decode("utf-8", "backslashreplace"))
    if isinstance(value, Mapping):
        return {redacted(str(key)): redacted_value(item, str(key)) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [redacted_value(item) for item in value]
    return redacted(str(value))


@lru_cache(maxsize=1000)
def _is_secret_name(name: str) -> bool:
    return _SECRET_NAMES.search(name) is not None


def escaped(text: str) -> str:
    """Text on one line: control, bidirectional and invisible characters written as escapes.

    Names come from a directory that many people may write to; none of them may end a line of the log, start
    one, or turn its direction (CWE-117).
    """
    if text.isascii() and text.isprintable():
        return text
    return _UNSAFE.sub(_escape, text)


def _escape(matched: re.Match[str]) -> str:
    code = ord(matched[0])
    known = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(matched[0])
    return known or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")


def json_safe(line: str) -> str:
    """A JSON document whose strings hold no character that a viewer takes for a line end or a direction.

    JSON's own escapes are used: what is read back is what was written.
    """
    return _UNSAFE.sub(lambda matched: f"\\u{ord(matched[0]):04x}", line)


def _mask(matched: re.Match[str]) -> str:
    return f"{matched['scheme'] or matched['name'] or ''}{MASK}"

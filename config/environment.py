"""Keys of the configuration set by environment variables: `AD_CONNECTOR__SECTION__KEY`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic.fields import FieldInfo

from config.lines import KeyPath

PREFIX = "AD_CONNECTOR__"

_BOOLEANS = {
    "true": True,
    "1": True,
    "yes": True,
    "on": True,
    "false": False,
    "0": False,
    "no": False,
    "off": False,
}


@dataclass(frozen=True, slots=True)
class Override:
    """One variable: which key it sets, by which name, to what text."""

    name: str
    path: KeyPath
    text: str


def overrides(environ: Mapping[str, str]) -> tuple[Override, ...]:
    """The variables that set keys, in the order of their names. Case doesn't matter: Windows has none."""
    return tuple(
        Override(name, tuple(name[len(PREFIX) :].lower().split("__")), environ[name])
        for name in sorted(environ)
        if name.upper().startswith(PREFIX)
    )


def typed(text: str, field: FieldInfo) -> Any:
    """The text as the type that the key has. What can't be read stays text: the model names that fault."""
    default = field.default
    if isinstance(default, bool):
        return _BOOLEANS.get(text.strip().lower(), text)
    if isinstance(default, int | float):
        return _number(text)
    if isinstance(default, list):
        return _list(text)
    return text


def _number(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _list(text: str) -> list[Any]:
    """A JSON list, or values parted by commas. `[ab]*@example.test` is a pattern, no JSON: it is kept."""
    if text.strip().startswith("["):
        try:
            parsed = json.loads(text)
        except (ValueError, RecursionError):
            parsed = None
        if isinstance(parsed, list):
            return parsed
    return [part.strip() for part in text.split(",") if part.strip()]

"""How a fault of the configuration is told: what is wrong, and which key was probably meant.

No sentence contains the value that was given: it might be a secret in the wrong place.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from config.lines import KeyPath
from config.settings import Settings

_AT = re.compile(r"\s*\((?:at )?(line \d+, column \d+|(?:at )?end of document)\)$")
_SYNTAX_HINTS = (
    ("Cannot overwrite", "this key stands twice"),
    ("Duplicate inline", "this key stands twice"),
    ("Cannot declare", "this section stands twice"),
    ("Cannot mutate", "this key or section stands twice"),
    ("Unescaped '\\'", "a backslash in double quotes: put the text in 'single quotes'"),
    ("Invalid value", "text needs quotes, and true and false are written small"),
)


def syntax_fault(error: ValueError | RecursionError) -> str:
    """What `tomllib` refused, with the place first."""
    if not isinstance(error, tomllib.TOMLDecodeError):
        return "not TOML that can be used: too deeply nested, or a number too long"
    message = str(error)
    place = ""
    if matched := _AT.search(message):
        place, message = f"{matched[1].removeprefix('at ')}: ", message[: matched.start()]
    hint = next((hint for start, hint in _SYNTAX_HINTS if message.startswith(start)), "")
    return f"{place}not TOML: {message}" + (f" ({hint})" if hint else "")


def section_of(name: str) -> type[BaseModel] | None:
    """The model of a section, None where there is no such section."""
    found = Settings.model_fields.get(name)
    kind = found.annotation if found else None
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def field_of(path: KeyPath) -> FieldInfo | None:
    """The key at a path, None where there is no such key."""
    if len(path) == 1:
        return None if section_of(path[0]) else Settings.model_fields.get(path[0])
    section = section_of(path[0])
    return section.model_fields.get(path[1]) if section and len(path) == 2 else None


def unknown(path: KeyPath, *, is_section: bool) -> str:
    """What to say of a key or section that does not exist, with the nearest that does."""
    sections = [name for name in Settings.model_fields if section_of(name)]
    keys = {f"{name}.{key}" for name in sections for key in _keys(name)} | {"simulation"}
    if len(path) == 1 and is_section:
        near = _nearest(path[0], sections)
        return (
            f"is no section; did you mean [{near}]?"
            if near
            else f"is no section; there are {', '.join(sections)}"
        )
    own = _keys(path[0]) if len(path) == 2 else ["simulation", *sections]
    name = path[-1]
    # the same section first, then the key by its name in any section, then whatever looks like it
    near = _nearest(name, own) if len(path) < 3 else None
    if near:
        return (
            f"is no key; did you mean {near}?"
            if len(path) == 1
            else f"is no key; did you mean {path[0]}.{near}?"
        )
    elsewhere = sorted(known for known in keys if known.rpartition(".")[2] == name.lower())
    if elsewhere:
        return f"is no key here; did you mean {' or '.join(elsewhere)}?"
    near = _nearest(".".join(path), sorted(keys))
    if near:
        return f"is no key; did you mean {near}?"
    return f"is no key; known are {', '.join(own or sections)}"


def _keys(section: str) -> list[str]:
    model = section_of(section)
    return list(model.model_fields) if model else []


def _nearest(name: str, known: list[str]) -> str | None:
    return next(iter(difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.6)), None)


def sentence(found: Any) -> str:
    """A pydantic error as a sentence for an admin, without the value where it is a configuration's."""
    context = found.get("ctx", {})
    kind = found["type"]
    if kind == "value_error":
        return str(context["error"])
    if kind == "literal_error":
        return f"must be one of {context['expected']}"
    if kind in {"greater_than", "greater_than_equal", "less_than", "less_than_equal"}:
        words = {"greater_than": "greater than", "greater_than_equal": "at least"}
        words |= {"less_than": "less than", "less_than_equal": "at most"}
        bound = context.get("gt", context.get("ge", context.get("lt", context.get("le"))))
        return f"must be {words[kind]} {int(bound) if bound == int(bound) else bound}"
    sentences = {
        "bool_type": "must be true or false, without quotes",
        "int_type": "must be a whole number, without quotes",
        "int_parsing": "must be a whole number",
        "int_parsing_size": "must be a whole number of fewer digits",
        "float_type": "must be a number, without quotes",
        "finite_number": "must be a finite number",
        "string_type": "must be text in quotes",
        "string_unicode": "must be text that can be written as UTF-8",
        "tuple_type": "must be a list in brackets",
    }
    return sentences.get(kind, str(found["msg"]))

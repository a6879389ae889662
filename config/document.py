"""The configuration file as text: what a broken one still says, and what is to be written."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import Item, Table

from config.reference import keys

HEADER = (
    "Written by `ad-connector configure`; edit it, or run that again. docs/configuration.md has all keys."
)
_LONGEST_VALUE_LINES = 200
_SECTION = re.compile(r"\s*\[\s*([A-Za-z_]+)\s*\]?\s*(#.*)?")  # also one that was not closed


def salvaged(text: str) -> dict[str, Any]:
    """The values of a text that is no TOML: every line, or array over several lines, that makes sense by itself."""
    found: dict[str, Any] = {}
    section = found
    lines = text.replace("\r\n", "\n").split("\n")
    position = 0
    while position < len(lines):
        line = lines[position]
        position += 1
        if header := _SECTION.fullmatch(line):
            inner = found.setdefault(header[1], {})
            section = inner if isinstance(inner, dict) else {}
            continue
        if "=" not in line:
            continue
        piece = line
        values = _parsed(piece)
        end = position
        while values is None and "[" in piece and end < min(len(lines), position + _LONGEST_VALUE_LINES):
            if _SECTION.fullmatch(lines[end]):
                break
            piece += "\n" + lines[end]
            end += 1
            values = _parsed(piece)
        if values is None:
            continue
        position = max(position, end)
        for name, value in values.items():
            section.setdefault(name, value)
    return found


def _parsed(piece: str) -> dict[str, Any] | None:
    try:
        return tomllib.loads(piece)
    except (ValueError, RecursionError):
        return None


def written(values: Mapping[str, Any], original: str = "") -> str:
    """The text of a file with exactly these values.

    Comments and order of `original` stay, if it is TOML; keys that are new get their meaning as a comment.
    """
    try:
        text = _edited(tomlkit.parse(original.removeprefix("\ufeff").replace("\r\n", "\n")), values)
        if original.strip() and tomllib.loads(text) == dict(values):
            return text
    except (TOMLKitError, ValueError, RecursionError):
        pass  # no TOML, or a form of it that can't be edited in place: all values, without its comments
    document = tomlkit.document()
    document.add(tomlkit.comment(HEADER))
    return _edited(document, values)


def as_toml(value: Any) -> str:
    """A value as it stands in the file."""
    return str(tomlkit.item(value).as_string())


def _edited(document: tomlkit.TOMLDocument, values: Mapping[str, Any]) -> str:
    meanings = {(key.section, key.name): key.meaning for key in keys()}
    for name in [str(name) for name in document if str(name) not in values]:
        document.remove(name)
    for name, value in values.items():
        if not isinstance(value, Mapping):
            _put(document, "", name, value, meanings)
    for name, value in values.items():
        if isinstance(value, Mapping):
            _put_section(document, name, value, meanings)
    return document.as_string().rstrip("\n") + "\n"


def _put_section(
    document: tomlkit.TOMLDocument,
    name: str,
    value: Mapping[str, Any],
    meanings: Mapping[tuple[str, str], str],
) -> None:
    table = document.get(name)
    if not isinstance(table, Table):
        if table is not None:
            document.remove(name)  # an inline table or dotted keys: written anew
        if not value:
            return
        table = tomlkit.table()
        document.add(tomlkit.nl())
        document.add(name, table)
    for key in [str(key) for key in table if str(key) not in value]:
        table.remove(key)
    for key, item in value.items():
        _put(table, name, key, item, meanings)


def _put(
    place: tomlkit.TOMLDocument | Table,
    section: str,
    name: str,
    value: Any,
    meanings: Mapping[tuple[str, str], str],
) -> None:
    if name in place:
        old = place[name]
        plain = old.unwrap() if isinstance(old, Item) else old
        if plain == value and type(plain) is type(value):
            return
        item = tomlkit.item(value)
        if isinstance(old, Item):
            item.trivia.comment_ws, item.trivia.comment = old.trivia.comment_ws, old.trivia.comment
        place[name] = item
        return
    item = tomlkit.item(value)
    if meaning := meanings.get((section, name)):
        item.comment(meaning)
    if section or not isinstance(place, tomlkit.TOMLDocument):
        place.add(name, item)
        return
    # A key of the top level has to stand before the first section.
    first = next((key for key, inner in place.items() if isinstance(inner, Table)), None)
    if first is None:
        place.add(name, item)
    else:
        rest = [(str(key), inner) for key, inner in place.items() if isinstance(inner, Table)]
        for key, _ in rest:
            place.remove(key)
        place.add(name, item)
        for key, inner in rest:
            place.add(key, inner)

"""The example file, the table of keys and the JSON Schema, made from the models: one home for keys, defaults and meanings.

`python -m config.reference example` (or `table`, `schema`) prints them; tests compare connector.example.toml,
docs/configuration.md and connector.schema.json with what is printed.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import annotated_types
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from config.secrets import Secret
from config.settings import Settings
from config.values import Limit

_COMMENT_COLUMN = 44


@dataclass(frozen=True, slots=True)
class Key:
    """One key of the configuration. `section` is "" at the top level; `default` is as TOML has it."""

    section: str
    name: str
    kind: str
    default: Any
    example: Any
    meaning: str
    choices: tuple[str, ...] = ()


def keys() -> Iterator[Key]:
    """Every key, in the order of the models."""
    for name, field in Settings.model_fields.items():
        section = field.annotation
        if isinstance(section, type) and issubclass(section, BaseModel):
            for inner, inner_field in section.model_fields.items():
                yield _key(name, inner, inner_field)
        else:
            yield _key("", name, field)


def example() -> str:
    """The text of connector.example.toml: all keys with their defaults, a comment each."""
    lines = ["# All keys with their defaults. Only what differs needs to stand in connector.toml."]
    section = ""
    for key in keys():
        if key.section != section:
            section = key.section
            lines += ["", f"[{section}]"]
        value = key.default if key.example is None else key.example
        lines.append(f"{f'{key.name} = {_toml(value)}':<{_COMMENT_COLUMN}}  # {_choices(key)}{key.meaning}")
    return "\n".join(lines) + "\n"


def table() -> str:
    """The tables of docs/configuration.md, one a section."""
    lines: list[str] = []
    section: str | None = None
    for key in keys():
        if key.section != section:
            section = key.section
            title = f"`[{section}]`" if section else "Top level"
            lines += ["", f"### {title}", "", "| key | type | default | meaning |", "|---|---|---|---|"]
        cells = (f"`{key.name}`", key.kind, f"`{_toml(key.default)}`", key.meaning)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines).strip() + "\n"


def schema() -> str:
    """The text of connector.schema.json: what editors need to complete keys, show their meaning and mark mistakes.

    Draft 7, which TOML plug-ins of editors read. It is as strict as one key by itself can be judged; rules between keys,
    files and the forms of addresses are judged by the program only.
    """
    properties: dict[str, Any] = {}
    for name, field in Settings.model_fields.items():
        section = field.annotation
        if isinstance(section, type) and issubclass(section, BaseModel):
            properties[name] = {
                "type": "object",
                "additionalProperties": False,
                "properties": {
                    inner: _schema_of(inner_field) for inner, inner_field in section.model_fields.items()
                },
            }
        else:
            properties[name] = _schema_of(field)
    document = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "connector.toml of the Dropbox AD connector",
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _schema_of(field: FieldInfo) -> dict[str, Any]:
    annotation = field.annotation
    found: dict[str, Any] = {"type": "string"}
    if get_origin(annotation) is Literal:
        found = {"enum": list(get_args(annotation))}
    elif get_origin(annotation) is tuple:
        found = {"type": "array", "items": {"type": "string"}}
    elif annotation is Limit:
        found = {"type": ["integer", "string"], "minimum": 0}
    elif annotation in (bool, int, float):
        found = {"type": "boolean" if annotation is bool else "integer" if annotation is int else "number"}
        for item in field.metadata:
            if isinstance(item, annotated_types.Gt):
                found["exclusiveMinimum"] = item.gt
            elif isinstance(item, annotated_types.Ge):
                found["minimum"] = item.ge
            elif isinstance(item, annotated_types.Le):
                found["maximum"] = item.le
    return {**found, "default": field.default, "description": field.description or ""}


def _key(section: str, name: str, field: FieldInfo) -> Key:
    extra = field.json_schema_extra
    shown = extra.get("example") if isinstance(extra, dict) else None
    choices = get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
    return Key(section, name, _kind(field), field.default, shown, field.description or "", choices)


def _choices(key: Key) -> str:
    return f"{' | '.join(key.choices)}: " if key.choices else ""


def _kind(field: FieldInfo) -> str:
    annotation = field.annotation
    if get_origin(annotation) is Literal:
        return ", ".join(f"`{choice}`" for choice in get_args(annotation))
    if get_origin(annotation) is tuple:
        return "list of text"
    if annotation is Secret:
        return "secret"
    if annotation is Limit:
        return "number or percentage"
    if annotation is Path or any(Path in get_args(part) for part in get_args(annotation)):
        return "path"
    names = {bool: "true or false", int: "whole number", float: "number", str: "text"}
    bounds = "".join(_bound(item) for item in field.metadata)
    return names[annotation] + bounds if annotation in names else str(annotation)


def _bound(constraint: Any) -> str:
    if isinstance(constraint, annotated_types.Gt):
        return f", above {constraint.gt}"
    if isinstance(constraint, annotated_types.Ge):
        return f", from {constraint.ge}"
    if isinstance(constraint, annotated_types.Le):
        return (
            f", up to {constraint.le:g}" if isinstance(constraint.le, float) else f", up to {constraint.le}"
        )
    return ""


def _toml(value: Any) -> str:
    # JSON's texts, numbers, lists and booleans are TOML's as well
    return json.dumps(value, ensure_ascii=False)


def main(arguments: list[str]) -> int:
    """Prints one of the texts; 2 for a wrong command line."""
    makers = {"example": example, "table": table, "schema": schema}
    if len(arguments) != 1 or arguments[0] not in makers:
        sys.stderr.write("usage: python -m config.reference example|table|schema\n")
        return 2
    sys.stdout.write(makers[arguments[0]]())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

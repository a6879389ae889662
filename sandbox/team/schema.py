"""Argument types in the manner of Stone: strict on requests, with the wording of the real server's 400 texts.

Own code on purpose: the sandbox must not lean on the SDK that its tests use as the referee.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

TIMESTAMP_FORMAT = "%Y-%m-%dT%H:%M:%SZ"
EMAIL_PATTERN = r"^['#&A-Za-z0-9._%+-]+@[A-Za-z0-9-][A-Za-z0-9.-]*\.[A-Za-z]{2,15}$"
_ECHO_LIMIT = 1000


class ArgumentError(Exception):
    """A value that does not fit its type; the path names the fields from the outside in."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message
        self.path: list[str] = []

    def inside(self, name: str) -> "ArgumentError":
        self.path.insert(0, name)
        return self

    def __str__(self) -> str:
        return f"{'.'.join(self.path)}: {self.message}" if self.path else self.message


class Type(Protocol):
    def decode(self, value: Any) -> Any: ...


def type_name(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "integer"
    if isinstance(value, float):
        return "float"
    if isinstance(value, list):
        return "list"
    if isinstance(value, str):
        return "string"
    return "null" if value is None else "object"


def _echo(value: Any) -> str:
    text = str(value)
    return text if len(text) <= _ECHO_LIMIT else text[:_ECHO_LIMIT] + "..."


@dataclass(frozen=True)
class Void:
    def decode(self, value: Any) -> None:
        if value is not None:
            raise ArgumentError("expected null, got value")


@dataclass(frozen=True)
class Boolean:
    def decode(self, value: Any) -> bool:
        if not isinstance(value, bool):
            raise ArgumentError(f"{value!r} is not a valid boolean")
        return value


@dataclass(frozen=True)
class Integer:
    minimum: int
    maximum: int

    def decode(self, value: Any) -> int:
        if not isinstance(value, int):
            raise ArgumentError(f"expected integer, got {type_name(value)}")
        if not self.minimum <= value <= self.maximum:
            raise ArgumentError(f"{value} is not within range [{self.minimum}, {self.maximum}]")
        return int(value)


@dataclass(frozen=True)
class String:
    min_length: int | None = None
    max_length: int | None = None
    pattern: str | None = None

    def decode(self, value: Any) -> str:
        if not isinstance(value, str):
            raise ArgumentError(f"'{_echo(value)}' expected to be a string, got {type_name(value)}")
        if self.max_length is not None and len(value) > self.max_length:
            raise ArgumentError(
                f"'{_echo(value)}' must be at most {self.max_length} characters, got {len(value)}"
            )
        if self.min_length is not None and len(value) < self.min_length:
            raise ArgumentError(
                f"'{_echo(value)}' must be at least {self.min_length} characters, got {len(value)}"
            )
        if self.pattern is not None and re.fullmatch(self.pattern, value) is None:
            # Stone masks what failed as an address, so that no address ends up in a log.
            shown = "*****" if self.pattern == EMAIL_PATTERN else _echo(value)
            raise ArgumentError(f"'{shown}' did not match pattern '{self.pattern}'")
        return value


@dataclass(frozen=True)
class Timestamp:
    def decode(self, value: Any) -> datetime:
        if not isinstance(value, str):
            raise ArgumentError(f"expected timestamp, got {type_name(value)}")
        try:
            return datetime.strptime(value, TIMESTAMP_FORMAT).replace(tzinfo=UTC)
        except ValueError:
            raise ArgumentError(
                f"time data '{_echo(value)}' does not match format '{TIMESTAMP_FORMAT}'"
            ) from None


@dataclass(frozen=True)
class Nullable:
    inner: Type

    def decode(self, value: Any) -> Any:
        return None if value is None else self.inner.decode(value)


@dataclass(frozen=True)
class ListOf:
    item: Type
    min_items: int | None = None
    max_items: int | None = None

    def decode(self, value: Any) -> list[Any]:
        if not isinstance(value, list):
            raise ArgumentError(f"expected list, got {type_name(value)}")
        items = [self.item.decode(item) for item in value]
        # The real text repeats the list; above Stone's echo limit that helps nobody.
        if self.max_items is not None and len(items) > self.max_items:
            raise ArgumentError(f'"{_echo(value)}" has more than {self.max_items} items')
        if self.min_items is not None and len(items) < self.min_items:
            raise ArgumentError(f"'{_echo(value)}' has fewer than {self.min_items} items")
        return items


_REQUIRED: Any = object()


@dataclass(frozen=True)
class Field:
    type: Type
    default: Any = _REQUIRED

    @property
    def required(self) -> bool:
        return self.default is _REQUIRED


def required(type_: Type) -> Field:
    return Field(type_)


def optional(type_: Type) -> Field:
    return Field(Nullable(type_), None)


def defaulted(type_: Type, default: Any) -> Field:
    return Field(type_, default)


@dataclass(frozen=True)
class Struct:
    fields: Mapping[str, Field]

    def decode(self, value: Any) -> dict[str, Any]:
        if value is None and not any(f.required for f in self.fields.values()):
            value = {}  # a structure of defaults only may be left out as null
        if not isinstance(value, dict):
            raise ArgumentError(f"expected object, got {type_name(value)}")
        for key in value:
            if key not in self.fields and not key.startswith(".tag"):
                raise ArgumentError(f"unknown field '{key}'")
        decoded: dict[str, Any] = {}
        for name, entry in self.fields.items():
            if name in value:
                try:
                    decoded[name] = entry.type.decode(value[name])
                except ArgumentError as error:
                    raise error.inside(name) from None
            elif entry.required:
                raise ArgumentError(f"missing required field '{name}'")
            else:
                decoded[name] = entry.default
        return decoded


@dataclass(frozen=True)
class Tagged:
    """A decoded union: its tag, and the value for the tags that carry one."""

    tag: str
    value: Any = None


@dataclass(frozen=True)
class Union:
    """Tags with their value type; None marks a tag without a value, for which the bare string will do."""

    tags: Mapping[str, Type | None] = field(default_factory=dict)
    catch_all: str | None = None

    def decode(self, value: Any) -> Tagged:
        if isinstance(value, str):
            self._known(value)
            if self.tags[value] is not None:
                raise ArgumentError(f"expected object for '{value}', got symbol")
            return Tagged(value)
        if not isinstance(value, dict):
            raise ArgumentError(f"expected string or object, got {type_name(value)}")
        if ".tag" not in value:
            raise ArgumentError("missing '.tag' key")
        tag = value[".tag"]
        if not isinstance(tag, str):
            raise ArgumentError(f"tag must be string, got {type_name(tag)}")
        self._known(tag)
        inner = self.tags[tag]
        if inner is None:
            if value.get(tag) is not None:
                raise ArgumentError(f"expected null, got {type_name(value[tag])}")
            self._only(value, tag)
            return Tagged(tag)
        if tag not in value:
            raise ArgumentError(f"missing '{tag}' key")
        # Stone checks the value before it looks for stray keys, and names no field for the value.
        decoded = inner.decode(value[tag])
        self._only(value, tag)
        return Tagged(tag, decoded)

    def _known(self, tag: str) -> None:
        if tag == self.catch_all:
            raise ArgumentError(f"unexpected use of the catch-all tag '{tag}'")
        if tag not in self.tags:
            raise ArgumentError(f"unknown tag '{tag}'")

    @staticmethod
    def _only(value: dict[str, Any], tag: str) -> None:
        for key in value:
            if key not in (tag, ".tag"):
                raise ArgumentError(f"unexpected key '{key}'")


def tags(*names: str, catch_all: str | None = "other") -> Union:
    return Union(dict.fromkeys(names), catch_all)

"""What an answer of the set-up means, and values as TOML has them. Pure: no terminal, no file, no network."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

from config.questions import QUESTIONS, Kind, Question

Values = Mapping[str, Any]
"""Configuration as TOML has it: keys of the top level, and sections as mappings."""

EMPTY = "-"
"""An answer that empties a key; Enter alone keeps what is there."""


def meaning(question: Question, text: str) -> dict[str, Any]:
    """The keys that an answer sets, with their values as TOML has them.

    ValueError with a sentence where it means nothing. What the models demand of a value is not judged here.
    """
    answer = text.strip()
    if answer == EMPTY:
        answer = ""
    if not answer and question.is_needed:
        raise ValueError("an answer is needed")
    match question.kind:
        case Kind.YES_NO:
            return {question.key: _truth(answer)}
        case Kind.NUMBER:
            return {question.key: _number(answer)}
        case Kind.CHOICE:
            return {question.key: _choice(answer, question.choices)}
        case Kind.LIST:
            return {question.key: _parts(answer)}
        case Kind.SERVERS:
            return _servers(answer)
        case _:
            return {question.key: answer}


def _truth(answer: str) -> bool:
    known = {"y": True, "yes": True, "true": True, "on": True}
    known |= {"n": False, "no": False, "false": False, "off": False}
    try:
        return known[answer.lower()]
    except KeyError:
        raise ValueError("answer yes or no") from None


def _number(answer: str) -> int:
    if not answer.isascii() or not answer.isdigit():
        raise ValueError("answer with a whole number")
    return int(answer[:9])


def _choice(answer: str, choices: tuple[str, ...]) -> str:
    lowered = answer.lower()
    if lowered.isascii() and lowered.isdigit() and 1 <= int(lowered[:9]) <= len(choices):
        return choices[int(lowered) - 1]
    near = [choice for choice in choices if choice.startswith(lowered)]
    if lowered in choices:
        return lowered
    if len(near) != 1:
        raise ValueError(f"answer with one of {', '.join(choices)}")
    return near[0]


def _parts(answer: str) -> list[str]:
    return [part.strip() for part in answer.split(",") if part.strip()]


_DOMAIN = re.compile(
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z][A-Za-z0-9-]{0,61}[A-Za-z0-9]"
)


def _servers(answer: str) -> dict[str, Any]:
    parts = _parts(answer)
    if "://" not in answer:
        if len(parts) > 1:
            raise ValueError("write addresses as ldaps://name, or one domain's name")
        # DNS is asked for it: a password that was typed into the wrong line must not get there.
        if _DOMAIN.fullmatch(answer.strip().rstrip(".")) is None:
            raise ValueError(
                "write the domain's DNS name with its dots, such as example.test, or addresses as ldaps://name"
            )
        return {
            "directory.servers": [],
            "directory.domain": answer,
            "directory.start_tls": False,
        }
    plain = [part for part in parts if part.lower().startswith("ldap://")]
    if plain and len(plain) < len(parts):
        raise ValueError("write either ldaps:// or ldap:// addresses: StartTLS is for all or none")
    # A password never travels in the clear: ldap:// means StartTLS.
    return {"directory.servers": parts, "directory.domain": "", "directory.start_tls": bool(plain)}


# --- where a secret lies ------------------------------------------------------------------------------------

WRITABLE_PLACES = ("file", "keyring")
PLACES = (*WRITABLE_PLACES, "env", "systemd")
"""Of those that can't be written to, only the name is asked."""


def reference(place: str, key: str, name: str = "") -> str:
    """The text of a reference to where the secret of `key` is kept.

    ValueError for a place that there is not, and for a token that would have to be written where nobody can write.
    """
    is_token = key == "dropbox.refresh_token"
    chosen = _choice(place, PLACES)
    if is_token and chosen not in WRITABLE_PLACES:
        raise ValueError("a token has to be stored: file or keyring")
    own = "dropbox.token" if is_token else key
    default = {
        "file": own,
        "keyring": f"ad-connector/{own}",
        "env": key.replace(".", "_").upper(),
        "systemd": key.replace(".", "-"),
    }[chosen]
    return f"{chosen}:{name.strip() or default}"


# --- values as TOML has them --------------------------------------------------------------------------------


def with_changes(values: Values, changes: Mapping[str, Any]) -> dict[str, Any]:
    """The values with these keys set."""
    result = {name: dict(item) if isinstance(item, Mapping) else item for name, item in values.items()}
    for key, value in changes.items():
        section, _, name = key.rpartition(".")
        if section:
            result.setdefault(section, {})[name] = value
        else:
            result[name] = value
    return result


def without(values: Values, keys: Collection[str]) -> dict[str, Any]:
    """The values less these keys or whole sections."""
    result: dict[str, Any] = {}
    for name, item in values.items():
        if name in keys:
            continue
        if isinstance(item, Mapping):
            result[name] = {key: value for key, value in item.items() if f"{name}.{key}" not in keys}
        else:
            result[name] = item
    return result


def worth_writing(values: Values, before: Values, defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The values less what says nothing: keys left empty, and defaults of keys that no question is about.

    What stood in the file `before` like this stays there.
    """
    old, asked = flat(before), {question.key for question in QUESTIONS}
    idle = {
        key
        for key, value in flat(values).items()
        if value == defaults.get(key) and (value in ("", []) or key not in asked) and old.get(key) != value
    }
    kept = without(values, idle)
    return {name: item for name, item in kept.items() if item != {} or name in before}


def flat(values: Values) -> dict[str, Any]:
    """Values by `section.name`."""
    found: dict[str, Any] = {}
    for name, item in values.items():
        if isinstance(item, Mapping):
            found.update({f"{name}.{key}": value for key, value in item.items()})
        else:
            found[name] = item
    return found


def current(question: Question, values: Values, defaults: Mapping[str, Any]) -> str:
    """What stands in brackets behind the question: what Enter alone would answer."""
    known = {**defaults, **flat(values)}
    value = known.get(question.key)
    if question.kind is Kind.SERVERS:
        return ", ".join(value or ()) or str(known.get("directory.domain") or "")
    if question.kind is Kind.LIST:
        return ", ".join(map(str, value or ()))
    if question.kind is Kind.YES_NO:
        return "yes" if value else "no"
    return "" if value is None else str(value)

"""The console's pages as HTML. Every text is escaped, made visible where it hides, and masked where it looks like a secret."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

from pipeline.model import Json
from pipeline.redaction import escaped, redacted

if TYPE_CHECKING:
    from jinja2 import Environment

_STATES = {
    "failed": "Failed",
    "held": "Held",
    "retry": "To be tried again",
    "waiting": "Waiting",
}


def page(name: str, document: Json) -> str:
    """The template `console_NAME.html.j2`, filled."""
    return _environment().get_template(f"console_{name}.html.j2").render(_shown(document))


def style() -> str:
    return _source("console.css")


def moment(stamped: str | None) -> str:
    """A stamp for people: seconds are enough, and the page says once that it is UTC."""
    return stamped[:19].replace("T", " ") if stamped else ""


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    environment = Environment(
        loader=FunctionLoader(_source),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["moment"] = moment
    environment.globals["states"] = _STATES
    return environment


def _source(name: str) -> str:
    return (resources.files("pipeline.app") / "templates" / name).read_text(encoding="utf-8")


def _shown(value: object) -> object:
    if isinstance(value, str):
        return escaped(redacted(value))
    if isinstance(value, dict):
        return {key: _shown(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_shown(one) for one in value]
    return value

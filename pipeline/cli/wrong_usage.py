"""A wrong command line is told as a wrong key of the configuration is: what is wrong, and what is allowed."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperGroup

LARGEST_NUMBER = 2**63 - 1
"""Of what the journal counts, by what SQLite can hold."""


class Commands(TyperGroup):
    """All commands; the parser's words about a value, which are the validator's own, are put into ours."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            error.message = sentence_of(error)
            raise


def sentence_of(error: typer.BadParameter) -> str:
    from pydantic import ValidationError  # only here: a start that goes well needs neither

    from config.diagnosis import sentence

    cause = error.__cause__
    return (
        sentence(cause.errors(include_url=False)[0]) if isinstance(cause, ValidationError) else error.message
    )

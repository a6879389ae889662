"""A wrong value on the command line is told in our words, with what is allowed; never in the validator's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from pipeline.cli import build
from pipeline.cli.wrong_usage import sentence_of

LEAKS = ("Value error", "Input should be", "type=", "pydantic")


def commands(group: Any) -> Iterator[Any]:
    for child in group.commands.values():
        if hasattr(child, "commands"):
            yield from commands(child)
        else:
            yield child


def refusals(command: Any, value: str) -> Iterator[str]:
    """What each parameter of the command says of this value; nothing is run."""
    for parameter in command.params:
        if getattr(parameter, "is_flag", False):
            continue
        option = parameter.opts[0]
        given = [f"{option}={value}"] if option.startswith("-") else ["--", value]
        try:
            command.make_context("command", given, resilient_parsing=False)
        except typer.BadParameter as error:
            yield sentence_of(error)


@pytest.mark.parametrize("value", ["xml", "1.5", "-99999999999", "9" * 5000])
def test_no_words_of_the_validator_are_shown(value: str) -> None:
    said = [
        sentence
        for command in commands(typer.main.get_command(build()))
        for sentence in refusals(command, value)
    ]
    assert any("is not one of" in sentence for sentence in said)
    assert any("must be" in sentence for sentence in said)
    assert not [sentence for sentence in said if any(leak in sentence for leak in LEAKS)]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("plan", "--format", "xml"), "'xml' is not one of 'table', 'json', 'csv', 'html'"),
        (("undo", "x"), "must be a whole number"),
        (("undo", "9" * 20), "must be at most 9223372036854775807"),
        (("replay", "--from", "9" * 20), "must be at most 9223372036854775807"),
        (("journal", "show", "--last", "9" * 20), "must be at most 9223372036854775807"),
        (("run", "--only", ""), "--only needs the e-mail or objectGUID of a person"),
        (("run", "--only", "  "), "--only needs the e-mail or objectGUID of a person"),
        (("journal", "show", "--last", "0"), "must be at least 1"),
        (("demo", "--directory", "ldap"), "'ldap' is not one of 'samba', 'memory'"),
    ],
)
def test_what_is_allowed_is_said(arguments: tuple[str, ...], said: str) -> None:
    done = CliRunner().invoke(build(), arguments)
    assert done.exit_code == 2
    assert said in done.output
    assert not [leak for leak in LEAKS if leak in done.output]

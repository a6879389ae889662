"""Exit codes: behaviour.md §10."""

from __future__ import annotations

import pytest

from pipeline import errors
from pipeline.core.exits import ExitCode, final_code, remedy_of, shell_status
from pipeline.errors import ConnectorError, DirectoryError, ScopeEmpty, WrongArgument

CODES = [0, 2, -1, *range(-10, -21, -1)]


def all_errors(top: type[ConnectorError] = ConnectorError) -> list[type[ConnectorError]]:
    return [
        top,
        *(
            one
            for child in top.__subclasses__()
            if child.__module__ == errors.__name__
            for one in all_errors(child)
        ),
    ]


def test_the_codes_are_those_of_the_page() -> None:
    assert sorted(ExitCode) == sorted(CODES)


@pytest.mark.parametrize("code", list(ExitCode))
def test_each_code_prints_its_reason_and_remedy(code: ExitCode) -> None:
    assert code.reason
    assert bool(code.remedy) == (code is not ExitCode.OK)


OUTAGE = "see the network and proxy of this machine, and the Dropbox status page"
REVOKED = "the token was revoked: run `ad-connector authorize`"
SCOPE = "the token lacks the scope team_info.read: run `ad-connector authorize` again"


@pytest.mark.parametrize("hint", ["", OUTAGE, REVOKED, SCOPE])
def test_all_three_remedies_for_minus_14_are_printed_the_causes_own_first(hint: str) -> None:
    said = remedy_of(ExitCode.TEAM_INFO, hint)
    assert said.startswith(hint)
    for remedy in ("status page", "ad-connector authorize", "still active"):
        assert said.count(remedy) == 1, said


def test_the_other_codes_print_theirs() -> None:
    assert remedy_of(ExitCode.TEAM_READ, "look there") == ExitCode.TEAM_READ.remedy


@pytest.mark.parametrize("error", all_errors())
def test_every_error_ends_a_pass_with_a_code_of_the_page(error: type[ConnectorError]) -> None:
    assert error.exit_code in CODES
    assert error.__module__ == errors.__name__


class Odd(ConnectorError):
    exit_code = -99


@pytest.mark.parametrize(
    ("ended_by", "held", "failed", "code"),
    [
        (None, False, False, 0),
        (None, False, True, -17),
        (None, True, False, -18),
        pytest.param(None, True, True, -18, id="-18 before -17"),
        pytest.param(ScopeEmpty("a", "b"), True, True, -15, id="what ended the pass wins"),
        (DirectoryError("a", "b"), False, False, -12),
        pytest.param(WrongArgument("a", "b"), True, True, 2, id="who is named wrongly is no failure"),
        pytest.param(Odd("a", "b"), True, False, -17, id="an error without a code of its own"),
    ],
)
def test_the_final_code(ended_by: ConnectorError | None, held: bool, failed: bool, code: int) -> None:
    assert final_code(ended_by, held=held, failed=failed) == code


@pytest.mark.parametrize(("code", "status"), [(0, 0), (2, 2), (-1, 255), (-15, 241), (-20, 236)])
def test_a_shell_shows_the_code_modulo_256(code: int, status: int) -> None:
    assert shell_status(code) == status

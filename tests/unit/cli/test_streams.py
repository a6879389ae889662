"""What is written reaches every terminal and pipe, whatever letters they take."""

import io
import sys

import pytest

from pipeline.cli import application


@pytest.mark.parametrize("encoding", ["latin-1", "ascii", "cp1252"])
def test_a_name_that_the_terminal_has_no_letters_for_is_escaped(
    monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    taken = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(taken, encoding=encoding))
    application(["--version"])
    sys.stdout.write("山田 花子")
    sys.stdout.flush()
    assert taken.getvalue().endswith(rb"\u5c71\u7530 \u82b1\u5b50")

"""docs/contested-points.md against the simulator's switches and the tests that run them."""

import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Literal, get_args, get_origin, get_type_hints

import pytest

from sandbox.team import Switches

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "contested-points.md").read_text(encoding="utf-8")
HINTS = get_type_hints(Switches)
NAMES = [field.name for field in fields(Switches)]


def _rows() -> Iterator[tuple[str, list[str], list[str]]]:
    """(switch, positions, test files) of each line of the table."""
    for line in PAGE.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 4 and re.fullmatch(r"`\w+`", cells[1]):
            yield cells[1].strip("`"), cells[2].split(", "), cells[3].split(", ")


ROWS = {switch: (positions, files) for switch, positions, files in _rows()}


def test_every_switch_is_named_and_every_name_is_a_switch():
    unlisted = re.search(r"not contested: (.*)\.", PAGE)
    assert unlisted is not None
    assert sorted([*ROWS, *re.findall(r"`(\w+)`", unlisted[1])]) == sorted(NAMES)


@pytest.mark.parametrize("switch", ROWS)
def test_each_position_is_run_by_a_test_that_is_named(switch: str):
    positions, files = ROWS[switch]
    hint, default = HINTS[switch], getattr(Switches(), switch)
    if get_origin(hint) is Literal:
        assert sorted(positions) == sorted(get_args(hint))
    elif hint is bool:
        assert sorted(positions) == ["False", "True"]
    texts = [(ROOT / file).read_text(encoding="utf-8") for file in files]
    for file, text in zip(files, texts, strict=True):
        assert re.search(rf"\b{switch}\b", text), f"{file} says nothing of {switch}"
    # The default is what runs everywhere else; any other position must be written down beside the name.
    for position in positions:
        if position in {str(default), "none", "globs"} or position == str(default).removesuffix(".0"):
            continue
        written = rf"\b{switch}\W+{re.escape(position)}\b"  # as a keyword or as a key
        if hint is not bool:
            written += rf"|(?<![\w.]){re.escape(position)}(?![\w.])"  # or as a parameter of a test
        assert any(re.search(written, text) for text in texts), f"{switch}: no test sets {position}"

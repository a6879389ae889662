"""Whom somebody may have meant who mistyped a name."""

from __future__ import annotations

import pytest

from pipeline.core.near import did_you_mean, near_to

CROWD = [
    f"{first} {last}{number}"
    for first in ("Ann", "Bob", "Cy")
    for last in ("Lee", "Ray")
    for number in range(200)
]


@pytest.mark.parametrize("text", ["ada lovlace", "Ada Lovelacee", "Eda Lovelace", " ADA LOVELECA "])
def test_one_is_found_alone_and_in_a_crowd(text: str) -> None:
    assert near_to(text, ["Ada Lovelace"]) == ("Ada Lovelace",)
    assert near_to(text, [*CROWD, "Ada Lovelace"]) == ("Ada Lovelace",)


def test_the_most_alike_come_first_and_three_at_most() -> None:
    assert near_to("Ann Lee7", CROWD)[0] == "Ann Lee7"
    assert len(near_to("Ann Lee", CROWD)) == 3
    assert near_to("ann", ["Ann", "ANN"]) == ("Ann",)


def test_nobody_is_named_for_what_is_like_nobody() -> None:
    assert did_you_mean("Zaphod Beeblebrox", CROWD) == ""
    assert did_you_mean("", CROWD) == ""
    assert did_you_mean("Bob Lee", ["Bob Leo"]) == "; did you mean Bob Leo?"

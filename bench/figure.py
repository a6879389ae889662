"""One measured figure, with what it stands beside."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """`ratio` is against `beside`, taken in the same run; 0 where there is nothing to compare with."""

    name: str
    value: float
    unit: str
    beside: str = ""
    ratio: float = 0.0
    goal: str = ""
    note: str = ""

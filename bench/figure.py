"""One measured figure, with what it stands beside; and how figures are shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Self


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """`ratio` is against `beside`, taken in the same run; 0 where there is nothing to compare with.

    `least` and `most` are those of several samples whose median is `value`; equal where there was but one.
    """

    name: str
    value: float
    unit: str
    beside: str = ""
    ratio: float = 0.0
    goal: str = ""
    note: str = ""
    least: float = 0.0
    most: float = 0.0

    @classmethod
    def of(cls, samples: Sequence[float], *, name: str, unit: str, **more: float | str) -> Self:
        """The median of several samples, with their spread."""
        return cls(
            name=name,
            value=median(samples),
            unit=unit,
            least=min(samples),
            most=max(samples),
            **more,  # type: ignore[arg-type]
        )

    def cells(self) -> tuple[str, ...]:
        spread = f" ({number(self.least)}-{number(self.most)})" if self.most > self.least else ""
        has_ratio = bool(self.beside and self.ratio)
        return (
            self.name,
            f"{number(self.value)} {self.unit}{spread}",
            self.beside,
            f"{self.ratio:.2f}" if has_ratio else "",
            self.goal,
            self.note,
        )


COLUMNS = ("figure", "value (least-most)", "beside", "ratio", "goal", "note")


def number(value: float) -> str:
    """Four digits that matter, thousands marked."""
    if value and abs(value) < 1000:
        return f"{value:.4g}"
    return f"{value:,.0f}"

"""The job that a scheduler is to do: when, what, as whom, and what it may write to."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

MARK = "Written by `ad-connector schedule install`"
"""Stands in every file that is installed: without it a file is somebody else's, and is left alone."""

RECOMMENDED_MINUTES = 180
"""A whole pass more often than this is what `watch` is made for."""

_AT = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)")
_EVERY = re.compile(r"([1-9]\d{0,4})\s*(m|min|h|d)")
_UNITS = {"m": 1, "min": 1, "h": 60, "d": 1440}
_LONGEST_MINUTES = 31 * 1440  # the Task Scheduler repeats nothing more seldom


@dataclass(frozen=True, slots=True)
class Daily:
    """Once a day, local time."""

    hour: int = 2
    minute: int = 0

    def __str__(self) -> str:
        return f"daily at {self.hour:02d}:{self.minute:02d}, local time"


@dataclass(frozen=True, slots=True)
class Every:
    minutes: int

    def __str__(self) -> str:
        hours, minutes = divmod(self.minutes, 60)
        return f"every {f'{hours} h' if hours else ''}{' ' if hours and minutes else ''}{f'{minutes} min' if minutes else ''}"


Timetable = Daily | Every


def parse_at(text: str) -> Daily:
    """Takes HH:MM; ValueError."""
    matched = _AT.fullmatch(text.strip())
    if matched is None:
        raise ValueError(f"{text!r} is no time of day such as 02:00")
    return Daily(int(matched[1]), int(matched[2]))


def parse_every(text: str) -> Every:
    """Takes 3h, 90m or 2d, up to 31 days; ValueError."""
    matched = _EVERY.fullmatch(text.strip().lower())
    minutes = int(matched[1]) * _UNITS[matched[2]] if matched else 0
    if not 0 < minutes <= _LONGEST_MINUTES:
        raise ValueError(f"{text!r} is no span such as 3h or 90m, up to 31d")
    return Every(minutes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """`timetable` None: `watch`, without end; else `run` at these times.

    `program` starts the connector, without the command. `writable` are the folders that it writes to; `touched` all
    paths that it needs at all; `credentials` the names of its `systemd:` secrets; `environment_file` holds its
    `env:` secrets, None where there are none.
    """

    name: str = "ad-connector"
    program: tuple[str, ...]
    config: Path
    timetable: Timetable | None
    user: str = ""
    enabled: bool = True
    writable: tuple[Path, ...] = ()
    touched: tuple[Path, ...] = ()
    credentials: tuple[str, ...] = ()
    environment_file: Path | None = None

    @property
    def command(self) -> str:
        return "watch" if self.timetable is None else "run"

    @property
    def argv(self) -> tuple[str, ...]:
        return (*self.program, "--config", str(self.config), self.command)


@dataclass(frozen=True, slots=True)
class Artefact:
    """One file to install. `path` is absolute on the target; `wants` the folders whose link to it starts it at boot."""

    path: str
    text: str
    encoding: str = "utf-8"
    wants: tuple[str, ...] = ()

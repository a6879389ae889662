"""The pace towards Dropbox outlives the process: the next one starts from half of it, not from nothing."""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.journal_port import Journal

_KEY = "pace"


async def known_pace(journal: Journal) -> float:
    """Requests a second that an earlier process came to; 0.0 when there was none."""
    async with journal.reading():
        return _parsed(await journal.get(_KEY))


async def remember_pace(journal: Journal, pace: Mapping[str, float]) -> None:
    """Inside the caller's transaction. A process that sent little knows less than the one before, unless it was refused."""
    rate = round(pace.get("requests_per_second", 0.0), 1)
    known = _parsed(await journal.get(_KEY))
    if rate > known or (pace.get("refused", 0.0) and rate != known):
        await journal.put(_KEY, str(rate))


def _parsed(text: str | None) -> float:
    try:
        return float(text or 0.0)
    except ValueError:
        return 0.0

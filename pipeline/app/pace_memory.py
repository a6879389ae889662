"""The pace towards Dropbox outlives the process: the next one starts from what was found out, not from nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from pipeline.journal_port import Journal
from stages.dropbox.pace import NOTHING_KNOWN, KnownPace
from stages.dropbox.refusal import LONGEST_RETRY_SECONDS
from state.database import dump

_KEY = "pace"
_SILENCE = "pace_silent_until"  # a Retry-After is for the whole team, and no restart shortens it


async def known_pace(journal: Journal, now: datetime) -> KnownPace:
    """What an earlier process came to."""
    async with journal.reading():
        known, silent_until = _parsed(await journal.get(_KEY)), await journal.get(_SILENCE)
    left = (datetime.fromisoformat(silent_until) - now).total_seconds() if silent_until else 0.0
    return replace(known, silent_seconds=min(max(0.0, left), LONGEST_RETRY_SECONDS))


def known_from(pace: Mapping[str, float]) -> KnownPace:
    """What a client's snapshot says, rounded to a tenth of a request a second."""
    return KnownPace(
        rate=round(pace.get("requests_per_second", 0.0), 1),
        limit=round(pace.get("limit", 0.0), 1),
        is_certain=bool(pace.get("limit_is_certain", 0.0)),
    )


async def remember_pace(journal: Journal, pace: Mapping[str, float], now: datetime) -> None:
    """Inside the caller's transaction. A process that sent little knows less than the one before, unless it was refused."""
    if held := pace.get("held_seconds", 0.0):
        await journal.put(_SILENCE, (now + timedelta(seconds=held)).isoformat())
    found = known_from(pace)
    before = _parsed(await journal.get(_KEY))
    if found.rate > before.rate or (pace.get("refused", 0.0) and found != before):
        await journal.put(
            _KEY, dump({"rate": found.rate, "limit": found.limit, "is_certain": found.is_certain})
        )


def _parsed(text: str | None) -> KnownPace:
    """Earlier versions kept the pace alone, as a number."""
    try:
        value: Any = json.loads(text or "0.0")
        return KnownPace(**value) if isinstance(value, dict) else KnownPace(rate=float(value))
    except (ValueError, TypeError):
        return NOTHING_KNOWN

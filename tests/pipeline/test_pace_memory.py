"""What one process found out about the pace is where the next one starts."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipeline.app.clock import SystemClock
from pipeline.app.pace_memory import known_from, known_pace, remember_pace
from stages.dropbox.pace import FIRST_RATE, NOTHING_KNOWN, KnownPace, Pace
from stages.dropbox.pacing import Pacer
from state.journal import Journal

pytestmark = pytest.mark.anyio


class StillClock(SystemClock):
    """Nothing takes any time."""

    def monotonic(self) -> float:
        return 7.0


NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
_FIFTY = '{"is_certain":true,"limit":51.0,"rate":50.0}'


@pytest.mark.parametrize(
    ("before", "pace", "kept"),
    [
        ("", {}, NOTHING_KNOWN),  # a team that tells nothing
        ("", {"requests_per_second": 9.96, "refused": 0.0}, KnownPace(10.0)),
        (_FIFTY, {"requests_per_second": 26.0, "refused": 0.0}, KnownPace(50.0, 51.0, is_certain=True)),
        (_FIFTY, {"requests_per_second": 26.0, "refused": 1.0, "limit": 26.84}, KnownPace(26.0, 26.8)),
        (_FIFTY, {"requests_per_second": 80.0, "refused": 3.0, "limit": 81.0}, KnownPace(80.0, 81.0)),
        (_FIFTY, {"requests_per_second": 60.0, "limit": 60.0, "refused": 0.0}, KnownPace(60.0, 60.0)),
        ("50.0", {"requests_per_second": 26.0, "refused": 0.0}, KnownPace(50.0)),  # of an earlier version
        ("nonsense", {"requests_per_second": 3.0, "refused": 0.0}, KnownPace(3.0)),
        ('{"unknown": 1}', {"requests_per_second": 3.0, "refused": 0.0}, KnownPace(3.0)),
        ("[50]", {"requests_per_second": 3.0, "refused": 0.0}, KnownPace(3.0)),
    ],
)
async def test_what_is_kept(tmp_path: Path, before: str, pace: dict[str, float], kept: KnownPace) -> None:
    journal = await Journal.open(tmp_path / "journal.db")
    try:
        async with journal.transaction():
            if before:
                await journal.put("pace", before)
            await remember_pace(journal, pace, NOW)
        assert await known_pace(journal, NOW) == kept
    finally:
        await journal.close()


@pytest.mark.parametrize(
    ("known", "ceiling", "first"),
    [
        (NOTHING_KNOWN, 50.0, FIRST_RATE),
        (NOTHING_KNOWN, 5.0, 5.0),
        (KnownPace(3.0), 50.0, FIRST_RATE),
        (KnownPace(50.0), 100.0, 25.0),  # on the way up
        (KnownPace(50.0), 50.0, 50.0),  # as fast as it may, and never refused
        (KnownPace(50.0), 10.0, 10.0),
        (KnownPace(25.0, 50.0), 100.0, 48.5),  # just below where it was refused, whatever it went back to
        (KnownPace(5.0, 5.0), 100.0, 4.85),
        (KnownPace(50.0, 50.0), 30.0, 30.0),
    ],
)
def test_where_the_next_one_starts(known: KnownPace, ceiling: float, first: float) -> None:
    assert Pace(0.0, ceiling=ceiling, known=known).rate == first


def test_what_a_client_knows_reaches_the_next_one() -> None:
    clock = SystemClock()
    known = KnownPace(rate=48.5, limit=50.0, is_certain=True)
    first = Pacer(clock, max_requests_per_second=100, max_concurrency=4, known_pace=known)
    assert known_from(first.snapshot()) == known


@pytest.mark.parametrize(("later", "left"), [(0, 300.0), (100, 200.0), (301, 0.0), (-100_000, 3600.0)])
async def test_no_restart_shortens_a_retry_after(tmp_path: Path, later: int, left: float) -> None:
    """Also when the clock was set back meanwhile, it is an hour at most."""
    clock = StillClock()
    first = Pacer(clock, max_requests_per_second=100, max_concurrency=4)
    first.refused(await first.acquire(is_write=False), 300.0)
    journal = await Journal.open(tmp_path / "journal.db")
    try:
        async with journal.transaction():
            await remember_pace(journal, first.snapshot(), NOW)
        known = await known_pace(journal, NOW + timedelta(seconds=later))
    finally:
        await journal.close()
    assert known.silent_seconds == left
    second = Pacer(clock, max_requests_per_second=100, max_concurrency=4, known_pace=known)
    assert second.seconds_held() == left
    assert replace(known, silent_seconds=0.0) == known_from(first.snapshot())

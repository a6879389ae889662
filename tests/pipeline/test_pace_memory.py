"""What one process found out about the pace is where the next one starts: at half of it."""

from pathlib import Path

import pytest

from pipeline.app.pace_memory import known_pace, remember_pace
from stages.dropbox.pace import FIRST_RATE, Pace
from state.journal import Journal

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("known", "pace", "kept"),
    [
        ("", {}, 0.0),  # a team that tells nothing
        ("", {"requests_per_second": 9.96, "refused": 0.0}, 10.0),
        ("50.0", {"requests_per_second": 26.0, "refused": 0.0}, 50.0),  # it sent too little to know
        ("50.0", {"requests_per_second": 26.0, "refused": 1.0}, 26.0),  # the limit has fallen
        ("50.0", {"requests_per_second": 80.0, "refused": 3.0}, 80.0),
        ("nonsense", {"requests_per_second": 3.0, "refused": 0.0}, 3.0),
    ],
)
async def test_what_is_kept(tmp_path: Path, known: str, pace: dict[str, float], kept: float) -> None:
    journal = await Journal.open(tmp_path / "journal.db")
    try:
        async with journal.transaction():
            if known:
                await journal.put("pace", known)
            await remember_pace(journal, pace)
        assert await known_pace(journal) == kept
    finally:
        await journal.close()


@pytest.mark.parametrize(
    ("known", "ceiling", "first"),
    [(0.0, 50.0, FIRST_RATE), (3.0, 50.0, FIRST_RATE), (50.0, 50.0, 25.0), (50.0, 10.0, 10.0)],
)
def test_where_the_next_one_starts(known: float, ceiling: float, first: float) -> None:
    assert Pace(0.0, ceiling=ceiling, first_rate=known / 2).rate == first

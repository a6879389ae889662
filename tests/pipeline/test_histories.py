"""Random histories against an oracle of their own; `bench/model_run.py` tells many more."""

from pathlib import Path

import pytest

from tests.pipeline.histories import tell

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("seed", [3, 129, 151, 1024])
async def test_at_rest_the_team_is_as_the_oracle_says_and_nothing_was_done_that_must_not_be(
    seed: int, tmp_path: Path
) -> None:
    """129: a held revocation of somebody who had joined. 151: a leaver who was unreadable all the time."""
    figures = await tell(seed, 100, tmp_path)
    assert figures.passes > 10
    assert sum(figures.effects.values()) > 10

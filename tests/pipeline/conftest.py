"""One world a test."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline import log
from tests.pipeline.world import World


@pytest.fixture(autouse=True)
def quiet_log() -> Iterator[None]:
    """Nobody reads it here, and it takes longer than the passes."""
    log.configure(log.LogOptions(path=None, level="error", to_stderr=False))
    yield
    log.close()


@pytest.fixture
def new_world(tmp_path: Path) -> Callable[..., World]:
    """`new_world(users={"delete_grace_days": 3})`: sections of the configuration, `options` of the directory."""
    count = 0

    def make(*, options: dict[str, Any] | None = None, **config: dict[str, Any]) -> World:
        nonlocal count
        count += 1
        folder = tmp_path / f"world{count}"
        folder.mkdir()
        return World(folder, config=config, options=options or {})

    return make


@pytest.fixture
def world(new_world: Callable[..., World]) -> World:
    return new_world()

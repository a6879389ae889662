"""The bell: rings for entries, is silent for the rest, survives a dead connection without a word."""

import anyio
import pytest

from pipeline.errors import DirectoryBusy
from stages.directory.notification import ChangeBell

pytestmark = pytest.mark.anyio


class Clock:
    def __init__(self) -> None:
        self.time = 0.0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.time += seconds


async def test_without_a_connection_the_whole_time_is_waited_and_it_is_not_tried_at_once() -> None:
    clock, tried = Clock(), []

    async def refuse(_: anyio.CapacityLimiter) -> None:
        tried.append(clock.time)
        raise DirectoryBusy("connect", "down")

    bell = ChangeBell(refuse, clock.monotonic, clock.sleep)
    for _ in range(7):
        assert await bell.wait(10) is False
    assert clock.slept == [10.0] * 7
    assert tried == [0.0, 60.0]
    await bell.close()

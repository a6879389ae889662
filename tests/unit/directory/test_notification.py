"""The bell: rings for entries, is silent for the rest, survives a dead connection without a word."""

import anyio
import pytest

from pipeline.errors import DirectoryBusy, DirectoryError
from stages.directory.controls import tlv
from stages.directory.notification import ChangeBell, MessageReader

pytestmark = pytest.mark.anyio


def message(operation: int, body: bytes = b"x" * 10, number: int = 5) -> bytes:
    return tlv(0x30, tlv(2, bytes([number])) + tlv(operation, body))


def test_messages_are_cut_wherever_the_stream_is_cut() -> None:
    stream = message(0x64) + message(0x64, b"y" * 300) + message(0x65)
    for size in (1, 2, 3, 7, 50, 1000):
        reader, operations = MessageReader(), []
        for start in range(0, len(stream), size):
            operations += reader.feed(stream[start : start + size])
        assert operations == [(5, 0x64), (5, 0x64), (5, 0x65)]


def test_references_do_not_ring() -> None:
    assert MessageReader().feed(message(0x73)) == []


@pytest.mark.parametrize(
    "noise", [b"\x30\x80\x00\x00", b"\x30\x89" + b"\xff" * 9, b"\x30\x00", b"\x30\x02\x02\x09"]
)
def test_what_is_no_ldap_is_an_error(noise: bytes) -> None:
    with pytest.raises(DirectoryError):
        MessageReader().feed(noise)


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

"""A directory that can't be reached, asked again and again for days: nothing of a try stays until cyclic garbage is looked for."""

import gc
import socket
import ssl
import threading
import weakref
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime

import pytest

from pipeline.errors import DirectoryError
from stages.directory.link import Link
from stages.directory.options import DirectoryOptions

pytestmark = pytest.mark.anyio


class InHand:
    """What whoever asks has read so far."""


@pytest.fixture(params=["refused", "hangs up"])
def port(request: pytest.FixtureRequest) -> Iterator[int]:
    """Of loopback, where no directory answers."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        if request.param == "hangs up":
            listener.listen()
            threading.Thread(target=_hang_up, args=(listener,), daemon=True).start()
        yield int(listener.getsockname()[1])


def _hang_up(listener: socket.socket) -> None:
    with suppress(OSError):  # it is closed at the end
        while True:
            listener.accept()[0].close()


def _contexts() -> int:
    return sum(isinstance(one, ssl.SSLContext) for one in gc.get_objects())


async def _try(link: Link) -> "weakref.ref[InHand]":
    in_hand = InHand()
    try:
        await link.session()
    except DirectoryError:
        return weakref.ref(in_hand)
    raise AssertionError("nobody is there")


@pytest.mark.parametrize("servers", [1, 2])
async def test_a_failed_connection_keeps_neither_certificates_nor_what_was_in_hand(
    port: int, servers: int
) -> None:
    names = ("127.0.0.1", "localhost")[:servers]
    options = DirectoryOptions(
        servers=tuple(f"ldaps://{name}:{port}" for name in names), username="u@x", password="p"
    )
    link = Link(options, lambda: datetime(2026, 11, 23, tzinfo=UTC))
    gc.collect()
    gc.disable()
    try:
        before = _contexts()
        kept = [(await _try(link))() for _ in range(3 // servers)]
        assert kept == [None] * len(kept)
        assert _contexts() == before
    finally:
        gc.enable()
    await link.close()

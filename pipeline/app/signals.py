"""Signals as a stream, on every system: asyncio's own way to receive them is not there on Windows."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream

ENDING = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGBREAK") if hasattr(signal, name))
"""End the program. SIGBREAK is what Windows sends a console program that is to end."""

RELOADING = tuple(getattr(signal, name) for name in ("SIGHUP",) if hasattr(signal, name))
"""Read the configuration again; none on Windows."""


@contextmanager
def receiving(*wanted: signal.Signals) -> Iterator[MemoryObjectReceiveStream[signal.Signals]]:
    """The signals that come while the context lasts; only in the main thread, as Python wants it."""
    loop = asyncio.get_running_loop()
    send, receive = anyio.create_memory_object_stream[signal.Signals](8)

    def offer(number: int) -> None:
        with suppress(anyio.WouldBlock, anyio.BrokenResourceError, anyio.ClosedResourceError):
            send.send_nowait(signal.Signals(number))

    def note(number: int, _frame: object) -> None:
        loop.call_soon_threadsafe(offer, number)

    before = {one: signal.signal(one, note) for one in wanted}
    try:
        with send, receive:
            yield receive
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)

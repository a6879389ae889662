"""Wake-ups between stages, and how much is under way.

A stage is woken, never handed data: the journal is the queue. A wake-up that finds one waiting already is
dropped, so a burst of a thousand changes is one look.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import anyio


class Load:
    """Counts the wake-ups that wait or are being worked on."""

    def __init__(self) -> None:
        self._count = 0
        self._idle = anyio.Event()
        self._idle.set()

    @property
    def is_idle(self) -> bool:
        return self._count == 0

    @property
    def is_last(self) -> bool:
        """Whether the wake-up being worked on is the only one left."""
        return self._count == 1

    def up(self) -> None:
        if not self._count:
            self._idle = anyio.Event()
        self._count += 1

    def down(self) -> None:
        self._count -= 1
        if not self._count:
            self._idle.set()

    async def wait_idle(self) -> None:
        """Returns once nothing waits and nothing is under way."""
        while self._count:
            await self._idle.wait()


class Wakeup:
    """A stream of capacity one."""

    def __init__(self, load: Load) -> None:
        self._send, self._receive = anyio.create_memory_object_stream[None](1)
        self._load = load

    def poke(self) -> None:
        try:
            self._send.send_nowait(None)
        except anyio.WouldBlock:
            return
        self._load.up()

    async def __aiter__(self) -> AsyncIterator[None]:
        """Yields once a wake-up; the one before counts as worked off when the next is asked for."""
        async for _ in self._receive:
            try:
                yield
            finally:
                self._load.down()

    def close(self) -> None:
        self._send.close()
        self._receive.close()

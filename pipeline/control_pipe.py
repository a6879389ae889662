"""The control channel's named pipes on Windows, as byte streams.

asyncio's Windows loop can serve and open pipes (`start_serving_pipe`, `create_pipe_connection` of ProactorEventLoop). It
makes them with the default rights of the system: full control for the account that made the pipe, SYSTEM and
administrators; others may read, which is not enough to open it both ways (MS docs: "Named Pipe Security and Access Rights").
A name that somebody else has taken already can't be served.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio
import anyio.abc

PREFIX = "\\\\.\\pipe\\"

_READ_BYTES = 65_536


class PipeStream(anyio.abc.ByteStream):
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def receive(self, max_bytes: int = _READ_BYTES) -> bytes:
        try:
            content = await self._reader.read(max_bytes)
        except OSError as error:
            raise anyio.BrokenResourceError from error
        if not content:
            raise anyio.EndOfStream
        return content

    async def send(self, item: bytes) -> None:
        try:
            self._writer.write(item)
            await self._writer.drain()
        except OSError as error:
            raise anyio.BrokenResourceError from error

    async def send_eof(self) -> None:
        raise NotImplementedError("a pipe has one end for both ways")

    async def aclose(self) -> None:
        self._writer.close()
        with suppress(OSError):
            await self._writer.wait_closed()


Answer = Callable[[PipeStream], Coroutine[Any, Any, None]]


@asynccontextmanager
async def serving(
    address: str,
) -> AsyncIterator[Callable[[Answer], Awaitable[None]]]:
    """Once entered, clients can connect; yields what answers them, each with the given function, until cancelled. OSError."""
    loop: Any = asyncio.get_running_loop()
    send, receive = anyio.create_memory_object_stream[PipeStream](64)

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            send.send_nowait(PipeStream(reader, writer))
        except (anyio.WouldBlock, anyio.BrokenResourceError, anyio.ClosedResourceError):
            writer.close()

    def protocol() -> asyncio.StreamReaderProtocol:
        return asyncio.StreamReaderProtocol(asyncio.StreamReader(), connected)

    async def answer_all(answer: Answer) -> None:
        async with anyio.create_task_group() as tasks:
            async for stream in receive:
                tasks.start_soon(answer, stream)

    with send, receive:
        (server,) = await loop.start_serving_pipe(protocol, address)
        try:
            yield answer_all
        finally:
            server.close()


async def connect(address: str) -> PipeStream:
    """OSError where nobody serves that name, or this account may not open it."""
    loop: Any = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    transport, protocol = await loop.create_pipe_connection(
        lambda: asyncio.StreamReaderProtocol(reader), address
    )
    return PipeStream(reader, asyncio.StreamWriter(transport, protocol, reader, loop))

"""Reading one page ahead: the next is fetched while the present one is worked on, and no further."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeVar

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

Page = TypeVar("Page")


@asynccontextmanager
async def one_ahead(pages: AsyncIterator[Page]) -> AsyncIterator[AsyncIterator[Page]]:
    """The same pages in the same order. What `pages` raises is raised where the next page is asked for, after all pages that
    came before it; what the body raises ends the reading.
    """
    # No buffer: the reader waits with one page in its hand until it is taken.
    send, receive = anyio.create_memory_object_stream[Page](0)
    faults: list[Exception] = []
    failure: Exception | None = None
    with receive:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_read, pages, send, faults)
            try:
                yield _taken(receive, faults)
            except Exception as error:  # noqa: BLE001 - raised below as it is: a task group would put it into a group
                failure = error
            tasks.cancel_scope.cancel()
    if failure is not None:
        try:
            raise failure
        finally:
            del failure  # it holds this frame: what was read would stay until cyclic garbage is looked for


async def _read(
    pages: AsyncIterator[Page], send: MemoryObjectSendStream[Page], faults: list[Exception]
) -> None:
    with send:
        try:
            async for page in pages:
                await send.send(page)
        except Exception as error:  # noqa: BLE001 - it is told to whoever asks for the next page
            faults.append(error)
        finally:
            if isinstance(pages, AsyncGenerator):
                with anyio.CancelScope(shield=True):
                    await pages.aclose()


async def _taken(receive: MemoryObjectReceiveStream[Page], faults: list[Exception]) -> AsyncIterator[Page]:
    async for page in receive:
        yield page
    if faults:
        raise faults.pop()  # kept in no list that its own frames hold, as above

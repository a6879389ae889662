"""An engine that watches, in a test that turns the time itself."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import anyio

from pipeline.app.compose import Assembly
from pipeline.ports import Clock


@asynccontextmanager
async def watching_engine(
    opened: AbstractAsyncContextManager[Assembly], clock: Clock, *, ready_seconds: float
) -> AsyncIterator[Assembly]:
    """From its readiness, for which `ready_seconds` are given, until the body ends."""

    async def wait_for_change(seconds: float) -> bool:
        await clock.sleep(seconds)
        return False

    async def on_ready() -> None:
        ready.set()

    ready, stop = anyio.Event(), anyio.Event()
    async with opened as assembly, anyio.create_task_group() as tasks:

        async def work() -> None:
            await assembly.engine.watch(
                poll_seconds=5, wait_for_change=wait_for_change, on_ready=on_ready, stop=stop
            )

        tasks.start_soon(work)
        with anyio.fail_after(ready_seconds):
            await ready.wait()
        yield assembly
        stop.set()

"""`run`: one pass."""

from __future__ import annotations

from contextlib import AsyncExitStack
from functools import partial
from typing import Annotated

import anyio
import typer

from config.settings import Settings
from pipeline import control
from pipeline.app import compose, passes
from pipeline.app.requests import Requests
from pipeline.app.tables import plan_table
from pipeline.cli.session import execute
from state import lock
from state.journal import Journal


def register(app: typer.Typer) -> None:
    @app.command(epilog="Example: ad-connector run --simulate")
    def run(
        context: typer.Context,
        simulate: Annotated[
            bool, typer.Option("--simulate", help="read and decide everything, write nothing")
        ] = False,
        full: Annotated[
            bool, typer.Option("--full", help="read the whole scope and the whole team afresh")
        ] = False,
    ) -> None:
        """One pass from the directory to Dropbox: the scheduled task."""

        async def body(settings: Settings) -> int:
            compose.refuse_unfinished(settings)
            if simulate or settings.simulation:
                return await _simulated(settings, full=full)
            return await _real(settings, full=full)

        execute(context, body, is_pass=True)


async def _simulated(settings: Settings, *, full: bool) -> int:
    with lock.acquire(settings.journal.path, "run --simulate"):
        result = await passes.simulate(settings, full=full)
        await passes.record_simulation(settings, result)
    plan_table(result.plan)
    return int(result.summary.code)


async def _real(settings: Settings, *, full: bool) -> int:
    address = control.address_for(settings.journal.path)
    with lock.acquire(settings.journal.path, "run", address):
        async with AsyncExitStack() as stack:
            journal = await Journal.open(settings.journal.path)
            stack.push_async_callback(journal.close)
            assembly = await stack.enter_async_context(
                passes.assembled(settings, journal, simulated=False, outside=passes.Outside())
            )
            async with anyio.create_task_group() as tasks:
                await tasks.start(partial(control.serve, address, Requests(assembly).answer, owns_lock=True))
                summary = await assembly.engine.run(full=full)
                tasks.cancel_scope.cancel()
        return int(summary.code)

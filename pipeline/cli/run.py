"""`run`: one pass."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from typing import Annotated, TypeVar

import anyio
import typer

from config.settings import Settings
from pipeline import control
from pipeline.app import compose, passes
from pipeline.app.requests import Requests
from pipeline.app.selected import select_person
from pipeline.app.simulated_alerts import mail_simulated
from pipeline.app.tables import plan_table
from pipeline.cli.approve import refuse_simulation
from pipeline.cli.bars import bars
from pipeline.cli.session import execute
from pipeline.progress import Phase
from stages.people.planner import Selection
from state import lock
from state.journal import Journal

ONLY_PATIENCE_SECONDS = 120.0


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
        only: Annotated[
            str | None, typer.Option("--only", metavar="EMAIL|GUID", help="only this person")
        ] = None,
    ) -> None:
        """One pass from the directory to Dropbox: the scheduled task."""
        if only is not None and not only.strip():
            # A script whose variable was empty must not run a pass about everybody.
            raise typer.BadParameter("--only needs the e-mail or objectGUID of a person")
        if only and simulate:
            raise typer.BadParameter("--simulate and --only don't go together; see `ad-connector explain`")

        async def body(settings: Settings) -> int:
            if only:
                refuse_simulation(settings, "run for one person")
            if simulate or settings.simulation:
                return await _simulated(settings, full=full)
            return await _real(settings, full=full, only=only or "")

        execute(context, body, is_pass=True)


async def _simulated(settings: Settings, *, full: bool) -> int:
    with lock.acquire(settings.journal.path, "run --simulate"), bars(Phase.DIRECTORY):
        result = await passes.simulate(settings, full=full, is_kept=True)
        await passes.record_simulation(settings, result)
        trouble = await mail_simulated(settings, result.summary.alerts)
    plan_table(result.plan)
    if trouble:  # the log has ended with the exit code
        typer.echo(f"the alerts of this simulation were not mailed: {trouble}", err=True)
    return int(result.summary.code)


T = TypeVar("T")


async def owned_pass(settings: Settings, command: str, act: Callable[[compose.Assembly], Awaitable[T]]) -> T:
    """Runs `act` as the owner of the journal, with the control channel open beside it."""
    address = control.address_for(settings.journal.path)
    with lock.acquire(settings.journal.path, command, address):
        async with AsyncExitStack() as stack:
            journal = await Journal.open(settings.journal.path)
            stack.push_async_callback(journal.close)
            assembly = await stack.enter_async_context(
                passes.assembled(settings, journal, simulated=False, outside=passes.Outside())
            )
            async with anyio.create_task_group() as tasks:
                await tasks.start(
                    partial(control.serve, address, Requests(assembly, journal).answer, owns_lock=True)
                )
                with bars(Phase.DIRECTORY):
                    result = await act(assembly)
                tasks.cancel_scope.cancel()
        return result


async def _real(settings: Settings, *, full: bool, only: str) -> int:
    async def act(assembly: compose.Assembly) -> int:
        async def select() -> Selection:
            return await select_person(assembly.parts.journal, only)

        summary = await assembly.engine.run(full=full, select=select if only else None)
        return int(summary.code)

    holder = lock.owner(settings.journal.path)
    if only and holder is not None and holder.control:
        reply = await control.ask(holder.control, {"command": "only", "person": only}, ONLY_PATIENCE_SECONDS)
        typer.echo(f"the running {holder.command} looked at {reply['guid']}: {reply['state']}")
        return 0
    return await owned_pass(settings, "run", act)

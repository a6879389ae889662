"""`approve` and `retry`: ask the owner of the journal, or do it when nobody runs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Annotated

import typer

from config.settings import Settings
from pipeline import control
from pipeline.cli.session import execute
from pipeline.errors import ConfigurationError, WrongArgument
from pipeline.model import Json
from pipeline.redaction import escaped
from state import lock
from state.journal import Journal

PATIENCE_SECONDS = 30.0


def register(app: typer.Typer) -> None:
    @app.command(epilog="Example: ad-connector approve 3f9a1c07b2de")
    def approve(
        context: typer.Context,
        digest: Annotated[
            str,
            typer.Argument(
                metavar="HASH", help="of the set, as `status`, `plan`, the console and the mail show it"
            ),
        ],
    ) -> None:
        """Releases exactly the held set that was shown, for as long as each of it is still wanted."""

        async def body(settings: Settings) -> int:
            refuse_simulation(settings, "approve a held set")

            async def alone(journal: Journal) -> Json:
                from pipeline.app import (
                    requests,  # the parts that it brings along are heavy, and rarely needed here
                )

                return await requests.approve(journal, digest, datetime.now(UTC))

            reply = await asked(settings, {"command": "approve", "hash": digest}, alone)
            if reply.get("what"):
                typer.echo(
                    f"approved: {escaped(reply['what'])}. The next pass moves it, if all of this still holds then."
                )
                return 0
            typer.echo(_released(reply["released"], reply["shown"]))
            return 0

        execute(context, body)

    @app.command(epilog="Example: ad-connector retry --failed")
    def retry(
        context: typer.Context,
        failed: Annotated[bool, typer.Option("--failed", help="also what has failed for good")] = False,
        everything: Annotated[bool, typer.Option("--all", help="all that waits for another try")] = False,
        person: Annotated[
            str, typer.Option("--person", help="of this person: e-mail, GUID, name or DN")
        ] = "",
    ) -> None:
        """Makes actions that wait for another try due now."""
        if [failed, everything, bool(person)].count(True) != 1:
            raise typer.BadParameter("name --failed, --all or --person, one of them")

        async def body(settings: Settings) -> int:
            refuse_simulation(settings, "retry actions")
            guid = await _guid_in(settings, person) if person else ""

            async def alone(journal: Journal) -> Json:
                from pipeline.app import (
                    requests,  # the parts that it brings along are heavy, and rarely needed here
                )

                return await requests.retry(journal, guid, datetime.now(UTC), failed=failed or bool(guid))

            request = {"command": "retry", "guid": guid, "failed": failed or bool(guid)}
            reply = await asked(settings, request, alone)
            typer.echo(f"{reply['due']} due now")
            return 0

        execute(context, body)


def _released(released: int, shown: int) -> str:
    if not released:
        return f"0 of {shown} released: of this set nothing is held any more; it was approved before, or is no longer wanted"
    rest = "" if released == shown else "; those no longer wanted stay out"
    return f"{released} of {shown} released{rest}. The next pass sends them; a running watch does at once."


def refuse_simulation(settings: Settings, operation: str) -> None:
    if settings.simulation:
        raise ConfigurationError(
            operation, "simulation = true", "set simulation = false first: nothing is sent while it is on"
        )


async def asked(settings: Settings, request: Json, alone: Callable[[Journal], Awaitable[Json]]) -> Json:
    """The owner's answer; where nobody owns the journal, it is done here under the lock."""
    holder = lock.owner(settings.journal.path)
    if holder is not None and holder.control:
        return await control.ask(holder.control, request, PATIENCE_SECONDS)
    path = settings.journal.path
    if not path.exists():
        # To make one would only say later that it knows nothing.
        raise WrongArgument(
            str(request["command"]),
            f"no pass has run on {path} yet",
            "it is about what passes have left there",
        )
    with lock.acquire(path, str(request["command"])):
        journal = await Journal.open(path)
        try:
            return await alone(journal)
        finally:
            await journal.close()


async def guid_of(journal: Journal, person: str) -> str:
    """WrongArgument when nobody or several fit; then those are named who may have been meant."""
    from pipeline.app.selected import select_person

    return next(iter((await select_person(journal, person)).guids))


async def _guid_in(settings: Settings, person: str) -> str:
    journal = await Journal.open(settings.journal.path, read_only=True)
    try:
        return await guid_of(journal, person)
    finally:
        await journal.close()

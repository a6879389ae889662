"""`status`: how things stand."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from config.settings import Settings
from pipeline import control
from pipeline.app.overview import status_of
from pipeline.app.tables import status_table
from pipeline.cli.approve import PATIENCE_SECONDS
from pipeline.cli.session import execute
from pipeline.errors import WrongArgument
from state import lock
from state.database import Database
from state.journal import Journal


def register(app: typer.Typer) -> None:
    @app.command(epilog="Example: ad-connector status --json")
    def status(
        context: typer.Context,
        as_json: Annotated[bool, typer.Option("--json", help="for machines")] = False,
        console: Annotated[
            bool, typer.Option("--console", help="instead: the address of the running watch's page")
        ] = False,
    ) -> None:
        """Last pass, managed members, what is pending, lag, brake. Works beside a running watch."""

        async def body(settings: Settings) -> int:
            path = settings.journal.path
            if console:
                typer.echo(await _address_of_console(path))
                sys.stderr.write("It opens the console once, within five minutes.\n")
                return 0
            if path.exists():
                journal = await Journal.open(path, read_only=True)
            else:
                journal = Journal(await Database.open(":memory:"))
            try:
                found = await status_of(journal, datetime.now(UTC))
            finally:
                await journal.close()
            holder = lock.owner(path) if path.exists() else None
            found["owner"] = holder.describe() if holder else None
            if as_json:
                typer.echo(json.dumps(found, ensure_ascii=False))
            else:
                status_table(found)
            return 0

        execute(context, body)


async def _address_of_console(path: Path) -> str:
    """From the watch that owns the journal. WrongArgument when none runs."""
    holder = lock.owner(path) if path.exists() else None
    if holder is None or not holder.control or holder.command != "watch":
        raise WrongArgument(
            "open the console",
            f"no watch is running on {path}",
            "start it with `ad-connector watch`, or its service; it serves the console",
        )
    reply = await control.ask(holder.control, {"command": "console"}, PATIENCE_SECONDS)
    return str(reply["address"])

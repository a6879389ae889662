"""`status`: how things stand."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Annotated

import typer

from config.settings import Settings
from pipeline.app.overview import status_of
from pipeline.app.tables import status_table
from pipeline.cli.session import execute
from state import lock
from state.database import Database
from state.journal import Journal


def register(app: typer.Typer) -> None:
    @app.command(epilog="Example: ad-connector status --json")
    def status(
        context: typer.Context,
        as_json: Annotated[bool, typer.Option("--json", help="for machines")] = False,
    ) -> None:
        """Last pass, managed members, what is pending, lag, brake. Works beside a running watch."""

        async def body(settings: Settings) -> int:
            path = settings.journal.path
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

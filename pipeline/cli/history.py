"""`journal`: look into the change log, export, verify, compact."""

from __future__ import annotations

import csv
import json
import sys
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated

import anyio
import typer

from config.settings import Settings
from pipeline.app.change_log import exported, named, text_of_line
from pipeline.app.renderings import plain_cell
from pipeline.cli import standby, transfer
from pipeline.cli.approve import asked, guid_of
from pipeline.cli.bars import bars
from pipeline.cli.session import execute
from pipeline.cli.wrong_usage import LARGEST_NUMBER
from pipeline.errors import JournalError, WrongArgument
from pipeline.model import Json
from pipeline.progress import Phase
from pipeline.redaction import escaped
from state import upkeep
from state.journal import Journal

COLUMNS = ("seq", "at", "kind", "guid", "email", "action", "state", "cause", "pass", "name")


class Format(StrEnum):
    JSONL = "jsonl"
    CSV = "csv"


def register(app: typer.Typer) -> None:
    journal_app = typer.Typer(
        help="Looks into the journal.",
        no_args_is_help=True,
        epilog="Example: ad-connector journal show --last 20",
    )
    app.add_typer(journal_app, name="journal")
    transfer.register(journal_app)
    standby.register(journal_app)

    @journal_app.command(epilog="Example: ad-connector journal show --last 20")
    def show(
        context: typer.Context,
        last: Annotated[int, typer.Option(min=1, max=LARGEST_NUMBER, help="how many lines")] = 50,
    ) -> None:
        """The last lines of the change log."""

        async def body(settings: Settings) -> int:
            journal = await Journal.open(settings.journal.path, read_only=True)
            try:
                async with journal.reading():
                    end = await journal.last_seq()
                    lines = await journal.entries(after=max(0, end - last), limit=last)
                    for line in await named(journal, lines):
                        typer.echo(escaped(text_of_line(line)))
                if not lines:
                    typer.echo("the change log is empty: no real pass has written to it", err=True)
            finally:
                await journal.close()
            return 0

        execute(context, body)

    @journal_app.command(epilog="Example: ad-connector journal tail -f")
    def tail(
        context: typer.Context,
        follow: Annotated[bool, typer.Option("-f", "--follow", help="go on as it grows")] = False,
    ) -> None:
        """The newest lines; with -f, new ones as they come."""

        async def body(settings: Settings) -> int:
            journal = await Journal.open(settings.journal.path, read_only=True)
            try:
                async with journal.reading():
                    after = max(0, await journal.last_seq() - 10)
                while True:
                    async with journal.reading():
                        lines = await named(journal, await journal.entries(after=after))
                    for line in lines:
                        typer.echo(escaped(text_of_line(line)))
                        after = line["seq"]
                    if not follow:
                        return 0
                    await anyio.sleep(0.5)
            finally:
                await journal.close()

        execute(context, body)

    @journal_app.command(epilog="Example: ad-connector journal export --format csv --since 2026-11-01")
    def export(
        context: typer.Context,
        form: Annotated[Format, typer.Option("--format", help="jsonl or csv")] = Format.JSONL,
        since: Annotated[str, typer.Option("--since", help="a day or moment, ISO 8601, UTC")] = "",
        person: Annotated[str, typer.Option("--person", help="e-mail, GUID, name or DN")] = "",
        whole: Annotated[
            bool, typer.Option("--whole", help="all of the journal, for `journal import` on another machine")
        ] = False,
        pseudonyms: Annotated[
            bool,
            typer.Option(
                "--pseudonymise", help="with pseudonyms for every name, address and id; for --whole"
            ),
        ] = False,
    ) -> None:
        """The change log, one object a line; or all of the journal, to reproduce a pass elsewhere."""
        if pseudonyms and not whole:
            raise typer.BadParameter("--pseudonymise goes with --whole")
        if whole and (since or person or form is Format.CSV):
            raise typer.BadParameter("--whole goes with --pseudonymise only")

        async def body(settings: Settings) -> int:
            moment = _moment(since)
            journal = await Journal.open(settings.journal.path, read_only=True)
            try:
                if whole:
                    with bars(Phase.ROWS, prints=True):
                        await transfer.write_whole(
                            journal, settings.external_id.format, sys.stdout, pseudonymised=pseudonyms
                        )
                    return 0
                guid = await guid_of(journal, person) if person else ""
                writer = csv.DictWriter(sys.stdout, COLUMNS, extrasaction="ignore", lineterminator="\n")
                if form is Format.CSV:
                    writer.writeheader()
                with bars(Phase.LINES, prints=True):
                    async for line in exported(journal, since=moment, guid=guid):
                        if form is Format.CSV:
                            writer.writerow({name: plain_cell(line[name]) for name in COLUMNS})
                        else:
                            typer.echo(json.dumps(line, ensure_ascii=False))
            finally:
                await journal.close()
            return 0

        execute(context, body)

    @journal_app.command(epilog="Example: ad-connector journal verify")
    def verify(context: typer.Context) -> None:
        """Checks the file, the hash chain over the change log, and the invariants."""

        async def body(settings: Settings) -> int:
            journal = await Journal.open(settings.journal.path, read_only=True)
            try:
                with bars(Phase.LINES):
                    faults = await upkeep.verify(journal)
            finally:
                await journal.close()
            for fault in faults:
                typer.echo(f"failed   {fault.what}: {fault.detail}")
            if faults:
                raise JournalError(
                    "verify the journal",
                    "one fault" if len(faults) == 1 else f"{len(faults)} faults",
                    "restore a backup, or move the journal away",
                )
            typer.echo("ok       file, change log and invariants")
            return 0

        execute(context, body)

    @journal_app.command(epilog="Example: ad-connector journal compact")
    def compact(context: typer.Context) -> None:
        """Drops history older than journal.retention_days; never an open action, a link or a pin."""

        async def body(settings: Settings) -> int:
            before = datetime.now(UTC) - timedelta(days=settings.journal.retention_days)

            async def alone(journal: Journal) -> Json:
                return dict(await upkeep.compact(journal, before))

            with bars(Phase.JOURNAL):
                reply = await asked(settings, {"command": "compact", "before": before.isoformat()}, alone)
            typer.echo(", ".join(f"{number} {name}" for name, number in reply.items()) + " dropped")
            return 0

        execute(context, body)


def _moment(text: str) -> datetime | None:
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise WrongArgument(
            "export the journal", f"--since {text!r} is no date", "write 2026-11-01 or 2026-11-01T08:00:00"
        ) from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)

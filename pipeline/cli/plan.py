"""`plan`: what a pass would do."""

from __future__ import annotations

import io
import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from config.settings import Settings
from pipeline.app import passes
from pipeline.app.renderings import plan_csv, plan_html
from pipeline.app.tables import plan_table
from pipeline.cli.bars import bars
from pipeline.cli.files import fault_to_write
from pipeline.cli.session import complain, execute
from pipeline.errors import RightsError
from pipeline.model import Json
from pipeline.progress import Phase


class Format(StrEnum):
    TABLE = "table"
    JSON = "json"
    CSV = "csv"
    HTML = "html"


def register(app: typer.Typer) -> None:
    @app.command(epilog="Example: ad-connector plan --format json --out plan.json")
    def plan(
        context: typer.Context,
        form: Annotated[Format, typer.Option("--format", help="table, json, csv or html")] = Format.TABLE,
        out: Annotated[
            Path | None, typer.Option("--out", metavar="FILE", help="write it to this file")
        ] = None,
        full: Annotated[bool, typer.Option("--full", help="read everything afresh")] = False,
        from_journal: Annotated[
            bool,
            typer.Option(
                "--recorded", help="ask neither side: decide from what the journal last saw of both"
            ),
        ] = False,
    ) -> None:
        """Reads both sides and prints what a pass would do, by person and reason. Writes nothing to Dropbox."""
        if out is not None and (fault := fault_to_write(out)):
            raise typer.BadParameter(fault)

        async def body(settings: Settings) -> int:
            with bars(Phase.DIRECTORY):
                result = await passes.simulate(settings, full=full, from_journal=from_journal)
            text = _render(result.plan, form, wide=out is not None)
            if out is None:
                typer.echo(text)
            else:
                _write(out, text)
                count = len(result.plan["actions"])
                typer.echo(f"{count} action{'s' if count != 1 else ''}; the plan is in {out}", err=True)
            ended_by = result.summary.ended_by
            return complain(ended_by, is_pass=False) if ended_by is not None else int(result.summary.code)

        execute(context, body)


def _render(plan: Json, form: Format, *, wide: bool) -> str:
    match form:
        case Format.JSON:
            return json.dumps(plan, ensure_ascii=False, indent=1)
        case Format.CSV:
            return plan_csv(plan)
        case Format.HTML:
            return plan_html(plan)
        case Format.TABLE:
            return _table(plan, wide=wide)


def _table(plan: Json, *, wide: bool) -> str:
    buffer = io.StringIO()
    console = Console(
        file=buffer, width=160 if wide else None, highlight=False, force_terminal=False if wide else None
    )
    plan_table(plan, console)
    return buffer.getvalue().rstrip("\n")


def _write(path: Path, text: str) -> None:
    """A plan names people: readable by its owner alone."""
    try:
        path.touch(mode=0o600)
        path.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise RightsError(
            "write the plan", f"{path}: {error.strerror}", "name a file that can be written"
        ) from error

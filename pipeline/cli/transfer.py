"""`journal export --whole` and `journal import`: a journal on another machine, to see there what happened here."""

from __future__ import annotations

import json
import secrets
from pathlib import Path
from typing import Annotated, TextIO

import typer

from config.settings import Settings
from pipeline.cli.bars import bars
from pipeline.cli.files import fault_to_read
from pipeline.cli.session import execute
from pipeline.core.pseudonyms import Pseudonyms, words_of
from pipeline.errors import JournalError
from pipeline.progress import Phase
from state import lock, portable
from state.journal import Journal


def register(journal_app: typer.Typer) -> None:
    @journal_app.command("import", epilog="Example: ad-connector journal import journal.jsonl")
    def import_command(
        context: typer.Context,
        file: Annotated[Path, typer.Argument(metavar="FILE", help="what `journal export --whole` wrote")],
    ) -> None:
        """Makes a new journal of an exported one: for explain, replay and plan. Never beside an existing journal."""
        if fault := fault_to_read(file):
            raise typer.BadParameter(f"{fault}; `journal export --whole` prints one")

        async def body(settings: Settings) -> int:
            path = settings.journal.path
            try:
                with (
                    lock.acquire(path, "journal import"),
                    file.open(encoding="utf-8") as lines,
                    bars(Phase.ROWS),
                ):
                    header = await portable.import_whole(lines, path)
            except (OSError, UnicodeDecodeError) as error:
                why = error.strerror if isinstance(error, OSError) else "not a text in UTF-8"
                raise JournalError(
                    "import a journal", f"{file}: {why}", "name a file that `journal export --whole` wrote"
                ) from error
            names = "with pseudonyms" if header["pseudonyms"] else "as it was"
            typer.echo(f"imported to {path}, {names}, up to line {header['last_seq']}")
            return 0

        execute(context, body)


async def write_whole(
    journal: Journal, external_id_format: str, output: TextIO, *, pseudonymised: bool
) -> None:
    """One object a line. The key of the pseudonyms is drawn here and kept nowhere."""
    pseudonyms = None
    if pseudonymised:
        from pipeline.app.vocabulary import own_words

        # The fixed part of the external ids must stay, or nobody would be found by theirs.
        vocabulary = own_words() | words_of([external_id_format])
        pseudonyms = Pseudonyms(secrets.token_bytes(32), vocabulary)
    async for line in portable.export_whole(journal, pseudonyms):
        output.write(json.dumps(line, ensure_ascii=False) + "\n")

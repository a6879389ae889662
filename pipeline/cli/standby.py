"""`journal backup` and `journal restore`: copies, and a second host that takes over."""

from __future__ import annotations

import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from config.settings import Settings
from pipeline.cli.bars import bars
from pipeline.cli.session import execute
from pipeline.errors import InstanceRunning, RightsError, WrongArgument
from pipeline.progress import Phase
from state import lock
from state.journal import Journal
from state.standby import refuse_if_alive, restore, ship

ANSWER_SECONDS = 5.0


def register(journal_app: typer.Typer) -> None:
    @journal_app.command(epilog="Example: ad-connector journal backup /var/backups/journal.db")
    def backup(
        context: typer.Context,
        target: Annotated[
            Path, typer.Argument(metavar="FILE", help="a new file; with --incremental, a folder")
        ],
        incremental: Annotated[
            bool,
            typer.Option("--incremental", help="for a standby: a base copy once a day, then what is new"),
        ] = False,
    ) -> None:
        """A consistent copy, also beside a running watch. With --incremental, cheap enough for every minute."""
        if not incremental and target.is_dir():
            raise typer.BadParameter(f"{target} is a directory; name a new file, or say --incremental")
        if incremental and target.exists() and not target.is_dir():
            raise typer.BadParameter(f"{target} is a file; --incremental fills a folder")

        async def body(settings: Settings) -> int:
            # A single file may well be what is made before an upgrade of the journal.
            journal = await Journal.open(settings.journal.path, read_only=True, is_for_copy=not incremental)
            try:
                if incremental:
                    with bars(Phase.JOURNAL):
                        done = await ship(journal, target, datetime.now(UTC), socket.gethostname())
                    what = "a new base copy" if done.is_base else f"{done.lines} lines"
                    typer.echo(f"{what} to {target}, up to line {done.seq}")
                    return 0
                _reserve(target)
                try:
                    with bars(Phase.JOURNAL):
                        await journal.copy_to(target)
                except BaseException:
                    target.unlink(missing_ok=True)  # half a copy is none
                    raise
            finally:
                await journal.close()
            typer.echo(f"backed up to {target}")
            return 0

        execute(context, body)

    @journal_app.command("restore", epilog="Example: ad-connector journal restore /srv/standby")
    def restore_command(
        context: typer.Context,
        source: Annotated[
            Path,
            typer.Argument(
                metavar="SOURCE", help="a file of `journal backup`, or the folder of --incremental"
            ),
        ],
        primary: Annotated[
            str,
            typer.Option("--primary", metavar="HOST:PORT", help="refuse while its service.listen answers"),
        ] = "",
        is_stopped: Annotated[
            bool,
            typer.Option("--primary-is-stopped", help="it shipped a moment ago, but you have stopped it"),
        ] = False,
    ) -> None:
        """Makes the journal of a copy: after a loss, or to take over on a second host. Never over an existing journal."""
        if not source.exists():
            raise typer.BadParameter(f"{source}: there is no such file or folder; `journal backup` makes one")

        async def body(settings: Settings) -> int:
            now, path = datetime.now(UTC), settings.journal.path
            if source.is_dir() and not is_stopped:
                refuse_if_alive(source, now)
            if primary:
                _refuse_if_answering(primary)
            with lock.acquire(path, "journal restore"), bars(Phase.JOURNAL):
                told = await restore(source, path, now, socket.gethostname())
            typer.echo(
                f"restored to {path}: {told['lines']} lines after the copy, up to line {told['seq']}. "
                "The next pass compares everything; what was open is decided anew."
            )
            return 0

        execute(context, body)


def _refuse_if_answering(address: str) -> None:
    """InstanceRunning when anything takes a connection there, whatever it says."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise typer.BadParameter(f"--primary {address!r} is not HOST:PORT")
    try:
        socket.create_connection((host.strip("[]"), int(port)), ANSWER_SECONDS).close()
    except OSError:
        return
    raise InstanceRunning("restore the journal", f"the primary answers at {address}", "stop it first")


def _reserve(target: Path) -> None:
    """An empty file, which the copy fills: readable by its owner alone from its first moment. WrongArgument, RightsError."""
    operation = "back up the journal"
    try:
        target.touch(mode=0o600, exist_ok=False)
    except FileExistsError as error:
        raise WrongArgument(operation, f"{target} exists", "name a new file") from error
    except OSError as error:
        raise RightsError(
            operation, f"{target}: {error.strerror}", "name a new file in a folder that can be written to"
        ) from error

"""The command line: one file a command; what they share stands in `session`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from pipeline import __version__
from pipeline.cli import (
    approve,
    authorize,
    check,
    explain,
    history,
    plan,
    rework,
    run,
    sandbox,
    status,
    watch,
)
from pipeline.cli.session import Invocation

_app = typer.Typer(
    name="ad-connector",
    help="Keeps a Dropbox team equal to an Active Directory group.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    epilog="Example: ad-connector --config connector.toml plan",
)


def _version(value: bool) -> None:
    if value:
        typer.echo(f"ad-connector {__version__}")
        raise typer.Exit


@_app.callback()
def _globals(
    context: typer.Context,
    config: Annotated[
        Path | None,
        typer.Option("--config", help="connector.toml; else $AD_CONNECTOR_CONFIG and the usual places"),
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", help="log to standard error in detail")] = False,
    _shown: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="show the version")
    ] = False,
) -> None:
    context.obj = Invocation(config=config, verbose=verbose, environ=os.environ)


for _module in (authorize, check, plan, run, watch, status, explain, approve, rework, history, sandbox):
    _module.register(_app)


def application() -> None:
    _app(prog_name="ad-connector")  # else the usage says `python -m pipeline`

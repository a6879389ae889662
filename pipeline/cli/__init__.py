"""The command line: one file a command; what they share stands in `session`."""

from __future__ import annotations

import importlib
import inspect
import io
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer

from pipeline import __version__
from pipeline.cli.invocation import Invocation
from pipeline.cli.wrong_usage import Commands


def _version(value: bool) -> None:
    if value:
        typer.echo(f"ad-connector {__version__}")
        raise typer.Exit


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


# Module by command. One command needs one module, and the others' libraries cost half a second to import.
_MODULES = {
    "configure": "configure",
    "authorize": "authorize",
    "check": "check",
    "plan": "plan",
    "run": "run",
    "watch": "watch",
    "status": "status",
    "explain": "explain",
    "approve": "approve",
    "retry": "approve",
    "apply": "rework",
    "undo": "rework",
    "replay": "rework",
    "journal": "history",
    "schedule": "schedule",
    "sandbox": "sandbox",
    "demo": "sandbox",
}


def modules_for(arguments: Sequence[str]) -> list[str]:
    """The modules that this command line needs: the named command's, or all, for the help and for mistakes."""
    named = next((word for word in _words(arguments) if not word.startswith("-")), "")
    return [_MODULES[named]] if named in _MODULES else list(dict.fromkeys(_MODULES.values()))


def _words(arguments: Sequence[str]) -> Iterator[str]:
    """The command line without the value of --config, which may look like a command."""
    rest = iter(arguments)
    for word in rest:
        if word == "--config":
            next(rest, None)
        else:
            yield word


def application(
    arguments: Sequence[str] | None = None, *, on_loaded: Callable[[], object] = lambda: None
) -> None:
    """Runs a command line to its end. `on_loaded` is called before the command begins."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # Names are of any language, and a terminal or pipe may not take them all: better escaped than not told.
            stream.reconfigure(errors="backslashreplace")
    if given[:1] == ["--version"]:
        # Nothing to import for it.
        typer.echo(f"ad-connector {__version__}")
        return
    app = build(modules_for(given))
    on_loaded()
    app(given, prog_name="ad-connector")


def build(modules: Iterable[str] = ()) -> typer.Typer:
    """The command line with the commands of these modules, or with all of them."""
    app = typer.Typer(
        name="ad-connector",
        cls=Commands,
        help="Keeps a Dropbox team equal to an Active Directory group.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        epilog="Example: ad-connector --config connector.toml plan",
    )
    app.callback()(_globals)
    for name in modules or dict.fromkeys(_MODULES.values()):
        importlib.import_module(f"pipeline.cli.{name}").register(app)
    _show_whole_summaries(app)
    return app


def _show_whole_summaries(app: typer.Typer) -> None:
    """A list of commands wraps what stands here, and cuts off in the middle what it takes from the docstring."""
    for command in app.registered_commands:
        if command.callback is not None:
            command.short_help = (inspect.getdoc(command.callback) or "").partition(". ")[0].rstrip(".")
    for group in app.registered_groups:
        if group.typer_instance is not None:
            group.short_help = group.typer_instance.info.help
            _show_whole_summaries(group.typer_instance)

"""What every command does around its own work: settings, log, errors, exit code."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import NoReturn

import anyio
import typer

from config.load import early_log, load
from config.settings import Settings
from pipeline import log
from pipeline.cli.invocation import Invocation
from pipeline.core.exits import final_code, shell_status
from pipeline.errors import ConnectorError, ControlError, InstanceRunning, RightsError, SyncError
from pipeline.redaction import escaped, redacted

_ON_THE_SPOT = (InstanceRunning, ControlError)

Body = Callable[[Settings], Awaitable[int]]


def execute(context: typer.Context, body: Body, *, is_pass: bool = False) -> NoReturn:
    """Loads the settings, runs `body` on anyio and ends the process with its code.

    `is_pass`: the command is a pass, so a fault before its engine could start also ends the log with its exit code.
    """
    invocation: Invocation = context.obj
    is_logging = False
    try:
        settings = load(invocation.config, invocation.environ)
        configure_log(invocation, settings, is_pass=is_pass)
        is_logging = True
        code = anyio.run(_caught, body, settings)
    except ConnectorError as error:
        if is_pass and not is_logging:
            _open_early_log(invocation)
        code = complain(error, is_pass=is_pass)
        if is_pass:
            tell_early(invocation, error)
    except KeyboardInterrupt:
        code = 130
    except Exception as error:  # noqa: BLE001 - a fault of ours has a code too, and a pass says it (behaviour §10)
        code = complain(_unexpected(error), is_pass=is_pass)
    finally:
        log.close()
    raise SystemExit(shell_status(code))


def configure_log(invocation: Invocation, settings: Settings, *, is_pass: bool) -> None:
    log.configure(
        log.LogOptions(
            # Two processes must not turn one file: only passes, which own the journal, write to it.
            path=settings.log.path if is_pass else None,
            level="debug" if invocation.verbose else settings.log.level,
            format=settings.log.format,
            to_stderr=is_pass or invocation.verbose,
        )
    )


def _open_early_log(invocation: Invocation) -> None:
    """For a pass that ends before its log was opened. The owner of the journal may be at work: the file is not turned here."""
    found = early_log(invocation.config, invocation.environ)
    if found is not None:
        with suppress(RightsError):  # then standard error has to do
            log.configure(log.LogOptions(path=found.path, format=found.format, max_bytes=0))


def _unexpected(error: Exception) -> SyncError:
    """Where it happened goes to standard error, for whoever will mend it."""
    sys.stderr.write(redacted("".join(traceback.format_exception(error))))
    return SyncError(
        "carry out the command", f"something unexpected happened: {type(error).__name__}: {str(error)[:200]}"
    )


async def _caught(body: Body, settings: Settings) -> int:
    try:
        return await body(settings)
    except BaseExceptionGroup as group:
        inner = _only_error(group)
        if inner is None:
            raise
        raise inner from group


def _only_error(group: BaseExceptionGroup[BaseException]) -> ConnectorError | None:
    """A task group wraps what its tasks raise; the first error of ours is the cause."""
    matched, _ = group.split(ConnectorError)
    while isinstance(matched, BaseExceptionGroup):
        first = matched.exceptions[0]
        if isinstance(first, ConnectorError):
            return first
        matched = first if isinstance(first, BaseExceptionGroup) else None
    return None


def complain(error: ConnectorError, *, is_pass: bool) -> int:
    """Tells an error where it belongs, and returns its code. What another process owns the log for goes to standard error only."""
    code: int = final_code(error, held=False, failed=False)
    if is_pass and not isinstance(error, _ON_THE_SPOT):
        for cause in error.causes:
            log.logger().error(log.Event.FAULT, operation=error.operation, cause=cause, hint=error.hint)
        log.exit_line(int(code))
    else:
        several = len(error.causes) > 1
        told = (
            (f"{error.operation}:", *(f"  {cause}" for cause in error.causes))
            if several
            else (f"{error.operation}: {error.cause}",)
        )
        for line in (*told, f"What to do: {error.hint}"):
            sys.stderr.write(f"{escaped(redacted(line))}\n")
        if is_pass:
            sys.stderr.write(f"exit code: {int(code)}\n")
    return int(code)


def tell_early(invocation: Invocation, error: ConnectorError) -> None:
    """Mails a fault that ended the program before the journal could carry its alert, if the mail settings can be read.

    Another instance (-19), and what it refuses, is no news for anybody but the caller.
    """
    if isinstance(error, _ON_THE_SPOT):
        return
    from pipeline.app.early import mail_early_fault

    mail_early_fault(invocation.config, invocation.environ, error)

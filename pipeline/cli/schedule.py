"""`schedule`: has the connector started by systemd, cron or the Windows Task Scheduler."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from config.settings import Settings
from pipeline.app import scheduling
from pipeline.app.scheduling import Place
from pipeline.cli.session import complain, execute
from pipeline.core.exits import shell_status
from pipeline.errors import ConfigurationError, ConnectorError, RightsError
from pipeline.schedule import windows
from pipeline.schedule.job import Daily, Job, Timetable, parse_at, parse_every


class System(StrEnum):
    SYSTEMD = "systemd"
    CRON = "cron"
    WINDOWS = "windows"


_Systems = Annotated[System | None, typer.Option("--system", help="else that of this machine")]
_Name = Annotated[str, typer.Option("--name", help="of the unit, file or task")]
_Watch = Annotated[bool, typer.Option("--watch", help="a service that watches, instead of passes at times")]
_At = Annotated[str, typer.Option("--at", metavar="HH:MM", help="one pass a day, local time; default 02:00")]
_Every = Annotated[str, typer.Option("--every", metavar="SPAN", help="one pass every 3h, 90m, 1d")]
_User = Annotated[str, typer.Option("--user", help="the account to run as; else the owner of connector.toml")]
_Disabled = Annotated[bool, typer.Option("--disabled", help="install it, but do not start it")]
_Root = Annotated[
    Path, typer.Option("--root", help="write below this folder and start nothing: images, other machines")
]


def register(app: typer.Typer) -> None:
    commands = typer.Typer(
        help="Has the connector started by systemd, cron or the Windows Task Scheduler.",
        no_args_is_help=True,
        rich_markup_mode=None,
        epilog="Example: ad-connector schedule install --at 02:00",
    )
    app.add_typer(commands, name="schedule")

    @commands.command(epilog="Example: ad-connector schedule show --watch --system systemd")
    def show(
        context: typer.Context,
        system: _Systems = None,
        watch: _Watch = False,
        at: _At = "",
        every: _Every = "",
        user: _User = "",
        name: _Name = "ad-connector",
        disabled: _Disabled = False,
        root: _Root = Path("/"),
    ) -> None:
        """Prints what `install` would write, and says what is installed."""
        timetable = _timetable(watch=watch, at=at, every=every)

        async def body(settings: Settings) -> int:
            chosen = _system(system)
            job = _job(settings, chosen, name, timetable, user, disabled=disabled)
            for one in scheduling.artefacts_of(job, chosen.value):
                # An XML declaration must come first in its file.
                typer.echo(one.text if chosen is System.WINDOWS else f"# {one.path}\n{one.text}")
            if chosen is System.WINDOWS:
                _show_windows_commands(job)
            _warn(job, settings, chosen)
            there = scheduling.installed(name, chosen.value, Place(root))
            _say("installed: " + (", ".join(map(str, there)) or "nothing"))
            return 0

        execute(context, body)

    @commands.command(epilog="Example: ad-connector schedule install --every 3h")
    def install(
        context: typer.Context,
        system: _Systems = None,
        watch: _Watch = False,
        at: _At = "",
        every: _Every = "",
        user: _User = "",
        name: _Name = "ad-connector",
        disabled: _Disabled = False,
        root: _Root = Path("/"),
    ) -> None:
        """Writes and starts it. What was installed under the same name before is replaced."""
        timetable = _timetable(watch=watch, at=at, every=every)

        async def body(settings: Settings) -> int:
            chosen = _system(system)
            place = Place(root)
            _require_here(chosen, place)
            job = _job(settings, chosen, name, timetable, user, disabled=disabled)
            _warn(job, settings, chosen)
            if place.is_this_machine:
                there = scheduling.installed(name, chosen.value, place)
                _carry_out(scheduling.commands_before_remove(name, chosen.value, there))
            written = scheduling.install(job, chosen.value, place)
            for path in written:
                typer.echo(f"wrote {path}")
            if place.is_this_machine:
                _carry_out(scheduling.commands_after_install(job, chosen.value, written))
            what = "watch" if job.timetable is None else f"run {job.timetable}"
            state = "" if job.enabled else " (disabled)"
            if chosen is System.CRON and job.timetable is None and job.enabled:
                _say(
                    "cron starts it with the next boot only: until then, start `ad-connector watch` yourself"
                )
            typer.echo(f"scheduled: {what}, as {job.user or 'the account of the scheduler'}{state}")
            return 0

        execute(context, body)

    @commands.command(epilog="Example: ad-connector schedule remove")
    def remove(
        system: _Systems = None,
        name: _Name = "ad-connector",
        root: _Root = Path("/"),
    ) -> None:
        """Stops it and takes its files away. Needs no configuration."""
        chosen = _system(system)
        place = Place(root)
        try:
            _require_here(chosen, place)
            _require_name(name)
            there = scheduling.installed(name, chosen.value, place)
            if place.is_this_machine:
                _carry_out(scheduling.commands_before_remove(name, chosen.value, there))
            for path in scheduling.remove(name, chosen.value, place):
                typer.echo(f"removed {path}")
            if place.is_this_machine:
                _carry_out(scheduling.commands_after_remove(chosen.value, there))
        except ConnectorError as error:
            raise SystemExit(shell_status(complain(error, is_pass=False))) from error
        if not there:
            typer.echo(f"nothing of the name {name} is installed")


def _timetable(*, watch: bool, at: str, every: str) -> Timetable | None:
    if sum(map(bool, (watch, at, every))) > 1:
        raise typer.BadParameter("take one of --watch, --at and --every")
    if watch:
        return None
    parsed: Callable[[str], Timetable] = parse_every if every else parse_at
    try:
        return parsed(every or at) if every or at else Daily()
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--every" if every else "--at") from error


def _system(given: System | None) -> System:
    return given or System(scheduling.usual_system())


def _job(
    settings: Settings, system: System, name: str, timetable: Timetable | None, user: str, *, disabled: bool
) -> Job:
    _require_name(name)
    if re.search(r"[\x00-\x1f]", user):
        raise ConfigurationError("schedule", "--user contains control characters", "choose another")
    return scheduling.job_of(
        settings, system.value, name=name, timetable=timetable, user=user, enabled=not disabled
    )


def _require_name(name: str) -> None:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", name):
        # cron ignores files with a dot in their name; the name is part of paths
        raise ConfigurationError(
            "schedule", f"--name {name!r}: letters, digits, - and _ only", "choose another"
        )


def _require_here(system: System, place: Place) -> None:
    if system is System.WINDOWS and sys.platform != "win32" and place.is_this_machine:
        raise ConfigurationError(
            "schedule",
            "this is not Windows",
            "use `schedule show --system windows`, or --root FOLDER, and carry it over",
        )


def _warn(job: Job, settings: Settings, system: System) -> None:
    for warning in scheduling.warnings_about(job, settings, system.value, os.environ):
        _say(f"warning: {warning}")


def _say(text: str) -> None:
    typer.echo(text, err=True)


def _show_windows_commands(job: Job) -> None:
    typer.echo("rem Rights for the account, then the task (saved as UTF-16):")
    for line in windows.rights_commands(job):
        typer.echo(line)
    typer.echo(subprocess.list2cmdline(windows.create_command(job, f"{job.name}.xml")))
    if job.timetable is None:
        typer.echo("rem Or, instead of the task, a service:")
        for line in windows.service_commands(job):
            typer.echo(line)


def _carry_out(commands: Sequence[tuple[str, ...]]) -> None:
    for command in commands:
        try:
            done = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603 - ours
        except OSError as error:
            raise RightsError(
                "schedule", f"{command[0]}: {error.strerror}", "carry it out yourself"
            ) from error
        if done.returncode:
            said = (done.stderr or done.stdout).strip().splitlines()
            cause = said[0] if said else f"status {done.returncode}"
            raise RightsError(
                "schedule", f"{' '.join(command)}: {cause}", "run it as root (as administrator)"
            )

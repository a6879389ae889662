"""`check`: is everything as it must be?"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from config.settings import Settings
from config.windows_rights import remedy
from pipeline.app import compose
from pipeline.app.clock import SystemClock
from pipeline.cli.session import execute
from pipeline.errors import ConnectorError
from pipeline.model import Finding
from pipeline.redaction import escaped
from stages.service.tls import fault_of
from state import lock
from state.journal import Journal

_CODES = {"configuration": -10, "directory": -12, "dropbox": -14, "journal": -20, "mail": -17}
_COLOURS = {"ok": "green", "warning": "yellow", "failed": "red"}


class Section(StrEnum):
    ALL = "all"
    DIRECTORY = "directory"
    DROPBOX = "dropbox"
    MAIL = "mail"
    JOURNAL = "journal"


def register(app: typer.Typer) -> None:
    @app.command(epilog="Example: ad-connector check directory")
    def check(
        context: typer.Context,
        section: Annotated[
            Section, typer.Argument(help="directory, dropbox, mail or journal; else all")
        ] = Section.ALL,
        send_mail: Annotated[bool, typer.Option("--send-mail", help="send a test message")] = False,
    ) -> None:
        """Tests configuration, directory, Dropbox, mail and journal; one line each, with what to do."""

        async def body(settings: Settings) -> int:
            console = Console(highlight=False)
            code = 0
            if section is Section.ALL:
                for finding in _configuration(settings):
                    show(console, finding)
                    if finding.state == "failed":
                        code = _CODES["configuration"]
            for name in Section:
                if name is Section.ALL or section not in (Section.ALL, name):
                    continue
                findings, own_code = await _findings(settings, name, send_mail=send_mail)
                for finding in findings:
                    show(console, finding)
                    if finding.state == "failed" and not code:
                        code = own_code or _CODES[name.value]
            return code

        execute(context, body)


def _configuration(settings: Settings) -> Sequence[Finding]:
    """What is wrong with it has ended the command before; this is what was right, and what nobody could tell."""
    kept = sorted({secret.describe().partition(":")[0] for secret in settings.secrets() if secret.is_set})
    # A literal is described by stars alone.
    places = ", ".join("the file itself" if place.startswith("*") else place for place in kept)
    source = f"{settings.source or 'the environment alone'}; secrets: {places or 'none'}"
    return [
        Finding("configuration", "keys", "ok", source),
        *console_certificate(settings),
        *(
            Finding(
                "configuration",
                "rights",
                "warning",
                f"{file}: this system did not tell who may read it",
                f"leave it to its owner, SYSTEM and the administrators: {remedy(file)}",
            )
            for file in settings.unjudged_files
        ),
    ]


def console_certificate(settings: Settings) -> Sequence[Finding]:
    """Whether the console's certificate and key belong together; nothing where it has none."""
    try:
        context = compose.service_tls_of(settings)
    except ConnectorError as error:
        return [Finding("configuration", "service.listen", "failed", error.cause, error.hint)]
    if context is None:
        return []
    certificate = str(settings.service.tls_certificate)
    if fault := fault_of(context):
        return [
            Finding(
                "configuration",
                "service.listen",
                "warning",
                f"{certificate}: {fault}",
                "renew the certificate",
            )
        ]
    return [Finding("configuration", "service.listen", "ok", f"TLS with {certificate}")]


async def _findings(
    settings: Settings, section: Section, *, send_mail: bool
) -> tuple[Sequence[Finding], int]:
    """The lines of a section, and the code of the error that kept it from being looked at (0: none)."""
    clock = SystemClock()
    try:
        match section:
            case Section.DIRECTORY:
                directory = compose.directory_of(settings, clock)
                try:
                    return await directory.check(settings.users.sync_group), 0
                finally:
                    await directory.close()
            case Section.DROPBOX:
                team = compose.team_of(settings, clock)
                try:
                    return await team.check(), 0
                finally:
                    await team.close()
            case Section.MAIL:
                mailer = compose.mailer_of(settings.mail)
                if mailer is None:
                    finding = Finding(
                        "mail",
                        "mail",
                        "warning",
                        "mail.enabled is false",
                        "nobody hears of errors; enable it",
                    )
                    return [finding], 0
                return await mailer.check(send_mail=send_mail), 0
            case _:
                return await _journal(settings), 0
    except ConnectorError as error:
        return [Finding(section.value, error.operation, "failed", error.cause, error.hint)], error.exit_code


async def _journal(settings: Settings) -> Sequence[Finding]:
    path = settings.journal.path
    if not path.exists():
        return [Finding("journal", "journal", "ok", f"{path} will be made by the first pass")]
    holder = lock.owner(path)
    journal = await Journal.open(path, read_only=True)
    try:
        async with journal.reading():
            answer = await journal.database.value("PRAGMA quick_check(1)")
    finally:
        await journal.close()
    state = "ok" if answer == "ok" else "failed"
    owner = f"; {holder.describe()}" if holder else ""
    return [
        Finding(
            "journal",
            "journal",
            state,
            f"{path}: {answer}{owner}",
            "" if state == "ok" else "restore a backup, or move it away: the next pass compares everything",
        )
    ]


def show(console: Console, finding: Finding) -> None:
    colour = _COLOURS.get(finding.state, "white")
    hint = f"  -> {escape(escaped(finding.hint))}" if finding.hint and finding.state != "ok" else ""
    console.print(
        f"[{colour}]{finding.state:<8}[/] {escape(finding.section)}: {escape(finding.name)}: {escape(escaped(finding.detail))}{hint}",
        soft_wrap=True,  # one line each, whatever reads them
    )

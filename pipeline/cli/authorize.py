"""`authorize`: gets the OAuth 2 refresh token and stores it where the configuration says."""

from __future__ import annotations

import signal
from dataclasses import replace

import typer
from pydantic import SecretStr

from config.sections import Dropbox
from config.settings import Settings
from pipeline.app.clock import SystemClock
from pipeline.cli.session import execute
from pipeline.errors import DropboxSetupError
from pipeline.log import register_secret
from stages.dropbox.oauth import (
    GROUP_SCOPES,
    NEEDED_SCOPES,
    authorization_url,
    exchange_code,
    new_code_verifier,
)
from stages.dropbox.options import DropboxOptions
from stages.dropbox.team import HttpTeam


def options_of(section: Dropbox) -> DropboxOptions:
    """What is known before there is a token."""
    return DropboxOptions(
        api_url=section.api_url,
        app_key=section.app_key,
        app_secret=section.app_secret.resolve().get_secret_value() if section.app_secret.is_set else "",
        ca_file=str(section.ca_file or ""),
        timeout_seconds=section.timeout_seconds,
    )


def scopes_of(settings: Settings) -> tuple[str, ...]:
    """What the admin is asked to approve: no more than the configuration needs."""
    return NEEDED_SCOPES if settings.groups.mode == "off" else (*NEEDED_SCOPES, *GROUP_SCOPES)


def _code() -> str:
    """A line that somebody types. Raises Abort for Ctrl-C or the end of the input."""
    # While a loop runs, its own handler makes of the first Ctrl-C a cancellation, and the read that waits here never ends by that.
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return str(typer.prompt("Code")).strip()
    finally:
        signal.signal(signal.SIGINT, handler)


def register(app: typer.Typer) -> None:
    @app.command(epilog="Example: ad-connector authorize")
    def authorize(context: typer.Context) -> None:
        """Prints the URL where a team admin approves the app, takes the code (PKCE), stores the token."""

        async def body(settings: Settings) -> int:
            section = settings.dropbox
            if not section.app_key:
                raise DropboxSetupError(
                    "authorise",
                    "dropbox.app_key is empty",
                    "make an app in the Dropbox App Console and put its key there",
                )
            if section.refresh_token.scheme not in ("file", "keyring"):
                raise DropboxSetupError(
                    "authorise",
                    f"dropbox.refresh_token is {section.refresh_token.scheme}: nothing can be stored there",
                    "set it to file:dropbox.token or keyring:ad-connector/refresh-token",
                )
            options = options_of(section)
            verifier = new_code_verifier()
            typer.echo(
                "Open this address as an admin of the team, approve the app, and copy the code that it shows:\n"
            )
            typer.echo(f"  {authorization_url(options, verifier, scopes=scopes_of(settings))}\n")
            try:
                given = _code()
            except typer.Abort:
                typer.echo("\nGiven up: nothing was stored.", err=True)
                return 130
            if not given:
                raise DropboxSetupError(
                    "authorise", "no code was given", "run it again; a code is valid for ten minutes"
                )
            grant = await exchange_code(options, given, verifier)
            register_secret(grant.refresh_token)
            section.refresh_token.store(SecretStr(grant.refresh_token))
            typer.echo(
                f"The refresh token is stored in {section.refresh_token.describe()}. Scopes: {', '.join(grant.scopes) or 'not told'}"
            )
            team = HttpTeam(replace(options, refresh_token=grant.refresh_token), SystemClock())
            try:
                info = await team.team_info()
            finally:
                await team.close()
            typer.echo(f"Team: {info.name}, {info.provisioned} of {info.seats} seats taken.")
            return 0

        execute(context, body)

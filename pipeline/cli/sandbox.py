"""`sandbox up`: a domain, a team and a mail server to try everything on."""

from __future__ import annotations

import signal
import sys
import tempfile
from contextlib import closing
from enum import StrEnum
from pathlib import Path
from socket import socket
from typing import Annotated

import anyio
import typer

from pipeline.errors import ConnectorError


class Directory(StrEnum):
    SAMBA = "samba"
    MEMORY = "memory"


def register(app: typer.Typer) -> None:
    sandbox_app = typer.Typer(
        help="A domain, a Dropbox team and a mail server on loopback.",
        no_args_is_help=True,
        epilog="Example: ad-connector sandbox up > connector.toml",
    )
    app.add_typer(sandbox_app, name="sandbox")

    @sandbox_app.callback()
    def about() -> None:
        """A domain, a Dropbox team and a mail server on loopback."""

    @sandbox_app.command(epilog="Example: ad-connector sandbox up > connector.toml")
    def up(
        folder: Annotated[
            Path | None, typer.Option("--folder", help="where everything lies; else a temporary folder")
        ] = None,
        people: Annotated[
            int, typer.Option("--people", min=0, max=200_000, help="so many more people in the sync group")
        ] = 0,
        seats: Annotated[int, typer.Option("--seats", min=1, help="licences of the team")] = 500,
    ) -> None:
        """Starts them, prints a connector.toml for them, and keeps them until SIGTERM or Ctrl-C."""
        try:
            anyio.run(_up, folder, people, seats)
        except ConnectorError as error:
            sys.stderr.write(f"{error}\n")
            raise SystemExit(1) from error

    @app.command(epilog="Example: ad-connector demo")
    def demo(
        directory: Annotated[
            Directory, typer.Option("--directory", help="samba, or memory where Samba can't run")
        ] = Directory.SAMBA,
    ) -> None:
        """The whole story in a sandbox: first pass, rename, leaver, deletion, brake, crash, alert."""
        from sandbox.story import tell

        raise SystemExit(anyio.run(tell, directory))


def _free_address() -> str:
    """For the console of a `watch` that is started beside it. Nobody keeps the port until then."""
    with closing(socket()) as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"


async def _up(folder: Path | None, people: int, seats: int) -> None:
    from sandbox.environment import Sandbox, SandboxOptions
    from sandbox.samba import missing_for_samba

    reason = missing_for_samba()
    if reason:
        raise ConnectorError(
            "start the sandbox's domain controller", reason, "./run demo installs what it needs"
        )
    checkout = Path(__file__).resolve().parents[2]
    with tempfile.TemporaryDirectory(prefix="ad-connector-sandbox-") as temporary:
        home = (folder or Path(temporary)).resolve()
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            sys.stderr.write(
                "starting a domain controller, a Dropbox team and a mail server on loopback ...\n"
            )
            async with Sandbox(
                home,
                cache=checkout / ".sandbox" / "cache",
                options=SandboxOptions(seats=seats, people=people),
            ) as sandbox:
                console = {"listen": _free_address()}
                sandbox.write_configuration(service=console)
                facts = home / "sandbox.json"
                facts.touch(mode=0o600)
                facts.write_text(sandbox.facts_json(), encoding="utf-8")
                sys.stdout.write(f"{sandbox.handbook()}\n\n{sandbox.toml(service=console)}")
                sys.stdout.flush()
                sys.stderr.write(
                    f"ready; the configuration is also in {home / 'connector.toml'}. Ctrl-C ends it.\n"
                )
                async for _ in signals:
                    break

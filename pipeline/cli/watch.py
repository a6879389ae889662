"""`watch`: passes without end."""

from __future__ import annotations

from functools import partial

import typer

from config.load import load
from config.settings import Settings
from pipeline import control
from pipeline.app.watching import Watch, require_real
from pipeline.cli.invocation import Invocation
from pipeline.cli.session import configure_log, execute
from pipeline.log import exit_line
from stages.service.supervisor import Supervisor
from state import lock
from state.journal import Journal


def register(app: typer.Typer) -> None:
    @app.command(epilog="Example: ad-connector watch")
    def watch(context: typer.Context) -> None:
        """Passes without end: changes reach Dropbox within seconds. SIGTERM drains, a second one aborts. SIGHUP reads the configuration again."""
        invocation: Invocation = context.obj

        async def body(settings: Settings) -> int:
            require_real(settings)
            address = control.address_for(settings.journal.path)
            with lock.acquire(settings.journal.path, "watch", address):
                journal = await Journal.open(settings.journal.path)
                try:
                    await Watch(
                        settings,
                        journal,
                        load=partial(load, invocation.config, invocation.environ),
                        configure_log=partial(configure_log, invocation, is_pass=True),
                        supervisor=Supervisor(),
                    ).run(address)
                finally:
                    await journal.close()
            exit_line(0)
            return 0

        execute(context, body, is_pass=True)

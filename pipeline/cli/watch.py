"""`watch`: passes without end."""

from __future__ import annotations

import os
import signal
import socket
import sys
from contextlib import AsyncExitStack
from functools import partial

import anyio
import anyio.abc
import typer

from config.settings import Settings
from pipeline import control
from pipeline.app import passes
from pipeline.app.health import reading_of
from pipeline.app.requests import Requests
from pipeline.cli.session import execute
from pipeline.errors import ConfigurationError
from pipeline.log import Event, exit_line, logger
from stages.service.health import serving
from state import lock
from state.journal import Journal


def register(app: typer.Typer) -> None:
    @app.command(epilog="Example: ad-connector watch")
    def watch(context: typer.Context) -> None:
        """Passes without end: changes reach Dropbox within seconds. SIGTERM drains, a second one aborts."""

        async def body(settings: Settings) -> int:
            if settings.simulation:
                raise ConfigurationError(
                    "start watching",
                    "simulation = true: watch would repeat the same report for ever",
                    "look at `ad-connector plan`; set simulation = false when it is as you want it",
                )
            address = control.address_for(settings.journal.path)
            with lock.acquire(settings.journal.path, "watch", address):
                await _watch(settings, address)
            exit_line(0)
            return 0

        execute(context, body, is_pass=True)


async def _watch(settings: Settings, address: str) -> None:
    stop = anyio.Event()

    async def ready() -> None:
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        logger().info(Event.READY)
        notify("READY=1")

    async with AsyncExitStack() as stack:
        journal = await Journal.open(settings.journal.path)
        stack.push_async_callback(journal.close)
        assembly = await stack.enter_async_context(
            passes.assembled(settings, journal, simulated=False, outside=passes.Outside())
        )
        async with anyio.create_task_group() as tasks:
            await tasks.start(
                partial(control.serve, address, Requests(assembly, journal).answer, owns_lock=True)
            )
            tasks.start_soon(_heed_signals, stop, tasks.cancel_scope)
            if settings.service.listen:
                read = partial(reading_of, assembly, journal, poll_seconds=settings.directory.poll_seconds)
                await stack.enter_async_context(serving(settings.service.listen, read))
            await assembly.engine.watch(
                poll_seconds=settings.directory.poll_seconds,
                wait_for_change=assembly.directory.wait_for_change,
                on_ready=ready,
                stop=stop,
            )
            tasks.cancel_scope.cancel()
    notify("STOPPING=1")


async def _heed_signals(stop: anyio.Event, scope: anyio.CancelScope) -> None:
    """The first SIGTERM or SIGINT drains; a second one gives up at once: the journal resumes from anywhere."""
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for _ in signals:
            if stop.is_set():
                scope.cancel()
                return
            stop.set()


def notify(state: str) -> None:
    """Tells systemd, where it asked to be told (sd_notify(3): a datagram to $NOTIFY_SOCKET)."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address or not hasattr(socket, "AF_UNIX"):
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.sendto(state.encode(), address)

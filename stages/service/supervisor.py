"""What systemd is told of a service of Type=notify, and how it sees that the service is alive (sd_notify(3))."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from contextlib import suppress

import anyio

START_BEAT_SECONDS = 20.0
_PATIENCE_SECONDS = 0.5
START_EXTENSION_SECONDS = 120.0
"""Before it is ready, each sign of life asks for so much more time: the first load of a big team takes an hour."""


class Supervisor:
    """Silent where nobody asked to be told ($NOTIFY_SOCKET). A supervisor that can't be reached stops nothing."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")
        self._interval = _watchdog_seconds(environ)
        self._is_ready = False

    def ready(self, status: str = "") -> None:
        self._is_ready = True
        self._tell("READY=1", f"STATUS={status or 'watching'}")

    def reloading(self) -> None:
        # The time lets newer systemd tell which reload a later READY=1 ends.
        microseconds = (
            time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000 if hasattr(time, "CLOCK_MONOTONIC") else 0
        )
        self._tell("RELOADING=1", f"MONOTONIC_USEC={microseconds}", "STATUS=reading the configuration again")

    def stopping(self) -> None:
        self._tell("STOPPING=1", "STATUS=finishing what is under way")

    async def beat(self) -> None:
        """Signs of life until cancelled. They say that the event loop turns; a request that hangs ends by its own time limit."""
        if not self._address:
            return
        while True:
            if not self._is_ready:
                self._tell(f"EXTEND_TIMEOUT_USEC={int(START_EXTENSION_SECONDS * 1e6)}")
            elif self._interval:
                self._tell("WATCHDOG=1")
            await anyio.sleep(self._interval / 2 if self._interval else START_BEAT_SECONDS)

    def _tell(self, *words: str) -> None:
        if not self._address or not hasattr(socket, "AF_UNIX"):
            return
        # A leading @ stands for the NUL of an abstract address.
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.settimeout(_PATIENCE_SECONDS)  # its queue holds ten datagrams
            channel.sendto("\n".join(words).encode(), address)


def _watchdog_seconds(environ: Mapping[str, str]) -> float:
    """How often systemd wants to hear from this process (sd_watchdog_enabled(3)); 0: not at all."""
    if environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return 0.0
    text = environ.get("WATCHDOG_USEC", "")
    return int(text) / 1e6 if text.isascii() and text.isdigit() else 0.0

"""Health and metrics of a running `watch`: `/healthz`, `/readyz`, `/metrics`; and on the same port, its console."""

from __future__ import annotations

import json
import socket
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import anyio
from aiohttp import web
from prometheus_client import CollectorRegistry, Gauge, generate_latest
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from pipeline.errors import ConfigurationError
from stages.service.console import Console
from stages.service.observations import Observations
from stages.service.port import listening


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How things stand. `troubles`: reasons not to be ready, empty when all is well. `values`: gauges and counters by name, each
    with an optional label, as {(name, label value): number}.
    """

    troubles: tuple[str, ...] = ()
    values: Mapping[tuple[str, str], float] = field(default_factory=dict)


Read = Callable[[], Awaitable[Reading]]

_GAUGES = {
    "managed_members": ("managed members on the team", ""),
    "members": ("managed members by status", "status"),
    "pending_actions": ("actions that are not done, by state", "state"),
    "lag_seconds": ("age of the oldest change that was seen and is not carried out", ""),
    "last_pass_exit_code": ("exit code of the last pass", ""),
    "last_pass_timestamp_seconds": ("when the last pass ended", ""),
    "last_poll_timestamp_seconds": ("when the directory was last read with success", ""),
    "held_actions": ("actions that are held: by the brake, or as namesakes", ""),
    "held_sets": ("sets that the brake holds until approved", ""),
    "seats": ("seats of the team", ""),
    "seats_free": ("seats of the team that were free when the last pass began", ""),
    "canary_arrival_timestamp_seconds": ("when a change of the canary last arrived", ""),
    "canary_overdue": ("1 when no change of the canary has arrived in time", ""),
    "requests_per_second": ("the present pace towards Dropbox", ""),
    "mails_waiting": ("alert mails not yet delivered", ""),
}

_COUNTERS = {
    "requests_sent": "requests sent to Dropbox by this process",
    "requests_refused": "requests that Dropbox refused for their rate",
}


def parse_listen(listen: str) -> tuple[str, int]:
    """Takes HOST:PORT apart; ConfigurationError."""
    host, _, port = listen.rpartition(":")
    if not host or not port.isdigit():
        raise ConfigurationError("read service.listen", f"service.listen: {listen!r} is not HOST:PORT")
    return host.strip("[]"), int(port)


@asynccontextmanager
async def serving(
    listen: str,
    read: Read,
    observations: Observations | None = None,
    console: Console | None = None,
    *,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[str]:
    """Serves until the context ends; yields the address. ConfigurationError where the port can't be had."""
    host, port = parse_listen(listen)
    read = _Seldom(read)
    application = web.Application()
    application.router.add_get("/healthz", _alive)
    application.router.add_get("/readyz", _ready(read))
    application.router.add_get("/metrics", _metrics(read, observations))
    if console is not None:
        console.add_to(application.router)
    runner = web.AppRunner(application, access_log=None, handle_signals=False, shutdown_timeout=2.0)
    await runner.setup()
    try:
        async with AsyncExitStack() as stack:
            if runner.server is None:
                raise AssertionError("the runner was set up")
            try:
                port = await stack.enter_async_context(listening(runner.server, host, port, tls=tls))
            except OSError as error:
                raise ConfigurationError(
                    "open the health port",
                    f"service.listen: {listen}: {error.strerror}",
                    'choose a free port, or set it to ""',
                ) from error
            base = f"{'http' if tls is None else 'https'}://{_reached_by(host)}:{port}"
            if console is not None:
                console.stands_at(base)
            yield base
    finally:
        await runner.cleanup()


def _reached_by(host: str) -> str:
    """How a browser names an address that is listened on."""
    if host in ("0.0.0.0", "::"):  # noqa: S104 - asked, not listened on
        return socket.getfqdn()
    return f"[{host}]" if ":" in host else host


class _Seldom:
    """One reading at a time, and for no more than a quarter of the time: nobody has to show a key for it, and of a hundred thousand
    people it takes a tenth of a second.
    """

    def __init__(self, read: Read, now: Callable[[], float] = time.monotonic) -> None:
        self._read = read
        self._now = now
        self._lock = anyio.Lock()
        self._last: Reading | None = None
        self._good_until = 0.0

    async def __call__(self) -> Reading:
        async with self._lock:
            begin = self._now()
            if self._last is None or begin >= self._good_until:
                self._last = await self._read()
                end = self._now()
                self._good_until = end + 3 * (end - begin)
            return self._last


class _Counters(Collector):
    """What only grows while the process lives, as it stands now."""

    def __init__(self, values: Mapping[tuple[str, str], float]) -> None:
        self._values = values

    def collect(self) -> Iterator[Metric]:
        for name, text in _COUNTERS.items():
            if (name, "") in self._values:
                yield CounterMetricFamily(f"ad_connector_{name}", text, value=self._values[name, ""])


async def _alive(_request: web.Request) -> web.Response:
    return web.Response(text="alive\n")


def _ready(read: Read) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(_request: web.Request) -> web.Response:
        reading = await read()
        body = json.dumps({"ready": not reading.troubles, "reasons": list(reading.troubles)})
        return web.Response(
            text=body + "\n", status=503 if reading.troubles else 200, content_type="application/json"
        )

    return answer


def _metrics(
    read: Read, observations: Observations | None
) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(_request: web.Request) -> web.Response:
        reading = await read()
        registry = CollectorRegistry()
        known = {name for name, _ in reading.values}  # what is not known yet is left out: 0 would be a lie
        gauges = {
            name: Gauge(f"ad_connector_{name}", text, [label] if label else [], registry=registry)
            for name, (text, label) in _GAUGES.items()
            if name in known
        }
        ready = Gauge(
            "ad_connector_ready", "1 when directory, Dropbox and journal are fine", registry=registry
        )
        ready.set(0 if reading.troubles else 1)
        registry.register(_Counters(reading.values))
        for (name, label), value in reading.values.items():
            if name in _COUNTERS:
                continue
            gauge = gauges[name].labels(label) if label else gauges[name]
            gauge.set(value)
        body = generate_latest(registry) + (observations.exposition() if observations is not None else b"")
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})

    return answer

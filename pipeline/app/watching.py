"""`watch`: an engine without end, and what goes on beside it: requests, monitors, signals, a new configuration, the canary."""

from __future__ import annotations

import ssl
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from functools import partial

import anyio
import anyio.abc
import anyio.to_thread

from config.settings import Settings
from pipeline import control
from pipeline.app import compose, passes
from pipeline.app.canary import LOOK_SECONDS, Canary
from pipeline.app.clock import SystemClock
from pipeline.app.console_pages import ConsolePages
from pipeline.app.health import present_of, reading_of
from pipeline.app.pace_memory import known_pace, remember_pace
from pipeline.app.requests import Requests
from pipeline.app.signals import ENDING, RELOADING, receiving
from pipeline.core.alerting import AlertKind, fingerprint_of
from pipeline.errors import ConfigurationError, ConnectorError, ControlError, SyncError
from pipeline.log import Event, logger
from pipeline.model import Alert, Json, Severity
from pipeline.ports import Clock
from stages.dropbox.pace import KnownPace
from stages.service.health import Reading, serving
from stages.service.observations import Observations
from stages.service.supervisor import Supervisor
from state.journal import Journal

DRAIN_SECONDS = 30.0

NEEDS_RESTART = (
    ("journal", "path"),
    ("service", "listen"),
    ("service", "tls_certificate"),
    ("service", "tls_key"),
)
"""The journal is locked by this process, and the port is open, for as long as it lives."""


def require_real(settings: Settings) -> None:
    """ConfigurationError in simulation."""
    if settings.simulation:
        raise ConfigurationError(
            "start watching",
            "simulation = true: watch would repeat the same report for ever",
            "look at `ad-connector plan`; set simulation = false when it is as you want it",
        )


class Watch:
    """One process's watch over a journal that it owns. `load` reads the configuration again."""

    def __init__(
        self,
        settings: Settings,
        journal: Journal,
        *,
        load: Callable[[], Settings],
        configure_log: Callable[[Settings], None],
        supervisor: Supervisor,
        outside: passes.Outside | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._settings = settings
        self._journal = journal
        self._load = load
        self._configure_log = configure_log
        self._supervisor = supervisor
        self._clock = clock or SystemClock()
        self._observations = Observations(self._clock.now)
        self._console = ConsolePages(lambda: self._settings, self._present, self._clock).console()
        self._tls: ssl.SSLContext | None = None
        self._assembly: compose.Assembly | None = None
        self._outside = outside or passes.Outside()  # until the next configuration
        self._stop = anyio.Event()  # the end of the program
        self._halt = anyio.Event()  # the end of this engine
        self._is_first = True
        self._canary: Canary | None = None
        self._canary_alert: Alert | None = None
        self._ended_by: ConnectorError | None = None

    async def run(self, address: str) -> None:
        """Until a signal ends it; raises the ConnectorError that ended it otherwise."""
        async with AsyncExitStack() as stack:
            tasks = await stack.enter_async_context(anyio.create_task_group())
            await tasks.start(partial(control.serve, address, self._answer, owns_lock=True))
            await tasks.start(self._heed_signals, tasks.cancel_scope)
            tasks.start_soon(self._supervisor.beat)
            if self._settings.service.listen:
                self._tls = compose.service_tls_of(self._settings)
                await stack.enter_async_context(
                    serving(
                        self._settings.service.listen,
                        self._read,
                        self._observations,
                        self._console,
                        tls=self._tls,
                    )
                )
            while not self._stop.is_set():
                await self._watch_until_halted()
            tasks.cancel_scope.cancel()
        if self._ended_by is not None:
            raise self._ended_by

    async def _watch_until_halted(self) -> None:
        """One engine with one configuration."""
        settings = self._settings
        outside, self._outside = self._outside, passes.Outside()
        async with passes.assembled(
            settings,
            self._journal,
            simulated=False,
            outside=outside,
            clock=self._clock,
            observe=self._observations.note_settled,
        ) as assembly:
            self._canary = _canary_of(settings, self._journal)
            self._assembly = assembly
            try:
                # What is in force now was read without fault, by a reload or by the start.
                await _judge(assembly, None, AlertKind.RELOAD)
                async with anyio.create_task_group() as beside:
                    beside.start_soon(self._watch_canary, assembly)
                    await assembly.engine.watch(
                        poll_seconds=settings.directory.poll_seconds,
                        wait_for_change=assembly.directory.wait_for_change,
                        on_ready=self._ready,
                        stop=self._halt,
                        drain_seconds=DRAIN_SECONDS,
                    )
                    beside.cancel_scope.cancel()
            finally:
                self._assembly = None
            if not self._stop.is_set():
                self._halt = anyio.Event()

    async def _ready(self) -> None:
        if self._is_first:
            sys.stdout.write("ready\n")
            sys.stdout.flush()
            self._is_first = False
        if not self._halt.is_set():
            logger().info(Event.READY)
            self._supervisor.ready()

    # --- beside the engine

    async def _answer(self, request: Json) -> Json:
        if request.get("command") == "console":
            return self._open_console()
        assembly = self._assembly
        if assembly is None:
            raise ControlError(
                "answer a request",
                "it is starting, or reading its configuration again",
                "try again in a moment",
            )
        return await Requests(assembly, self._journal).answer(request)

    def _open_console(self) -> Json:
        """To whoever may use the control channel: the account that runs this, and root."""
        address = self._console.address()
        if not address:
            raise ControlError(
                "open the console", 'service.listen is "", so it is off', "set service.listen and restart"
            )
        return {"address": address}

    async def _read(self) -> Reading:
        present = self._present()
        assembly = self._assembly
        return present if assembly is None else await reading_of(assembly, self._journal, present)

    def _present(self) -> Reading:
        assembly = self._assembly
        if assembly is None:
            return Reading(troubles=("it is starting, or reading its configuration again",))
        return present_of(
            assembly,
            poll_seconds=self._settings.directory.poll_seconds,
            canary=self._canary,
            is_canary_overdue=self._canary_alert is not None,
        )

    async def _heed_signals(
        self, scope: anyio.CancelScope, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED
    ) -> None:
        """The first SIGTERM or SIGINT drains; a second one gives up at once: the journal resumes from anywhere."""
        with receiving(*ENDING, *RELOADING) as signals:
            task_status.started()
            async for one in signals:
                if one in RELOADING:
                    if not self._stop.is_set():
                        await self._reload()
                elif self._stop.is_set():
                    self._ended_by = self._ended_by or SyncError(
                        "drain",
                        "a second signal gave up what was under way",
                        "nothing is lost: the next pass reads back what was being sent, and goes on from the journal",
                    )
                    scope.cancel()
                    return
                else:
                    self._end()

    def _end(self) -> None:
        self._supervisor.stopping()
        self._stop.set()
        self._halt.set()

    # --- a new configuration

    async def _reload(self) -> None:
        """Takes over a configuration that is good as a whole; of a bad one nothing, and the old one stays."""
        self._supervisor.reloading()
        try:
            settings = await anyio.to_thread.run_sync(self._load)
            if settings.simulation:
                # Whoever sets this wants nothing more to be written: going on with the old one would be worse than ending.
                self._ended_by = _simulation_wanted()
                self._end()
                return
            settings = self._keep_what_needs_restart(settings)
            pace = await self._pace_so_far()
            compose.mailer_of(settings.mail)  # its secrets can be had
            outside = passes.Outside(
                directory=compose.directory_of(settings, self._clock),
                team=compose.team_of(settings, self._clock, known_pace=pace),
            )
            if self._tls is not None:
                compose.renew_service_tls(self._tls, settings)
            self._configure_log(settings)
        except ConnectorError as error:
            await self._refuse(error)
            return
        self._settings, self._outside = settings, outside
        logger().info(Event.CONFIGURATION_RELOADED, file=str(settings.source or "the environment"))
        self._halt.set()

    async def _pace_so_far(self) -> KnownPace:
        """By way of the journal, as a new process has it: what this one came to counts before its pass has ended."""
        if self._assembly is not None:
            async with self._journal.transaction():
                await remember_pace(self._journal, self._assembly.parts.team.pace(), self._clock.now())
        return await known_pace(self._journal, self._clock.now())

    async def _refuse(self, error: ConnectorError) -> None:
        for cause in error.causes:
            logger().error(
                Event.CONFIGURATION_REFUSED, operation=error.operation, cause=cause, hint=error.hint
            )
        alert = Alert(
            key=AlertKind.RELOAD.value,
            severity=Severity.WARNING,
            title="the changed configuration was refused; the old one goes on",
            lines=tuple(f"{error.operation}: {cause}" for cause in error.causes),
            remedy=f"{error.hint}; then reload again",
            fingerprint=fingerprint_of(error.operation, error.cause),
        )
        self._supervisor.ready("watching with the old configuration: the changed one was refused")
        if self._assembly is not None:
            await _judge(self._assembly, alert, AlertKind.RELOAD)

    def _keep_what_needs_restart(self, settings: Settings) -> Settings:
        for section, name in NEEDS_RESTART:
            old = getattr(getattr(self._settings, section), name)
            if getattr(getattr(settings, section), name) == old:
                continue
            logger().warning(Event.RESTART_NEEDED, key=f"{section}.{name}", kept=str(old))
            kept = getattr(settings, section).model_copy(update={name: old})
            settings = settings.model_copy(update={section: kept})
        return settings

    # --- the canary

    async def _watch_canary(self, assembly: compose.Assembly) -> None:
        while True:
            if await self._knows_people():
                await self._look_at_canary(assembly)
            await self._clock.sleep(LOOK_SECONDS)

    async def _knows_people(self) -> bool:
        """False before the directory was first read through."""
        async with self._journal.reading():
            return await self._journal.mirror.checkpoint() is not None

    async def _look_at_canary(self, assembly: compose.Assembly) -> None:
        """Tells what is news; without a canary, that an old alert is over."""
        alert = None
        if self._canary is not None:
            alert = await self._canary.look(assembly.parts.clock.now())
        before, self._canary_alert = self._canary_alert, alert
        if alert is not None and (before is None or before.title != alert.title):
            logger().warning(Event.CANARY_OVERDUE, title=alert.title, detail="; ".join(alert.lines))
        await _judge(assembly, alert, AlertKind.CANARY)


def _canary_of(settings: Settings, journal: Journal) -> Canary | None:
    section = settings.canary
    if not section.person:
        return None
    return Canary(journal, person=section.person, every=timedelta(hours=section.every_hours))


async def _judge(assembly: compose.Assembly, alert: Alert | None, kind: AlertKind) -> None:
    await assembly.parts.notifier.judge(
        [] if alert is None else [alert], judged=frozenset({kind}), simulated=False
    )


def _simulation_wanted() -> ConfigurationError:
    return ConfigurationError(
        "read the configuration again",
        "simulation = true: nothing more is to be written, so watch ends",
        "start it again with simulation = false; until then `ad-connector plan` shows what it would do",
    )

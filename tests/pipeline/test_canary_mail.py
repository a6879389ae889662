"""`watch` with a canary, from the directory to the mailbox: silence while changes arrive, one mail when none does, one when it is over.

The whole `watch`, the real client on the simulated team, a real mail server; only the directory is a double, and time is turned.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest

from pipeline import control
from pipeline.app.canary import LOOK_SECONDS
from pipeline.app.passes import Outside
from pipeline.app.watching import Watch
from sandbox.certificates import Authority
from sandbox.mailbox import Mailbox, ReceivedMail
from sandbox.team.faults import Fault
from stages.service.supervisor import Supervisor
from state import lock
from state.journal import Journal
from tests.applier.world import World

pytestmark = pytest.mark.anyio

ANN = "ann@example.test"


class LivingClock:
    """The real time, which a test may turn ahead; nobody sleeps long, and a pause of the pace is over at once."""

    def __init__(self) -> None:
        self._ahead = timedelta()
        self.looks = 0

    def now(self) -> datetime:
        return datetime.now(UTC) + self._ahead

    def monotonic(self) -> float:
        return self.now().timestamp()

    def turn(self, **span: float) -> None:
        self._ahead += timedelta(**span)

    async def sleep(self, seconds: float) -> None:
        self.looks += seconds == LOOK_SECONDS
        if seconds < 1:
            self.turn(seconds=seconds)
        await anyio.sleep(0.05 if seconds >= 1 else 0)


async def until(condition: Callable[[], object], what: str) -> None:
    try:
        with anyio.fail_after(60):
            while not condition():
                await anyio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"never came: {what}") from None


@dataclass
class Place:
    world: World
    mailbox: Mailbox
    clock: LivingClock = field(default_factory=LivingClock)
    surnames: int = 0

    async def change(self) -> None:
        """As the admin's script does."""
        self.surnames += 1
        self.world.directory.modify(self.world.guids["ann"], surname=self.surname)

    @property
    def surname(self) -> str:
        return f"Canary {self.surnames}"

    def arrived(self) -> bool:
        return any(one.surname == self.surname for one in self.world.simulator.team.members)

    async def some_looks(self) -> None:
        """The canary was looked at twice from now on, and what was to be mailed about it had its time."""
        begin = self.clock.looks
        await until(lambda: self.clock.looks >= begin + 3, "looks at the canary")

    def mails(self) -> list[ReceivedMail]:
        return [mail for mail in self.mailbox.received if f"canary {ANN}" in mail.text]

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[anyio.Event]:
        """Yields what is set once it is ready."""
        settings = self.world.settings()
        ready = anyio.Event()

        class Listener(Supervisor):
            def ready(self, status: str = "") -> None:
                ready.set()

        address = control.address_for(settings.journal.path)
        with lock.acquire(settings.journal.path, "watch", address):
            journal = await Journal.open(settings.journal.path)
            watch = Watch(
                settings,
                journal,
                load=lambda: settings,
                configure_log=lambda _settings: None,
                supervisor=Listener({}),
                outside=Outside(directory=self.world.directory),
                clock=self.clock,
            )
            try:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(watch.run, address)
                    yield ready
                    tasks.cancel_scope.cancel()
            finally:
                with anyio.CancelScope(shield=True):
                    await journal.close()


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    authority = Authority(tmp_path / "ca")
    mailbox = Mailbox(authority)
    await mailbox.start()
    mail: dict[str, Any] = {
        "enabled": True,
        "host": mailbox.host,
        "port": mailbox.port,
        "security": "starttls",
        "ca_file": str(authority.ca_file),
        "sender": "connector@example.test",
        "recipients": ["it@example.test"],
    }
    config: dict[str, Any] = {
        "mail": mail,
        "canary": {"person": ANN, "every_hours": 1},
        "directory": {"poll_seconds": 1},
        "dropbox": {"timeout_seconds": 300},  # so a pass can be stuck for as long as the test wants
        "service": {"listen": ""},
    }
    clock = LivingClock()
    world = World(tmp_path, config, clock=clock)  # type: ignore[arg-type]
    await world.simulator.start()
    world.person("ann")
    world.person("bob")
    async with world.process() as assembly:
        await assembly.engine.run()
        world.simulator.console.accept_all()
        await assembly.engine.run()
    mailbox.clear()
    yield Place(world, mailbox, clock)
    await world.simulator.stop()
    await mailbox.stop()


async def test_changes_that_arrive_keep_it_silent(place: Place) -> None:
    async with place.watching() as ready:
        await ready.wait()
        for _ in range(2):
            await place.change()
            await until(place.arrived, "the change")
            place.clock.turn(minutes=40)
            await place.some_looks()
        assert place.mailbox.received == ()


@pytest.mark.parametrize(
    ("trouble", "is_new"),
    [("503", False), ("timeout", False), ("timeout", True)],
    ids=["Dropbox is down", "a pass is stuck", "the first pass is stuck"],
)
async def test_a_change_that_does_not_arrive_is_told_once_and_its_arrival_too(
    place: Place, trouble: str, is_new: bool
) -> None:
    fault = Fault(trouble, route="team/*", count=None)
    async with place.watching() as ready:
        await ready.wait()
        await place.change()
        await until(place.arrived, "the change")
        await place.some_looks()
        if not is_new:
            await tell_and_clear(place, fault)
            return
    place.world.simulator.faults.add(fault)
    async with place.watching():
        await tell_and_clear(place, fault)


async def tell_and_clear(place: Place, fault: Fault) -> None:
    faults = place.world.simulator.faults
    if fault not in faults.queue:
        faults.add(fault)
    await place.change()
    await until(lambda: fault.hits, "the trouble is met")
    assert place.mails() == []
    place.clock.turn(minutes=61)
    await until(place.mails, "the mail")
    if fault.kind == "timeout":
        assert fault.hits == 1, "it came while the request still hung"
    place.clock.turn(minutes=61)
    await place.some_looks()
    (told,) = place.mails()
    assert "CRITICAL" in told.subject
    assert f"canary {ANN}: no change has arrived for more than 1 h" in told.text
    assert f"ad-connector explain {ANN}" in told.text
    assert told.was_encrypted
    assert not place.arrived()

    faults.clear()
    place.clock.turn(minutes=20)  # whoever rests after trouble tries again
    await until(place.arrived, "the change, at last")
    await until(lambda: len(place.mails()) == 2, "that it is over")
    assert "OVER" in place.mails()[1].subject
    await place.some_looks()
    assert len(place.mails()) == 2

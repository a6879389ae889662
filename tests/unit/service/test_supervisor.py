"""sd_notify: what goes to $NOTIFY_SOCKET, and when nothing does."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from stages.service.supervisor import Supervisor

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["file", "abstract"])
def listener(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, socket.socket]]:
    """An address as systemd gives it, and its end."""
    name = str(tmp_path / "n") if request.param == "file" else f"@ad-connector-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind("\0" + name[1:] if name.startswith("@") else name)
        channel.settimeout(10)
        yield name, channel


def heard(listener: tuple[str, socket.socket]) -> list[str]:
    return listener[1].recv(4096).decode().splitlines()


async def test_the_words_of_a_life(listener: tuple[str, socket.socket]) -> None:
    supervisor = Supervisor({"NOTIFY_SOCKET": listener[0]})
    supervisor.ready()
    assert heard(listener) == ["READY=1", "STATUS=watching"]
    supervisor.reloading()
    words = heard(listener)
    assert words[0] == "RELOADING=1"
    assert int(words[1].removeprefix("MONOTONIC_USEC=")) > 0
    supervisor.stopping()
    assert heard(listener)[0] == "STOPPING=1"


async def test_signs_of_life_ask_for_time_before_it_is_ready_and_feed_the_watchdog_after(
    listener: tuple[str, socket.socket],
) -> None:
    supervisor = Supervisor(
        {"NOTIFY_SOCKET": listener[0], "WATCHDOG_USEC": "20000", "WATCHDOG_PID": str(os.getpid())}
    )
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(supervisor.beat)
        assert (await anyio.to_thread.run_sync(heard, listener))[0].startswith("EXTEND_TIMEOUT_USEC=")
        supervisor.ready()
        words: list[str] = []
        while "WATCHDOG=1" not in words:
            words += await anyio.to_thread.run_sync(heard, listener)
        assert "READY=1" in words
        tasks.cancel_scope.cancel()


async def test_another_process_watchdog_is_not_ours(listener: tuple[str, socket.socket]) -> None:
    supervisor = Supervisor({"NOTIFY_SOCKET": listener[0], "WATCHDOG_USEC": "20000", "WATCHDOG_PID": "1"})
    supervisor.ready()
    heard(listener)
    with anyio.move_on_after(0.2):
        await supervisor.beat()
    listener[1].setblocking(False)
    with pytest.raises(BlockingIOError):
        heard(listener)


async def test_nobody_who_listens_stops_nothing(tmp_path: Path) -> None:
    for environ in ({}, {"NOTIFY_SOCKET": str(tmp_path / "nobody")}, {"NOTIFY_SOCKET": "x" * 300}):
        supervisor = Supervisor(environ)
        supervisor.ready()
        supervisor.reloading()
        supervisor.stopping()

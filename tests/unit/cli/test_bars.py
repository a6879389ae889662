"""What is told of long work is shown to a person at a terminal, and to nobody else."""

import io
from collections.abc import Callable

import anyio
import pytest

from pipeline import log
from pipeline.cli.bars import bars
from pipeline.log import Event, logger
from pipeline.progress import Phase, is_watched, tell


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)


def shown(work: Callable[[], None], screen: io.StringIO, *, prints: bool = False) -> str:
    with bars(Phase.DIRECTORY, prints=prints, screen=screen):
        work()
    assert not is_watched()
    return screen.getvalue()


def test_a_terminal_sees_the_phase_and_how_far_it_is() -> None:
    def work() -> None:
        tell(Phase.TEAM, 1000)
        tell(Phase.SENDING, 3, 1200)

    text = shown(work, Screen())
    assert "reading the directory" in text
    assert "sending" in text.rpartition("reading")[2]
    assert "3 of 1,200" in text
    assert text.endswith("\x1b[2K"), "and the line is gone at the end"


def test_what_a_task_tells_is_seen_too() -> None:
    async def work() -> None:
        async def task() -> None:
            tell(Phase.DECIDING, 7, 9)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(task)

    assert "7 of 9" in shown(lambda: anyio.run(work), Screen())


def test_lines_of_the_log_stand_whole_above_it() -> None:
    screen = Screen()
    log.configure(log.LogOptions(), stderr=screen)
    detail = "a [bold]long[/] line :smile: " + "x" * 200

    def work() -> None:
        logger().info(Event.FAULT, detail=detail)
        log.exit_line(0)

    try:
        text = shown(work, screen)
    finally:
        log.close()
    assert detail in text
    assert "\x1b[2Kexit code: 0\n" in text


@pytest.mark.parametrize("where", ["pipe", "dumb", "both"])
def test_nobody_else_sees_anything(monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")

    def work() -> None:
        assert not is_watched()
        tell(Phase.TEAM, 5)

    if where == "dumb":
        monkeypatch.setenv("TERM", "dumb")
    if where == "both":
        monkeypatch.setattr("sys.stdout", Screen())  # what the work prints would go through the bar
    screen = io.StringIO() if where == "pipe" else Screen()
    assert shown(work, screen, prints=where == "both") == ""

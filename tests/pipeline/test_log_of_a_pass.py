"""The log of a pass, read as a whole: every line carries the pass's id, and the last one is its exit code."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline import log
from pipeline.errors import TeamReadError
from tests.pipeline.world import World

pytestmark = pytest.mark.anyio

Make = Callable[..., World]


@pytest.fixture(params=["text", "json"])
def file(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "pass.log"
    log.configure(log.LogOptions(path=path, format=request.param, level="debug", to_stderr=False))
    yield path
    log.close()


def passes_in(file: Path) -> list[list[str]]:
    """The lines, cut after each exit code."""
    passes: list[list[str]] = [[]]
    for line in file.read_text(encoding="utf-8").splitlines():
        passes[-1].append(line)
        if "exit code: " in line or '"pass_ended"' in line:
            passes.append([])
    assert passes.pop() == [], "the exit code is the last line"
    return passes


def check(lines: list[str], number: int) -> None:
    *body, end = lines
    if end.startswith("{"):
        assert json.loads(end).keys() == {"event", "exit_code"}
        assert [json.loads(line)["pass_id"] for line in body] == [number] * len(body)
    else:
        assert re.fullmatch(r"exit code: -?\d+", end)
        assert [
            line for line in body if not line.endswith(f" pass_id={number}") and not line.startswith("    |")
        ] == []


async def test_every_line_of_a_pass_carries_its_id(new_world: Make, file: Path) -> None:
    world = new_world()
    guids = world.people("ann", "bob", "cat")
    world.person("doubled", mail="ann@example.test")
    world.person("nobody", mail="")
    await world.run()
    world.accept_all()
    world.directory.modify(guids[0], surname="Lee")
    world.directory.disable(guids[1])
    world.directory.remove_member(world.group, guids[2])
    await world.run(full=True)
    world.gate.fail("team.read", TeamReadError("read the members", "no answer", "try again"))
    world.directory.modify(guids[0], surname="Ray")
    await world.run()
    passes = passes_in(file)
    assert len(passes) == 3
    for number, lines in enumerate(passes, 1):
        assert "pass_started" in lines[0]
        check(lines, number)
    actions = [line for lines in passes for line in lines if "action" in line and "outcome" in line]
    assert len(actions) >= 4
    assert "0" not in re.findall(r"-?\d+", passes[-1][-1]), "the last one failed"

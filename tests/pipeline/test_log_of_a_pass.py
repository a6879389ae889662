"""The log of a pass, read as a whole: every line carries the pass's id, and the last one is its exit code."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline import log
from pipeline.errors import TeamReadError
from state.journal import Journal
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


async def test_who_swaps_addresses_has_a_line_each_in_the_log(new_world: Make, file: Path) -> None:
    world = new_world()
    ann, bob, _ = world.people("ann", "bob", "cid")
    await world.run()
    world.accept_all()
    world.directory.modify(ann, mail="bob@example.test")
    world.directory.modify(bob, mail="ann@example.test")
    await world.run()
    await world.run()
    failed = [[line for line in lines if "e-mail swap" in line and ann in line] for lines in passes_in(file)]
    assert [len(lines) for lines in failed] == [0, 1, 0]


async def test_log_and_journal_say_alike_whether_a_pass_is_full_and_why(
    new_world: Make, tmp_path: Path
) -> None:
    file = tmp_path / "pass.log"
    log.configure(log.LogOptions(path=file, format="json", to_stderr=False))
    world = new_world()
    world.people("ann", "bob")
    full = []

    async def run(*, asked: bool = False) -> None:
        full.append((await world.run(full=asked)).full)

    try:
        await run()
        await run()
        await run(asked=True)
        world.clock.turn(hours=25)
        await run()
        world.config["users"] = {"on_delete": "suspend"}
        await run()
    finally:
        log.close()
    lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    told = [(one["full"], one.get("because")) for one in lines if one["event"] == "pass_started"]
    assert told == [
        (True, "never compared"),
        (False, None),
        (True, "asked for"),
        (True, "compared long ago"),
        (True, "other settings"),
    ]
    assert full == [one for one, _ in told]
    journal = await Journal.open(world.journal_path, read_only=True)
    try:
        async with journal.reading():
            rows = await journal.database.fetch("SELECT is_full FROM pass ORDER BY id")
        assert [bool(row["is_full"]) for row in rows] == full
    finally:
        await journal.close()

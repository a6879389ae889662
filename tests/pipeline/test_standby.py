"""A second host takes over from what was shipped: nothing is lost, nothing is done twice, and two never go on."""

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from pipeline.errors import InstanceRunning, JournalError, RightsError
from pipeline.model import ActionKind
from state.journal import Journal
from state.standby import SILENT_AFTER, Shipment, refuse_if_alive, restore, ship
from state.upkeep import verify
from tests.pipeline.test_crash import assert_done_once, busy_world
from tests.pipeline.world import World

pytestmark = pytest.mark.anyio

Make = Callable[..., World]


async def _ship(world: World, folder: Path) -> Shipment:
    folder.mkdir(mode=0o700, exist_ok=True)
    journal = await Journal.open(world.journal_path, read_only=True)
    try:
        return await ship(journal, folder, world.clock.now(), "primary")
    finally:
        await journal.close()


async def _take_over(world: World, folder: Path) -> None:
    """The world goes on with the journal of the second host; the first one's is gone with it."""
    world.lose_journal()
    await restore(folder, world.journal_path, world.clock.now(), "standby")


@pytest.mark.parametrize("after_effect", [False, True])
@pytest.mark.parametrize("shipped", ["before the pass", "in the pass"])
async def test_a_primary_that_dies_anywhere_is_followed_by_the_standby_and_nothing_happens_twice(
    new_world: Make, tmp_path: Path, after_effect: bool, shipped: str
) -> None:
    """The last shipment is from before the pass, or from the moment of death: the truth lies between."""
    at, died, number = 3 + 5 * after_effect, True, 0
    while died:
        number += 1
        folder = tmp_path / f"standby{number}"
        world = await busy_world(new_world)
        await _ship(world, folder)
        died = await world.run_and_die(at, after_effect=after_effect)
        at += 13
        if shipped == "in the pass":
            assert not (await _ship(world, folder)).is_base
        await _take_over(world, folder)
        for _ in range(3):
            world.clock.turn(minutes=2)
            await world.run()
        assert_done_once(world)
        journal = await Journal.open(world.journal_path)
        assert await verify(journal) == []
        await journal.close()
    assert number > 4


async def test_what_was_held_waits_still_and_what_was_sent_counts_for_the_brake(
    new_world: Make, tmp_path: Path
) -> None:
    world = new_world(users={"leave_settle_seconds": 0}, safety={"max_leavers": 2})
    people = world.people(*(f"p{number:02}" for number in range(12)))
    await world.run()
    world.accept_all()
    await world.run()
    folder = tmp_path / "standby"
    assert (await _ship(world, folder)).is_base
    world.directory.disable(people[0])
    world.directory.disable(people[1])
    await world.run()  # two of two
    assert (await _ship(world, folder)).lines > 0
    world.directory.disable(people[2])
    await world.run()
    assert len(await world.held()) == 1
    await _take_over(world, folder)
    await world.run()
    assert len(world.effects(ActionKind.SUSPEND)) == 2
    [digest] = await world.held()
    assert await world.approve(digest) == 1
    await world.run()
    assert sorted(email for _, email in world.effects(ActionKind.SUSPEND)) == [
        f"p0{number}@example.test" for number in range(3)
    ]
    world.directory.enable(people[0])
    await world.run()
    assert world.status("p00") == "active"


async def test_shipping_costs_what_is_new_and_begins_anew_after_a_day_or_an_approval(
    world: World, tmp_path: Path
) -> None:
    folder = tmp_path / "standby"
    world.people("ann", "bob")
    await world.run()
    assert (await _ship(world, folder)).is_base
    assert await _ship(world, folder) == Shipment(is_base=False, lines=0, seq=(await _last(world)))
    world.person("cid")
    await world.run()
    done = await _ship(world, folder)
    assert (done.is_base, done.seq) == (False, await _last(world))
    [lines] = folder.glob("lines-*.jsonl")
    assert [json.loads(line)["seq"] for line in lines.read_bytes().splitlines()][-1] == done.seq
    with lines.open("ab") as opened:
        opened.write(b'{"seq": 9')  # the power went while it was written
    world.person("dan")
    await world.run()
    assert not (await _ship(world, folder)).is_base
    journal = await Journal.open(world.journal_path)
    async with journal.transaction():
        await journal.append(
            [{"kind": "action", "state": "approved", "cause": "approve 123456"}], world.clock.now()
        )
    await journal.close()
    assert (await _ship(world, folder)).is_base
    world.clock.turn(hours=25)
    assert (await _ship(world, folder)).is_base
    assert len(list(folder.glob("base-*"))) == 1
    await _take_over(world, folder)
    await world.run()
    assert len(world.effects(ActionKind.INVITE)) == 4
    assert {file.stat().st_mode & 0o777 for file in folder.iterdir()} == {0o600}


async def _last(world: World) -> int:
    async with world.reading() as journal:
        return await journal.last_seq()


async def test_the_standby_waits_while_the_primary_ships_and_the_primary_learns_that_its_turn_is_over(
    world: World, tmp_path: Path
) -> None:
    folder = tmp_path / "standby"
    world.person("ann")
    await world.run()
    journal = await Journal.open(world.journal_path, read_only=True)
    with pytest.raises(RightsError, match="does not exist"):
        await ship(journal, tmp_path / "nowhere", world.clock.now(), "primary")
    await journal.close()
    await _ship(world, folder)
    now = world.clock.now()
    with pytest.raises(InstanceRunning, match="the primary primary shipped"):
        refuse_if_alive(folder, now + SILENT_AFTER - timedelta(seconds=1))
    refuse_if_alive(folder, now + SILENT_AFTER)
    await restore(folder, tmp_path / "second.db", now, "standby")
    with pytest.raises(InstanceRunning, match="standby took over") as caught:
        await _ship(world, folder)
    assert caught.value.exit_code == -19
    assert "stop this connector" in caught.value.hint
    with pytest.raises(InstanceRunning):
        refuse_if_alive(folder, now + timedelta(days=1))
    with pytest.raises(JournalError, match="exists"):
        await restore(folder, tmp_path / "second.db", now, "standby")


@pytest.mark.parametrize("damage", ["a line is missing", "a line was altered", "base"])
async def test_a_damaged_shipment_is_refused_and_leaves_no_journal(
    world: World, tmp_path: Path, damage: str
) -> None:
    folder = tmp_path / "standby"
    world.people(*(f"p{number}" for number in range(5)))
    await world.run()
    await _ship(world, folder)
    world.people("ann", "bob")
    await world.run()
    await _ship(world, folder)
    [lines], [base] = folder.glob("lines-*"), folder.glob("base-*")
    content = lines.read_text().splitlines(keepends=True)
    if damage == "base":
        whole = bytearray(base.read_bytes())
        whole[4096:20480] = bytes(16384)
        base.write_bytes(whole)
    else:
        content[1] = "" if "missing" in damage else content[1].replace('"kind": "', '"kind": "x')
        lines.write_text("".join(content))
    with pytest.raises(JournalError) as caught:
        await restore(folder, tmp_path / "second.db", world.clock.now(), "standby")
    assert caught.value.exit_code == -20
    assert not list(tmp_path.glob("second*"))
    assert not (folder / "taken-over.json").exists()

"""`explain` before the first real pass: from what the last simulated one saw, else with the command that helps."""

from collections.abc import Callable
from functools import partial

import pytest

from pipeline.app import passes
from pipeline.app.explanation import answer_about
from pipeline.app.group_explanation import explain_group, text_of_group
from pipeline.app.passes import Outside
from pipeline.app.policies import group_options_of, planner_options_of
from pipeline.app.rehearsal import before_it, place_of, source_of
from pipeline.cli.explain import text_of
from pipeline.core.obstacles import only_simulated
from pipeline.errors import ControlError, DirectoryError, TeamInfoError
from pipeline.model import Json
from stages.dropbox.memory import MemoryTeam
from stages.groups.planner import GroupPlanner
from stages.people.planner import Planner
from tests.pipeline.group_world import nest
from tests.pipeline.world import World

pytestmark = pytest.mark.anyio

Make = Callable[..., World]
ONLY_SIMULATED = only_simulated("2026-03-02T09:00Z", is_setting=True)


async def simulated(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """As `run --simulate` does it."""
    result = await world.simulate(monkeypatch, is_kept=True)
    await passes.record_simulation(world.settings(), result)


async def explained(world: World, name: str) -> Json:
    async with source_of(world.journal_path) as source:
        assert source.simulated is not None
        answer = await answer_about(
            source.journal,
            planner_options_of(world.settings()),
            name,
            world.clock,
            simulation=ONLY_SIMULATED,
            rehearsed=partial(before_it, since=source.simulated.started),
        )
    [one] = answer.persons
    return one


async def test_it_is_told_as_it_is_now_and_what_a_real_pass_would_send(
    new_world: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = new_world(users={"manage_existing": True})
    world.people("ann", "bob", "cid")
    world.team.add("bob@example.test", given_name="Robert", surname="Example")
    cid = world.team.add("cid@example.test", given_name="Cid", surname="Example")
    await world.team.suspend(cid.member_id, wipe_data=False)
    world.team.effects.clear()
    await simulated(world, monkeypatch)
    assert world.team.effects == []
    assert place_of(world.journal_path).stat().st_mode & 0o777 == 0o600
    ann, bob, cid_now = [await explained(world, name) for name in ("ann", "bob", "cid")]
    assert ann["member"] is ann["link"] is None
    assert [one["action"] for one in ann["next"]] == ["invite"]
    assert (bob["member"]["status"], bob["member"]["external_id"], bob["link"]) == ("active", "", None)
    assert [one["action"] for one in bob["next"]] == ["update"]
    assert cid_now["member"]["status"] == "suspended"
    assert [one["action"] for one in cid_now["next"]] == ["unsuspend", "update"]
    for one in (ann, bob, cid_now):
        assert one["actions"] == one["log"] == []
        assert {step["obstacle"]["by"] for step in one["next"]} == {"simulation"}
    text = text_of(ann)
    assert (
        "nothing is sent for now: only simulated passes have run; this is what the one of 2026-03-02" in text
    )
    assert "after that  invite: in sync group Dropbox" in text
    assert "link        none: not managed" in text


async def test_groups_too(new_world: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    world = new_world(groups={"mode": "same"})
    nest(world, "Sales", "ann", "bob")
    await simulated(world, monkeypatch)
    async with source_of(world.journal_path) as source:
        assert source.simulated is not None
        settings, team = world.settings(), MemoryTeam()
        persons = Planner(team, source.journal, world.clock, planner_options_of(settings))
        planner = GroupPlanner(
            team, source.journal, world.clock, group_options_of(settings), preview=persons.preview
        )
        [one] = await explain_group(
            source.journal,
            planner,
            "Sales",
            simulation=ONLY_SIMULATED,
            rehearsed_since=source.simulated.started,
        )
    assert one["link"] is one["dropbox"] is None
    assert [(row["action"], sorted(row.get("emails", ()))) for row in one["next"]] == [
        ("group_create", []),
        ("group_add", ["ann@example.test", "bob@example.test"]),
    ]
    assert "only simulated passes have run" in text_of_group(one)


async def test_the_first_real_pass_ends_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.person("ann")
    await simulated(world, monkeypatch)
    place = place_of(world.journal_path)
    assert place.exists()
    journal = await world.open_journal()
    outside = Outside(directory=world.directory, team=world.team)
    async with passes.assembled(
        world.settings(), journal, simulated=False, outside=outside, clock=world.clock
    ) as assembly:
        await assembly.engine.run()
    await journal.close()
    assert not place.exists()
    async with source_of(world.journal_path) as source:
        assert source.simulated is None
    await simulated(world, monkeypatch)
    assert not place.exists(), "the journal itself knows more"


async def test_what_saw_nothing_is_not_kept_and_the_reason_is_told(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.person("ann")
    world.gate.fail("directory.identify", DirectoryError("bind to the directory", "no answer"))
    await simulated(world, monkeypatch)
    assert not place_of(world.journal_path).exists()
    with pytest.raises(ControlError, match="the directory was never read: pass 1 ended with -12") as told:
        async with source_of(world.journal_path) as source:
            await answer_about(source.journal, planner_options_of(world.settings()), "ann", world.clock)
    assert "check directory" in told.value.hint


async def test_where_only_dropbox_failed_the_directory_is_told_of(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.person("ann")
    world.gate.fail("team.read", TeamInfoError("fetch the team", "500"))
    await simulated(world, monkeypatch)
    ann = await explained(world, "ann")
    assert ann["path"] == ["Dropbox"]
    assert "ended with -14" in ann["unsure"]["why"]


async def test_without_any_pass_the_command_is_named(world: World) -> None:
    await (await world.open_journal()).close()
    with pytest.raises(ControlError, match="no pass over this journal has come so far") as told:
        async with source_of(world.journal_path) as source:
            await answer_about(source.journal, planner_options_of(world.settings()), "ann", world.clock)
    assert "ad-connector run --simulate" in told.value.hint

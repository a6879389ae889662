"""A journal that leaves its machine: nothing of its owner is in it, and the rules say there what they say here."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.app.explanation import explain
from pipeline.app.passes import simulate
from pipeline.app.policies import group_options_of, planner_options_of
from pipeline.app.reversal import replay
from pipeline.app.vocabulary import own_words
from pipeline.core.pseudonyms import Pseudonyms, words_of
from pipeline.errors import JournalError
from pipeline.model import Json, Status
from stages.dropbox.memory import MemoryTeam
from stages.groups.planner import GroupPlanner
from stages.people.planner import Planner
from state.journal import Journal
from state.portable import export_whole, import_whole
from state.upkeep import verify
from tests.pipeline.world import World

pytestmark = pytest.mark.anyio

Make = Callable[..., World]

PLANTED = (
    *("Zacharias", "Quibble", "Ottoline", "Wagstaff", "Übelacker", "Cattermole", "Ignatius", "Pemberley"),
    *(
        "Hufflestone",
        "Krankenkassenvertrieb",
        "Bluebottle",
        "Osteuropa",
        "Gamekeeper",
        "zq-quibble",
        "owagstaff",
    ),
    *("example.test", "corp-okta-4711", "Fennimore", "Wolpertinger"),
)
KEY = b"a key that no other export has.."


async def _history(make: Make) -> World:
    """Passes that leave every kind of row: names to clean, doubles, leavers, deleted, held, failed, renamed, groups."""
    world = make(
        groups={"mode": "same"},
        users={"leave_settle_seconds": 0, "exclude_group": "Gamekeeper House"},
        safety={"max_leavers": 1},
    )
    sales = world.directory.create_group("Krankenkassenvertrieb Osteuropa")
    inner = world.directory.create_group("Bluebottle")
    world.directory.add_member(world.group, sales)
    world.directory.add_member(sales, inner)
    renamed = world.directory.create_group("Wolpertinger")
    world.directory.add_member(world.group, renamed)
    world.people(*(f"fennimore{number}" for number in range(24)))
    first = world.person("zq-quibble", given_name="Zacharias/Fritz", surname="Quibble", groups=[inner])
    world.person("owagstaff", given_name="Ottoline", surname="Wagstaff")
    world.person("nobody", mail="", given_name="Ignatius", surname="Übelacker")
    world.person("spoilt", mail="Cattermole..@x", given_name="Cattermole", surname="Hufflestone")
    house = world.directory.create_group("Gamekeeper House")
    world.person("gamekeeper", given_name="Gamekeeper", surname="Gamekeeper", groups=[world.group, house])
    world.person("double1", mail="pemberley@example.test", surname="Pemberley")
    world.person("double2", mail="pemberley@example.test", surname="Pemberley")
    world.team.add("old@example.test", external_id="corp-okta-4711", given_name="Ignatius", surname="Old")
    world.person("old")
    await world.run()
    world.accept_all()
    world.directory.modify(first, surname="Quibble-Pemberley", mail="zq-quibble.new@example.test")
    gone = world.person("hufflestone", groups=[inner])
    await world.run()
    world.directory.delete(gone)
    member = world.member("owagstaff")
    world.team.members[member.member_id] = replace(member, status=Status.SUSPENDED)
    left = [node.entry.guid for name in ("fennimore0", "fennimore1") for node in await _find(world, name)]
    for guid in left:
        world.directory.remove_member(world.group, guid)
    world.directory.rename(inner, "Bluebottle Gamekeeper")
    world.directory.rename(renamed, "Sales")
    await world.run(full=True)
    return world


async def _find(world: World, text: str) -> list[object]:
    async with world.reading() as journal:
        return await journal.mirror.find_people(text)


async def _exported(path: Path, pseudonyms: Pseudonyms | None) -> list[str]:
    journal = await Journal.open(path, read_only=True)
    try:
        return [json.dumps(line, ensure_ascii=False) async for line in export_whole(journal, pseudonyms)]
    finally:
        await journal.close()


async def _decisions(world: World, path: Path) -> list[Json]:
    """What `replay` says of every line of this journal."""
    journal = await Journal.open(path, read_only=True)
    try:
        team, settings = MemoryTeam(), world.settings()
        planner = Planner(team, journal, world.clock, planner_options_of(settings))
        groups = GroupPlanner(team, journal, world.clock, group_options_of(settings), preview=planner.preview)
        return await replay(journal, planner, groups, first=1, last=None, guid="", now=world.clock.now())
    finally:
        await journal.close()


def _pseudonyms() -> Pseudonyms:
    return Pseudonyms(KEY, own_words() | words_of(["ad-guid:{objectGUID}"]))


async def test_no_planted_name_address_or_id_is_in_a_pseudonymised_export(new_world: Make) -> None:
    world = await _history(new_world)
    text = "\n".join(await _exported(world.journal_path, _pseudonyms())).casefold()
    assert [value for value in PLANTED if value.casefold() in text] == []
    plain = "\n".join(await _exported(world.journal_path, None)).casefold()
    assert [value for value in PLANTED if value.casefold() not in plain] == []
    async with world.reading() as journal:
        guids = {row[0] for row in await journal.database.fetch("SELECT guid FROM node")}
        sids = {row[0] for row in await journal.database.fetch("SELECT sid FROM node WHERE sid <> ''")}
        members = {f'"{row[0]}"' for row in await journal.database.fetch("SELECT member_id FROM member")}
    assert len(guids) > 30
    assert not [one for one in guids | sids | members if one.casefold() in text]


async def test_an_export_as_it_was_is_imported_as_it_was(new_world: Make, tmp_path: Path) -> None:
    world = await _history(new_world)
    lines = await _exported(world.journal_path, None)
    target = tmp_path / "other.db"
    header = await import_whole(lines, target)
    assert header["pseudonyms"] is False
    assert [line for line in await _exported(target, None) if "imported_from_seq" not in line][1:-1] == lines[
        1:-1
    ]
    assert await _decisions(world, target) == await _decisions(world, world.journal_path)
    journal = await Journal.open(target)
    assert await verify(journal) == []
    await journal.close()


async def test_the_rules_say_of_pseudonyms_what_they_say_of_the_persons(
    new_world: Make, tmp_path: Path
) -> None:
    world = await _history(new_world)
    pseudonyms = _pseudonyms()
    target = tmp_path / "other.db"
    await import_whole(await _exported(world.journal_path, pseudonyms), target)
    here, there = await _decisions(world, world.journal_path), await _decisions(world, target)
    wanted = {pseudonyms.guid(row["guid"]): row for row in here}
    assert len(there) == len(wanted) == len(here) > 25
    for row in there:
        original = wanted[row["guid"]]
        for field in ("wanted", "open", "differs", "changes"):
            assert row[field] == original[field], (field, original)
        assert row["email"] == pseudonyms.email(original["email"])
        if "group" in row:
            assert row["group"] == pseudonyms.name(original["group"])
        else:
            assert row["why"] == pseudonyms.text(original["why"]) or "e-mail" in row["why"]
    assert any(row["open"] for row in there)
    journal = await Journal.open(target)
    assert await verify(journal) == []
    planner = Planner(MemoryTeam(), journal, world.clock, planner_options_of(world.settings()))
    [told] = await explain(
        journal, planner, pseudonyms.email("zq-quibble.new@example.test"), world.clock.now()
    )
    assert {"update", "invite"} <= {one.kind.value for one in told.history}
    assert told.subject.scope_path == tuple(
        pseudonyms.name(name)
        for name in ("Dropbox", "Krankenkassenvertrieb Osteuropa", "Bluebottle Gamekeeper")
    )
    await journal.close()


@pytest.mark.parametrize(
    ("spoil", "cause"),
    [
        (lambda lines: lines[:-1], "broke off"),
        (lambda lines: [*lines[:10], *lines[11:]], "broke off"),
        (lambda lines: lines[1:], "does not begin"),
        (lambda lines: [lines[0], "{", *lines[1:]], "no JSON"),
        (lambda lines: [lines[0].replace('"schema": ', '"schema": 9'), *lines[1:]], "schema"),
        (lambda lines: [lines[0], '{"table": "mail", "row": {}}', *lines[1:]], "not what it should be"),
        (
            lambda lines: [lines[0], '{"table": "node; DROP TABLE log", "row": {"x": 1}}'],
            "not what it should be",
        ),
    ],
)
async def test_a_spoilt_export_leaves_no_journal(
    world: World, tmp_path: Path, spoil: Callable[[list[str]], list[str]], cause: str
) -> None:
    world.person("ann")
    await world.run()
    lines = await _exported(world.journal_path, None)
    target = tmp_path / "other.db"
    with pytest.raises(JournalError, match=cause):
        await import_whole(spoil(lines), target)
    assert not [file for file in tmp_path.iterdir() if file.name.startswith("other")]


async def test_an_import_never_replaces_a_journal(world: World) -> None:
    world.person("ann")
    await world.run()
    lines = await _exported(world.journal_path, None)
    with pytest.raises(JournalError, match="exists"):
        await import_whole(lines, world.journal_path)


async def test_a_pass_is_reproduced_from_an_imported_journal_without_directory_and_team(
    new_world: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a plan would do here it says there about the pseudonyms: nobody is asked, no name of the configuration fits."""
    world = await _history(new_world)
    for name in ("fennimore7", "fennimore8"):
        [node] = await _find(world, name)
        world.directory.modify(node.entry.guid, surname=f"Married-{name}")
    [disabled] = await _find(world, "fennimore9")
    world.directory.disable(disabled.entry.guid)
    pseudonyms, target = _pseudonyms(), tmp_path / "elsewhere" / "journal.db"
    target.parent.mkdir()
    # The directory is read, and the process ends before it decides: what the next pass would do lies in the journal.
    async with world.open() as assembly:
        await assembly.parts.poller.poll()
    here = (await world.simulate(monkeypatch, full=True)).plan
    monkeypatch.undo()
    await import_whole(await _exported(world.journal_path, pseudonyms), target)
    settings = world.settings()
    users = settings.users.model_copy(update={"sync_group": "unknown there", "exclude_group": ""})
    journal = settings.journal.model_copy(update={"path": target})
    there = (
        await simulate(
            settings.model_copy(update={"users": users, "journal": journal}), full=False, from_journal=True
        )
    ).plan
    assert len(here["actions"]) + len(here["held"]) >= 3
    assert there["summary"] == here["summary"]
    assert there["exit_code"] == here["exit_code"]

    def told(plan: Json, guid: Callable[[str], str]) -> list[tuple[str, str]]:
        return sorted((row["action"], guid(row["guid"])) for row in plan["actions"])

    assert told(there, str) == told(here, pseudonyms.guid)
    assert [(one["kind"], one["count"], told(one, str)) for one in there["held"]] == [
        (one["kind"], one["count"], told(one, pseudonyms.guid)) for one in here["held"]
    ]
    assert {row["guid"] for row in there["skipped"]} == {
        pseudonyms.guid(row["guid"]) for row in here["skipped"]
    }
    assert [name for name in PLANTED if name.casefold() in json.dumps(there).casefold()] == []


async def test_a_plan_from_the_own_journal_does_not_look_for_the_teams_event_log(world: World) -> None:
    world.people("ann", "bob")
    await world.run()
    journal = await world.open_journal()
    async with journal.transaction():
        await journal.put("drift_cursor", "AAGk2wLb")  # as the real team has it
    await journal.close()
    found = await simulate(world.settings(), full=False, from_journal=True)
    assert found.summary.code == 0
    assert found.plan["actions"] == []

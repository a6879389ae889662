"""`explain` looks only at what lies above a person, and says what the whole graph would say."""

import pytest

from pipeline.app.circumstances import circumstances_of
from pipeline.app.explanation import answer_about, as_json, explain, explain_stranger, nesting_of
from pipeline.app.policies import planner_options_of
from pipeline.app.selected import select_person
from pipeline.cli.explain import text_of_stranger
from pipeline.errors import ControlError
from stages.dropbox.memory import MemoryTeam
from stages.people.planner import Planner
from state.journal import Journal
from tests.pipeline.world import World

pytestmark = pytest.mark.anyio


async def test_paths_and_exclusions_are_those_of_the_whole_graph(new_world) -> None:  # type: ignore[no-untyped-def]
    world = new_world(users={"exclude_group": "Protected"})
    protected = world.directory.create_group("Protected")
    outer, inner = world.directory.create_group("Outer"), world.directory.create_group("Inner")
    world.directory.add_member(world.group, outer)
    world.directory.add_member(outer, inner)
    world.directory.add_member(inner, outer)  # a circle is legal
    world.person("ann", groups=[inner])
    world.person("boss", groups=[inner, protected])
    world.person("bob")
    await world.run()
    journal = await Journal.open(world.journal_path, read_only=True)
    planner = Planner(MemoryTeam(), journal, world.clock, planner_options_of(world.settings()))
    whole = await nesting_of(journal)
    async with journal.reading():
        guids = [node.entry.guid for node in await journal.mirror.listed_users()]
    wanted = {
        subject.node.entry.email: (subject.scope_path, subject.excluded)
        for subject, _ in await planner.preview(guids, whole, world.clock.now())
    }
    told = {
        email: [
            (one.subject.scope_path, one.subject.excluded)
            for one in await explain(journal, planner, email, world.clock.now())
        ]
        for email in wanted
    }
    assert told == {email: [one] for email, one in wanted.items()}
    assert told["ann@example.test"][0][0] == ("Dropbox", "Outer", "Inner")
    assert told["boss@example.test"][0][1]
    for text in (guids[0], guids[0].upper(), "ANN@example.test", "cn=ann,", "ann"):
        found = await explain(journal, planner, text, world.clock.now())
        assert len(found) == (0 if text == "cn=ann," else 1), text
    await journal.close()


async def test_before_the_first_pass_there_is_nothing_to_explain(world: World) -> None:
    journal = await Journal.open(world.journal_path)
    planner = Planner(MemoryTeam(), journal, world.clock, planner_options_of(world.settings()))
    with pytest.raises(ControlError, match="never read"):
        await explain(journal, planner, "ann", world.clock.now())
    await journal.close()


async def test_what_would_change_it_is_said_for_each_situation(new_world) -> None:  # type: ignore[no-untyped-def]
    world = new_world(users={"leave_settle_seconds": 0}, safety={"max_leavers": 1})
    people = world.people(*(f"p{number}" for number in range(12)))
    world.person("nobody", mail="")
    await world.run()
    world.accept_all()
    await world.run()
    for guid in people[:2]:
        world.directory.remove_member(world.group, guid)
    world.directory.disable(people[2])
    world.directory.modify(world.person("open"), surname="Late")
    await world.run()
    world.directory.modify(people[3], mail="p3@example.test")
    journal = await Journal.open(world.journal_path, read_only=True)
    options = planner_options_of(world.settings())
    planner = Planner(MemoryTeam(), journal, world.clock, options)

    async def told(name: str) -> str:
        [one] = await explain(journal, planner, name, world.clock.now())
        return "\n".join(
            as_json(one, options, world.clock.now(), await circumstances_of(journal))["changes_it"]
        )

    assert "into the sync group" in await told("p0")
    [held] = await world.held()
    assert f"ad-connector approve {held}" in await told("p0")
    assert "enabling the account" in await told("p2")
    assert await told("p3") == "disabling the account, or taking them out of the sync group's groups"
    assert "an e-mail in the directory" in await told("nobody")
    await journal.close()


async def test_contacts_computers_and_unmanaged_members_are_explained_too(world: World) -> None:
    """`plan` lists them as skipped, so somebody will ask why."""
    contact = world.directory.create_contact("Supplier", mail="supplier@example.test")
    world.directory.add_member(world.group, contact)
    world.person("ann")
    world.team.add("stranger@example.test")
    await world.run()
    journal = await Journal.open(world.journal_path, read_only=True)
    for text in ("supplier@example.test", contact, "Supplier"):
        [found] = await explain_stranger(journal, text)
        assert found["skipped"] == "a contact object, not a person"
        assert found["path"] == ["Dropbox"]
        assert "nothing: a contact object, not a person" in text_of_stranger(found)
    [member] = await explain_stranger(journal, "Stranger@example.test")
    assert "unmanaged, never touched" in member["skipped"]
    assert "active" in text_of_stranger(member)
    assert await explain_stranger(journal, "ann-lee") == []
    await journal.close()


async def test_a_surname_alone_names_those_who_bear_it_and_guesses_none(world: World) -> None:
    world.person("ada", given_name="Ada", surname="Lovelace", display_name="Ada Lovelace")
    world.person("bea", given_name="Bea", surname="Lovelace", display_name="Bea Lovelace", mail="")
    world.person("cid", given_name="Cid", surname="", display_name="Cid van Lovelace")
    gone = world.person("dan", given_name="Dan", surname="Lovelace", display_name="Dan Lovelace")
    world.person("eve", given_name="Eve", surname="Loveland")
    await world.run()
    world.directory.remove_member(world.group, gone)
    await world.run()
    options = planner_options_of(world.settings())
    journal = await Journal.open(world.journal_path, read_only=True)
    for text in ("lovelace", " Lovelace "):
        answer = await answer_about(journal, options, text, world.clock)
        assert not answer.persons
        assert sorted(who for _, who in answer.meant.bearers) == [
            "Ada Lovelace (ada@example.test)",
            "Bea Lovelace (bea)",
            "Cid van Lovelace (cid@example.test)",
            "Dan Lovelace (dan@example.test, no longer in the sync group)",
        ]
        with pytest.raises(ControlError, match=r"who bears that name: .*Ada Lovelace \(ada@example\.test\)"):
            await select_person(journal, text)
    by_given_name = await answer_about(journal, options, "Eve", world.clock)
    assert [one["email"] for one in by_given_name.persons] == ["eve@example.test"], (
        "an account: that is exact"
    )
    await journal.close()


async def test_whoever_is_mistyped_is_told_whom_they_may_have_meant(world: World) -> None:
    world.person("ada.lovelace")
    await world.run()
    journal = await Journal.open(world.journal_path, read_only=True)
    with pytest.raises(ControlError, match=r"did you mean ada\.lovelace@example\.test") as told:
        await select_person(journal, "ada.lovelaec@example.test")
    assert "'ada.lovelaec@example.test'" in told.value.cause
    with pytest.raises(ControlError) as unlike:
        await select_person(journal, "zz-99")
    assert "did you mean" not in unlike.value.cause
    await journal.close()

"""The contract of `pipeline.ports.Directory`, continued: the rest of the sheet's tables of what a change looks like (§1.4-1.6, §2.3)."""

from datetime import UTC, datetime
from typing import Any

import pytest

from pipeline.model import Kind, Source

pytestmark = pytest.mark.anyio

World = Any  # the fixture's; see conftest.py

OVER_LDAP = pytest.mark.parametrize(
    "world",
    [
        "windows-dirsync",
        "windows-usn",
        pytest.param("samba-dirsync", marks=pytest.mark.samba),
        pytest.param("samba-usn", marks=pytest.mark.samba),
    ],
    indirect=True,
)
"""What the double does not know: containers as objects, and attributes that nobody reads."""


async def test_a_date_of_expiry_is_a_change(world: World) -> None:
    """That the date has come is told by nobody: it is read from what is stored."""
    ann = world.create_user("Ann")
    await world.begin()
    ends = datetime(2031, 5, 1, tzinfo=UTC)
    world.expire(ann, ends)
    assert "accountexpires" in (await world.poll())[ann].attributes
    assert (await world.directory.read_entries([ann]))[ann].account_expires == ends


@pytest.mark.parametrize(
    ("field", "attribute"),
    [("given_name", "givenname"), ("surname", "sn"), ("display_name", "displayname"), ("mail", "mail")],
)
async def test_each_attribute_that_dropbox_shows_is_a_change(
    world: World, field: str, attribute: str
) -> None:
    ann = world.create_user(
        "Ann", mail="a@example.test", given_name="Ann", surname="Arbor", display_name="AA"
    )
    await world.begin()
    for value in ("x@new.test", None):
        world.modify(ann, **{field: value})
        assert attribute in (await world.poll())[ann].attributes
        entry = (await world.directory.read_entries([ann]))[ann]
        assert getattr(entry, "email" if field == "mail" else field) == (value or "")


async def test_another_account_name_is_a_change(world: World) -> None:
    ann = world.create_user("Ann")
    await world.begin()
    world.rename_account(ann, f"{world.tag}-new")
    assert "samaccountname" in (await world.poll())[ann].attributes
    assert (await world.directory.read_entries([ann]))[ann].sam_account_name == f"{world.tag}-new"


async def test_a_group_renamed_and_moved_keeps_guid_and_members(world: World) -> None:
    ann = world.create_user("Ann")
    group = world.create_group("G", [ann])
    await world.begin()
    world.rename(group, world.name("Renamed"))
    delta = (await world.poll())[group]
    assert delta.dn.startswith(f"CN={world.name('Renamed')},")
    await world.expect_links(delta, group)
    world.move(group, world.create_ou("Elsewhere"))
    delta = (await world.poll())[group]
    assert "OU=Elsewhere" in delta.dn
    await world.expect_links(delta, group)
    assert await world.members(group) == {ann}
    assert (await world.directory.read_entries([group]))[group].name == world.name("Renamed")


async def test_a_restored_group_has_lost_its_members_and_its_groups(world: World) -> None:
    ann = world.create_user("Ann")
    group = world.create_group("G", [ann])
    outer = world.create_group("Outer", [group])
    world.delete(group)
    await world.begin()
    world.restore(group)
    deltas = await world.poll()
    world.expect_restored(deltas[group])
    assert outer not in deltas
    assert ann not in deltas
    assert await world.members(group) == set()
    assert await world.members(outer) == set()


async def test_a_nested_group_that_is_deleted_is_no_event_on_the_outer_one(world: World) -> None:
    ann = world.create_user("Ann")
    inner = world.create_group("Inner", [ann])
    outer = world.create_group("Outer", [inner, ann])
    await world.begin()
    world.delete(inner)
    deltas = await world.poll()
    assert deltas[inner].tombstone
    assert set(deltas) == {inner}
    assert await world.members(outer) == {ann}


async def test_another_object_under_the_old_name_is_another_object(world: World) -> None:
    ann = world.create_user("Ann", mail="a@example.test")
    group = world.create_group("G", [ann])
    await world.begin()
    world.delete(ann)
    again = world.create_user("Ann", mail="a@example.test")
    deltas = await world.poll()
    assert again != ann
    assert deltas[ann].tombstone
    assert not deltas[again].tombstone
    assert deltas[again].kind is Kind.USER
    assert await world.members(group) == set()


async def test_what_came_and_went_between_two_polls_is_dead_or_never_was(world: World) -> None:
    await world.begin()
    ann = world.create_user("Ann")
    world.delete(ann)
    deltas = await world.poll()
    assert all(delta.tombstone for delta in deltas.values())
    assert set(deltas) <= {ann}
    assert await world.directory.read_entries([ann]) == {}


async def test_a_member_who_is_added_and_deleted_between_two_polls_is_no_member(world: World) -> None:
    ann, bob = world.create_user("Ann"), world.create_user("Bob")
    group = world.create_group("G", [bob])
    await world.begin()
    world.add_members(group, ann)
    world.delete(ann)
    deltas = await world.poll()
    assert deltas[ann].tombstone
    if group in deltas:  # DirSync never tells of a link that is hidden again
        assert ann not in {target.guid for target in deltas[group].added}
    assert await world.members(group) == {bob}


@OVER_LDAP
async def test_what_nobody_reads_is_noise_to_sequence_numbers_and_nothing_to_dirsync(world: World) -> None:
    ann = world.create_user("Ann")
    group = world.create_group("G", [ann])
    await world.begin()
    for each in (ann, group):
        world.note(each, "of no concern")
    deltas = await world.poll()
    assert set(deltas) == (set() if world.source is Source.DIRSYNC else {ann, group})
    assert await world.members(group) == {ann}


@OVER_LDAP
async def test_a_renamed_unit_changes_the_names_of_its_people_without_a_word(world: World) -> None:
    unit = world.create_ou("Before")
    ann = world.create_user("Ann")
    world.move(ann, unit)
    group = world.create_group("G", [ann])
    await world.begin()
    below = (await world.directory.read_entries([ann]))[ann].dn.partition(",")[2]
    world.rename(below, "After")
    assert await world.poll() == {}
    assert "OU=After" in (await world.directory.read_entries([ann]))[ann].dn
    (target,) = await world.directory.read_members(group)
    assert (target.guid, "OU=After" in target.dn) == (ann, True)

"""The contract of `pipeline.ports.Directory`, on the double and on a real domain, both ways of reading changes."""

import uuid
from typing import Any

import pytest

from pipeline.errors import AmbiguousGroup, DirectoryError, GroupNotFound
from pipeline.model import Kind, Source

pytestmark = pytest.mark.anyio

World = Any  # the fixture's; see conftest.py


# --- one change, one delta


async def test_nothing_changed_is_one_empty_page(world: World) -> None:
    await world.begin()
    assert await world.poll() == {}
    assert await world.poll() == {}
    assert world.directory.source is world.source


async def test_a_new_person_is_delivered_with_kind_and_dn(world: World) -> None:
    await world.begin()
    ann = world.create_user("Ann", mail="Ann@Example.test", given_name="Ann", surname="Arbor")
    delta = (await world.poll())[ann]
    assert delta.kind is Kind.USER
    assert delta.dn.startswith(f"CN={world.name('Ann')},OU=")
    assert not delta.tombstone
    assert not delta.restored
    assert "primarygroupid" in delta.attributes  # what tells that a stranger may belong to a group of ours
    entry = (await world.directory.read_entries([ann]))[ann]
    assert (entry.email, entry.given_name, entry.surname) == ("Ann@Example.test", "Ann", "Arbor")
    assert (entry.kind, entry.disabled, entry.account_expires, entry.primary_group_rid) == (
        Kind.USER,
        False,
        None,
        513,
    )
    assert entry.name == world.name("Ann")
    assert entry.sid.startswith("S-1-5-21-")


async def test_what_was_there_before_start_is_not_delivered(world: World) -> None:
    world.create_user("Ann")
    await world.begin()
    assert await world.poll() == {}


async def test_a_modified_person_is_delivered(world: World) -> None:
    ann = world.create_user("Ann", mail="a@example.test")
    await world.begin()
    world.modify(ann, surname="Zander")
    deltas = await world.poll()
    assert set(deltas) == {ann}
    assert "sn" in deltas[ann].attributes
    assert (await world.directory.read_entries([ann]))[ann].surname == "Zander"


async def test_a_cleared_mail_is_a_change(world: World) -> None:
    ann = world.create_user("Ann", mail="a@example.test")
    await world.begin()
    world.modify(ann, mail=None)
    delta = (await world.poll())[ann]
    assert "mail" in delta.attributes
    assert (await world.directory.read_entries([ann]))[ann].email == ""


async def test_disabling_and_enabling_are_changes(world: World) -> None:
    ann = world.create_user("Ann")
    await world.begin()
    for change, disabled in ((world.disable, True), (world.enable, False)):
        change(ann)
        assert "useraccountcontrol" in (await world.poll())[ann].attributes
        assert (await world.directory.read_entries([ann]))[ann].disabled is disabled


async def test_a_rename_keeps_the_guid(world: World) -> None:
    ann = world.create_user("Ann")
    await world.begin()
    world.rename(ann, world.name("Anna"))
    assert world.name("Anna") in (await world.poll())[ann].dn
    assert (await world.directory.read_entries([ann]))[ann].name == world.name("Anna")


async def test_a_move_to_another_unit_keeps_the_guid(world: World) -> None:
    ann = world.create_user("Ann")
    unit = world.create_ou("Elsewhere")
    await world.begin()
    world.move(ann, unit)
    assert "OU=Elsewhere" in (await world.poll())[ann].dn


async def test_several_changes_of_one_person_are_one_delta(world: World) -> None:
    await world.begin()
    ann = world.create_user("Ann")
    world.modify(ann, surname="B")
    world.disable(ann)
    assert set(await world.poll()) == {ann}


async def test_a_poll_that_was_not_kept_delivers_again(world: World) -> None:
    await world.begin()
    kept = world._checkpoint
    ann = world.create_user("Ann")
    assert set(await world.poll()) == {ann}
    world._checkpoint = kept
    assert set(await world.poll()) == {ann}
    assert await world.poll() == {}


# --- groups


async def test_a_new_group_is_delivered_with_its_members(world: World) -> None:
    ann = world.create_user("Ann")
    await world.begin()
    group = world.create_group("G", [ann])
    deltas = await world.poll()
    assert deltas[group].kind is Kind.GROUP
    await world.expect_links(deltas[group], group, added=[ann])
    targets = await world.directory.read_members(group)
    assert [target.guid for target in targets] == [ann]
    assert targets[0].sid.startswith("S-1-5-21-")
    assert targets[0].dn.startswith(f"CN={world.name('Ann')},")


async def test_members_who_come_and_go_are_told_from_each_other(world: World) -> None:
    ann, bob, cleo = (world.create_user(name) for name in ("Ann", "Bob", "Cleo"))
    group = world.create_group("G", [ann, bob])
    await world.begin()
    world.remove_members(group, ann)
    world.add_members(group, cleo)
    deltas = await world.poll()
    assert ann not in deltas  # membership is a change of the group, never of the member
    await world.expect_links(deltas[group], group, added=[cleo], removed=[ann])
    assert await world.members(group) == {bob, cleo}


async def test_the_last_member_leaves(world: World) -> None:
    ann = world.create_user("Ann")
    group = world.create_group("G", [ann])
    await world.begin()
    world.remove_members(group, ann)
    await world.expect_links((await world.poll())[group], group, removed=[ann])
    assert await world.members(group) == set()


async def test_out_and_in_again_within_one_poll_is_in(world: World) -> None:
    ann = world.create_user("Ann")
    group = world.create_group("G", [ann])
    await world.begin()
    world.remove_members(group, ann)
    world.add_members(group, ann)
    await world.expect_links((await world.poll())[group], group, added=[ann])


async def test_a_group_in_a_group_is_a_link(world: World) -> None:
    inner, outer = world.create_group("Inner"), world.create_group("Outer")
    await world.begin()
    world.add_members(outer, inner)
    await world.expect_links((await world.poll())[outer], outer, added=[inner])
    assert await world.directory.read_parents(inner) == (outer,)


async def test_sequence_numbers_come_with_the_groups_that_hold_an_object(world: World) -> None:
    """A hidden link that comes back is told by nobody else (Recycle Bin); DirSync never tells back links."""
    ann = world.create_user("Ann")
    groups = {world.create_group("G", [ann]), world.create_group("H", [ann])}
    lone = world.create_user("Lone")
    await world.begin()
    for each in (ann, lone):
        world.modify(each, surname="Zander")
    deltas = await world.poll()
    if world.source is Source.USN:
        assert deltas[ann].holders == groups
        assert deltas[lone].holders == frozenset()
    else:
        assert deltas[ann].holders is None


async def test_a_cycle_is_legal(world: World) -> None:
    one, two = world.create_group("One"), world.create_group("Two")
    await world.begin()
    world.add_members(one, two)
    world.add_members(two, one)
    deltas = await world.poll()
    await world.expect_links(deltas[one], one, added=[two])
    await world.expect_links(deltas[two], two, added=[one])


async def test_the_primary_group_changes_the_person_and_both_groups(world: World) -> None:
    ann = world.create_user("Ann")
    group = world.create_group("G", [ann])
    await world.begin()
    world.set_primary_group(ann, group)
    deltas = await world.poll()
    assert "primarygroupid" in deltas[ann].attributes
    await world.expect_links(deltas[group], group, removed=[ann])
    entry = (await world.directory.read_entries([group, ann]))[ann]
    found = (await world.directory.read_entries([group]))[group]
    assert entry.primary_group_rid == int(found.sid.rpartition("-")[2])
    assert await world.directory.read_primary_members(entry.primary_group_rid) == (ann,)
    assert ann not in await world.members(group)


async def test_computers_are_no_primary_members(world: World) -> None:
    world.create_computer("PC")
    assert await world.directory.read_primary_members(515) == ()


# --- deletion and restore


async def test_a_deleted_person_leaves_a_tombstone_and_no_event_on_the_group(world: World) -> None:
    ann, bob = world.create_user("Ann"), world.create_user("Bob")
    group = world.create_group("G", [ann, bob])
    await world.begin()
    world.delete(ann)
    deltas = await world.poll()
    assert deltas[ann].tombstone
    assert group not in deltas
    assert await world.members(group) == {bob}
    assert await world.directory.read_entries([ann]) == {}
    assert await world.directory.read_tombstones([ann, bob, str(uuid.uuid4())]) == {ann}
    assert await world.directory.sees_tombstones() is True


async def test_a_deleted_group_leaves_a_tombstone(world: World) -> None:
    ann = world.create_user("Ann")
    group = world.create_group("G", [ann])
    await world.begin()
    world.delete(group)
    deltas = await world.poll()
    assert deltas[group].tombstone
    assert not deltas[group].members_unknown
    assert ann not in deltas
    assert await world.directory.read_parents(ann) == ()
    with pytest.raises(DirectoryError):
        await world.directory.read_members(group)


async def test_a_restored_person_has_lost_mail_and_groups(world: World) -> None:
    ann = world.create_user("Ann", mail="a@example.test")
    group = world.create_group("G", [ann])
    world.delete(ann)
    await world.begin()
    world.restore(ann)
    deltas = await world.poll()
    world.expect_restored(deltas[ann])
    assert group not in deltas
    assert (await world.directory.read_entries([ann]))[ann].email == ""
    assert await world.directory.read_parents(ann) == ()
    assert await world.directory.read_tombstones([ann]) == frozenset()


async def test_deleted_and_restored_within_one_poll_is_restored(world: World) -> None:
    ann = world.create_user("Ann")
    await world.begin()
    world.delete(ann)
    world.restore(ann)
    world.expect_restored((await world.poll())[ann])


async def test_a_blind_account_sees_no_tombstone_and_says_so(world: World) -> None:
    ann = world.create_user("Ann")
    await world.begin()
    world.delete(ann)
    blind = world.look_blindly()
    assert await blind.sees_tombstones() is False
    assert await blind.read_tombstones([ann]) == frozenset()
    deltas = await world.poll(blind)
    if world.tells_the_blind_of_deletions:
        assert deltas[ann].tombstone
        assert not deltas[ann].dn
    else:
        assert ann not in deltas


async def test_a_person_moved_out_of_sight_is_absent_without_a_tombstone(world: World) -> None:
    ann = world.create_user("Ann")
    group = world.create_group("G", [ann])
    await world.begin()
    world.hide(ann)
    assert ann not in await world.poll()
    assert await world.directory.read_entries([ann]) == {}
    assert await world.directory.read_tombstones([ann]) == frozenset()
    assert await world.directory.read_parents(ann) == ()
    assert await world.members(group) == {ann}  # the link is still told


async def test_a_group_out_of_sight_is_an_error_never_empty(world: World) -> None:
    group = world.create_group("G", [world.create_user("Ann")])
    world.hide(group)
    with pytest.raises(DirectoryError):
        await world.directory.read_members(group)


# --- kinds, and looking things up


async def test_kinds(world: World) -> None:
    user, group = world.create_user("U"), world.create_group("G")
    contact, computer = world.create_contact("C"), world.create_computer("P")
    entries = await world.directory.read_entries([user, group, contact, computer])
    assert {guid: entry.kind for guid, entry in entries.items()} == {
        user: Kind.USER,
        group: Kind.GROUP,
        contact: Kind.CONTACT,
        computer: Kind.COMPUTER,
    }
    assert entries[contact].sid == ""


async def test_contacts_and_computers_are_delivered(world: World) -> None:
    await world.begin()
    contact, computer = world.create_contact("C"), world.create_computer("P")
    deltas = await world.poll()
    assert deltas[contact].kind is Kind.CONTACT
    assert deltas[computer].kind is Kind.COMPUTER


async def test_a_contact_is_a_link_target_without_sid(world: World) -> None:
    contact = world.create_contact("C")
    group = world.create_group("G", [contact])
    (target,) = await world.directory.read_members(group)
    assert (target.guid, target.sid) == (contact, "")


async def test_a_group_is_found_by_dn_guid_account_and_cn(world: World) -> None:
    group = world.create_group("Sales")
    world.rename_account(group, f"{world.tag}-sales")
    world.rename(group, world.name("Sales (EU) * Ünï"))
    name = world.name("Sales (EU) * Ünï")
    entry = await world.directory.find_group(name)
    for reference in (entry.dn, entry.dn.upper(), group, group.upper(), f"{world.tag}-SALES", f" {name} "):
        found = await world.directory.find_group(reference)
        assert (found.guid, found.kind, found.name) == (group, Kind.GROUP, name)


async def test_an_account_name_wins_over_a_cn(world: World) -> None:
    world.create_group("A")
    first = world.create_group("B")
    second = world.create_group("C")
    world.rename_account(first, f"{world.tag}x")
    world.rename(second, f"{world.tag}x")
    assert (await world.directory.find_group(f"{world.tag}x")).guid == first


async def test_two_groups_of_one_cn_are_ambiguous(world: World) -> None:
    one, two = world.create_group("Same"), world.create_group("Other")
    world.rename_account(one, f"{world.tag}a")
    world.rename_account(two, f"{world.tag}b")
    world.move(two, world.create_ou("Deep"))
    world.rename(two, world.name("Same"))
    with pytest.raises(AmbiguousGroup):
        await world.directory.find_group(world.name("Same"))


async def test_what_is_no_group_is_not_found(world: World) -> None:
    ann = world.create_user("Ann")
    dn = (await world.directory.read_entries([ann]))[ann].dn
    for reference in (ann, dn, world.name("Ann"), "nobody", str(uuid.uuid4()), "CN=x,DC=nowhere", "", "a=b"):
        with pytest.raises(GroupNotFound):
            await world.directory.find_group(reference)


async def test_reading_entries_leaves_out_what_is_not_there(world: World) -> None:
    people = [world.create_user(f"P{number}") for number in range(3)]
    unknown = [str(uuid.uuid4()) for _ in range(600)]  # more than one search's worth
    found = await world.directory.read_entries([*unknown, *people, *people])
    assert set(found) == set(people)
    assert await world.directory.read_entries([]) == {}
    assert await world.directory.read_tombstones([]) == frozenset()


async def test_parents_are_the_direct_groups(world: World) -> None:
    ann = world.create_user("Ann")
    inner = world.create_group("Inner", [ann])
    also = world.create_group("Also", [ann])
    world.create_group("Outer", [inner])
    assert set(await world.directory.read_parents(ann)) == {inner, also}
    assert await world.directory.read_parents(str(uuid.uuid4())) == ()

"""No read that failed, was cut short or lacked a right ever makes a leaver. (behaviour.md §2, §3, §5)"""

from collections.abc import Callable

import pytest

from pipeline.core.exits import ExitCode
from pipeline.core.plan import NoteKind
from pipeline.errors import DirectoryBusy, DirectoryError, TeamInfoError, TeamReadError
from pipeline.model import ActionKind, Kind, Source, Status
from tests.pipeline.world import World

pytestmark = pytest.mark.anyio

Make = Callable[..., World]
NAMES = ("ann", "bob", "cid", "dan", "eva", "fay")


async def settled(world: World) -> None:
    """Everybody has joined, and nothing is left to do."""
    await world.run()
    world.accept_all()
    await world.run()
    world.team.effects.clear()


async def nested(world: World) -> dict[str, str]:
    """Sales in the sync group, with a nested group of its own; everybody has joined."""
    people = {name: world.person(name, groups=()) for name in NAMES}
    inner = world.directory.create_group("Inner", members=[people["eva"], people["fay"]])
    sales = world.directory.create_group("Sales", members=[people["cid"], people["dan"], inner])
    world.directory.add_members(world.group, people["ann"], people["bob"], sales)
    await settled(world)
    return {**people, "inner": inner, "sales": sales}


@pytest.mark.parametrize("source", Source)
@pytest.mark.parametrize("full", [False, True])
async def test_a_read_that_fails_anywhere_in_a_pass_harms_nobody(
    new_world: Make, source: Source, full: bool
) -> None:
    """Every call into the directory and every read of the team is made to fail once, in turn."""
    number = 1
    while True:
        world = new_world(options={"source": source})
        guids = await nested(world)
        world.directory.modify(guids["ann"], surname="Changed")
        world.directory.remove_member(guids["sales"], guids["cid"])
        world.gate.reset()
        crossings = []
        world.gate.fail_at(number, crossings)
        summary = await world.run(full=full)
        if not crossings:
            break
        assert world.harm() in ([], [("suspend", "cid@example.test")]), crossings
        if crossings[0].startswith("directory") and not world.harm():
            assert summary.code is ExitCode.DIRECTORY, crossings
        assert summary.code is not ExitCode.OK or world.harm(), crossings
        world.gate.reset()
        await world.settle()
        assert world.harm() == [("suspend", "cid@example.test")], crossings
        assert world.member("ann").surname == "Changed"
        number += 1
    assert number > 10


@pytest.mark.parametrize("source", Source)
async def test_a_nested_group_whose_members_cannot_be_read_ends_the_pass_with_12(
    new_world: Make, source: Source
) -> None:
    world = new_world(options={"source": source})
    guids = await nested(world)
    world.directory.make_members_unreadable(guids["sales"])
    world.directory.refuse_checkpoints()
    for _ in range(3):
        world.clock.turn(minutes=5)
        assert (await world.run()).code is ExitCode.DIRECTORY
    assert world.harm() == []


async def test_a_nested_group_moved_out_of_sight_ends_a_full_read_with_12(world: World) -> None:
    guids = await nested(world)
    world.directory.move_out_of_sight(guids["inner"])
    for full in (False, True, True):
        world.clock.turn(minutes=5)
        await world.run(full=full)
    assert world.summary is not None
    assert world.summary.code is ExitCode.DIRECTORY
    assert world.harm() == []


async def test_a_listed_person_moved_out_of_sight_is_left_alone_and_reported(world: World) -> None:
    guids = await nested(world)
    world.directory.move_out_of_sight(guids["eva"])
    for _ in range(3):
        world.clock.turn(minutes=5)
        summary = await world.run(full=True)
    assert world.harm() == []
    notes = [note for note in summary.standing.notes if note.kind is NoteKind.MISSING_RIGHT]
    assert notes


async def test_a_person_out_of_sight_who_is_no_longer_listed_is_suspended_at_most(world: World) -> None:
    guids = await nested(world)
    world.directory.remove_member(guids["inner"], guids["eva"])
    world.directory.move_out_of_sight(guids["eva"])
    await world.settle()
    world.clock.turn(days=30)
    await world.settle()
    assert world.harm() == [("suspend", "eva@example.test")]


async def test_a_person_who_is_gone_without_a_tombstone_is_suspended_at_most(world: World) -> None:
    """As by a move to another domain."""
    guids = await nested(world)
    world.directory.expunge(guids["eva"])
    for _ in range(4):
        world.clock.turn(minutes=5)
        await world.run(full=True)
    assert world.harm() == [("suspend", "eva@example.test")]


async def test_an_account_blind_to_tombstones_suspends_at_most_and_says_so(world: World) -> None:
    guids = await nested(world)
    world.directory.blind = True
    world.directory.delete(guids["eva"])
    for _ in range(4):
        world.clock.turn(minutes=5)
        summary = await world.run(full=True)
    assert world.harm() == [("suspend", "eva@example.test")]
    assert any("deleted objects" in note.detail for note in summary.standing.notes)


async def test_the_right_to_see_tombstones_once_gained_removes_who_was_deleted_before(world: World) -> None:
    guids = await nested(world)
    world.directory.blind = True
    world.directory.delete(guids["eva"])
    await world.run(full=True)
    world.directory.blind = False
    await world.run()
    assert world.status("eva") == "removed"


async def test_a_running_watch_notices_the_right_to_see_tombstones_within_an_hour(world: World) -> None:
    guids = await nested(world)
    world.directory.blind = True
    async with world.open() as assembly:
        await assembly.engine.run()
        world.directory.delete(guids["eva"])
        await assembly.engine.run()
        world.directory.blind = False
        world.clock.turn(hours=2)
        await assembly.engine.run()
    assert world.status("eva") == "removed"


async def test_blind_leavers_by_deletion_are_found_by_the_daily_comparison_of_a_running_watch(
    world: World,
) -> None:
    """No event ever tells a blind account: only a full read does."""
    guids = await nested(world)
    world.directory.blind = True
    async with world.open() as assembly:
        await assembly.engine.run()
        world.directory.delete(guids["eva"])
        world.clock.turn(hours=25)
        await assembly.engine.run()
    assert world.harm() == [("suspend", "eva@example.test")]


async def test_who_can_be_read_no_more_is_told_of_by_the_daily_comparison(world: World) -> None:
    """No event tells of it: somebody was moved to where the account may not read, and is still in the group."""
    guids = await nested(world)
    world.directory.move_out_of_sight(guids["eva"])
    assert list((await world.run()).standing.notes) == []
    world.clock.turn(hours=25)
    summary = await world.run()
    assert [note.guid for note in summary.standing.notes] == [guids["eva"]]
    assert world.harm() == []


async def test_dropbox_out_of_reach_does_not_read_the_directory_over_and_over(world: World) -> None:
    await nested(world)
    async with world.open() as assembly:
        await assembly.engine.run()
        world.clock.turn(hours=25)
        begun = world.gate.crossings.count("directory.start")
        for call in (1, 2):
            world.gate.fail("team.read", TeamReadError("read the members", "no answer"), call=call)
        for _ in range(2):
            assert (await assembly.engine.run()).code is ExitCode.TEAM_READ
    assert world.gate.crossings.count("directory.start") == begun + 1


async def test_a_refused_checkpoint_leads_to_a_full_read_and_to_no_leaver(world: World) -> None:
    await nested(world)
    world.directory.refuse_checkpoints()
    summary = await world.run()
    assert summary.full
    assert world.harm() == []


@pytest.mark.parametrize("source", Source)
async def test_changes_delivered_twice_change_nothing(new_world: Make, source: Source) -> None:
    world = new_world(options={"source": source})
    guids = await nested(world)
    world.directory.remove_member(guids["sales"], guids["cid"])
    world.directory.add_member(guids["sales"], guids["cid"])
    await world.run()
    world.directory.replay(50)
    await world.run()
    assert world.team.effects == []


async def test_half_of_the_members_missing_in_a_full_read_makes_no_leaver_when_the_second_read_has_them(
    world: World,
) -> None:
    guids = await nested(world)
    world.directory.refuse_checkpoints()
    forgotten = world.directory.objects[guids["sales"]].members
    kept = dict(forgotten)
    forgotten.clear()
    world.clock.on_sleep.append(lambda: forgotten.update(kept))
    await world.run()
    assert world.clock.slept
    assert world.harm() == []


async def test_who_is_missing_in_a_full_read_is_suspended_only_after_a_second_full_read(world: World) -> None:
    guids = await nested(world)
    world.directory.refuse_checkpoints()
    world.directory.objects[guids["sales"]].members.pop(guids["cid"])
    world.directory.calls.clear()
    await world.run()
    assert world.directory.calls["start"] == 2
    assert world.harm() == [("suspend", "cid@example.test")]


async def test_unreadable_members_keep_absent_leavers_waiting_but_the_pass_ends(world: World) -> None:
    """A member that can't be read may be a group; and a pass that waits for it would never end."""
    guids = await nested(world)
    stranger = world.directory.create_group("Hidden", members=[])
    world.directory.move_out_of_sight(stranger)
    world.directory.add_member(guids["sales"], stranger)
    world.directory.refuse_checkpoints()
    world.directory.objects[guids["sales"]].members.pop(guids["cid"])
    for _ in range(3):
        summary = await world.run()
        assert len(world.clock.slept) <= 2
    assert world.harm() == []
    assert any(note.kind is NoteKind.MISSING_RIGHT for note in summary.standing.notes)
    world.directory.move_into_sight(stranger)
    world.clock.turn(minutes=5)
    await world.settle()
    assert world.harm() == [("suspend", "cid@example.test")]


async def test_unreadable_members_do_not_make_every_look_of_a_watch_a_full_read(world: World) -> None:
    guids = await nested(world)
    stranger = world.directory.create_group("Hidden", members=[])
    world.directory.move_out_of_sight(stranger)
    world.directory.add_member(guids["sales"], stranger)
    world.directory.refuse_checkpoints()
    world.directory.objects[guids["sales"]].members.pop(guids["cid"])
    async with world.open() as assembly:
        await assembly.engine.run()
        world.directory.calls.clear()
        for _ in range(20):
            world.clock.turn(seconds=30)
            await assembly.engine.run()
    assert world.directory.calls["start"] <= 3


@pytest.mark.parametrize("source", Source)
async def test_a_restored_person_is_in_only_what_they_are_in_now(new_world: Make, source: Source) -> None:
    """Without the Recycle Bin a restored object has lost its groups, and no group tells of it."""
    world = new_world(options={"source": source})
    guids = await nested(world)
    world.directory.delete(guids["eva"])
    await world.run()
    assert world.status("eva") == "removed"
    world.directory.restore(guids["eva"], mail="eva@example.test", given_name="Eva", surname="Example")
    await world.settle()
    assert world.status("eva") == "removed"
    world.directory.add_member(guids["sales"], guids["eva"])
    await world.settle()
    assert world.status("eva") == "active"


@pytest.mark.parametrize("source", Source)
async def test_a_person_deleted_and_restored_between_two_looks_is_no_longer_listed(
    new_world: Make, source: Source
) -> None:
    world = new_world(options={"source": source})
    guids = await nested(world)
    world.directory.delete(guids["eva"])
    world.directory.restore(guids["eva"], mail="eva@example.test", given_name="Eva", surname="Example")
    await world.settle()
    assert world.status("eva") == "suspended"


async def test_nobody_in_scope_is_15_and_never_everybody_left(world: World) -> None:
    guids = await nested(world)
    world.directory.remove_members(world.group, *list(world.directory.objects[world.group].members))
    for _ in range(3):
        world.clock.turn(minutes=5)
        assert (await world.run()).code is ExitCode.SCOPE
    assert world.harm() == []
    world.directory.add_members(world.group, guids["ann"], guids["bob"], guids["sales"])
    assert (await world.run()).code is ExitCode.OK
    assert world.harm() == []


async def test_a_wrong_email_attribute_is_15_and_touches_nobody(world: World) -> None:
    guids = await nested(world)
    for name in NAMES:
        world.directory.modify(guids[name], mail=None)
    assert (await world.run()).code is ExitCode.SCOPE
    assert world.team.effects == []


async def test_everybody_excluded_is_15_and_touches_nobody(world: World) -> None:
    guids = await nested(world)
    world.config["users"] = {"exclude_emails": ["*@EXAMPLE.test"], "leave_settle_seconds": 0}
    world.directory.remove_members(world.group, guids["ann"])
    for _ in range(2):
        assert (await world.run()).code is ExitCode.SCOPE
    assert world.team.effects == []
    # One of them is enough, whoever it is.
    world.config["users"]["exclude_emails"] = ["[!b]*@example.test"]
    assert (await world.run()).code is ExitCode.OK
    assert world.harm() == []


async def test_a_renamed_sync_group_is_followed(world: World) -> None:
    await nested(world)
    world.directory.rename(world.group, "Dropbox people")
    world.directory.objects[world.group].account = "Dropbox people"
    world.person("gus")
    assert (await world.run()).code is ExitCode.OK
    assert world.effects() == [("invite", "gus@example.test")]


async def test_another_group_under_the_old_name_is_15(world: World) -> None:
    await nested(world)
    world.directory.delete(world.group)
    other = world.directory.create_group("Dropbox")
    world.person("gus", groups=[other])
    for _ in range(2):
        world.clock.turn(minutes=5)
        assert (await world.run()).code is ExitCode.SCOPE
    assert world.team.effects == []


async def test_a_renamed_sync_group_whose_old_name_another_one_has_is_15_until_it_is_named(
    world: World,
) -> None:
    await nested(world)
    world.directory.rename(world.group, "Dropbox people")
    world.directory.objects[world.group].account = "Dropbox people"
    other = world.directory.create_group("Dropbox")
    world.person("gus", groups=[other])
    summary = await world.run()
    assert summary.code is ExitCode.SCOPE
    assert summary.ended_by is not None
    assert other in summary.ended_by.cause
    assert world.team.effects == []
    world.config.setdefault("users", {})["sync_group"] = world.group
    assert (await world.run()).code is ExitCode.OK
    assert world.team.effects == []


async def test_another_domain_is_10(world: World, new_world: Make) -> None:
    await nested(world)
    other = new_world(options={"dns_name": "other.test"})
    other.folder = world.folder
    other.person("ann")
    assert (await other.run()).code is ExitCode.CONFIGURATION
    assert other.team.effects == []


async def test_the_sync_group_out_of_sight_is_15(world: World) -> None:
    await nested(world)
    world.directory.move_out_of_sight(world.group)
    assert (await world.run()).code is ExitCode.SCOPE
    assert world.harm() == []


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (TeamInfoError("fetch the team", "500"), ExitCode.TEAM_INFO),
        (TeamReadError("read members", "500"), ExitCode.TEAM_READ),
    ],
)
async def test_a_team_that_cannot_be_read_ends_the_pass_and_the_change_is_not_lost(
    world: World, error: Exception, code: ExitCode
) -> None:
    guids = await nested(world)
    world.directory.disable(guids["ann"])
    for call in (1, 2):
        world.gate.reset()
        world.gate.fail("team.read", error, call=call)
        assert (await world.run()).code is code
        assert world.team.effects == []
    await world.run()
    assert world.effects() == [("suspend", "ann@example.test")]


async def test_what_was_due_and_harms_nobody_is_sent_though_the_directory_is_down(world: World) -> None:
    guids = await nested(world)
    world.person("gus")
    world.directory.disable(guids["ann"])
    world.gate.reset()
    # The process dies between writing ahead and sending.
    for at in range(1, 200):
        if not await world.run_and_die(at) or world.gate.died_in == "team.write":
            break
    before = len(world.team.effects)
    world.gate.reset()
    world.gate.fail("directory.identify", DirectoryBusy("connect", "out of reach"))
    summary = await world.run()
    assert summary.code is ExitCode.DIRECTORY
    assert [kind for kind, _ in world.effects()[before:] if kind != "invite"] == []
    world.gate.reset()
    await world.settle()
    assert sorted(world.effects()) == [("invite", "gus@example.test"), ("suspend", "ann@example.test")]


# --- exclusions


async def excluding(make: Make) -> tuple[World, dict[str, str]]:
    world = make(users={"exclude_group": "Protected"})
    protected = world.directory.create_group("Protected")
    people = await nested_with(world, protected)
    return world, {**people, "protected": protected}


async def nested_with(world: World, protected: str) -> dict[str, str]:
    people = {name: world.person(name) for name in NAMES}
    world.team.add("ann@example.test", external_id=f"ad-guid:{people['ann']}")
    world.directory.add_member(protected, people["ann"])
    await settled(world)
    return people


async def test_excluded_wins_over_leaving_disabling_and_deleting(new_world: Make) -> None:
    world, guids = await excluding(new_world)
    world.directory.disable(guids["ann"])
    await world.settle()
    world.directory.remove_member(world.group, guids["ann"])
    await world.settle()
    assert world.team.effects == []


async def test_a_missing_exclusion_group_is_10(new_world: Make) -> None:
    world, guids = await excluding(new_world)
    world.directory.disable(guids["ann"])
    world.directory.delete(guids["protected"])
    assert (await world.run()).code is ExitCode.CONFIGURATION
    assert world.team.effects == []


async def test_an_exclusion_group_deleted_while_watching_is_10(new_world: Make) -> None:
    """Losing a protection is not an empty protection."""
    world, guids = await excluding(new_world)
    async with world.open() as assembly:
        await assembly.engine.run()
        world.directory.disable(guids["ann"])
        world.directory.delete(guids["protected"])
        summary = await assembly.engine.run()
        assert summary.code is ExitCode.CONFIGURATION
        assert (await assembly.engine.run()).code is ExitCode.CONFIGURATION
    assert world.team.effects == []


async def test_an_unreadable_exclusion_group_is_12(new_world: Make) -> None:
    world, guids = await excluding(new_world)
    world.directory.disable(guids["ann"])
    world.directory.make_members_unreadable(guids["protected"])
    assert (await world.run(full=True)).code is ExitCode.DIRECTORY
    assert world.team.effects == []


@pytest.mark.parametrize("full", [False, True])
async def test_an_unreadable_member_of_the_exclusion_group_is_12(new_world: Make, full: bool) -> None:
    """It may be a group: those in it would lose their protection unseen."""
    world, guids = await excluding(new_world)
    vips = world.directory.create_group("VIPs", members=[guids["bob"]])
    world.directory.move_out_of_sight(vips)
    world.directory.add_member(guids["protected"], vips)
    world.directory.disable(guids["bob"])
    assert (await world.run(full=full)).code is ExitCode.DIRECTORY
    assert world.team.effects == []


async def test_an_excluded_person_out_of_sight_stays_excluded_after_a_full_read(new_world: Make) -> None:
    world, guids = await excluding(new_world)
    world.directory.move_out_of_sight(guids["ann"])
    world.directory.remove_member(world.group, guids["ann"])
    for _ in range(3):
        world.clock.turn(minutes=5)
        assert (await world.run(full=True)).code is ExitCode.OK
    assert world.team.effects == []


async def test_an_exclusion_by_pattern_added_to_the_configuration_stops_what_was_already_planned(
    new_world: Make,
) -> None:
    world = new_world(safety={"max_leavers": "0", "min_leavers_allowed": 0})
    guids = world.people(*NAMES)
    await settled(world)
    world.directory.disable(guids[0])
    world.directory.disable(guids[1])
    assert (await world.run()).code is ExitCode.BRAKE
    (digest,) = await world.held()
    world.config["users"] = {"exclude_emails": ["ann@*"]}
    await world.approve(digest)
    await world.settle()
    assert world.effects() == [("suspend", "bob@example.test")]


async def test_a_member_excluded_by_its_dropbox_address_is_not_touched(new_world: Make) -> None:
    world = new_world(users={"exclude_emails": ["boss@*"]})
    guids = world.people("ann", "bob")
    world.team.add("boss@example.test", external_id=f"ad-guid:{guids[0]}")
    await settled(world)
    world.directory.disable(guids[0])
    await world.settle()
    assert world.team.effects == []
    assert world.status("ann") == ""


# --- what is no person


async def test_contacts_computers_and_strangers_are_skipped_and_make_no_list_partial(world: World) -> None:
    contact = world.directory.create_contact("Carl", mail="carl@example.test")
    computer = world.directory.create_computer("PC1")
    world.directory.add_members(world.group, contact, computer)
    world.people("ann")
    summary = await world.run()
    assert world.effects() == [("invite", "ann@example.test")]
    assert {node.entry.kind for node, _ in summary.plan.skipped.values()} >= {Kind.CONTACT, Kind.COMPUTER}


async def test_members_by_primary_group_count(world: World) -> None:
    staff = world.directory.create_group("Staff")
    world.directory.add_member(world.group, staff)
    ann = world.person("ann", groups=[staff])
    world.directory.set_primary_group(ann, staff)
    world.people("bob")
    await settled(world)
    other = world.directory.create_group("Other")
    world.directory.add_member(other, ann)
    world.directory.set_primary_group(ann, other)
    await world.settle()
    # Changing the primary group makes the old one an explicit membership.
    assert world.team.effects == []
    world.directory.remove_member(staff, ann)
    await world.settle()
    assert world.effects() == [("suspend", "ann@example.test")]


async def test_a_newcomer_by_primary_group_alone_is_invited(world: World) -> None:
    staff = world.directory.create_group("Staff")
    world.directory.add_member(world.group, staff)
    world.people("bob")
    await settled(world)
    ann = world.person("ann", groups=[staff])
    world.directory.set_primary_group(ann, staff)
    await world.run()
    assert world.effects(ActionKind.INVITE) == [("invite", "ann@example.test")]


async def test_a_status_that_this_version_does_not_know_is_left_alone(world: World) -> None:
    (ann, _) = world.people("ann", "bob")
    await settled(world)
    member = world.member("ann")
    from dataclasses import replace

    world.team.members[member.member_id] = replace(member, status=Status.UNKNOWN)
    world.directory.disable(ann)
    await world.settle()
    assert world.team.effects == []


async def test_directory_errors_end_with_their_own_hint(world: World) -> None:
    world.people("ann")
    world.gate.fail("directory.identify", DirectoryError("bind", "wrong password", "set the password"))
    summary = await world.run()
    assert summary.ended_by is not None
    assert summary.ended_by.hint == "set the password"
    assert summary.alerts

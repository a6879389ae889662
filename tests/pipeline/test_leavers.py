"""Leaving, deleting, the brake, seats, consoles and timers. (behaviour.md §5, §8)"""

from collections.abc import Callable
from datetime import timedelta

import pytest

from pipeline.core.exits import ExitCode
from pipeline.core.plan import NoteKind
from pipeline.model import ActionKind, Outcome, Status, Verdict
from tests.pipeline.world import START, World

pytestmark = pytest.mark.anyio

Make = Callable[..., World]


def names(count: int, prefix: str = "p") -> list[str]:
    return [f"{prefix}{number:03}" for number in range(count)]


async def team_of(world: World, count: int) -> list[str]:
    """So many people, all joined."""
    guids = world.people(*names(count))
    await world.run()
    world.accept_all()
    await world.run()
    world.team.effects.clear()
    return guids


# --- leaving


async def test_a_script_that_clears_and_refills_the_group_within_a_minute_wipes_nobody(world: World) -> None:
    guids = await team_of(world, 8)
    world.directory.remove_members(world.group, *guids[:4])
    world.clock.on_sleep.append(lambda: world.directory.add_members(world.group, *guids[:4]))
    summary = await world.run()
    assert world.clock.slept == [pytest.approx(60, abs=0.1)]
    assert summary.code is ExitCode.OK
    assert world.team.effects == []
    assert await world.states() == {}


async def test_no_longer_listed_takes_effect_after_the_settling_time_in_the_same_pass(world: World) -> None:
    guids = await team_of(world, 8)
    world.directory.remove_member(world.group, guids[0])
    await world.run()
    assert world.harm() == [("suspend", "p000@example.test")]
    assert world.team.effects[0].wiped
    assert world.team.effects[0].at >= START + timedelta(seconds=60)


async def test_leave_settle_seconds_0_is_at_once(new_world: Make) -> None:
    world = new_world(users={"leave_settle_seconds": 0})
    guids = await team_of(world, 8)
    world.directory.remove_member(world.group, guids[0])
    await world.run()
    assert world.harm() == [("suspend", "p000@example.test")]
    assert world.team.effects[0].at == START


async def test_disabling_takes_effect_at_once(world: World) -> None:
    guids = await team_of(world, 8)
    world.directory.disable(guids[0])
    await world.run()
    assert world.clock.slept == []
    assert world.harm() == [("suspend", "p000@example.test")]


async def test_who_comes_back_is_activated_and_what_waited_is_dropped(world: World) -> None:
    guids = await team_of(world, 8)
    world.directory.disable(guids[0])
    world.directory.remove_member(world.group, guids[1])
    await world.run()
    world.directory.enable(guids[0])
    world.directory.add_member(world.group, guids[1])
    await world.run()
    assert sorted(world.effects(ActionKind.UNSUSPEND)) == [
        ("unsuspend", "p000@example.test"),
        ("unsuspend", "p001@example.test"),
    ]


async def test_wipe_data_off_wipes_nobody(new_world: Make) -> None:
    world = new_world(users={"wipe_data": False})
    guids = await team_of(world, 8)
    world.directory.disable(guids[0])
    world.directory.delete(guids[1])
    await world.run()
    assert len(world.harm()) == 2
    assert not world.team.wipes


async def test_a_disabled_person_is_never_invited(world: World) -> None:
    world.person("ann", enabled=False)
    world.person("bob")
    await world.settle()
    assert world.effects() == [("invite", "bob@example.test")]


async def test_an_open_invitation_of_a_leaver_is_revoked(world: World) -> None:
    guids = world.people(*names(8))
    await world.run()
    world.directory.disable(guids[0])
    world.directory.remove_member(world.group, guids[1])
    world.directory.delete(guids[2])
    await world.run()
    assert sorted(world.harm()) == [("revoke_invite", f"p00{number}@example.test") for number in range(3)]


async def test_invited_leavers_keep_keeps_the_invitation_but_not_of_the_deleted(new_world: Make) -> None:
    world = new_world(users={"invited_leavers": "keep"})
    guids = world.people(*names(8))
    await world.run()
    world.directory.disable(guids[0])
    world.directory.remove_member(world.group, guids[1])
    world.directory.delete(guids[2])
    await world.settle()
    assert world.harm() == [("revoke_invite", "p002@example.test")]
    world.accept_all()
    await world.run(full=True)
    assert sorted(world.harm())[1:] == [("suspend", f"p00{number}@example.test") for number in range(2)]


async def test_who_joins_just_before_the_invitation_is_revoked_is_suspended_instead(world: World) -> None:
    guids = world.people(*names(8))
    await world.run()
    member = world.member("p000")
    world.directory.disable(guids[0])

    async def joins_first(member_id: str, *, wipe_data: bool) -> Outcome:
        world.team.join(member.member_id)
        world.team.remove = remove  # type: ignore[method-assign]
        return Outcome(verdict=Verdict.STALE, tag="not as you think", member=world.member("p000"))

    remove = world.team.remove
    world.team.remove = joins_first  # type: ignore[method-assign]
    await world.run()
    assert world.harm() == [("suspend", "p000@example.test")]


# --- deleting


async def test_a_tombstone_removes_and_keeps_nothing_waiting(world: World) -> None:
    guids = await team_of(world, 8)
    world.directory.delete(guids[0])
    await world.run()
    assert world.harm() == [("remove", "p000@example.test")]
    assert world.clock.slept == []


async def test_on_delete_suspend_suspends_only(new_world: Make) -> None:
    world = new_world(users={"on_delete": "suspend"})
    guids = await team_of(world, 8)
    world.directory.delete(guids[0])
    await world.settle()
    world.clock.turn(days=100)
    await world.settle()
    assert world.harm() == [("suspend", "p000@example.test")]


async def test_the_grace_of_a_deletion_suspends_first_and_removes_when_it_is_over(new_world: Make) -> None:
    world = new_world(users={"delete_grace_days": 3})
    guids = await team_of(world, 8)
    world.directory.delete(guids[0])
    await world.settle()
    assert world.harm() == [("suspend", "p000@example.test")]
    world.clock.turn(days=2, hours=23)
    await world.settle()
    assert len(world.harm()) == 1
    world.clock.turn(hours=2)
    await world.run()
    assert world.harm() == [("suspend", "p000@example.test"), ("remove", "p000@example.test")]


async def test_who_is_restored_and_listed_within_the_grace_is_activated(new_world: Make) -> None:
    world = new_world(users={"delete_grace_days": 3}, options={"recycle_bin": True})
    guids = await team_of(world, 8)
    world.directory.delete(guids[0])
    await world.settle()
    world.directory.restore(guids[0])
    await world.settle()
    world.clock.turn(days=10)
    await world.settle()
    assert world.effects() == [("suspend", "p000@example.test"), ("unsuspend", "p000@example.test")]


async def test_the_grace_survives_a_suspension_that_had_to_be_tried_again(new_world: Make) -> None:
    world = new_world(users={"delete_grace_days": 3})
    guids = await team_of(world, 8)
    world.directory.delete(guids[0])
    world.team.break_next(ActionKind.SUSPEND, outcome=Outcome(verdict=Verdict.RETRY, tag="internal"))
    await world.settle()
    world.clock.turn(days=4)
    await world.settle()
    assert world.harm() == [("suspend", "p000@example.test"), ("remove", "p000@example.test")]


# --- admins


async def test_the_authorising_admin_is_never_suspended_or_removed_and_the_others_go_on(world: World) -> None:
    admin = world.person("admin")
    guids = await team_of(world, 8)
    world.directory.disable(admin)
    world.directory.disable(guids[0])
    assert (await world.run()).code is ExitCode.SYNC
    world.directory.delete(admin)
    assert (await world.run()).code is ExitCode.SYNC
    assert world.harm() == [("suspend", "p000@example.test")]
    assert world.status("admin") == "active"


async def test_while_the_authorising_admin_cannot_be_told_no_team_admin_is_suspended(world: World) -> None:
    admin = world.person("admin")
    world.team.add("other@example.test", is_team_admin=True)
    other = world.person("other")
    guids = await team_of(world, 8)
    world.team.admin_unknown = True
    for guid in (admin, other, guids[0]):
        world.directory.disable(guid)
    assert (await world.run()).code is ExitCode.SYNC
    assert world.harm() == [("suspend", "p000@example.test")]


async def test_the_last_team_admin_fails_with_a_hint(world: World) -> None:
    """The authorising one is another member here: only Dropbox knows who is the last."""
    world.team.members.clear()
    world.team.admin_id = ""
    world.team.add("svc@example.test")
    only = world.team.add("boss@example.test", is_team_admin=True)
    world.team.admin_id = world.team.by_email("svc@example.test").member_id
    boss = world.person("boss")
    await team_of(world, 8)
    world.directory.disable(boss)
    summary = await world.run()
    assert summary.code is ExitCode.SYNC
    assert world.team.members[only.member_id].status is Status.ACTIVE
    assert "admin" in summary.standing.failed[0].hint


# --- the console


async def test_a_console_suspension_is_overridden_and_alerted_once(world: World) -> None:
    await team_of(world, 8)
    world.suspend_in_console("p000")
    summary = await world.run(full=True)
    assert world.effects() == [("unsuspend", "p000@example.test")]
    assert [note.label for note in summary.standing.notes if note.kind is NoteKind.CONSOLE_SUSPENSION] == [
        "p000@example.test"
    ]
    assert (await world.run(full=True)).alerts == ()


async def test_a_console_suspension_is_held_when_asked_for(new_world: Make) -> None:
    world = new_world(users={"console_suspension": "hold"})
    guids = await team_of(world, 8)
    world.suspend_in_console("p000")
    await world.run(full=True)
    world.directory.modify(guids[0], surname="Lee")
    await world.settle()
    assert world.effects(ActionKind.UNSUSPEND) == []


async def test_hold_holds_a_suspension_that_stood_before_the_member_was_adopted(new_world: Make) -> None:
    world = new_world(users={"console_suspension": "hold"})
    world.people("ann", "bob")
    world.team.add("ann@example.test", Status.SUSPENDED)
    await world.settle()
    assert world.effects(ActionKind.UNSUSPEND) == []


async def test_hold_lifts_a_suspension_of_our_own(new_world: Make) -> None:
    world = new_world(users={"console_suspension": "hold"})
    guids = await team_of(world, 8)
    world.directory.disable(guids[0])
    await world.run()
    world.directory.enable(guids[0])
    await world.run()
    assert world.status("p000") == "active"


async def test_hold_holds_also_after_an_earlier_suspension_of_ours_was_lifted_in_the_console(
    new_world: Make,
) -> None:
    world = new_world(users={"console_suspension": "hold"})
    guids = await team_of(world, 8)
    world.directory.disable(guids[0])
    await world.run()
    world.unsuspend_in_console("p000")
    world.directory.enable(guids[0])
    await world.run()
    world.suspend_in_console("p000")
    world.team.effects.clear()
    await world.run(full=True)
    assert world.effects() == []


async def test_an_access_given_back_in_the_console_is_taken_again(world: World) -> None:
    guids = await team_of(world, 8)
    world.directory.disable(guids[0])
    await world.run()
    world.unsuspend_in_console("p000")
    await world.run(full=True)
    assert len(world.harm()) == 2


# --- timers


async def test_expiry_is_looked_at_on_a_timer(new_world: Make) -> None:
    world = new_world(users={"expired_is_disabled": True})
    guids = await team_of(world, 8)
    world.directory.modify(guids[0], expires=world.clock.now() + timedelta(hours=2))
    await world.run()
    assert world.harm() == []
    world.clock.turn(hours=2, seconds=1)
    await world.run()
    assert world.harm() == [("suspend", "p000@example.test")]


async def test_expiry_counts_only_when_asked_for(world: World) -> None:
    guids = await team_of(world, 8)
    world.directory.modify(guids[0], expires=world.clock.now() - timedelta(hours=2))
    await world.settle()
    assert world.team.effects == []


async def test_a_setting_that_was_changed_is_applied_to_everybody_by_the_next_pass(new_world: Make) -> None:
    world = new_world()
    guids = await team_of(world, 8)
    world.directory.modify(guids[0], expires=world.clock.now() - timedelta(hours=2))
    await world.run()
    world.config["users"] = {"expired_is_disabled": True}
    await world.run()
    assert world.harm() == [("suspend", "p000@example.test")]


@pytest.mark.parametrize("changed", [False, True])
async def test_the_welcome_mail_is_sent_again_three_times_at_most(new_world: Make, changed: bool) -> None:
    world = new_world(users={"reinvite_days": 5})
    (ann,) = world.people("ann")
    await world.run()
    if changed:
        world.directory.modify(ann, surname="Lee")
    for _ in range(40):
        world.clock.turn(days=1)
        await world.run()
    resent = [one.at for one in world.team.effects if one.kind is ActionKind.RESEND_WELCOME]
    assert [(at - START).days for at in resent] == [5, 10, 15]


async def test_the_welcome_mail_is_not_sent_again_by_default(world: World) -> None:
    world.people("ann")
    await world.run()
    world.clock.turn(days=40)
    await world.run()
    assert world.team.welcome_mails["ann@example.test"] == 1


# --- seats


async def test_without_seats_people_wait_and_get_freed_seats_first_come_first_served(world: World) -> None:
    world.team.seats = 6  # the admin has one
    guids = await team_of(world, 5)
    world.people("early")
    summary = await world.run()
    assert summary.code is ExitCode.OK
    assert world.status("early") == ""
    world.clock.turn(hours=1)
    world.people("late")
    await world.run()
    assert world.team.effects == []
    world.directory.delete(guids[0])
    await world.settle()
    assert world.effects(ActionKind.INVITE) == [("invite", "early@example.test")]
    assert world.status("late") == ""


async def test_who_waits_for_a_seat_is_served_before_who_comes_in_the_pass_that_frees_one(
    world: World,
) -> None:
    world.team.seats = 6
    guids = await team_of(world, 5)
    world.people(*(f"early{number}" for number in range(4)))
    await world.run()
    world.clock.turn(hours=1)
    for number, late in enumerate(("aaa", "mmm", "zzz")):  # whatever the order of names and ids
        world.directory.delete(guids[number])
        world.person(late)
        world.clock.turn(hours=1)
        await world.run()
        invited = [email[:5] for _, email in world.effects(ActionKind.INVITE)]
        assert invited == ["early"] * (number + 1)


async def test_a_freed_seat_is_used_in_the_same_pass(world: World) -> None:
    world.team.seats = 6
    guids = await team_of(world, 5)
    world.people("early")
    await world.run()
    world.directory.delete(guids[0])
    await world.run()
    assert world.status("early") == "invited"


async def test_who_waits_for_a_seat_and_leaves_is_not_invited(world: World) -> None:
    world.team.seats = 6
    await team_of(world, 5)
    early = world.person("early")
    await world.run()
    world.directory.remove_member(world.group, early)
    await world.settle()
    world.team.seats = 20
    await world.settle()
    assert world.team.effects == []


# --- one bad person


async def test_one_bad_person_never_stops_the_others(world: World) -> None:
    guids = await team_of(world, 8)
    for guid in guids[:4]:
        world.directory.modify(guid, surname="Lee")
    world.team.break_next(ActionKind.UPDATE, tag="other")
    assert (await world.run()).code is ExitCode.SYNC
    assert len(world.effects(ActionKind.UPDATE)) == 3
    assert (await world.run()).code is ExitCode.SYNC
    assert len(world.effects(ActionKind.UPDATE)) == 3  # a permanent refusal is not repeated
    world.directory.modify(guids[0], given_name="Ann")
    for guid in guids[1:4]:
        world.directory.modify(guid, given_name="Ann")
    assert (await world.run()).code is ExitCode.OK


async def test_a_refusal_that_says_not_as_you_think_again_and_again_ends(world: World) -> None:
    guids = await team_of(world, 8)
    world.directory.disable(guids[0])
    for _ in range(20):
        world.team.break_next(ActionKind.SUSPEND, outcome=Outcome(verdict=Verdict.STALE, tag="odd"))
    assert (await world.run()).code is ExitCode.SYNC


async def test_transient_refusals_are_tried_again_with_patience_and_left_to_the_next_pass(
    world: World,
) -> None:
    guids = await team_of(world, 8)
    world.directory.disable(guids[0])
    for _ in range(12):
        world.team.break_next(ActionKind.SUSPEND, outcome=Outcome(verdict=Verdict.RETRY, tag="internal"))
    assert (await world.run()).code is ExitCode.SYNC
    assert sum(world.clock.slept) < 200
    assert world.harm() == []
    for _ in range(10):
        world.clock.turn(hours=2)
        await world.run()
    assert world.harm() == [("suspend", "p000@example.test")]


async def test_hold_lifts_our_own_suspension_of_an_account_that_was_removed_and_recovered(
    new_world: Make,
) -> None:
    """Deleted, suspended for the grace, removed, restored: it comes back suspended, and that was us."""
    users = {"console_suspension": "hold", "delete_grace_days": 1}
    world = new_world(users=users, options={"recycle_bin": True})
    guids = await team_of(world, 8)
    world.directory.delete(guids[0])
    await world.settle()
    world.clock.turn(days=2)
    await world.settle()
    assert world.status("p000") == "removed"
    world.team.recovered_as = Status.SUSPENDED
    world.directory.restore(guids[0])
    await world.settle()
    assert world.status("p000") == "active"


async def test_a_failed_change_of_address_is_tried_again_once_the_address_is_free_whatever_else_comes(
    world: World,
) -> None:
    guids = await team_of(world, 8)
    world.directory.modify(guids[0], mail="p001@example.test")
    world.directory.modify(guids[1], mail="new@example.test")
    world.team.break_next(ActionKind.UPDATE, tag="other")
    assert (await world.run()).code is ExitCode.SYNC
    assert len(await world.failed()) == 2
    world.directory.modify(guids[1], mail="newer@example.test")
    assert (await world.run(full=True)).code is ExitCode.OK
    assert world.member("p001").external_id == f"ad-guid:{guids[0]}"

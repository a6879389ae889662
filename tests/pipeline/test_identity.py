"""Whose account is whose: nobody unmanaged is touched, no account passes to somebody else unseen. (behaviour.md §2.3 to §4)"""

from collections.abc import Callable
from dataclasses import replace

import pytest

from pipeline.core.exits import ExitCode
from pipeline.core.plan import NoteKind
from pipeline.model import ActionKind, Status
from tests.pipeline.world import World

pytestmark = pytest.mark.anyio

Make = Callable[..., World]


async def settled(world: World) -> None:
    await world.run()
    world.accept_all()
    await world.run()
    world.team.effects.clear()


def notes(world: World, kind: NoteKind) -> list[str]:
    assert world.summary is not None
    return [note.label for note in world.summary.standing.notes if note.kind is kind]


# --- who is managed


async def test_a_member_who_matches_nobody_is_never_touched(world: World) -> None:
    world.people("ann")
    world.team.add("zoe@example.test")
    world.team.add("yan@example.test", Status.INVITED)
    world.team.add("xia@example.test", Status.SUSPENDED)
    await world.settle()
    assert world.effects() == [("invite", "ann@example.test")]


async def test_manage_existing_off_leaves_existing_members_alone(new_world: Make) -> None:
    world = new_world(users={"manage_existing": False})
    (ann, _) = world.people("ann", "bob")
    world.team.add("ann@example.test", given_name="Other")
    await settled(world)
    world.directory.disable(ann)
    await world.settle()
    world.directory.remove_member(world.group, ann)
    await world.settle()
    world.directory.delete(ann)
    await world.settle()
    assert world.team.effects == []
    assert world.member("ann").given_name == "Other"


async def test_manage_existing_off_leaves_an_account_made_by_an_admin_in_place_of_ours_alone(
    new_world: Make,
) -> None:
    """The link led to an account that is gone; the new one is no more ours than any other."""
    world = new_world(users={"manage_existing": False})
    (ann, _) = world.people("ann", "bob")
    await settled(world)
    ours = world.member("ann")
    world.team.members[ours.member_id] = replace(ours, status=Status.REMOVED, recoverable=False)
    world.team.add("ann@example.test", given_name="Made", surname="By hand")
    await world.run(full=True)
    world.directory.disable(ann)
    await world.settle()
    assert world.team.effects == []


async def test_own_and_legacy_ids_mean_managed_whatever_manage_existing_says(new_world: Make) -> None:
    world = new_world(users={"manage_existing": False})
    ann, bob, _ = world.people("ann", "bob", "cid")
    world.team.add("old.ann@example.test", external_id=f"ad-guid:{ann}")
    world.team.add(
        "old.bob@example.test",
        external_id=f"ADSYNC {world.directory.sid_of(world.directory.objects[bob])}",
    )
    await world.settle()
    assert world.status("ann") == "active"
    assert world.member("bob").external_id == f"ad-guid:{bob}"
    assert world.effects(ActionKind.INVITE) == [("invite", "cid@example.test")]


async def test_legacy_ids_mean_nothing_when_adopt_legacy_is_off(new_world: Make) -> None:
    world = new_world(users={"manage_existing": False}, external_id={"adopt_legacy": False})
    ann, _ = world.people("ann", "bob")
    sid = world.directory.sid_of(world.directory.objects[ann])
    world.team.add("ann@example.test", external_id=f"ADSYNC {sid}")
    await settled(world)
    world.directory.disable(ann)
    await world.settle()
    assert world.team.effects == []


async def test_without_adopt_legacy_a_member_is_still_found_by_its_email(new_world: Make) -> None:
    world = new_world(external_id={"adopt_legacy": False})
    ann, _ = world.people("ann", "bob")
    sid = world.directory.sid_of(world.directory.objects[ann])
    world.team.add("ann@example.test", external_id=f"ADSYNC {sid}")
    await settled(world)
    world.directory.disable(ann)
    await world.settle()
    assert world.effects() == [("suspend", "ann@example.test")]


async def test_links_survive_the_loss_of_the_journal(world: World) -> None:
    """Also those of leavers, of the deleted, and of people whose e-mail was cleared meanwhile."""
    ann, bob, cid, dan, *_ = world.people("ann", "bob", "cid", "dan", "eva", "fay", "gus", "hal")
    await settled(world)
    world.lose_journal()
    world.directory.delete(ann)
    world.directory.remove_member(world.group, bob)
    world.directory.modify(cid, mail=None)
    world.directory.disable(cid)
    world.directory.modify(dan, mail="dan.new@example.test")
    await world.settle()
    assert sorted(world.effects()) == [
        ("remove", "ann@example.test"),
        ("suspend", "bob@example.test"),
        ("suspend", "cid@example.test"),
        ("update", "dan.new@example.test"),
    ]


async def test_another_domains_ids_are_left_alone(world: World) -> None:
    """An id that this domain does not know belongs to somebody else's connector."""
    world.people("ann", "bob")
    world.team.add("zoe@example.test", external_id="ad-guid:11111111-2222-3333-4444-555555555555")
    world.team.add("yan@example.test", external_id="ADSYNC S-1-5-21-9-9-9-1234")
    for _ in range(3):
        await world.run(full=True)
        world.clock.turn(minutes=5)
    assert sorted(world.effects()) == [("invite", "ann@example.test"), ("invite", "bob@example.test")]


@pytest.mark.parametrize(
    "external_id", ["ad-guid:11111111-2222-3333-4444-555555555555", "ADSYNC S-1-5-21-9-9-9-1234"]
)
async def test_another_connectors_member_is_not_adopted_by_its_email(world: World, external_id: str) -> None:
    (ann, _) = world.people("ann", "bob")
    world.team.add("ann@example.test", external_id=external_id)
    await settled(world)
    world.directory.disable(ann)
    await world.settle()
    assert world.team.effects == []
    assert world.member("ann").external_id == external_id


async def test_a_foreign_id_is_kept_and_reported_and_the_member_managed(world: World) -> None:
    (ann, _) = world.people("ann", "bob")
    world.team.add("ann@example.test", external_id="okta:00u1")
    await settled(world)
    assert world.member("ann").external_id == "okta:00u1"
    assert notes(world, NoteKind.FOREIGN_ID) == ["ann@example.test"]
    world.directory.disable(ann)
    await world.settle()
    assert world.effects() == [("suspend", "ann@example.test")]


async def test_a_foreign_id_is_overwritten_only_when_asked_for(new_world: Make) -> None:
    world = new_world(external_id={"overwrite_foreign": True})
    (ann,) = world.people("ann")
    world.team.add("ann@example.test", external_id="okta:00u1")
    await world.settle()
    assert world.member("ann").external_id == f"ad-guid:{ann}"


@pytest.mark.parametrize("which", [0, 1])
async def test_an_account_stays_with_whom_its_legacy_id_names_also_where_ids_may_be_overwritten(
    new_world: Make, which: int
) -> None:
    """Whichever of the two is decided about first: the old address went to a newcomer."""
    world = new_world(external_id={"overwrite_foreign": True})
    guids = world.people("ann", "bob")
    owner, newcomer = guids[which], guids[1 - which]
    world.directory.modify(owner, mail="new@example.test")
    world.directory.modify(newcomer, mail="old@example.test")
    sid = world.directory.sid_of(world.directory.objects[owner])
    account = world.team.add("old@example.test", external_id=f"ADSYNC {sid}").member_id
    await world.settle()
    now = world.team.members[account]
    assert (now.email, now.external_id) == ("new@example.test", f"ad-guid:{owner}")
    assert world.status("old") == "invited"


@pytest.mark.parametrize("external_id_format", ["{objectGUID}", "{objectGUID}@ad"])
async def test_a_format_that_begins_with_the_id_makes_no_foreign_id_ours(
    new_world: Make, external_id_format: str
) -> None:
    world = new_world(external_id={"format": external_id_format})
    *_, cid = world.people("ann", "bob", "cid")
    world.team.add("ann@example.test", external_id="okta:00u1")
    other = external_id_format.replace("{objectGUID}", "11111111-2222-3333-4444-555555555555")
    world.team.add("bob@example.test", external_id=other)
    await world.settle()
    assert world.member("ann").external_id == "okta:00u1"
    assert world.member("bob").external_id == other
    world.accept_all()
    world.lose_journal()
    world.directory.remove_member(world.group, cid)
    await world.settle()
    assert world.status("cid") == "suspended"


async def test_an_id_that_names_a_contact_or_a_group_manages_nobody(world: World) -> None:
    contact = world.directory.create_contact("Carl", mail="carl@example.test")
    group = world.directory.create_group("Some")
    world.people("ann")
    world.team.add("carl@example.test", external_id=f"ad-guid:{contact}")
    world.team.add("some@example.test", external_id=f"ad-guid:{group}")
    for _ in range(3):
        await world.run(full=True)
        world.clock.turn(minutes=5)
    assert world.harm() == []


async def test_a_hidden_listed_person_is_left_alone_also_after_the_journal_was_lost(world: World) -> None:
    ann, _ = world.people("ann", "bob")
    await settled(world)
    world.directory.move_out_of_sight(ann)
    world.lose_journal()
    for _ in range(3):
        await world.run(full=True)
        world.clock.turn(minutes=5)
    assert world.team.effects == []
    assert "settling" not in str(await world.states())


async def test_who_left_while_the_journal_was_lost_is_suspended_also_from_the_exclusion_groups_neighbourhood(
    new_world: Make,
) -> None:
    """A person whom the mirror knows for another reason, but who was never seen as listed."""
    world = new_world(users={"exclude_group": "Protected"})
    ann, _ = world.people("ann", "bob")
    protected = world.directory.create_group("Protected", members=[ann])
    await settled(world)
    world.team.add("ann@example.test", external_id=f"ad-guid:{ann}")
    world.lose_journal()
    world.directory.remove_member(world.group, ann)
    await world.settle()
    assert world.team.effects == []
    world.directory.remove_member(protected, ann)
    await world.settle()
    assert world.effects() == [("suspend", "ann@example.test")]


# --- namesakes and shared addresses


async def test_a_namesake_with_another_guid_gets_no_account_and_the_old_one_is_held(world: World) -> None:
    old, _ = world.people("ann", "bob")
    await settled(world)
    world.directory.delete(old)
    new = world.person("ann.two", mail="ann@example.test")
    for _ in range(3):
        await world.run(full=True)
        world.clock.turn(minutes=5)
    assert world.team.effects == []
    assert world.member("ann").external_id == f"ad-guid:{old}"
    assert notes(world, NoteKind.NAMESAKE)
    assert world.member_of(new) is None


async def test_a_leaver_whose_address_passed_to_a_colleague_with_an_own_account_is_suspended(
    world: World,
) -> None:
    """The colleague is no newcomer: nothing can pass to them unseen."""
    ann, bob = world.people("ann", "bob")
    await settled(world)
    world.directory.remove_member(world.group, ann)
    world.directory.modify(ann, mail=None)
    world.directory.modify(bob, mail="ann@example.test")
    await world.settle()
    assert ("suspend", "ann@example.test") in world.effects()
    assert world.member_of(bob) is not None


async def test_two_listed_people_with_one_email_are_neither_invited_nor_adopted(world: World) -> None:
    world.person("ann", mail="team@example.test")
    world.person("bob", mail="TEAM@example.test")
    world.person("cid")
    await world.settle()
    assert world.effects() == [("invite", "cid@example.test")]
    world.team.add("team@example.test", given_name="Existing")
    await world.run(full=True)
    assert world.effects() == [("invite", "cid@example.test")]
    assert len(notes(world, NoteKind.SKIPPED)) == 2


async def test_once_a_shared_email_is_no_longer_shared_both_are_served(world: World) -> None:
    world.person("ann", mail="team@example.test")
    bob = world.person("bob", mail="team@example.test")
    await world.run()
    world.directory.modify(bob, mail="bob@example.test")
    await world.settle()
    assert sorted(world.effects()) == [("invite", "bob@example.test"), ("invite", "team@example.test")]


async def test_clearing_the_email_of_somebody_who_leaves_does_not_keep_the_account_open(world: World) -> None:
    ann, bob, cid, *_ = world.people("ann", "bob", "cid", "dan", "eva", "fay")
    await settled(world)
    for guid in (ann, bob, cid):
        world.directory.modify(guid, mail=None)
    world.directory.disable(ann)
    world.directory.remove_member(world.group, bob)
    world.directory.delete(cid)
    await world.settle()
    assert sorted(world.harm()) == [
        ("remove", "cid@example.test"),
        ("suspend", "ann@example.test"),
        ("suspend", "bob@example.test"),
    ]


async def test_clearing_or_spoiling_the_email_of_somebody_who_stays_changes_nothing(world: World) -> None:
    ann, bob, _ = world.people("ann", "bob", "cid")
    await settled(world)
    world.directory.modify(ann, mail=None)
    world.directory.modify(bob, mail="not an address")
    await world.settle()
    assert world.team.effects == []


# --- changes of e-mail


async def test_a_chain_of_email_changes_works_in_one_pass(world: World) -> None:
    ann, bob, cid = world.people("ann", "bob", "cid")
    await settled(world)
    world.directory.modify(ann, mail="bob@example.test")
    world.directory.modify(bob, mail="cid@example.test")
    world.directory.modify(cid, mail="new@example.test")
    assert (await world.run()).code is ExitCode.OK
    assert world.member("bob").external_id == f"ad-guid:{ann}"
    assert world.member("cid").external_id == f"ad-guid:{bob}"
    assert world.member("new").external_id == f"ad-guid:{cid}"


async def test_an_address_given_up_by_a_colleague_is_free_for_a_newcomer_in_the_same_pass(
    world: World,
) -> None:
    (ann,) = world.people("ann")
    await settled(world)
    world.directory.modify(ann, mail="ann.lee@example.test")
    new = world.person("ann.two", mail="ann@example.test")
    assert (await world.run()).code is ExitCode.OK
    assert world.member("ann").external_id == f"ad-guid:{new}"
    assert world.member("ann.lee").external_id == f"ad-guid:{ann}"
    assert notes(world, NoteKind.NAMESAKE) == []


async def test_a_link_of_a_chain_that_must_be_tried_again_takes_the_others_along(world: World) -> None:
    ann, bob, _ = world.people("ann", "bob", "cid")
    await settled(world)
    world.directory.modify(bob, mail="new@example.test")
    world.directory.modify(ann, mail="bob@example.test")
    from pipeline.model import Outcome, Verdict

    world.team.break_next(ActionKind.UPDATE, outcome=Outcome(verdict=Verdict.RETRY, tag="internal"))
    assert (await world.run()).code is ExitCode.OK
    assert world.member("bob").external_id == f"ad-guid:{ann}"
    assert world.member("new").external_id == f"ad-guid:{bob}"


async def test_a_link_of_a_chain_that_failed_for_good_lets_the_others_follow_once_it_works(
    world: World,
) -> None:
    ann, bob, _ = world.people("ann", "bob", "cid")
    await settled(world)
    world.directory.modify(bob, mail="new@example.test")
    world.directory.modify(ann, mail="bob@example.test")
    world.team.break_next(ActionKind.UPDATE, tag="email_reserved_for_other_user")
    assert (await world.run()).code is ExitCode.SYNC
    world.directory.modify(bob, mail="newer@example.test")
    assert (await world.run()).code is ExitCode.OK
    assert world.member("bob").external_id == f"ad-guid:{ann}"


async def test_a_swap_is_reported_and_harms_nobody(world: World) -> None:
    ann, bob, _ = world.people("ann", "bob", "cid")
    await settled(world)
    world.directory.modify(ann, mail="bob@example.test")
    world.directory.modify(bob, mail="ann@example.test")
    assert (await world.run()).code is ExitCode.SYNC
    assert world.team.effects == []
    world.directory.modify(bob, mail="interim@example.test")
    await world.settle()
    world.directory.modify(bob, mail="ann@example.test")
    assert (await world.run()).code is ExitCode.OK
    assert world.member("ann").external_id == f"ad-guid:{bob}"
    assert world.member("bob").external_id == f"ad-guid:{ann}"


async def test_an_invited_members_changes_wait_until_they_have_joined(world: World) -> None:
    (ann,) = world.people("ann")
    await world.run()
    world.directory.modify(ann, mail="ann.lee@example.test", surname="Lee")
    await world.settle()
    assert world.effects(ActionKind.UPDATE) == []
    assert (await world.states()).get("waiting") == 1
    world.accept_all()
    await world.run()
    assert world.member("ann.lee").surname == "Lee"


async def test_reinvite_revokes_and_invites_anew_in_one_pass(new_world: Make) -> None:
    world = new_world(users={"invited_email_change": "reinvite"})
    (ann,) = world.people("ann")
    await world.run()
    world.directory.modify(ann, mail="ann.lee@example.test")
    assert (await world.run()).code is ExitCode.OK
    assert world.effects() == [
        ("invite", "ann@example.test"),
        ("revoke_invite", "ann@example.test"),
        ("invite", "ann.lee@example.test"),
    ]


async def test_what_follows_a_revocation_that_had_to_be_tried_again_is_not_lost(new_world: Make) -> None:
    from pipeline.model import Outcome, Verdict

    world = new_world(users={"invited_email_change": "reinvite"})
    ann, _ = world.people("ann", "bob")
    await world.run()
    world.directory.modify(ann, mail="ann.lee@example.test")
    world.team.break_next(ActionKind.REVOKE_INVITE, outcome=Outcome(verdict=Verdict.RETRY, tag="internal"))
    await world.run()
    assert world.effects()[-1] == ("invite", "ann.lee@example.test")


# --- removed accounts


async def test_a_removed_account_is_recovered_and_brought_up_to_date(world: World) -> None:
    ann, _ = world.people("ann", "bob")
    await settled(world)
    member = world.member("ann")
    world.team.members[member.member_id] = replace(member, status=Status.REMOVED, recoverable=True)
    world.directory.modify(ann, surname="Lee")
    await world.run(full=True)
    assert world.effects() == [("recover", "ann@example.test"), ("update", "ann@example.test")]


async def test_an_account_that_comes_back_suspended_is_activated(world: World) -> None:
    """A recovered account comes back in its previous state."""
    world.people("ann", "bob")
    await settled(world)
    member = world.member("ann")
    world.team.members[member.member_id] = replace(member, status=Status.REMOVED, recoverable=True)
    world.team.recovered_as = Status.SUSPENDED
    await world.run(full=True)
    assert world.status("ann") == "active"


async def test_a_removed_account_that_cannot_be_recovered_is_invited_again(world: World) -> None:
    world.people("ann", "bob")
    await settled(world)
    member = world.member("ann")
    world.team.members[member.member_id] = replace(member, status=Status.REMOVED, recoverable=False)
    await world.run(full=True)
    assert world.effects() == [("invite", "ann@example.test")]


async def test_what_follows_a_recovery_that_had_to_wait_for_a_seat_is_not_lost(world: World) -> None:
    ann, _ = world.people("ann", "bob")
    await settled(world)
    member = world.member("ann")
    world.team.members[member.member_id] = replace(member, status=Status.REMOVED, recoverable=True)
    world.team.seats = 2
    world.directory.modify(ann, surname="Lee")
    await world.run(full=True)
    assert world.team.effects == []
    world.team.seats = 10
    await world.run()
    assert world.member("ann").surname == "Lee"
    assert world.status("ann") == "active"


@pytest.mark.parametrize("full", [False, True])
async def test_who_was_hidden_when_the_journal_was_lost_and_then_leaves_is_suspended(
    world: World, full: bool
) -> None:
    """Never seen as listed, and still a leaver: the group no longer holds them."""
    ann, *_ = world.people("ann", "bob", "cid", "dan")
    await settled(world)
    world.directory.move_out_of_sight(ann)
    world.lose_journal()
    await world.run()
    world.directory.remove_member(world.group, ann)
    for _ in range(3):
        world.clock.turn(minutes=2)
        await world.run(full=full)
    assert world.effects() == [("suspend", "ann@example.test")]


async def test_a_revocation_does_not_remove_who_has_joined_while_it_was_held(new_world: Make) -> None:
    """The same request removes an account with its files: held for days, it is not what was decided any more."""
    world = new_world(safety={"max_leavers": "0", "min_leavers_allowed": 0})
    ann, *_ = world.people("ann", "bob", "cid", "dan")
    await world.run()
    world.directory.disable(ann)
    assert (await world.run()).code is ExitCode.BRAKE
    world.accept_all()
    (digest,) = await world.held()
    await world.approve(digest)
    await world.run()
    assert ("remove", "ann@example.test") not in world.effects()
    assert world.status("ann") in ("active", "suspended")

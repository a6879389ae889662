"""Addresses that can't be had: what else is wanted does not wait for them, and they are tried again once they are free. (behaviour.md §4)"""

from collections.abc import Callable
from dataclasses import replace

import pytest

from pipeline.core.exits import ExitCode
from pipeline.model import ActionKind, Outcome, State, Status, TeamEvent, Verdict
from tests.pipeline.test_identity import settled
from tests.pipeline.test_leavers import team_of
from tests.pipeline.test_live import live, watching  # noqa: F401 - a fixture
from tests.pipeline.world import World

pytestmark = pytest.mark.anyio

Make = Callable[..., World]
TAKEN = "ann.lee@example.test"


def outsider(world: World, email: str = TAKEN) -> str:
    """Somebody in the team whom nobody in the directory matches has the address."""
    return world.team.add(email, given_name="Out", surname="Sider").member_id


def let_go(world: World, member_id: str) -> None:
    member = world.team.members[member_id]
    world.team.members[member_id] = replace(member, email="elsewhere@example.test")


async def married(world: World) -> str:
    """Ann has another name and another address, and the address is somebody else's."""
    ann, _ = world.people("ann", "bob")
    await settled(world)
    outsider(world)
    world.directory.modify(ann, mail=TAKEN, surname="Lee")
    return ann


# --- the rest goes on


async def test_names_get_through_though_the_address_is_refused_and_nothing_is_written_twice(
    world: World,
) -> None:
    await married(world)
    assert (await world.run()).code is ExitCode.SYNC
    assert world.member("ann").surname == "Lee"
    assert world.team.sent["update"] == 2  # all together, and without what was refused
    assert await world.failed() == [("ann@example.test", "update")]
    async with world.reading() as journal:
        (failed,) = [
            one for one in await journal.outbox.in_state(State.FAILED) if one.email == "ann@example.test"
        ]
    assert (failed.changes.email, failed.changes.surname) == (TAKEN, "")
    for _ in range(2):
        world.clock.turn(hours=1)
        await world.run()
    assert world.team.sent["update"] == 2


async def test_a_name_that_changes_later_gets_through_and_the_refused_address_is_asked_for_again(
    world: World,
) -> None:
    ann = await married(world)
    await world.run()
    world.directory.modify(ann, given_name="Anna")
    await world.run()
    assert world.member("ann").given_name == "Anna"
    assert await world.failed() == [("ann@example.test", "update")]


async def test_a_console_edit_is_overridden_though_an_address_stands_refused(world: World) -> None:
    await married(world)
    await world.run()
    member = world.member("ann")
    world.team.members[member.member_id] = replace(member, surname="Console")
    await world.run(full=True)
    assert world.member("ann").surname == "Lee"
    # The outsider has it still: nobody asks for it again.
    assert world.team.sent["update"] == 3


async def test_the_external_id_of_an_adoption_gets_through_though_the_address_is_refused(
    world: World,
) -> None:
    world.person("bob")
    ann = world.person("ann", mail=TAKEN)
    outsider(world)
    account = world.team.add(
        "ann@example.test", external_id=f"ADSYNC {world.directory.sid_of(world.directory.objects[ann])}"
    )
    # The outsider has the e-mail, the old connector's id says who Ann is.
    await world.run()
    assert world.team.members[account.member_id].external_id == f"ad-guid:{ann}"
    assert world.team.members[account.member_id].surname == "Example"


async def test_names_get_through_though_the_brake_holds_the_addresses(new_world: Make) -> None:
    world = new_world(safety={"max_email_changes": "0"})
    guids = await team_of(world, 6)
    for number, guid in enumerate(guids):
        world.directory.modify(guid, mail=f"other{number}@example.test", surname="Lee")
    assert (await world.run()).code is ExitCode.BRAKE
    assert {world.member_of(guid).surname for guid in guids} == {"Lee"}  # type: ignore[union-attr]
    assert {email for _, email in world.effects()} == {f"p{number:03}@example.test" for number in range(6)}
    (digest,) = await world.held()
    assert await world.approve(digest) == 6
    await world.settle()
    assert {world.member_of(guid).email for guid in guids} == {
        f"other{number}@example.test" for number in range(6)
    }  # type: ignore[union-attr]
    assert len(world.effects(ActionKind.UPDATE)) == 12


async def test_names_get_through_though_the_addresses_are_swapped(world: World) -> None:
    ann, bob = world.people("ann", "bob")
    await settled(world)
    world.directory.modify(ann, mail="bob@example.test", surname="Lee")
    world.directory.modify(bob, mail="ann@example.test", surname="Ray")
    await world.run()
    assert (world.member("ann").surname, world.member("bob").surname) == ("Lee", "Ray")
    assert sorted(await world.failed()) == [("ann@example.test", "update"), ("bob@example.test", "update")]


async def test_without_a_refusal_one_request_carries_everything(world: World) -> None:
    ann, _ = world.people("ann", "bob")
    await settled(world)
    world.directory.modify(ann, mail=TAKEN, surname="Lee", given_name="Anna")
    await world.settle()
    assert world.team.sent["update"] == 1


# --- and the address, once it is free


async def test_a_refused_address_is_tried_again_by_the_next_full_comparison_once_an_outsider_gave_it_up(
    world: World,
) -> None:
    ann = await married(world)
    await world.run()
    (other,) = [one.member_id for one in world.team.members.values() if one.email == TAKEN]
    await world.run(full=True)
    asked = world.team.sent["update"]
    let_go(world, other)
    await world.run(full=True)
    assert world.member_of(ann).email == TAKEN  # type: ignore[union-attr]
    assert world.team.sent["update"] == asked + 1
    assert await world.failed() == []


async def test_while_somebody_on_the_team_has_it_a_full_comparison_does_not_ask_again(world: World) -> None:
    await married(world)
    await world.run()
    asked = world.team.sent["update"]
    (other,) = [one for one in world.team.members.values() if one.email == TAKEN]
    for status, recoverable in ((Status.SUSPENDED, False), (Status.REMOVED, True)):
        world.team.members[other.member_id] = replace(other, status=status, recoverable=recoverable)
        await world.run(full=True)
        assert world.team.sent["update"] == asked
    world.team.expire_recovery(other.member_id)
    await world.run(full=True)
    assert world.member("ann.lee").given_name == "Ann"


async def test_an_invitation_refused_for_another_team_is_not_repeated_by_every_comparison(
    world: World,
) -> None:
    """The person or the other team has to do something first; `retry` then asks again."""
    world.person("bob")
    await settled(world)
    world.person("ann")
    refusal = Outcome(verdict=Verdict.FAILED, tag="user_on_another_team")
    world.team.break_next(ActionKind.INVITE, outcome=refusal)
    await world.run()
    asked = world.team.sent["invite"]
    await world.run(full=True)
    assert world.team.sent["invite"] == asked


async def test_while_watching_it_is_tried_again_as_soon_as_the_event_log_tells(live: World) -> None:  # noqa: F811
    ann, _ = live.people("ann", "bob")
    async with watching(live) as watch:
        live.accept_all()
        await watch.look(hours=1)
        other = outsider(live)
        watch.engine.want_full()
        await watch.look(seconds=5)
        live.directory.modify(ann, mail=TAKEN, surname="Lee")
        await watch.look(seconds=5)
        assert live.member("ann").surname == "Lee"
        asked = live.team.sent["update"]
        let_go(live, other)
        live.team.log.append(
            TeamEvent(
                at=live.clock.now(),
                kind="member_change_email",
                member_id=other,
                email="elsewhere@example.test",
            )
        )
        await watch.look(seconds=31)
        await watch.look(seconds=5)
        assert live.member_of(ann).email == TAKEN  # type: ignore[union-attr]
        assert live.team.sent["update"] == asked + 1


async def test_an_account_that_no_listing_has_shown_frees_an_address_as_well(live: World) -> None:  # noqa: F811
    ann, _ = live.people("ann", "bob")
    async with watching(live) as watch:
        live.accept_all()
        await watch.look(hours=1)
        other = outsider(live)
        live.directory.modify(ann, mail=TAKEN)
        await watch.look(seconds=5)
        let_go(live, other)
        live.team.log.append(TeamEvent(at=live.clock.now(), kind="member_change_email", member_id=other))
        await watch.look(seconds=31)
        await watch.look(seconds=5)
        assert live.member_of(ann).email == TAKEN  # type: ignore[union-attr]


async def test_an_event_about_somebody_else_does_not_repeat_a_refused_address(live: World) -> None:  # noqa: F811
    ann, bob = live.people("ann", "bob")
    async with watching(live) as watch:
        live.accept_all()
        await watch.look(hours=1)
        outsider(live)
        live.directory.modify(ann, mail=TAKEN)
        await watch.look(seconds=5)
        asked = live.team.sent["update"]
        member = live.member_of(bob)
        assert member is not None
        live.team.log.append(
            TeamEvent(at=live.clock.now(), kind="member_change_name", member_id=member.member_id)
        )
        await watch.look(seconds=31)
        await watch.look(seconds=5)
        assert live.team.sent["update"] == asked


async def test_an_unmanaged_account_that_gives_up_an_address_makes_way_for_its_person(
    new_world: Make,
) -> None:
    """Manage existing users is off: Ann's address was an unmanaged member's, who is left alone."""
    world = new_world(users={"manage_existing": False})
    other = outsider(world, "ann@example.test")
    world.people("ann", "bob")
    await settled(world)
    assert world.effects() == []
    async with world.open() as assembly:
        drift = assembly.parts.drift
        await drift.look()
        let_go(world, other)
        world.team.log.append(TeamEvent(at=world.clock.now(), kind="member_change_email", member_id=other))
        assert await drift.look() == 1
        await assembly.engine.run()
    assert world.effects() == [("invite", "ann@example.test")]

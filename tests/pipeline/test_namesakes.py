"""An account passes to a namesake by `approve` alone, and only as it was shown. (behaviour.md §2.5)"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from pipeline.app import requests
from pipeline.app.overview import status_of
from pipeline.app.reversal import plan_undo
from pipeline.core.exits import ExitCode
from pipeline.core.plan import Note, NoteKind
from pipeline.errors import ControlError
from pipeline.model import Action, ActionKind, Json, Outcome, Status, Verdict
from tests.pipeline.test_identity import settled
from tests.pipeline.test_leavers import team_of
from tests.pipeline.test_live import live, watching  # noqa: F401 - a fixture
from tests.pipeline.world import World

pytestmark = pytest.mark.anyio

Make = Callable[..., World]


def notes(world: World, kind: NoteKind) -> list[Note]:
    assert world.summary is not None
    return [note for note in world.summary.standing.notes if note.kind is kind]


async def claims(world: World) -> list[str]:
    """The hashes of what waits for an approval because of a namesake."""
    async with world.reading() as journal:
        return [one.hash for one in await journal.outbox.claims() if one.approved_at is None]


async def actions_of(world: World, guid: str) -> list[Action]:
    async with world.reading() as journal:
        return (await journal.outbox.open_of([guid])).get(guid, [])


async def recreated(world: World, **values: Any) -> tuple[str, str]:
    """Ann, an active member, was deleted in the directory and made anew under another GUID, with the same e-mail."""
    old, _ = world.people("ann", "bob")
    await settled(world)
    world.directory.delete(old)
    new = world.person("ann.two", mail="ann@example.test", given_name="Ann", **values)
    await world.run()
    return old, new


def owner(world: World) -> str:
    return world.member("ann").external_id.removeprefix("ad-guid:")


# --- held, shown, moved


async def test_approve_moves_the_link_and_the_account_shows_the_new_person(world: World) -> None:
    old, new = await recreated(world, surname="Newly")
    account = world.member("ann").member_id
    assert world.team.effects == []
    (digest,) = await claims(world)
    assert await world.approve(digest) == 1
    assert (await world.run()).code is ExitCode.OK
    member = world.member("ann")
    assert (member.member_id, member.status, member.surname) == (account, Status.ACTIVE, "Newly")
    assert member.external_id == f"ad-guid:{new}"
    assert world.effects() == [("update", "ann@example.test")]
    assert notes(world, NoteKind.NAMESAKE) == []
    async with world.reading() as journal:
        links = await journal.links.of([old, new])
    assert list(links) == [new]
    assert (links[new].member_id, links[new].how, links[new].old_external_id) == (
        account,
        "approved",
        f"ad-guid:{old}",
    )


async def test_who_lost_the_link_never_causes_a_suspension_or_removal_of_the_account(world: World) -> None:
    old, _ = await recreated(world)
    await world.approve((await claims(world))[0])
    for _ in range(3):
        await world.run(full=True)
        world.clock.turn(days=2)
    assert world.harm() == []
    world.lose_journal()
    await world.settle()
    world.clock.turn(days=2)
    await world.run(full=True)
    assert world.harm() == []
    assert owner(world) != old


@pytest.mark.parametrize("approves", [False, True])
async def test_a_leaving_that_was_planned_before_the_namesake_came_does_not_hit_the_account(
    new_world: Make, *, approves: bool
) -> None:
    """Deleted, in the days of grace: the removal waits in the outbox when the namesake appears."""
    world = new_world(users={"delete_grace_days": 3})
    old, _ = world.people("ann", "bob")
    await settled(world)
    world.directory.delete(old)
    await world.settle()
    assert world.harm() == [("suspend", "ann@example.test")]
    new = world.person("ann.two", mail="ann@example.test")
    await world.run()
    assert await actions_of(world, old) == []
    if approves:
        await world.approve((await claims(world))[0])
    world.clock.turn(days=4)
    await world.settle()
    assert world.harm() == [("suspend", "ann@example.test")]
    assert owner(world) == (new if approves else old)
    # Ours was the suspension, and so the new holder is let in without a word about the console.
    assert world.status("ann") == ("active" if approves else "suspended")
    assert notes(world, NoteKind.CONSOLE_SUSPENSION) == []


async def test_with_hold_a_suspension_of_ours_is_lifted_for_the_new_holder(new_world: Make) -> None:
    world = new_world(users={"console_suspension": "hold"})
    old, _ = world.people("ann", "bob")
    await settled(world)
    world.directory.disable(old)
    await world.settle()
    world.directory.remove_member(world.group, old)
    world.person("ann.two", mail="ann@example.test")
    await world.settle()
    await world.approve((await claims(world))[0])
    await world.settle()
    assert world.status("ann") == "active"


async def test_leavers_held_by_the_brake_are_not_released_where_a_namesake_came_meanwhile(
    world: World,
) -> None:
    """The hash of the brake is no approval of the namesake, nor of what the namesake's coming has put off."""
    guids = await team_of(world, 40)
    for guid in guids[:12]:
        world.directory.remove_member(world.group, guid)
    assert (await world.run()).code is ExitCode.BRAKE
    (brake,) = await world.held()
    world.clock.turn(minutes=1)
    new = world.person("p000.two", mail="p000@example.test")
    await world.approve(brake)
    await world.run()
    assert ("suspend", "p000@example.test") not in world.harm()
    assert len(world.harm()) == 11
    assert world.member("p000").external_id == f"ad-guid:{guids[0]}"
    assert world.member_of(new) is None
    assert len(await claims(world)) == 1


async def test_approving_the_namesake_releases_nothing_that_the_brake_holds(world: World) -> None:
    guids = await team_of(world, 40)
    for guid in guids[:12]:
        world.directory.remove_member(world.group, guid)
    world.person("p000.two", mail="p000@example.test")
    await world.run()
    (claim,) = await claims(world)
    await world.approve(claim)
    assert (await world.run()).code is ExitCode.BRAKE or len(world.harm()) <= 11
    assert ("suspend", "p000@example.test") not in world.harm()


async def test_a_write_that_is_in_doubt_in_the_old_holders_name_is_settled_before_the_link_moves(
    live: World,  # noqa: F811
) -> None:
    ann, _ = live.people("ann", "bob")
    async with watching(live) as watch:
        live.accept_all()
        await watch.look(hours=1)
        new = live.person("ann.two", mail="ann@example.test")
        live.directory.disable(ann)
        live.team.break_next(ActionKind.SUSPEND, lost="before")
        await watch.look(seconds=5)
        assert [one.job_id for one in await actions_of(live, ann)] == ["?"]
        (digest,) = await claims(live)
        await live.approve(digest)
        await watch.look()
        assert owner(live) == ann  # still on its way
        await watch.look(seconds=6)
        await watch.look(seconds=6)
        assert (owner(live), live.status("ann")) == (new, "active")
        assert await actions_of(live, ann) == []


# --- only as it was shown


async def test_an_approval_is_void_when_the_old_person_is_back(world: World) -> None:
    ann, _ = world.people("ann", "bob")
    await settled(world)
    world.directory.remove_member(world.group, ann)
    new = world.person("ann.two", mail="ann@example.test")
    await world.settle()
    (digest,) = await claims(world)
    await world.approve(digest)
    world.directory.add_member(world.group, ann)
    await world.settle()
    assert owner(world) == ann
    # Gone again: what was approved once is shown again, and needs another approval.
    world.directory.remove_member(world.group, ann)
    await world.settle()
    assert (owner(world), world.harm()) == (ann, [])
    assert await claims(world) == [digest]
    await world.approve(digest)
    await world.settle()
    assert owner(world) == new


async def test_an_approval_is_void_when_the_namesake_has_another_e_mail_or_is_gone(world: World) -> None:
    _, new = await recreated(world)
    (digest,) = await claims(world)
    await world.approve(digest)
    world.directory.modify(new, mail="ann.two@example.test")
    await world.settle()
    assert ("invite", "ann.two@example.test") in world.effects()
    assert ("remove", "ann@example.test") in world.harm()  # nobody claims it any more
    assert await claims(world) == []
    with pytest.raises(ControlError):
        await world.approve(digest)


async def test_an_approval_is_void_when_the_account_is_another_one(world: World) -> None:
    old, _ = await recreated(world)
    (digest,) = await claims(world)
    await world.approve(digest)
    account = world.member("ann")
    world.team.members[account.member_id] = replace(account, email="elsewhere@example.test")
    await world.settle()
    assert world.team.members[account.member_id].external_id == f"ad-guid:{old}"


async def test_two_namesakes_are_shown_apart_and_the_approved_one_gets_the_account(world: World) -> None:
    _, two = await recreated(world)
    three = world.person("ann.three", mail="ann@example.test")
    await world.settle()
    shown = await claims(world)
    assert len(shown) == 2
    async with world.reading() as journal:
        mine = next(one.hash for one in await journal.outbox.claims() if three in dict(one.items))
    for digest in shown:
        await world.approve(digest) if digest == mine else None
    await world.settle()
    assert owner(world) == three
    assert two != three
    assert world.harm() == []
    # The other one is a duplicate now: who has the account is in the sync group, and keeps it.
    assert await claims(world) == []


async def test_both_approved_at_once_is_one_move(world: World) -> None:
    _, two = await recreated(world)
    three = world.person("ann.three", mail="ann@example.test")
    await world.settle()
    for digest in await claims(world):
        await world.approve(digest)
    await world.settle()
    assert owner(world) in (two, three)
    assert len(world.effects(ActionKind.UPDATE)) == 1
    assert world.harm() == []


async def test_of_two_who_are_both_in_the_group_the_approval_says_so_and_the_account_does_not_go_back(
    world: World,
) -> None:
    ann, _ = world.people("ann", "bob")
    await settled(world)
    new = world.person("ann.two", mail="ann@example.test")
    await world.settle()
    (note,) = [one for one in notes(world, NoteKind.NAMESAKE) if one.guid == new]
    assert "STILL IN THE SYNC GROUP AND ENABLED" in note.detail
    assert owner(world) == ann
    await world.approve((await claims(world))[0])
    await world.settle()
    assert owner(world) == new
    assert await claims(world) == []
    assert world.harm() == []


# --- never offered


async def test_a_disabled_namesake_never_takes_the_account_from_who_works_with_it(world: World) -> None:
    """Found by a random history: the approval moved the account, and then the new holder's being disabled suspended it."""
    ann, _ = world.people("ann", "bob")
    await settled(world)
    new = world.person("ann.two", mail="ann@example.test")
    await world.settle()
    (digest,) = await claims(world)
    await world.approve(digest)
    world.directory.disable(new)
    await world.settle()
    assert (owner(world), world.harm()) == (ann, [])
    assert await claims(world) == []
    world.directory.enable(new)
    await world.settle()
    assert await claims(world) == [digest], "the approval was void; it is shown again"
    assert owner(world) == ann


async def test_the_account_of_somebody_excluded_is_never_offered(new_world: Make) -> None:
    world = new_world(users={"exclude_group": "Protected"})
    protected = world.directory.create_group("Protected")
    old, _ = world.people("ann", "bob")
    world.directory.add_member(protected, world.person("zoe"))
    await settled(world)
    world.directory.add_member(protected, old)
    world.directory.remove_member(world.group, old)
    world.person("ann.two", mail="ann@example.test")
    await world.settle()
    assert await claims(world) == []
    (note,) = notes(world, NoteKind.NAMESAKE)
    assert "excluded" in note.detail


async def test_who_has_only_just_left_is_not_offered_before_it_has_settled(live: World) -> None:  # noqa: F811
    """A script that clears and refills the group must not make an offer of anybody's account."""
    old, _ = live.people("ann", "bob")
    new = live.person("ann.two", mail="ann@example.test", groups=[])
    offered: list[int] = []
    async with watching(live) as watch:
        live.accept_all()
        await watch.look(hours=1)
        live.directory.remove_member(live.group, old)
        live.directory.add_member(live.group, new)
        await watch.look(seconds=5)
        offered.append(len(await claims(live)))
        await watch.look(seconds=61)
        await watch.look(seconds=5)
        offered.append(len(await claims(live)))
    assert offered == [0, 1]


async def test_a_holder_whose_own_change_of_address_is_still_to_come_keeps_the_account(world: World) -> None:
    ann, _ = world.people("ann", "bob")
    await settled(world)
    world.team.add("ann.lee@example.test", given_name="Out", surname="Sider", external_id="okta:1")
    world.directory.modify(ann, mail="ann.lee@example.test")
    world.person("ann.two", mail="ann@example.test")
    await world.settle()
    assert await claims(world) == []
    assert owner(world) == ann


async def test_an_account_of_another_domain_is_never_offered(world: World) -> None:
    world.team.add("ann@example.test", external_id="ad-guid:11111111-2222-3333-4444-555555555555")
    world.people("ann", "bob")
    await settled(world)
    assert await claims(world) == []


# --- removed, invited


async def test_a_removed_account_is_recovered_for_the_namesake_only_when_approved(world: World) -> None:
    old, _ = world.people("ann", "bob")
    await settled(world)
    world.directory.delete(old)
    await world.settle()
    assert world.status("ann") == "removed"
    new = world.person("ann.two", mail="ann@example.test")
    await world.settle()
    assert world.status("ann") == "removed"
    await world.approve((await claims(world))[0])
    await world.settle()
    assert (owner(world), world.status("ann")) == (new, "active")
    assert world.effects(ActionKind.INVITE) == []


async def test_an_open_invitation_passes_with_its_external_id(world: World) -> None:
    old, _ = world.people("ann", "bob")
    await world.run()
    world.directory.delete(old)
    new = world.person("ann.two", mail="ann@example.test")
    await world.settle()
    assert world.status("ann") == "invited"
    await world.approve((await claims(world))[0])
    await world.settle()
    assert (owner(world), world.status("ann")) == (new, "invited")
    assert world.harm() == []


# --- where it is shown, and who may ask


async def test_status_plan_and_alert_show_the_hash(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    _, new = await recreated(world)
    (digest,) = await claims(world)
    assert world.summary is not None
    (alert,) = [one for one in world.summary.alerts if "namesake" in one.key]
    assert digest in "\n".join(alert.lines)
    async with world.open() as assembly:
        status = await status_of(assembly.parts.journal, world.clock.now())  # type: ignore[arg-type]
    (shown,) = status["brake"]["sets"]
    assert (shown["hash"], shown["kind"], shown["count"]) == (digest, "namesake", 1)
    assert status["pending"]["held"] == 1
    plan = (await world.simulate(monkeypatch)).plan
    assert [(one["hash"], one["kind"]) for one in plan["held"]] == [(digest, "namesake")]
    assert (new, "namesake") in [(one["guid"], one["error"]) for one in plan["errors"]]


async def test_approve_through_the_control_channel_while_watch_runs(live: World) -> None:  # noqa: F811
    world = live
    old, _ = world.people("ann", "bob")
    async with watching(world) as watch:
        world.accept_all()
        await watch.look(hours=1)
        world.directory.delete(old)
        new = world.person("ann.two", mail="ann@example.test")
        await watch.look(seconds=5)
        (digest,) = await claims(world)
        reply: Json = await requests.Requests(watch.assembly, watch.assembly.parts.journal).answer(  # type: ignore[arg-type]
            {"command": "approve", "hash": digest}
        )
        assert reply["released"] == 1
        assert "ann@example.test" in reply["what"]
        await watch.look(seconds=5)
        assert owner(world) == new
        assert world.harm() == []


async def test_undo_says_that_the_account_stays_with_the_new_person(world: World) -> None:
    _, _ = await recreated(world, surname="Newly")
    await world.approve((await claims(world))[0])
    summary = await world.run()
    async with world.open() as assembly:
        reversal = await plan_undo(assembly.parts.journal, summary.id, world.clock.now())  # type: ignore[arg-type]
    assert "passed from" in reversal.lost[0]
    assert [one["undo"] for one in reversal.rows] == ["update"]


async def test_the_move_stands_in_the_change_log_of_both(world: World) -> None:
    old, new = await recreated(world)
    await world.approve((await claims(world))[0])
    await world.run()
    async with world.reading() as journal:
        lines = {guid: await journal.last_entries(guid=guid, limit=20) for guid in (old, new)}
    told = {guid: [one["detail"] for one in lines[guid] if one["cause"] == "approved"] for guid in lines}
    assert told[new][0]["from"] == old
    assert told[old][0]["to"] == new


async def test_a_crash_anywhere_between_approval_and_end_moves_the_account_once(new_world: Make) -> None:
    number = 1
    while True:
        number += 4
        world = new_world()
        _, new = await recreated(world, surname="Newly")
        await world.approve((await claims(world))[0])
        if not await world.run_and_die(number, after_effect=number % 8 == 1):
            break
        world.clock.turn(minutes=1)
        await world.settle()
        assert owner(world) == new, number
        assert len(world.effects(ActionKind.UPDATE)) == 1, number
        assert world.harm() == [], number
    assert number > 10


async def test_a_refused_update_after_the_move_is_no_way_back(world: World) -> None:
    _, new = await recreated(world, surname="Newly")
    await world.approve((await claims(world))[0])
    world.team.break_next(ActionKind.UPDATE, outcome=Outcome(verdict=Verdict.FAILED, tag="other"))
    await world.run()
    await world.run(full=True)
    async with world.reading() as journal:
        assert list(await journal.links.of([new])) == [new]
    assert world.harm() == []

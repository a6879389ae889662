"""Simulation writes nothing, and shows what it would have written."""

from __future__ import annotations

import pytest

from pipeline.model import ActionKind, Profile, Status, Verdict
from stages.dropbox.memory import MemoryTeam
from stages.dropbox.simulate import SIMULATED_ID_PREFIX, SimulatedTeam

pytestmark = pytest.mark.anyio


class ReadOnlyTeam(MemoryTeam):
    """Its writes are a failure of the test."""

    async def _forbidden(self, *args, **kwargs):
        raise AssertionError("a write reached the real team")

    invite = update = suspend = unsuspend = remove = recover = send_welcome = _forbidden


@pytest.fixture
def real() -> MemoryTeam:
    team = ReadOnlyTeam(seats=5)
    team.add("boss@example.test", is_team_admin=True)
    team.add("ann@example.test", external_id="ad-guid:ann", given_name="Ann")
    team.add("bob@example.test", Status.SUSPENDED)
    return team


async def _everybody(team) -> dict[str, Status]:
    return {member.email: member.status async for page in team.list_members() for member in page}


async def test_no_write_reaches_the_real_team(real):
    before = dict(real.members)
    team = SimulatedTeam(real)
    ann, bob = real.by_email("ann@example.test"), real.by_email("bob@example.test")
    await team.invite([Profile(email="cid@example.test")], send_welcome=True)
    await team.update(ann.member_id, Profile(given_name="Anna"))
    await team.suspend(ann.member_id, wipe_data=True)
    await team.unsuspend(bob.member_id)
    await team.remove(ann.member_id, wipe_data=True)
    await team.recover(ann.member_id)
    await team.send_welcome(ann.member_id)
    assert real.members == before
    assert [each.kind for each in team.recorded] == [
        ActionKind.INVITE,
        ActionKind.UPDATE,
        ActionKind.SUSPEND,
        ActionKind.UNSUSPEND,
        ActionKind.REMOVE,
        ActionKind.RECOVER,
        ActionKind.RESEND_WELCOME,
    ]


async def test_later_reads_show_earlier_writes(real):
    team = SimulatedTeam(real)
    [outcome] = await team.invite(
        [Profile(email="Cid@example.test", external_id="ad-guid:cid")], send_welcome=True
    )
    invented = outcome.member
    assert invented.member_id.startswith(SIMULATED_ID_PREFIX)
    assert (invented.status, invented.email) == (Status.INVITED, "cid@example.test")
    await team.suspend(real.by_email("ann@example.test").member_id, wipe_data=True)
    assert await _everybody(team) == {
        "boss@example.test": Status.ACTIVE,
        "ann@example.test": Status.SUSPENDED,
        "bob@example.test": Status.SUSPENDED,
        "cid@example.test": Status.INVITED,
    }
    assert await team.get_members(member_ids=[invented.member_id]) == [invented]
    assert await team.get_members(external_ids=["ad-guid:cid"]) == [invented]
    assert await team.get_members(emails=["cid@example.test"]) == [invented]


async def test_a_changed_email_is_found_under_its_new_name_only(real):
    team = SimulatedTeam(real)
    ann = real.by_email("ann@example.test")
    await team.update(ann.member_id, Profile(email="anna@example.test"))
    assert await team.get_members(emails=["ann@example.test"]) == []
    [found] = await team.get_members(emails=["anna@example.test"])
    assert found.member_id == ann.member_id
    [outcome] = await team.invite([Profile(email="ann@example.test")], send_welcome=False)
    assert outcome.verdict is Verdict.DONE  # the address is free now


async def test_seats_are_used_up_and_freed(real):
    team = SimulatedTeam(real)
    people = [Profile(email=f"new{n}@example.test") for n in range(3)]
    outcomes = await team.invite(people, send_welcome=False)
    assert [outcome.verdict for outcome in outcomes] == [Verdict.DONE, Verdict.DONE, Verdict.NO_SEAT]
    assert (await team.team_info()).free_seats == 0
    await team.remove(real.by_email("ann@example.test").member_id, wipe_data=True)
    assert (await team.team_info()).free_seats == 1
    [outcome] = await team.invite([people[2]], send_welcome=False)
    assert outcome.verdict is Verdict.DONE


async def test_a_taken_email_or_id_answers_as_the_real_team_would(real):
    profiles = [Profile(email="ann@example.test"), Profile(email="x@example.test", external_id="ad-guid:ann")]
    simulated = await SimulatedTeam(real).invite(profiles, send_welcome=False)
    truth = MemoryTeam(seats=5)
    truth.members.update(real.members)
    assert [(each.verdict, each.tag) for each in simulated] == [
        (each.verdict, each.tag) for each in await truth.invite(profiles, send_welcome=False)
    ]


async def test_removing_an_invitation_is_recorded_as_revoking_it(real):
    invited = real.add("dan@example.test", Status.INVITED)
    team = SimulatedTeam(real)
    await team.remove(invited.member_id, wipe_data=True)
    assert team.recorded[0].kind is ActionKind.REVOKE_INVITE
    [member] = await team.get_members(member_ids=[invited.member_id])
    assert (member.status, member.recoverable) == (Status.REMOVED, False)

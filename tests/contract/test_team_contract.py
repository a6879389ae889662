"""What every implementation of the Team port promises: the double, the simulation over it, and the HTTP client
against the simulated team (and so, as far as the reference sheet goes, the real one).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from pipeline.model import Member, Profile, Status, Verdict
from pipeline.ports import Team
from sandbox.team import SeedMember, Switches, TeamConfig, TeamSimulator
from stages.dropbox.memory import MemoryTeam
from stages.dropbox.options import DropboxOptions
from stages.dropbox.simulate import SimulatedTeam
from stages.dropbox.team import HttpTeam

pytestmark = pytest.mark.anyio

SEATS = 7
ADMIN, ANN, BOB, DAN = "boss@example.test", "ann@example.test", "bob@example.test", "dan@example.test"


class SystemClock:
    """The simulator lives in real time; only waiting is skipped."""

    def __init__(self) -> None:
        self.skipped = 0.0

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return anyio.current_time() + self.skipped

    async def sleep(self, seconds: float) -> None:
        self.skipped += seconds
        await anyio.lowlevel.checkpoint()


@dataclass
class Subject:
    team: Team
    accept: Callable[[str], Awaitable[Any]] | None  # the invited person joins; None where nobody can
    name: str


def _memory() -> MemoryTeam:
    team = MemoryTeam(seats=SEATS, page_size=2)
    team.add(ADMIN, is_team_admin=True)
    team.add(ANN, given_name="Ann", surname="Lee", external_id="ad-guid:ann")
    team.add(BOB, Status.SUSPENDED, given_name="Bob")
    team.add(DAN, Status.INVITED)
    return team


def _config(**switches: Any) -> TeamConfig:
    return TeamConfig(
        seats=SEATS,
        page_cap=2,
        members=(
            SeedMember(email=ADMIN, given_name="The", surname="Boss", admin=True),
            SeedMember(email=ANN, given_name="Ann", surname="Lee", external_id="ad-guid:ann"),
            SeedMember(email=BOB, given_name="Bob", status="suspended"),
            SeedMember(email=DAN, status="invited"),
        ),
        switches=Switches(**switches),
    )


VARIANTS: dict[str, dict[str, Any]] = {
    "http": {},
    "http-async": {"async_routes": ("team/members/add_v2", "team/members/remove"), "async_polls": 2},
    "http-contested": {
        "suspend_invited": "user_not_in_team",
        "suspend_removed": "inactive",
        "invited_email_change": "set_profile_disallowed",
        "removed_resolvable": True,
        "selectors_ignore_case": False,
        "empty_roles_absent": True,
        "sparse_policies": True,
        "list_paging": "offset",
        "max_get_info": 2,
        "log_empty_pages": True,
    },
}


@pytest.fixture(params=["memory", "simulated", *VARIANTS])
async def subject(request: pytest.FixtureRequest, anyio_backend: str) -> AsyncIterator[Subject]:
    if request.param in {"memory", "simulated"}:
        memory = _memory()

        async def accept_in_memory(email: str) -> None:
            memory.join(memory.by_email(email).member_id)

        if request.param == "memory":
            yield Subject(memory, accept_in_memory, "memory")
        else:
            yield Subject(SimulatedTeam(memory), None, "simulated")
        return
    simulator = TeamSimulator(_config(**VARIANTS[request.param]))
    await simulator.start()
    options = DropboxOptions(
        api_url=simulator.url,
        app_key="sandboxappkey00",
        app_secret="sandboxsecret00",
        refresh_token="sandbox-team-refresh-token",
        max_requests_per_second=1000,
    )
    team = HttpTeam(options, SystemClock())

    async def accept_over_http(email: str) -> None:
        await control(simulator, "accept", {"email": email})

    try:
        yield Subject(team, accept_over_http, request.param)
    finally:
        await team.close()
        await simulator.stop()


async def control(simulator: TeamSimulator, path: str, body: Any) -> None:
    import aiohttp

    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{simulator.url}/sandbox/{path}", json=body) as response,
    ):
        assert response.status == 200, await response.text()


async def _all(team: Team) -> dict[str, Member]:
    return {member.email: member async for page in team.list_members() for member in page}


async def _one(team: Team, email: str) -> Member:
    [member] = await team.get_members(emails=[email])
    return member


# --- reads -------------------------------------------------------------------------------------------------


async def test_tells_the_team_its_seats_and_who_authorised_it(subject: Subject):
    info = await subject.team.team_info()
    assert (info.seats, info.provisioned, info.free_seats) == (SEATS, 4, SEATS - 4)
    assert info.team_id.startswith("dbtid:")
    admin = await subject.team.acting_admin()
    assert (admin.email, admin.status, admin.is_team_admin) == (ADMIN, Status.ACTIVE, True)


async def test_lists_everybody_once_in_several_pages(subject: Subject):
    pages = [page async for page in subject.team.list_members()]
    assert len(pages) > 1
    members = [member for page in pages for member in page]
    assert sorted((member.email, member.status) for member in members) == [
        (ANN, Status.ACTIVE),
        (BOB, Status.SUSPENDED),
        (ADMIN, Status.ACTIVE),
        (DAN, Status.INVITED),
    ]
    assert len({member.member_id for member in members}) == len(members)
    by_email = {member.email: member for member in members}
    assert by_email[ADMIN].is_team_admin
    assert not by_email[ANN].is_team_admin
    assert (by_email[ANN].given_name, by_email[ANN].surname, by_email[ANN].external_id) == (
        "Ann",
        "Lee",
        "ad-guid:ann",
    )


async def test_finds_members_by_id_external_id_and_email_and_leaves_out_the_rest(subject: Subject):
    team = subject.team
    bob = await _one(team, BOB.upper())
    found = await team.get_members(
        member_ids=[bob.member_id, "dbmid:nobody"],
        external_ids=["ad-guid:ann", "ad-guid:nobody"],
        emails=[ANN, DAN, "nobody@example.test"],
    )
    assert sorted(member.email for member in found) == [ANN, BOB, DAN]
    assert await team.get_members() == []


# --- invitations -------------------------------------------------------------------------------------------


async def test_invites_in_order_with_an_outcome_each(subject: Subject):
    team = subject.team
    profiles = [
        Profile(email="Cid@example.test", given_name="Cid", surname="Roe", external_id="ad-guid:cid"),
        Profile(email=ANN, external_id="ad-guid:other"),
        Profile(email="eve@example.test", external_id="ad-guid:ann"),
        Profile(email="fay@example.test"),
    ]
    outcomes = await team.invite(profiles, send_welcome=True)
    assert [outcome.verdict for outcome in outcomes] == [
        Verdict.DONE,
        Verdict.STALE,
        Verdict.STALE,
        Verdict.DONE,
    ]
    assert [outcome.tag for outcome in outcomes[1:3]] == [
        "user_already_on_team",
        "duplicate_external_member_id",
    ]
    cid = outcomes[0].member
    assert cid is not None
    assert (cid.email, cid.status, cid.external_id) == ("cid@example.test", Status.INVITED, "ad-guid:cid")
    assert (await _one(team, "cid@example.test")).member_id == cid.member_id
    assert (await team.team_info()).provisioned == 6


async def test_runs_out_of_seats_and_gets_one_back(subject: Subject):
    team = subject.team
    people = [Profile(email=f"new{n}@example.test") for n in range(5)]
    outcomes = await team.invite(people, send_welcome=False)
    assert [each.verdict for each in outcomes] == [Verdict.DONE] * 3 + [Verdict.NO_SEAT] * 2
    assert outcomes[4].hint
    dan = await _one(team, DAN)
    assert (await team.remove(dan.member_id, wipe_data=True)).verdict is Verdict.DONE
    [again] = await team.invite(people[3:4], send_welcome=False)
    assert again.verdict is Verdict.DONE


async def test_a_revoked_invitation_can_be_sent_again_and_is_not_recoverable(subject: Subject):
    team = subject.team
    dan = await _one(team, DAN)
    await team.remove(dan.member_id, wipe_data=True)
    left = (await _all(team)).get(DAN)
    assert left is None or (left.status, left.recoverable) == (Status.REMOVED, False)
    [outcome] = await team.invite([Profile(email=DAN)], send_welcome=True)
    assert outcome.verdict is Verdict.DONE


# --- single members ----------------------------------------------------------------------------------------


async def test_updates_what_is_given_and_nothing_else(subject: Subject):
    team = subject.team
    ann = await _one(team, ANN)
    outcome = await team.update(ann.member_id, Profile(email="Anna@example.test", given_name="Anna"))
    assert outcome.verdict is Verdict.DONE
    assert outcome.member is not None
    assert outcome.member.email == "anna@example.test"
    [now] = await team.get_members(member_ids=[ann.member_id])
    assert (now.email, now.given_name, now.surname, now.external_id) == (
        "anna@example.test",
        "Anna",
        "Lee",
        "ad-guid:ann",
    )
    assert (await team.update(ann.member_id, Profile())).verdict is Verdict.ALREADY


async def test_an_update_to_what_somebody_else_has_fails_by_name(subject: Subject):
    team = subject.team
    bob = await _one(team, BOB)
    email = await team.update(bob.member_id, Profile(email=ANN))
    mark = await team.update(bob.member_id, Profile(external_id="ad-guid:ann"))
    assert (email.verdict, email.tag) == (Verdict.FAILED, "email_reserved_for_other_user")
    assert (mark.verdict, mark.tag) == (Verdict.FAILED, "external_id_used_by_other_user")


async def test_an_invited_member_can_get_an_external_id(subject: Subject):
    dan = await _one(subject.team, DAN)
    outcome = await subject.team.update(dan.member_id, Profile(external_id="ad-guid:dan"))
    assert outcome.verdict is Verdict.DONE
    assert (await _one(subject.team, DAN)).external_id == "ad-guid:dan"


async def test_an_invited_members_email_waits_where_dropbox_says_so(subject: Subject):
    if subject.name in {"http", "http-async"}:
        pytest.skip("this simulator allows the change: a contested point")
    dan = await _one(subject.team, DAN)
    outcome = await subject.team.update(dan.member_id, Profile(email="daniel@example.test"))
    assert outcome.verdict is Verdict.NOT_JOINED


async def test_suspends_and_unsuspends_and_says_when_it_was_so_already(subject: Subject):
    team = subject.team
    ann = await _one(team, ANN)
    assert (await team.suspend(ann.member_id, wipe_data=True)).verdict is Verdict.DONE
    assert (await _one(team, ANN)).status is Status.SUSPENDED
    assert (await team.suspend(ann.member_id, wipe_data=True)).verdict is Verdict.ALREADY
    assert (await team.team_info()).provisioned == 4  # a suspended member keeps the seat
    assert (await team.unsuspend(ann.member_id)).verdict is Verdict.DONE
    assert (await team.unsuspend(ann.member_id)).verdict is Verdict.ALREADY
    assert (await _one(team, ANN)).status is Status.ACTIVE


async def test_suspending_an_invited_member_is_never_taken_for_done(subject: Subject):
    dan = await _one(subject.team, DAN)
    outcome = await subject.team.suspend(dan.member_id, wipe_data=True)
    assert outcome.verdict is Verdict.STALE
    assert (await _one(subject.team, DAN)).status is Status.INVITED


async def test_removes_and_recovers(subject: Subject):
    team = subject.team
    ann = await _one(team, ANN)
    assert (await team.remove(ann.member_id, wipe_data=True)).verdict is Verdict.DONE
    [gone] = [member for member in (await _all(team)).values() if member.member_id == ann.member_id]
    assert (gone.status, gone.recoverable, gone.external_id) == (Status.REMOVED, True, "ad-guid:ann")
    assert (await team.team_info()).provisioned == 3
    assert (await team.remove(ann.member_id, wipe_data=True)).verdict is Verdict.ALREADY
    assert (await team.suspend(ann.member_id, wipe_data=True)).verdict is Verdict.STALE
    [taken] = await team.invite([Profile(email=ANN)], send_welcome=False)
    assert (taken.verdict, taken.tag) == (Verdict.STALE, "user_already_on_team")
    assert (await team.recover(ann.member_id)).verdict is Verdict.DONE
    assert (await _one(team, ANN)).status is Status.ACTIVE
    assert (await team.recover(ann.member_id)).verdict is Verdict.ALREADY


async def test_somebody_who_is_not_on_the_team_is_stale_and_removed_already(subject: Subject):
    team, nobody = subject.team, "dbmid:AAAAnobody"
    outcomes = [
        await team.update(nobody, Profile(given_name="X")),
        await team.suspend(nobody, wipe_data=True),
        await team.unsuspend(nobody),
        await team.send_welcome(nobody),
    ]
    assert {outcome.verdict for outcome in outcomes} == {Verdict.STALE}
    assert (await team.recover(nobody)).verdict is Verdict.STALE
    assert (await team.remove(nobody, wipe_data=True)).verdict is Verdict.ALREADY


async def test_sends_a_welcome_mail_again(subject: Subject):
    dan = await _one(subject.team, DAN)
    assert (await subject.team.send_welcome(dan.member_id)).verdict is Verdict.DONE


async def test_who_accepts_is_active_with_the_same_id(subject: Subject):
    if subject.accept is None:
        pytest.skip("nobody joins in a simulation")
    [outcome] = await subject.team.invite(
        [Profile(email="cid@example.test", external_id="c")], send_welcome=True
    )
    await subject.accept("cid@example.test")
    cid = await _one(subject.team, "cid@example.test")
    assert outcome.member is not None
    assert (cid.status, cid.member_id, cid.external_id) == (Status.ACTIVE, outcome.member.member_id, "c")


# --- the rest ----------------------------------------------------------------------------------------------


async def test_the_event_log_can_be_followed(subject: Subject):
    since = datetime(2020, 1, 1, tzinfo=UTC)
    page = await subject.team.events("", since)
    for _ in range(50):
        if not page.more:
            break
        page = await subject.team.events(page.cursor, since)
    assert not page.more
    assert isinstance(page.cursor, str)


async def test_check_and_pace_answer_and_close_may_be_called_twice(subject: Subject):
    findings = await subject.team.check()
    assert findings
    assert not [finding for finding in findings if finding.state == "failed"]
    pace = subject.team.pace()
    assert {"requests_per_second", "refused", "in_flight", "sent"} <= set(pace)
    await subject.team.close()
    await subject.team.close()

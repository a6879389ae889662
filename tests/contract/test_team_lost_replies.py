"""A write whose reply is lost: told as unknown, sent once, and its effect happens once at most."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import aiohttp
import anyio.lowlevel
import pytest

from pipeline.model import Member, Outcome, Profile, Status, Verdict
from sandbox.team import SeedMember, TeamConfig, TeamSimulator
from stages.dropbox.options import DropboxOptions
from stages.dropbox.team import HttpTeam

pytestmark = pytest.mark.anyio

WITHOUT_EFFECT = ("drop_before", "500_before", "503", "timeout")
WITH_EFFECT = ("drop_after", "500_after", "503_after", "timeout_after", "html_after", "truncated_json")
BOSS, ANN, BOB, DAN, EVE = (f"{name}@example.test" for name in ("boss", "ann", "bob", "dan", "eve"))


class SkippingClock:
    def __init__(self) -> None:
        self.skipped = 0.0

    def now(self) -> Any:
        from datetime import UTC, datetime

        return datetime.now(UTC)

    def monotonic(self) -> float:
        return anyio.current_time() + self.skipped

    async def sleep(self, seconds: float) -> None:
        self.skipped += seconds
        await anyio.lowlevel.checkpoint()


@dataclass
class Sandbox:
    team: HttpTeam
    simulator: TeamSimulator
    session: aiohttp.ClientSession

    async def post(self, path: str, body: Any) -> Any:
        async with self.session.post(f"{self.simulator.url}/sandbox/{path}", json=body) as response:
            assert response.status == 200, await response.text()
            return await response.json(content_type=None)

    async def get(self, path: str) -> Any:
        async with self.session.get(f"{self.simulator.url}/sandbox/{path}") as response:
            return await response.json(content_type=None)

    async def member(self, email: str) -> Member | None:
        everybody = [member async for page in self.team.list_members() for member in page]
        return next((member for member in everybody if member.email == email), None)

    async def requests_to(self, route: str) -> int:
        answer = await self.get(f"requests?route={route}")
        entries = answer if isinstance(answer, list) else answer["requests"]
        return len(entries)


@pytest.fixture
async def sandbox(anyio_backend: str) -> AsyncIterator[Sandbox]:
    members = (
        SeedMember(email=BOSS, admin=True),
        SeedMember(email=ANN),
        SeedMember(email=BOB, status="suspended"),
        SeedMember(email=DAN, status="invited"),
        SeedMember(email=EVE),
    )
    simulator = TeamSimulator(TeamConfig(seats=20, members=members))
    await simulator.start()
    options = DropboxOptions(
        api_url=simulator.url,
        access_token="sl.sandbox-team-access-token",
        max_requests_per_second=1000,
        timeout_seconds=0.3,
    )
    team = HttpTeam(options, SkippingClock())
    async with aiohttp.ClientSession() as session:
        yield Sandbox(team, simulator, session)
    await team.close()
    await simulator.stop()


async def _invite(box: Sandbox) -> Outcome:
    [outcome] = await box.team.invite([Profile(email="new@example.test")], send_welcome=True)
    return outcome


async def _update(box: Sandbox) -> Outcome:
    return await box.team.update(await _id(box, ANN), Profile(given_name="Anna"))


async def _suspend(box: Sandbox) -> Outcome:
    return await box.team.suspend(await _id(box, ANN), wipe_data=True)


async def _unsuspend(box: Sandbox) -> Outcome:
    return await box.team.unsuspend(await _id(box, BOB))


async def _remove(box: Sandbox) -> Outcome:
    return await box.team.remove(await _id(box, ANN), wipe_data=True)


async def _recover(box: Sandbox) -> Outcome:
    member_id = await _id(box, EVE)
    await box.team.remove(member_id, wipe_data=False)
    return await box.team.recover(member_id)


async def _id(box: Sandbox, email: str) -> str:
    member = await box.member(email)
    assert member is not None
    return member.member_id


async def _is_invited(box: Sandbox) -> bool:
    return await box.member("new@example.test") is not None


async def _is_updated(box: Sandbox) -> bool:
    member = await box.member(ANN)
    return member is not None and member.given_name == "Anna"


def _has_status(email: str, status: Status) -> Callable[[Sandbox], Awaitable[bool]]:
    async def holds(box: Sandbox) -> bool:
        member = await box.member(email)
        return member is not None and member.status is status

    return holds


WRITES = {
    "team/members/add_v2": (_invite, _is_invited),
    "team/members/set_profile_v2": (_update, _is_updated),
    "team/members/suspend": (_suspend, _has_status(ANN, Status.SUSPENDED)),
    "team/members/unsuspend": (_unsuspend, _has_status(BOB, Status.ACTIVE)),
    "team/members/remove": (_remove, _has_status(ANN, Status.REMOVED)),
    "team/members/recover": (_recover, _has_status(EVE, Status.ACTIVE)),
}


# The routes without a result can't be damaged: whatever 200 they send means done.
VOID = {"team/members/suspend", "team/members/unsuspend", "team/members/recover"}


@pytest.mark.parametrize("kind", [*WITHOUT_EFFECT, *WITH_EFFECT])
@pytest.mark.parametrize("route", sorted(WRITES))
async def test_a_lost_reply_is_unknown_and_the_write_is_sent_once(sandbox: Sandbox, route: str, kind: str):
    write, has_effect = WRITES[route]
    await sandbox.post("faults", {"kind": kind, "route": route, "count": 1, "seconds": 5})
    outcome = await write(sandbox)
    if not (kind == "truncated_json" and route in VOID):
        assert outcome.verdict is Verdict.UNKNOWN
    assert await sandbox.requests_to(route) == 1
    assert await has_effect(sandbox) is (kind in WITH_EFFECT)


async def test_a_batch_whose_reply_is_lost_mails_everybody_once(sandbox: Sandbox):
    await sandbox.post("faults", {"kind": "drop_after", "route": "team/members/add_v2", "count": 1})
    people = [Profile(email=f"p{n}@example.test") for n in range(10)]
    outcomes = await sandbox.team.invite(people, send_welcome=True)
    assert {outcome.verdict for outcome in outcomes} == {Verdict.UNKNOWN}
    again = await sandbox.team.get_members(emails=[person.email for person in people])
    assert {member.status for member in again} == {Status.INVITED}
    assert len(again) == 10


@pytest.mark.parametrize("form", ["json", "json_no_field", "empty", "text"])
async def test_a_throttled_write_has_its_effect_once(sandbox: Sandbox, form: str):
    await sandbox.post(
        "faults",
        {"kind": "429", "route": "team/members/add_v2", "count": 2, "form": form, "retry_after": 3},
    )
    assert (await _invite(sandbox)).verdict is Verdict.DONE
    assert await sandbox.requests_to("team/members/add_v2") == 3
    assert sandbox.team.pace()["refused"] == 2


async def test_expired_and_revoked_tokens_and_scopes(sandbox: Sandbox):
    refreshing = HttpTeam(
        DropboxOptions(
            api_url=sandbox.simulator.url,
            app_key="sandboxappkey00",
            refresh_token="sandbox-team-refresh-token",
            max_requests_per_second=1000,
        ),
        SkippingClock(),
    )
    try:
        await refreshing.team_info()
        await sandbox.post("tokens/expire", {})
        await refreshing.team_info()
        await sandbox.post("tokens/scopes", {"scopes": ["team_info.read", "members.read", "members.write"]})
        ann = await refreshing.get_members(emails=[ANN])
        outcome = await refreshing.remove(ann[0].member_id, wipe_data=True)
        assert (outcome.verdict, outcome.tag) == (Verdict.FAILED, "missing_scope")
        findings = {finding.name: finding.state for finding in await refreshing.check()}
        assert findings["scope members.delete"] == "failed"
        assert findings["scope members.write"] == "ok"
    finally:
        await refreshing.close()

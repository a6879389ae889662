"""What every implementation of the Team port promises about groups; over HTTP each exchange passes the vendor's validators."""

from __future__ import annotations

import importlib.util
import math
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from pipeline.errors import GroupGone
from pipeline.model import Outcome, TeamGroup, Verdict
from pipeline.ports import Team
from sandbox.team import SeedGroup, SeedMember, Switches, TeamConfig, TeamSimulator
from sandbox.team.faults import Fault
from stages.dropbox.memory import MemoryTeam
from stages.dropbox.options import DropboxOptions
from stages.dropbox.simulate import SimulatedTeam
from stages.dropbox.team import HttpTeam

pytestmark = pytest.mark.anyio

PEOPLE = tuple(f"p{number}@example.test" for number in range(9))
BOSS = "boss@example.test"


class SkippingClock:
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
    ids: list[str]
    simulator: TeamSimulator | None = None

    def calls(self, route: str) -> int:
        assert self.simulator is not None
        return len(self.simulator.team.timeline.exchanges(f"team/groups/{route}"))


def _oracle() -> Any:
    path = Path(__file__).resolve().parents[1] / "sandbox_team" / "stone_oracle.py"
    spec = importlib.util.spec_from_file_location("contract_stone_oracle", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


VARIANTS: dict[str, dict[str, Any]] = {
    "http": {},
    "http-contested": {"max_group_change": 3, "group_names_ignore_case": False, "list_paging": "offset"},
}


@asynccontextmanager
async def _http(*, more: int = 0, **switches: Any) -> AsyncIterator[Subject]:
    people = (*PEOPLE, *(f"more{number}@example.test" for number in range(more)))
    config = TeamConfig(
        page_cap=2 if not more else 1000,
        members=(SeedMember(email=BOSS, admin=True), *(SeedMember(email=one) for one in people)),
        groups=(SeedGroup(name="Theirs", management="user_managed", external_id="okta:1"),),
        switches=Switches(**switches),
    )
    simulator = TeamSimulator(config)
    await simulator.start()
    options = DropboxOptions(
        api_url=simulator.url,
        access_token="sl.sandbox-team-access-token",
        max_requests_per_second=1000,
        timeout_seconds=2,
    )
    team = HttpTeam(options, SkippingClock())
    ids = [member.id for member in simulator.team.members if member.email in people]
    yield Subject(team, ids, simulator)
    await team.close()
    oracle = _oracle()
    complaints = []
    for one in simulator.team.timeline.exchanges():
        if one.route != "oauth2/token":
            status = 500 if one.fault or one.status == 0 else one.status
            complaints += oracle.check_exchange(one.route, one.request, status, one.reply)
    await simulator.stop()
    assert complaints == []


@pytest.fixture(params=["memory", "simulated", *VARIANTS])
async def subject(request: pytest.FixtureRequest, anyio_backend: str) -> AsyncIterator[Subject]:
    if request.param in VARIANTS:
        async with _http(**VARIANTS[request.param]) as made:
            yield made
        return
    memory = MemoryTeam(page_size=2)
    memory.add(BOSS, is_team_admin=True)
    ids = [memory.add(one).member_id for one in PEOPLE]
    memory.groups.create("Theirs", "okta:1", is_company_managed=False)
    yield Subject(memory if request.param == "memory" else SimulatedTeam(memory), ids)


@pytest.fixture
async def http(anyio_backend: str) -> AsyncIterator[Subject]:
    async with _http() as made:
        yield made


async def _made(team: Team, name: str = "Sales") -> TeamGroup:
    outcome = await team.create_group(name, f"ad-guid:{name.lower()}")
    assert outcome.verdict is Verdict.DONE
    assert outcome.group is not None
    return outcome.group


async def _in(team: Team, group_id: str) -> list[str]:
    return sorted([one async for page in team.list_group_members(group_id) for one in page])


def _verdicts(outcomes: Any) -> list[Verdict]:
    return [one.verdict for one in outcomes]


async def test_a_group_is_created_company_managed_and_found_again(subject: Subject):
    made = await _made(subject.team)
    assert (made.name, made.external_id, made.is_company_managed, made.member_count) == (
        "Sales",
        "ad-guid:sales",
        True,
        0,
    )
    everything = {one.name: one async for page in subject.team.list_groups() for one in page}
    assert everything["Sales"].group_id == made.group_id
    assert not everything["Theirs"].is_company_managed
    by_mark = await subject.team.get_groups(external_ids=["ad-guid:sales", "nobody's"])
    by_id = await subject.team.get_groups(group_ids=[made.group_id, "g:nothing"])
    assert [one.group_id for one in by_mark] == [one.group_id for one in by_id] == [made.group_id]
    assert await subject.team.get_groups() == []


async def test_name_and_external_id_are_each_taken_once(subject: Subject):
    await _made(subject.team)
    name = await subject.team.create_group("Sales", "ad-guid:other")
    mark = await subject.team.create_group("Other", "ad-guid:sales")
    assert (name.verdict, name.tag) == (Verdict.STALE, "group_name_already_used")
    assert (mark.verdict, mark.tag) == (Verdict.STALE, "external_id_already_in_use")
    blank = await subject.team.create_group(" ", "ad-guid:blank")
    assert (blank.verdict, blank.tag) == (Verdict.FAILED, "group_name_invalid")


async def test_a_rename_sets_what_is_given(subject: Subject):
    made = await _made(subject.team)
    outcome = await subject.team.rename_group(made.group_id, name="Sales EMEA", external_id="")
    assert outcome.group is not None
    assert (outcome.group.name, outcome.group.external_id) == ("Sales EMEA", "ad-guid:sales")
    outcome = await subject.team.rename_group(made.group_id, name="", external_id="ad-guid:new")
    assert outcome.group is not None
    assert (outcome.group.name, outcome.group.external_id) == ("Sales EMEA", "ad-guid:new")
    assert (
        await subject.team.rename_group(made.group_id, name="", external_id="")
    ).verdict is Verdict.ALREADY


async def test_a_group_is_deleted_once_and_is_then_gone(subject: Subject):
    team, made = subject.team, await _made(subject.team)
    assert (await team.delete_group(made.group_id)).verdict is Verdict.DONE
    assert (await team.delete_group(made.group_id)).verdict is Verdict.ALREADY
    assert await team.get_groups(group_ids=[made.group_id]) == []
    with pytest.raises(GroupGone):
        await _in(team, made.group_id)
    assert _verdicts(await team.add_to_group(made.group_id, subject.ids[:1])) == [Verdict.STALE]
    assert (await team.rename_group(made.group_id, name="X", external_id="")).verdict is Verdict.STALE


async def test_people_are_put_in_and_taken_out(subject: Subject):
    team, made, ids = subject.team, await _made(subject.team), subject.ids
    assert set(_verdicts(await team.add_to_group(made.group_id, ids))) == {Verdict.DONE}
    assert await _in(team, made.group_id) == sorted(ids)
    assert set(_verdicts(await team.remove_from_group(made.group_id, ids[:4]))) == {Verdict.DONE}
    assert await _in(team, made.group_id) == sorted(ids[4:])


async def test_who_is_in_already_or_not_in_stops_nobody(subject: Subject):
    team, made, ids = subject.team, await _made(subject.team), subject.ids
    await team.add_to_group(made.group_id, ids[2:4])
    outcomes = await team.add_to_group(made.group_id, ids)
    assert [one for one, each in zip(ids, outcomes, strict=True) if each.verdict is Verdict.ALREADY] == ids[
        2:4
    ]
    assert set(_verdicts(outcomes)) == {Verdict.DONE, Verdict.ALREADY}
    assert await _in(team, made.group_id) == sorted(ids)
    await team.remove_from_group(made.group_id, ids[:1])
    assert _verdicts(await team.remove_from_group(made.group_id, ids[:2])) == [Verdict.ALREADY, Verdict.DONE]


async def test_who_is_not_on_the_team_is_named_and_the_others_go_in(subject: Subject):
    team, made, ids = subject.team, await _made(subject.team), subject.ids
    await team.remove(ids[1], wipe_data=False)
    outcomes = await team.add_to_group(made.group_id, [*ids, "dbmid:nobody"])
    assert [each.verdict for each in outcomes] == [
        Verdict.STALE if one == ids[1] else Verdict.DONE for one in ids
    ] + [Verdict.STALE]
    assert await _in(team, made.group_id) == sorted(one for one in ids if one != ids[1])


async def test_who_leaves_the_team_is_in_no_group(subject: Subject):
    team, made, ids = subject.team, await _made(subject.team), subject.ids
    await team.add_to_group(made.group_id, ids[:2])
    await team.suspend(ids[0], wipe_data=False)
    assert await _in(team, made.group_id) == sorted(ids[:2])
    await team.remove(ids[0], wipe_data=False)
    assert await _in(team, made.group_id) == [ids[1]]


async def test_nobody_is_no_request(subject: Subject):
    assert await subject.team.add_to_group("g:nothing", []) == []


# --- over HTTP: how many requests, and what is lost -------------------------------------------------------------


async def test_one_duplicate_among_many_costs_one_list_and_one_more_request(http: Subject):
    made = await _made(http.team)
    await http.team.add_to_group(made.group_id, http.ids[4:5])
    outcomes = await http.team.add_to_group(made.group_id, http.ids)
    assert _verdicts(outcomes).count(Verdict.DONE) == len(http.ids) - 1
    assert (http.calls("members/add"), http.calls("members/list")) == (3, 1)


async def test_one_person_costs_one_request_also_when_in_already(http: Subject):
    made = await _made(http.team)
    for wanted in (Verdict.DONE, Verdict.ALREADY):
        assert _verdicts(await http.team.add_to_group(made.group_id, http.ids[:1])) == [wanted]
    assert (http.calls("members/add"), http.calls("members/list")) == (2, 0)


async def test_the_size_that_works_is_found_by_halving_and_remembered(anyio_backend: str):
    async with _http(max_group_change=3) as subject:
        made = await _made(subject.team)
        await subject.team.add_to_group(made.group_id, subject.ids)  # 9 and 5 are refused, 3 and 3 and 3 work
        assert subject.calls("members/add") == 5
        await subject.team.remove_from_group(made.group_id, subject.ids)
        assert subject.calls("members/remove") == 3
        assert await _in(subject.team, made.group_id) == []


async def test_a_large_group_is_filled_in_few_calls_whatever_size_the_vendor_takes(anyio_backend: str):
    """Halving costs the logarithm once; from then on at most twice as many calls as with the vendor's own limit."""
    async with _http(more=150, max_group_change=20) as subject:
        made = await _made(subject.team)
        count, limit = len(subject.ids), 20
        await subject.team.add_to_group(made.group_id, subject.ids)
        refused = math.ceil(math.log2(count / limit))
        assert subject.calls("members/add") <= refused + 2 * math.ceil(count / limit)
        await subject.team.remove_from_group(made.group_id, subject.ids)
        assert subject.calls("members/remove") <= 2 * math.ceil(count / limit)
        assert await _in(subject.team, made.group_id) == []


@pytest.mark.parametrize("seed", range(6))
async def test_whoever_is_refused_is_found_out_and_nobody_is_dropped(anyio_backend: str, seed: int):
    """Some are in already, some are not in, one has left the team, one was never there, and the size is limited too."""
    chance = random.Random(seed)
    async with _http(max_group_change=chance.choice([2, 4, 100])) as subject:
        made = await _made(subject.team)
        *staying, gone = subject.ids
        await subject.team.remove(gone, wipe_data=False)
        inside = set(chance.sample(staying, 3))
        await subject.team.add_to_group(made.group_id, sorted(inside))
        asked = [*chance.sample(staying, len(staying) - 1), gone, "dbmid:never"]
        chance.shuffle(asked)
        outcomes = dict(zip(asked, await subject.team.add_to_group(made.group_id, asked), strict=True))
        for one in staying:
            if one in outcomes:
                assert outcomes[one].verdict is (Verdict.ALREADY if one in inside else Verdict.DONE), one
        assert outcomes[gone].verdict not in (Verdict.DONE, Verdict.ALREADY)
        assert outcomes["dbmid:never"].verdict not in (Verdict.DONE, Verdict.ALREADY)
        present = inside | (set(asked) - {gone, "dbmid:never"})
        assert await _in(subject.team, made.group_id) == sorted(present)
        out = chance.sample(staying, 5)
        for one, outcome in zip(out, await subject.team.remove_from_group(made.group_id, out), strict=True):
            assert outcome.verdict is (Verdict.DONE if one in present else Verdict.ALREADY)
        assert await _in(subject.team, made.group_id) == sorted(present - set(out))


@pytest.mark.parametrize("kind", ["drop_after", "500_after", "timeout_after"])
async def test_a_lost_reply_is_unknown_for_everybody_and_nothing_is_sent_again(http: Subject, kind: str):
    made = await _made(http.team)
    assert http.simulator is not None
    http.simulator.faults.add(Fault(kind, "team/groups/members/add"))
    outcomes: Any = []
    with anyio.fail_after(20):
        outcomes = await http.team.add_to_group(made.group_id, http.ids)
    assert set(_verdicts(outcomes)) == {Verdict.UNKNOWN}
    assert http.calls("members/add") == 1
    assert await _in(http.team, made.group_id) == sorted(http.ids)


async def test_a_group_of_twenty_thousand_is_filled_in_one_request(anyio_backend: str):
    count = 20_000
    config = TeamConfig(
        seats=count + 10,
        members=(
            SeedMember(email=BOSS, admin=True),
            *(SeedMember(email=f"u{n}@example.test") for n in range(count)),
        ),
    )
    simulator = TeamSimulator(config)
    await simulator.start()
    team = HttpTeam(
        DropboxOptions(
            api_url=simulator.url, access_token="sl.sandbox-team-access-token", max_requests_per_second=1000
        ),
        SkippingClock(),
    )
    try:
        made = await _made(team)
        ids = [member.id for member in simulator.team.members if member.email != BOSS]
        outcomes: list[Outcome] = list(await team.add_to_group(made.group_id, ids))
        assert {one.verdict for one in outcomes} == {Verdict.DONE}
        assert outcomes[0].group is not None
        assert outcomes[0].group.member_count == count
        assert len(simulator.team.timeline.exchanges("team/groups/members/add")) == 1
    finally:
        await team.close()
        await simulator.stop()

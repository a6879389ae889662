"""Replies of the team that are not what they should be: taken from the simulator, spoilt in one place, or made up.

Whatever comes back, a read gives the whole truth or an error of ours, and a write gives an outcome or an error of ours.
"""

import copy
import json
from collections import defaultdict
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import anyio
import anyio.lowlevel
import pytest
from aiohttp import web
from anyio.from_thread import start_blocking_portal
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from pipeline.errors import ConnectorError
from pipeline.model import Member, Outcome, Profile
from sandbox.team import SeedMember, TeamConfig, TeamSimulator
from stages.dropbox.options import DropboxOptions
from stages.dropbox.team import HttpTeam
from tests.hostile.words import json_values

SINCE = datetime(2020, 1, 1, tzinfo=UTC)
ANN = Profile(email="ann@example.test", given_name="Ann", surname="Lee", external_id="ad-guid:1")
PATIENCE_SECONDS = 60
TOKEN = TeamConfig().access_token


class HurriedClock:
    """`sleep` is over at once, and that much later."""

    def __init__(self):
        self.seconds = 0.0

    def now(self):
        return datetime(2026, 11, 23, 9, 0, tzinfo=UTC) + timedelta(seconds=self.seconds)

    def monotonic(self):
        return self.seconds

    async def sleep(self, seconds):
        self.seconds += max(0.0, seconds)
        await anyio.lowlevel.checkpoint()


async def _all(pages):
    return [item async for page in pages for item in page]


def _one(outcomes):
    (outcome,) = outcomes
    return outcome


async def _invite(team, ids):
    return _one(await team.invite([ANN], send_welcome=False))


# What is asked of the port, in an order that makes sense on a fresh team. `ids` is filled on the way.
OPERATIONS = {
    "team_info": lambda team, ids: team.team_info(),
    "acting_admin": lambda team, ids: team.acting_admin(),
    "list_members": lambda team, ids: _all(team.list_members()),
    "get_members": lambda team, ids: team.get_members(emails=["it-admin@example.test"]),
    "check": lambda team, ids: team.check(),
    "events": lambda team, ids: team.events("", SINCE),
    "invite": _invite,
    "update": lambda team, ids: team.update(ids["member"], Profile(email="", given_name="Anna")),
    "suspend": lambda team, ids: team.suspend(ids["member"], wipe_data=True),
    "unsuspend": lambda team, ids: team.unsuspend(ids["member"]),
    "create_group": lambda team, ids: team.create_group("Sales", "ad-guid:2"),
    "rename_group": lambda team, ids: team.rename_group(ids["group"], name="Trade", external_id=""),
    "add_to_group": lambda team, ids: team.add_to_group(ids["group"], [ids["member"]]),
    "list_groups": lambda team, ids: _all(team.list_groups()),
    "get_groups": lambda team, ids: team.get_groups(group_ids=[ids["group"]]),
    "list_group_members": lambda team, ids: _all(team.list_group_members(ids["group"])),
    "remove_from_group": lambda team, ids: team.remove_from_group(ids["group"], [ids["member"]]),
    "delete_group": lambda team, ids: team.delete_group(ids["group"]),
    "remove": lambda team, ids: team.remove(ids["member"], wipe_data=True),
    "recover": lambda team, ids: team.recover(ids["member"]),
}
READS = {
    "team_info",
    "acting_admin",
    "list_members",
    "get_members",
    "check",
    "events",
    "list_groups",
    "get_groups",
    "list_group_members",
}


@dataclass
class Recorded:
    """Status and body of the last good reply, by operation and route."""

    replies: dict = field(default_factory=lambda: defaultdict(dict))
    ids: dict = field(default_factory=dict)


def _client(url):
    return HttpTeam(
        DropboxOptions(api_url=url, access_token=TOKEN, max_requests_per_second=100_000.0, syncs_groups=True),
        HurriedClock(),
    )


async def _record():
    recorded = Recorded()
    admin = SeedMember("it-admin@example.test", "Ines", "Admin", admin=True)
    simulator = TeamSimulator(TeamConfig(members=(admin,)))
    async with simulator:
        team = _client(simulator.url)
        try:
            for name, ask in OPERATIONS.items():
                simulator.team.timeline.clear()
                answer = await ask(team, recorded.ids)
                if isinstance(answer, Outcome):
                    assert answer.verdict.value == "done", (name, answer)
                for one in simulator.team.timeline.exchanges():
                    recorded.replies[name][one.route] = (one.status, json.loads(one.reply))
                if name == "invite":
                    recorded.ids["member"] = answer.member.member_id
                    simulator.console.accept(ANN.email)
                if name == "create_group":
                    recorded.ids["group"] = answer.group.group_id
        finally:
            await team.close()
    return recorded


@pytest.fixture(scope="module")
def portal():
    with start_blocking_portal("asyncio") as opened:
        yield opened


@pytest.fixture(scope="module")
def recorded(portal):
    found = portal.call(_record)
    assert set(found.replies) == set(OPERATIONS)
    return found


class Liar:
    """Answers every route as told; `told` by route, bodies as bytes."""

    def __init__(self):
        self.told = {}
        self.asked = 0
        self.url = ""

    async def handle(self, request):
        self.asked += 1
        route = request.path.removeprefix("/2/")
        status, body = self.told.get(route, (404, b"no such route"))
        kind = "application/json" if status in (200, 409) else "text/plain"
        return web.Response(status=status, body=body, headers={"Content-Type": kind})


@asynccontextmanager
async def _serving():
    liar = Liar()
    app = web.Application()
    app.router.add_post("/{path:.*}", liar.handle)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    liar.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield liar
    finally:
        await runner.cleanup()


@pytest.fixture(scope="module")
def liar(portal):
    with portal.wrap_async_context_manager(_serving()) as serving:
        yield serving


def _paths(value, prefix=()):
    yield prefix
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in inner:
        yield from _paths(item, (*prefix, key))


def _spoilt(data, body):
    """The body with one value of it taken out or replaced."""
    path = data.draw(some.sampled_from(list(_paths(body))), label="where")
    value = data.draw(json_values, label="what instead")
    if not path:
        return value
    result = copy.deepcopy(body)
    place = result
    for key in path[:-1]:
        place = place[key]
    if data.draw(some.booleans(), label="taken out"):
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return result


def _answer(data, status, body):
    kind = data.draw(some.sampled_from(["spoilt", "spoilt", "spoilt", "made up", "bytes"]), label="kind")
    if kind == "bytes":
        return data.draw(some.sampled_from([200, 400, 409, 429, 500])), data.draw(some.binary(max_size=30))
    if kind == "made up":
        status = data.draw(some.sampled_from([200, 400, 401, 403, 409, 429, 500, 503]), label="status")
        return status, json.dumps(data.draw(json_values)).encode()
    return status, json.dumps(_spoilt(data, body)).encode()


@pytest.mark.parametrize("name", OPERATIONS)
@settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=some.data())
def test_a_reply_that_is_not_what_it_should_be(name, data, portal, recorded, liar):
    replies = recorded.replies[name]
    liar.told = {route: (status, json.dumps(body).encode()) for route, (status, body) in replies.items()}
    route = data.draw(some.sampled_from(sorted(replies)), label="route")
    liar.told[route] = _answer(data, *replies[route])
    liar.asked = 0
    answer = portal.call(_ask, name, liar.url, recorded.ids)
    if name not in READS and not isinstance(answer, ConnectorError):
        outcomes = answer if isinstance(answer, list | tuple) else [answer]
        assert all(isinstance(one, Outcome) for one in outcomes)
    if name in ("list_members", "get_members") and not isinstance(answer, ConnectorError):
        assert all(isinstance(one, Member) and one.member_id for one in answer)


async def _ask(name, url, ids):
    team = _client(url)
    try:
        with anyio.fail_after(PATIENCE_SECONDS):
            return await OPERATIONS[name](team, ids)
    except ConnectorError as error:
        return error
    finally:
        await team.close()

"""What arrives at the other end of the wire: headers, forms of errors, and every trouble to order."""

import asyncio
import base64
import json

import aiohttp
import pytest

from sandbox.team import RateLimit
from sandbox.team.faults import AFTER, BEFORE, KINDS, OTHER, Fault

pytestmark = pytest.mark.anyio

SUSPEND = "team/members/suspend"


@pytest.fixture
async def web(simulator):
    async with aiohttp.ClientSession(base_url=simulator.url) as session:
        yield session


@pytest.fixture
def call(simulator, web):
    async def call(route, argument=None, *, body=None, timeout=5.0, **headers):
        sent = {
            "Authorization": f"Bearer {simulator.config.access_token}",
            "Content-Type": "application/json",
        }
        data = json.dumps(argument).encode() if body is None else body
        limit = aiohttp.ClientTimeout(total=timeout)
        async with web.post(f"/2/{route}", data=data, headers={**sent, **headers}, timeout=limit) as reply:
            return reply.status, reply.headers, await reply.read()

    return call


@pytest.fixture
def active(simulator):
    found = next(m for m in simulator.team.members if m.email == "active@example.com")
    return {"user": {".tag": "team_member_id", "team_member_id": found.id}, "wipe_data": True}


def is_suspended(simulator, active):
    return simulator.team.members[active["user"]["team_member_id"]].status == "suspended"


async def test_success(call):
    status, headers, body = await call("team/get_info")
    assert (status, headers["Content-Type"]) == (200, "application/json")
    assert len(headers["X-Dropbox-Request-Id"]) == 32
    assert json.loads(body)["name"] == "Example Team"


async def test_void_replies_null_and_wants_null(call, active):
    assert (await call(SUSPEND, active))[2] == b"null"
    status, headers, body = await call("team/get_info", {})
    assert (status, headers["Content-Type"]) == (400, "text/plain; charset=utf-8")
    assert body == b'Error in call to API function "team/get_info": request body: expected null, got value'


async def test_conflict(call, active):
    await call(SUSPEND, active)
    status, headers, body = await call(SUSPEND, active)
    reply = json.loads(body)
    assert (status, headers["Content-Type"]) == (409, "application/json")
    assert reply["error"] == {".tag": "suspend_inactive_user"}
    summaries = {json.loads((await call(SUSPEND, active))[2])["error_summary"] for _ in range(40)}
    assert summaries == {"suspend_inactive_user/" + "." * dots for dots in range(4)}


async def test_who_asks(call, simulator):
    status, headers, body = await call("team/get_info", Authorization="Bearer sl.unknown-token")
    assert (status, headers["WWW-Authenticate"]) == (401, 'Bearer realm="Dropbox-API"')
    assert json.loads(body)["error"] == {".tag": "invalid_access_token"}
    status, _, body = await call("team/get_info", Authorization="Bearer ü!")
    assert (status, body) == (400, b"The given OAuth 2 access token is malformed.")
    assert (await call("team/get_info", Authorization="Basic xx"))[0] == 400
    assert (await call("team/get_info", Authorization=""))[0] == 400
    assert (await call("team/no_such_route"))[0] == 400
    status, _, body = await call("team/get_info", **{"Content-Type": "text/html"})
    assert (status, b'Bad HTTP "Content-Type" header' in body) == (400, True)
    assert (await call("team/get_info", **{"Content-Type": "application/json; charset=utf-8"}))[0] == 200
    assert (await call("check/app", {"query": "x"}))[0] == 400
    wrong = "Basic " + base64.b64encode(f"{simulator.config.app_key}:wrong".encode()).decode()
    assert (await call("check/app", {"query": "x"}, Authorization=wrong))[0] == 400


async def test_every_kind_of_fault_is_sorted():
    assert KINDS == BEFORE | AFTER | OTHER
    with pytest.raises(ValueError, match="no such fault"):
        Fault("earthquake")
    with pytest.raises(ValueError, match="no such form"):
        Fault("429", form="poem")


@pytest.mark.parametrize("form", ["json", "json_no_field", "empty", "text"])
@pytest.mark.parametrize("source", ["fault", "limit"])
async def test_429(call, simulator, active, form, source):
    if source == "fault":
        simulator.faults.add(Fault("429", form=form, retry_after=15))
    else:
        simulator.engine.limiter.set(RateLimit(1 / 15, 0, form=form, refused_count=False))
    status, headers, body = await call(SUSPEND, active)
    assert (status, headers["Retry-After"]) == (429, "15")
    assert not is_suspended(simulator, active)
    if form == "text":
        assert headers["Content-Type"] == "text/plain; charset=utf-8"
        return
    assert headers["Content-Type"] == "application/json"
    if form == "empty":
        assert body == b""
    else:
        assert json.loads(body)["error"].get("retry_after") == (15 if form == "json" else None)


async def test_the_bucket(call, simulator):
    simulator.engine.limiter.set(RateLimit(per_second=1, burst=2, refused_count=False))
    assert [(await call("team/get_info"))[0] for _ in range(3)] == [200, 200, 429]
    simulator.team.clock.advance(1)
    assert [(await call("team/get_info"))[0] for _ in range(2)] == [200, 429]
    simulator.engine.limiter.set(RateLimit(per_second=1, burst=2, refused_count=True))
    assert [(await call("team/get_info"))[0] for _ in range(4)] == [200, 200, 429, 429]
    simulator.team.clock.advance(1)
    status, headers, _ = await call("team/get_info")
    assert (status, headers["Retry-After"]) == (429, "3")  # refused requests made it worse
    simulator.engine.limiter.set(None)
    assert (await call("team/get_info"))[0] == 200


@pytest.mark.parametrize(("kind", "effect"), [("drop_before", False), ("drop_after", True)])
async def test_dropped_connections(call, simulator, active, kind, effect):
    simulator.faults.add(Fault(kind, route=SUSPEND))
    with pytest.raises(aiohttp.ClientError):
        await call(SUSPEND, active)
    assert is_suspended(simulator, active) is effect
    assert sum(simulator.team.effects.wipes.values()) == int(effect)
    assert simulator.team.timeline.exchanges(SUSPEND)[0].status == 0
    assert (await call(SUSPEND, active))[0] == (409 if effect else 200)
    assert sum(simulator.team.effects.wipes.values()) == 1


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("500_before", (500, "application/octet-stream", False)),
        ("500_after", (500, "application/octet-stream", True)),
        ("503", (503, "text/plain", False)),
        ("503_after", (503, "text/plain", True)),
        ("html", (200, "text/html", False)),
        ("html_after", (200, "text/html", True)),
        ("401", (401, "application/json", False)),
        ("403", (403, "application/json", False)),
        ("400", (400, "text/plain; charset=utf-8", False)),
        ("error", (409, "application/json", False)),
        ("empty_body", (200, "application/json", True)),
        ("truncated_json", (200, "application/json", True)),
        ("unknown_tag", (409, "application/json", True)),
    ],
)
async def test_bad_replies(call, simulator, active, kind, expected):
    status, content_type, effect = expected
    simulator.faults.add(Fault(kind, tag="team_license_limit" if kind == "error" else "", retry_after=7))
    answer, headers, body = await call(SUSPEND, active)
    assert (answer, headers["Content-Type"]) == (status, content_type)
    assert is_suspended(simulator, active) is effect
    if status == 500:
        assert body == b""
    if status == 503:
        assert headers["Retry-After"] == "7"
    if kind == "error":
        assert json.loads(body)["error"] == {".tag": "team_license_limit"}
    if kind == "truncated_json":
        with pytest.raises(ValueError):
            json.loads(body)
    assert simulator.team.timeline.exchanges()[-1].fault == kind
    assert simulator.faults.queue == []


@pytest.mark.parametrize("kind", ["timeout", "timeout_after"])
async def test_silence(call, simulator, active, kind):
    simulator.faults.add(Fault(kind))
    with pytest.raises(TimeoutError):
        await call(SUSPEND, active, timeout=0.1)
    assert is_suspended(simulator, active) is (kind == "timeout_after")


async def test_delays_do_not_depend_on_the_patience_of_the_client(call, simulator, active):
    simulator.faults.add(Fault("delay", seconds=0.15))
    with pytest.raises(TimeoutError):
        await call(SUSPEND, active, timeout=0.05)
    assert not is_suspended(simulator, active)
    async with asyncio.timeout(5):
        while not is_suspended(simulator, active):
            await asyncio.sleep(0.01)
    simulator.faults.add(Fault("delay_after", seconds=0.01))
    assert (await call("team/members/unsuspend", {"user": active["user"]}))[0] == 200


async def test_cursor_faults(call, simulator):
    simulator.faults.add(Fault("invalid_cursor", route="team/*/continue*"))
    first = json.loads((await call("team/members/list_v2", {"limit": 1}))[2])
    status, _, body = await call("team/members/list/continue_v2", {"cursor": first["cursor"]})
    assert (status, json.loads(body)["error"][".tag"]) == (409, "invalid_cursor")
    simulator.faults.add(Fault("reset", route="team_log/*", value="2026-11-20T00:00:00Z"))
    status, _, body = await call("team_log/get_events/continue", {"cursor": "c"})
    assert json.loads(body)["error"] == {".tag": "reset", "reset": "2026-11-20T00:00:00Z"}


@pytest.mark.parametrize(
    ("route", "argument"),
    [
        ("team/members/list_v2", {}),
        ("team/members/add_v2", {"new_members": [{"member_email": "new@example.com"}]}),
        ("team_log/get_events", {}),
        ("team/groups/list", {}),
        (
            "team/members/remove",
            {"user": {".tag": "email", "email": "active@example.com"}, "wipe_data": False},
        ),
    ],
)
async def test_tags_from_the_future(call, simulator, stone_oracle, route, argument):
    simulator.faults.add(Fault("unknown_tag", where="result"))
    status, _, body = await call(route, argument)
    assert status == 200
    assert "unknown tag" in stone_oracle.check(route, "result", json.loads(body))


async def test_fields_from_the_future(call, simulator, stone_oracle):
    simulator.faults.add(Fault("unknown_field"))
    body = (await call("team/members/list_v2", {}))[2]
    assert "unknown field" in stone_oracle.check("team/members/list_v2", "result", json.loads(body))
    assert stone_oracle.check("team/members/list_v2", "result", json.loads(body), strict=False) is None


async def test_jobs_on_demand(call, simulator):
    route, poll = "team/members/add_v2", "team/members/add/job_status/get_v2"
    wanted = {"new_members": [{"member_email": "new@example.com"}]}
    simulator.faults.add(Fault("async", route=route))
    job = json.loads((await call(route, wanted))[2])["async_job_id"]
    await call(poll, {"async_job_id": job})
    assert json.loads((await call(poll, {"async_job_id": job}))[2])["complete"][0][".tag"] == "success"
    simulator.faults.add(Fault("job_failed", route=route))
    job = json.loads((await call(route, {"new_members": [{"member_email": "b@example.com"}]}))[2])[
        "async_job_id"
    ]
    await call(poll, {"async_job_id": job})
    assert json.loads((await call(poll, {"async_job_id": job}))[2])[".tag"] == "failed"
    simulator.faults.add(Fault("job_failed", route="team/members/remove"))
    who = {"user": {".tag": "email", "email": "active@example.com"}}
    job = json.loads((await call("team/members/remove", who))[2])["async_job_id"]
    poll = "team/members/remove/job_status/get"
    await call(poll, {"async_job_id": job})
    status, _, body = await call(poll, {"async_job_id": job})
    assert (status, json.loads(body)["error"][".tag"]) == (409, "internal_error")


async def test_count_skip_route_and_chance(call, simulator):
    simulator.faults.add(Fault("503", route="team/get_*", count=2, skip=1))
    got = [(await call("team/get_info"))[0] for _ in range(5)]
    assert got == [200, 503, 503, 200, 200]
    simulator.faults.add(Fault("503", route="team/members/*"))
    assert (await call("team/get_info"))[0] == 200
    simulator.faults.clear()
    simulator.faults.add(Fault("503", count=None, probability=0.5))
    got = [(await call("team/get_info"))[0] for _ in range(200)]
    assert 70 < got.count(503) < 130


async def test_the_token_endpoint_has_faults_too(web, simulator):
    simulator.faults.add(Fault("503", route="oauth2/*"))
    async with web.post("/oauth2/token", data={"grant_type": "refresh_token"}) as reply:
        assert reply.status == 503

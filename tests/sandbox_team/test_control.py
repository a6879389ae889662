"""The sandbox's own routes, and the team on disk."""

import aiohttp
import pytest

from sandbox.team import SeedGroup, SeedMember, TeamConfig, TeamSimulator
from sandbox.team.control import ACTIONS

pytestmark = pytest.mark.anyio


@pytest.fixture
async def web(simulator):
    async with aiohttp.ClientSession(base_url=simulator.url) as session:
        yield session


@pytest.fixture
def control(web):
    async def control(method, path, body=None, expect=200):
        async with web.request(method, f"/sandbox/{path}", json=body) as reply:
            assert reply.status == expect, await reply.text()
            return await reply.json()

    return control


async def test_the_help_names_everything(web, simulator):
    async with web.get("/sandbox") as reply:
        text = await reply.text()
    for resource in simulator.app.router.resources():
        if resource.canonical.startswith("/sandbox/") and "{" not in resource.canonical:
            assert resource.canonical.rstrip("/") in text
    for action in ACTIONS:
        assert f" {action} " in text, action


async def test_people(control):
    assert (await control("POST", "accept", {"email": "invited@example.com"}))["status"] == "active"
    assert (await control("POST", "accept", {"email": "invited@example.com"}, 409))["error"] == "not_invited"
    await control("POST", "console/add", {"email": "new@example.com", "given_name": "N"})
    assert await control("POST", "accept_all") == {"accepted": 1}
    await control("POST", "accept", {"all": True})
    state = await control("GET", "state?removed=0")
    assert state["seats"] == {"bought": 50, "used": 5, "free": 45}
    assert {m["status"] for m in state["members"]} == {"active", "suspended"}


async def test_an_admin_at_work(control, simulator):
    async def act(action, expect=200, **fields):
        return await control("POST", f"console/{action}", fields, expect)

    who = {"email": "active@example.com"}
    assert (await act("suspend", **who, wipe=True))["status"] == "suspended"
    assert (await act("unsuspend", **who))["status"] == "active"
    assert (await act("rename", **who, given_name="A", surname="B"))["surname"] == "B"
    assert (await act("set_email", **who, new_email="b@example.com"))["email"] == "b@example.com"
    who = {"email": "b@example.com"}
    assert (await act("set_external_id", **who, external_id="e"))["external_id"] == "e"
    assert (await act("set_external_id", **who, external_id=None))["external_id"] is None
    assert (await act("set_role", **who, role="support_admin"))["role"] == "pid_dbtmr:4567"
    await act("mark", **who, legal_hold=True)
    await act("group_create", name="G", external_id="g")
    await act("group_add", name="g", **who)
    await act("group_rename", name="G", new_name="H")
    await act("group_set_external_id", name="H", external_id=None)
    await act("group_set_management", name="H", management="user_managed")
    await act("group_add", name="H", email="admin@example.com", owner=True)
    assert (await control("GET", "state"))["groups"][0]["members"][1]["access"] == "owner"
    await act("group_remove", name="H", **who)
    await act("group_delete", name="H")
    assert (await act("remove", **who))["recoverable"] is True
    assert (await act("recover", **who))["status"] == "active"
    assert (await act("leave", **who))["status"] == "removed"
    assert (await act("suspend", 409, email="admin@example.com"))["error"] == "suspend_last_admin"
    await act("suspend", 409, email="no@example.com")
    await act("suspend", 400, emial="x")
    await act("explode", 404)
    actors = {event["actor"][".tag"] for event in await control("GET", "log")}
    assert actors == {"admin"}  # who leaves with a role is an admin to the log, too
    assert (await control("GET", "effects"))["wipes"]


async def test_troubles_limits_seats_and_time(control, simulator):
    queued = await control("POST", "faults", [{"kind": "503", "count": None}, {"kind": "drop_after"}])
    assert [fault["kind"] for fault in queued] == ["503", "drop_after"]
    assert len(await control("GET", "faults")) == 2
    await control("DELETE", "faults")
    assert await control("GET", "faults") == []
    await control("POST", "faults", {"kind": "flood"}, 400)
    await control("POST", "faults", {"kind": "503", "when": 1}, 400)
    limit = await control("POST", "limits", {"per_second": 5, "burst": 10})
    assert limit["form"] == "json"
    await control("POST", "limits", None)
    assert simulator.engine.limiter.limit is None
    assert (await control("POST", "seats", {"seats": 7}))["free"] == 3
    assert (await control("POST", "clock", {"advance_seconds": 3600}))["now"].startswith("2026-11-20T10")
    assert (await control("GET", "clock"))["now"].startswith("2026-11-20T10")
    assert (await control("POST", "switches", {"async_routes": ["*"]}))["async_routes"] == ["*"]
    await control("POST", "switches", {"nonsense": 1}, 400)
    assert (await control("GET", "switches"))["suspend_invited"] == "suspend_inactive_user"


async def test_tokens_and_lists(control, simulator):
    issued = await control("POST", "tokens/issue", {"scopes": ["members.read"], "kind": "user"})
    assert simulator.tokens.examine(issued["access_token"]).kind == "user"
    await control("POST", "tokens/issue")
    await control("POST", "tokens/scopes", {"scopes": ["members.read"], "app_scopes": ["members.read"]})
    await control("POST", "tokens/expire")
    await control("POST", "tokens/revoke")
    assert all(token.revoked for token in simulator.tokens.refresh.values())
    assert await control("POST", "oauth", {"deny": True}) == {"deny": True}
    assert await control("POST", "other_team_emails", {"add": ["X@example.com"]}) == ["x@example.com"]
    assert await control("POST", "other_team_emails", {"remove": ["x@example.com"]}) == []
    assert await control("POST", "personal_emails", {"add": ["y@example.com"]}) == ["y@example.com"]
    forced = {"email": "Z@example.com", "tag": "user_migration_failed"}
    assert await control("POST", "add_results", forced) == {"z@example.com": "user_migration_failed"}
    assert await control("POST", "add_results", {"email": "z@example.com", "tag": None}) == {}
    await control("POST", "cursors/invalidate")
    await control("POST", "log/reset", {"to": "2026-11-01T00:00:00Z"})
    assert simulator.team.log.reset_to.day == 1
    assert await control("POST", "save") == {"saved": False}


async def test_the_timeline(control, web, simulator):
    headers = {"Authorization": f"Bearer {simulator.config.access_token}", "Content-Type": "application/json"}
    for route in ("team/get_info", "team/members/list_v2"):
        async with web.post(f"/2/{route}", data=b"null", headers=headers) as reply:
            assert reply.status == 200
    requests = await control("GET", "requests?route=team/get_info&last=5")
    assert [(entry["route"], entry["status"], entry["request"]) for entry in requests] == [
        ("team/get_info", 200, None)
    ]
    assert requests[0]["reply"]["name"] == "Example Team"
    assert (await control("GET", "effects"))["requests"] == {
        "team/get_info 200": 1,
        "team/members/list_v2 200": 1,
    }
    await control("DELETE", "requests")
    assert await control("GET", "requests") == []


def test_the_timeline_is_bounded(bench):
    from sandbox.team.effects import Exchange, Timeline

    timeline = Timeline(length=5, size=100)
    for number in range(20):
        timeline.add(Exchange(bench().team.clock.now(), str(number), 200, b"x" * 20, b"y" * 20, ""))
    assert [entry.route for entry in timeline.exchanges()] == ["18", "19"]
    assert timeline.total == 20


async def test_a_team_on_disk(tmp_path):
    path = tmp_path / "deep" / "team.json"
    people = (SeedMember("admin@example.com", admin=True), SeedMember("a@example.com", external_id="e"))
    config = TeamConfig(
        members=people, groups=(SeedGroup("G", "g", members=("a@example.com",)),), storage=path
    )
    async with TeamSimulator(config) as first:
        first.console.add("new@example.com")
        first.console.remove("a@example.com")
        first.team.clock.advance(3600)
        first.team.seats = 7
    async with TeamSimulator(config) as second:
        assert list(second.team.members) == list(first.team.members)
        assert (second.team.id, second.team.seats) == (first.team.id, 7)
        assert second.team.authorising_admin_id == first.team.authorising_admin_id
        assert second.team.clock.offset == first.team.clock.offset
        assert second.team.effects.welcome_mails == {"new@example.com": 1}
        second.console.recover("a@example.com")
        group = next(iter(second.team.groups))
        assert (group.name, group.external_id, list(group.members)) == (
            "G",
            "g",
            [second.console.member("a@example.com").id],
        )
        assert second.console.add("other@example.com").id not in [m.id for m in first.team.members]
    assert [entry.name for entry in path.parent.iterdir()] == ["team.json"]

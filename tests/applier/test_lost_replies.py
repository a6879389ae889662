"""A reply that is lost before or after its effect: journal and team agree afterwards, and nothing happens twice.

(behaviour.md §7: no second invitation, no double suspension, no action lost; API sheet, section 5.4)
"""

import copy
import itertools
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

from pipeline.model import ActionKind, State
from tests.applier.world import World

pytestmark = pytest.mark.anyio

NewWorld = Callable[..., Awaitable[World]]

WITHOUT_EFFECT = ("drop_before", "500_before", "503", "timeout", "html")
WITH_EFFECT = ("drop_after", "500_after", "timeout_after", "truncated_json")
OTHER_TEAM, PAIRED = "p3@example.test", "p11@example.test"


async def _nothing(world: World) -> None:
    world.person("ann")


async def _batch(world: World) -> None:
    for number in range(20):
        world.person(f"p{number}")
    world.simulator.team.other_team_emails.add(OTHER_TEAM)
    world.simulator.team.forced_add_results[PAIRED] = "user_already_paired"


async def _renamed(world: World) -> None:
    await world.settled("ann", "bob")
    world.directory.modify(world.guids["ann"], surname="Lee", mail="ann.lee@example.test")


async def _disabled(world: World) -> None:
    await world.settled("ann", "bob", "cid")
    world.directory.disable(world.guids["ann"])


async def _suspended_in_console(world: World) -> None:
    await world.settled("ann", "bob")
    world.simulator.console.suspend("ann@example.test")


async def _deleted(world: World) -> None:
    await world.settled("ann", "bob", "cid")
    world.directory.delete(world.guids["ann"])


async def _invited_leaver(world: World) -> None:
    await world.settled("bob", "cid")
    world.person("ann")
    await world.run()
    world.directory.disable(world.guids["ann"])


async def _removed_in_console(world: World) -> None:
    await world.settled("ann", "bob")
    world.simulator.console.remove("ann@example.test")


async def _never_joined(world: World) -> None:
    world.person("ann")
    await world.run()
    world.clock.turn(days=1, hours=1)


CASES: dict[str, tuple[Callable[[World], Awaitable[None]], str]] = {
    "invite": (_nothing, "add_v2"),
    "batch": (_batch, "add_v2"),
    "update": (_renamed, "set_profile_v2"),
    "suspend": (_disabled, "suspend"),
    "unsuspend": (_suspended_in_console, "unsuspend"),
    "remove": (_deleted, "remove"),
    "revoke_invite": (_invited_leaver, "remove"),
    "recover": (_removed_in_console, "recover"),
    "send_welcome": (_never_joined, "send_welcome_email"),
}
ONCE = {"users": {"leave_settle_seconds": 0, "reinvite_days": 1}}


async def _ended(world: World) -> tuple[dict[str, dict[str, int]], dict[str, str]]:
    """Quiet, agreed, and what it came to."""
    await world.run_until_quiet()
    assert await world.disagreements() == []
    return world.effects(), world.states()


_without_trouble: dict[str, tuple[Any, Any]] = {}


async def _expected(new_world: NewWorld, case: str) -> tuple[Any, Any]:
    if case not in _without_trouble:
        world = await new_world(**ONCE)
        await CASES[case][0](world)
        await world.run(full=True)
        _without_trouble[case] = await _ended(world)
    return copy.deepcopy(_without_trouble[case])


@pytest.mark.parametrize("kind", [*WITHOUT_EFFECT, *WITH_EFFECT])
@pytest.mark.parametrize("case", CASES)
async def test_whatever_becomes_of_the_reply_it_comes_to_the_same(new_world: NewWorld, case: str, kind: str):
    prepare, route = CASES[case]
    effects, states = await _expected(new_world, case)
    world = await new_world(**ONCE)
    await prepare(world)
    fault = world.fault(kind, route)
    await world.run(full=True)
    assert fault.hits == 1
    found, ended = await _ended(world)
    assert ended == states
    if case == "send_welcome" and kind in WITHOUT_EFFECT:
        # Nothing shows whether a mail left: at most once, so here not at all (clarifications.md).
        assert found.pop("welcome_mails") == {"ann@example.test": 1}
        effects.pop("welcome_mails")
    assert found == effects
    failed = {(one.email, one.kind) for one in await world.open(State.FAILED)}
    wanted = {(OTHER_TEAM, ActionKind.INVITE), (PAIRED, ActionKind.INVITE)} if case == "batch" else set()
    assert failed == wanted


@pytest.mark.parametrize("kind", ["drop_before", "drop_after"])
@pytest.mark.parametrize("case", CASES)
async def test_the_process_dies_before_the_reply_comes(new_world: NewWorld, case: str, kind: str):
    """What is read back is out of reach as well, so that the action stays `sending`; another process settles it."""
    prepare, route = CASES[case]
    effects, states = await _expected(new_world, case)
    world = await new_world(**ONCE)
    await prepare(world)
    world.fault(kind, route)
    outage = world.fault("500_before", "get_info_v2", count=None, skip=0)
    listed = await world.run(full=True)
    if outage.hits:
        assert int(listed.code) == -16
        assert await world.open(State.SENDING)
    world.simulator.faults.clear()
    found, ended = await _ended(world)
    assert ended == states
    if case == "send_welcome" and kind == "drop_before":
        assert found.pop("welcome_mails") == {"ann@example.test": 1}
        effects.pop("welcome_mails")
    assert found == effects


SWITCHES: dict[str, dict[str, Any]] = {
    "jobs": {"async_routes": ("team/members/add_v2", "team/members/remove"), "async_polls": 3},
    "late jobs": {
        "async_routes": ("team/members/add_v2", "team/members/remove"),
        "async_polls": 3,
        "async_effect": "completion",
    },
    "get_info lags": {"stale_get_info_seconds": 4.0},
    "get_info lags long": {"stale_get_info_seconds": 45.0},
    "lists lag": {"stale_lists_seconds": 45.0},
    "everything lags": {"stale_lists_seconds": 45.0, "stale_get_info_seconds": 45.0},
    "removed resolvable": {"removed_resolvable": True},
    "removed rewritten": {"removed_email_rewritten": True, "removed_resolvable": True},
    "invited keep e-mail": {"invited_email_change": "set_profile_disallowed"},
    "suspend invited": {"suspend_invited": "user_not_in_team"},
    "suspend removed": {"suspend_removed": "inactive"},
    "provisioned": {"provisioned_counts_suspended": False},
    "paging": {"list_paging": "offset"},
    "exact selectors": {"selectors_ignore_case": False},
}


async def _everything(world: World) -> None:
    """One of each kind of write is due."""
    await world.settled("ann", "bob", "cid", "dan", "eva", "fay", "gus", "hal", "ida", "jon")
    world.person("kim")
    await world.run()
    world.clock.turn(days=1, hours=1)
    world.directory.modify(world.guids["ann"], surname="Lee", mail="ann.lee@example.test")
    world.directory.disable(world.guids["bob"])
    world.simulator.console.suspend("cid@example.test")
    world.directory.delete(world.guids["dan"])
    world.simulator.console.remove("eva@example.test")
    world.person("leo")
    world.person("mia")
    world.clock.turn(minutes=2)  # beyond any lag of the preparation


# These change what is shown, not what is done: once each, without trouble.
SHOWN: dict[str, dict[str, Any]] = {
    "external ids ignore case": {"external_ids_ignore_case": True},
    "irrecoverable not listed": {"unrecoverable_listed": False},
    "no account ids": {"invited_have_account_id": False},
    "everyone's group": {"everyone_in_profile_groups": True},
    "roles absent": {"empty_roles_absent": True},
    "another request id": {"request_id_is_dbarid": False},
    "short questions": {"max_get_info": 3},
    "log in order": {"log_shuffled": False, "log_empty_pages": True, "log_latency_seconds": 60.0},
}


@pytest.mark.parametrize(
    ("switch", "kind"),
    [
        *itertools.product(SWITCHES, [None, "drop_before", "drop_after", "503_after"]),
        *((switch, None) for switch in SHOWN),
    ],
)
async def test_each_contested_point_either_way(new_world: NewWorld, switch: str, kind: str | None):
    world = await new_world(switches={**SWITCHES, **SHOWN}[switch], **ONCE)
    await _everything(world)
    routes = ("add_v2", "set_profile_v2", "suspend", "unsuspend", "remove", "recover")
    faults = [world.fault(kind, route) for route in routes] if kind else []
    await world.run(full=True)
    assert all(fault.hits for fault in faults)
    effects, states = await _ended(world)
    assert await world.open(State.FAILED) == []
    assert states == {
        **dict.fromkeys(
            (f"{name}@example.test" for name in ("cid", "eva", "fay", "gus", "hal", "ida", "jon")), "active"
        ),
        **dict.fromkeys((f"{name}@example.test" for name in ("kim", "leo", "mia")), "invited"),
        "ann.lee@example.test": "active",
        "bob@example.test": "suspended",
        **{email: "removed" for email in states if email.startswith("dan") or states[email] == "removed"},
    }
    for name, once in (
        ("invitations", set()),
        ("wipes", {"bob@example.test"}),
        ("unsuspensions", {"cid@example.test"}),
        ("recoveries", {"eva@example.test"}),
    ):
        assert set(effects[name].values()) == {1}, (name, effects[name])
        assert once <= set(effects[name])
    assert effects["welcome_mails"].pop("kim@example.test") == 2  # at once, and again after a day
    assert set(effects["welcome_mails"].values()) == {1}


# --- jobs


JOBS = {"async_routes": ("team/members/add_v2", "team/members/remove")}


@pytest.mark.parametrize("effect", ["launch", "completion"])
@pytest.mark.parametrize("polls", [0, 1, 7, 50])
async def test_a_job_is_waited_for_and_never_asked_for_again(new_world: NewWorld, polls: int, effect: str):
    world = await new_world(switches={**JOBS, "async_polls": polls, "async_effect": effect}, **ONCE)
    await _batch(world)
    await world.run_until_quiet()
    assert await world.disagreements() == []
    (asked,) = world.requests("add_v2")
    assert len(asked["new_members"]) == 20
    assert {one.email for one in await world.open(State.FAILED)} == {OTHER_TEAM, PAIRED}
    assert set(world.effects()["welcome_mails"].values()) == {1}


@pytest.mark.parametrize("effect", ["launch", "completion"])
@pytest.mark.parametrize("seconds", [0.0, 2.0, 200.0])  # at once, between two questions, between two passes
async def test_a_job_whose_id_expires_before_it_has_ended(new_world: NewWorld, seconds: float, effect: str):
    """What cannot be asked any more is read back: nothing is lost, nobody is invited or wiped twice."""
    world = await new_world(**ONCE)
    await world.settled("ann", "bob", "cid")
    world.directory.delete(world.guids["ann"])
    for number in range(20):
        world.person(f"p{number}")
    world.simulator.team.switch(**JOBS, async_polls=500, async_effect=effect, job_lifetime_seconds=seconds)
    before = len(world.requests("add_v2"))
    await world.run_until_quiet()
    expired = [
        one for one in world.simulator.team.timeline.exchanges() if b"invalid_async_job_id" in one.reply
    ]
    if (seconds, effect) != (
        200.0,
        "launch",
    ):  # there the look at the end of the first pass has seen the effect
        assert {one.route for one in expired} == {
            "team/members/add/job_status/get_v2",
            "team/members/remove/job_status/get",
        }
    assert await world.disagreements() == []
    (asked,) = world.requests("add_v2")[before:]
    assert len(asked["new_members"]) == 20
    assert len(world.requests("remove")) == 1
    assert world.states()["ann@example.test"] == "removed"
    assert set(world.effects()["welcome_mails"].values()) == {1}
    assert set(world.effects()["wipes"].values()) == {1}


async def test_whoever_is_refused_by_jobs_that_never_say_so_is_asked_for_more_and_more_rarely(
    new_world: NewWorld,
):
    """Nobody is there, and nothing says why: asking again is all that can be done, but not every few seconds."""
    world = await new_world(switches={**JOBS, "job_lifetime_seconds": 0.0}, **ONCE)
    world.person("p3")
    world.simulator.team.other_team_emails.add(OTHER_TEAM)
    for _ in range(12):
        await world.run()
        world.clock.turn(minutes=5)
    assert 5 <= len(world.requests("add_v2")) <= 20  # sixty, were each doubt as short as the first


async def test_a_person_with_a_job_under_way_is_not_decided_about(new_world: NewWorld):
    world = await new_world(**ONCE)
    await world.settled("bob", "cid")
    world.simulator.team.switch(**JOBS, async_polls=50, async_effect="completion")
    guid = world.person("ann")
    first = await world.run()
    assert int(first.code) == -17
    (doubtful,) = await world.open(State.RETRY)
    assert doubtful.job_id not in ("", "?")
    world.directory.remove_member(world.group, guid)
    await world.run()
    assert [one.kind for one in await world.open(State.RETRY)] == [ActionKind.INVITE]
    await world.run_until_quiet(passes=40)
    assert world.states()["ann@example.test"] == "removed"
    assert await world.disagreements() == []
    assert len(world.requests("add_v2")) == 2  # of bob and cid, and of ann


@pytest.mark.parametrize("route", ["add_v2", "remove"])
@pytest.mark.parametrize("effect", ["launch", "completion"])
async def test_a_job_that_fails_has_no_effect_or_all_of_it(new_world: NewWorld, route: str, effect: str):
    world = await new_world(switches={"async_effect": effect}, **ONCE)
    await world.settled("ann", "bob", "cid")
    world.person("dan")
    world.directory.delete(world.guids["ann"])
    fault = world.fault("job_failed", route)
    await world.run()
    assert fault.hits == 1
    await _ended(world)
    assert world.states() == {
        "ann@example.test": "removed",
        "bob@example.test": "active",
        "cid@example.test": "active",
        "dan@example.test": "invited",
    }
    assert set(world.effects()["welcome_mails"].values()) == {1}
    assert set(world.effects()["wipes"].values()) == {1}


@pytest.mark.parametrize("route", ["add_v2", "remove"])
@pytest.mark.parametrize("effect", ["launch", "completion"])
async def test_a_job_whose_id_is_lost(new_world: NewWorld, route: str, effect: str):
    world = await new_world(**ONCE)
    await world.settled("ann", "bob", "cid")
    world.person("dan")
    world.directory.delete(world.guids["ann"])
    world.simulator.team.switch(**JOBS, async_polls=2, async_effect=effect)
    world.fault("drop_after", route)
    await world.run()
    await _ended(world)
    assert world.states()["ann@example.test"] == "removed"
    assert world.states()["dan@example.test"] == "invited"
    assert set(world.effects()["welcome_mails"].values()) == {1}
    assert set(world.effects()["wipes"].values()) == {1}


@pytest.mark.parametrize("polls", [1, 12])
@pytest.mark.parametrize("name", ["invite", "remove"])
async def test_a_crash_while_a_job_runs_sends_nothing_again(new_world: NewWorld, name: str, polls: int):
    """The job's id is on disk before the job is waited for."""
    world = await new_world(**ONCE)
    prepare, route = CASES[name]
    await prepare(world)
    world.simulator.team.switch(**JOBS, async_polls=polls, async_effect="completion")
    before = len(world.requests(route))
    with anyio.CancelScope() as scope:

        def die() -> None:
            if len(world.requests(route)) > before:
                scope.cancel()

        world.clock.on_sleep = die
        await world.run()
    assert scope.cancelled_caught
    world.clock.on_sleep = lambda: None
    (left,) = await world.open(State.SENDING)
    assert left.job_id not in ("", "?")
    await world.run_until_quiet(passes=80)
    assert len(world.requests(route)) == before + 1
    assert world.states()["ann@example.test"] == ("invited" if name == "invite" else "removed")
    assert await world.disagreements() == []

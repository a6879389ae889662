"""Whatever comes in whatever order: seats add up, names are unique, nobody gets lost."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sandbox.team import SeedMember, Switches

PEOPLE = (
    SeedMember("admin@example.com", "Ada", "Admin", admin=True),
    SeedMember("p0@example.com", external_id="x0"),
    SeedMember("p1@example.com", external_id="x1", status="invited"),
)
emails = st.integers(0, 5).map(lambda n: f"p{n}@example.com")
external_ids = st.integers(0, 5).map(lambda n: f"x{n}")
users = st.one_of(
    emails.map(lambda value: {".tag": "email", "email": value}),
    external_ids.map(lambda value: {".tag": "external_id", "external_id": value}),
    st.just({".tag": "email", "email": "admin@example.com"}),
    st.integers(0, 8).map(lambda place: {"place": place}),
)
groups = st.integers(0, 2).map(lambda n: {".tag": "group_external_id", "group_external_id": f"g{n}"})
flags = st.booleans()


def call(route, **fields):
    return st.tuples(st.just(route), st.fixed_dictionaries(fields))


new_member = st.fixed_dictionaries(
    {"member_email": emails}, optional={"member_external_id": external_ids, "send_welcome_email": flags}
)
steps = st.one_of(
    call("team/members/add_v2", new_members=st.lists(new_member, min_size=1, max_size=4), force_async=flags),
    call("team/members/suspend", user=users, wipe_data=flags),
    call("team/members/unsuspend", user=users),
    call(
        "team/members/remove", user=users, wipe_data=flags, keep_account=flags, permanently_delete_files=flags
    ),
    call("team/members/remove", user=users),
    call("team/members/recover", user=users),
    call("team/members/set_profile_v2", user=users, new_email=emails),
    call("team/members/set_profile_v2", user=users, new_external_id=external_ids | st.just("")),
    call(
        "team/members/set_admin_permissions_v2",
        user=users,
        new_roles=st.sampled_from([[], ["pid_dbtmr:2345"]]),
    ),
    call(
        "team/groups/create",
        group_name=st.sampled_from(["A", "a", "B"]),
        group_external_id=st.sampled_from(["g0", "g1"]),
    ),
    call(
        "team/groups/members/add",
        group=groups,
        members=st.lists(
            st.fixed_dictionaries({"user": users, "access_type": st.just("member")}), max_size=3
        ),
    ),
    call("team/groups/members/remove", group=groups, users=st.lists(users, max_size=3)),
    st.tuples(st.just("team/groups/delete"), groups),
    st.tuples(st.just("advance"), st.integers(1, 8)),
    st.tuples(st.just("accept"), st.none()),
    st.tuples(st.just("seats"), st.integers(0, 8)),
)


def by_place(table, value):
    """Replaces {"place": n} by the id of the n-th member there ever was."""
    if isinstance(value, dict):
        if "place" in value:
            member = table.team.members.at(value["place"] % len(table.team.members))
            return {".tag": "team_member_id", "team_member_id": member.id}
        return {key: by_place(table, item) for key, item in value.items()}
    return [by_place(table, item) for item in value] if isinstance(value, list) else value


def perform(table, step):
    route, argument = step
    if route == "advance":
        table.team.clock.advance(argument * 86400)
    elif route == "accept":
        table.console.accept_all()
    elif route == "seats":
        table.team.seats = argument
    else:
        status, _ = table(route, by_place(table, argument))
        assert status in (200, 409)


def check(table, known):
    team = table.team
    members = list(team.members)
    now = team.clock.now()
    assert known <= {m.id for m in members}  # nobody gets lost
    present = [m for m in members if m.present]
    assert (
        team.members.present
        == len(present)
        == sum(team.members.count[s] for s in ("active", "invited", "suspended"))
    )
    claiming = [m for m in members if m.present or m.recoverable(now)]
    for name in ("email", "external_id"):
        values = [value for m in claiming if (value := getattr(m, name)) is not None]
        assert len(values) == len(set(values)), name
        for member in claiming:
            value = getattr(member, name)
            assert value is None or team.members.holder(name, value) == member
    assert team.members.active_admins == {
        m.id for m in members if m.status == "active" and m.role == "pid_dbtmr:2345"
    }
    assert team.members.active_admins
    for group in team.groups:
        assert {m.id for m in members if group.id in m.groups} == set(group.members)
        assert all(team.members[m].present for m in group.members)
    names = [group.name.casefold() for group in team.groups]
    assert len(names) == len(set(names))
    listed = table.ok("team/members/list_v2", {"include_removed": True})["members"]
    assert len(listed) == len(members)
    return {m.id for m in members}


@pytest.mark.parametrize(
    "switches", [Switches(), Switches(async_effect="completion", removed_resolvable=True)]
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(plan=st.lists(steps, max_size=30))
def test_any_sequence(bench, switches, plan):
    table = bench(members=PEOPLE, seats=5, switches=switches)
    known = check(table, set())
    for step in plan:
        before = table.team.members.present
        perform(table, step)
        # Nothing but buying fewer seats can leave a team with more members than seats.
        assert table.team.members.present <= max(table.team.seats, before)
        known = check(table, known)

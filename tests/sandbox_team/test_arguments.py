"""The simulator's own argument checks say what the real validators say, word for word."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sandbox.team.arguments import ARGUMENTS
from sandbox.team.schema import ArgumentError

ID = {".tag": "team_member_id", "team_member_id": "dbmid:x"}
CASES = [
    ("team/members/suspend", {}),
    ("team/members/suspend", None),
    ("team/members/suspend", []),
    ("team/members/suspend", "x"),
    ("team/members/suspend", {"user": "email"}),
    ("team/members/suspend", {"user": {}}),
    ("team/members/suspend", {"user": {".tag": "zzz"}}),
    ("team/members/suspend", {"user": {".tag": "email"}}),
    ("team/members/suspend", {"user": {".tag": "email", "email": None}}),
    ("team/members/suspend", {"user": {".tag": "email", "email": "bad"}}),
    ("team/members/suspend", {"user": {".tag": "email", "email": 5}}),
    ("team/members/suspend", {"user": {".tag": "email", "email": "a" * 250 + "@ex.com"}}),
    ("team/members/suspend", {"user": {".tag": "email", "email": "a@b.com", "x": 1}}),
    ("team/members/suspend", {"user": {".tag": "external_id", "external_id": "x" * 65}}),
    ("team/members/suspend", {"user": {".tag": 5}}),
    ("team/members/suspend", {"user": 5}),
    ("team/members/suspend", {"user": ID, "wipe_data": "no"}),
    ("team/members/suspend", {"user": ID, "wipe_data": None}),
    ("team/members/suspend", {"user": ID, "x": 1}),
    ("team/members/suspend", {"user": ID}),
    ("team/members/list_v2", {"limit": 0}),
    ("team/members/list_v2", {"limit": 1001}),
    ("team/members/list_v2", {"limit": "x"}),
    ("team/members/list_v2", {"limit": 1.5}),
    ("team/members/list_v2", {"limit": None}),
    ("team/members/list_v2", None),
    ("team/members/list_v2", {}),
    ("team/members/add_v2", {"new_members": None}),
    ("team/members/add_v2", {"new_members": [5]}),
    ("team/members/add_v2", {"new_members": [{}]}),
    ("team/members/add_v2", {"new_members": [{"member_email": "a@b.com", "member_given_name": "a/b"}]}),
    ("team/members/add_v2", {"new_members": [{"member_email": "a@b.com", "member_surname": "a" * 51}]}),
    ("team/members/add_v2", {"new_members": [{"member_email": "a@b.com", "role_ids": ["a"]}]}),
    ("team/members/add_v2", {"new_members": [{"member_email": "a@b.com", "zz": 1}]}),
    ("team/members/add_v2", {"new_members": [{"member_email": "ü@b.com"}]}),
    ("team/members/add_v2", {"new_members": [{"member_email": "a@b.com", "member_given_name": None}]}),
    ("team/members/set_profile_v2", {"user": ID, "new_email": ""}),
    ("team/members/suspend_batch", {"members": []}),
    ("team/members/list/continue_v2", {}),
    ("team/groups/job_status/get", {"async_job_id": ""}),
    ("team/get_info", {}),
    ("team/get_info", None),
    ("team/groups/create", {"group_name": "x", "group_management_type": "company_managed"}),
    ("team/groups/create", {"group_name": "x", "group_management_type": {".tag": "zz"}}),
    ("team/groups/create", {"group_name": "x", "group_management_type": {".tag": "company_managed", "q": 1}}),
    ("team/groups/create", {"group_name": None}),
    ("team/groups/get_info", {".tag": "group_ids"}),
    ("team/groups/get_info", {".tag": "group_ids", "group_ids": [5]}),
    ("team/groups/delete", "group_id"),
    ("team/groups/delete", {"group_id": "x"}),
    ("team/groups/delete", None),
    ("team/groups/delete", []),
    ("team/features/get_values", {"features": [{".tag": "other"}]}),
    ("team_log/get_events", {"time": {"start_time": "x"}}),
    ("team_log/get_events", {"time": {"start_time": "2026-11-20T09:12:33Z"}, "category": "members"}),
    ("team_log/get_events", {"event_type": {".tag": "zz"}}),
    ("team_log/get_events", {"account_id": "x"}),
    ("check/app", {"query": "x" * 501}),
]


def verdict(route, argument):
    try:
        ARGUMENTS[route].decode(argument)
    except ArgumentError as error:
        return str(error)
    return None


@pytest.mark.parametrize(("route", "argument"), CASES)
def test_same_words(stone_oracle, route, argument):
    assert verdict(route, argument) == stone_oracle.check(route, "arg", argument)


def test_what_is_not_json(bench):
    table = bench()
    for body in (b"", b"{", b"\xff"):
        reply = table.raw("team/get_info", body)
        expected = (
            b'Error in call to API function "team/get_info": request body: could not decode input as JSON'
        )
        assert (reply.status, reply.body) == (400, expected)


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 2000)
    | st.sampled_from(["", "a@b.com", "x", "email", "dbmid:x"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    ".tag",
                    "user",
                    "email",
                    "limit",
                    "cursor",
                    "group",
                    "members",
                    "new_members",
                    "member_email",
                    "group_id",
                    "group_name",
                    "wipe_data",
                    "team_member_id",
                    "access_type",
                    "users",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(route=st.sampled_from(sorted(ARGUMENTS)), argument=VALUES)
def test_same_verdict_on_anything(stone_oracle, route, argument):
    theirs = stone_oracle.check(route, "arg", argument)
    ours = verdict(route, argument)
    assert (ours is None) == (theirs is None), json.dumps(argument)

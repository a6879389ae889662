"""Every tag that the vendor's SDK knows has a rule; nothing is classified by accident."""

from __future__ import annotations

import importlib

import pytest

from pipeline.model import Member, Status, Verdict
from stages.dropbox import routes
from stages.dropbox.answer import Refusal
from stages.dropbox.classify import (
    READ_TAGS,
    RULES,
    outcome_after_look,
    outcome_for,
    outcome_of_refusal,
    rule_for,
)
from stages.dropbox.wire import member_from, tag_of


def _route(path: str):
    namespace, name = path.split("/", 1)
    if name.endswith("_v2"):
        name = f"{name[:-3]}:2"
    return importlib.import_module(f"dropbox.{namespace}").ROUTES[name]


def _tags_of(validator) -> set[str]:
    definition = getattr(validator, "definition", None)
    tags = getattr(definition, "_tagmap", None)
    return set(tags) - {"other"} if tags else set()


def _tags_answered_by(path: str) -> set[str]:
    if path == routes.ADD:  # its business failures come in the result, one an item
        team = importlib.import_module("dropbox.team")
        return set(team.MemberAddV2Result._tagmap) - {"other", "success"}
    return _tags_of(_route(path).error_type)


def _called_routes() -> list[str]:
    return [value for name, value in vars(routes).items() if name.isupper()]


@pytest.mark.parametrize("path", _called_routes())
def test_every_tag_that_the_sdk_knows_has_a_rule(path):
    known = set(RULES[path]) if path in RULES else set(READ_TAGS[path])
    assert _tags_answered_by(path) - known == set(), "unclassified"


@pytest.mark.parametrize("path", sorted(RULES))
def test_no_rule_is_for_a_tag_that_does_not_exist(path):
    assert set(RULES[path]) - _tags_answered_by(path) == set()


@pytest.mark.parametrize("path", sorted(RULES))
def test_what_an_admin_must_mend_says_how(path):
    for tag, rule in RULES[path].items():
        if rule.verdict not in {Verdict.ALREADY, Verdict.DONE}:
            assert rule.hint, tag


def test_an_unknown_tag_fails_and_is_named():
    outcome = outcome_for(routes.SUSPEND, "brand_new_tag")
    assert (outcome.verdict, outcome.tag) == (Verdict.FAILED, "brand_new_tag")
    assert "brand_new_tag" in outcome.hint


def _member(status: Status | None, *, recoverable: bool = False) -> Member | None:
    if status is None:
        return None
    return Member(member_id="dbmid:1", status=status, email="a@b.test", recoverable=recoverable)


@pytest.mark.parametrize(
    ("path", "tag", "status", "verdict"),
    [
        (routes.SUSPEND, "suspend_inactive_user", Status.SUSPENDED, Verdict.ALREADY),
        (routes.SUSPEND, "suspend_inactive_user", Status.INVITED, Verdict.STALE),
        (routes.SUSPEND, "suspend_inactive_user", Status.ACTIVE, Verdict.FAILED),
        (routes.SUSPEND, "suspend_inactive_user", None, Verdict.STALE),
        (routes.UNSUSPEND, "unsuspend_non_suspended_member", Status.ACTIVE, Verdict.ALREADY),
        (routes.UNSUSPEND, "unsuspend_non_suspended_member", Status.INVITED, Verdict.STALE),
        (routes.UNSUSPEND, "unsuspend_non_suspended_member", Status.REMOVED, Verdict.STALE),
        (routes.REMOVE, "user_not_found", None, Verdict.ALREADY),
        (routes.REMOVE, "user_not_in_team", Status.REMOVED, Verdict.ALREADY),
        (routes.REMOVE, "user_not_found", Status.ACTIVE, Verdict.STALE),
        (routes.SET_PROFILE, "set_profile_disallowed", Status.INVITED, Verdict.NOT_JOINED),
        (routes.SET_PROFILE, "set_profile_disallowed", Status.REMOVED, Verdict.STALE),
        (routes.SET_PROFILE, "set_profile_disallowed", Status.ACTIVE, Verdict.FAILED),
        (routes.RECOVER, "user_unrecoverable", Status.ACTIVE, Verdict.ALREADY),
        (routes.RECOVER, "user_unrecoverable", Status.REMOVED, Verdict.STALE),
    ],
)
def test_an_ambiguous_refusal_is_settled_by_the_members_status(path, tag, status, verdict):
    assert rule_for(path, tag).is_ambiguous
    assert outcome_after_look(path, tag, _member(status)).verdict is verdict


def test_a_recoverable_member_that_can_not_be_recovered_fails_rather_than_going_round():
    outcome = outcome_after_look(
        routes.RECOVER, "user_unrecoverable", _member(Status.REMOVED, recoverable=True)
    )
    assert outcome.verdict is Verdict.FAILED


def test_the_seat_limit_is_told_for_every_write_that_can_meet_it():
    for path in (routes.ADD, routes.SUSPEND, routes.UNSUSPEND, routes.RECOVER):
        assert outcome_for(path, "team_license_limit").verdict is Verdict.NO_SEAT


def test_a_refusal_of_the_whole_call_carries_its_own_hint():
    refusal = Refusal(
        route=routes.REMOVE,
        status=401,
        tag="missing_scope",
        text="missing_scope",
        hint="the token lacks the scope members.delete",
    )
    outcome = outcome_of_refusal(refusal)
    assert outcome.verdict is Verdict.FAILED
    assert "members.delete" in outcome.hint


def test_every_status_of_the_sdk_is_read_and_an_unfamiliar_one_stops_nobody():
    team = importlib.import_module("dropbox.team")
    for tag in set(team.TeamMemberStatus._tagmap) | {"frozen"}:
        member = member_from(
            {"profile": {"team_member_id": "dbmid:1", "status": {".tag": tag}, "email": "A@B.test"}}
        )
        assert member.email == "a@b.test"
        if tag != "frozen":
            assert member.status == tag
    assert tag_of("active") == tag_of({".tag": "active"}) == "active"

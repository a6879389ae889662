"""Members as Dropbox tells them: what may be missing, and what makes a page unreadable."""

from datetime import UTC, datetime
from typing import Any

import pytest

from pipeline.model import Member, Status
from stages.dropbox.wire import UnreadableReply, member_from, members_from, moment

BARE: dict[str, Any] = {"team_member_id": "dbmid:1", "status": {".tag": "active"}}
BARE_MEMBER = Member(member_id="dbmid:1", status=Status.ACTIVE, email="")


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"email": None, "external_id": None, "name": {}, "invited_on": None, "joined_on": None},
        {"name": {"given_name": None, "surname": None, "display_name": "Ann"}, "groups": 7},
        {"invited_on": "yesterday", "joined_on": 12},
    ],
)
@pytest.mark.parametrize("roles", [{}, {"roles": None}, {"roles": []}, {"roles": [{"name": None}, {}]}])
def test_what_is_missing_null_or_of_no_use_is_empty(more: dict[str, Any], roles: dict[str, Any]) -> None:
    assert member_from({"profile": BARE | more, **roles}) == BARE_MEMBER


def test_all_that_is_told_is_read() -> None:
    profile = {
        "team_member_id": "dbmid:2",
        "status": {".tag": "removed", "is_recoverable": True, "is_disconnected": False},
        "email": "Ann@Example.Test",
        "external_id": "ID",
        "name": {"given_name": "Ann", "surname": "Lee"},
        "invited_on": "2026-01-02T03:04:05Z",
        "joined_on": "2026-01-03T03:04:05+01:00",
    }
    assert member_from({"profile": profile, "roles": [{"name": "Other"}, {"name": "Team Admin"}]}) == Member(
        member_id="dbmid:2",
        status=Status.REMOVED,
        email="ann@example.test",
        given_name="Ann",
        surname="Lee",
        external_id="ID",
        recoverable=True,
        is_team_admin=True,
        invited_on=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        joined_on=datetime(2026, 1, 3, 2, 4, 5, tzinfo=UTC),
    )


@pytest.mark.parametrize("tag", ["frozen", "", None, 7])
def test_a_status_that_is_not_known_is_not_taken_for_another(tag: object) -> None:
    member = member_from({"profile": BARE | {"status": {".tag": tag, "is_recoverable": True}}})
    assert (member.status, member.recoverable) == (Status.UNKNOWN, False)


@pytest.mark.parametrize(
    ("item", "where"),
    [
        (None, " (dict_type)"),
        ({}, "profile (missing)"),
        ({"profile": {"status": {}}}, "profile.team_member_id (missing)"),
        ({"profile": BARE | {"team_member_id": ""}}, "profile.team_member_id (string_too_short)"),
        ({"profile": BARE | {"status": "active"}}, "profile.status (dict_type)"),
        ({"profile": BARE | {"email": 7}}, "profile.email (string_type)"),
        ({"profile": BARE | {"name": "Ann"}}, "profile.name (dict_type)"),
        ({"profile": BARE, "roles": [7]}, "roles (dict_type)"),
    ],
)
def test_one_member_that_cannot_be_read_spoils_the_page_and_its_values_are_not_told(
    item: object, where: str
) -> None:
    with pytest.raises(UnreadableReply) as caught:
        members_from([{"profile": BARE}, item])
    assert str(caught.value) == f"unexpected shape: {where}"


@pytest.mark.parametrize(
    "told", ["0001-01-01T00:00:00+23:00", "9999-12-31T23:59:59-23:00", "2026-02-31T00:00:00Z"]
)
def test_a_moment_that_no_calendar_has_is_absent(told: str) -> None:
    assert moment(told) is None

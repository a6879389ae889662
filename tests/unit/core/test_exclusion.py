"""Exclusions win over everything: behaviour.md §2.6."""

from __future__ import annotations

import pytest

from pipeline.core.exclusion import Exclusions

EXCLUSIONS = Exclusions(
    email_patterns=("*@Partner.test", "svc-?@*", "", "  ", "[ab]dmin@example.test"),
    guids=frozenset({"guid-1"}),
    group_members=frozenset({"guid-2"}),
    group_name="Never touch",
)


@pytest.mark.parametrize(
    ("guid", "directory_email", "member_email", "reason"),
    [
        ("guid-1", "", "", "excluded by GUID"),
        ("GUID-1", "", "", "excluded by GUID"),
        ("guid-2", "", "", "in the exclusion group Never touch"),
        ("guid-9", "Ann@PARTNER.test", "", "e-mail matches the exclusion *@Partner.test"),
        pytest.param(
            "guid-9",
            "ann@example.test",
            "ann@partner.test",
            "e-mail matches the exclusion *@Partner.test",
            id="the member's e-mail counts as well as the directory's",
        ),
        pytest.param(
            "",
            "",
            "svc-1@example.test",
            "e-mail matches the exclusion svc-?@*",
            id="a member without a person",
        ),
        ("guid-9", "badmin@example.test", "", None),
        ("guid-9", "bdmin@example.test", "", "e-mail matches the exclusion [ab]dmin@example.test"),
        ("guid-9", "ann@partner.test.example", "", None),
        ("guid-9", "ann@example.test", "ann@example.test", None),
        pytest.param("guid-9", "", "", None, id="a cleared e-mail matches no empty pattern"),
    ],
)
def test_an_excluded_person_or_member_is_told_why(
    guid: str, directory_email: str, member_email: str, reason: str | None
) -> None:
    assert EXCLUSIONS.reason(guid, directory_email=directory_email, member_email=member_email) == reason


def test_a_cleared_e_mail_does_not_lose_the_protection_of_the_member_s() -> None:
    assert EXCLUSIONS.reason("x", directory_email="", member_email="ann@partner.test")


def test_nothing_configured_excludes_nobody() -> None:
    assert Exclusions().reason("guid", directory_email="a@b.test", member_email="a@b.test") is None


def test_an_exclusion_group_without_a_name_still_protects() -> None:
    assert Exclusions(group_members=frozenset({"g"})).reason("g") == "in the exclusion group"

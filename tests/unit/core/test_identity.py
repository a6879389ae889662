"""Stage 1: which member is a person's. (behaviour.md §3 and §2.5)"""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from pipeline.core.identity import Candidates, How, Match, match
from pipeline.model import Member, Status
from pipeline.records import Link

GUID = "6f9619ff-8b86-4011-b42d-00c04fc964ff"
OTHER = "11111111-2222-3333-4444-555555555555"
NOW = datetime(2026, 3, 2, tzinfo=UTC)
LINK = Link(guid=GUID, member_id="linked", how="invited", at=NOW)
FORMAT = "ad-guid:{objectGUID}"


def member(member_id: str, status: Status = Status.ACTIVE, **more: object) -> Member:
    return Member(member_id=member_id, status=status, email="ann@example.test", **more)  # type: ignore[arg-type]


LINKED = member("linked", external_id=f"ad-guid:{GUID}")
OWN = member("own", external_id=f"ad-guid:{GUID}")
LEGACY = member("legacy", external_id="ADSYNC S-1-5-21-1-2-3-4")
EMAIL = member("email")
GONE = member("gone", Status.REMOVED)
ALL = Candidates(linked=LINKED, by_external_id=[OWN], by_legacy_id=[LEGACY], by_email=[EMAIL])


def find(candidates: Candidates, *, link: Link | None = LINK, **holders: str) -> Match:
    return match(GUID, link, candidates, holders, own_format=FORMAT)


def test_the_order_is_link_own_id_legacy_id_email() -> None:
    assert find(ALL) == Match(member=LINKED, how=How.LINK)
    assert find(ALL, link=None) == Match(member=OWN, how=How.EXTERNAL_ID)
    assert find(replace(ALL, by_external_id=()), link=None) == Match(member=LEGACY, how=How.LEGACY)
    assert find(Candidates(by_email=[EMAIL]), link=None) == Match(member=EMAIL, how=How.EMAIL)
    assert find(Candidates()) == Match()


def test_an_account_that_is_gone_for_good_gives_way_to_another() -> None:
    gone = replace(LINKED, status=Status.REMOVED)
    assert find(replace(ALL, linked=gone)).how is How.EXTERNAL_ID
    assert find(Candidates(linked=gone)) == Match(member=gone, how=How.LINK)
    assert find(replace(ALL, linked=replace(gone, recoverable=True))).how is How.LINK


def test_a_living_account_comes_before_a_removed_one() -> None:
    removed = member("a", Status.REMOVED, recoverable=True)
    assert find(Candidates(by_email=[removed, EMAIL]), link=None).member == EMAIL
    assert find(Candidates(by_email=[removed]), link=None).member == removed
    assert find(Candidates(by_email=[GONE]), link=None) == Match()


def test_a_member_linked_to_somebody_else_is_a_rivals() -> None:
    assert find(Candidates(by_email=[EMAIL]), link=None, email=OTHER).rival == OTHER
    assert find(Candidates(by_email=[EMAIL]), link=None, email=GUID).rival == ""


@pytest.mark.parametrize("found", ["by_external_id", "by_legacy_id"])
def test_an_id_on_a_member_linked_to_somebody_else_matches_nobody(found: str) -> None:
    candidates = Candidates(**{found: [OWN]})
    assert find(candidates, link=None, own=OTHER) == Match()


@pytest.mark.parametrize("external_id", [f"ad-guid:{OTHER}", "ADSYNC S-1-5-21-9-9-9-9"])
def test_a_member_with_another_objects_id_is_never_taken_by_its_email(external_id: str) -> None:
    other = replace(EMAIL, external_id=external_id)
    assert find(Candidates(by_email=[other]), link=None).rival in (OTHER, external_id)


def test_a_legacy_id_of_another_object_is_only_a_foreign_id_when_such_ids_do_not_count() -> None:
    other = replace(EMAIL, external_id="ADSYNC S-1-5-21-9-9-9-9")
    candidates = Candidates(by_email=[other])
    assert match(GUID, None, candidates, {}, own_format=FORMAT, legacy_belongs=False).rival == ""


@pytest.mark.parametrize(
    ("own_format", "rival"), [("{objectGUID}", ""), ("{objectSid}", ""), ("x{objectGUID}", "")]
)
def test_another_systems_id_is_no_rival_whatever_our_format(own_format: str, rival: str) -> None:
    other = replace(EMAIL, external_id="okta:00u1")
    assert match(GUID, None, Candidates(by_email=[other]), {}, own_format=own_format).rival == rival


def test_a_bare_guid_of_somebody_else_is_a_rival_where_that_is_our_format() -> None:
    other = replace(EMAIL, external_id=OTHER)
    assert match(GUID, None, Candidates(by_email=[other]), {}, own_format="{objectGUID}").rival == OTHER


def test_the_answer_does_not_depend_on_the_order_of_the_candidates() -> None:
    several = [member("b"), member("a"), member("c", Status.REMOVED, recoverable=True)]
    forwards = find(Candidates(by_email=several), link=None)
    assert forwards == find(Candidates(by_email=several[::-1]), link=None)
    assert forwards.member == several[1]

"""The namesake's claim (behaviour.md §2.5): what an approval is bound to, and when there is nothing to approve."""

from dataclasses import replace
from datetime import timedelta

import pytest

from pipeline.core.identity import How, Match
from pipeline.core.mapping import profile_of
from pipeline.core.namesake import Claim, claim_on
from pipeline.core.plan import Policy, Subject, decide
from pipeline.model import ActionKind, Member, Profile, Status
from pipeline.records import Node, Pin
from tests.unit.core.test_plan import (
    DELETED,
    DISABLED,
    ENTRY,
    GUID,
    LEFT,
    LINK,
    LISTED,
    MEMBER,
    NOW,
    OTHER,
    POLICY,
    kinds,
)

NEW = Node(entry=replace(ENTRY, guid=OTHER, dn="CN=Ann Two,DC=example,DC=test", surname="Two"), listed=True)


def claim(holder: Node = LEFT, member: Member = MEMBER, *, approved: bool = False, **more: object) -> Claim:
    facts: dict[str, object] = {
        "holder_email": "ann@example.test",
        "excluded": "",
        "disabled": holder.entry.disabled,
        "claimant_disabled": False,
        "approved_link": "approved",
        **more,
    }
    link = facts.pop("link", LINK)
    return replace(claim_on(NEW, member, holder, link, **facts), approved=approved)  # type: ignore[arg-type]


def namesake(of: Claim, **more: object) -> Subject:
    return Subject(
        node=of.claimant,
        mapped=profile_of(of.claimant.entry, external_id_format="ad-guid:{objectGUID}"),
        match=Match(member=of.member, how=How.EMAIL, rival=of.holder.guid),
        claim=of,
        **more,  # type: ignore[arg-type]
    )


# --- whether there is something to approve


@pytest.mark.parametrize("holder", [LEFT, DELETED, DISABLED])
def test_the_account_of_who_left_was_deleted_or_disabled_can_be_approved(holder: Node) -> None:
    assert claim(holder).obstacle == ""
    assert not claim(holder).is_holder_in


def test_of_two_who_are_in_with_one_e_mail_the_approval_says_that_it_takes_the_account_away() -> None:
    both = claim(LISTED)
    assert both.obstacle == ""
    assert both.is_holder_in
    assert "STILL IN THE SYNC GROUP" in both.describe()


@pytest.mark.parametrize(
    ("holder", "more"),
    [
        (LEFT, {"excluded": "in the exclusion group"}),
        (DELETED, {"excluded": "by GUID"}),
        (replace(LISTED, seen=False), {}),
        (replace(LEFT, left_confirmed=False), {}),
        (LISTED, {"holder_email": "ann.lee@example.test"}),
        (LISTED, {"holder_email": ""}),
        (LISTED, {"link": replace(LINK, how="approved")}),
        (LEFT, {"claimant_disabled": True}),
        (LISTED, {"claimant_disabled": True}),
    ],
    ids=[
        "excluded",
        "deleted and excluded",
        "unreadable",
        "just left",
        "renamed",
        "e-mail cleared",
        "approved",
        "claimant disabled",
        "claimant disabled, both in",
    ],
)
def test_there_is_nothing_to_approve_while_the_account_may_still_be_the_holders(
    holder: Node, more: dict[str, object]
) -> None:
    one = claim(holder, approved=True, **more)
    assert one.obstacle
    decision = decide(namesake(one), POLICY, NOW)
    assert (decision.wanted, decision.adopt, decision.claim) == ((), None, None)
    assert decision.notes


# --- what the approval is bound to


@pytest.mark.parametrize(
    "other",
    [
        claim(replace(LEFT, entry=replace(ENTRY, guid="0" * 36))),
        claim(member=replace(MEMBER, member_id="dbmid:2")),
        claim(member=replace(MEMBER, email="ann2@example.test")),
        replace(claim(), claimant=replace(NEW, entry=replace(NEW.entry, guid="0" * 36))),
        claim(LISTED),
    ],
    ids=["holder", "member", "e-mail", "claimant", "holder is back"],
)
def test_an_approval_is_bound_to_the_persons_the_member_and_the_holders_absence(other: Claim) -> None:
    assert other.digest != claim().digest


def test_an_approval_outlasts_what_does_not_matter() -> None:
    assert claim(DELETED).digest == claim(LEFT).digest == claim(member=replace(MEMBER, surname="X")).digest


# --- what comes of it


def test_without_approval_nothing_is_wanted_and_the_hash_is_shown() -> None:
    one = claim()
    decision = decide(namesake(one), POLICY, NOW)
    assert (decision.wanted, decision.adopt, decision.claim) == ((), None, one)
    assert f"approve {one.digest}" in decision.notes[0].detail


def test_approved_the_link_moves_and_the_account_follows_the_new_person() -> None:
    decision = decide(namesake(claim(approved=True)), POLICY, NOW)
    assert decision.adopt == (MEMBER, How.APPROVED)
    (update,) = decision.wanted
    assert (update.changes.external_id, update.changes.surname) == (f"ad-guid:{OTHER}", "Two")


def test_approved_but_excluded_is_still_never_touched() -> None:
    decision = decide(namesake(claim(approved=True), excluded="by pattern"), POLICY, NOW)
    assert (decision.wanted, decision.adopt) == ((), None)


def test_an_undo_of_an_earlier_account_does_not_act_on_the_one_that_was_given() -> None:
    pin = Pin(guid=OTHER, kind=ActionKind.SUSPEND, changes=Profile(), reason="undo of pass 3", at=NOW)
    decision = decide(namesake(claim(approved=True), pin=pin), POLICY, NOW)
    assert kinds(decision) == [ActionKind.UPDATE]


@pytest.mark.parametrize(
    ("ours", "hold", "comes_back"), [(True, True, True), (False, True, False), (False, False, True)]
)
def test_a_suspension_of_ours_stays_one_when_the_account_is_given(
    *, ours: bool, hold: bool, comes_back: bool
) -> None:
    suspended = replace(MEMBER, status=Status.SUSPENDED)
    one = claim(member=suspended, approved=True, link=replace(LINK, suspended_by_us=ours))
    decision = decide(namesake(one), Policy(hold_console_suspension=hold), NOW)
    assert (ActionKind.UNSUSPEND in kinds(decision)) == comes_back
    assert decision.adopt is not None


def test_the_original_connectors_id_of_the_holder_is_replaced() -> None:
    legacy = replace(MEMBER, external_id="ADSYNC S-1-5-21-9-9-9-500")
    (update,) = decide(namesake(claim(member=legacy, approved=True)), POLICY, NOW).wanted
    assert update.changes.external_id == f"ad-guid:{OTHER}"
    # Also when the update that sets it is decided about again later.
    link = replace(LINK, guid=OTHER, how="approved", old_external_id=legacy.external_id)
    later = replace(namesake(claim(member=legacy)), match=Match(member=legacy, how=How.LINK), link=link)
    assert decide(later, POLICY, NOW).wanted[0].changes.external_id == f"ad-guid:{OTHER}"


@pytest.mark.parametrize("status", [Status.ACTIVE, Status.SUSPENDED, Status.INVITED])
@pytest.mark.parametrize("out", [LEFT, DELETED])
def test_who_lost_the_link_wants_nothing_of_the_account(out: Node, status: Status) -> None:
    given = replace(MEMBER, status=status)
    assert given.external_id == f"ad-guid:{GUID}"  # its id is not yet replaced
    gone = Subject(node=out, mapped=profile_of(out.entry, external_id_format="ad-guid:{objectGUID}"))
    assert decide(gone, POLICY, NOW + timedelta(days=9)).wanted == ()

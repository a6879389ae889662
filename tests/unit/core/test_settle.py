"""After a crash or a lost reply the member is read back and the action settled: behaviour.md §7, API sheet 5.4."""

from __future__ import annotations

import pytest

from pipeline.core.settle import settle
from pipeline.model import Action, ActionKind, Member, Profile, State, Status, Verdict

K, V = ActionKind, Verdict
OURS = "ad-guid:1"


def action(kind: ActionKind, changes: Profile | None = None, *, member_id: str = "dbmid:1") -> Action:
    return Action(
        id=1,
        guid="1",
        kind=kind,
        state=State.SENDING,
        email="ann@example.test",
        member_id=member_id,
        changes=changes or Profile(),
        reason="",
        cause="",
        pass_id=1,
    )


def member(status: str, *, recoverable: bool = False, **fields: str) -> Member:
    known = {"member_id": "dbmid:1", "email": "ann@example.test", "external_id": OURS} | fields
    return Member(status=Status(status), recoverable=recoverable, **known)


GONE = None
ACTIVE, INVITED, SUSPENDED = member("active"), member("invited"), member("suspended")
OTHER = member("active", member_id="dbmid:2")
REMOVED, RECOVERABLE = member("removed"), member("removed", recoverable=True)


@pytest.mark.parametrize(
    ("kind", "found", "verdict"),
    [
        (K.SUSPEND, SUSPENDED, V.DONE),
        (K.SUSPEND, ACTIVE, V.RETRY),
        (K.SUSPEND, INVITED, V.STALE),
        (K.SUSPEND, RECOVERABLE, V.STALE),
        (K.SUSPEND, GONE, V.STALE),
        (K.UNSUSPEND, ACTIVE, V.DONE),
        (K.UNSUSPEND, SUSPENDED, V.RETRY),
        (K.UNSUSPEND, INVITED, V.STALE),
        (K.UNSUSPEND, REMOVED, V.STALE),
        (K.UNSUSPEND, GONE, V.STALE),
        (K.REMOVE, RECOVERABLE, V.DONE),
        (K.REMOVE, REMOVED, V.DONE),
        (K.REMOVE, GONE, V.DONE),
        (K.REMOVE, ACTIVE, V.RETRY),
        (K.REMOVE, SUSPENDED, V.RETRY),
        (K.REMOVE, INVITED, V.STALE),
        (K.REVOKE_INVITE, REMOVED, V.DONE),
        (K.REVOKE_INVITE, GONE, V.DONE),
        (K.REVOKE_INVITE, INVITED, V.RETRY),
        pytest.param(
            K.REVOKE_INVITE, ACTIVE, V.STALE, id="who joined meanwhile is decided again, not removed"
        ),
        (K.REVOKE_INVITE, SUSPENDED, V.STALE),
        (K.RECOVER, ACTIVE, V.DONE),
        (K.RECOVER, SUSPENDED, V.DONE),
        (K.RECOVER, RECOVERABLE, V.RETRY),
        (K.RECOVER, REMOVED, V.STALE),
        (K.RECOVER, INVITED, V.STALE),
        (K.RECOVER, GONE, V.STALE),
        pytest.param(K.RESEND_WELCOME, INVITED, V.DONE, id="a welcome mail is sent again at most once"),
        (K.RESEND_WELCOME, GONE, V.DONE),
        *(
            (kind, found, V.UNKNOWN)
            for kind in K
            if kind.value.startswith("group_")
            for found in (ACTIVE, GONE, OTHER)
        ),
    ],
)
def test_what_the_member_shows_decides(kind: ActionKind, found: Member | None, verdict: Verdict) -> None:
    assert settle(action(kind), found) is verdict


INVITE = Profile(email="ann@example.test", external_id=OURS)
INVITE_WITHOUT_ID = Profile(email="ann@example.test")


@pytest.mark.parametrize(
    ("changes", "found", "verdict"),
    [
        (INVITE, GONE, V.RETRY),
        (INVITE, INVITED, V.DONE),
        (INVITE, ACTIVE, V.DONE),
        (INVITE, member("invited", email="other@example.test"), V.DONE),
        pytest.param(
            INVITE, member("invited", external_id=""), V.STALE, id="invited by somebody else at that moment"
        ),
        (INVITE, member("active", external_id="00u-okta"), V.STALE),
        (INVITE, SUSPENDED, V.STALE),
        (INVITE, RECOVERABLE, V.STALE),
        (INVITE, REMOVED, V.STALE),
        (INVITE_WITHOUT_ID, member("invited", external_id="", email="Ann@Example.test"), V.DONE),
        (INVITE_WITHOUT_ID, member("invited", email="other@example.test"), V.STALE),
        pytest.param(INVITE, member("invited", member_id="dbmid:2"), V.DONE, id="a new account has a new id"),
    ],
)
def test_no_second_invitation_and_none_lost(changes: Profile, found: Member | None, verdict: Verdict) -> None:
    assert settle(action(K.INVITE, changes), found) is verdict


RENAME = Profile(email="ann.lee@example.test", surname="Lee")


@pytest.mark.parametrize(
    ("changes", "found", "verdict"),
    [
        (RENAME, member("active", email="ann.lee@example.test", surname="Lee"), V.DONE),
        (RENAME, member("suspended", email="ann.lee@example.test", surname="Lee"), V.DONE),
        (RENAME, member("active", email="ann.lee@example.test"), V.RETRY),
        (RENAME, ACTIVE, V.RETRY),
        (RENAME, SUSPENDED, V.RETRY),
        pytest.param(RENAME, INVITED, V.STALE, id="names of an invited member wait"),
        (RENAME, REMOVED, V.STALE),
        (RENAME, GONE, V.STALE),
        pytest.param(
            Profile(external_id="new"), INVITED, V.RETRY, id="an invited member is adopted all the same"
        ),
        (Profile(external_id=OURS), INVITED, V.DONE),
    ],
)
def test_an_update_is_done_when_all_changes_show(
    changes: Profile, found: Member | None, verdict: Verdict
) -> None:
    assert settle(action(K.UPDATE, changes), found) is verdict


@pytest.mark.parametrize("kind", [K.UPDATE, K.SUSPEND, K.UNSUSPEND, K.REMOVE, K.REVOKE_INVITE, K.RECOVER])
@pytest.mark.parametrize("status", list(Status))
def test_another_member_is_never_taken_for_this_one(kind: ActionKind, status: Status) -> None:
    assert settle(action(kind, RENAME), member(status, member_id="dbmid:2")) is V.STALE


@pytest.mark.parametrize(
    ("one", "found", "verdict"),
    [
        (action(K.INVITE, INVITE), GONE, V.UNKNOWN),
        (action(K.REMOVE), ACTIVE, V.UNKNOWN),
        (action(K.INVITE, INVITE), INVITED, V.DONE),
        (action(K.REMOVE), GONE, V.DONE),
        (action(K.REMOVE), INVITED, V.STALE),
    ],
)
def test_while_the_job_runs_nothing_is_sent_again(
    one: Action, found: Member | None, verdict: Verdict
) -> None:
    assert settle(one, found, job_pending=True) is verdict


@pytest.mark.parametrize("kind", list(K))
@pytest.mark.parametrize("found", [GONE, ACTIVE, INVITED, SUSPENDED, REMOVED, RECOVERABLE])
def test_a_destructive_action_is_never_repeated_on_what_it_was_not_meant_for(
    kind: ActionKind, found: Member | None
) -> None:
    repeatable = {
        K.INVITE: {None},
        K.SUSPEND: {Status.ACTIVE},
        K.REMOVE: {Status.ACTIVE, Status.SUSPENDED},
        K.REVOKE_INVITE: {Status.INVITED},
    }
    if kind in repeatable and settle(action(kind, INVITE), found) is V.RETRY:
        assert (found.status if found else None) in repeatable[kind]

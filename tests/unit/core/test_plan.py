"""`decide`: each row of the tables of behaviour.md §5, and each decision about persons, is a test named after it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from pipeline.core.identity import How, Match
from pipeline.core.mapping import profile_of
from pipeline.core.plan import Decision, NoteKind, Policy, Presence, Subject, decide
from pipeline.model import ActionKind, Entry, Kind, Member, Profile, Status, WaitFor
from pipeline.records import Link, Node

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
GUID = "6f9619ff-8b86-4011-b42d-00c04fc964ff"
OTHER = "11111111-2222-3333-4444-555555555555"
SID = "S-1-5-21-1-2-3-1104"
POLICY = Policy()

ENTRY = Entry(
    guid=GUID,
    kind=Kind.USER,
    dn="CN=Ann,OU=Sales,DC=example,DC=test",
    sid=SID,
    email="Ann@Example.test",
    given_name="Ann",
    surname="Lee",
)
MEMBER = Member(
    member_id="dbmid:1",
    status=Status.ACTIVE,
    email="ann@example.test",
    given_name="Ann",
    surname="Lee",
    external_id=f"ad-guid:{GUID}",
    invited_on=NOW - timedelta(days=30),
)
LINK = Link(guid=GUID, member_id="dbmid:1", how="invited", at=NOW)

LISTED = Node(entry=ENTRY, listed=True)
DISABLED = Node(entry=replace(ENTRY, disabled=True), listed=True)
LEFT = Node(
    entry=ENTRY,
    left_at=NOW - timedelta(hours=1),
    left_how="edge",
    left_confirmed=True,
    left_cause="removed from group Sales",
)
DELETED = Node(entry=ENTRY, live=False, left_at=NOW - timedelta(hours=1), deleted_at=NOW - timedelta(hours=1))
OUT = {"disabled": DISABLED, "left": LEFT, "deleted": DELETED}


def subject(
    node: Node,
    member: Member | None = MEMBER,
    *,
    how: How = How.LINK,
    link: Link | None = LINK,
    **more: object,
) -> Subject:
    found = Match() if member is None else Match(member=member, how=how)
    mapped = profile_of(node.entry, external_id_format="ad-guid:{objectGUID}")
    return Subject(node=node, mapped=mapped, link=link if member else None, match=found, **more)  # type: ignore[arg-type]


def member(status: Status, **more: object) -> Member:
    return replace(MEMBER, status=status, **more)  # type: ignore[arg-type]


def kinds(decision: Decision) -> list[ActionKind]:
    return [one.kind for one in decision.wanted]


# --- the table, row by row


def test_in_scope_enabled_and_not_on_the_team_is_invited() -> None:
    decision = decide(subject(LISTED, None), POLICY, NOW)
    assert kinds(decision) == [ActionKind.INVITE]
    assert decision.wanted[0].changes == Profile(
        email="ann@example.test", given_name="Ann", surname="Lee", external_id=f"ad-guid:{GUID}"
    )


def test_names_that_were_cleaned_are_told_with_the_action_that_sends_them() -> None:
    cleaned = Node(entry=replace(ENTRY, given_name="Ann*"), listed=True)
    (invite,) = decide(subject(cleaned, None), POLICY, NOW).wanted
    assert invite.reason.endswith("not on the team; first name 'Ann*' is sent as 'Ann'")
    (update,) = decide(subject(cleaned, member(Status.ACTIVE, given_name="Old")), POLICY, NOW).wanted
    assert update.reason == "differs: first name 'Old' -> 'Ann'; first name 'Ann*' is sent as 'Ann'"
    (other,) = decide(subject(cleaned, member(Status.ACTIVE, surname="Old")), POLICY, NOW).wanted
    assert other.reason == "differs: last name 'Old' -> 'Lee'"


def test_in_scope_enabled_and_invited_waits() -> None:
    assert decide(subject(LISTED, member(Status.INVITED)), POLICY, NOW) == Decision()


def test_in_scope_enabled_and_active_is_updated_where_information_differs() -> None:
    assert decide(subject(LISTED), POLICY, NOW) == Decision()
    decision = decide(subject(LISTED, member(Status.ACTIVE, surname="Old")), POLICY, NOW)
    assert kinds(decision) == [ActionKind.UPDATE]
    assert decision.wanted[0].changes == Profile(surname="Lee")


def test_in_scope_enabled_and_suspended_is_unsuspended_then_updated() -> None:
    link = replace(LINK, suspended_by_us=True)
    decision = decide(subject(LISTED, member(Status.SUSPENDED, surname="Old"), link=link), POLICY, NOW)
    assert kinds(decision) == [ActionKind.UNSUSPEND, ActionKind.UPDATE]
    assert decision.notes == ()


def test_in_scope_enabled_and_removed_is_recovered_then_updated() -> None:
    gone = member(Status.REMOVED, recoverable=True, surname="Old")
    assert kinds(decide(subject(LISTED, gone), POLICY, NOW)) == [ActionKind.RECOVER, ActionKind.UPDATE]


def test_in_scope_enabled_and_removed_for_good_is_invited() -> None:
    assert kinds(decide(subject(LISTED, member(Status.REMOVED)), POLICY, NOW)) == [ActionKind.INVITE]


def test_in_scope_disabled_and_not_on_the_team_is_never_invited() -> None:
    assert kinds(decide(subject(DISABLED, None), POLICY, NOW)) == []


@pytest.mark.parametrize("out", ["disabled", "left"])
def test_disabled_or_no_longer_listed_and_active_is_suspended(out: str) -> None:
    assert kinds(decide(subject(OUT[out]), POLICY, NOW)) == [ActionKind.SUSPEND]


@pytest.mark.parametrize("out", ["disabled", "left"])
def test_disabled_or_no_longer_listed_and_invited_is_revoked_or_kept(out: str) -> None:
    invited = subject(OUT[out], member(Status.INVITED))
    assert kinds(decide(invited, POLICY, NOW)) == [ActionKind.REVOKE_INVITE]
    assert kinds(decide(invited, replace(POLICY, revoke_invited_leavers=False), NOW)) == []


@pytest.mark.parametrize("status", [Status.ACTIVE, Status.SUSPENDED])
def test_deleted_with_proof_is_removed(status: Status) -> None:
    assert kinds(decide(subject(DELETED, member(status)), POLICY, NOW)) == [ActionKind.REMOVE]


def test_deleted_with_proof_and_on_delete_suspend_is_suspended() -> None:
    policy = replace(POLICY, remove_on_delete=False)
    assert kinds(decide(subject(DELETED), policy, NOW)) == [ActionKind.SUSPEND]
    assert kinds(decide(subject(DELETED, member(Status.SUSPENDED)), policy, NOW)) == []


@pytest.mark.parametrize("revokes", [True, False])
def test_deleted_with_proof_and_invited_is_revoked(revokes: bool) -> None:
    policy = replace(POLICY, revoke_invited_leavers=revokes)
    assert kinds(decide(subject(DELETED, member(Status.INVITED)), policy, NOW)) == [ActionKind.REVOKE_INVITE]


@pytest.mark.parametrize("out", list(OUT))
@pytest.mark.parametrize("recoverable", [True, False])
def test_out_of_scope_and_removed_is_left(out: str, recoverable: bool) -> None:
    gone = member(Status.REMOVED, recoverable=recoverable)
    assert kinds(decide(subject(OUT[out], gone), POLICY, NOW)) == []


@pytest.mark.parametrize("out", ["disabled", "left"])
def test_out_of_scope_and_suspended_is_left(out: str) -> None:
    assert kinds(decide(subject(OUT[out], member(Status.SUSPENDED)), POLICY, NOW)) == []


@pytest.mark.parametrize("out", list(OUT))
def test_out_of_scope_and_not_on_the_team_is_left(out: str) -> None:
    assert kinds(decide(subject(OUT[out], None), POLICY, NOW)) == []


# --- proof


def test_a_listed_person_who_cannot_be_read_is_left_alone_and_reported() -> None:
    hidden = replace(DISABLED, seen=False)
    decision = decide(subject(hidden), POLICY, NOW)
    assert subject(hidden).presence is Presence.UNREADABLE
    assert decision.wanted == ()
    assert [note.kind for note in decision.notes] == [NoteKind.MISSING_RIGHT]


def test_who_left_and_cannot_be_read_is_suspended_at_most() -> None:
    assert kinds(decide(subject(replace(LEFT, seen=False)), POLICY, NOW)) == [ActionKind.SUSPEND]


def test_no_longer_listed_settles_first() -> None:
    node = replace(LEFT, left_at=NOW - timedelta(seconds=10), left_confirmed=False)
    (wanted,) = decide(subject(node), POLICY, NOW).wanted
    assert (wanted.kind, wanted.wait, wanted.until) == (
        ActionKind.SUSPEND,
        WaitFor.SETTLING,
        NOW + timedelta(seconds=50),
    )
    # Time alone confirms nothing: a second read does.
    (wanted,) = decide(subject(node), POLICY, NOW + timedelta(days=9)).wanted
    assert wanted.wait is WaitFor.SETTLING


def test_the_grace_of_a_deletion_suspends_at_once_and_removes_later() -> None:
    policy = replace(POLICY, delete_grace=timedelta(days=3))
    decision = decide(subject(DELETED), policy, NOW)
    assert kinds(decision) == [ActionKind.SUSPEND, ActionKind.REMOVE]
    assert DELETED.deleted_at is not None
    until = DELETED.deleted_at + timedelta(days=3)
    assert (decision.wanted[1].wait, decision.wanted[1].until) == (WaitFor.GRACE, until)
    assert decision.look_again == until
    (remove,) = decide(subject(DELETED, member(Status.SUSPENDED)), policy, until).wanted
    assert (remove.kind, remove.wait) == (ActionKind.REMOVE, None)


# --- disabled and expired


def test_expired_counts_as_disabled_only_when_asked_for_and_is_looked_at_again() -> None:
    expires = NOW + timedelta(hours=1)
    node = replace(LISTED, entry=replace(ENTRY, account_expires=expires))
    asked = replace(POLICY, expired_is_disabled=True)
    assert decide(subject(node), POLICY, expires) == Decision()
    assert decide(subject(node), asked, NOW).look_again == expires
    assert kinds(decide(subject(node), asked, expires)) == [ActionKind.SUSPEND]


# --- excluded and managed


@pytest.mark.parametrize("node", [LISTED, *OUT.values()])
@pytest.mark.parametrize("status", list(Status))
def test_excluded_wins_over_everything(node: Node, status: Status) -> None:
    decision = decide(subject(node, member(status), excluded="in the exclusion group"), POLICY, NOW)
    assert (decision.wanted, decision.adopt, decision.notes) == ((), None, ())
    assert decide(subject(node, None, excluded="e-mail"), POLICY, NOW).wanted == ()


@pytest.mark.parametrize("node", [LISTED, *OUT.values()])
@pytest.mark.parametrize("status", list(Status))
@pytest.mark.parametrize("link", [None, LINK])
def test_with_manage_existing_off_a_member_found_by_email_is_never_touched(
    node: Node, status: Status, link: Link | None
) -> None:
    policy = replace(POLICY, manage_existing=False)
    found = subject(node, member(status, external_id=""), how=How.EMAIL, link=link)
    decision = decide(found, policy, NOW)
    assert (decision.wanted, decision.adopt) == ((), None)


@pytest.mark.parametrize("node", [LEFT, DELETED])
def test_who_is_not_listed_is_never_adopted_by_an_email(node: Node) -> None:
    decision = decide(subject(node, member(Status.ACTIVE), how=How.EMAIL, link=None), POLICY, NOW)
    assert (decision.wanted, decision.adopt) == ((), None)


@pytest.mark.parametrize("how", [How.EXTERNAL_ID, How.LEGACY])
def test_own_and_legacy_ids_mean_managed_whatever_manage_existing_says(how: How) -> None:
    policy = replace(POLICY, manage_existing=False)
    decision = decide(subject(DISABLED, how=how, link=None), policy, NOW)
    assert kinds(decision) == [ActionKind.SUSPEND]
    assert decision.adopt == (MEMBER, how)


@pytest.mark.parametrize("status", [Status.ACTIVE, Status.INVITED])
def test_on_adoption_the_external_id_is_set_on_invited_members_too(status: Status) -> None:
    found = subject(LISTED, member(status, external_id=""), how=How.EMAIL, link=None)
    decision = decide(found, POLICY, NOW)
    assert [(one.kind, one.changes, one.wait) for one in decision.wanted] == [
        (ActionKind.UPDATE, Profile(external_id=f"ad-guid:{GUID}"), None)
    ]


@pytest.mark.parametrize("foreign", ["okta:1", "ADSYNC S-1-5-21-9-9-9-1", "ad-guidx"])
def test_a_foreign_id_is_reported_and_overwritten_only_when_asked_for(foreign: str) -> None:
    found = subject(LISTED, member(Status.ACTIVE, external_id=foreign), how=How.EMAIL, link=None)
    decision = decide(found, POLICY, NOW)
    assert decision.wanted == ()
    assert [note.kind for note in decision.notes] == [NoteKind.FOREIGN_ID]
    (update,) = decide(found, replace(POLICY, overwrite_foreign_ids=True), NOW).wanted
    assert update.changes == Profile(external_id=f"ad-guid:{GUID}")


def test_the_legacy_id_of_the_person_is_replaced() -> None:
    found = subject(LISTED, member(Status.ACTIVE, external_id=f"ADSYNC {SID}"))
    assert decide(found, POLICY, NOW).wanted[0].changes == Profile(external_id=f"ad-guid:{GUID}")


@pytest.mark.parametrize("node", [LISTED, *OUT.values()])
def test_a_member_with_an_unknown_status_is_left_alone(node: Node) -> None:
    assert decide(subject(node, member(Status.UNKNOWN)), POLICY, NOW).wanted == ()


# --- e-mail and names


@pytest.mark.parametrize("email", ["", "not an address", "ann@exämple.test"])
def test_without_a_usable_email_nobody_is_invited_and_it_is_reported(email: str) -> None:
    decision = decide(subject(replace(LISTED, entry=replace(ENTRY, email=email)), None), POLICY, NOW)
    assert decision.wanted == ()
    assert [note.kind for note in decision.notes] == [NoteKind.SKIPPED]


@pytest.mark.parametrize("email", ["", "not an address"])
def test_without_a_usable_email_everything_else_still_applies(email: str) -> None:
    cleared = {name: replace(node, entry=replace(node.entry, email=email)) for name, node in OUT.items()}
    assert kinds(decide(subject(cleared["disabled"]), POLICY, NOW)) == [ActionKind.SUSPEND]
    assert kinds(decide(subject(cleared["left"]), POLICY, NOW)) == [ActionKind.SUSPEND]
    assert kinds(decide(subject(cleared["deleted"]), POLICY, NOW)) == [ActionKind.REMOVE]
    listed = replace(LISTED, entry=replace(ENTRY, email=email, surname="New"))
    assert [one.changes for one in decide(subject(listed), POLICY, NOW).wanted] == [Profile(surname="New")]


def test_a_shared_email_stops_invitation_and_email_update_only() -> None:
    shared = {"duplicate_of": "bob"}
    assert kinds(decide(subject(LISTED, None, **shared), POLICY, NOW)) == []
    old = member(Status.ACTIVE, email="old@example.test", surname="Old")
    (update,) = decide(subject(LISTED, old, **shared), POLICY, NOW).wanted
    assert update.changes == Profile(surname="Lee")
    assert kinds(decide(subject(DISABLED, **shared), POLICY, NOW)) == [ActionKind.SUSPEND]


def test_a_shared_email_adopts_nobody() -> None:
    found = subject(LISTED, member(Status.ACTIVE, external_id=""), how=How.EMAIL, link=None, duplicate_of="b")
    decision = decide(found, POLICY, NOW)
    assert (decision.wanted, decision.adopt) == ((), None)
    assert [note.kind for note in decision.notes] == [NoteKind.SKIPPED]


def test_an_update_never_empties_a_name() -> None:
    nameless = replace(LISTED, entry=replace(ENTRY, given_name="", surname="", display_name="Ann Lee"))
    assert decide(subject(nameless), POLICY, NOW) == Decision()
    (invite,) = decide(subject(nameless, None), POLICY, NOW).wanted
    assert (invite.changes.given_name, invite.changes.surname) == ("Ann", "Lee")


# --- namesakes


def test_a_namesake_is_held_and_shown() -> None:
    found = replace(subject(LISTED, None), match=Match(member=MEMBER, how=How.EMAIL, rival=OTHER))
    decision = decide(found, POLICY, NOW)
    assert (decision.wanted, decision.adopt) == ((), None)
    assert [note.kind for note in decision.notes] == [NoteKind.NAMESAKE]


@pytest.mark.parametrize("node", [LEFT, DELETED])
def test_the_one_whose_email_a_newcomer_carries_is_held_and_shown(node: Node) -> None:
    decision = decide(subject(node, claimed_by="ann the second"), POLICY, NOW)
    assert decision.wanted == ()
    assert [note.kind for note in decision.notes] == [NoteKind.NAMESAKE]


# --- invited members


def test_an_invited_member_is_not_updated_and_the_update_waits() -> None:
    invited = member(Status.INVITED, email="old@example.test")
    decision = decide(subject(LISTED, invited), POLICY, NOW)
    (update,) = decision.wanted
    assert (update.kind, update.wait, update.changes) == (
        ActionKind.UPDATE,
        WaitFor.JOINED,
        Profile(email="ann@example.test"),
    )
    assert [note.kind for note in decision.notes] == [NoteKind.INVITED_EMAIL]


def test_reinvite_revokes_and_invites_anew_when_the_email_changed() -> None:
    policy = replace(POLICY, reinvite_on_email_change=True)
    invited = member(Status.INVITED, email="old@example.test")
    assert kinds(decide(subject(LISTED, invited), policy, NOW)) == [
        ActionKind.REVOKE_INVITE,
        ActionKind.INVITE,
    ]
    renamed = member(Status.INVITED, surname="Old")
    assert kinds(decide(subject(LISTED, renamed), policy, NOW)) == [ActionKind.UPDATE]


@pytest.mark.parametrize(
    ("days", "welcomes", "sends"),
    [(4, 0, False), (5, 0, True), (9, 1, False), (10, 1, True), (15, 2, True), (20, 3, False)],
)
def test_the_welcome_mail_is_sent_again_every_reinvite_days_three_times_at_most(
    days: int, welcomes: int, sends: bool
) -> None:
    policy = replace(POLICY, reinvite_every=timedelta(days=5))
    invited = member(Status.INVITED, invited_on=NOW - timedelta(days=days), surname="Old")
    decision = decide(subject(LISTED, invited, link=replace(LINK, welcomes=welcomes)), policy, NOW)
    assert (ActionKind.RESEND_WELCOME in kinds(decision)) is sends
    # What waits for the member to join must not hold the mail up.
    assert kinds(decision)[-1] is ActionKind.UPDATE
    assert (decision.look_again is not None) is (welcomes < 3)


# --- the console


def test_an_overridden_console_suspension_is_always_alerted() -> None:
    decision = decide(subject(LISTED, member(Status.SUSPENDED)), POLICY, NOW)
    assert kinds(decision) == [ActionKind.UNSUSPEND]
    assert [note.kind for note in decision.notes] == [NoteKind.CONSOLE_SUSPENSION]


@pytest.mark.parametrize("link", [None, LINK])
def test_hold_keeps_a_suspension_that_is_not_ours(link: Link | None) -> None:
    how = How.LINK if link else How.EMAIL
    found = subject(LISTED, member(Status.SUSPENDED), how=how, link=link)
    policy = replace(POLICY, hold_console_suspension=True)
    assert decide(found, policy, NOW).wanted == ()
    if link:
        ours = subject(LISTED, member(Status.SUSPENDED), link=replace(link, suspended_by_us=True))
        assert kinds(decide(ours, policy, NOW)) == [ActionKind.UNSUSPEND]


def test_deciding_twice_decides_the_same() -> None:
    for node in (LISTED, *OUT.values()):
        for status in Status:
            one = subject(node, member(status))
            assert decide(one, POLICY, NOW) == decide(one, POLICY, NOW)

"""What Dropbox lets a member go through, as pure functions: shared by the simulation overlay and the double.

    (nobody) ──invite──▶ invited ──joins──▶ active ◀──unsuspend── suspended
                            │                 │ └────suspend────▶    │
                            └───── remove ────┴──────── remove ──────┘──▶ removed ──recover──▶ active
                                                                     (within 7 days; never an invitation)

Source: the vendor's specification and help pages; see the lifecycle table of the reference sheet.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from pipeline.model import ActionKind, Member, Profile, Status
from stages.dropbox import routes

ROUTE_OF: dict[ActionKind, str] = {
    ActionKind.INVITE: routes.ADD,
    ActionKind.UPDATE: routes.SET_PROFILE,
    ActionKind.SUSPEND: routes.SUSPEND,
    ActionKind.UNSUSPEND: routes.UNSUSPEND,
    ActionKind.REMOVE: routes.REMOVE,
    ActionKind.REVOKE_INVITE: routes.REMOVE,
    ActionKind.RECOVER: routes.RECOVER,
    ActionKind.RESEND_WELCOME: routes.SEND_WELCOME,
    ActionKind.GROUP_CREATE: routes.GROUP_CREATE,
    ActionKind.GROUP_RENAME: routes.GROUP_UPDATE,
    ActionKind.GROUP_DELETE: routes.GROUP_DELETE,
    ActionKind.GROUP_ADD: routes.GROUP_ADD,
    ActionKind.GROUP_REMOVE: routes.GROUP_REMOVE,
}

TAKES_SEAT = frozenset({Status.INVITED, Status.ACTIVE, Status.SUSPENDED})


def members_among(
    members: Iterable[Member], member_ids: Sequence[str], external_ids: Sequence[str], emails: Sequence[str]
) -> list[Member]:
    """Those that any of these names; an empty text names nobody, and e-mails compare in lower case."""
    ids, marks = set(member_ids), set(external_ids) - {""}
    addresses = {email.lower() for email in emails} - {""}
    return [
        member
        for member in members
        if member.member_id in ids or member.external_id in marks or member.email in addresses
    ]


def is_known_to_team(member: Member) -> bool:
    """Whether e-mail and external id are taken: removed members hold them while they can be restored."""
    return member.status is not Status.REMOVED or member.recoverable


def invite_refusal(profile: Profile, others: Sequence[Member], free_seats: int) -> str:
    """The tag that the vendor would answer, "" where the invitation is accepted. `others`: who has the same marks."""
    known = [member for member in others if is_known_to_team(member)]
    if any(member.email == profile.email.lower() for member in known):
        return "user_already_on_team"
    if profile.external_id and any(member.external_id == profile.external_id for member in known):
        return "duplicate_external_member_id"
    return "" if free_seats > 0 else "team_license_limit"


def update_refusal(member: Member | None, changes: Profile, others: Sequence[Member]) -> str:
    """The same for an update; `others` leaves the member itself out. An invited member's e-mail can't be changed."""
    if member is None:
        return "user_not_found"
    if member.status is Status.REMOVED:
        return "set_profile_disallowed"
    new_email = changes.email.lower()
    if new_email and new_email != member.email:
        if member.status is Status.INVITED:
            return "set_profile_disallowed"
        if any(other.email == new_email and is_known_to_team(other) for other in others):
            return "email_reserved_for_other_user"
    new_id = changes.external_id
    if new_id and any(other.external_id == new_id and is_known_to_team(other) for other in others):
        return "external_id_used_by_other_user"
    return ""


def transition_refusal(
    kind: ActionKind, member: Member | None, *, is_last_admin: bool, free_seats: int
) -> str:
    """The same for suspend, unsuspend, remove, recover and the welcome mail."""
    if member is None:
        return "user_not_found"
    if kind is ActionKind.SUSPEND:
        if member.status is not Status.ACTIVE:
            return "suspend_inactive_user"
        return "suspend_last_admin" if is_last_admin else ""
    if kind is ActionKind.UNSUSPEND:
        return "" if member.status is Status.SUSPENDED else "unsuspend_non_suspended_member"
    if kind is ActionKind.RECOVER:
        if member.status is not Status.REMOVED or not member.recoverable:
            return "user_unrecoverable"
        return "" if free_seats > 0 else "team_license_limit"
    if member.status is Status.REMOVED:
        return "user_not_in_team"
    if kind in {ActionKind.REMOVE, ActionKind.REVOKE_INVITE}:
        return "remove_last_admin" if is_last_admin else ""
    return ""


def updated(member: Member, changes: Profile) -> Member:
    return replace(
        member,
        email=changes.email.lower() or member.email,
        given_name=changes.given_name or member.given_name,
        surname=changes.surname or member.surname,
        external_id=changes.external_id or member.external_id,
    )


def moved(kind: ActionKind, member: Member) -> Member:
    """The member after an accepted suspend, unsuspend, remove, recover or welcome mail."""
    if kind is ActionKind.SUSPEND:
        return replace(member, status=Status.SUSPENDED)
    if kind in {ActionKind.UNSUSPEND, ActionKind.RECOVER}:
        return replace(member, status=Status.ACTIVE, recoverable=False)
    if kind in {ActionKind.REMOVE, ActionKind.REVOKE_INVITE}:
        return replace(member, status=Status.REMOVED, recoverable=member.status is not Status.INVITED)
    return member

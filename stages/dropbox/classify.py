"""What every error tag of every route means for the person: done already, retry, wait, decide again, failed.

Source of the tags and their wording: dropbox-api-spec, team.stone and team_log.stone. A tag that says one thing for
several situations ("not active") is `ambiguous`: the member is read, and its status decides. A test walks
the vendor's unions and fails on a tag that has no rule here; at run time an unknown tag is FAILED, by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.model import Member, Outcome, Status, Verdict
from stages.dropbox import routes
from stages.dropbox.answer import Refusal


@dataclass(frozen=True, slots=True)
class Rule:
    """`is_ambiguous`: the verdict stands only if the member can't be read or its status says nothing else."""

    verdict: Verdict
    hint: str = ""
    is_ambiguous: bool = False


_SEATS = "buy more licences or free some: remove members who no longer need an account"
_NOT_OURS = "the connector never asks for this; report it with the request id"
_GONE = Rule(Verdict.STALE, "the member is no longer on the team; it is looked at again")
_NO_SEAT = Rule(Verdict.NO_SEAT, _SEATS)
_NEVER_ASKED = Rule(Verdict.FAILED, _NOT_OURS)

_ADD: Mapping[str, Rule] = {
    "team_license_limit": _NO_SEAT,
    "free_team_member_limit_reached": Rule(
        Verdict.NO_SEAT, "the plan's member limit is reached: upgrade, or free seats"
    ),
    # Active, invited, or removed within the last days: only a fresh look tells whose account it is.
    "user_already_on_team": Rule(
        Verdict.STALE, "somebody on the team has this e-mail already; it is looked at again"
    ),
    "duplicate_external_member_id": Rule(
        Verdict.STALE,
        "a member, perhaps removed a short time ago, is linked to this person already; it is looked at again",
    ),
    "user_on_another_team": Rule(
        Verdict.FAILED,
        "the e-mail belongs to, or is invited to, another Dropbox team: have it released there, then `retry`",
    ),
    "user_already_paired": Rule(
        Verdict.FAILED,
        "Dropbox says that the user is paired with another account already: ask Dropbox support, then `retry`",
    ),
    "user_migration_failed": Rule(
        Verdict.FAILED,
        "Dropbox could not move the person's existing account to the team: `retry` later, else ask Dropbox support",
    ),
    "user_creation_failed": Rule(
        Verdict.FAILED, "Dropbox could not create the account: `retry` later, else ask Dropbox support"
    ),
    "duplicate_member_persistent_id": _NEVER_ASKED,
    "persistent_id_disabled": _NEVER_ASKED,
}

_SET_PROFILE: Mapping[str, Rule] = {
    "user_not_found": _GONE,
    "user_not_in_team": _GONE,
    "no_new_data_specified": Rule(Verdict.ALREADY),
    "email_reserved_for_other_user": Rule(
        Verdict.FAILED,
        "another Dropbox account has the new e-mail: have it released or changed there, then `retry`",
    ),
    "external_id_used_by_other_user": Rule(
        Verdict.FAILED,
        "another member, perhaps one removed a short time ago, carries this person's external id: see `explain`, clear it there",
    ),
    # "Deleted users" by the specification, "pending members' e-mail" by Dropbox's own tool: two situations.
    "set_profile_disallowed": Rule(
        Verdict.NOT_JOINED,
        "Dropbox does not change this account now; for an invited member it waits",
        is_ambiguous=True,
    ),
    "external_id_and_new_external_id_unsafe": _NEVER_ASKED,
    "param_cannot_be_empty": _NEVER_ASKED,
    "persistent_id_disabled": _NEVER_ASKED,
    "persistent_id_used_by_other_user": _NEVER_ASKED,
    "directory_restricted_off": _NEVER_ASKED,
}

_SUSPEND: Mapping[str, Rule] = {
    "user_not_found": _GONE,
    "user_not_in_team": _GONE,
    # Said of members who are suspended already, and of invited ones, whose invitation would stay open.
    "suspend_inactive_user": Rule(
        Verdict.STALE, "the member is not active; it is looked at again", is_ambiguous=True
    ),
    "suspend_last_admin": Rule(
        Verdict.FAILED, "the last admin of the team can't be suspended: make somebody else admin first"
    ),
    "team_license_limit": _NO_SEAT,
}

_UNSUSPEND: Mapping[str, Rule] = {
    "user_not_found": _GONE,
    "user_not_in_team": _GONE,
    "unsuspend_non_suspended_member": Rule(
        Verdict.STALE, "the member is not suspended; it is looked at again", is_ambiguous=True
    ),
    "team_license_limit": _NO_SEAT,
}

_TRANSFER = Rule(Verdict.FAILED, "the member's files are being transferred: `retry` when that has ended")

_REMOVE: Mapping[str, Rule] = {
    "user_not_found": Rule(Verdict.ALREADY, is_ambiguous=True),
    "user_not_in_team": Rule(Verdict.ALREADY, is_ambiguous=True),
    "remove_last_admin": Rule(
        Verdict.FAILED, "the last admin of the team can't be removed: make somebody else admin first"
    ),
    "email_address_too_long_to_be_disabled": Rule(
        Verdict.FAILED,
        "the e-mail is too long for Dropbox to put the account away: shorten it in the admin console, then `retry`",
    ),
    "member_is_transfer_destination": Rule(
        Verdict.FAILED,
        "files of another former member are being transferred to this one: `retry` when that has ended",
    ),
    "transfer_in_progress": _TRANSFER,
    "already_transferred": _TRANSFER,
    "already_transferred_or_deleted": _TRANSFER,
    "cannot_keep_account_under_legal_hold": Rule(
        Verdict.FAILED, "the account is under a legal hold: release it in the admin console, then `retry`"
    ),
    **dict.fromkeys(
        (
            "cannot_keep_account_and_transfer",
            "cannot_keep_account_and_delete_data",
            "cannot_keep_account_and_permanently_delete",
            "cannot_keep_invited_user_account",
            "cannot_retain_shares_when_data_wiped",
            "cannot_retain_shares_when_no_account_kept",
            "cannot_retain_shares_when_team_external_sharing_off",
            "cannot_keep_account",
            "cannot_keep_account_required_to_sign_tos",
            "cannot_permanently_delete_and_transfer",
            "removed_and_transfer_dest_should_differ",
            "removed_and_transfer_admin_should_differ",
            "transfer_dest_user_not_found",
            "transfer_dest_user_not_in_team",
            "transfer_admin_user_not_in_team",
            "transfer_admin_user_not_found",
            "unspecified_transfer_admin_id",
            "transfer_admin_is_not_admin",
            "recipient_not_verified",
        ),
        _NEVER_ASKED,
    ),
}

_RECOVER: Mapping[str, Rule] = {
    "user_not_found": _GONE,
    "user_not_in_team": _GONE,
    "user_unrecoverable": Rule(
        Verdict.STALE,
        "the account can no longer be restored (7 days); it is looked at again",
        is_ambiguous=True,
    ),
    "team_license_limit": _NO_SEAT,
}

_GROUP_GONE = Rule(Verdict.STALE, "the group is no longer in Dropbox; it is looked at again")
_NOT_OURS_TO_EDIT = Rule(
    Verdict.FAILED, "this is one of the team's own groups, which nobody can edit: see `explain --group`"
)
_NAME_TAKEN = Rule(Verdict.STALE, "another group has this name; the groups are listed again")
_BAD_NAME = Rule(Verdict.FAILED, "Dropbox does not accept the group's name: rename it in the directory")
_ID_TAKEN = Rule(Verdict.STALE, "another group carries this group's external id; the groups are listed again")

_GROUP_WRITE: Mapping[str, Rule] = {
    "group_not_found": _GROUP_GONE,
    "system_managed_group_disallowed": _NOT_OURS_TO_EDIT,
}
_GROUP_STRUCTURE: Mapping[str, Rule] = {
    "group_name_already_used": _NAME_TAKEN,
    "group_name_invalid": _BAD_NAME,
    "external_id_already_in_use": _ID_TAKEN,
}
_GROUP_MEMBERS: Mapping[str, Rule] = {
    **_GROUP_WRITE,
    "group_not_in_team": _GROUP_GONE,
    "members_not_in_team": _GONE,
    "users_not_found": _GONE,
}

_POLL: Mapping[str, Rule] = {
    "invalid_async_job_id": Rule(
        Verdict.UNKNOWN, "Dropbox no longer knows the job; the members are read instead"
    ),
    "internal_error": Rule(
        Verdict.UNKNOWN, "Dropbox does not know how the job ended; the members are read instead"
    ),
}

RULES: Mapping[str, Mapping[str, Rule]] = {
    routes.ADD: _ADD,
    routes.ADD_STATUS: _POLL,
    routes.SET_PROFILE: _SET_PROFILE,
    routes.SUSPEND: _SUSPEND,
    routes.UNSUSPEND: _UNSUSPEND,
    routes.REMOVE: _REMOVE,
    routes.REMOVE_STATUS: _POLL,
    routes.RECOVER: _RECOVER,
    routes.SEND_WELCOME: {"user_not_found": _GONE, "user_not_in_team": _GONE},
    routes.GROUP_CREATE: {
        **_GROUP_STRUCTURE,
        "system_managed_group_disallowed": _NEVER_ASKED,
    },
    routes.GROUP_UPDATE: {**_GROUP_WRITE, **_GROUP_STRUCTURE},
    routes.GROUP_DELETE: {
        "group_not_found": Rule(Verdict.ALREADY),
        "group_already_deleted": Rule(Verdict.ALREADY),
        "system_managed_group_disallowed": _NOT_OURS_TO_EDIT,
    },
    routes.GROUP_ADD: {
        **_GROUP_MEMBERS,
        "duplicate_user": Rule(Verdict.ALREADY),
        "user_must_be_active_to_be_owner": _NEVER_ASKED,
        "user_cannot_be_manager_of_company_managed_group": _NEVER_ASKED,
    },
    routes.GROUP_REMOVE: {**_GROUP_MEMBERS, "member_not_in_group": Rule(Verdict.ALREADY)},
}

ADDRESS_TAGS = frozenset({"email_reserved_for_other_user", "set_profile_disallowed"})
"""Refusals of an update for the sake of its e-mail: somebody else may free the address any time."""

# Reads raise; what a tag means there is done where it is read (a new listing, another start).
READ_TAGS: Mapping[str, frozenset[str]] = {
    routes.GET_INFO: frozenset(),
    routes.GET_ADMIN: frozenset({"mapping_not_found", "admin_not_active"}),
    routes.LIST: frozenset(),
    routes.LIST_CONTINUE: frozenset({"invalid_cursor"}),
    routes.GET_MEMBERS: frozenset(),
    routes.EVENTS: frozenset({"account_id_not_found", "invalid_time_range", "invalid_filters"}),
    routes.EVENTS_CONTINUE: frozenset({"bad_cursor", "reset"}),
    routes.GROUPS: frozenset(),
    routes.GROUPS_CONTINUE: frozenset({"invalid_cursor"}),
    routes.GROUPS_GET: frozenset({"group_not_on_team"}),
    routes.GROUP_JOB: frozenset({"invalid_async_job_id", "internal_error", "access_denied"}),
    routes.GROUP_MEMBERS: frozenset({"group_not_found", "system_managed_group_disallowed"}),
    routes.GROUP_MEMBERS_CONTINUE: frozenset({"invalid_cursor"}),
}

# An ambiguous refusal, once the member was read: None stands for a member who is not on the team at all.
_BY_STATUS: Mapping[str, Mapping[Status | None, Verdict]] = {
    routes.SET_PROFILE: {
        Status.INVITED: Verdict.NOT_JOINED,
        Status.ACTIVE: Verdict.FAILED,
        Status.SUSPENDED: Verdict.FAILED,
    },
    routes.SUSPEND: {Status.SUSPENDED: Verdict.ALREADY, Status.ACTIVE: Verdict.FAILED},
    routes.UNSUSPEND: {Status.ACTIVE: Verdict.ALREADY, Status.SUSPENDED: Verdict.FAILED},
    routes.REMOVE: {Status.REMOVED: Verdict.ALREADY, None: Verdict.ALREADY},
    routes.RECOVER: {Status.ACTIVE: Verdict.ALREADY, Status.SUSPENDED: Verdict.ALREADY},  # as it was before
}


def rule_for(route: str, tag: str) -> Rule:
    """The rule of a per-item or 409 tag of a write route."""
    known = RULES.get(route, {}).get(tag)
    return known or Rule(
        Verdict.FAILED,
        f"Dropbox gave a reason that this version does not know ({tag or 'none'}): see the admin console, then `retry`",
    )


def outcome_for(route: str, tag: str) -> Outcome:
    """Without a second look; ambiguous tags keep the verdict of their rule."""
    rule = rule_for(route, tag)
    return Outcome(verdict=rule.verdict, tag=tag, hint=rule.hint)


def outcome_after_look(route: str, tag: str, member: Member | None) -> Outcome:
    """An ambiguous refusal, settled by the member as it was read afterwards (None: not on the team)."""
    rule = rule_for(route, tag)
    status = member.status if member is not None else None
    verdict = _BY_STATUS[route].get(status, Verdict.STALE)
    if route == routes.RECOVER and member is not None and member.recoverable:
        verdict = Verdict.FAILED  # Dropbox contradicts itself: deciding again would ask the same again
    return Outcome(
        verdict=verdict, member=member, tag=tag, hint="" if verdict is Verdict.ALREADY else rule.hint
    )


def outcome_of_refusal(refusal: Refusal) -> Outcome:
    """Any refused write. 409 goes by its tag; all else concerns the call or the token and carries its own hint."""
    if refusal.status == 409:
        return outcome_for(refusal.route, refusal.tag)
    return Outcome(
        verdict=Verdict.FAILED, tag=refusal.tag, hint=f"{refusal.hint}. Dropbox said: {refusal.text}"
    )

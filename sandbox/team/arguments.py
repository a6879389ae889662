"""The argument type of every route (reference sheet, section 2 and the constraint table of section 1)."""

from sandbox.team.schema import (
    EMAIL_PATTERN,
    Boolean,
    Integer,
    ListOf,
    String,
    Struct,
    Timestamp,
    Type,
    Union,
    Void,
    defaulted,
    optional,
    required,
    tags,
)

TEXT = String()
EMAIL = String(max_length=255, pattern=EMAIL_PATTERN)
NAME_PART = String(max_length=50, pattern=r'[^/:?*<>"|]*')
EXTERNAL_ID = String(max_length=64)
ROLE_IDS = ListOf(String(max_length=128, pattern=r"pid_dbtmr:.*"), max_items=1)
LIMIT = defaulted(Integer(1, 1000), 1000)
FLAG = Boolean()

USER = Union({"team_member_id": TEXT, "external_id": EXTERNAL_ID, "email": EMAIL})
GROUP = Union({"group_id": TEXT, "group_external_id": TEXT})
GROUPS = Union({"group_ids": ListOf(TEXT), "group_external_ids": ListOf(TEXT)})
ADMIN_TIER = tags("team_admin", "user_management_admin", "support_admin", "member_only", catch_all=None)
MANAGEMENT = tags("user_managed", "company_managed", "system_managed")
ACCESS = tags("member", "owner", catch_all=None)
FEATURE = tags(
    "upload_api_rate_limit",
    "has_team_shared_dropbox",
    "has_team_file_events",
    "has_team_selective_sync",
    "has_distinct_member_homes",
)
CATEGORY = tags(
    *[
        "admin_alerting",
        "apps",
        "comments",
        "dash",
        "data_governance",
        "devices",
        "domains",
        "encryption",
        "file_operations",
        "file_requests",
        "groups",
        "logins",
        "members",
        "paper",
        "passwords",
        "protect",
        "reports",
        "sharing",
        "showcase",
        "signatures",
        "sso",
        "team_folders",
        "team_policies",
        "team_profile",
        "tfa",
        "trusted_teams",
    ]
)
# Only the types that an identity connector can meet; the real list has some 640.
EVENT_TYPE = tags(
    *[
        "member_change_status",
        "member_change_email",
        "member_change_name",
        "member_add_name",
        "member_add_external_id",
        "member_change_external_id",
        "member_remove_external_id",
        "member_change_admin_role",
        "member_transfer_account_contents",
        "member_permanently_delete_account_contents",
        "member_change_membership_type",
        "secondary_email_verified",
        "secondary_email_deleted",
        "pending_secondary_email_added",
        "group_create",
        "group_delete",
        "group_rename",
        "group_add_member",
        "group_remove_member",
        "group_change_member_role",
        "group_add_external_id",
        "group_change_external_id",
        "group_remove_external_id",
        "group_change_management_type",
        "group_moved",
        "group_description_updated",
        "group_join_policy_updated",
    ]
)

_ONE_USER = Struct({"user": required(USER)})
_DEACTIVATE = {"user": required(USER), "wipe_data": defaulted(FLAG, True)}
_CURSOR = Struct({"cursor": required(TEXT)})
_JOB = Struct({"async_job_id": required(String(min_length=1))})
_LIST = Struct({"limit": LIMIT, "include_removed": defaulted(FLAG, False)})
_NEW_MEMBER = {
    "member_email": required(EMAIL),
    "member_given_name": optional(NAME_PART),
    "member_surname": optional(NAME_PART),
    "member_external_id": optional(EXTERNAL_ID),
    "member_persistent_id": optional(TEXT),
    "send_welcome_email": defaulted(FLAG, True),
    "is_directory_restricted": optional(FLAG),
}
_FORCE = defaulted(FLAG, False)
_PROFILE = Struct(
    {
        "user": required(USER),
        "new_email": optional(EMAIL),
        "new_external_id": optional(EXTERNAL_ID),
        "new_given_name": optional(NAME_PART),
        "new_surname": optional(NAME_PART),
        "new_persistent_id": optional(TEXT),
        "new_is_directory_restricted": optional(FLAG),
    }
)
_RETURN_MEMBERS = defaulted(FLAG, True)
_BATCH_TARGET = Struct(
    {
        "client_item_id": required(String(min_length=1, max_length=128)),
        "suspend_arg": required(Struct(_DEACTIVATE)),
    }
)
_SUSPEND_BATCH = Struct({"members": required(ListOf(_BATCH_TARGET, 1, 500))})
_ECHO = Struct({"query": defaulted(String(max_length=500), "")})

ARGUMENTS: dict[str, Type] = {
    "team/get_info": Void(),
    "team/features/get_values": Struct({"features": required(ListOf(FEATURE))}),
    "team/token/get_authenticated_admin": Void(),
    "team/members/list": _LIST,
    "team/members/list_v2": _LIST,
    "team/members/list/continue": _CURSOR,
    "team/members/list/continue_v2": _CURSOR,
    "team/members/get_info": Struct({"members": required(ListOf(USER))}),
    "team/members/get_info_v2": Struct({"members": required(ListOf(USER))}),
    "team/members/get_available_team_member_roles": Void(),
    "team/members/add": Struct(
        {
            "new_members": required(
                ListOf(
                    Struct({**_NEW_MEMBER, "role": defaulted(ADMIN_TIER, ADMIN_TIER.decode("member_only"))})
                )
            ),
            "force_async": _FORCE,
        }
    ),
    "team/members/add_v2": Struct(
        {
            "new_members": required(ListOf(Struct({**_NEW_MEMBER, "role_ids": optional(ROLE_IDS)}))),
            "force_async": _FORCE,
        }
    ),
    "team/members/add/job_status/get": _JOB,
    "team/members/add/job_status/get_v2": _JOB,
    "team/members/set_profile": _PROFILE,
    "team/members/set_profile_v2": _PROFILE,
    "team/members/suspend": Struct(_DEACTIVATE),
    "team/members/unsuspend": _ONE_USER,
    "team/members/remove": Struct(
        {
            **_DEACTIVATE,
            "transfer_dest_id": optional(USER),
            "transfer_admin_id": optional(USER),
            "keep_account": defaulted(FLAG, False),
            "retain_team_shares": defaulted(FLAG, False),
            "permanently_delete_files": defaulted(FLAG, False),
        }
    ),
    "team/members/remove/job_status/get": _JOB,
    "team/members/recover": _ONE_USER,
    "team/members/send_welcome_email": USER,
    "team/members/set_admin_permissions": Struct({"user": required(USER), "new_role": required(ADMIN_TIER)}),
    "team/members/set_admin_permissions_v2": Struct(
        {"user": required(USER), "new_roles": optional(ROLE_IDS)}
    ),
    "team/members/move_former_member_files": Struct(
        {
            "user": required(USER),
            "transfer_dest_id": required(USER),
            "transfer_admin_id": required(USER),
        }
    ),
    "team/members/move_former_member_files/job_status/check": _JOB,
    "team/members/suspend_batch": _SUSPEND_BATCH,
    "team/members/suspend_batch/job_status/check": _JOB,
    "team/members/bulk_suspend": _SUSPEND_BATCH,
    "team/members/bulk_suspend/job_status/check": _JOB,
    "team/groups/list": Struct({"limit": LIMIT}),
    "team/groups/list/continue": _CURSOR,
    "team/groups/get_info": GROUPS,
    "team/groups/create": Struct(
        {
            "group_name": required(TEXT),
            "add_creator_as_owner": defaulted(FLAG, False),
            "group_external_id": optional(TEXT),
            "group_management_type": optional(MANAGEMENT),
        }
    ),
    "team/groups/update": Struct(
        {
            "return_members": _RETURN_MEMBERS,
            "group": required(GROUP),
            "new_group_name": optional(TEXT),
            "new_group_external_id": optional(TEXT),
            "new_group_management_type": optional(MANAGEMENT),
        }
    ),
    "team/groups/delete": GROUP,
    "team/groups/members/add": Struct(
        {
            "return_members": _RETURN_MEMBERS,
            "group": required(GROUP),
            "members": required(ListOf(Struct({"user": required(USER), "access_type": required(ACCESS)}))),
        }
    ),
    "team/groups/members/remove": Struct(
        {"return_members": _RETURN_MEMBERS, "group": required(GROUP), "users": required(ListOf(USER))}
    ),
    "team/groups/members/set_access_type": Struct(
        {
            "group": required(GROUP),
            "user": required(USER),
            "access_type": required(ACCESS),
            "return_members": _RETURN_MEMBERS,
        }
    ),
    "team/groups/members/list": Struct({"group": required(GROUP), "limit": LIMIT}),
    "team/groups/members/list/continue": _CURSOR,
    "team/groups/job_status/get": _JOB,
    "team_log/get_events": Struct(
        {
            "limit": LIMIT,
            "account_id": optional(String(min_length=40, max_length=40)),
            "time": optional(
                Struct({"start_time": optional(Timestamp()), "end_time": optional(Timestamp())})
            ),
            "category": optional(CATEGORY),
            "event_type": optional(EVENT_TYPE),
        }
    ),
    "team_log/get_events/continue": _CURSOR,
    "check/app": _ECHO,
    "check/user": _ECHO,
}

SCOPES: dict[str, str] = {
    "team/get_info": "team_info.read",
    "team/features/get_values": "team_info.read",
    "team/token/get_authenticated_admin": "team_info.read",
    "team/members/list": "members.read",
    "team/members/get_info": "members.read",
    "team/members/get_available_team_member_roles": "members.read",
    "team/members/remove": "members.delete",
    "team/members/recover": "members.delete",
    "team/members/": "members.write",
    "team/groups/list": "groups.read",
    "team/groups/get_info": "groups.read",
    "team/groups/members/list": "groups.read",
    "team/groups/": "groups.write",
    "team_log/": "events.read",
    "check/user": "account_info.read",
}
"""By prefix, the longest wins (section 4, table of scopes)."""


def scope_of(route: str) -> str | None:
    prefixes = [prefix for prefix in SCOPES if route.startswith(prefix)]
    return SCOPES[max(prefixes, key=len)] if prefixes else None

"""What a simulated team is made of, and the switches for what the documents leave open."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

ALL_SCOPES = frozenset(
    {
        "account_info.read",
        "team_info.read",
        "members.read",
        "members.write",
        "members.delete",
        "groups.read",
        "groups.write",
        "events.read",
    }
)


def _system_clock() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class SeedMember:
    email: str
    given_name: str = ""
    surname: str = ""
    external_id: str | None = None
    status: Literal["active", "invited", "suspended"] = "active"
    admin: bool = False
    persistent_id: str | None = None


@dataclass(frozen=True)
class SeedGroup:
    name: str
    external_id: str | None = None
    management: Literal["company_managed", "user_managed"] = "company_managed"
    members: tuple[str, ...] = ()
    """E-mail addresses of seed members."""


@dataclass(frozen=True)
class RateLimit:
    """A token bucket for the whole team."""

    per_second: float
    burst: int
    form: Literal["json", "json_no_field", "empty", "text"] = "json"
    refused_count: bool = True
    """"Rate limited requests themselves also count towards rate limits" (section 5.1)."""


@dataclass(frozen=True)
class Switches:
    """The contested points of section 10: every one can be set either way, also while running."""

    suspend_invited: Literal["suspend_inactive_user", "user_not_in_team"] = "suspend_inactive_user"
    suspend_removed: Literal["user_not_in_team", "inactive"] = "user_not_in_team"
    """inactive: suspend_inactive_user, and unsuspend_non_suspended_member for unsuspend."""
    invited_email_change: Literal["allowed", "set_profile_disallowed"] = "allowed"
    removed_resolvable: bool = False
    """Whether e-mail and external id still select a removed, recoverable member (recover always can)."""
    removed_email_rewritten: bool = False
    unrecoverable_listed: bool = True
    """Whether include_removed shows removed members that nobody can bring back."""
    selectors_ignore_case: bool = True
    """E-mail selectors."""
    external_ids_ignore_case: bool = False
    """External id selectors; uniqueness stays exact."""
    group_names_ignore_case: bool = True
    group_name_forbidden: str = ""
    """Characters that make a group name invalid, besides control characters and emptiness."""
    group_duplicates: Literal["rejected", "tolerated"] = "rejected"
    max_get_info: int | None = None
    max_group_change: int | None = None
    stale_lists_seconds: float = 0.0
    stale_get_info_seconds: float = 0.0
    list_paging: Literal["keyset", "offset"] = "keyset"
    """offset: newest first and counted, so that changes between pages make members go missing or come twice."""
    request_id_is_dbarid: bool = True
    provisioned_counts_suspended: bool = True
    invited_have_account_id: bool = True
    everyone_in_profile_groups: bool = False
    empty_roles_absent: bool = False
    sparse_policies: bool = False
    """team/get_info as recorded in 2020: three sharing policies, no num_used_licenses (the SDK refuses it)."""
    tokens_die_with_admin: bool = False
    async_routes: tuple[str, ...] = ()
    """Globs of routes that answer with a job of their own accord."""
    async_polls: int = 1
    """How often a job says in_progress."""
    async_effect: Literal["launch", "completion"] = "launch"
    job_lifetime_seconds: float | None = None
    """How long after its launch a job can be asked after; what it does is done all the same."""
    oauth_reply: Literal["known", "more", "fewer"] = "known"
    """Of the token endpoint. more: account_id, id_token and a scope with each refresh; fewer: no scope, uid or team_id."""
    log_shuffled: bool = True
    log_empty_pages: bool = False
    log_latency_seconds: float = 0.0
    persistent_ids: bool = False
    directory_restriction: bool = False
    external_sharing: bool = True


def _default_members() -> tuple[SeedMember, ...]:
    return (SeedMember("admin@example.com", "Ada", "Admin", admin=True),)


@dataclass(frozen=True)
class TeamConfig:
    team_name: str = "Example Team"
    seats: int = 50
    members: tuple[SeedMember, ...] = field(default_factory=_default_members)
    groups: tuple[SeedGroup, ...] = ()
    authorising_admin: str | None = None
    """E-mail address; None takes the first seed member who is an admin."""
    admin_mapping_known: bool = True
    """False: an old token that records no admin (mapping_not_found)."""

    app_key: str = "sandboxappkey00"
    app_secret: str = "sandboxsecret00"
    app_id: int = 7252868
    app_name: str = "AD connector"
    app_scopes: frozenset[str] = ALL_SCOPES
    token_scopes: frozenset[str] = ALL_SCOPES
    access_token: str = "sl.sandbox-team-access-token"
    refresh_token: str = "sandbox-team-refresh-token"
    refresh_token_pkce: bool = True
    """The refresh token that is there from the start needs no app secret."""
    token_lifetime: int = 14400
    code_lifetime: int = 600
    redirect_uris: tuple[str, ...] | None = None
    """None: any."""

    recover_days: int = 7
    transfer_days: int = 180
    page_cap: int = 1000
    log_page_cap: int = 1000
    cursor_lifetime: float | None = None
    everyone_group_limit: int = 1000
    removable_email_length: int = 240
    default_management: Literal["company_managed", "user_managed"] = "company_managed"
    other_team_emails: frozenset[str] = frozenset()
    personal_emails: frozenset[str] = frozenset()
    rate_limit: RateLimit | None = None
    switches: Switches = field(default_factory=Switches)

    seed: int = 1
    """Of everything random: ids, dots, faults by probability, the order of log events."""
    clock: Callable[[], datetime] = _system_clock
    timeline_length: int = 20_000
    timeline_bytes: int = 64 * 1024 * 1024
    storage: Path | None = None
    """A JSON file: read at the start if it exists, written at the end and by POST /sandbox/save."""

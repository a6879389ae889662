"""From settings to the values that decisions depend on. Light: no adapter is imported for it."""

from __future__ import annotations

from datetime import timedelta

from config.settings import Settings
from config.values import Limit as LimitSetting
from pipeline.core.brake import BrakePolicy, Limit
from pipeline.core.exclusion import Exclusions
from pipeline.core.groups import GroupPolicy, Mode
from pipeline.core.plan import Policy
from stages.groups.facts import GroupOptions
from stages.people.planner import PlannerOptions


def policy_of(settings: Settings) -> Policy:
    users = settings.users
    return Policy(
        manage_existing=users.manage_existing,
        remove_on_delete=users.on_delete == "remove",
        delete_grace=timedelta(days=users.delete_grace_days),
        revoke_invited_leavers=users.invited_leavers == "revoke",
        expired_is_disabled=users.expired_is_disabled,
        leave_settle=timedelta(seconds=users.leave_settle_seconds),
        reinvite_every=timedelta(days=users.reinvite_days),
        reinvite_on_email_change=users.invited_email_change == "reinvite",
        hold_console_suspension=users.console_suspension == "hold",
        external_id_format=settings.external_id.format,
        overwrite_foreign_ids=settings.external_id.overwrite_foreign,
        adopt_legacy=settings.external_id.adopt_legacy,
    )


def brake_of(settings: Settings) -> BrakePolicy:
    safety = settings.safety

    def limit(setting: LimitSetting, floor: int) -> Limit:
        return Limit.parse(str(setting), floor=floor)

    return BrakePolicy(
        max_leavers=limit(safety.max_leavers, safety.min_leavers_allowed),
        max_email_changes=limit(safety.max_email_changes, 10),
        max_invites=safety.max_invites,
        window=timedelta(hours=safety.window_hours),
    )


def planner_options_of(settings: Settings) -> PlannerOptions:
    return PlannerOptions(
        policy=policy_of(settings),
        brake=brake_of(settings),
        exclusions=Exclusions(
            email_patterns=tuple(settings.users.exclude_emails), guids=frozenset(settings.users.exclude_guids)
        ),
        external_id_format=settings.external_id.format,
    )


def group_options_of(settings: Settings) -> GroupOptions:
    groups = settings.groups
    return GroupOptions(
        policy=GroupPolicy(
            mode=Mode(groups.mode),
            adopt_existing=groups.adopt_existing,
            delete_on_leave=groups.on_leave == "delete",
            overwrite_foreign_ids=settings.external_id.overwrite_foreign,
            own_id_prefix=settings.external_id.format.partition("{")[0],
        ),
        persons=policy_of(settings),
        brake=brake_of(settings),
        exclusions=planner_options_of(settings).exclusions,
        external_id_format=settings.external_id.format,
        sync_group=settings.groups.sync_group,
    )

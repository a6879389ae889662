"""The routes about the team as a whole, its log, its jobs, and the checks."""

from collections.abc import Callable
from typing import Any

from sandbox.team.clock import stamp
from sandbox.team.log import Actor
from sandbox.team.refusal import RefusalError
from sandbox.team.team import Team
from sandbox.team.views import Views

Handler = Callable[[Any, Actor], Any]
JOB_ROUTES = {
    "team/members/add/job_status/get": None,
    "team/members/add/job_status/get_v2": None,
    "team/members/remove/job_status/get": None,
    "team/members/move_former_member_files/job_status/check": None,
    "team/members/suspend_batch/job_status/check": None,
    "team/members/bulk_suspend/job_status/check": "team/members/suspend_batch/job_status/check",
    "team/groups/job_status/get": None,
}
WHOLE_TEAM_TOKEN = (
    "This API function operates on a single Dropbox account, but the OAuth 2 access token you provided is for an "
    "entire Dropbox Business team.  Since your API app key has team member file access permissions, you can operate "
    'on a team member\'s Dropbox by providing the "Dropbox-API-Select-User" HTTP header or "select_user" URL '
    "parameter to specify the exact user <https://www.dropbox.com/developers/documentation/http/teams>."
)
_SHARING = {
    "shared_folder_member_policy": {".tag": "team"},
    "shared_folder_join_policy": {".tag": "from_anyone"},
    "shared_link_create_policy": {".tag": "team_only"},
}
_MORE_SHARING = {
    "group_creation_policy": {".tag": "admins_only"},
    "shared_folder_link_restriction_policy": {".tag": "anyone"},
    "enforce_link_password_policy": {".tag": "optional"},
    "default_link_expiration_days_policy": {".tag": "none"},
    "shared_link_default_permissions_policy": {".tag": "default"},
}
_FEATURES: dict[str, dict[str, Any]] = {
    "upload_api_rate_limit": {".tag": "limit", "limit": 25000},
    "has_team_shared_dropbox": {".tag": "has_team_shared_dropbox", "has_team_shared_dropbox": False},
    "has_team_file_events": {".tag": "enabled", "enabled": True},
    "has_team_selective_sync": {".tag": "has_team_selective_sync", "has_team_selective_sync": True},
    "has_distinct_member_homes": {".tag": "has_distinct_member_homes", "has_distinct_member_homes": False},
}


class TeamRoutes:
    def __init__(self, team: Team, views: Views) -> None:
        self._team = team
        self._views = views

    def table(self) -> dict[str, Handler]:
        routes: dict[str, Handler] = {
            "team/get_info": self._get_info,
            "team/features/get_values": self._features,
            "team/token/get_authenticated_admin": self._authenticated_admin,
            "team_log/get_events": self._events,
            "team_log/get_events/continue": self._events_continue,
            "check/app": lambda a, _by: {"result": a["query"]},
            "check/user": lambda a, _by: {"result": a["query"]},
        }
        for route, alias in JOB_ROUTES.items():
            routes[route] = self._poll(alias or route)
        return routes

    def _poll(self, kind: str) -> Handler:
        return lambda arguments, _by: self._team.jobs.poll(kind, arguments["async_job_id"])

    def _get_info(self, _arguments: Any, _by: Actor) -> dict[str, Any]:
        team = self._team
        provisioned = team.members.present
        joined = provisioned - team.members.count["invited"]
        if not team.switches.provisioned_counts_suspended:
            provisioned -= team.members.count["suspended"]
        policies: dict[str, Any] = {
            "sharing": dict(_SHARING),
            "emm_state": {".tag": "disabled"},
            "office_addin": {".tag": "disabled"},
        }
        body: dict[str, Any] = {
            "name": team.config.team_name,
            "team_id": team.id,
            "num_licensed_users": team.seats,
            "num_provisioned_users": provisioned,
            "policies": policies,
        }
        if not team.switches.sparse_policies:
            body["num_used_licenses"] = joined
            policies["sharing"].update(_MORE_SHARING)
            policies["suggest_members_policy"] = {".tag": "enabled"}
            policies["top_level_content_policy"] = {".tag": "admin_only"}
        return body

    @staticmethod
    def _features(arguments: Any, _by: Actor) -> dict[str, Any]:
        if not arguments["features"]:
            raise RefusalError("empty_features_list")
        names = [feature.tag for feature in arguments["features"]]
        return {"values": [{".tag": name, name: _FEATURES[name]} for name in names]}

    def _authenticated_admin(self, _arguments: Any, _by: Actor) -> dict[str, Any]:
        team = self._team
        admin = team.authorising_admin
        if not team.config.admin_mapping_known or admin is None:
            raise RefusalError("mapping_not_found")
        if admin.id not in team.members.active_admins:
            raise RefusalError("admin_not_active")
        return {"admin_profile": self._views.full_profile(admin)}

    # --- the log -------------------------------------------------------------------------------------------------

    def _events(self, arguments: Any, _by: Actor) -> dict[str, Any]:
        category, event_type = arguments["category"], arguments["event_type"]
        time = arguments["time"] or {"start_time": None, "end_time": None}
        if category and event_type:
            raise RefusalError("invalid_filters")
        start, end = time["start_time"], time["end_time"]
        if start and end and start > end:
            raise RefusalError("invalid_time_range")
        account_id = arguments["account_id"]
        if account_id and not self._team.members.has_account(account_id):
            raise RefusalError("account_id_not_found")
        filters = {
            "category": category.tag if category else None,
            "event_type": event_type.tag if event_type else None,
            "account_id": account_id,
            "start": stamp(start) if start else None,
            "end": stamp(end) if end else None,
        }
        limit = min(arguments["limit"], self._team.config.log_page_cap)
        return self._page({"p": 0, "l": limit, "f": filters, "e": False})

    def _events_continue(self, arguments: Any, _by: Actor) -> dict[str, Any]:
        state = self._team.cursors.read("log", arguments["cursor"])
        if state is None:
            raise RefusalError("bad_cursor")
        log = self._team.log
        if state["n"] != log.generation:
            raise RefusalError("reset", stamp(log.reset_to or self._team.clock.now()))
        return self._page(state)

    def _page(self, state: dict[str, Any]) -> dict[str, Any]:
        team = self._team
        found, position, more = team.log.scan(state["p"], state["l"], state["f"])
        blank = team.switches.log_empty_pages and bool(found) and not state["e"]
        if blank:
            found, position, more = [], state["p"], True
        if team.switches.log_shuffled:
            found = team.log.shuffle(found)
        cursor = team.cursors.issue(
            "log", p=position, l=state["l"], f=state["f"], e=blank, n=team.log.generation
        )
        return {"events": [event.body for event in found], "cursor": cursor, "has_more": more}

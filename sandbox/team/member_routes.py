"""The routes team/members/*."""

from collections.abc import Callable
from typing import Any

from sandbox.team.departure import Departure
from sandbox.team.launching import Launching
from sandbox.team.lifecycle import Lifecycle
from sandbox.team.log import Actor
from sandbox.team.members import Member
from sandbox.team.refusal import BadInputError, RefusalError
from sandbox.team.roles import ROLES, TIERS
from sandbox.team.schema import Tagged
from sandbox.team.team import Team
from sandbox.team.views import Views

Handler = Callable[[Any, Actor], Any]
MAX_ADD = 20


class MemberRoutes:
    def __init__(
        self, team: Team, lifecycle: Lifecycle, departure: Departure, views: Views, launching: Launching
    ) -> None:
        self._team = team
        self._lifecycle = lifecycle
        self._departure = departure
        self._views = views
        self._launching = launching

    def table(self) -> dict[str, Handler]:
        base = "team/members/"
        routes: dict[str, Handler] = {
            "get_available_team_member_roles": lambda _a, _by: {"roles": list(ROLES.values())},
            "suspend": self._suspend,
            "unsuspend": self._unsuspend,
            "remove": self._remove,
            "recover": self._recover,
            "send_welcome_email": lambda a, _by: self._lifecycle.send_welcome(a),
            "set_admin_permissions": self._set_tier,
            "set_admin_permissions_v2": self._set_roles,
            "move_former_member_files": self._move_files,
            "suspend_batch": self._suspend_batch,
            "bulk_suspend": self._suspend_batch,
        }
        for version, suffix in ((1, ""), (2, "_v2")):
            routes[f"list{suffix}"] = self._versioned(self._list, version)
            routes[f"list/continue{suffix}"] = self._versioned(self._list_continue, version)
            routes[f"get_info{suffix}"] = self._versioned(self._get_info, version)
            routes[f"add{suffix}"] = self._versioned(self._add, version)
            routes[f"set_profile{suffix}"] = self._versioned(self._set_profile, version)
        return {base + name: handler for name, handler in routes.items()}

    @staticmethod
    def _versioned(handler: Callable[[Any, Actor, int], Any], version: int) -> Handler:
        return lambda arguments, by: handler(arguments, by, version)

    # --- listing -----------------------------------------------------------------------------------------------

    def _list(self, arguments: Any, _by: Actor, version: int) -> dict[str, Any]:
        limit = min(arguments["limit"], self._team.config.page_cap)
        return self._page(version, {"p": 0, "l": limit, "r": arguments["include_removed"]})

    def _list_continue(self, arguments: Any, _by: Actor, version: int) -> dict[str, Any]:
        state = self._team.cursors.read(f"members{version}", arguments["cursor"])
        if state is None:
            raise RefusalError("invalid_cursor")
        return self._page(version, {key: state[key] for key in ("p", "l", "r")})

    def _page(self, version: int, state: dict[str, Any]) -> dict[str, Any]:
        counted = self._team.switches.list_paging == "offset"
        limit, removed = state["l"], state["r"]
        if counted:
            found, more = self._counted(state["p"], limit, removed=removed)
            position = state["p"] + len(found)
        else:
            found, position, more = self._by_place(state["p"], limit, removed=removed)
        cursor = self._team.cursors.issue(f"members{version}", p=position, l=limit, r=removed)
        members = [self._views.member(member, version) for member in found]
        return {"members": members, "cursor": cursor, "has_more": more}

    def _visible(self, member: Member, *, removed: bool) -> Member | None:
        seen = self._team.member_in_lists(member)
        if seen is None or seen.present:
            return seen
        listed = self._team.recoverable(seen) or self._team.switches.unrecoverable_listed
        return seen if removed and listed else None

    def _by_place(self, start: int, limit: int, *, removed: bool) -> tuple[list[Member], int, bool]:
        register = self._team.members
        found: list[Member] = []
        for position in range(start, len(register)):
            seen = self._visible(register.at(position), removed=removed)
            if seen is None:
                continue
            if len(found) == limit:
                return found, position, True
            found.append(seen)
        return found, len(register), False

    def _counted(self, skip: int, limit: int, *, removed: bool) -> tuple[list[Member], bool]:
        """Newest first, so that newcomers push people onto the next page and leavers pull them off it."""
        register = self._team.members
        found: list[Member] = []
        for position in range(len(register) - 1, -1, -1):
            seen = self._visible(register.at(position), removed=removed)
            if seen is None:
                continue
            if skip > 0:
                skip -= 1
            elif len(found) == limit:
                return found, True
            else:
                found.append(seen)
        return found, False

    def _get_info(self, arguments: Any, _by: Actor, version: int) -> Any:
        selectors = arguments["members"]
        most = self._team.switches.max_get_info
        if most is not None and len(selectors) > most:
            raise BadInputError(f"request body: members: list has more than {most} items")
        infos = [self._info(selector, version) for selector in selectors]
        return infos if version == 1 else {"members_info": infos}

    def _info(self, selector: Tagged, version: int) -> dict[str, Any]:
        member = self._team.find(selector)
        if member is not None:
            member = self._team.member_in_get_info(member)
        if member is None or not (member.present or self._team.recoverable(member)):
            return {".tag": "id_not_found", "id_not_found": selector.value}
        return {".tag": "member_info", **self._views.member(member, version)}

    # --- adding ------------------------------------------------------------------------------------------------

    def _add(self, arguments: Any, by: Actor, version: int) -> Any:
        wanted = arguments["new_members"]
        if len(wanted) > MAX_ADD:
            raise BadInputError(f"request body: new_members: list has more than {MAX_ADD} items")
        for item in wanted:
            if version == 1:
                item["role"] = TIERS[item["role"].tag]
            else:
                item["role"] = (item["role_ids"] or [None])[0]
        suffix = "" if version == 1 else "_v2"
        return self._launching.launch(
            f"team/members/add{suffix}",
            f"team/members/add/job_status/get{suffix}",
            lambda: [self._add_one(item, by, version) for item in wanted],
            force=arguments["force_async"],
        )

    def _add_one(self, item: dict[str, Any], by: Actor, version: int) -> dict[str, Any]:
        obstacle = self._lifecycle.add_obstacle(item)
        if obstacle is not None:
            return {".tag": obstacle, obstacle: item["member_email"]}
        return {".tag": "success", **self._views.member(self._lifecycle.add(item, by), version)}

    # --- changing ----------------------------------------------------------------------------------------------

    def _set_profile(self, arguments: Any, by: Actor, version: int) -> Any:
        info = self._views.member(self._lifecycle.set_profile(arguments, by), version)
        return info if version == 1 else {"member_info": info}

    def _suspend(self, arguments: Any, by: Actor) -> None:
        self._lifecycle.suspend(arguments["user"], by, wipe=arguments["wipe_data"])

    def _unsuspend(self, arguments: Any, by: Actor) -> None:
        self._lifecycle.unsuspend(arguments["user"], by)

    def _set_roles(self, arguments: Any, by: Actor) -> dict[str, Any]:
        role = (arguments["new_roles"] or [None])[0]
        member = self._lifecycle.set_role(arguments["user"], role, by)
        return {"team_member_id": member.id, **self._views.roles(member.role)}

    def _set_tier(self, arguments: Any, by: Actor) -> dict[str, Any]:
        tag = arguments["new_role"].tag
        member = self._lifecycle.set_role(arguments["user"], TIERS[tag], by)
        return {"team_member_id": member.id, "role": {".tag": tag}}

    # --- leaving -----------------------------------------------------------------------------------------------

    def _remove(self, arguments: Any, by: Actor) -> Any:
        member = self._departure.check(arguments)
        return self._launching.launch(
            "team/members/remove",
            "team/members/remove/job_status/get",
            lambda: self._departure.remove(member.id, arguments, by),
        )

    def _recover(self, arguments: Any, by: Actor) -> None:
        self._departure.recover(arguments["user"], by)

    def _move_files(self, arguments: Any, by: Actor) -> Any:
        member = self._departure.check_move(arguments)
        self._departure.begin_move(member)
        return self._launching.launch(
            "team/members/move_former_member_files",
            "team/members/move_former_member_files/job_status/check",
            lambda: self._departure.finish_move(member.id, by),
            force=True,
            at_completion=True,
        )

    def _suspend_batch(self, arguments: Any, by: Actor) -> Any:
        targets = arguments["members"]
        item_ids = [target["client_item_id"] for target in targets]
        if len(set(item_ids)) != len(item_ids):
            raise RefusalError("duplicate_client_item_id")
        found = [self._team.find(target["suspend_arg"]["user"]) for target in targets]
        ids = [member.id for member in found if member is not None]
        if len(set(ids)) != len(ids):
            raise RefusalError("duplicate_team_member_id")
        if self._team.authorising_admin_id in ids:
            raise RefusalError("acting_admin")
        if self._team.members.active_admins and self._team.members.active_admins <= set(ids):
            raise RefusalError("last_admin")
        return self._launching.launch(
            "team/members/suspend_batch",
            "team/members/suspend_batch/job_status/check",
            lambda: self._do_suspend_batch(targets, by),
            force=True,
        )

    def _do_suspend_batch(self, targets: list[dict[str, Any]], by: Actor) -> dict[str, Any]:
        suspended = 0
        for target in targets:
            wanted = target["suspend_arg"]
            try:
                self._lifecycle.suspend(wanted["user"], by, wipe=wanted["wipe_data"])
            except RefusalError:
                continue
            suspended += 1
        delivered = {".tag": "members_suspend_batch_report_delivery_status_delivered"}
        return {
            "requested": len(targets),
            "suspended": suspended,
            "failed": len(targets) - suspended,
            "unknown": 0,
            "report_delivery": delivered,
        }

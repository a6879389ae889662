"""The routes team/groups/*."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from sandbox.team.groups import Group
from sandbox.team.launching import Launching
from sandbox.team.log import Actor
from sandbox.team.membership import Membership
from sandbox.team.refusal import RefusalError
from sandbox.team.schema import Tagged
from sandbox.team.team import Team
from sandbox.team.views import Views

Handler = Callable[[Any, Actor], Any]
NO_JOB = " "  # "will always return one space" (section 2, groups/members/add)


class GroupRoutes:
    def __init__(self, team: Team, membership: Membership, views: Views, launching: Launching) -> None:
        self._team = team
        self._membership = membership
        self._views = views
        self._launching = launching

    def table(self) -> dict[str, Handler]:
        routes: dict[str, Handler] = {
            "list": self._list,
            "list/continue": self._list_continue,
            "get_info": self._get_info,
            "create": self._create,
            "update": self._update,
            "delete": self._delete,
            "members/add": self._members_add,
            "members/remove": self._members_remove,
            "members/set_access_type": self._set_access,
            "members/list": self._members_list,
            "members/list/continue": self._members_list_continue,
        }
        return {f"team/groups/{name}": handler for name, handler in routes.items()}

    # --- listing -----------------------------------------------------------------------------------------------

    def _list(self, arguments: Any, _by: Actor) -> dict[str, Any]:
        return self._page(-1, min(arguments["limit"], self._team.config.page_cap))

    def _list_continue(self, arguments: Any, _by: Actor) -> dict[str, Any]:
        state = self._team.cursors.read("groups", arguments["cursor"])
        if state is None:
            raise RefusalError("invalid_cursor")
        return self._page(state["p"], state["l"])

    def _page(self, start: int, limit: int) -> dict[str, Any]:
        """Place -1 is the group of everyone."""
        team = self._team
        lag = team.switches.stale_lists_seconds
        moment = team.clock.now() - timedelta(seconds=lag)
        found: list[dict[str, Any]] = []
        if start < 0 and team.everyone_group_exists:
            found.append(self._views.everyone_summary())
        position, more = max(start, 0), False
        for place, group_id in team.groups.from_place(max(start, 0)):
            group = team.groups.get(group_id)
            if lag:
                group = team.groups.history.at(group_id, moment, group)
            if group is not None:
                if len(found) == limit:
                    more = True
                    break
                found.append(self._views.group_summary(group))
            position = place + 1
        cursor = team.cursors.issue("groups", p=position, l=limit)
        return {"groups": found, "cursor": cursor, "has_more": more}

    def _get_info(self, arguments: Tagged, _by: Actor) -> list[dict[str, Any]]:
        kind = "group_id" if arguments.tag == "group_ids" else "group_external_id"
        return [self._info(Tagged(kind, value)) for value in arguments.value]

    def _info(self, selector: Tagged) -> dict[str, Any]:
        team = self._team
        if selector.value == team.groups.everyone_id and team.everyone_group_exists:
            return {".tag": "group_info", **self._views.everyone_info()}
        group = team.groups.find(selector)
        if group is None:
            return {".tag": "id_not_found", "id_not_found": selector.value}
        return {".tag": "group_info", **self._views.group_info(group, with_members=True)}

    # --- changing ----------------------------------------------------------------------------------------------

    def _create(self, arguments: Any, by: Actor) -> dict[str, Any]:
        return self._views.group_info(self._membership.create(arguments, by), with_members=True)

    def _update(self, arguments: Any, by: Actor) -> dict[str, Any]:
        group = self._membership.update(arguments, by)
        return self._views.group_info(group, with_members=arguments["return_members"])

    def _delete(self, arguments: Tagged, by: Actor) -> dict[str, Any]:
        group = self._membership.check_delete(arguments)
        # The group is gone at once; a job only tracks the revocation of what it owned.
        self._membership.delete(group, by)
        return self._launching.launch("team/groups/delete", "team/groups/job_status/get", lambda: None)

    # --- who is in them ----------------------------------------------------------------------------------------

    def _changed(self, group: Group, arguments: Any) -> dict[str, Any]:
        info = self._views.group_info(group, with_members=arguments["return_members"])
        return {"group_info": info, "async_job_id": NO_JOB}

    def _members_add(self, arguments: Any, by: Actor) -> dict[str, Any]:
        return self._changed(self._membership.add(arguments, by), arguments)

    def _members_remove(self, arguments: Any, by: Actor) -> dict[str, Any]:
        return self._changed(self._membership.remove(arguments, by), arguments)

    def _set_access(self, arguments: Any, by: Actor) -> list[dict[str, Any]]:
        group = self._membership.set_access(arguments, by)
        info = self._views.group_info(group, with_members=arguments["return_members"])
        return [{".tag": "group_info", **info}]

    def _members_list(self, arguments: Any, _by: Actor) -> dict[str, Any]:
        team = self._team
        selector: Tagged = arguments["group"]
        limit = min(arguments["limit"], team.config.page_cap)
        if selector.value == team.groups.everyone_id and team.everyone_group_exists:
            return self._everyone_page(0, limit)
        group = team.groups.find(selector)
        if group is None:
            raise RefusalError("group_not_found")
        return self._members_page(group.id, 0, limit)

    def _members_list_continue(self, arguments: Any, _by: Actor) -> dict[str, Any]:
        state = self._team.cursors.read("group_members", arguments["cursor"])
        if state is None:
            raise RefusalError("invalid_cursor")
        if state["i"] == self._team.groups.everyone_id:
            return self._everyone_page(state["p"], state["l"])
        if self._team.groups.get(state["i"]) is None:
            raise RefusalError("invalid_cursor")
        return self._members_page(state["i"], state["p"], state["l"])

    def _members_page(self, group_id: str, place: int, limit: int) -> dict[str, Any]:
        team = self._team
        group: Group | None = team.groups.get(group_id)
        lag = team.switches.stale_lists_seconds
        if lag:
            group = team.groups.history.at(group_id, team.clock.now() - timedelta(seconds=lag), group)
        page = group.after(place, limit + 1) if group else []
        more = len(page) > limit
        shown = [
            self._views.group_member(seen, group.members[member_id])
            for _, member_id in page[:limit]
            if group and (seen := team.member_in_lists(team.members[member_id])) is not None
        ]
        follow = page[limit][0] if more else (page[-1][0] + 1 if page else place)
        cursor = team.cursors.issue("group_members", i=group_id, p=follow, l=limit)
        return {"members": shown, "cursor": cursor, "has_more": more}

    def _everyone_page(self, start: int, limit: int) -> dict[str, Any]:
        team = self._team
        shown: list[dict[str, Any]] = []
        position, more = start, False
        for place in range(start, len(team.members)):
            position = place
            seen = team.member_in_lists(team.members.at(place))
            if seen is not None and seen.present:
                if len(shown) == limit:
                    more = True
                    break
                shown.append(self._views.group_member(seen, "member"))
            position = place + 1
        cursor = team.cursors.issue("group_members", i=team.groups.everyone_id, p=position, l=limit)
        return {"members": shown, "cursor": cursor, "has_more": more}

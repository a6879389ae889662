"""What can be done to groups and to who is in them; member changes are all or nothing."""

from typing import Any

from sandbox.team.groups import Group, Management
from sandbox.team.log import Actor
from sandbox.team.members import Member
from sandbox.team.refusal import BadInputError, RefusalError
from sandbox.team.schema import Tagged
from sandbox.team.team import Team

SYSTEM = "system_managed_group_disallowed"


class Membership:
    def __init__(self, team: Team) -> None:
        self._team = team

    # --- groups ---------------------------------------------------------------------------------------------

    def group(self, selector: Tagged) -> Group:
        """A group that may be edited."""
        group = self._team.groups.find(selector)
        if group is None:
            if selector.value == self._team.groups.everyone_id and self._team.everyone_group_exists:
                raise RefusalError(SYSTEM)
            raise RefusalError("group_not_found")
        return group

    def _check_name(self, name: str, mine: Group | None = None) -> None:
        team = self._team
        forbidden = team.switches.group_name_forbidden
        if not name.strip() or any(not c.isprintable() or c in forbidden for c in name):
            raise RefusalError("group_name_invalid")
        fold = team.switches.group_names_ignore_case
        holder = team.groups.named(name, fold=fold)
        everyone = team.everyone_name
        taken = name.casefold() == everyone.casefold() if fold else name == everyone
        if (holder is not None and holder is not mine) or (taken and team.everyone_group_exists):
            raise RefusalError("group_name_already_used")

    def _check_external_id(self, external_id: str, mine: Group | None = None) -> None:
        holder = self._team.groups.with_external_id(external_id)
        if holder is not None and holder is not mine:
            raise RefusalError("external_id_already_in_use")

    def create(self, wanted: dict[str, Any], by: Actor) -> Group:
        team = self._team
        asked: Tagged | None = wanted["group_management_type"]
        management: Management = asked.tag if asked else team.config.default_management  # type: ignore[assignment]
        external_id = wanted["group_external_id"] or None
        if management == "system_managed":
            raise RefusalError(SYSTEM)
        self._check_name(wanted["group_name"])
        if external_id is not None:
            self._check_external_id(external_id)
        group = team.groups.create(wanted["group_name"], external_id, management)
        details = {"is_company_managed": management == "company_managed"}
        self._log(by, "group_create", group, **details)
        if external_id is not None:
            self._log(by, "group_add_external_id", group, new_value=external_id)
        creator = team.authorising_admin
        # Company-managed groups have no owners, so there the creator stays outside.
        if wanted["add_creator_as_owner"] and creator and creator.present and management == "user_managed":
            self._join(group, creator, "owner", by)
        return group

    def update(self, wanted: dict[str, Any], by: Actor) -> Group:
        team = self._team
        group = self.group(wanted["group"])
        name, external_id = wanted["new_group_name"], wanted["new_group_external_id"]
        asked: Tagged | None = wanted["new_group_management_type"]
        if asked and asked.tag == "system_managed":
            raise RefusalError(SYSTEM)
        if name is not None:
            self._check_name(name, group)
        if external_id:
            self._check_external_id(external_id, group)
        if name is not None and name != group.name:
            before = group.name
            team.groups.rename(group, name)
            self._log(by, "group_rename", group, previous_value=before, new_value=name)
        if external_id is not None and (external_id or None) != group.external_id:
            self._change_external_id(group, external_id or None, by)
        if asked and asked.tag != group.management:
            self._change_management(group, asked.tag, by)
        return group

    def _change_external_id(self, group: Group, external_id: str | None, by: Actor) -> None:
        before = group.external_id
        self._team.groups.set_external_id(group, external_id)
        if before is None:
            self._log(by, "group_add_external_id", group, new_value=external_id)
        elif external_id is None:
            self._log(by, "group_remove_external_id", group, previous_value=before)
        else:
            self._log(by, "group_change_external_id", group, new_value=external_id, previous_value=before)

    def _change_management(self, group: Group, management: Any, by: Actor) -> None:
        before = group.management
        self._team.groups.set_management(group, management)
        values = {"new_value": {".tag": management}, "previous_value": {".tag": before}}
        self._log(by, "group_change_management_type", group, **values)
        if management == "company_managed":  # which forbids owners
            for member_id, access in list(group.members.items()):
                if access == "owner":
                    self._team.groups.put(group, member_id, "member")
                    member = self._team.members[member_id]
                    self._log(by, "group_change_member_role", group, member, is_group_owner=False)

    def check_delete(self, selector: Tagged) -> Group:
        if selector.tag == "group_id" and selector.value in self._team.groups.deleted:
            raise RefusalError("group_already_deleted")
        return self.group(selector)

    def delete(self, group: Group, by: Actor) -> None:
        team = self._team
        team.groups.delete(group)
        for member_id in group.members:
            member = team.members[member_id]
            team.members.change(member, groups=member.groups - {group.id})
        self._log(by, "group_delete", group, is_company_managed=group.management == "company_managed")

    # --- who is in them ---------------------------------------------------------------------------------------

    def _people(self, selectors: list[Tagged]) -> list[Member]:
        """All of them or a refusal that lists those who are unknown or gone."""
        limit = self._team.switches.max_group_change
        if limit is not None and len(selectors) > limit:
            raise BadInputError(f"request body: members: list has more than {limit} items")
        unknown: list[str] = []
        gone: list[str] = []
        people: list[Member] = []
        for selector in selectors:
            member = self._team.find(selector)
            if member is None:
                unknown.append(selector.value)
            elif not member.present:
                (gone if self._team.recoverable(member) else unknown).append(selector.value)
            else:
                people.append(member)
        if unknown:
            raise RefusalError("users_not_found", unknown)
        if gone:
            raise RefusalError("members_not_in_team", gone)
        return people

    def add(self, wanted: dict[str, Any], by: Actor) -> Group:
        group = self.group(wanted["group"])
        entries = wanted["members"]
        people = self._people([entry["user"] for entry in entries])
        accesses = [entry["access_type"].tag for entry in entries]
        owners = [entry["user"].value for entry in entries if entry["access_type"].tag == "owner"]
        if owners and group.management == "company_managed":
            raise RefusalError("user_cannot_be_manager_of_company_managed_group", owners)
        for member, access in zip(people, accesses, strict=True):
            if access == "owner" and member.status != "active":
                raise RefusalError("user_must_be_active_to_be_owner")
        ids = [member.id for member in people]
        double = len(set(ids)) != len(ids) or any(member_id in group.members for member_id in ids)
        if double and self._team.switches.group_duplicates == "rejected":
            raise RefusalError("duplicate_user")
        for member, access in zip(people, accesses, strict=True):
            if member.id not in group.members:
                self._join(group, member, access, by)
        return group

    def _join(self, group: Group, member: Member, access: str, by: Actor) -> None:
        team = self._team
        team.groups.put(group, member.id, access)
        member = team.members.change(team.members[member.id], groups=member.groups | {group.id})
        team.effects.group_joins[f"{group.id} {member.id}"] += 1
        self._log(by, "group_add_member", group, member, is_group_owner=access == "owner")

    def remove(self, wanted: dict[str, Any], by: Actor) -> Group:
        team = self._team
        group = self.group(wanted["group"])
        people = {member.id: member for member in self._people(wanted["users"])}
        if any(member_id not in group.members for member_id in people):
            raise RefusalError("member_not_in_group")
        for member in people.values():
            team.groups.drop(group, member.id)
            left = team.members.change(member, groups=member.groups - {group.id})
            team.effects.group_leaves[f"{group.id} {member.id}"] += 1
            self._log(by, "group_remove_member", group, left)
        return group

    def set_access(self, wanted: dict[str, Any], by: Actor) -> Group:
        group = self.group(wanted["group"])
        member = self._team.find(wanted["user"])
        access = wanted["access_type"].tag
        if member is None or member.id not in group.members:
            raise RefusalError("member_not_in_group")
        if access == "owner" and group.management == "company_managed":
            raise RefusalError("user_cannot_be_manager_of_company_managed_group")
        if group.members[member.id] != access:
            self._team.groups.put(group, member.id, access)
            self._log(by, "group_change_member_role", group, member, is_group_owner=access == "owner")
        return group

    def _log(
        self, by: Actor, event: str, group: Group, member: Member | None = None, /, **details: Any
    ) -> None:
        self._team.log.write(by, "groups", event, details, about=member, group=group.reference())

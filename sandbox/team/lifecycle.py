"""What members go through, short of leaving: invited, joined, changed, suspended (section 3.2)."""

from typing import Any

from sandbox.team.log import Actor
from sandbox.team.members import TEAM_ADMIN, Member
from sandbox.team.refusal import RefusalError
from sandbox.team.roles import ROLES, tier
from sandbox.team.schema import Tagged
from sandbox.team.team import Team


def log_status(team: Team, by: Actor, member: Member, before: str, after: str, **details: Any) -> None:
    values = {"previous_value": {".tag": before}, "new_value": {".tag": after}}
    team.log.write(by, "members", "member_change_status", {**values, **details}, about=member)


class Lifecycle:
    def __init__(self, team: Team) -> None:
        self._team = team

    # --- coming in ---------------------------------------------------------------------------------------

    def add_obstacle(self, wanted: dict[str, Any]) -> str | None:
        """The per-item tag that members/add would answer, or None if the invitation can go out."""
        team = self._team
        email = wanted["member_email"].lower()
        external_id, persistent_id = wanted["member_external_id"], wanted["member_persistent_id"]
        if forced := team.forced_add_results.get(email):
            return forced
        if email in team.other_team_emails:
            return "user_on_another_team"
        if team.members.holder("email", email):
            return "user_already_on_team"
        if external_id and team.members.holder("external_id", external_id):
            return "duplicate_external_member_id"
        if persistent_id is not None:
            if not team.switches.persistent_ids:
                return "persistent_id_disabled"
            if team.members.holder("persistent_id", persistent_id):
                return "duplicate_member_persistent_id"
        if wanted["role"] is not None and wanted["role"] not in ROLES:
            return "user_creation_failed"  # the documents name no tag for an unknown role
        return "team_license_limit" if team.free_seats <= 0 else None

    def add(self, wanted: dict[str, Any], by: Actor) -> Member:
        team = self._team
        member = team.members.create(
            wanted["member_email"],
            "invited",
            given_name=wanted["member_given_name"] or "",
            surname=wanted["member_surname"] or "",
            external_id=wanted["member_external_id"] or None,
            persistent_id=wanted["member_persistent_id"],
            directory_restricted=wanted["is_directory_restricted"],
            role=wanted["role"],
            invited_on=team.clock.now(),
        )
        team.effects.invitations[member.email] += 1
        if member.email in team.personal_emails:
            team.effects.migration_mails[member.email] += 1
        if wanted["send_welcome_email"]:
            team.effects.welcome_mails[member.email] += 1
        log_status(team, by, member, "not_joined", "invited")
        if member.external_id:
            self._log(by, "member_add_external_id", member, new_value=member.external_id)
        if member.role:
            self._log_role(by, member, None)
        return member

    def accept(self, member: Member) -> Member:
        """The person follows the invitation."""
        if member.status != "invited":
            raise RefusalError("not_invited")
        team = self._team
        joined = team.members.change(
            member,
            status="active",
            email_verified=True,
            joined_on=team.clock.now(),
            invited_on=None,
        )
        team.personal_emails.discard(member.email)
        lists: dict[str, Any] = {"linked_apps": [], "linked_devices": [], "linked_shared_folders": []}
        log_status(
            team,
            Actor("user", joined),
            joined,
            "invited",
            "active",
            action={".tag": "team_join_details", **lists},
        )
        return joined

    def send_welcome(self, selector: Tagged) -> None:
        member = self.someone(selector)
        if member.status == "invited":
            self._team.effects.welcome_mails[member.email] += 1

    # --- who is meant -------------------------------------------------------------------------------------

    def someone(self, selector: Tagged, *, removed: str = "user_not_in_team") -> Member:
        """A present member; a removed one is refused with the given tag, or as unknown if beyond recovery."""
        member = self._team.find(selector)
        if member is None:
            raise RefusalError("user_not_found")
        if not member.present:
            raise RefusalError(removed if self._team.recoverable(member) else "user_not_found")
        return member

    # --- changes ------------------------------------------------------------------------------------------

    def set_profile(self, wanted: dict[str, Any], by: Actor) -> Member:
        selector: Tagged = wanted["user"]
        email, external_id = wanted["new_email"], wanted["new_external_id"]
        given_name, surname = wanted["new_given_name"], wanted["new_surname"]
        if selector.tag == "external_id" and external_id is not None:
            raise RefusalError("external_id_and_new_external_id_unsafe")
        team = self._team
        member = team.find(selector)
        if member is None:
            raise RefusalError("user_not_found")
        if not member.present:
            raise RefusalError("set_profile_disallowed" if team.recoverable(member) else "user_not_in_team")
        if email is None and external_id is None and given_name is None and surname is None:
            raise RefusalError("no_new_data_specified")  # the four that its text names, and no other
        fields: dict[str, Any] = {}
        if email is not None:
            fields["email"] = self._free_email(member, email.lower())
        if external_id is not None:
            holder = team.members.holder("external_id", external_id) if external_id else None
            if holder is not None and holder.id != member.id:
                raise RefusalError("external_id_used_by_other_user")
            fields["external_id"] = external_id or None
        if given_name is not None:
            fields["given_name"] = given_name
        if surname is not None:
            fields["surname"] = surname
        fields.update(self._special_fields(member, wanted))
        return self._change_profile(member, fields, by)

    def _free_email(self, member: Member, email: str) -> str:
        team = self._team
        if email == member.email:
            return email
        if member.status == "invited" and team.switches.invited_email_change != "allowed":
            raise RefusalError("set_profile_disallowed")
        if (
            team.members.holder("email", email)
            or email in team.other_team_emails
            or email in team.personal_emails
        ):
            raise RefusalError("email_reserved_for_other_user")
        return email

    def _special_fields(self, member: Member, wanted: dict[str, Any]) -> dict[str, Any]:
        team = self._team
        fields: dict[str, Any] = {}
        persistent_id, restricted = wanted["new_persistent_id"], wanted["new_is_directory_restricted"]
        if persistent_id is not None:
            if not team.switches.persistent_ids:
                raise RefusalError("persistent_id_disabled")
            holder = team.members.holder("persistent_id", persistent_id)
            if holder is not None and holder.id != member.id:
                raise RefusalError("persistent_id_used_by_other_user")
            fields["persistent_id"] = persistent_id
        if restricted is not None:
            if not team.switches.directory_restriction:
                raise RefusalError("directory_restricted_off")
            fields["directory_restricted"] = restricted
        return fields

    def _change_profile(self, member: Member, fields: dict[str, Any], by: Actor) -> Member:
        fields = {name: value for name, value in fields.items() if getattr(member, name) != value}
        if not fields:
            return member
        team = self._team
        changed = team.members.change(member, **fields)
        team.effects.profile_changes[member.id] += 1
        if "email" in fields:
            if member.status != "invited":
                team.effects.email_notices[member.email] += 1
            self._log(
                by, "member_change_email", changed, new_value=changed.email, previous_value=member.email
            )
        if "given_name" in fields or "surname" in fields:
            self._log(
                by, "member_change_name", changed, new_value=_name(changed), previous_value=_name(member)
            )
        if "external_id" in fields:
            old, new = member.external_id, changed.external_id
            if old is None:
                self._log(by, "member_add_external_id", changed, new_value=new)
            elif new is None:
                self._log(by, "member_remove_external_id", changed, previous_value=old)
            else:
                self._log(by, "member_change_external_id", changed, new_value=new, previous_value=old)
        return changed

    def set_role(self, selector: Tagged, role: str | None, by: Actor) -> Member:
        team = self._team
        member = self.someone(selector)
        if role is not None and role not in ROLES:
            raise RefusalError("role_not_found")
        if member.status == "suspended":
            raise RefusalError("cannot_set_permissions")
        if role != TEAM_ADMIN and self.is_last_admin(member):
            raise RefusalError("last_admin")
        if role == member.role:
            return member
        changed = team.members.change(member, role=role)
        self._log_role(by, changed, member.role)
        return changed

    def is_last_admin(self, member: Member) -> bool:
        return self._team.members.active_admins == {member.id}

    # --- suspension ---------------------------------------------------------------------------------------

    def suspend(self, selector: Tagged, by: Actor, *, wipe: bool) -> Member:
        switches = self._team.switches
        inactive = "suspend_inactive_user"
        removed = inactive if switches.suspend_removed == "inactive" else "user_not_in_team"
        member = self.someone(selector, removed=removed)
        if member.status == "invited":
            raise RefusalError(switches.suspend_invited)
        if member.status == "suspended":
            raise RefusalError(inactive)
        if self.is_last_admin(member):
            raise RefusalError("suspend_last_admin")
        return self.do_suspend(member, by, wipe=wipe)

    def do_suspend(self, member: Member, by: Actor, *, wipe: bool) -> Member:
        team = self._team
        changed = team.members.change(member, status="suspended", suspended_on=team.clock.now())
        team.effects.suspensions[member.id] += 1
        if wipe:
            team.effects.wipes[member.id] += 1
        log_status(team, by, changed, "active", "suspended")
        return changed

    def unsuspend(self, selector: Tagged, by: Actor) -> Member:
        team = self._team
        tag = "unsuspend_non_suspended_member"
        removed = tag if team.switches.suspend_removed == "inactive" else "user_not_in_team"
        member = self.someone(selector, removed=removed)
        if member.status != "suspended":
            raise RefusalError(tag)
        # Suspended members hold their seats already; it can only fail in a team that has fewer than it uses.
        if team.free_seats < 0:
            raise RefusalError("team_license_limit")
        changed = team.members.change(member, status="active", suspended_on=None)
        team.effects.unsuspensions[member.id] += 1
        log_status(team, by, changed, "suspended", "active")
        return changed

    # --- the log -------------------------------------------------------------------------------------------

    def _log(self, by: Actor, event: str, member: Member, **details: Any) -> None:
        self._team.log.write(by, "members", event, details, about=member)

    def _log_role(self, by: Actor, member: Member, before: str | None) -> None:
        values = {"new_value": tier(member.role), "previous_value": tier(before)}
        self._log(by, "member_change_admin_role", member, **values)


def _name(member: Member) -> dict[str, str]:
    return {"given_name": member.given_name, "surname": member.surname}

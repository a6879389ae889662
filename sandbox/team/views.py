"""How members and groups look in replies; nullable fields that are empty are left out."""

from typing import Any

from sandbox.team.clock import stamp
from sandbox.team.groups import Group
from sandbox.team.members import Member
from sandbox.team.roles import ROLES, tier
from sandbox.team.team import Team


class Views:
    def __init__(self, team: Team) -> None:
        self._team = team

    # --- members ---------------------------------------------------------------------------------------------

    def status(self, member: Member) -> dict[str, Any]:
        if member.status != "removed":
            return {".tag": member.status}
        return {
            ".tag": "removed",
            "is_recoverable": self._team.recoverable(member),
            "is_disconnected": member.disconnected,
        }

    def profile(self, member: Member) -> dict[str, Any]:
        """MemberProfile: what group listings show."""
        switches = self._team.switches
        given, surname = member.given_name, member.surname
        email = member.email
        if member.status == "removed" and switches.removed_email_rewritten:
            email = f"{member.seq}-disabled-{email}"
        body: dict[str, Any] = {
            "team_member_id": member.id,
            "email": email,
            "email_verified": member.email_verified,
            "secondary_emails": [],
            "status": self.status(member),
            "name": {
                "given_name": given,
                "surname": surname,
                "familiar_name": given,
                "display_name": f"{given} {surname}".strip(),
                "abbreviated_name": (given[:1] + surname[:1]).upper(),
            },
            "membership_type": {".tag": "full"},
        }
        if member.external_id is not None:
            body["external_id"] = member.external_id
        if member.joined_on is not None or switches.invited_have_account_id:
            body["account_id"] = member.account_id
        if member.persistent_id is not None:
            body["persistent_id"] = member.persistent_id
        if member.directory_restricted is not None:
            body["is_directory_restricted"] = member.directory_restricted
        if member.status == "invited" and member.invited_on is not None:
            body["invited_on"] = stamp(member.invited_on)
        if member.joined_on is not None:
            body["joined_on"] = stamp(member.joined_on)
        if member.status == "suspended" and member.suspended_on is not None:
            body["suspended_on"] = stamp(member.suspended_on)
        return body

    def full_profile(self, member: Member) -> dict[str, Any]:
        """TeamMemberProfile: what everything else shows."""
        groups = sorted(member.groups)
        team = self._team
        if team.switches.everyone_in_profile_groups and member.present and team.everyone_group_exists:
            groups.append(team.groups.everyone_id)
        return {
            **self.profile(member),
            "groups": groups,
            "member_folder_id": str(2 * member.seq + 20),
            "root_folder_id": str(2 * member.seq + 21),
        }

    def member(self, member: Member, version: int) -> dict[str, Any]:
        profile = self.full_profile(member)
        role = member.role if member.present else None
        if version == 1:
            return {"profile": profile, "role": tier(role)}
        return {"profile": profile, **self.roles(role)}

    def roles(self, role: str | None) -> dict[str, Any]:
        if role is None:
            return {} if self._team.switches.empty_roles_absent else {"roles": []}
        return {"roles": [ROLES[role]]}

    # --- groups ----------------------------------------------------------------------------------------------

    @staticmethod
    def group_summary(group: Group) -> dict[str, Any]:
        body: dict[str, Any] = {
            "group_name": group.name,
            "group_id": group.id,
            "member_count": len(group.members),
            "group_management_type": {".tag": group.management},
        }
        if group.external_id is not None:
            body["group_external_id"] = group.external_id
        return body

    def everyone_summary(self) -> dict[str, Any]:
        team = self._team
        return {
            "group_name": team.everyone_name,
            "group_id": team.groups.everyone_id,
            "member_count": team.members.present,
            "group_management_type": {".tag": "system_managed"},
        }

    def group_info(self, group: Group, *, with_members: bool) -> dict[str, Any]:
        body = {**self.group_summary(group), "created": int(group.created.timestamp() * 1000)}
        if with_members:
            body["members"] = [
                self.group_member(self._team.members[member_id], access)
                for member_id, access in group.members.items()
            ]
        return body

    def everyone_info(self) -> dict[str, Any]:
        return {**self.everyone_summary(), "created": 1447255518000}

    def group_member(self, member: Member, access: str) -> dict[str, Any]:
        return {"profile": self.profile(member), "access_type": {".tag": access}}

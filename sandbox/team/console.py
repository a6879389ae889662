"""A human admin at work in the admin console, and people who follow their invitations.

The console has its own ways: nothing here passes through the API, and the team log names an admin as the actor.
"""

from typing import Any

from sandbox.team.engine import Engine
from sandbox.team.log import Actor
from sandbox.team.members import Member
from sandbox.team.refusal import RefusalError
from sandbox.team.roles import TIERS
from sandbox.team.schema import Tagged


class Console:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._team = engine.team

    # --- people --------------------------------------------------------------------------------------------------

    def member(self, name: str) -> Member:
        """By e-mail address, or by member id; removed ones too."""
        tag = "team_member_id" if name.startswith("dbmid:") else "email"
        member = self._team.find(Tagged(tag, name.lower() if tag == "email" else name), removed_too=True)
        if member is None:
            raise RefusalError("user_not_found")
        return member

    def _selector(self, name: str) -> Tagged:
        return Tagged("team_member_id", self.member(name).id)

    def accept(self, email: str) -> Member:
        return self._engine.lifecycle.accept(self.member(email))

    def accept_all(self) -> int:
        invited = [member for member in self._team.members if member.status == "invited"]
        for member in invited:
            self._engine.lifecycle.accept(member)
        return len(invited)

    # --- members -------------------------------------------------------------------------------------------------

    def add(self, email: str, *, given_name: str = "", surname: str = "", welcome: bool = True) -> Member:
        wanted = {
            "member_email": email,
            "member_given_name": given_name,
            "member_surname": surname,
            "member_external_id": None,
            "member_persistent_id": None,
            "send_welcome_email": welcome,
            "is_directory_restricted": None,
            "role": None,
        }
        obstacle = self._engine.lifecycle.add_obstacle(wanted)
        if obstacle is not None:
            raise RefusalError(obstacle)
        return self._engine.lifecycle.add(wanted, self._team.admin())

    def suspend(self, email: str, *, wipe: bool = False) -> Member:
        return self._engine.lifecycle.suspend(self._selector(email), self._team.admin(), wipe=wipe)

    def unsuspend(self, email: str) -> Member:
        return self._engine.lifecycle.unsuspend(self._selector(email), self._team.admin())

    def remove(
        self, email: str, *, wipe: bool = False, keep_account: bool = False, permanently: bool = False
    ) -> Member:
        wanted = {
            "user": self._selector(email),
            "wipe_data": wipe,
            "keep_account": keep_account,
            "retain_team_shares": False,
            "permanently_delete_files": permanently,
            "transfer_dest_id": None,
            "transfer_admin_id": None,
        }
        member = self._engine.departure.check(wanted)
        self._engine.departure.remove(member.id, wanted, self._team.admin())
        return self._team.members[member.id]

    def recover(self, email: str) -> Member:
        return self._engine.departure.recover(self._selector(email), self._team.admin())

    def leave(self, email: str) -> Member:
        """The person goes by himself: gone to the other team that invited him."""
        member = self.member(email)
        wanted = {
            "wipe_data": False,
            "keep_account": False,
            "permanently_delete_files": False,
            "transfer_dest_id": None,
            "retain_team_shares": False,
        }
        self._engine.departure.remove(member.id, wanted, Actor("user", member))
        return self._team.members[member.id]

    def _profile(self, who: str, /, **changes: Any) -> Member:
        names = ("email", "external_id", "given_name", "surname", "persistent_id", "is_directory_restricted")
        wanted = {f"new_{name}": changes.get(name) for name in names}
        wanted["user"] = self._selector(who)
        return self._engine.lifecycle.set_profile(wanted, self._team.admin())

    def rename(self, email: str, given_name: str, surname: str) -> Member:
        return self._profile(email, given_name=given_name, surname=surname)

    def set_email(self, email: str, new_email: str) -> Member:
        return self._profile(email, email=new_email)

    def set_external_id(self, email: str, external_id: str | None) -> Member:
        """No page of the real console can do this; another connector can."""
        return self._profile(email, external_id=external_id or "")

    def set_role(self, email: str, role: str) -> Member:
        """Team_admin, user_management_admin, support_admin or member_only."""
        return self._engine.lifecycle.set_role(self._selector(email), TIERS[role], self._team.admin())

    def mark(
        self, email: str, *, legal_hold: bool | None = None, must_sign_tos: bool | None = None
    ) -> Member:
        wanted = {"legal_hold": legal_hold, "must_sign_tos": must_sign_tos}
        fields = {name: value for name, value in wanted.items() if value is not None}
        return self._team.members.change(self.member(email), **fields)

    # --- groups --------------------------------------------------------------------------------------------------

    def _group(self, name: str) -> Tagged:
        found = self._team.groups.get(name) or self._team.groups.named(name, fold=True)
        if found is None:
            raise RefusalError("group_not_found")
        return Tagged("group_id", found.id)

    def group_create(self, name: str, *, external_id: str | None = None, user_managed: bool = False) -> str:
        wanted = {
            "group_name": name,
            "group_external_id": external_id,
            "group_management_type": Tagged("user_managed" if user_managed else "company_managed"),
            "add_creator_as_owner": False,
        }
        return self._engine.membership.create(wanted, self._team.admin()).id

    def group_delete(self, name: str) -> None:
        group = self._engine.membership.check_delete(self._group(name))
        self._engine.membership.delete(group, self._team.admin())

    def group_rename(self, name: str, new_name: str) -> None:
        self._update(name, new_group_name=new_name)

    def group_set_external_id(self, name: str, external_id: str | None) -> None:
        self._update(name, new_group_external_id=external_id or "")

    def group_set_management(self, name: str, management: str) -> None:
        self._update(name, new_group_management_type=Tagged(management))

    def _update(self, name: str, **changes: Any) -> None:
        names = ("new_group_name", "new_group_external_id", "new_group_management_type")
        wanted = {key: changes.get(key) for key in names}
        self._engine.membership.update({**wanted, "group": self._group(name)}, self._team.admin())

    def group_add(self, name: str, email: str, *, owner: bool = False) -> None:
        access = Tagged("owner" if owner else "member")
        entry = {"user": self._selector(email), "access_type": access}
        self._engine.membership.add({"group": self._group(name), "members": [entry]}, self._team.admin())

    def group_remove(self, name: str, email: str) -> None:
        wanted = {"group": self._group(name), "users": [self._selector(email)]}
        self._engine.membership.remove(wanted, self._team.admin())

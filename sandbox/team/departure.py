"""Leaving the team and coming back: remove, recover, and the files of former members (section 3.5)."""

from datetime import timedelta
from typing import Any

from sandbox.team.lifecycle import Lifecycle, log_status
from sandbox.team.log import Actor
from sandbox.team.members import Member
from sandbox.team.refusal import RefusalError
from sandbox.team.schema import Tagged
from sandbox.team.team import Team


class Departure:
    def __init__(self, team: Team, lifecycle: Lifecycle) -> None:
        self._team = team
        self._lifecycle = lifecycle

    def check(self, wanted: dict[str, Any]) -> Member:
        """Everything that members/remove refuses; nothing is changed."""
        member = self._lifecycle.someone(wanted["user"])
        keep, wipe = wanted["keep_account"], wanted["wipe_data"]
        delete, transfer = wanted["permanently_delete_files"], wanted["transfer_dest_id"]
        refused: list[tuple[bool, str]] = [
            (keep and member.status == "invited", "cannot_keep_invited_user_account"),
            (keep and wipe, "cannot_keep_account_and_delete_data"),
            (keep and transfer is not None, "cannot_keep_account_and_transfer"),
            (keep and delete, "cannot_keep_account_and_permanently_delete"),
            (keep and member.legal_hold, "cannot_keep_account_under_legal_hold"),
            (keep and member.must_sign_tos, "cannot_keep_account_required_to_sign_tos"),
            (delete and transfer is not None, "cannot_permanently_delete_and_transfer"),
        ]
        if wanted["retain_team_shares"]:
            refused += [
                (not keep, "cannot_retain_shares_when_no_account_kept"),
                (wipe, "cannot_retain_shares_when_data_wiped"),
                (
                    not self._team.switches.external_sharing,
                    "cannot_retain_shares_when_team_external_sharing_off",
                ),
            ]
        refused += [
            (self._lifecycle.is_last_admin(member), "remove_last_admin"),
            (
                len(member.email) > self._team.config.removable_email_length,
                "email_address_too_long_to_be_disabled",
            ),
        ]
        for condition, tag in refused:
            if condition:
                raise RefusalError(tag)
        if transfer is not None:
            if wanted["transfer_admin_id"] is None:
                raise RefusalError("unspecified_transfer_admin_id")
            self._check_transfer(member, transfer, wanted["transfer_admin_id"])
        return member

    def _check_transfer(self, member: Member, to: Tagged, through: Tagged) -> None:
        heir = self._party(to, "transfer_dest_user")
        admin = self._party(through, "transfer_admin_user")
        if heir.id == member.id:
            raise RefusalError("removed_and_transfer_dest_should_differ")
        if admin.id == member.id:
            raise RefusalError("removed_and_transfer_admin_should_differ")
        if admin.id not in self._team.members.active_admins:
            raise RefusalError("transfer_admin_is_not_admin")
        if not heir.email_verified:
            raise RefusalError("recipient_not_verified")

    def _party(self, selector: Tagged, tag: str) -> Member:
        found = self._team.find(selector)
        if found is None:
            raise RefusalError(f"{tag}_not_found")
        if not found.present:
            raise RefusalError(f"{tag}_not_in_team")
        return found

    def remove(self, member_id: str, wanted: dict[str, Any], by: Actor) -> None:
        team = self._team
        member = team.members[member_id]
        if not member.present:
            return  # a job that comes second
        accesses: list[tuple[str, str]] = []
        for group_id in sorted(member.groups):
            group = team.groups.get(group_id)
            if group is not None:
                accesses.append((group_id, group.members[member.id]))
                team.groups.drop(group, member.id)
        keep, transfer = wanted["keep_account"], wanted["transfer_dest_id"] is not None
        delete, invited = wanted["permanently_delete_files"], member.status == "invited"
        final = keep or transfer or delete or invited  # somebody who never joined cannot be restored
        now = team.clock.now()
        removed = team.members.change(
            member,
            status="removed",
            groups=frozenset(),
            removed_on=now,
            recoverable_until=None if final else now + timedelta(days=team.config.recover_days),
            disconnected=keep,
            status_before_removal=member.status,
            groups_before_removal=tuple(accesses),
            files="none" if invited or keep else "moved" if transfer else "deleted" if delete else "kept",
        )
        team.effects.removals[member.id] += 1
        if wanted["wipe_data"] and not invited:  # an invitation has no devices
            team.effects.wipes[member.id] += 1
        if keep:
            team.personal_emails.add(member.email)
        action = "leave" if by.kind == "user" else "delete"
        if keep:
            action = "offboard_and_retain_team_folders" if wanted["retain_team_shares"] else "offboard"
        remove_action = {".tag": "remove_action", "remove_action": {".tag": action}}
        log_status(team, by, removed, member.status, "removed", action=remove_action)
        if transfer:
            self._log_transfer(removed, by)
        if delete:
            team.effects.permanent_deletions[member.id] += 1
            team.log.write(by, "members", "member_permanently_delete_account_contents", {}, about=removed)

    def recover(self, selector: Tagged, by: Actor) -> Member:
        team = self._team
        member = team.find(selector, removed_too=True)
        if member is None:
            raise RefusalError("user_not_found")
        if member.present or not team.recoverable(member):
            raise RefusalError("user_unrecoverable")
        if team.free_seats <= 0:
            raise RefusalError("team_license_limit")
        groups = [
            (group, access)
            for group_id, access in member.groups_before_removal
            if (group := team.groups.get(group_id)) is not None
        ]
        back = team.members.change(
            member,
            status=member.status_before_removal or "active",
            groups=frozenset(group.id for group, _ in groups),
            removed_on=None,
            recoverable_until=None,
            status_before_removal=None,
            groups_before_removal=(),
        )
        for group, access in groups:
            team.groups.put(group, back.id, access)
        team.effects.recoveries[member.id] += 1
        log_status(team, by, back, "removed", back.status)
        return back

    # --- files of former members ----------------------------------------------------------------------------

    def check_move(self, wanted: dict[str, Any]) -> Member:
        team = self._team
        member = team.find(wanted["user"], removed_too=True)
        if member is None:
            raise RefusalError("user_not_found")
        if member.present:
            raise RefusalError("user_not_removed")
        if member.files == "moving":
            raise RefusalError("user_data_is_being_transferred")
        if member.files == "moved":
            raise RefusalError("user_data_already_transferred")
        kept_since = member.removed_on or team.clock.now()
        too_old = team.clock.now() > kept_since + timedelta(days=team.config.transfer_days)
        if member.files != "kept" or too_old:
            raise RefusalError("user_data_cannot_be_transferred")
        self._check_transfer(member, wanted["transfer_dest_id"], wanted["transfer_admin_id"])
        return member

    def begin_move(self, member: Member) -> None:
        # Whoever's files are on the way to another person cannot come back (section 2, members/remove).
        self._team.members.change(member, files="moving", recoverable_until=None)

    def finish_move(self, member_id: str, by: Actor) -> None:
        member = self._team.members[member_id]
        moved = self._team.members.change(member, files="moved", recoverable_until=None)
        self._log_transfer(moved, by)

    def _log_transfer(self, member: Member, by: Actor) -> None:
        self._team.effects.transfers[member.id] += 1
        self._team.log.write(by, "members", "member_transfer_account_contents", {}, about=member)

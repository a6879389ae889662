"""The state of one team and everything that its parts share."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from sandbox.team.clock import Clock
from sandbox.team.config import SeedMember, Switches, TeamConfig
from sandbox.team.effects import Effects, Timeline
from sandbox.team.groups import GroupRegister
from sandbox.team.identifiers import Identifiers
from sandbox.team.jobs import Jobs
from sandbox.team.log import Actor, TeamLog
from sandbox.team.members import TEAM_ADMIN, Member, MemberRegister
from sandbox.team.paging import Cursors
from sandbox.team.schema import Tagged

DROPBOX = Actor("system")


class Team:
    def __init__(self, config: TeamConfig) -> None:
        self.config = config
        self.switches = config.switches
        self.clock = Clock(config.clock)
        self.identifiers = Identifiers(config.seed)
        self.id = "dbtid:AA" + self.identifiers.secret(33)
        self.seats = config.seats
        self.members = MemberRegister(self.clock, self.identifiers)
        self.groups = GroupRegister(self.clock, self.identifiers)
        self.log = TeamLog(self.clock, self.identifiers, config.team_name, config.app_name)
        self.jobs = Jobs(self.clock, self.identifiers)
        self.cursors = Cursors(self.clock, self.identifiers, config.cursor_lifetime)
        self.effects = Effects()
        self.timeline = Timeline(config.timeline_length, config.timeline_bytes)
        self.other_team_emails = {email.lower() for email in config.other_team_emails}
        self.personal_emails = {email.lower() for email in config.personal_emails}
        self.forced_add_results: dict[str, str] = {}
        """By e-mail: the tag that members/add answers for it, whatever the state says."""
        self.authorising_admin_id: str | None = None
        self.switch()

    def seed(self) -> None:
        # They were always there: no listing may lag behind them.
        self.members.history.reach = self.groups.history.reach = timedelta()
        for seed in self.config.members:
            self._plant(seed)
        wanted = self.config.authorising_admin
        for member in self.members:
            if member.role == TEAM_ADMIN and (wanted is None or member.email == wanted.lower()):
                self.authorising_admin_id = member.id
                break
        by = self.admin()
        for group in self.config.groups:
            planted = self.groups.create(group.name, group.external_id, group.management)
            for email in group.members:
                member_or_none = self.members.holder("email", email.lower())
                if member_or_none is not None:
                    self.groups.put(planted, member_or_none.id, "member")
                    self.members.change(member_or_none, groups=member_or_none.groups | {planted.id})
            self.log.write(by, "groups", "group_create", {}, group=planted.reference())
        self.switch()

    def _plant(self, seed: SeedMember) -> Member:
        now = self.clock.now()
        joined = seed.status != "invited"
        return self.members.create(
            seed.email,
            seed.status,
            given_name=seed.given_name,
            surname=seed.surname,
            external_id=seed.external_id,
            persistent_id=seed.persistent_id,
            role=TEAM_ADMIN if seed.admin else None,
            email_verified=joined,
            invited_on=None if joined else now,
            joined_on=now if joined else None,
            suspended_on=now if seed.status == "suspended" else None,
        )

    def switch(self, **changes: Any) -> Switches:
        self.switches = replace(self.switches, **changes)
        self.log.latency = timedelta(seconds=self.switches.log_latency_seconds)
        lifetime = self.switches.job_lifetime_seconds
        self.jobs.lifetime = None if lifetime is None else timedelta(seconds=lifetime)
        reach = timedelta(
            seconds=max(self.switches.stale_lists_seconds, self.switches.stale_get_info_seconds)
        )
        self.members.history.reach = reach
        self.groups.history.reach = reach
        return self.switches

    # --- who -------------------------------------------------------------------------------------------

    @property
    def authorising_admin(self) -> Member | None:
        return self.members.get(self.authorising_admin_id) if self.authorising_admin_id else None

    def admin(self) -> Actor:
        """A human admin in the admin console."""
        admins = [self.members[member_id] for member_id in self.members.active_admins]
        return Actor("admin", min(admins, key=lambda member: member.seq, default=self.authorising_admin))

    def find(self, selector: Tagged, *, removed_too: bool = False) -> Member | None:
        """Whom a selector means; removed members answer to their id, to their names only if so switched."""
        member = self.members.find(
            selector,
            fold_email=self.switches.selectors_ignore_case,
            fold_external=self.switches.external_ids_ignore_case,
        )
        if member is None or member.present or selector.tag == "team_member_id":
            return member
        return member if removed_too or self.switches.removed_resolvable else None

    def recoverable(self, member: Member) -> bool:
        return member.recoverable(self.clock.now())

    # --- what can be seen --------------------------------------------------------------------------------

    def member_in_lists(self, member: Member) -> Member | None:
        return self._lagging(member, self.switches.stale_lists_seconds)

    def member_in_get_info(self, member: Member) -> Member | None:
        return self._lagging(member, self.switches.stale_get_info_seconds)

    def _lagging(self, member: Member, lag: float) -> Member | None:
        if not lag:
            return member
        return self.members.history.at(member.id, self.clock.now() - timedelta(seconds=lag), member)

    @property
    def free_seats(self) -> int:
        return self.seats - self.members.present

    @property
    def everyone_group_exists(self) -> bool:
        """The group of all members goes away in teams above a thousand (section 6.10)."""
        return self.members.present <= self.config.everyone_group_limit

    @property
    def everyone_name(self) -> str:
        return f"Everyone at {self.config.team_name}"

"""Groups of a team in memory, with the vendor's rules: unique names and ids, membership changes all or nothing.

It answers tags; what they mean is `classify`'s. Shared by the double and by the simulation's overlay.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from pipeline.model import Member, Outcome, Status, TeamGroup, Verdict
from stages.dropbox import routes
from stages.dropbox.classify import outcome_for


@dataclass(slots=True)
class GroupRegister:
    """`prefix` begins the ids of the groups that are created here."""

    prefix: str = "g:memory-"
    groups: dict[str, TeamGroup] = field(default_factory=dict)
    members: dict[str, set[str]] = field(default_factory=dict)
    last_number: int = 0

    def create(self, name: str, external_id: str, *, is_company_managed: bool = True) -> Outcome:
        tag = self._clash(name, external_id)
        if tag:
            return outcome_for(routes.GROUP_CREATE, tag)
        self.last_number += 1
        group = TeamGroup(
            group_id=f"{self.prefix}{self.last_number:06}",
            name=name,
            external_id=external_id,
            is_company_managed=is_company_managed,
            member_count=0,
        )
        self.groups[group.group_id] = group
        self.members[group.group_id] = set()
        return Outcome(verdict=Verdict.DONE, group=group)

    def rename(self, group_id: str, name: str, external_id: str) -> Outcome:
        if not name and not external_id:
            return Outcome(verdict=Verdict.ALREADY)
        group = self.groups.get(group_id)
        tag = _refusal(group) or self._clash(name or None, external_id, mine=group_id)
        if group is None or tag:
            return outcome_for(routes.GROUP_UPDATE, tag)
        changed = replace(group, name=name or group.name, external_id=external_id or group.external_id)
        self.groups[group_id] = changed
        return Outcome(verdict=Verdict.DONE, group=self.shown(group_id))

    def delete(self, group_id: str) -> Outcome:
        tag = _refusal(self.groups.get(group_id))
        if tag:
            return outcome_for(routes.GROUP_DELETE, tag)
        del self.groups[group_id]
        self.members.pop(group_id, None)
        return Outcome(verdict=Verdict.DONE)

    def add(
        self, group_id: str, member_ids: Sequence[str], everybody: Mapping[str, Member]
    ) -> Sequence[Outcome]:
        return self._change(routes.GROUP_ADD, group_id, member_ids, everybody)

    def remove(
        self, group_id: str, member_ids: Sequence[str], everybody: Mapping[str, Member]
    ) -> Sequence[Outcome]:
        return self._change(routes.GROUP_REMOVE, group_id, member_ids, everybody)

    def drop(self, member_id: str) -> None:
        """Who is removed from the team is in no group any more."""
        for present in self.members.values():
            present.discard(member_id)

    def shown(self, group_id: str) -> TeamGroup:
        group, present = self.groups[group_id], self.members.get(group_id)
        return group if present is None else replace(group, member_count=len(present))

    def _change(
        self, route: str, group_id: str, member_ids: Sequence[str], everybody: Mapping[str, Member]
    ) -> Sequence[Outcome]:
        tag = _refusal(self.groups.get(group_id))
        if tag:
            return [outcome_for(route, tag)] * len(member_ids)
        present = self.members.setdefault(group_id, set())
        outcomes = []
        for member_id in member_ids:
            member = everybody.get(member_id)
            if member is None or member.status is Status.REMOVED:
                outcomes.append(
                    outcome_for(route, "users_not_found" if member is None else "members_not_in_team")
                )
            elif route == routes.GROUP_ADD and member_id in present:
                outcomes.append(outcome_for(route, "duplicate_user"))
            elif route == routes.GROUP_REMOVE and member_id not in present:
                outcomes.append(outcome_for(route, "member_not_in_group"))
            else:
                (present.add if route == routes.GROUP_ADD else present.discard)(member_id)
                outcomes.append(Outcome(verdict=Verdict.DONE))
        group = self.shown(group_id)
        return [replace(one, group=group) if one.verdict is Verdict.DONE else one for one in outcomes]

    def _clash(self, name: str | None, external_id: str, *, mine: str = "") -> str:
        if name is not None and not name.strip():
            return "group_name_invalid"
        others = [group for group in self.groups.values() if group.group_id != mine]
        if name is not None and any(other.name.casefold() == name.casefold() for other in others):
            return "group_name_already_used"
        if external_id and any(other.external_id == external_id for other in others):
            return "external_id_already_in_use"
        return ""


def found_among(
    groups: Collection[TeamGroup], group_ids: Sequence[str], external_ids: Sequence[str]
) -> list[TeamGroup]:
    marks = set(external_ids) - {""}
    return [group for group in groups if group.group_id in group_ids or group.external_id in marks]


def _refusal(group: TeamGroup | None) -> str:
    if group is None:
        return "group_not_found"
    return "system_managed_group_disallowed" if group.is_system_managed else ""

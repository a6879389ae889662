"""What is wanted of the groups in Dropbox: behaviour.md §6, as one pure function over present state.

    directory groups (flattened) ─┐
    persons, and who is managed  ─┼─▶ decide_groups ─▶ links, writes and failures, group by group
    the team's groups and links  ─┘

Names are looked at for all groups together, since one frees what another takes; memberships group by group.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from pipeline.model import ActionKind, Status, TeamGroup

SHOWN = 5
"""How many persons a reason names."""


class Mode(StrEnum):
    OFF = "off"
    SAME = "same"
    SEPARATE = "separate"


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupPolicy:
    """The `[groups]` section. `own_id_prefix`: how our external ids begin."""

    mode: Mode = Mode.OFF
    adopt_existing: bool = False
    delete_on_leave: bool = False
    overwrite_foreign_ids: bool = False
    own_id_prefix: str = "ad-guid:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """A user of the directory, as far as groups look at them.

    `member_id` "" : not linked to anybody, so not managed. `is_listed`: in user scope. `is_leaving`: no longer listed,
    and no second read has confirmed it. `trouble`: why a person in user scope is not managed and won't be (skipped,
    unmanaged); "" for who is, or is still to be invited. `excluded`: never touched.
    """

    guid: str
    label: str
    member_id: str = ""
    status: Status | None = None
    is_listed: bool = True
    is_leaving: bool = False
    is_seen: bool = True
    is_disabled: bool = False
    trouble: str = ""
    excluded: str = ""

    @property
    def is_on_team(self) -> bool:
        return bool(self.member_id) and self.status in (Status.ACTIVE, Status.INVITED, Status.SUSPENDED)


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectoryGroup:
    """A group to sync. `users`: GUIDs of all users in it, through any nesting.

    `is_opaque`: something below it can't be read and may be a group, so that absence proves nothing. `external_id`
    "" where the configured format can't be filled.
    """

    guid: str
    name: str
    sid: str = ""
    external_id: str = ""
    users: frozenset[str] = frozenset()
    is_opaque: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What the journal knows of the Dropbox side.

    `links`: directory group → Dropbox group. `members`: of linked groups, the member ids. `holders`: member id → the
    person linked to it. `names` are those of the linked directory groups, for when they are gone.
    """

    team_groups: Mapping[str, TeamGroup] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    members: Mapping[str, frozenset[str]] = field(default_factory=dict)
    holders: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedGroup:
    """One write that a decision asks for. `guid`: the person's for a membership, else the group's.

    `name` and `external_id` are what is to be set; `wave`: those of a wave may be sent side by side, after those
    before.
    """

    kind: ActionKind
    guid: str
    reason: str
    name: str = ""
    external_id: str = ""
    member_id: str = ""
    email: str = ""
    cause: str = ""
    wave: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupDecision:
    """`adopt`: link to this Dropbox group, and how it was found. `unlink`: it left, and the Dropbox group stays.

    `failure`: why the group fails to sync, and `fault` the same as one word that failures are grouped by. `left_out`:
    persons of the directory group who are not put into the Dropbox group, and why.
    """

    guid: str
    name: str
    group_id: str = ""
    adopt: tuple[TeamGroup, str] | None = None
    unlink: bool = False
    wanted: tuple[WantedGroup, ...] = ()
    failure: str = ""
    fault: str = ""
    has_members: bool = True  # False: its memberships were not looked at
    left_out: tuple[tuple[str, str], ...] = ()


NAME_CLASH = "group name used twice"
OUTSIDE_SCOPE = "group with users outside user scope"
NO_EXTERNAL_ID = "group without external id"


def fold(name: str) -> str:
    """Names compare so: case and outer blanks make no difference."""
    return name.strip().casefold()


def holds_sid(external_id: str, sid: str) -> bool:
    """Whether an external id carries this SID, and not one that merely begins like it."""
    return bool(sid) and re.search(rf"(?<![\w-]){re.escape(sid)}(?![\w-])", external_id) is not None


def decide_groups(
    groups: Sequence[DirectoryGroup],
    gone: Sequence[str],
    persons: Mapping[str, Person],
    known: Known,
    policy: GroupPolicy,
    *,
    touched: frozenset[str] | None = None,
    standing: Mapping[str, str] | None = None,
) -> list[GroupDecision]:
    """`groups`: all that are to be synced, in any order. `gone`: linked directory groups that no longer are.

    `touched` names the groups whose memberships are looked at (None: all); names are looked at for all of them.
    `standing`: why the others fail for their users, as found last.
    """
    places = _match(groups, known, policy)
    failures = _outside_scope(
        [group for group in groups if touched is None or group.guid in touched], persons, policy
    )
    if touched is not None and policy.mode is Mode.SAME:
        failures |= {guid: text for guid, text in (standing or {}).items() if guid not in touched}
    names = _Names(groups, places, known, failures, policy, frozenset(gone))
    decisions = []
    for group in sorted(groups, key=lambda one: (fold(one.name), one.guid)):
        clash = names.clashes.get(group.guid, "")
        if clash:
            decisions.append(
                GroupDecision(
                    guid=group.guid,
                    name=group.name,
                    group_id=known.links.get(group.guid, ""),
                    failure=clash,
                    fault=NAME_CLASH,
                )
            )
            continue
        place = places.get(group.guid)
        failure = failures.get(group.guid, "")
        fault = OUTSIDE_SCOPE if failure else ""
        if not failure and not group.external_id:
            failure, fault = "external_id.format can't be filled for this group", NO_EXTERNAL_ID
        # A group that fails is not taken over by its name or by what another program wrote, only by our own mark.
        adopt = place if place and place[1] != "link" and (not failure or place[1] == "external_id") else None
        target = place[0] if place and (place[1] == "link" or adopt) else None
        wanted: list[WantedGroup] = []
        if not failure:
            wanted += _structure(group, target, names)
        left_out: tuple[tuple[str, str], ...] = ()
        has_members = touched is None or group.guid in touched
        if has_members:
            changes, left_out = _members(group, target, persons, known, is_failing=bool(failure))
            wanted += changes
        decisions.append(
            GroupDecision(
                guid=group.guid,
                name=group.name,
                group_id=target.group_id if target else "",
                adopt=adopt,
                wanted=tuple(wanted),
                failure=failure,
                fault=fault,
                has_members=has_members,
                left_out=left_out,
            )
        )
    return [*decisions, *(_gone(guid, known, policy) for guid in sorted(gone))]


# --- which Dropbox group belongs to which directory group ---------------------------------------------------


def _match(
    groups: Sequence[DirectoryGroup], known: Known, policy: GroupPolicy
) -> dict[str, tuple[TeamGroup, str]]:
    """Directory group → Dropbox group, and by what: link, external_id, legacy, name."""
    found: dict[str, tuple[TeamGroup, str]] = {}
    taken = set(known.links.values())
    free = {
        group_id: group
        for group_id, group in known.team_groups.items()
        if group_id not in taken and not group.is_system_managed
    }
    for group in groups:
        linked = known.team_groups.get(known.links.get(group.guid, ""))
        if linked is not None and not linked.is_system_managed:
            found[group.guid] = (linked, "link")
    open_groups = [group for group in groups if group.guid not in found]
    by_external = {team.external_id: team for team in free.values() if team.external_id}
    for group in open_groups:
        own = by_external.get(group.external_id) if group.external_id else None
        if own is not None and own.group_id in free:
            found[group.guid] = (free.pop(own.group_id), "external_id")
    for group in open_groups:
        if group.guid in found or not group.sid:
            continue
        old = next((one for one in free.values() if holds_sid(one.external_id, group.sid)), None)
        if old is not None:
            found[group.guid] = (free.pop(old.group_id), "legacy")
    if not policy.adopt_existing:
        return found
    counts = Counter(fold(group.name) for group in groups)
    for group in open_groups:
        if group.guid in found or counts[fold(group.name)] > 1:
            continue
        same = [one for one in known.team_groups.values() if fold(one.name) == fold(group.name)]
        if len(same) == 1 and same[0].group_id in free and _may_adopt(same[0], policy):
            found[group.guid] = (free.pop(same[0].group_id), "name")
    return found


def _may_adopt(group: TeamGroup, policy: GroupPolicy) -> bool:
    """An id of ours belongs to another directory group; one of another system is overwritten only when asked to."""
    if not group.is_company_managed or group.external_id.startswith(policy.own_id_prefix):
        return False
    return not group.external_id or policy.overwrite_foreign_ids


# --- rule 3: who fails a group ------------------------------------------------------------------------------


def _outside_scope(
    groups: Sequence[DirectoryGroup], persons: Mapping[str, Person], policy: GroupPolicy
) -> dict[str, str]:
    if policy.mode is not Mode.SAME:
        return {}
    failures = {}
    for group in groups:
        outside = sorted(
            f"{person.label} ({reason})"
            for guid in group.users
            if (person := persons.get(guid)) is not None and (reason := _why_outside(person))
        )
        if outside:
            more = f" and {len(outside) - SHOWN} more" if len(outside) > SHOWN else ""
            failures[group.guid] = f"users who are not synced: {', '.join(outside[:SHOWN])}{more}"
    return failures


def _why_outside(person: Person) -> str:
    if person.excluded:
        return f"excluded: {person.excluded}"
    if person.is_disabled or person.member_id:
        return ""
    return person.trouble


# --- rule 4 and renames: names ------------------------------------------------------------------------------


class _Names:
    """Who takes which name, what must be free before, and who can't have theirs."""

    def __init__(
        self,
        groups: Sequence[DirectoryGroup],
        places: Mapping[str, tuple[TeamGroup, str]],
        known: Known,
        failures: Mapping[str, str],
        policy: GroupPolicy,
        gone: frozenset[str],
    ) -> None:
        self.clashes: dict[str, str] = {}
        self._waves: dict[str, int] = {}
        self._groups = {group.guid: group for group in groups}
        self._places = places
        self._policy = policy
        self._held_by: dict[str, list[TeamGroup]] = {}
        for team in known.team_groups.values():
            self._held_by.setdefault(fold(team.name), []).append(team)
        owners = {place[0].group_id: guid for guid, place in places.items()}
        owners.update({known.links[guid]: guid for guid in gone if guid in known.links})
        self._owners = owners
        same: dict[str, list[str]] = {}
        for group in groups:
            same.setdefault(fold(group.name), []).append(group.guid)
        for guids in same.values():
            if len(guids) > 1:
                for guid in guids:
                    self.clashes[guid] = (
                        f"{len(guids)} groups of the directory are called {self._groups[guid].name!r}"
                    )
        # Who fails for another reason takes no name, and frees none.
        self._staying = frozenset(failures)
        for guid in self._groups:
            if guid not in self._staying:
                self._place(guid, ())

    def wave(self, guid: str) -> int:
        return self._waves.get(guid, 0)

    def _place(self, guid: str, path: tuple[str, ...]) -> bool:
        """Whether the group can have its name; finds its wave."""
        if guid in self.clashes:
            return False
        if guid in self._waves:
            return True
        group = self._groups[guid]
        own = self._places.get(guid)
        wave = 0
        for holder in self._held_by.get(fold(group.name), ()):
            if own is not None and holder.group_id == own[0].group_id:
                continue
            owner = self._owners.get(holder.group_id, "")
            if owner in path or owner == guid:
                self.clashes[guid] = (
                    f"the names are swapped in a circle with {self._groups[owner].name!r}: give one of them an interim name"
                )
                return False
            moves = (
                owner in self._groups
                and owner not in self._staying
                and fold(self._groups[owner].name) != fold(holder.name)
            )
            if not moves or not self._place(owner, (*path, guid)):
                self.clashes.setdefault(guid, self._why_taken(holder, owner))
                return False
            wave = max(wave, self._waves[owner] + 1)
        self._waves[guid] = wave
        return True

    def _why_taken(self, holder: TeamGroup, owner: str) -> str:
        if holder.is_system_managed:
            kind = "the team's own group"
        elif owner in self._groups:
            kind = f"the Dropbox group of {self._groups[owner].name!r}"
        elif not holder.is_company_managed:
            kind = "a Dropbox group that its members manage"
        else:
            kind = "a Dropbox group that is not ours"
        return f"{kind} is called {holder.name!r} already"


def _structure(group: DirectoryGroup, target: TeamGroup | None, names: _Names) -> list[WantedGroup]:
    """Create, rename, or nothing. The external id goes with either."""
    wave = names.wave(group.guid)
    name = group.name.strip()
    if target is None:
        return [
            WantedGroup(
                kind=ActionKind.GROUP_CREATE,
                guid=group.guid,
                name=name,
                external_id=group.external_id,
                reason="to be synced, not in Dropbox",
                wave=wave,
            )
        ]
    new_name = name if target.name != name else ""
    new_id = group.external_id if target.external_id != group.external_id else ""
    if not new_name and not new_id:
        return []
    parts = [f"name {target.name!r} -> {name!r}"] if new_name else []
    parts += ["external id"] if new_id else []
    return [
        WantedGroup(
            kind=ActionKind.GROUP_RENAME,
            guid=group.guid,
            name=new_name,
            external_id=new_id,
            reason=f"differs: {', '.join(parts)}",
            wave=wave,
        )
    ]


# --- rules 2, 3, 5, 6: members ------------------------------------------------------------------------------


def _members(
    group: DirectoryGroup,
    target: TeamGroup | None,
    persons: Mapping[str, Person],
    known: Known,
    *,
    is_failing: bool,
) -> tuple[list[WantedGroup], tuple[tuple[str, str], ...]]:
    present = known.members.get(target.group_id, frozenset()) if target else frozenset()
    wanted: list[WantedGroup] = []
    left_out: list[tuple[str, str]] = []
    for guid in sorted(group.users):
        person = persons.get(guid)
        if person is None:
            continue
        reason = _why_left_out(person)
        if reason:
            left_out.append((guid, reason))
        elif not is_failing and _may_be_added(person) and person.member_id not in present:
            wanted.append(_membership(ActionKind.GROUP_ADD, person, "in the directory group"))
    for member_id in sorted(present):
        person = persons.get(known.holders.get(member_id, ""))
        if person is None or group.is_opaque:
            continue  # not managed; or perhaps in what can't be read
        reason = _why_removed(person, group)
        if reason:
            change = _membership(ActionKind.GROUP_REMOVE, person, reason)
            wanted.append(replace(change, cause=f"left group {group.name}"))
    wanted.sort(key=lambda one: (one.kind is ActionKind.GROUP_ADD, one.email, one.guid))
    return wanted, tuple(left_out)


def _membership(kind: ActionKind, person: Person, reason: str) -> WantedGroup:
    return WantedGroup(
        kind=kind, guid=person.guid, member_id=person.member_id, email=person.label, reason=reason
    )


def _may_be_added(person: Person) -> bool:
    """Invited members can be added; who is suspended stays, but does not come in; who has no account yet comes later."""
    return person.is_listed and person.is_seen and person.status in (Status.ACTIVE, Status.INVITED)


def _why_left_out(person: Person) -> str:
    if person.excluded:
        return f"excluded: {person.excluded}"
    if not person.is_listed:
        return "not in user scope"
    if person.member_id or person.is_disabled:
        return ""
    return person.trouble


def _why_removed(person: Person, group: DirectoryGroup) -> str:
    """Why a managed member goes; "" for who stays. Leaving the user scope holds here only once it holds for the person."""
    if person.excluded or not person.is_seen or not person.is_on_team:
        return ""  # an account that is gone has left its groups by itself
    if not person.is_listed:
        return "" if person.is_leaving else "no longer in user scope"
    return "" if person.guid in group.users else "no longer in the directory group"


# --- on_leave -----------------------------------------------------------------------------------------------


def _gone(guid: str, known: Known, policy: GroupPolicy) -> GroupDecision:
    group_id = known.links.get(guid, "")
    team = known.team_groups.get(group_id)
    name = team.name if team else known.names.get(guid, guid)
    if not policy.delete_on_leave or team is None or team.is_system_managed:
        return GroupDecision(guid=guid, name=name, group_id=group_id, unlink=True)
    delete = WantedGroup(
        kind=ActionKind.GROUP_DELETE,
        guid=guid,
        name=team.name,
        reason="no longer a group to sync",
        cause="groups that are no longer synced",
    )
    return GroupDecision(guid=guid, name=name, group_id=group_id, wanted=(delete,))

"""What is wanted of the groups in Dropbox: behaviour.md §6, as one pure function over present state.

    directory groups (flattened) ─┐
    persons, and who is managed  ─┼─▶ decide_groups ─▶ links, writes and failures, group by group
    the team's groups and links  ─┘

Names are looked at for all groups together, since one frees what another takes; memberships group by group.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from pipeline.core.group_names import Names, fold, holds_sid, match_groups
from pipeline.core.group_pins import Pins
from pipeline.core.group_values import (
    DirectoryGroup,
    GroupDecision,
    GroupPolicy,
    Known,
    Mode,
    Person,
    WantedGroup,
)
from pipeline.model import ActionKind, Status, TeamGroup

__all__ = [
    "NAME_CLASH",
    "NO_EXTERNAL_ID",
    "OUTSIDE_SCOPE",
    "DirectoryGroup",
    "GroupDecision",
    "GroupPolicy",
    "Known",
    "Mode",
    "Person",
    "WantedGroup",
    "decide_groups",
    "holds_sid",
]

SHOWN = 5
"""How many persons a reason names."""

NAME_CLASH = "group name used twice"
OUTSIDE_SCOPE = "group with users outside user scope"
NO_EXTERNAL_ID = "group without external id"


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
    pins = Pins(groups, known.pins, touched)
    groups = [pins.renamed(group) for group in groups]
    places = match_groups(groups, known, policy)
    failures = _outside_scope(
        [group for group in groups if touched is None or group.guid in touched], persons, policy
    )
    if touched is not None and policy.mode is Mode.SAME:
        failures |= {guid: text for guid, text in (standing or {}).items() if guid not in touched}
    names = Names(groups, places, known, {**failures, **pins.undone}, policy, frozenset(gone))
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
        if group.guid in pins.undone:
            decisions.append(_undone(group, place, pins))
            continue
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
            changes, left_out = _members(group, target, persons, known, pins, is_failing=bool(failure))
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
                pinned=pins.holding(group.guid),
                unpin=pins.overtaken(group.guid),
            )
        )
    return [*decisions, *(_gone(guid, known, policy) for guid in sorted(gone))]


def _undone(group: DirectoryGroup, place: tuple[TeamGroup, str] | None, pins: Pins) -> GroupDecision:
    """Its creation was undone: it goes as any deleted group goes, and does not come back by itself."""
    linked = place[0] if place and place[1] == "link" else None
    wanted: tuple[WantedGroup, ...] = ()
    if linked is not None:
        reason = pins.undone[group.guid]
        kind = ActionKind.GROUP_DELETE
        wanted = (WantedGroup(kind=kind, guid=group.guid, name=linked.name, reason=reason, cause="undo"),)
    return GroupDecision(
        guid=group.guid,
        name=group.name,
        group_id=linked.group_id if linked else "",
        wanted=wanted,
        pinned=pins.holding(group.guid),
        unpin=pins.overtaken(group.guid),
    )


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


def _structure(group: DirectoryGroup, target: TeamGroup | None, names: Names) -> list[WantedGroup]:
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
            old_name=target.name if new_name else "",
            email="" if new_name else target.name,
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
    pins: Pins,
    *,
    is_failing: bool,
) -> tuple[list[WantedGroup], tuple[tuple[str, str], ...]]:
    present = known.members.get(target.group_id, frozenset()) if target else frozenset()
    wanted: list[WantedGroup] = []
    left_out: list[tuple[str, str]] = []
    for guid in sorted(group.users | pins.kept_in(group.guid)):
        person = persons.get(guid)
        if person is None:
            continue
        pin = pins.membership(group.guid, guid)
        if pin is not None:
            if (
                pin.kind is ActionKind.GROUP_ADD
                and _may_come_back(person)
                and person.member_id not in present
            ):
                wanted.append(_membership(ActionKind.GROUP_ADD, person, pin.reason))
            continue
        reason = _why_left_out(person)
        if reason:
            left_out.append((guid, reason))
        elif not is_failing and _may_be_added(person) and person.member_id not in present:
            wanted.append(_membership(ActionKind.GROUP_ADD, person, f"in the directory group {group.name}"))
    for member_id in sorted(present):
        person = persons.get(known.holders.get(member_id, ""))
        if person is None or group.is_opaque:
            continue  # not managed; or perhaps in what can't be read
        pin = pins.membership(group.guid, person.guid)
        if pin is not None and pin.kind is ActionKind.GROUP_ADD:
            continue
        # Somebody who is in what can't be read is put out by an undo all the same, for that is not concluded from absence.
        reason = pin.reason if pin is not None and _may_be_put_out(person) else _why_removed(person, group)
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


def _may_come_back(person: Person) -> bool:
    """By an undo, also who left the user scope: their suspension was undone with it."""
    return person.is_seen and not person.excluded and person.status in (Status.ACTIVE, Status.INVITED)


def _may_be_put_out(person: Person) -> bool:
    return person.is_seen and not person.excluded and person.is_on_team


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
    return "" if person.guid in group.users else f"no longer in the directory group {group.name}"


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

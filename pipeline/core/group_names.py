"""Which Dropbox group belongs to which directory group, and who can have which name. (behaviour.md §6.4, §6.5)"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence

from pipeline.core.group_values import DirectoryGroup, GroupPolicy, Known
from pipeline.model import TeamGroup


def fold(name: str) -> str:
    """Names compare so: case and outer blanks make no difference."""
    return name.strip().casefold()


def holds_sid(external_id: str, sid: str) -> bool:
    """Whether an external id carries this SID, and not one that merely begins like it."""
    return bool(sid) and re.search(rf"(?<![\w-]){re.escape(sid)}(?![\w-])", external_id) is not None


# --- which Dropbox group belongs to which directory group ---------------------------------------------------


def match_groups(
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


# --- rule 4 and renames: names ------------------------------------------------------------------------------


class Names:
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
                        f"{len(guids)} groups of the directory are called {self._groups[guid].name!r}: rename all but one"
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
        remedy = "rename one of the two"
        if holder.is_system_managed:
            kind, remedy = "the team's own group", "rename the directory's"
        elif owner in self._groups:
            kind = f"the Dropbox group of {self._groups[owner].name!r}"
        elif not holder.is_company_managed:
            kind = "a Dropbox group that its members manage"
        else:
            kind = "a Dropbox group that is not ours"
            if not self._policy.adopt_existing:
                remedy = f"{remedy}, or set groups.adopt_existing to take it over"
        return f"{kind} is called {holder.name!r} already: {remedy}"

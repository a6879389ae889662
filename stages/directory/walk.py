"""Walking down from groups: every member read whole, nested groups followed, cycles met once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from pipeline.errors import DirectoryError
from pipeline.model import Entry, Kind, Target
from pipeline.ports import Directory
from pipeline.progress import Phase, tell
from pipeline.records import Edge

_GROUPS_AT_ONCE = 50
"""So many groups' members are in memory as they came; what is kept of them is smaller."""

_ENTRIES_AT_ONCE = 10_000
"""So many objects are asked for in one go."""


@dataclass(slots=True)
class Walked:
    """What a walk saw. `unseen`: targets that the account can't read, by GUID, with what their link told."""

    entries: dict[str, Entry] = field(default_factory=dict)
    edges: list[Edge] = field(default_factory=list)
    unseen: dict[str, Target] = field(default_factory=dict)


async def walk(
    directory: Directory,
    targets: Iterable[Target],
    *,
    known: Callable[[str], bool],
    was_group: Callable[[str], bool],
) -> Walked:
    """Reads `targets` and everything below the groups among them that is not `known` already.

    Raises DirectoryError when a group that was once read can't be read any more: its members would all look
    like leavers (behaviour.md §5: an unprivileged read proves nothing).
    """
    walked = Walked()
    pending = {target.guid: target for target in targets}
    while pending:
        groups: list[Entry] = []
        expected = len(walked.entries) + len(pending)
        guids = list(pending)
        for start in range(0, len(guids), _ENTRIES_AT_ONCE):
            tell(Phase.DIRECTORY, len(walked.entries), expected)
            part = guids[start : start + _ENTRIES_AT_ONCE]
            entries = await directory.read_entries(part)
            for guid in part:
                entry, target = entries.get(guid), pending.pop(guid)
                if entry is None:
                    if was_group(guid):
                        raise DirectoryError(
                            "read the nested groups",
                            f"the group {target.dn or guid} can't be read any more, and no tombstone shows that it was deleted",
                            "give the service account the right to read it; nobody was touched",
                        )
                    walked.unseen[guid] = target
                    continue
                walked.entries[guid] = entry
                if entry.kind is Kind.GROUP:
                    groups.append(entry)
        for start in range(0, len(groups), _GROUPS_AT_ONCE):
            for guid, members in (
                await members_of(directory, groups[start : start + _GROUPS_AT_ONCE])
            ).items():
                for target, is_primary in members:
                    member = target.guid
                    walked.edges.append(Edge(guid, member, is_primary))
                    if member not in walked.entries and member not in walked.unseen and not known(member):
                        pending[member] = target
    return walked


async def members_of(directory: Directory, groups: Sequence[Entry]) -> dict[str, list[tuple[Target, bool]]]:
    """All direct members of each group; the flag says *by primary group*."""
    explicit = await directory.read_members_of([group.guid for group in groups])
    rids = {group.guid: rid for group in groups if (rid := rid_of(group)) is not None}
    primary = await directory.read_primary_members_of(list(rids.values()))
    return {
        group.guid: [
            *((target, False) for target in explicit[group.guid]),
            *((Target(guid=guid, dn=""), True) for guid in primary.get(rids.get(group.guid, -1), ())),
        ]
        for group in groups
    }


def rid_of(group: Entry) -> int | None:
    """The last part of the SID: what `primaryGroupID` of its primary members names."""
    tail = group.sid.rsplit("-", 1)[-1]
    return int(tail) if tail.isdigit() else None


def rids_of(entries: Iterable[Entry]) -> dict[int, str]:
    """Which group a `primaryGroupID` names."""
    groups = (entry for entry in entries if entry.kind is Kind.GROUP)
    return {rid: group.guid for group in groups if (rid := rid_of(group)) is not None}

"""Walking down from groups: every member read whole, nested groups followed, cycles met once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from pipeline.errors import DirectoryError
from pipeline.model import Entry, Kind, Target
from pipeline.ports import Directory
from pipeline.records import Edge


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
        entries = await directory.read_entries(list(pending))
        following: dict[str, Target] = {}
        for guid, target in pending.items():
            entry = entries.get(guid)
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
            if entry.kind is not Kind.GROUP:
                continue
            for member in await members_of(directory, entry):
                walked.edges.append(Edge(guid, member[0].guid, member[1]))
                following[member[0].guid] = member[0]
        pending = {
            guid: target
            for guid, target in following.items()
            if guid not in walked.entries and guid not in walked.unseen and not known(guid)
        }
    return walked


async def members_of(directory: Directory, group: Entry) -> list[tuple[Target, bool]]:
    """All direct members; the flag says *by primary group*."""
    explicit = [(target, False) for target in await directory.read_members(group.guid)]
    rid = rid_of(group)
    primary = await directory.read_primary_members(rid) if rid is not None else ()
    return [*explicit, *((Target(guid=guid, dn=""), True) for guid in primary)]


def rid_of(group: Entry) -> int | None:
    """The last part of the SID: what `primaryGroupID` of its primary members names."""
    tail = group.sid.rsplit("-", 1)[-1]
    return int(tail) if tail.isdigit() else None

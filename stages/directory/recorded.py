"""The directory as a journal last saw it: what `plan --recorded` decides from, where no domain can be asked."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass

import anyio

from pipeline.errors import DirectoryError, GroupNotFound
from pipeline.model import ChangePage, Checkpoint, Domain, Entry, Finding, Kind, Source, Target
from pipeline.records import Edge, Node

_NO_CHANGES = "recorded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """A mirror. `sees_tombstones`: what the account saw of deletions then; None where that was never found out."""

    domain_guid: str
    domain_name: str
    nodes: Mapping[str, Node]
    edges: Sequence[Edge]
    sees_tombstones: bool | None = None


class RecordedDirectory:
    """Implements pipeline.ports.Directory; nothing ever changes in it.

    Whoever could not be read stays unreadable, and only those are deleted of whom a tombstone was seen.
    """

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._members: defaultdict[str, list[Target]] = defaultdict(list)
        self._primary: defaultdict[int, list[str]] = defaultdict(list)
        self._parents: defaultdict[str, list[str]] = defaultdict(list)
        for edge in recording.edges:
            child, parent = recording.nodes.get(edge.child), recording.nodes.get(edge.parent)
            if edge.primary:
                rid = parent.entry.sid.rpartition("-")[2] if parent is not None else ""
                if rid.isdigit():
                    self._primary[int(rid)].append(edge.child)
                continue
            self._parents[edge.child].append(edge.parent)
            entry = child.entry if child is not None else None
            self._members[edge.parent].append(
                Target(guid=edge.child, dn=entry.dn if entry else "", sid=entry.sid if entry else "")
            )

    async def identify(self) -> Domain:
        name = self._recording.domain_name
        return Domain(
            guid=self._recording.domain_guid,
            dns_name=name,
            base_dn=",".join(f"DC={label}" for label in name.split(".")),
            sid="",
            server="the journal",
            ds_service="",
            invocation_id="",
        )

    async def find_group(self, reference: str) -> Entry:
        node = self._recording.nodes.get(reference)
        if node is None or not _is_readable(node) or node.entry.kind is not Kind.GROUP:
            raise GroupNotFound(
                f"find the group {reference!r}", "the journal holds no such group that could be read"
            )
        return node.entry

    async def start(self) -> Checkpoint:
        return Checkpoint(
            source=Source.DIRSYNC, server="the journal", ds_service="", invocation_id="", profile=_NO_CHANGES
        )

    async def changes(self, since: Checkpoint) -> AsyncGenerator[ChangePage]:
        yield ChangePage(deltas=(), checkpoint=since, more=False)

    async def read_entries(self, guids: Sequence[str]) -> Mapping[str, Entry]:
        nodes = self._recording.nodes
        return {
            guid: node.entry for guid in guids if (node := nodes.get(guid)) is not None and _is_readable(node)
        }

    async def read_members(self, group_guid: str) -> tuple[Target, ...]:
        return (await self.read_members_of([group_guid]))[group_guid]

    async def read_members_of(self, group_guids: Sequence[str]) -> Mapping[str, tuple[Target, ...]]:
        for guid in group_guids:
            node = self._recording.nodes.get(guid)
            if node is None or not _is_readable(node):
                raise DirectoryError(
                    "read the members of a group", f"the journal does not hold those of {guid}"
                )
        return {guid: tuple(self._members.get(guid, ())) for guid in group_guids}

    async def read_primary_members_of(self, rids: Sequence[int]) -> Mapping[int, tuple[str, ...]]:
        return {rid: tuple(self._primary.get(rid, ())) for rid in rids}

    async def read_primary_members(self, rid: int) -> tuple[str, ...]:
        return tuple(self._primary.get(rid, ()))

    async def read_parents(self, guid: str) -> tuple[str, ...]:
        return tuple(self._parents.get(guid, ()))

    async def read_tombstones(self, guids: Sequence[str]) -> frozenset[str]:
        nodes = self._recording.nodes
        return frozenset(guid for guid in guids if guid in nodes and not nodes[guid].live)

    async def sees_tombstones(self) -> bool | None:
        return self._recording.sees_tombstones

    async def wait_for_change(self, timeout_seconds: float) -> bool:
        await anyio.sleep(timeout_seconds)
        return False

    async def check(self, group_reference: str) -> Sequence[Finding]:
        return (
            Finding("directory", "reach", "warning", f"a recording; {group_reference!r} was not looked for"),
        )

    @property
    def source(self) -> Source | None:
        return Source.DIRSYNC

    async def close(self) -> None:
        return


def _is_readable(node: Node) -> bool:
    return node.live and node.seen

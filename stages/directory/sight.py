"""What one poll saw before anything is changed, and what becomes of members that can't be read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pipeline.core.nesting import Nesting
from pipeline.core.plan import Note, NoteKind
from pipeline.errors import DirectoryError
from pipeline.model import Delta, Domain, Entry, Kind, Target
from pipeline.records import Edge, Node
from stages.directory.entries import is_foreign
from stages.directory.walk import Walked


class Sight:
    """What one poll read, before anything is changed."""

    def __init__(self, domain: Domain) -> None:
        self.domain = domain
        self.relevant: list[Delta] = []
        self.dead: set[str] = set()
        self.entries: dict[str, Entry] = {}
        self.unseen: dict[str, Target] = {}
        self.added: list[Edge] = []
        self.removed: list[Edge] = []
        self.doubted: dict[str, list[str]] = {}  # group → members that seem to have lost their link to it
        self.claimed: dict[str, list[str]] = {}  # group → objects that say it holds them
        self.whole: set[str] = set()  # groups whose members were read
        self.old: dict[str, Node] = {}
        self.strays: set[str] = set()  # members never read, of whom a link was removed
        self._stubs: list[Entry] = []

    def take(self, walked: Walked) -> None:
        self.entries.update(walked.entries)
        self.added += walked.edges
        for guid, target in walked.unseen.items():
            self.unseen[guid] = target
            self._stubs.append(stub_of(target, self.domain))

    def all_entries(self) -> list[Entry]:
        return [*self.entries.values(), *self._stubs]

    def replace_members(self, nesting: Nesting, group: str, present: Iterable[tuple[Target, bool]]) -> None:
        self.whole.add(group)
        wanted = {Edge(group, target.guid, primary) for target, primary in present}
        before = {
            Edge(group, child, primary)
            for primary in (False, True)
            for child in nesting.scope.members(group, primary=primary)
        }
        self.added += sorted(wanted - before, key=lambda edge: (edge.child, edge.primary))
        self.removed += sorted(before - wanted, key=lambda edge: (edge.child, edge.primary))


def stub_of(target: Target, domain: Domain) -> Entry:
    """A member that can't be read: kept, so that the edge resolves when it becomes readable."""
    foreign = is_foreign(target.dn, domain.base_dn) or ",cn=foreignsecurityprincipals," in target.dn.lower()
    return Entry(guid=target.guid, kind=Kind.FOREIGN if foreign else Kind.OTHER, dn=target.dn, sid=target.sid)


def unreadable_note(stubs: Sequence[Entry]) -> tuple[Note, ...]:
    """Unreadable members may be groups: until they can be read, nobody is taken for a leaver by absence."""
    unreadable = [entry.dn or entry.guid for entry in stubs if entry.kind is Kind.OTHER]
    if not unreadable:
        return ()
    text = f"members of the sync group that the account can't read: {', '.join(sorted(unreadable)[:10])}; leavers that only a full read shows wait for it"
    return (Note(kind=NoteKind.MISSING_RIGHT, detail=text),)


def demand_protection(nesting: Nesting) -> None:
    """What can't be read below the exclusion group may be a group: whoever is in it would lose the protection unseen."""
    opaque = nesting.unreadable_protection()
    if opaque:
        raise DirectoryError(
            "read the exclusion group",
            f"{len(opaque)} of its members can't be read ({', '.join(opaque[:5])}); they may be groups",
            "give the service account the right to read them, or take them out of the exclusion group; nobody was touched",
        )


def no_persons(entries: Sequence[Entry]) -> list[str]:
    """Contacts, computers and strangers: never acted on, but reported."""
    return [entry.guid for entry in entries if entry.kind not in (Kind.USER, Kind.GROUP, Kind.OTHER)]


def was_deleted(delta: Delta) -> bool:
    """Now, as DirSync tells; or at some time, which is all that sequence numbers show."""
    return delta.restored or (not delta.tombstone and "lastknownparent" in delta.attributes)


def log_row(delta: Delta) -> dict[str, object]:
    detail: dict[str, object] = {"dn": delta.dn, "attributes": list(delta.attributes)}
    if delta.added:
        detail["added"] = [target.guid for target in delta.added]
    if delta.removed:
        detail["removed"] = [target.guid for target in delta.removed]
    cause = "deleted" if delta.tombstone else "restored" if delta.restored else "changed"
    return {"kind": "delta", "guid": delta.guid, "cause": cause, "detail": detail}

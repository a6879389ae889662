"""What is true of a domain, seen with the administrator's eyes and by other means than the connector's reader uses."""

from __future__ import annotations

import re
from dataclasses import dataclass

import ldap3

from bench.history_world import HistoryWorld

_EXTENDED_DN = ("1.2.840.113556.1.4.529", True, bytes.fromhex("3003020101"))
_GUID = re.compile(r"<GUID=([0-9a-fA-F-]{36})>")


@dataclass(frozen=True)
class Truth:
    """Who is reached from a group, and which direct edges the reached groups have, as the administrator sees it."""

    people: frozenset[str]
    groups: frozenset[str]
    edges: frozenset[tuple[str, str, bool]]


def read_truth(world: HistoryWorld, root: str) -> Truth:
    """One search over the unit; the closure is walked here."""
    found = world.search(
        world.admin.container(world.tag),
        "(|(objectClass=user)(objectClass=group)(objectClass=contact))",
        ldap3.SUBTREE,
        ["objectGUID", "objectClass", "member", "primaryGroupID", "objectSid"],
        controls=[_EXTENDED_DN],
    )
    kinds: dict[str, str] = {}
    members: dict[str, list[str]] = {}
    rids: dict[int, str] = {}
    primaries: dict[str, int] = {}
    for entry in found:
        guid = _guid_in(entry["dn"])
        raw = entry["raw_attributes"]
        classes = {value.decode() for value in raw["objectClass"]}
        kinds[guid] = next(kind for kind in ("computer", "user", "group", "contact") if kind in classes)
        if kinds[guid] == "group":
            members[guid] = [_guid_in(value.decode()) for value in raw.get("member") or ()]
            rids[int.from_bytes(raw["objectSid"][0][-4:], "little")] = guid
        if kinds[guid] == "user":
            primaries[guid] = int(raw["primaryGroupID"][0])
    by_primary: dict[str, list[str]] = {}
    for guid, rid in primaries.items():
        if rid in rids:
            by_primary.setdefault(rids[rid], []).append(guid)
    reached = {root}
    waiting = [root]
    edges = set()
    while waiting:
        group = waiting.pop()
        direct = [(child, False) for child in members.get(group, ())]
        direct += [(child, True) for child in by_primary.get(group, ())]
        for child, primary in direct:
            edges.add((group, child, primary))
            if child not in reached:
                reached.add(child)
                if kinds.get(child) == "group":
                    waiting.append(child)
    return Truth(
        people=frozenset(guid for guid in reached if kinds.get(guid) == "user"),
        groups=frozenset(guid for guid in reached if kinds.get(guid) == "group"),
        edges=frozenset(edges),
    )


def _guid_in(extended: str) -> str:
    found = _GUID.match(extended)
    if found is None:
        raise AssertionError(f"no GUID in {extended!r}")
    return found[1].lower()

"""The hands of an administrator, on Samba and on the double, and what is true of the domain, seen with his eyes.

`read_truth` uses other means than the connector's reader does: one search over everything, and a closure walked here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

import ldap3
from ldap3.utils.dn import escape_rdn

from pipeline.model import Kind
from sandbox.samba_admin import SHOW_DELETED, DomainAdministrator
from stages.directory.memory import MemoryDirectory
from stages.directory.memory_domain import DOMAIN_USERS_RID

_EXTENDED_DN = ("1.2.840.113556.1.4.529", True, bytes.fromhex("3003020101"))
_GUID = re.compile(r"<GUID=([0-9a-fA-F-]{36})>")
_FILETIME_START = 11_644_473_600  # seconds from 1601 to 1970
_NAMES = {"mail": "mail", "given_name": "givenName", "surname": "sn", "display_name": "displayName"}


@dataclass
class Landscape:
    """All objects, and the direct edges of all groups: explicit ones, and those by primary group."""

    kinds: dict[str, str] = field(default_factory=dict)
    members: dict[str, set[str]] = field(default_factory=dict)
    by_primary: dict[str, set[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Truth:
    """Who is reached from a group, and which direct edges the reached groups have."""

    people: frozenset[str]
    groups: frozenset[str]
    edges: frozenset[tuple[str, str, bool]]


class Hands(Protocol):
    """Objects are named by their objectGUID, units by their path; what creates answers the objectGUID."""

    keeps_links: bool  # of the deleted, as the Recycle Bin does

    def create_ou(self, path: str) -> None: ...
    def create(self, kind: str, name: str, account: str, unit: str, mail: str, *, enabled: bool) -> str: ...
    def create_again(self, who: str, account: str) -> str:
        """Somebody new with the old name in the old place; the old one is deleted first."""

    def add(self, group: str, member: str) -> None: ...
    def remove(self, group: str, members: Iterable[str]) -> None: ...
    def edit(self, who: str, attribute: str, value: str | None) -> None: ...
    def expire(self, who: str, at: datetime | None) -> None: ...
    def set_enabled(self, who: str, *, enabled: bool) -> None: ...
    def rename(self, who: str, name: str) -> None: ...
    def move(self, who: str, unit: str) -> None: ...
    def delete(self, who: str) -> None: ...
    def restore(self, who: str, name: str, unit: str) -> None: ...
    def set_primary(self, who: str, group: str) -> None:
        """ "" means Domain Users. The old one becomes an explicit membership, the new one ceases to be one."""

    def look(self) -> Landscape: ...


class SambaHands:
    keeps_links = False

    def __init__(self, admin: DomainAdministrator, tag: str) -> None:
        self._admin = admin
        self._tag = tag
        self._rids: dict[str, int] = {}

    def create_ou(self, path: str) -> None:
        parent, _, name = path.rpartition("/")
        self._admin.create_ou(name, ou=parent)

    def create(self, kind: str, name: str, account: str, unit: str, mail: str, *, enabled: bool) -> str:
        if kind == "user":
            return self._admin.create_user(
                name,
                account=account,
                given_name="Given",
                surname=f"Sur {account}",
                mail=mail,
                ou=unit,
                enabled=enabled,
            )
        if kind == "group":
            return self._admin.create_group(name, ou=unit)
        if kind == "contact":
            return self._admin.create_contact(name, mail=mail, ou=unit)
        return self._admin.create_computer(account, ou=unit)

    def create_again(self, who: str, account: str) -> str:
        dn = self._admin.dn(who)
        self._admin.delete(who)
        return self._admin.add(dn, ["user"], sAMAccountName=account, userAccountControl=544)

    def add(self, group: str, member: str) -> None:
        self._admin.add_members(group, member)

    def remove(self, group: str, members: Iterable[str]) -> None:
        self._admin.remove_members(group, *members)

    def edit(self, who: str, attribute: str, value: str | None) -> None:
        self._admin.modify(who, **{_NAMES[attribute]: value})

    def expire(self, who: str, at: datetime | None) -> None:
        steps = 0x7FFFFFFFFFFFFFFF if at is None else int(at.timestamp() + _FILETIME_START) * 10**7
        self._admin.modify(who, accountExpires=steps)

    def set_enabled(self, who: str, *, enabled: bool) -> None:
        (self._admin.enable if enabled else self._admin.disable)(who)

    def rename(self, who: str, name: str) -> None:
        self._admin.rename(who, name)

    def move(self, who: str, unit: str) -> None:
        self._admin.move(who, unit)

    def delete(self, who: str) -> None:
        self._admin.delete(who)

    def restore(self, who: str, name: str, unit: str) -> None:
        tombstone = self._read(who, "objectGUID", controls=[SHOW_DELETED])["dn"]
        place = f"CN={escape_rdn(name)},{self._admin.container(unit)}"
        self._admin.connect().modify(
            tombstone,
            {
                "isDeleted": [(ldap3.MODIFY_DELETE, [])],
                "distinguishedName": [(ldap3.MODIFY_REPLACE, [place])],
            },
            controls=[SHOW_DELETED],
        )

    def set_primary(self, who: str, group: str) -> None:
        wanted = group or self._admin.guid("Domain Users")
        if wanted not in self._rids:
            sid = self._read(wanted, "objectSid")["raw_attributes"]["objectSid"][0]
            self._rids[wanted] = int.from_bytes(sid[-4:], "little")
        if self._admin.dn(who) not in self._admin.members(wanted):
            self._admin.add_members(wanted, who)
        self._admin.modify(who, primaryGroupID=self._rids[wanted])

    def look(self) -> Landscape:
        found = self._search(
            self._admin.container(self._tag),
            "(|(objectClass=user)(objectClass=group)(objectClass=contact))",
            ldap3.SUBTREE,
            ["objectGUID", "objectClass", "member", "primaryGroupID", "objectSid"],
            controls=[_EXTENDED_DN],
        )
        land = Landscape()
        rids: dict[int, str] = {}
        for entry in found:
            guid, raw = _guid_in(entry["dn"]), entry["raw_attributes"]
            classes = {value.decode() for value in raw["objectClass"]}
            land.kinds[guid] = next(
                kind for kind in ("computer", "user", "group", "contact") if kind in classes
            )
            if land.kinds[guid] == "group":
                land.members[guid] = {_guid_in(value.decode()) for value in raw.get("member") or ()}
                rids[int.from_bytes(raw["objectSid"][0][-4:], "little")] = guid
        for entry in found:
            guid = _guid_in(entry["dn"])
            if land.kinds[guid] == "user":
                group = rids.get(int(entry["raw_attributes"]["primaryGroupID"][0]))
                if group:
                    land.by_primary.setdefault(group, set()).add(guid)
        return land

    def _read(self, guid: str, attribute: str, **options: Any) -> Any:
        return self._search(f"<GUID={guid}>", "(objectClass=*)", ldap3.BASE, [attribute], **options)[0]

    def _search(
        self, base: str, condition: str, scope: str, attributes: list[str], **options: Any
    ) -> list[Any]:
        answer = self._admin.connect().search(base, condition, scope, attributes=attributes, **options)
        return [entry for entry in answer[2] if entry["type"] == "searchResEntry"]


class MemoryHands:
    """On the double: the rules of Active Directory that Samba lacks, the Recycle Bin above all."""

    def __init__(self, domain: MemoryDirectory) -> None:
        self._domain = domain
        self.keeps_links = domain.recycle_bin

    def create_ou(self, path: str) -> None:
        pass

    def create(self, kind: str, name: str, account: str, unit: str, mail: str, *, enabled: bool) -> str:
        if kind == "user":
            return self._domain.create_user(
                name, account=account, surname=f"Sur {account}", mail=mail, ou=unit, enabled=enabled
            )
        if kind == "group":
            return self._domain.create_group(name, ou=unit)
        if kind == "contact":
            return self._domain.create_contact(name, mail=mail, ou=unit)
        return self._domain.create_computer(account, ou=unit)

    def create_again(self, who: str, account: str) -> str:
        name = self._domain.objects[who].name
        self._domain.delete(who)
        return self._domain.create_user(name, account=account)

    def add(self, group: str, member: str) -> None:
        self._domain.add_members(group, member)

    def remove(self, group: str, members: Iterable[str]) -> None:
        self._domain.remove_members(group, *members)

    def edit(self, who: str, attribute: str, value: str | None) -> None:
        self._domain.modify(who, **{attribute: value})

    def expire(self, who: str, at: datetime | None) -> None:
        self._domain.modify(who, expires=at)

    def set_enabled(self, who: str, *, enabled: bool) -> None:
        (self._domain.enable if enabled else self._domain.disable)(who)

    def rename(self, who: str, name: str) -> None:
        self._domain.rename(who, name)

    def move(self, who: str, unit: str) -> None:
        self._domain.move(who, unit)

    def delete(self, who: str) -> None:
        self._domain.delete(who)

    def restore(self, who: str, name: str, unit: str) -> None:
        self._domain.restore(who)
        self._domain.rename(who, name)
        self._domain.move(who, unit)

    def set_primary(self, who: str, group: str) -> None:
        self._domain.set_primary_group(who, group or self._domain.domain_users)

    def look(self) -> Landscape:
        alive = [found for found in self._domain.objects.values() if not found.deleted]
        land = Landscape({found.guid: str(found.kind) for found in alive})
        for group in alive:
            if group.kind is Kind.GROUP and group.rid != DOMAIN_USERS_RID:
                land.members[group.guid] = set(self._domain.living_members(group.guid))
                land.by_primary[group.guid] = {
                    each.guid for each in alive if each.kind is Kind.USER and each.primary_rid == group.rid
                }
        return land


def read_truth(land: Landscape, root: str) -> Truth:
    reached, waiting = {root}, [root]
    edges = set()
    while waiting:
        group = waiting.pop()
        direct = [(child, False) for child in land.members.get(group, ())]
        direct += [(child, True) for child in land.by_primary.get(group, ())]
        for child, primary in direct:
            edges.add((group, child, primary))
            if child not in reached:
                reached.add(child)
                if land.kinds.get(child) == "group":
                    waiting.append(child)
    return Truth(
        people=frozenset(guid for guid in reached if land.kinds.get(guid) == "user"),
        groups=frozenset(guid for guid in reached if land.kinds.get(guid) == "group"),
        edges=frozenset(edges),
    )


def _guid_in(extended: str) -> str:
    found = _GUID.match(extended)
    if found is None:
        raise AssertionError(f"no GUID in {extended!r}")
    return found[1].lower()

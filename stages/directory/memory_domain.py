"""An Active Directory domain in memory: objects, links, tombstones, and the order in which things happened.

It keeps the rules of the real thing that bite: a deleted member leaves no trace on the group; a reanimated object has
lost its mail, its names and its groups; what is moved out of sight leaves no tombstone.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from pipeline.model import Entry, Kind, Target

DOMAIN_USERS_RID = 513
_FIRST_RID = 1104
_NAMESPACE = uuid.UUID(
    "6ba7b811-9dad-11d1-80b4-00c04fd430c8"
)  # any will do; so that GUIDs repeat from run to run

_FIELDS = {
    "mail": "mail",
    "given_name": "givenname",
    "surname": "sn",
    "display_name": "displayname",
    "account": "samaccountname",
    "expires": "accountexpires",
}
_LOST_WITH_DEATH = ("mail", "given_name", "surname", "display_name")


@dataclass(slots=True)
class MemoryObject:
    """`members` keeps the order of joining. `was_deleted`: and restored. `hidden`: moved to where the account may not read."""

    guid: str
    kind: Kind
    name: str
    container: str
    rid: int | None
    account: str = ""
    mail: str = ""
    given_name: str = ""
    surname: str = ""
    display_name: str = ""
    enabled: bool = True
    expires: datetime | None = None
    primary_rid: int | None = None
    deleted: bool = False
    was_deleted: bool = False
    hidden: bool = False
    members: dict[str, None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Happening:
    """One write: which attributes of which object, and which links (True: came)."""

    guid: str
    attributes: tuple[str, ...]
    links: tuple[tuple[str, bool], ...] = ()
    restored: bool = False


class MemoryDomain:
    """Changes as an administrator makes them. Objects are named by their objectGUID; what creates answers it."""

    def __init__(self, dns_name: str = "example.test", *, recycle_bin: bool = False) -> None:
        """With `recycle_bin` a restored object gets back what it had, links included, without any event on the groups."""
        self.dns_name = dns_name
        self.base_dn = ",".join(f"DC={part}" for part in dns_name.split("."))
        self.domain_guid = str(uuid.uuid5(_NAMESPACE, dns_name))
        self.sid = "S-1-5-21-1004336348-1177238915-682003330"
        self.recycle_bin = recycle_bin
        self.objects: dict[str, MemoryObject] = {}
        self.history: list[Happening] = []
        self._parents: dict[str, dict[str, None]] = {}
        self._next_rid = _FIRST_RID
        self.domain_users = self._add(Kind.GROUP, "Domain Users", "", rid=DOMAIN_USERS_RID)

    # --- creating

    def create_user(
        self,
        name: str,
        *,
        account: str = "",
        given_name: str = "",
        surname: str = "",
        display_name: str = "",
        mail: str = "",
        ou: str = "",
        enabled: bool = True,
        expires: datetime | None = None,
    ) -> str:
        return self._add(
            Kind.USER,
            name,
            ou,
            account=account or name.replace(" ", ".").lower()[:20],
            given_name=given_name,
            surname=surname,
            display_name=display_name or name,
            mail=mail,
            enabled=enabled,
            expires=expires,
            primary_rid=DOMAIN_USERS_RID,
        )

    def create_group(self, name: str, *, ou: str = "", members: Iterable[str] = ()) -> str:
        guid = self._add(Kind.GROUP, name, ou, account=name)
        self.add_members(guid, *members)
        return guid

    def create_contact(self, name: str, *, mail: str = "", ou: str = "") -> str:
        return self._add(Kind.CONTACT, name, ou, display_name=name, mail=mail, has_sid=False)

    def create_computer(self, name: str, *, ou: str = "") -> str:
        return self._add(Kind.COMPUTER, name, ou, account=f"{name}$", primary_rid=515)

    # --- changing

    def modify(self, guid: str, **values: str | datetime | None) -> None:
        """mail, given_name, surname, display_name, account, expires; None clears."""
        found = self._living(guid)
        for name, value in values.items():
            if name not in _FIELDS:
                raise ValueError(f"no such field: {name}")
            setattr(found, name, value if value is not None or name == "expires" else "")
        self._happen(guid, *(_FIELDS[name] for name in values))

    def disable(self, guid: str) -> None:
        self._living(guid).enabled = False
        self._happen(guid, "useraccountcontrol")

    def enable(self, guid: str) -> None:
        self._living(guid).enabled = True
        self._happen(guid, "useraccountcontrol")

    def rename(self, guid: str, name: str) -> None:
        self._living(guid).name = name
        self._happen(guid, "name")

    def move(self, guid: str, ou: str) -> None:
        self._living(guid).container = self._container(ou)
        self._happen(guid, "name")

    def move_out_of_sight(self, guid: str) -> None:
        """To where the account may not read: no event, no tombstone, and it is still alive."""
        self._living(guid).hidden = True
        self._happen(guid, "name")

    def move_into_sight(self, guid: str) -> None:
        self._living(guid).hidden = False
        self._happen(guid, "name")

    def add_members(self, group: str, *members: str) -> None:
        self._link(group, members, comes=True)

    def remove_members(self, group: str, *members: str) -> None:
        self._link(group, members, comes=False)

    def add_member(self, group: str, member: str) -> None:
        self.add_members(group, member)

    def remove_member(self, group: str, member: str) -> None:
        self.remove_members(group, member)

    def set_primary_group(self, user: str, group: str) -> None:
        """As the directory does it: the old one becomes an explicit membership, the new one ceases to be one."""
        found, wanted = self._living(user), self._living(group)
        before = next(
            (
                each.guid
                for each in self.objects.values()
                if each.rid == found.primary_rid and not each.deleted
            ),
            "",
        )
        if before == group:
            return
        found.primary_rid = wanted.rid
        self._happen(user, "primarygroupid")
        if user in wanted.members:
            self.remove_members(group, user)
        if before:
            self.add_members(before, user)

    def delete(self, guid: str) -> str:
        found = self._living(guid)
        found.deleted = True
        if not self.recycle_bin:
            for parent in list(self._parents.get(guid, ())):
                self._unlink(parent, guid)
            for member in list(found.members):
                self._unlink(guid, member)
            for name in _LOST_WITH_DEATH:
                setattr(found, name, "")
        self._happen(guid, "isdeleted", "name", "lastknownparent")
        return guid

    def delete_unit(self, ou: str) -> None:
        """Everything below at once, as a tree delete does."""
        container = self._container(ou)
        for guid, found in list(self.objects.items()):
            if not found.deleted and self.dn(guid).endswith(f",{container}"):
                self.delete(guid)

    def restore(self, guid: str, **values: str | datetime | None) -> str:
        found = self.objects[guid]
        if not found.deleted:
            raise ValueError(f"{guid} is not deleted")
        found.deleted = False
        found.was_deleted = True
        self.history.append(Happening(guid, ("isdeleted", "name"), restored=True))
        self._changed()
        if values:
            self.modify(guid, **values)
        return guid

    def expunge(self, guid: str) -> None:
        """Gone without a tombstone, as by a move to another domain."""
        self.delete(guid)
        del self.objects[guid]
        self._changed()

    # --- looking

    def dn(self, guid: str) -> str:
        found = self.objects[guid]
        if found.deleted:
            return f"CN={found.name}\\0ADEL:{guid},CN=Deleted Objects,{self.base_dn}"
        name = found.name.replace(",", "\\,")
        return f"CN={name},{found.container}"

    def sid_of(self, found: MemoryObject) -> str:
        return "" if found.rid is None else f"{self.sid}-{found.rid}"

    def entry(self, guid: str) -> Entry:
        found = self.objects[guid]
        return Entry(
            guid=guid,
            kind=found.kind,
            dn=self.dn(guid),
            name=found.name,
            sid=self.sid_of(found),
            sam_account_name=found.account,
            email=found.mail,
            given_name=found.given_name,
            surname=found.surname,
            display_name=found.display_name,
            disabled=not found.enabled,
            account_expires=found.expires,
            primary_group_rid=found.primary_rid,
        )

    def target(self, guid: str) -> Target:
        return Target(guid=guid, dn=self.dn(guid), sid=self.sid_of(self.objects[guid]))

    def living_members(self, group: str) -> list[str]:
        return [guid for guid in self.objects[group].members if self._is_alive(guid)]

    def living_parents(self, guid: str) -> list[str]:
        return [parent for parent in self._parents.get(guid, ()) if self._is_alive(parent)]

    # --- within

    def _changed(self) -> None:
        """Hook: something happened."""

    def _add(
        self,
        kind: Kind,
        name: str,
        ou: str,
        *,
        rid: int | None = None,
        has_sid: bool = True,
        account: str = "",
        given_name: str = "",
        surname: str = "",
        display_name: str = "",
        mail: str = "",
        enabled: bool = True,
        expires: datetime | None = None,
        primary_rid: int | None = None,
    ) -> str:
        if rid is None and has_sid:
            rid, self._next_rid = self._next_rid, self._next_rid + 1
        guid = str(uuid.uuid5(_NAMESPACE, f"{self.dns_name}/{len(self.objects)}/{len(self.history)}"))
        self.objects[guid] = MemoryObject(
            guid=guid,
            kind=kind,
            name=name,
            container=self._container(ou),
            rid=rid,
            account=account or name,
            mail=mail,
            given_name=given_name,
            surname=surname,
            display_name=display_name,
            enabled=enabled,
            expires=expires,
            primary_rid=primary_rid,
        )
        attributes = ["objectclass", "name", "samaccountname", "objectsid"]
        if kind is not Kind.GROUP:
            attributes += ["mail", "givenname", "sn", "displayname", "useraccountcontrol", "primarygroupid"]
        self._happen(guid, *attributes)
        return guid

    def _link(self, group: str, members: Iterable[str], *, comes: bool) -> None:
        found = self._living(group)
        links = []
        for member in dict.fromkeys(members):
            self._living(member)
            if (member in found.members) is comes:
                raise ValueError(f"{member} is {'already' if comes else 'not'} a member of {group}")
            if comes:
                found.members[member] = None
                self._parents.setdefault(member, {})[group] = None
            else:
                self._unlink(group, member)
            links.append((member, comes))
        if links:
            self.history.append(Happening(group, ("member",), tuple(links)))
            self._changed()

    def _unlink(self, group: str, member: str) -> None:
        self.objects[group].members.pop(member, None)
        self._parents.get(member, {}).pop(group, None)

    def _happen(self, guid: str, *attributes: str) -> None:
        self.history.append(Happening(guid, attributes))
        self._changed()

    def _living(self, guid: str) -> MemoryObject:
        found = self.objects[guid]
        if found.deleted:
            raise ValueError(f"{guid} is deleted")
        return found

    def _is_alive(self, guid: str) -> bool:
        found = self.objects.get(guid)
        return found is not None and not found.deleted

    def _container(self, ou: str) -> str:
        """The DN of `Sales` or `Sales/Europe`; nothing means `CN=Users`."""
        if not ou:
            return f"CN=Users,{self.base_dn}"
        return ",".join([*(f"OU={part}" for part in reversed(ou.split("/"))), self.base_dn])

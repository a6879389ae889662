"""Who acts in the soak: an administrator of the directory who never rests, and the comparison of both sides at the end."""

from __future__ import annotations

import random
import threading
import uuid
from collections import Counter
from typing import Any

from ldap3.core.exceptions import LDAPException

from sandbox.samba_admin import DomainAdministrator
from sandbox.team import TeamSimulator

SYNC_GROUP = "Dropbox"
GROUPS, PEOPLE, FEWEST, MOST = 6, 150, 120, 180
_IN_CHAIN, _DISABLED = "1.2.840.113556.1.4.1941", 2


class Churn:
    """Random work on the directory, one change a step. Every step looks at what is there: an outage may have eaten the last one."""

    def __init__(self, administrator: DomainAdministrator, seed: int) -> None:
        self._admin = administrator
        self._random = random.Random(seed)
        self._hired = 0
        self._addresses = 0
        self.people: list[str] = []  # GUIDs of those who live
        self.deleted: set[str] = set()
        self.groups: list[str] = []
        self.counts: Counter[str] = Counter()

    def populate(self) -> None:
        self._admin.create_ou("Staff")
        self._admin.create_group(SYNC_GROUP)
        for number in range(GROUPS):
            group = self._admin.create_group(f"Soak {number}")
            self.groups.append(group)
            # The last one lies below the first: nesting of two levels.
            self._admin.add_members(self.groups[0] if number == GROUPS - 1 else SYNC_GROUP, group)
        for _ in range(PEOPLE):
            self._hire()

    def work(self, stop: threading.Event, a_second: float) -> None:
        """Until it is told to stop; while the domain controller is down it only tries again."""
        while not stop.wait(self._random.expovariate(a_second)):
            try:
                name = self._step()
            except (LDAPException, OSError) as error:
                self.counts[f"not done ({type(error).__name__})"] += 1
                stop.wait(0.5)
            else:
                self.counts[name] += 1

    def _step(self) -> str:
        steps = {
            "hire": self._hire if len(self.people) < MOST else self._delete,
            "delete": self._delete if len(self.people) > FEWEST else self._hire,
            "leave": self._leave,
            "join": self._join,
            "rename": lambda: self._admin.modify(self._somebody(), givenName=self._word(), sn=self._word()),
            "mail": lambda: self._admin.modify(self._somebody(), mail=self._address()),
            "disable": lambda: self._admin.disable(self._somebody()),
            "enable": lambda: self._admin.enable(self._somebody()),
            "move": lambda: self._admin.move(self._somebody(), self._random.choice(("", "Staff"))),
            "touch": lambda: self._admin.modify(self._somebody(), description=self._word()),
            "rename group": lambda: self._admin.rename(
                self._random.choice(self.groups), f"Soak {self._word()}"
            ),
            "regroup": self._regroup,
        }
        weights = (8, 5, 10, 14, 15, 10, 6, 10, 4, 10, 1, 1)
        name = self._random.choices(list(steps), weights)[0]
        steps[name]()
        return name

    def _hire(self) -> None:
        self._hired += 1
        name = f"soak{self._hired:06d}"
        guid = self._admin.create_user(
            name, given_name=self._word(), surname=self._word(), mail=self._address()
        )
        self.people.append(guid)
        self._admin.add_members(self._random.choice(self.groups), guid)

    def _delete(self) -> None:
        guid = self._somebody()
        self._admin.delete(guid)
        self.people.remove(guid)
        self.deleted.add(guid)

    def _leave(self) -> None:
        group = self._random.choice(self.groups)
        members = [dn for dn in self._admin.members(group) if "CN=soak" in dn]
        if members:
            self._admin.remove_members(group, self._random.choice(members))

    def _join(self) -> None:
        group, guid = self._random.choice(self.groups), self._somebody()
        if self._admin.dn(guid) not in self._admin.members(group):
            self._admin.add_members(group, guid)

    def _regroup(self) -> None:
        """A whole group out of scope, or in again."""
        group = self._random.choice(self.groups[1:-1])
        if self._admin.dn(group) in self._admin.members(SYNC_GROUP):
            self._admin.remove_members(SYNC_GROUP, group)
        else:
            self._admin.add_members(SYNC_GROUP, group)

    def _somebody(self) -> str:
        return self._random.choice(self.people)

    def _word(self) -> str:
        return "".join(self._random.choices("abcdefghijklmnopqrstuvwxyz", k=8)).capitalize()

    def _address(self) -> str:
        self._addresses += 1
        return f"soak.{self._addresses}@example.test"


def differences(
    administrator: DomainAdministrator, team: TeamSimulator, deleted: set[str], groups: list[str]
) -> list[str]:
    """In words, what Dropbox shows otherwise than the directory wants; asked of both sides afresh."""
    listed = _people(administrator, administrator.dn(SYNC_GROUP))
    wanted = {guid: shown for guid, (shown, enabled) in listed.items() if enabled}
    members = {
        member.external_id.removeprefix("ad-guid:"): member
        for member in team.team.members
        if (member.external_id or "").startswith("ad-guid:")
    }
    found = []
    for guid, shown in wanted.items():
        member = members.get(guid)
        if member is None or member.status != "active":
            found.append(f"{guid} {shown}: should be active, is {member.status if member else 'absent'}")
        elif (has := (member.email, member.given_name, member.surname)) != shown:
            found.append(f"{guid}: should be {shown}, is {has}")
    for guid, member in members.items():
        if guid not in wanted and member.status in ("active", "invited"):
            found.append(f"{guid} {member.email}: should have no access, is {member.status}")
        if guid in deleted and member.status != "removed":
            found.append(f"{guid} {member.email}: was deleted, is {member.status}")
    scope = administrator.dn(SYNC_GROUP)
    team_groups = {group.external_id: group for group in team.team.groups}
    below = _groups_below(administrator, scope)
    for guid in groups:
        if guid not in below:
            continue  # out of scope: its Dropbox group stays as it is
        group = team_groups.get(f"ad-guid:{guid}")
        if group is None:
            found.append(f"group {guid} {below[guid]}: missing")
            continue
        if group.name != below[guid]:
            found.append(f"group {guid}: should be named {below[guid]}, is {group.name}")
        listed = [members[one] for one in _people(administrator, administrator.dn(guid)) if one in members]
        # Who is suspended stays, and is not added.
        missing = {one.id for one in listed if one.status == "active"} - set(group.members)
        too_many = set(group.members) - {one.id for one in listed if one.status != "removed"}
        if missing or too_many:
            found.append(f"group {guid}: {len(missing)} missing, {len(too_many)} too many")
    return found


def _people(administrator: DomainAdministrator, group: str) -> dict[str, tuple[tuple[str, str, str], bool]]:
    """GUID → (e-mail, first name, last name), enabled."""
    found = _search(
        administrator,
        f"(&(objectCategory=person)(objectClass=user)(memberOf:{_IN_CHAIN}:={group}))",
        ["objectGUID", "mail", "givenName", "sn", "userAccountControl"],
    )
    return {
        guid: (
            (_text(one, "mail").lower(), _text(one, "givenName"), _text(one, "sn")),
            not int(_text(one, "userAccountControl")) & _DISABLED,
        )
        for guid, one in found.items()
    }


def _groups_below(administrator: DomainAdministrator, scope: str) -> dict[str, str]:
    found = _search(
        administrator, f"(&(objectClass=group)(memberOf:{_IN_CHAIN}:={scope}))", ["objectGUID", "cn"]
    )
    return {guid: _text(one, "cn") for guid, one in found.items()}


def _search(administrator: DomainAdministrator, query: str, attributes: list[str]) -> dict[str, Any]:
    _, _, response, _ = administrator.connect().search(administrator.base_dn, query, attributes=attributes)
    return {
        str(uuid.UUID(bytes_le=entry["raw_attributes"]["objectGUID"][0])): entry["raw_attributes"]
        for entry in response
        if entry["type"] == "searchResEntry"
    }


def _text(attributes: Any, name: str) -> str:
    values = attributes.get(name) or [b""]
    return str(values[0].decode())

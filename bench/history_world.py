"""Random histories of a real domain: what administrators do to people and groups, one legal step after the other.

The world keeps its own account of what is there, only to know which steps are legal. What is *true* is asked of the
domain itself (history_truth.py).
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import ldap3
from ldap3.utils.dn import escape_rdn

from sandbox.samba_admin import SHOW_DELETED, DomainAdministrator

_UNITS = ("North", "South", "South/Deep")
_MOST_PEOPLE, _MOST_GROUPS, _MOST_OTHERS = 40, 14, 6
_EXPIRES = (0, 0x7FFFFFFFFFFFFFFF, 132_000_000_000_000_000, 145_000_000_000_000_000)


@dataclass
class Thing:
    guid: str
    kind: str  # user, group, contact, computer
    members: set[str] = field(default_factory=set)
    primary: str = ""  # a group of ours; else Domain Users


class HistoryWorld:
    """One organizational unit of a domain. `steps` counts the changes made; `steps_by_name` says of which sort."""

    def __init__(self, admin: DomainAdministrator, tag: str, seed: int) -> None:
        self.admin = admin
        self.tag = tag
        self.random = random.Random(seed)
        self.things: dict[str, Thing] = {}
        self.dead: dict[str, str] = {}  # guid → kind
        self.steps = 0
        self.steps_by_name: dict[str, int] = {}
        self.last: list[str] = []
        self._numbers = itertools.count(1)
        self._rids: dict[str, int] = {}
        admin.create_ou(tag)
        for unit in _UNITS:
            parent, _, name = unit.rpartition("/")
            admin.create_ou(name, ou=f"{tag}/{parent}".rstrip("/"))
        self.root = self._make("group")
        self.excluded = self._make("group")
        self.keep = {self.root, self.excluded}
        for kind in ["user"] * 12 + ["group"] * 6 + ["contact", "computer"]:
            self._make(kind)
        for _ in range(30):
            self._link()
        self.steps = 0
        self.steps_by_name.clear()

    # ------------------------------------------------------------------------------------------------------- steps

    def step(self) -> None:
        """One random change. Which ones are likely decides what is tested: links and their ends above all."""
        steps: list[tuple[int, Callable[[], bool]]] = [
            (20, self._link),
            (6, self._nest),
            (16, self._unlink),
            (4, self._refill),
            (9, self._edit),
            (3, self._clear_mail),
            (4, self._rename),
            (4, self._move),
            (4, self._disable),
            (4, self._enable),
            (2, self._expire),
            (5, self._delete_person),
            (3, self._delete_group),
            (9, self._restore),
            (6, self._set_primary),
            (3, self._reset_primary),
            (7, lambda: bool(self._make("user"))),
            (3, lambda: bool(self._make("group"))),
            (1, lambda: bool(self._make("contact"))),
            (1, lambda: bool(self._make("computer"))),
            (1, self._delete_other),
            (1, self._flicker),
            (1, self._recreate),
        ]
        weights = [weight for weight, _ in steps]
        while True:
            _, action = self.random.choices(steps, weights)[0]
            if action():
                return

    def _did(self, name: str, *what: str) -> bool:
        self.steps += 1
        self.steps_by_name[name] = self.steps_by_name.get(name, 0) + 1
        self.last.append(" ".join([name, *what]))
        del self.last[:-60]
        return True

    def _all(self, *kinds: str) -> list[str]:
        return [guid for guid, thing in self.things.items() if thing.kind in kinds]

    def _any(self, *kinds: str) -> str:
        found = self._all(*kinds)
        return self.random.choice(found) if found else ""

    def _unit(self) -> str:
        return f"{self.tag}/{self.random.choice(_UNITS)}"

    def _make(self, kind: str) -> str:
        limits = {"user": _MOST_PEOPLE, "group": _MOST_GROUPS}
        if len(self._all(kind)) >= limits.get(kind, _MOST_OTHERS):
            return ""
        number = next(self._numbers)
        name, unit = f"{self.tag} {kind} {number}", self._unit()
        if kind == "user":
            guid = self.admin.create_user(
                name,
                account=f"{self.tag}u{number}",
                given_name=f"Given {number}",
                surname=f"Sur {number}",
                mail=self.random.choice(["", f"{self.tag}.{number}@example.test"]),
                ou=unit,
                enabled=self.random.random() < 0.9,
            )
        elif kind == "group":
            guid = self.admin.create_group(name, ou=unit)
        elif kind == "contact":
            guid = self.admin.create_contact(name, mail="contact@example.test", ou=unit)
        else:
            guid = self.admin.create_computer(f"{self.tag}c{number}", ou=unit)
        self.things[guid] = Thing(guid, kind)
        self._did(f"create {kind}", guid)
        return guid

    def _link(self) -> bool:
        group, member = self._any("group"), self._any("user", "user", "group", "contact", "computer")
        return self._add(group, member)

    def _nest(self) -> bool:
        return self._add(self._any("group"), self._any("group"))

    def _add(self, group: str, member: str) -> bool:
        thing = self.things[member]
        if member == group or member in self.things[group].members or thing.primary == group:
            return False
        self.admin.add_members(group, member)
        self.things[group].members.add(member)
        return self._did("nest" if thing.kind == "group" else "add", member, "to", group)

    def _unlink(self) -> bool:
        group = self._any("group")
        members = sorted(self.things[group].members)
        if not members:
            return False
        gone = self.random.sample(members, min(len(members), self.random.choice([1, 1, 1, 2, 5])))
        self.admin.remove_members(group, *gone)
        self.things[group].members -= set(gone)
        return self._did("remove", *gone, "from", group)

    def _refill(self) -> bool:
        """A script that clears a group and fills it again."""
        group = self._any("group")
        members = sorted(self.things[group].members)
        if not members:
            return False
        self.admin.modify(self.admin.dn(group), member=None)
        kept = [member for member in members if self.random.random() < 0.8]
        if kept:
            self.admin.add_members(group, *kept)
        self.things[group].members = set(kept)
        return self._did("refill", group)

    def _edit(self) -> bool:
        who = self._any("user", "group", "contact")
        number = self.random.randrange(100)
        changes: list[dict[str, Any]] = [
            {"mail": f"New.{number}@Example.Test"},
            {"displayName": f"Display {number}", "description": f"Text {number}"},
        ]
        if self.things[who].kind == "user":
            changes += [{"givenName": f"Given {number}"}, {"sn": f"Sur {number}"}, {"givenName": None}]
        change = self.random.choice(changes)
        self.admin.modify(who, **change)
        return self._did("edit", who, *change)

    def _clear_mail(self) -> bool:
        who = self._any("user")
        if not who:
            return False
        self.admin.modify(who, mail=None)
        return self._did("clear mail", who)

    def _rename(self) -> bool:
        who = self._any("user", "group", "contact")
        self.admin.rename(who, f"{self.tag} renamed, {next(self._numbers)}")
        return self._did("rename", who)

    def _move(self) -> bool:
        who = self._any("user", "group", "contact", "computer")
        unit = self._unit()
        self.admin.move(who, unit)
        return self._did("move", who, unit)

    def _disable(self) -> bool:
        who = self._any("user")
        if not who:
            return False
        self.admin.disable(who)
        return self._did("disable", who)

    def _enable(self) -> bool:
        who = self._any("user")
        if not who:
            return False
        self.admin.enable(who)
        return self._did("enable", who)

    def _expire(self) -> bool:
        who = self._any("user")
        if not who:
            return False
        self.admin.modify(who, accountExpires=self.random.choice(_EXPIRES))
        return self._did("expiry", who)

    def _delete_person(self) -> bool:
        return self._delete(self._any("user"))

    def _delete_group(self) -> bool:
        return self._delete(self._any("group"))

    def _delete_other(self) -> bool:
        return self._delete(self._any("contact", "computer"))

    def _delete(self, who: str) -> bool:
        if not who or who in self.keep or any(thing.primary == who for thing in self.things.values()):
            return False  # the directory refuses to delete somebody's primary group
        self.admin.delete(who)
        kind = self.things.pop(who).kind
        for thing in self.things.values():
            thing.members.discard(who)
        self.dead[who] = kind
        return self._did(f"delete {kind}", who)

    def _restore(self) -> bool:
        """Of those who were deleted last, mostly: they are the ones that the mirror still knows."""
        candidates = [guid for guid, kind in self.dead.items() if kind in {"user", "group"}][-8:]
        if not candidates:
            return False
        who = self.random.choice(candidates)
        kind = self.dead[who]
        if len(self._all(kind)) >= {"user": _MOST_PEOPLE, "group": _MOST_GROUPS}[kind]:
            return False
        tombstone = self._tombstone_dn(who)
        self.admin.connect().modify(
            tombstone,
            {
                "isDeleted": [(ldap3.MODIFY_DELETE, [])],
                "distinguishedName": [
                    (
                        ldap3.MODIFY_REPLACE,
                        [
                            f"CN={escape_rdn(f'{self.tag} restored {next(self._numbers)}')},{self.admin.container(self._unit())}"
                        ],
                    )
                ],
            },
            controls=[SHOW_DELETED],
        )
        del self.dead[who]
        self.things[who] = Thing(who, kind)
        self._did(f"restore {kind}", who)
        if self.random.random() < 0.5:
            group = self._any("group")
            if group != who:
                self._add(group, who)
        return True

    def _tombstone_dn(self, guid: str) -> str:
        return str(self._look_at(guid, "objectGUID", controls=[SHOW_DELETED])["dn"])

    def _look_at(self, guid: str, attribute: str, **options: Any) -> Any:
        found = self.search(f"<GUID={guid}>", "(objectClass=*)", ldap3.BASE, [attribute], **options)
        return found[0]

    def search(
        self, base: str, condition: str, scope: str, attributes: list[str], **options: Any
    ) -> list[Any]:
        _, _, response, _ = self.admin.connect().search(
            base, condition, scope, attributes=attributes, **options
        )
        return [entry for entry in response if entry["type"] == "searchResEntry"]

    def _set_primary(self) -> bool:
        who, group = self._any("user"), self._any("group")
        if not who or self.things[who].primary == group:
            return False
        before = self.things[who].primary
        if group not in self._rids:
            sid = self._look_at(group, "objectSid")["raw_attributes"]["objectSid"][0]
            self._rids[group] = int.from_bytes(sid[-4:], "little")
        if who not in self.things[group].members:
            self.admin.add_members(group, who)
        self.admin.modify(who, primaryGroupID=self._rids[group])
        self.things[group].members.discard(who)  # the directory does that, and puts the old one in its place
        if before:
            self.things[before].members.add(who)
        self.things[who].primary = group
        return self._did("primary", who, group)

    def _reset_primary(self) -> bool:
        people = [guid for guid, thing in self.things.items() if thing.primary]
        if not people:
            return False
        who = self.random.choice(people)
        before = self.things[who].primary
        domain_users = self.admin.dn("Domain Users")
        if self.admin.dn(who) not in self.admin.members(domain_users):
            self.admin.add_members(domain_users, who)
        self.admin.modify(who, primaryGroupID=513)
        self.things[before].members.add(who)
        self.things[who].primary = ""
        return self._did("primary reset", who)

    def _flicker(self) -> bool:
        """Deleted and brought back before anybody looks."""
        who = self._any("user", "group")
        if not self._delete(who):
            return False
        while who in self.dead:
            if not self._restore():
                return True
        return True

    def _recreate(self) -> bool:
        """Somebody new under an old name: another object, whatever it is called."""
        who = self._any("user")
        if not who:
            return False
        dn, groups = (
            self.admin.dn(who),
            [guid for guid, thing in self.things.items() if who in thing.members],
        )
        if not self._delete(who):
            return False
        guid = self.admin.add(
            dn, ["user"], sAMAccountName=f"{self.tag}n{next(self._numbers)}", userAccountControl=544
        )
        self.things[guid] = Thing(guid, "user")
        self._did("create user", guid)
        for group in groups:
            self._add(group, guid)
        return True

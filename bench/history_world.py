"""Random histories of a domain: what administrators do to people and groups, one legal step after the other.

The world keeps its own account of what is there, only to know which steps are legal.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from bench.history_hands import Hands

_UNITS = ("North", "South", "South/Deep")
_MOST = {"user": 40, "group": 14, "contact": 4, "computer": 4}
_EXPIRES = (None, datetime(2020, 1, 1, tzinfo=UTC), datetime(2061, 1, 1, tzinfo=UTC))


@dataclass
class Thing:
    guid: str
    kind: str  # user, group, contact, computer
    members: set[str] = field(default_factory=set)
    primary: str = ""  # a group of ours; else Domain Users


class HistoryWorld:
    """One organizational unit of a domain. `steps` counts the changes made; `steps_by_name` says of which sort."""

    def __init__(self, hands: Hands, tag: str, seed: int) -> None:
        self.hands = hands
        self.tag = tag
        self.things: dict[str, Thing] = {}
        self.dead: dict[str, Thing] = {}
        self.steps = 0
        self.steps_by_name: dict[str, int] = {}
        self.last: list[str] = []
        self._random = random.Random(seed)
        self._numbers = itertools.count(1)
        for unit in ("", *_UNITS):
            hands.create_ou(f"{tag}/{unit}".rstrip("/"))
        self.root = self._make("group")
        self.excluded = self._make("group")
        for kind in ["user"] * 12 + ["group"] * 6 + ["contact", "computer"]:
            self._make(kind)
        for _ in range(30):
            self._link()
        self.steps = 0
        self.steps_by_name.clear()

    def step(self) -> None:
        """One random change. Which ones are likely decides what is tested: links and their ends above all."""
        steps: list[tuple[int, Callable[[], object]]] = [
            (20, self._link),
            (6, self._nest),
            (16, self._unlink),
            (4, self._refill),
            (9, self._edit),
            (3, self._clear_mail),
            (4, self._rename),
            (4, self._move),
            (4, lambda: self._set_enabled(enabled=False)),
            (4, lambda: self._set_enabled(enabled=True)),
            (2, self._expire),
            (5, lambda: self._delete(self._any("user"))),
            (3, lambda: self._delete(self._any("group"))),
            (1, lambda: self._delete(self._any("contact", "computer"))),
            (9, self._restore),
            (6, self._set_primary),
            (3, self._reset_primary),
            (7, lambda: self._make("user")),
            (3, lambda: self._make("group")),
            (1, lambda: self._make("contact")),
            (1, lambda: self._make("computer")),
            (1, self._flicker),
            (1, self._recreate),
        ]
        weights = [weight for weight, _ in steps]
        while True:
            _, action = self._random.choices(steps, weights)[0]
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
        return self._random.choice(found) if found else ""

    def _unit(self) -> str:
        return f"{self.tag}/{self._random.choice(_UNITS)}"

    def _has_room(self, kind: str) -> bool:
        return len(self._all(kind)) < _MOST[kind]

    def _make(self, kind: str) -> str:
        if not self._has_room(kind):
            return ""
        number = next(self._numbers)
        guid = self.hands.create(
            kind,
            f"{self.tag} {kind} {number}",
            f"{self.tag}{kind[0]}{number}",
            self._unit(),
            self._random.choice(["", f"{self.tag}.{number}@example.test"]),
            enabled=self._random.random() < 0.9,
        )
        self.things[guid] = Thing(guid, kind)
        self._did(f"create {kind}", guid)
        return guid

    def _link(self) -> bool:
        return self._add(self._any("group"), self._any("user", "user", "group", "contact", "computer"))

    def _nest(self) -> bool:
        return self._add(self._any("group"), self._any("group"))

    def _add(self, group: str, member: str) -> bool:
        thing = self.things[member]
        if member == group or member in self.things[group].members or thing.primary == group:
            return False
        self.hands.add(group, member)
        self.things[group].members.add(member)
        return self._did("nest" if thing.kind == "group" else "add", member, "to", group)

    def _unlink(self) -> bool:
        group = self._any("group")
        members = sorted(self.things[group].members)
        if not members:
            return False
        gone = self._random.sample(members, min(len(members), self._random.choice([1, 1, 1, 2, 5])))
        self.hands.remove(group, gone)
        self.things[group].members -= set(gone)
        return self._did("remove", *gone, "from", group)

    def _refill(self) -> bool:
        """A script that clears a group and fills it again."""
        group = self._any("group")
        members = sorted(self.things[group].members)
        if not members:
            return False
        self.hands.remove(group, members)
        kept = [member for member in members if self._random.random() < 0.8]
        for member in kept:
            self.hands.add(group, member)
        self.things[group].members = set(kept)
        return self._did("refill", group)

    def _edit(self) -> bool:
        who = self._any("user", "group", "contact")
        number = self._random.randrange(100)
        changes: list[tuple[str, str | None]] = [
            ("mail", f"New.{number}@Example.Test"),
            ("display_name", f"Display {number}"),
        ]
        if self.things[who].kind == "user":
            changes += [("given_name", f"Given {number}"), ("surname", f"Sur {number}"), ("given_name", None)]
        attribute, value = self._random.choice(changes)
        self.hands.edit(who, attribute, value)
        return self._did("edit", who, attribute)

    def _clear_mail(self) -> bool:
        who = self._any("user")
        if not who:
            return False
        self.hands.edit(who, "mail", None)
        return self._did("clear mail", who)

    def _rename(self) -> bool:
        who = self._any("user", "group", "contact")
        self.hands.rename(who, f"{self.tag} renamed, {next(self._numbers)}")
        return self._did("rename", who)

    def _move(self) -> bool:
        who, unit = self._any("user", "group", "contact", "computer"), self._unit()
        self.hands.move(who, unit)
        return self._did("move", who, unit)

    def _set_enabled(self, *, enabled: bool) -> bool:
        who = self._any("user")
        if not who:
            return False
        self.hands.set_enabled(who, enabled=enabled)
        return self._did("enable" if enabled else "disable", who)

    def _expire(self) -> bool:
        who = self._any("user")
        if not who:
            return False
        self.hands.expire(who, self._random.choice(_EXPIRES))
        return self._did("expiry", who)

    def _may_delete(self, who: str) -> bool:
        """The directory refuses to delete somebody's primary group; and without the two roots there is nothing to test."""
        in_use = any(thing.primary == who for thing in (*self.things.values(), *self.dead.values()))
        return bool(who) and who not in (self.root, self.excluded) and not in_use

    def _delete(self, who: str) -> bool:
        if not self._may_delete(who):
            return False
        self.hands.delete(who)
        self._bury(who)
        return self._did(f"delete {self.dead[who].kind}", who)

    def _bury(self, who: str) -> None:
        dead = self.dead[who] = self.things.pop(who)
        for thing in self.things.values():
            thing.members.discard(who)
        dead.members.clear()
        if not self.hands.keeps_links:
            dead.primary = ""

    def _restore(self) -> bool:
        """Of those who were deleted last, mostly: they are the ones that the mirror still knows."""
        candidates = [guid for guid, thing in self.dead.items() if thing.kind in {"user", "group"}][-8:]
        return bool(candidates) and self._bring_back(self._random.choice(candidates))

    def _bring_back(self, who: str) -> bool:
        if not self._has_room(self.dead[who].kind):
            return False
        self.hands.restore(who, f"{self.tag} restored {next(self._numbers)}", self._unit())
        thing = self.things[who] = self.dead.pop(who)
        if self.hands.keeps_links:
            for group, members in self.hands.look().members.items():
                if group in self.things:
                    self.things[group].members = members & self.things.keys()
        self._did(f"restore {thing.kind}", who)
        if self._random.random() < 0.5:
            self._add(self._any("group"), who)
        return True

    def _set_primary(self) -> bool:
        who, group = self._any("user"), self._any("group")
        if not who or self.things[who].primary == group:
            return False
        self._change_primary(who, group)
        return self._did("primary", who, group)

    def _reset_primary(self) -> bool:
        people = [guid for guid, thing in self.things.items() if thing.primary]
        if not people:
            return False
        who = self._random.choice(people)
        self._change_primary(who, "")
        return self._did("primary reset", who)

    def _change_primary(self, who: str, group: str) -> None:
        before = self.things[who].primary
        self.hands.set_primary(who, group)
        if group:
            self.things[group].members.discard(who)
        if before:
            self.things[before].members.add(who)
        self.things[who].primary = group

    def _flicker(self) -> bool:
        """Deleted and brought back before anybody looks."""
        who = self._any("user", "group")
        return self._delete(who) and self._bring_back(who)

    def _recreate(self) -> bool:
        """Somebody new under an old name: another object, whatever it is called."""
        who = self._any("user")
        if not self._may_delete(who):
            return False
        groups = [guid for guid, thing in self.things.items() if who in thing.members]
        guid = self.hands.create_again(who, f"{self.tag}n{next(self._numbers)}")
        self._bury(who)
        self.things[guid] = Thing(guid, "user")
        self._did("create again", who, "as", guid)
        for group in groups:
            self._add(group, guid)
        return True

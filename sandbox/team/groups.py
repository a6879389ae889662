"""Groups and their register: indexed by id, external id and name."""

import bisect
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal

from sandbox.team.clock import Clock
from sandbox.team.history import History
from sandbox.team.identifiers import Identifiers
from sandbox.team.schema import Tagged

Management = Literal["user_managed", "company_managed", "system_managed"]


@dataclass
class Group:
    id: str
    name: str
    external_id: str | None
    management: Management
    created: datetime
    members: dict[str, str] = field(default_factory=dict)
    """Member id -> member | owner, in the order of joining."""
    places: dict[str, int] = field(default_factory=dict)
    """Member id -> a number that only grows: what listings page by."""
    next_place: int = 0
    _sorted: list[tuple[int, str]] | None = None

    def put(self, member_id: str, access: str) -> None:
        if member_id not in self.members:
            self.places[member_id] = self.next_place
            self.next_place += 1
            self._sorted = None
        self.members[member_id] = access

    def drop(self, member_id: str) -> None:
        del self.members[member_id]
        del self.places[member_id]
        self._sorted = None

    def after(self, place: int, limit: int) -> list[tuple[int, str]]:
        if self._sorted is None:
            self._sorted = [(number, member_id) for member_id, number in self.places.items()]
        start = bisect.bisect_left(self._sorted, (place, ""))
        return self._sorted[start : start + limit]

    def reference(self) -> dict[str, Any]:
        """How the team log names it."""
        body = {"group_id": self.id, "display_name": self.name}
        if self.external_id is not None:
            body["external_id"] = self.external_id
        return body

    def copy(self) -> "Group":
        return replace(self, members=dict(self.members), places=dict(self.places))


class GroupRegister:
    def __init__(self, clock: Clock, identifiers: Identifiers) -> None:
        self._clock = clock
        self._identifiers = identifiers
        self._by_id: dict[str, Group] = {}
        self._by_external_id: dict[str, str] = {}
        # Both ways of comparing names are kept up, since the switch can be turned while running.
        self._by_name: dict[str, str] = {}
        self._by_folded_name: dict[str, set[str]] = {}
        self._order: list[str] = []
        self.deleted: set[str] = set()
        self.everyone_id = identifiers.group()
        self.history: History[Group] = History()

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[Group]:
        return iter(list(self._by_id.values()))

    def get(self, group_id: str) -> Group | None:
        return self._by_id.get(group_id)

    def find(self, selector: Tagged) -> Group | None:
        if selector.tag == "group_id":
            return self._by_id.get(selector.value)
        return self._by_id.get(self._by_external_id.get(selector.value, ""))

    def named(self, name: str, *, fold: bool) -> Group | None:
        if fold:
            for group_id in self._by_folded_name.get(name.casefold(), ()):
                return self._by_id[group_id]
            return None
        return self._by_id.get(self._by_name.get(name, ""))

    def with_external_id(self, external_id: str) -> Group | None:
        return self._by_id.get(self._by_external_id.get(external_id, ""))

    def create(self, name: str, external_id: str | None, management: Management) -> Group:
        group = Group(self._identifiers.group(), name, external_id, management, self._clock.now())
        self.restore(group)
        self.history.changed(group.id, None, self._clock.now())
        return group

    def restore(self, group: Group) -> None:
        self._by_id[group.id] = group
        self._order.append(group.id)
        self._index(group)

    def _index(self, group: Group) -> None:
        self._by_name[group.name] = group.id
        self._by_folded_name.setdefault(group.name.casefold(), set()).add(group.id)
        if group.external_id is not None:
            self._by_external_id[group.external_id] = group.id

    def _unindex(self, group: Group) -> None:
        self._by_name.pop(group.name, None)
        same = self._by_folded_name[group.name.casefold()]
        same.discard(group.id)
        if not same:
            del self._by_folded_name[group.name.casefold()]
        if group.external_id is not None:
            del self._by_external_id[group.external_id]

    def _remember(self, group: Group) -> None:
        if self.history.reach:  # the copy is the dear part
            self.history.changed(group.id, group.copy(), self._clock.now())

    def rename(self, group: Group, name: str) -> None:
        self._remember(group)
        self._unindex(group)
        group.name = name
        self._index(group)

    def set_external_id(self, group: Group, external_id: str | None) -> None:
        self._remember(group)
        self._unindex(group)
        group.external_id = external_id
        self._index(group)

    def set_management(self, group: Group, management: Management) -> None:
        self._remember(group)
        group.management = management

    def put(self, group: Group, member_id: str, access: str) -> None:
        self._remember(group)
        group.put(member_id, access)

    def drop(self, group: Group, member_id: str) -> None:
        self._remember(group)
        group.drop(member_id)

    def delete(self, group: Group) -> None:
        self._remember(group)
        self._unindex(group)
        del self._by_id[group.id]
        self.deleted.add(group.id)

    def from_place(self, start: int) -> Iterator[tuple[int, str]]:
        """Places and ids from a place on, deleted ones too: a lagging listing may still show them."""
        for place in range(start, len(self._order)):
            yield place, self._order[place]

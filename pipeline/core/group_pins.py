"""What an `undo` wants of groups, for as long as the directory says nothing new about the same subject."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from pipeline.core.group_values import DirectoryGroup
from pipeline.model import MEMBERSHIP_KINDS, ActionKind
from pipeline.records import GroupPin

IN, OUT = "in", "out"
"""What the directory says of a membership."""


class Pins:
    """`undone`: groups whose creation was undone, and why.

    Nothing new can be told of the members of a group that was not touched: its pins hold.
    """

    def __init__(
        self,
        groups: Sequence[DirectoryGroup],
        pins: Mapping[str, Mapping[str, GroupPin]],
        touched: frozenset[str] | None,
    ) -> None:
        self.undone: dict[str, str] = {}
        self._holding: dict[str, dict[str, GroupPin]] = {}
        self._overtaken: dict[str, list[GroupPin]] = {}
        for group in groups:
            is_looked_at = touched is None or group.guid in touched
            for subject, pin in pins.get(group.guid, {}).items():
                if _is_overtaken(pin, group, is_looked_at=is_looked_at):
                    self._overtaken.setdefault(group.guid, []).append(pin)
                    continue
                self._holding.setdefault(group.guid, {})[subject] = pin
                if pin.kind is ActionKind.GROUP_DELETE:
                    self.undone[group.guid] = pin.reason

    def renamed(self, group: DirectoryGroup) -> DirectoryGroup:
        """With the name that it had before, where its renaming was undone."""
        pin = self._holding.get(group.guid, {}).get(group.guid)
        return replace(group, name=pin.name) if pin and pin.kind is ActionKind.GROUP_RENAME else group

    def membership(self, group_guid: str, person: str) -> GroupPin | None:
        pin = self._holding.get(group_guid, {}).get(person)
        return pin if pin is not None and pin.kind in MEMBERSHIP_KINDS else None

    def kept_in(self, group_guid: str) -> frozenset[str]:
        """Persons who are to be in the group though the directory says that they are not."""
        pins = self._holding.get(group_guid, {})
        return frozenset(guid for guid, pin in pins.items() if pin.kind is ActionKind.GROUP_ADD)

    def holding(self, group_guid: str) -> tuple[GroupPin, ...]:
        return tuple(self._holding.get(group_guid, {}).values())

    def overtaken(self, group_guid: str) -> tuple[GroupPin, ...]:
        return tuple(self._overtaken.get(group_guid, ()))


def _is_overtaken(pin: GroupPin, group: DirectoryGroup, *, is_looked_at: bool) -> bool:
    if pin.kind is ActionKind.GROUP_RENAME:
        return pin.was != group.name
    if not is_looked_at:
        return False
    if pin.kind is ActionKind.GROUP_DELETE:
        return pin.was != group.fingerprint
    now = IN if pin.guid in group.users else OUT
    # Absence proves nothing below what can't be read.
    return now != pin.was and not (now == OUT and group.is_opaque)

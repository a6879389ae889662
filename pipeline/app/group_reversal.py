"""`undo PASS` for groups: the reverse of what a pass did to them, and what of it can't be undone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from pipeline.core.group_pins import IN, OUT
from pipeline.core.group_values import DirectoryGroup
from pipeline.model import Action, ActionKind, Json
from pipeline.records import GroupPin

_LOST: dict[ActionKind, str] = {
    ActionKind.GROUP_CREATE: "deleting it takes what was shared with it meanwhile away from everybody; it is held until approved",
    ActionKind.GROUP_DELETE: "a deleted group can't be brought back, nor what was shared with it",
    ActionKind.GROUP_REMOVE: "who was taken out gets the group's access back, not what they had mounted or synced",
}
_NOT_FOLLOWED = "it is no longer in the directory, and its Dropbox group is not followed any more"
SHOWN = 5
"""How many persons a line names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupReversal:
    """`pins` hold each subject until the directory says something new about it; `lost` says what can't be undone."""

    pins: tuple[GroupPin, ...] = ()
    rows: tuple[Json, ...] = ()
    lost: tuple[str, ...] = ()


def reverse_groups(
    pass_id: int, actions: Sequence[Action], directory: Mapping[str, DirectoryGroup], now: datetime
) -> GroupReversal:
    """Pure. `directory`: the groups as they are now, so that the pins know when they change."""
    pins: list[GroupPin] = []
    rows: list[Json] = []
    lost: list[str] = []
    of_group: dict[str, list[Action]] = {}
    for action in actions:
        of_group.setdefault(action.group_guid, []).append(action)
    for guid, done in sorted(of_group.items()):
        group = directory.get(guid)
        kinds = {one.kind for one in done}
        name = _name(done, group)
        if ActionKind.GROUP_DELETE in kinds or group is None:
            is_deleted = ActionKind.GROUP_DELETE in kinds
            lost.append(f"group {name}: {_LOST[ActionKind.GROUP_DELETE] if is_deleted else _NOT_FOLLOWED}")
            rows.append(_row(guid, name, done[-1].kind, None))
            continue
        reason = f"undo of pass {pass_id}"
        pin = partial(GroupPin, group_guid=guid, reason=reason, at=now)
        if ActionKind.GROUP_CREATE in kinds:
            # Nobody is taken out of it one by one: the group goes as a whole, when somebody approves.
            pins.append(pin(guid=guid, kind=ActionKind.GROUP_DELETE, was=group.fingerprint))
            rows.append(_row(guid, name, ActionKind.GROUP_CREATE, ActionKind.GROUP_DELETE))
            lost.append(f"group {name}: {_LOST[ActionKind.GROUP_CREATE]}")
            continue
        old_name = next((one.precondition for one in done if one.precondition), "")
        if ActionKind.GROUP_RENAME in kinds and old_name:
            pins.append(pin(guid=guid, kind=ActionKind.GROUP_RENAME, was=group.name, name=old_name))
            rows.append(_row(guid, f"{name} -> {old_name}", ActionKind.GROUP_RENAME, ActionKind.GROUP_RENAME))
        elif ActionKind.GROUP_RENAME in kinds:
            lost.append(f"group {name}: the external id stays; it is what links it")
            rows.append(_row(guid, name, ActionKind.GROUP_RENAME, None))
        for kind, back in (
            (ActionKind.GROUP_ADD, ActionKind.GROUP_REMOVE),
            (ActionKind.GROUP_REMOVE, ActionKind.GROUP_ADD),
        ):
            # Of somebody who was put in and taken out in one pass, the first write tells what was before.
            first = {one.guid: one for one in reversed(done) if one.guid != guid}
            people = [one for one in first.values() if one.kind is kind]
            if not people:
                continue
            pins += [
                pin(guid=one.guid, kind=back, was=IN if one.guid in group.users else OUT) for one in people
            ]
            rows.append(_row(guid, f"{name}: {_named(people)}", kind, back))
            if kind in _LOST:
                lost.append(f"group {name}: {_LOST[kind]}")
    return GroupReversal(pins=tuple(pins), rows=tuple(rows), lost=tuple(lost))


def _name(done: Sequence[Action], group: DirectoryGroup | None) -> str:
    return group.name if group is not None else next((one.group_name for one in done if one.group_name), "")


def _named(people: Sequence[Action]) -> str:
    names = sorted(one.email or one.guid for one in people)
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{', '.join(names[:SHOWN])}{more}"


def _row(guid: str, label: str, done: ActionKind, undo: ActionKind | None) -> Json:
    return {
        "guid": guid,
        "email": f"group {label}",
        "done": done.value,
        "undo": undo.value if undo else "nothing",
        "cannot": _LOST.get(done, ""),
    }

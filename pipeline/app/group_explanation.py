"""`explain --group`: why a group has what it has, from the journal alone; what happens next is asked of `decide_groups`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime

from pipeline.app.circumstances import circumstances_of
from pipeline.app.explanation import nesting_of
from pipeline.app.outlook import obstacle_json, outlook
from pipeline.core.groups import OUTSIDE_SCOPE, GroupDecision, WantedGroup
from pipeline.core.near import did_you_mean
from pipeline.core.obstacles import Circumstances, Obstacle, held_set_of
from pipeline.core.plan import label_of
from pipeline.errors import WrongArgument
from pipeline.model import MEMBERSHIP_KINDS, Action, ActionKind, Json, Kind, State
from pipeline.records import GroupLink, Node
from pipeline.redaction import escaped
from stages.groups.planner import GroupPlanner
from state.database import stamp
from state.journal import Journal

SHOWN = 20
_GAINS = {ActionKind.GROUP_ADD: 1, ActionKind.GROUP_REMOVE: -1}
_WAYS_OUT = (
    'bring them into user scope, take them out of the group, or sync groups with groups.mode = "separate"'
)


async def explain_group(
    journal: Journal,
    planner: GroupPlanner,
    text: str,
    *,
    simulation: Obstacle | None = None,
    rehearsed_since: datetime | None = None,
) -> list[Json]:
    """By name, GUID, DN or account; also groups that left and are still linked. WrongArgument when nothing fits.

    `simulation`: while nothing is to be written. `rehearsed_since`: the journal is of the simulated pass that began then;
    what that did is still to be done.
    """
    nesting = await nesting_of(journal)
    present = await circumstances_of(journal, simulation=simulation, is_rehearsal=rehearsed_since is not None)
    decisions = {one.guid: one for one in await planner.preview(nesting)}
    async with journal.reading():
        found = {node.guid: node for node in await journal.mirror.find_groups(text)}
        links = await journal.groups.links()
        teams = await journal.groups.all()
        for guid, link in links.items():
            team = teams.get(link.group_id)
            if text.casefold() in (link.name.casefold(), link.group_id.casefold()) or (
                team is not None and team.name.casefold() == text.casefold()
            ):
                found.update(await journal.mirror.nodes([guid]))
        if not found:
            graph, _ = await journal.mirror.graph()
            groups = await journal.mirror.nodes(guid for guid, kind, _ in graph if kind is Kind.GROUP)
            near = did_you_mean(text, [node.entry.name for node in groups.values()])
            raise WrongArgument(
                "explain",
                f"no group known as {text!r}{near}",
                "name a group below the sync group, or its objectGUID",
            )
        pages = []
        for guid, node in sorted(found.items()):
            group_id = links[guid].group_id if guid in links else ""
            users, is_opaque = nesting.users_of(guid)
            decision = decisions.get(guid)
            pending = await journal.groups.open_actions([guid])
            rehearsed = (
                [one for one in await journal.outbox.done_since(rehearsed_since) if one.group_guid == guid]
                if rehearsed_since is not None
                else []
            )
            is_made_up = any(one.kind is ActionKind.GROUP_CREATE for one in rehearsed)
            gained = sum(_GAINS.get(one.kind, 0) for one in rehearsed)
            people = await journal.mirror.nodes(
                {
                    *(one for one, _ in (decision.left_out if decision else ())),
                    *(pin.guid for pin in (decision.pinned if decision else ())),
                    *users,
                }
                - {guid}
            )
            team = teams.get(group_id)
            members = (await journal.groups.members_of([group_id]))[group_id] if group_id else frozenset()
            pages.append(
                {
                    "guid": guid,
                    "name": node.entry.name,
                    "dn": node.entry.dn,
                    "synced": decision is not None and not _is_going(decision),
                    "users": len(users),
                    "incomplete": is_opaque,
                    "link": None if is_made_up else _link(links.get(guid)),
                    "dropbox": None
                    if team is None or is_made_up
                    else {
                        "group_id": team.group_id,
                        "name": team.name,
                        "external_id": team.external_id,
                        "company_managed": team.is_company_managed,
                        "members": len(members) - gained,
                    },
                    "failure": decision.failure if decision else "",
                    "fault": decision.fault if decision else "",
                    "left_out": [
                        {"guid": one, "who": label_of(people[one]) if one in people else one, "reason": why}
                        for one, why in (decision.left_out if decision else ())
                    ],
                    "undone": [
                        {
                            "undo": pin.kind.value,
                            "who": label_of(people[pin.guid]) if pin.guid in people else "",
                            "reason": pin.reason,
                        }
                        for pin in (decision.pinned if decision else ())
                    ],
                    "unsure": obstacle_json(present.unsure),
                    "next": _next(decision, rehearsed, node, pending, present),
                    "pending": [_pending(action, present) for action in pending],
                    "log": await journal.last_entries(guid=guid, limit=SHOWN),
                }
            )
    return pages


def _is_going(decision: GroupDecision) -> bool:
    return decision.unlink or any(one.kind.value == "group_delete" for one in decision.wanted)


def _link(link: GroupLink | None) -> Json | None:
    return None if link is None else {"group_id": link.group_id, "how": link.how, "at": stamp(link.at)}


def _next(
    decision: GroupDecision | None,
    rehearsed: Sequence[Action],
    node: Node,
    pending: Sequence[Action],
    present: Circumstances,
) -> list[Json]:
    """One entry a write: those about members with everybody's e-mail, where the same keeps them from being sent."""
    if decision is None:
        return []
    rows: list[Json] = []
    if decision.adopt is not None:
        rows.append(
            {
                "action": "link",
                "reason": f"to {decision.adopt[0].name}, by {decision.adopt[1]}",
                "obstacle": None,
            }
        )
    if decision.unlink:
        rows.append(
            {"action": "unlink", "reason": f"{node.entry.name} is no longer synced", "obstacle": None}
        )
    memberships: dict[tuple[str, Obstacle | None], Json] = {}
    writes: list[Action | WantedGroup] = [*rehearsed, *decision.wanted]
    for one in writes:
        obstacle = present.against(one.kind, one.guid, pending, node.guid)
        row: Json = {"action": one.kind.value, "reason": one.reason, "obstacle": obstacle_json(obstacle)}
        if one.kind in MEMBERSHIP_KINDS:
            row = memberships.setdefault((one.kind.value, obstacle), {**row, "emails": []})
            row["emails"].append(one.email)
        else:
            rows.append(row)
    return [*rows, *memberships.values()]


def _pending(action: Action, present: Circumstances) -> Json:
    held = held_set_of(present.held, action.kind, action.guid, action.group_guid)
    return {
        "approve": held.hash if held is not None and action.state is State.HELD else "",
        "action": action.kind.value,
        "email": action.email,
        "state": action.state.value,
        "error": action.error,
        "hint": action.hint,
        "due": stamp(action.due) if action.due else None,
    }


def text_of_group(one: Json) -> str:
    """One line a fact, for people."""
    lines = [escaped(one["name"]), f"  object      {escaped(one['dn'])}  ({one['guid']})"]
    lines.append(
        f"  synced      {'yes' if one['synced'] else 'no'}; {one['users']} users in it, through any nesting"
    )
    if one["incomplete"]:
        lines.append("  incomplete  something in it can't be read: nobody is taken out by absence")
    link, team = one["link"], one["dropbox"]
    lines.append(
        f"  link        {link['group_id']}, by {link['how']} at {link['at']}"
        if link
        else "  link        none"
    )
    if team:
        lines.append(
            f"  in Dropbox  {escaped(team['name'])}, {team['members']} members, external id {escaped(team['external_id']) or 'none'}"
        )
    if one["failure"]:
        lines.append(f"  fails       {escaped(one['failure'])}")
        if one["fault"] == OUTSIDE_SCOPE:
            lines.append(f"  what to do  {_WAYS_OUT}")
    lines += [
        f"  left out    {escaped(row['who'])}: {escaped(row['reason'])}" for row in one["left_out"][:SHOWN]
    ]
    lines += [
        f"  undone      {row['reason']}: {row['undo']} {escaped(row['who'])} stands until the directory changes it"
        for row in one["undone"][:SHOWN]
    ]
    states = Counter(
        (row["action"], row["state"], row["error"], row["hint"], row["approve"]) for row in one["pending"]
    )
    for (action, state, error, hint, digest), number in states.items():
        trouble = f": {escaped(error)} {escaped(hint)}" if error else ""
        command = f": `ad-connector approve {digest}` releases it, with its whole set" if digest else ""
        lines.append(f"  pending     {number} of {action} {state}{trouble}{command}")
    nothing = (
        "it fails, as said above" if one["failure"] else "as it should be" if one["synced"] else "not synced"
    )
    return "\n".join([*lines, *outlook(one["next"], one["unsure"], nothing=nothing)])

"""`undo PASS`: the reverse of what a pass did, and what of it can't be undone. `replay`: old changes, today's rules."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from pipeline.app.explanation import nesting_of
from pipeline.app.group_reversal import GroupReversal, reverse_groups
from pipeline.core.group_values import DirectoryGroup, GroupContent
from pipeline.core.nesting import Nesting
from pipeline.errors import ControlError, WrongArgument
from pipeline.model import MEMBERSHIP_KINDS, Action, ActionKind, Json, Kind, Profile, Status
from pipeline.progress import Phase, tell
from pipeline.records import Pin
from stages.groups.planner import GroupPlanner
from stages.people.planner import Planner
from state.journal import Journal

_REVERSE: dict[ActionKind, ActionKind | None] = {
    ActionKind.UPDATE: ActionKind.UPDATE,
    ActionKind.SUSPEND: ActionKind.UNSUSPEND,
    ActionKind.UNSUSPEND: ActionKind.SUSPEND,
    ActionKind.REMOVE: ActionKind.RECOVER,
    ActionKind.RECOVER: ActionKind.REMOVE,
    ActionKind.REVOKE_INVITE: None,
    ActionKind.RESEND_WELCOME: None,
}

_LOST: dict[ActionKind, str] = {
    ActionKind.SUSPEND: "devices that were wiped stay wiped",
    ActionKind.REMOVE: "devices that were wiped stay wiped; an account can be recovered for 7 days only",
    ActionKind.REVOKE_INVITE: "the invitation can't be brought back; a person in the sync group is invited anew when they change there",
    ActionKind.RESEND_WELCOME: "the mail was sent",
    ActionKind.UPDATE: "the old address may have got a notice",
}

_JOINED = "has joined meanwhile, and is left as they are"
_NOTHING_LEFT = "is no longer on the team: nothing is left to revoke"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reversal:
    """`pins` hold the persons until the directory changes them; `lost` says what can't be undone, first."""

    pins: tuple[Pin, ...]
    rows: tuple[Json, ...]
    lost: tuple[str, ...]
    groups: GroupReversal = field(default_factory=GroupReversal)

    @property
    def all_rows(self) -> tuple[Json, ...]:
        return (*self.rows, *self.groups.rows)

    @property
    def all_lost(self) -> tuple[str, ...]:
        return (*self.lost, *self.groups.lost)


def reverse(
    pass_id: int, actions: Sequence[Action], statuses: Mapping[str, Status], now: datetime
) -> Reversal:
    """Pure: the last done action of each person decides what undoes it; the oldest says what to go back to.

    `statuses`: of the members of these persons, by GUID, as Dropbox told them last. An invitation is either revoked or,
    once it was accepted, what can't be undone.
    """
    reason = f"undo of pass {pass_id}"
    by_person: dict[str, list[Action]] = {}
    for action in actions:
        by_person.setdefault(action.guid, []).append(action)
    pins: list[Pin] = []
    rows: list[Json] = []
    lost: list[str] = []
    for guid, done in sorted(by_person.items()):
        updates = [one for one in done if one.kind is ActionKind.UPDATE]
        others = [one for one in done if one.kind is not ActionKind.UPDATE]
        last = others[-1] if others else updates[-1]
        changes = _old_values(updates) if last.kind is ActionKind.UPDATE else Profile()
        kind, cannot = _way_back(last.kind, changes, statuses.get(guid, Status.INVITED))
        pins.append(Pin(guid=guid, kind=kind, changes=changes, reason=reason, at=now))
        rows.append(
            {
                "guid": guid,
                "email": last.email,
                "done": last.kind.value,
                "undo": kind.value if kind else "nothing",
                "cannot": cannot,
            }
        )
        if others and updates:
            lost.append(f"{last.email}: the new names and e-mail of the same pass stay")
        if cannot:
            lost.append(f"{last.email}: {cannot}")
    return Reversal(pins=tuple(pins), rows=tuple(rows), lost=tuple(lost))


def _way_back(done: ActionKind, changes: Profile, present: Status) -> tuple[ActionKind | None, str]:
    """What undoes an action, None where nothing does, and what of it can't be undone."""
    if done is ActionKind.INVITE and present is Status.INVITED:
        return ActionKind.REVOKE_INVITE, ""
    if done is ActionKind.INVITE:
        return None, _NOTHING_LEFT if present is Status.REMOVED else _JOINED
    if done is ActionKind.UPDATE and not changes.email:
        return (None if changes == Profile() else done), ""
    return _REVERSE.get(done), _LOST.get(done, "")


def _old_values(updates: Sequence[Action]) -> Profile:
    """What the fields that were changed showed before the first change. An external id is never given back."""
    first = updates[0].before
    changed = [one.changes for one in updates]
    return Profile(
        email=first.email if any(one.email for one in changed) else "",
        given_name=first.given_name if any(one.given_name for one in changed) else "",
        surname=first.surname if any(one.surname for one in changed) else "",
    )


async def plan_undo(journal: Journal, pass_id: int, now: datetime) -> Reversal:
    """ControlError for a pass that did nothing, or that is not known."""
    async with journal.reading():
        done = await journal.outbox.done_in_pass(pass_id)
        moved = await journal.links_moved_in(pass_id)
    if moved and not done:
        raise ControlError("undo a pass", "; ".join(map(_kept, moved)), _GIVE_BACK)
    if not done:
        raise WrongArgument(
            "undo a pass",
            f"pass {pass_id} sent nothing to Dropbox, as a simulated one, or is not known",
            "see `ad-connector journal show` for passes",
        )
    about_groups = [one for one in done if one.group_guid]
    about_people = [one for one in done if not one.group_guid]
    statuses = await _present_statuses(journal, {one.guid for one in about_people})
    reversal = reverse(pass_id, about_people, statuses, now)
    lost = [f"{_kept(line)}; {_GIVE_BACK}" for line in moved]
    reversal = replace(reversal, lost=(*lost, *reversal.lost))
    if not about_groups:
        return reversal
    directory = await _present_groups(journal, {one.group_guid for one in about_groups})
    return replace(reversal, groups=reverse_groups(pass_id, about_groups, directory, now))


_GIVE_BACK = "to give it back, put the earlier person into the sync group with this e-mail in place of the new one, and approve that"


def _kept(line: Json) -> str:
    return f"{line['email']}: the account passed from {line['detail']['who']} to another person by an approval, and stays there"


async def _present_statuses(journal: Journal, guids: Collection[str]) -> dict[str, Status]:
    """Of the members that belong to these persons now."""
    async with journal.reading():
        links = await journal.links.of(guids)
        members = await journal.members.by_id(link.member_id for link in links.values())
    return {guid: members[link.member_id].status for guid, link in links.items() if link.member_id in members}


async def _present_groups(journal: Journal, guids: Collection[str]) -> dict[str, DirectoryGroup]:
    """Of these, the groups that live, as the journal knows them."""
    nesting = await nesting_of(journal)
    async with journal.reading():
        nodes = await journal.mirror.nodes(guids)
    return {
        guid: DirectoryGroup(guid=guid, name=node.entry.name, users=nesting.users_of(guid)[0])
        for guid, node in nodes.items()
        if node.live and node.entry.kind is Kind.GROUP
    }


async def write_undo(journal: Journal, reversal: Reversal, pass_id: int, now: datetime) -> Json:
    """Pins persons and groups and marks them; the next pass sends what undoes, under the brake."""
    groups = sorted({pin.group_guid for pin in reversal.groups.pins})
    people = [pin.guid for pin in reversal.pins]
    guids = [*people, *groups]
    async with journal.transaction():
        await journal.pin(reversal.pins)
        await journal.groups.pin(reversal.groups.pins)
        await journal.mark_dirty(guids, "retry", now)
        await journal.append(
            [
                {"kind": "action", "guid": guid, "state": "undo", "cause": f"undo of pass {pass_id}"}
                for guid in guids
            ],
            now,
        )
    return {"persons": len(people), "groups": len(groups)}


async def replay(
    journal: Journal,
    planner: Planner,
    groups: GroupPlanner | None = None,
    *,
    first: int,
    last: int | None,
    guid: str,
    now: datetime,
) -> list[Json]:
    """What today's rules say about the persons and groups of journaled changes: wanted now, against what is open.

    Groups, where their planner is given: those that changed themselves, or that hold somebody who did; of a single person,
    their memberships.
    """
    nesting = await nesting_of(journal)
    people: dict[str, list[int]] = {}
    after = first - 1
    while True:
        async with journal.reading():
            lines = await journal.entries(after=after, until=last, guid=guid)
        if not lines:
            break
        after = lines[-1]["seq"]
        tell(Phase.LINES, after, last)
        for line in lines:
            if line["kind"] in ("delta", "action", "link") and line["guid"]:
                people.setdefault(line["guid"], []).append(line["seq"])
    rows = []
    for subject, decision in await planner.preview(sorted(people), nesting, now):
        if subject.node.entry.kind is not Kind.USER:
            continue  # a group or a contact that changed: nobody decides about it as about a person
        async with journal.reading():
            standing = (await journal.outbox.open_of([subject.node.guid])).get(subject.node.guid, [])
        wanted = [one.kind.value for one in decision.wanted]
        present = [one.kind.value for one in standing]
        rows.append(
            {
                "guid": subject.node.guid,
                "email": subject.node.entry.email,
                "changes": people[subject.node.guid],
                "wanted": wanted,
                "open": present,
                "differs": wanted != present,
                "why": decision.skipped
                or "; ".join(one.reason for one in decision.wanted)
                or "as it should be",
            }
        )
    if groups is None or not groups.is_on:
        return rows
    return [*rows, *await _replayed_groups(journal, groups, nesting, people, only=guid)]


async def _replayed_groups(
    journal: Journal, planner: GroupPlanner, nesting: Nesting, changed: Mapping[str, list[int]], *, only: str
) -> list[Json]:
    concerned = nesting.groups_holding(changed)
    rows = []
    for decision in await planner.preview(nesting):
        wanted = {GroupContent.wanted(one, decision.guid): one for one in decision.wanted}
        async with journal.reading():
            standing = {GroupContent.of(one) for one in await journal.groups.open_actions([decision.guid])}
        if only:
            wanted = {content: one for content, one in wanted.items() if content.guid == only}
            standing = {content for content in standing if content.guid == only}
        if decision.guid not in concerned and not any(content.guid in changed for content in wanted):
            continue
        subjects = {decision.guid, *nesting.users_of(decision.guid)[0], *(content.guid for content in wanted)}
        rows.append(
            {
                "guid": decision.guid,
                "email": "",
                "group": decision.name,
                "changes": sorted({seq for guid in subjects for seq in changed.get(guid, ())}),
                "wanted": _counted(wanted),
                "open": _counted(standing),
                "differs": set(wanted) != standing,
                "why": decision.failure
                or "; ".join(dict.fromkeys(one.reason for one in wanted.values()))
                or "as it should be",
            }
        )
    return rows


def _counted(contents: Iterable[GroupContent]) -> list[str]:
    """The kinds, with how many persons each is about."""
    counts = Counter(content.kind for content in contents)
    return [
        f"{kind.value} ({number})" if kind in MEMBERSHIP_KINDS else kind.value
        for kind, number in counts.items()
    ]

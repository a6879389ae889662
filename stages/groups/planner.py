"""The group planner: gathers what groups are about, asks `decide_groups`, and writes what is wanted ahead.

It holds no rule of its own: those stand in `pipeline.core.groups`, what may be sent in `pipeline.core.brake`. It runs
when the persons of a pass are through, so that nobody is put into a group before they are on the team.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from pipeline.core.brake import BrakeItem, HeldSet, Sent, apply_brake, count_window
from pipeline.core.groups import (
    GroupDecision,
    Mode,
    WantedGroup,
)
from pipeline.core.nesting import Nesting
from pipeline.core.plan import Note, NoteKind, label_of
from pipeline.errors import GroupGone
from pipeline.journal_port import Journal
from pipeline.model import MEMBERSHIP_KINDS, Action, ActionKind, State
from pipeline.ports import Clock, Team
from pipeline.records import GroupLink, HeldRecord, Node
from stages.groups.facts import GroupFacts, GroupOptions, Preview

GROUP_NOTES = frozenset({NoteKind.GROUP_FAILED, NoteKind.GROUP_LEFT_OUT, NoteKind.GROUP_KEPT})
SYNC_GROUP_FAULT = "group sync group"
MOST_LOOKS = 5
"""Linking shows more to look at, and so does listing; a look that shows nothing new comes before this."""


@dataclass(slots=True)
class GroupReport:
    """What the groups of a pass came to. `news`: notes that did not stand before."""

    held: tuple[HeldSet, ...] = ()
    news: list[Note] = field(default_factory=list)
    has_compared: bool = False


class GroupPlanner:
    def __init__(
        self, team: Team, journal: Journal, clock: Clock, options: GroupOptions, *, preview: Preview
    ) -> None:
        self._team = team
        self._journal = journal
        self._clock = clock
        self._options = options
        self._facts = GroupFacts(journal, clock, options, preview=preview)
        self._standing: dict[str, GroupDecision] = {}
        self._seen_at: datetime | None = None
        self._listed_in = 0  # the pass in which all groups were listed last

    async def is_needed(self) -> bool:
        """Whether groups are synced, or were, and still have to be let go."""
        if self._options.policy.mode is not Mode.OFF:
            return True
        return bool(await self._journal.groups.links() or await self._journal.groups.open_actions())

    async def preview(self, nesting: Nesting) -> list[GroupDecision]:
        """What would be decided about all groups from what the journal knows; reads and changes nothing else."""
        return await self._decide(nesting, None)

    async def _decide(self, nesting: Nesting, touched: frozenset[str] | None) -> list[GroupDecision]:
        standing = {guid: one.failure for guid, one in self._standing.items() if one.failure}
        return await self._facts.decide(nesting, touched, standing)

    async def plan(
        self,
        pass_id: int,
        nesting: Nesting,
        report: GroupReport,
        *,
        fault: str,
        compare: bool,
        touched: frozenset[str] | None,
        changed: frozenset[str] = frozenset(),
        seen_at: datetime | None = None,
    ) -> None:
        """Decides about the touched groups (None: all) and releases what may be sent. TeamReadError ends the pass.

        `seen_at`: when the changes behind it were seen. What failed for good is asked for again only in groups that the directory has `changed`.

        `fault`: why the group sync group can't be had; then nothing is done about any group.
        """
        separate = self._options.policy.mode is Mode.SEPARATE
        synced = self._facts.synced(nesting)
        if separate and not fault and not synced:
            fault = "no group is in it"
        if fault and separate:
            await self._tell_fault(report, fault)
            return
        for _ in range(MOST_LOOKS):
            if compare:
                await self._compare(pass_id)
                report.has_compared, compare = True, False
            touched = await self._look_again(pass_id, touched)
            decisions = await self._decide(nesting, touched)
            adopted = [one for one in decisions if one.adopt is not None]
            if adopted:
                await self._link(adopted, pass_id)
                continue
            if self._listed_in != pass_id and any(_needs_names(one) for one in decisions):
                # Whether a name is free, and whose the group is that has it, is looked at before it is asked for.
                await self._list(pass_id)
                continue
            break
        is_complete = nesting.is_complete(separate=separate)
        self._seen_at = seen_at
        await self._write(pass_id, decisions, report, is_complete=is_complete, changed=changed)

    # --- what the team says now

    async def _list(self, pass_id: int) -> None:
        groups = {group.group_id: group async for page in self._team.list_groups() for group in page}
        async with self._journal.transaction():
            await self._journal.groups.replace_all(list(groups.values()))
            # Deleted in Dropbox: to be created again (behaviour.md §6.5).
            lost = [
                link.group_id
                for link in (await self._journal.groups.links()).values()
                if link.group_id not in groups
            ]
            await self._journal.groups.forget(lost)
        self._listed_in = pass_id

    async def _compare(self, pass_id: int) -> None:
        """All groups, and who is in the linked ones."""
        await self._list(pass_id)
        async with self._journal.transaction():
            links = await self._journal.groups.links()
            await self._journal.groups.doubt([link.group_id for link in links.values()])
            await self._journal.put("groups_compared_at", self._clock.now().isoformat())

    async def _look_again(self, pass_id: int, touched: frozenset[str] | None) -> frozenset[str] | None:
        """Reads the groups that are in doubt; they are touched by it."""
        async with self._journal.reading():
            doubted = [link for link in (await self._journal.groups.links()).values() if link.doubted]
        if not doubted:
            return touched
        if self._listed_in != pass_id:
            await self._list(pass_id)
        async with self._journal.reading():
            present = await self._journal.groups.all()
        for link in doubted:
            members: set[str] = set()
            try:
                if link.group_id in present:
                    async for page in self._team.list_group_members(link.group_id):
                        members.update(page)
            except GroupGone:
                async with self._journal.transaction():
                    await self._journal.groups.forget([link.group_id])
                continue
            async with self._journal.transaction():
                await self._journal.groups.set_members(link.group_id, sorted(members))
                await self._journal.groups.doubt([link.group_id], doubted=False)
        return None if touched is None else touched | {link.guid for link in doubted}

    # --- decide

    # --- write ahead

    async def _link(self, adopted: Sequence[GroupDecision], pass_id: int) -> None:
        now = self._clock.now()
        async with self._journal.transaction():
            for one in adopted:
                assert one.adopt is not None
                team, how = one.adopt
                await self._journal.groups.link(
                    GroupLink(
                        guid=one.guid, group_id=team.group_id, how=how, at=now, name=one.name, doubted=True
                    )
                )
                row = {"kind": "link", "guid": one.guid, "cause": how, "pass_id": pass_id}
                await self._journal.append([{**row, "detail": {"group": one.name, "id": team.group_id}}], now)

    async def _write(
        self,
        pass_id: int,
        decisions: Sequence[GroupDecision],
        report: GroupReport,
        *,
        is_complete: bool,
        changed: frozenset[str],
    ) -> None:
        now = self._clock.now()
        journal = self._journal
        async with journal.transaction():
            waves: dict[str, int] = {}
            of_group: dict[str, list[Action]] = {}
            for action in await journal.groups.open_actions():
                of_group.setdefault(action.group_guid, []).append(action)
            for one in decisions:
                wanted = one.wanted
                if one.unlink or any(each.kind is ActionKind.GROUP_DELETE for each in wanted):
                    if not is_complete and self._options.policy.mode is not Mode.OFF:
                        continue  # it may still be in what can't be read
                    if one.unlink:
                        await journal.groups.unlink([one.guid])
                for each in wanted:
                    if each.kind not in MEMBERSHIP_KINDS:
                        waves[one.guid] = each.wave
                open_actions = of_group.pop(one.guid, [])
                if one.guid in changed:
                    again = [action for action in open_actions if action.state is State.FAILED]
                    await _supersede(journal, again, now)
                    open_actions = [action for action in open_actions if action not in again]
                await self._merge(one, open_actions, pass_id, now)
            # What is left is about groups that are neither synced nor linked any more.
            await _supersede(journal, [each for group in of_group.values() for each in group], now)
            await self._tell(decisions, report)
            await self._release(report, waves, now)

    async def _merge(
        self, one: GroupDecision, open_actions: Sequence[Action], pass_id: int, now: datetime
    ) -> None:
        """What stays, what is no longer wanted, what is new."""
        standing = {_content(action): action for action in open_actions}
        wanted = {(each.kind, each.guid, each.name, each.external_id): each for each in one.wanted}
        obsolete = [
            action
            for content, action in standing.items()
            if content not in wanted and (one.has_members or action.kind not in MEMBERSHIP_KINDS)
        ]
        await _supersede(self._journal, obsolete, now)
        if one.group_id and any(action.group_id != one.group_id for action in open_actions):
            await self._journal.groups.set_group_id(one.guid, one.group_id)  # created again meanwhile
        new = [each for content, each in wanted.items() if content not in standing]
        await self._journal.groups.add_actions(
            [_named(each, one) for each in new],
            group_guid=one.guid,
            group_id=one.group_id,
            pass_id=pass_id,
            now=now,
            seen_at=self._seen_at,
        )

    # --- what is told

    async def _tell_fault(self, report: GroupReport, fault: str) -> None:
        name = self._options.sync_group
        note = Note(
            kind=NoteKind.GROUP_FAILED,
            guid=SYNC_GROUP_FAULT,
            label=name,
            detail=f"{SYNC_GROUP_FAULT}: {fault}; no group was touched",
        )
        report.held = ()
        async with self._journal.transaction():
            await self._set_notes([SYNC_GROUP_FAULT], [note], report)

    async def _tell(self, decisions: Sequence[GroupDecision], report: GroupReport) -> None:
        notes: list[Note] = []
        fresh: dict[str, GroupDecision] = {}
        for one in decisions:
            before = self._standing.get(one.guid)
            left_out = one.left_out if one.has_members or before is None else before.left_out
            if not one.unlink:
                fresh[one.guid] = GroupDecision(
                    guid=one.guid, name=one.name, failure=one.failure, fault=one.fault, left_out=left_out
                )
            if one.failure:
                detail = f"{one.fault}: {one.failure}"
                notes.append(Note(kind=NoteKind.GROUP_FAILED, guid=one.guid, label=one.name, detail=detail))
            elif left_out:
                detail = await self._who(left_out)
                notes.append(Note(kind=NoteKind.GROUP_LEFT_OUT, guid=one.guid, label=one.name, detail=detail))
            if one.unlink:
                detail = "no longer synced: the Dropbox group stays as it is, unlinked"
                notes.append(Note(kind=NoteKind.GROUP_KEPT, guid=one.guid, label=one.name, detail=detail))
        self._standing = fresh
        told = [note.guid for note in await self._journal.notes() if note.kind in GROUP_NOTES]
        await self._set_notes([*(one.guid for one in decisions), *told], notes, report)

    async def _who(self, left_out: Sequence[tuple[str, str]]) -> str:
        nodes = await self._journal.mirror.nodes(guid for guid, _ in left_out)
        shown = [f"{label_of(nodes[guid])} ({why})" for guid, why in left_out[:20] if guid in nodes]
        more = f" and {len(left_out) - 20} more" if len(left_out) > 20 else ""
        return f"left out: {', '.join(shown)}{more}"

    async def _set_notes(self, guids: Sequence[str], notes: Sequence[Note], report: GroupReport) -> None:
        before = await self._journal.notes_of(guids)
        await self._journal.set_notes(guids, notes)
        report.news += [note for note in notes if note not in before]

    # --- the brake

    async def _release(self, report: GroupReport, waves: Mapping[str, int], now: datetime) -> None:
        journal = self._journal
        report.held = ()
        actions = {one.id: one for one in await journal.outbox.unreleased(about_groups=True)}
        if not actions:
            return
        window = now - self._options.brake.window
        sent = await journal.outbox.sent_since(window, [ActionKind.GROUP_REMOVE])
        counts = count_window([_sent(one) for one in sent], now=now, policy=self._options.brake)
        nodes = await journal.mirror.nodes({one.guid for one in actions.values()})
        links = await journal.groups.links()
        members = await journal.groups.members_of({one.group_id for one in actions.values()} - {""})
        sizes = {guid: len(members.get(link.group_id, ())) for guid, link in links.items()}
        result = apply_brake(
            [_brake_item(action, nodes.get(action.guid)) for action in actions.values()],
            counts,
            await journal.links.count_managed(),
            self._options.brake,
            group_sizes=sizes,
        )
        report.held = result.held
        for held in result.held:
            await journal.outbox.hold([actions[item.ref] for item in held.items], _record(held, now))
        await journal.groups.release(
            [(actions[item.ref], waves.get(item.guid, 0)) for item in result.released]
        )


def _needs_names(one: GroupDecision) -> bool:
    return any(each.kind in (ActionKind.GROUP_CREATE, ActionKind.GROUP_RENAME) for each in one.wanted)


def _content(action: Action) -> tuple[ActionKind, str, str, str]:
    name = "" if action.kind in MEMBERSHIP_KINDS else action.group_name
    return (action.kind, action.guid, name, action.changes.external_id)


def _named(wanted: WantedGroup, one: GroupDecision) -> WantedGroup:
    """Rows of memberships carry the group's name for people; of the group itself, the name that is to be set."""
    return replace(wanted, name=one.name) if wanted.kind in MEMBERSHIP_KINDS else wanted


async def _supersede(journal: Journal, actions: Sequence[Action], now: datetime) -> None:
    await journal.outbox.supersede([one for one in actions if one.state is not State.SENDING], now)


def _brake_item(action: Action, node: Node | None) -> BrakeItem:
    is_membership = action.kind in MEMBERSHIP_KINDS
    return BrakeItem(
        guid=action.guid,
        kind=action.kind,
        group_guid=action.group_guid if is_membership else "",
        cause=action.cause,
        dn=node.entry.dn if node else "",
        seen_at=action.seen_at,
        approved=action.approved,
        ref=action.id,
    )


def _sent(action: Action) -> Sent:
    assert action.sent_at is not None
    return Sent(
        guid=action.guid,
        kind=action.kind,
        at=action.sent_at,
        group_guid=action.group_guid,
        approved=action.approved,
    )


def _record(held: HeldSet, now: datetime) -> HeldRecord:
    return HeldRecord(
        hash=held.hash,
        kind=held.subject.value,
        at=now,
        wanted=held.wanted,
        limit_text=held.rule,
        clusters=tuple(
            (f"{cluster.by}: {cluster.value}" if cluster.value else "others", cluster.count)
            for cluster in held.clusters
        ),
        items=tuple(
            (f"{item.group_guid}/{item.guid}" if item.group_guid else item.guid, item.kind.value)
            for item in held.items
        ),
    )

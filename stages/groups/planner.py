"""The group planner: gathers what groups are about, asks `decide_groups`, and writes what is wanted ahead.

It holds no rule of its own: those stand in `pipeline.core.groups`, what may be sent in `pipeline.core.brake`. It runs
when the persons of a pass are through, so that nobody is put into a group before they are on the team.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from pipeline.core.brake import HeldSet
from pipeline.core.group_values import GroupContent, GroupSelection
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
from pipeline.records import GroupLink
from stages.groups.facts import Decided, GroupFacts, GroupOptions, Preview
from stages.groups.release import GroupRelease

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
        self._release = GroupRelease(journal, options.brake)
        self._standing: dict[str, GroupDecision] = {}
        self._seen_at: datetime | None = None
        self._listed_in = 0  # the pass in which all groups were listed last

    @property
    def is_on(self) -> bool:
        return self._options.policy.mode is not Mode.OFF

    async def is_needed(self) -> bool:
        """Whether groups are synced, or were, and still have to be let go."""
        if self.is_on:
            return True
        return bool(await self._journal.groups.links() or await self._journal.groups.open_actions())

    async def preview(self, nesting: Nesting) -> list[GroupDecision]:
        """What would be decided about all groups from what the journal knows; reads and changes nothing else."""
        return (await self._decide(nesting, None)).decisions

    async def _decide(self, nesting: Nesting, touched: frozenset[str] | None) -> Decided:
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
        selection: GroupSelection | None = None,
    ) -> None:
        """Decides about the touched groups (None: all) and releases what may be sent. TeamReadError ends the pass.

        `seen_at`: when the changes behind it were seen. What failed for good is asked for again only in groups that the directory has `changed`.

        `fault`: why the group sync group can't be had; then nothing is done about any group. `selection` limits it to
        some writes; whatever else is wanted is left to the next pass.
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
            decided = await self._decide(nesting, touched)
            if selection is not None:
                decided = _selected(decided, selection)
            decisions = decided.decisions
            adopted = [one for one in decisions if one.adopt is not None]
            if adopted:
                await self._link(adopted, pass_id)
                continue
            if self._listed_in != pass_id and any(_needs_names(one) for one in decisions):
                # Whether a name is free, and whose the group is that has it, is looked at before it is asked for.
                await self._list(pass_id)
                continue
            break
        self._seen_at = seen_at
        if selection is not None:
            await self._write_selected(pass_id, decided, report, selection)
            return
        await self._write(pass_id, decisions, report, is_complete=decided.is_complete, changed=changed)

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
                if _has_left(one):
                    if not is_complete and self.is_on:
                        continue  # it may still be in what can't be read
                    if one.unlink:
                        await journal.groups.unlink([one.guid])
                await journal.groups.unpin(one.unpin)
                waves |= _wave(one)
                open_actions = of_group.pop(one.guid, [])
                if one.guid in changed:
                    again = [action for action in open_actions if action.state is State.FAILED]
                    await _supersede(journal, again, now)
                    open_actions = [action for action in open_actions if action not in again]
                await self._merge(one, open_actions, pass_id, now)
            # What is left is about groups that are neither synced nor linked any more.
            await _supersede(journal, [each for group in of_group.values() for each in group], now)
            await self._tell(decisions, report)
            report.held = await self._release.let_go(waves, now)

    async def _write_selected(
        self, pass_id: int, decided: Decided, report: GroupReport, selection: GroupSelection
    ) -> None:
        """What else is open stays as it is, and so does what is told."""
        now = self._clock.now()
        journal = self._journal
        async with journal.transaction():
            waves: dict[str, int] = {}
            for one in decided.decisions:
                if one.unlink or (_has_left(one) and not decided.is_complete and self.is_on):
                    continue
                waves |= _wave(one)
                open_actions = [
                    action
                    for action in await journal.groups.open_actions([one.guid])
                    if selection.allows(GroupContent.of(action))
                ]
                await self._merge(one, open_actions, pass_id, now)
            report.held = await self._release.let_go(waves, now, selection)

    async def _merge(
        self, one: GroupDecision, open_actions: Sequence[Action], pass_id: int, now: datetime
    ) -> None:
        """What stays, what is no longer wanted, what is new."""
        standing = {GroupContent.of(action): action for action in open_actions}
        wanted = {GroupContent.wanted(each, one.guid): each for each in one.wanted}
        obsolete = [
            action
            for content, action in standing.items()
            if content not in wanted and (one.has_members or content.kind not in MEMBERSHIP_KINDS)
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


def _needs_names(one: GroupDecision) -> bool:
    return any(each.kind in (ActionKind.GROUP_CREATE, ActionKind.GROUP_RENAME) for each in one.wanted)


def _has_left(one: GroupDecision) -> bool:
    """No longer to be synced; a group whose creation was undone is not one of them."""
    is_deleted = any(each.kind is ActionKind.GROUP_DELETE for each in one.wanted)
    return one.unlink or (is_deleted and not one.pinned)


def _wave(one: GroupDecision) -> dict[str, int]:
    waves = [each.wave for each in one.wanted if each.kind not in MEMBERSHIP_KINDS]
    return {one.guid: max(waves)} if waves else {}


def _selected(decided: Decided, selection: GroupSelection) -> Decided:
    """Only what the selection is about, and nobody put into a group that is not there and is not made now."""
    decisions = []
    for one in decided.decisions:
        wanted = tuple(each for each in one.wanted if selection.allows(GroupContent.wanted(each, one.guid)))
        if not one.group_id and not any(each.kind is ActionKind.GROUP_CREATE for each in wanted):
            wanted = ()
        decisions.append(replace(one, wanted=wanted, adopt=one.adopt if wanted else None))
    return replace(decided, decisions=decisions)


def _named(wanted: WantedGroup, one: GroupDecision) -> WantedGroup:
    """Rows of memberships carry the group's name for people; of the group itself, the name that is to be set."""
    return replace(wanted, name=one.name) if wanted.kind in MEMBERSHIP_KINDS else wanted


async def _supersede(journal: Journal, actions: Sequence[Action], now: datetime) -> None:
    await journal.outbox.supersede([one for one in actions if one.state is not State.SENDING], now)

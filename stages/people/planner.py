"""The planner: reads the members in question, asks `decide`, and writes what is wanted ahead into the outbox.

It holds no rule of its own: what is to be done stands in `pipeline.core.plan`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from pipeline.core.brake import BrakePolicy, HeldSet
from pipeline.core.exclusion import Exclusions
from pipeline.core.group_values import GroupSelection
from pipeline.core.identity import How, is_gone
from pipeline.core.mapping import Mapped, profile_of
from pipeline.core.merge import merge
from pipeline.core.namesake import Claim
from pipeline.core.nesting import Nesting
from pipeline.core.plan import NOTHING, Decision, Note, Policy, Subject, decide
from pipeline.core.settle import is_under_way
from pipeline.journal_port import Journal
from pipeline.model import Action, ActionKind, Kind, Member, Profile, State, Status
from pipeline.ports import Clock, Team
from pipeline.progress import Phase, is_watched, tell
from pipeline.records import Dirty, Link, Node
from stages.people.claims import Claims
from stages.people.facts import FactReader
from stages.people.member_reader import MemberReader
from stages.people.release import Release

BATCH = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannerOptions:
    policy: Policy = field(default_factory=Policy)
    brake: BrakePolicy = field(default_factory=BrakePolicy)
    exclusions: Exclusions = field(default_factory=Exclusions)
    external_id_format: str = "ad-guid:{objectGUID}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """A pass about some persons only; with `rows`, about exactly these actions (GUID, kind, changes).

    `groups`: which writes about groups go with it.
    """

    guids: frozenset[str]
    rows: frozenset[tuple[str, ActionKind, Profile]] | None = None
    groups: GroupSelection = field(default_factory=GroupSelection)

    def allows(self, action: Action) -> bool:
        if action.guid not in self.guids:
            return False
        return self.rows is None or (action.guid, action.kind, action.changes) in self.rows


@dataclass(slots=True)
class PlanReport:
    """What planning found, for the pass. What is to be told to people is kept in the journal instead."""

    decided: int = 0
    touched: set[str] = field(default_factory=set)  # persons who were decided about: their groups follow
    deferred: bool = False  # somebody has a write on its way, and is decided about when it has settled
    news: list[Note] = field(default_factory=list)  # notes that did not stand before
    skipped: dict[str, tuple[Node, str]] = field(default_factory=dict)
    held: tuple[HeldSet, ...] = ()
    stuck: list[Action] = field(default_factory=list)
    moved: list[Claim] = field(default_factory=list)  # approved, and met by this pass


class Planner:
    def __init__(self, team: Team, journal: Journal, clock: Clock, options: PlannerOptions) -> None:
        self._journal = journal
        self._clock = clock
        self._options = options
        self.rules = _digest(options)
        """Names the settings that decisions depend on: other ones ask for everybody to be decided about again."""
        self._claims = Claims(journal)
        self._facts = FactReader(
            journal, policy=options.policy, exclusions=options.exclusions, map_node=self._map
        )
        self._found_in_scope = ""  # a GUID
        self._release = Release(journal, clock, options.brake)
        self._reader = MemberReader(
            team, journal, map_node=self._map, adopts_legacy=options.policy.adopt_legacy
        )

    async def plan(
        self,
        pass_id: int,
        nesting: Nesting,
        report: PlanReport,
        *,
        fresh: bool,
        give_seats: Callable[[], Awaitable[None]],
        selection: Selection | None = None,
    ) -> int:
        """Decides about every dirty person, then lets go what the brake lets pass; returns how many were decided about.

        `fresh`: the whole team was just listed. `give_seats` is called between the two, in the same transaction. `selection`
        limits it to some persons. Persons with a write under way are left for when it has settled.
        """
        decided = 0
        deferred: set[str] = set()
        report.deferred = False
        while True:
            async with self._journal.reading():
                marks = await self._marks(deferred, selection)
                open_actions = await self._journal.outbox.open_of(mark.guid for mark in marks)
            is_last = len(marks) < BATCH
            under_way = {
                guid for guid, actions in open_actions.items() if any(is_under_way(one) for one in actions)
            }
            deferred |= under_way
            report.deferred = report.deferred or _is_being_sent(open_actions)
            marks = [mark for mark in marks if mark.guid not in under_way]
            if not marks:
                break
            guids = [mark.guid for mark in marks]
            # Who was invited while the team was listed may be missing in the listing.
            await self._reader.refresh(await self._reader.without_member(guids) if fresh else guids)
            if is_watched():
                async with self._journal.reading():
                    tell(Phase.DECIDING, decided, decided + await self._journal.count_dirty())
            async with self._journal.transaction():
                left_for_later = await self._decide(pass_id, nesting, marks, report)
                deferred |= left_for_later
                count = len(marks) - len(left_for_later)
                decided += count
                report.decided += count
                # The brake sees the plan whole. One that is decided at once is let go at once: one wait for the disk less.
                if is_last and not await self._marks(deferred, selection):
                    await give_seats()
                    await self.release(report, selection)
                    return decided
        async with self._journal.transaction():
            await give_seats()
            await self.release(report, selection)
        return decided

    async def _marks(self, deferred: set[str], selection: Selection | None) -> list[Dirty]:
        """A batch of those who are to be decided about."""
        guids = selection.guids if selection else None
        marks = await self._journal.dirty(BATCH + len(deferred), guids)
        return [mark for mark in marks if mark.guid not in deferred]

    async def has_scope(self, nesting: Nesting) -> bool:
        """Whether anybody listed has an e-mail and is not excluded. Inside `reading`."""
        self._found_in_scope = await self._facts.somebody_in_scope(nesting, self._found_in_scope)
        return bool(self._found_in_scope)

    # --- decide

    def _map(self, node: Node) -> Mapped:
        return profile_of(node.entry, external_id_format=self._options.external_id_format)

    async def _decide(
        self, pass_id: int, nesting: Nesting, marks: Sequence[Dirty], report: PlanReport
    ) -> set[str]:
        """Inside the caller's transaction. Returns whom it leaves for later: a write left while the members were read."""
        now = self._clock.now()
        journal = self._journal
        facts = await self._facts.gather([mark.guid for mark in marks], now)
        told = await journal.notes_of([mark.guid for mark in marks])
        under_way = {
            guid for guid, actions in facts.open_actions.items() if any(is_under_way(one) for one in actions)
        }
        report.deferred = report.deferred or _is_being_sent(facts.open_actions)
        marks = [mark for mark in marks if mark.guid not in under_way]
        timers: dict[str, datetime | None] = {}
        notes: list[Note] = []
        report.touched.update(mark.guid for mark in marks)
        # Approved claims first: what else is decided here must not be about an account that has just changed hands.
        first = facts.claims.approved_claimants
        marks.sort(key=lambda mark: mark.guid not in first)
        moved: set[str] = set()  # both persons, and the member, of links that were moved
        left: set[str] = set()
        decided: list[Dirty] = []
        among_these = {mark.guid for mark in marks}
        for mark in marks:
            if mark.guid in moved:
                continue  # looked at afresh in the next round
            node = facts.nodes.get(mark.guid)
            actions = facts.open_actions.get(mark.guid, ())
            report.skipped.pop(mark.guid, None)
            if node is None or (node.entry.kind is not Kind.USER and mark.guid not in facts.links):
                reason = (
                    "no longer in the mirror"
                    if node is None
                    else f"a {node.entry.kind.value} object, not a person"
                )
                if node is not None and node.entry.kind not in (Kind.GROUP, Kind.OTHER):
                    report.skipped[mark.guid] = (node, reason)
                await journal.outbox.supersede(actions, now)
                await self._claims.judge(mark.guid, None, facts.claims, now)
                decided.append(mark)
                continue
            subject = self._facts.subject(node, facts, nesting)
            claim = subject.claim if subject.claim is not None and subject.claim.is_released else None
            if claim is not None and claim.member.member_id in moved:
                continue
            if claim is not None and (busy := await self._claims.under_way_of(claim)):
                left.add(mark.guid)
                report.deferred = report.deferred or _is_being_sent({claim.holder.guid: busy})
                continue
            decision = decide(subject, self._options.policy, now)
            if decision.adopt is not None and decision.adopt[1] is How.APPROVED:
                assert claim is not None
                await self._claims.move(claim, pass_id, now)
                report.moved.append(claim)
                report.touched.add(claim.holder.guid)
                moved |= {claim.holder.guid, claim.member.member_id}
            await self._write(pass_id, mark, subject, decision, actions, now)
            await self._claims.judge(mark.guid, decision.claim, facts.claims, now)
            claimants = facts.claims.claimants_of(mark.guid)
            if not node.listed and subject.match.member is not None:
                claimants |= set(facts.same_email.get(subject.match.member.email, ())) - facts.at_home
            await self._claims.look_at_claimants(claimants - among_these, now)
            decided.append(mark)
            timers[mark.guid] = decision.look_again
            notes += decision.notes
            if decision.skipped and (node.listed or subject.link is not None):
                report.skipped[mark.guid] = (node, decision.skipped)
        await journal.set_timers(timers)
        guids = [mark.guid for mark in decided]
        report.news += [note for note in notes if note not in told]
        await journal.set_notes(guids, notes)
        await journal.clear_dirty(decided)
        return under_way | left

    async def preview(
        self, guids: Sequence[str], nesting: Nesting, now: datetime
    ) -> list[tuple[Subject, Decision]]:
        """What would be decided about these persons from what the journal knows; reads and changes nothing else."""
        async with self._journal.reading():
            facts = await self._facts.gather(guids, now)
        subjects = [self._facts.subject(node, facts, nesting) for node in facts.nodes.values()]
        return [(subject, decide(subject, self._options.policy, now)) for subject in subjects]

    async def in_question(self, nesting: Nesting, members: Sequence[Member]) -> set[str]:
        """The persons linked to these members, by GUID, but for those about whom `decide` wants, notes and awaits nothing.

        The members are as the team has just told them. Whoever is linked to an account that is gone is always in question.
        """
        now = self._clock.now()
        async with self._journal.reading():
            at_rest, others = await self._journal.links.of_members(member.member_id for member in members)
        facts = self._facts.of_linked(at_rest, members, now)
        policy = self._options.policy
        found = set(others)
        for link, node in at_rest:
            if is_gone(facts.linked[link.member_id]):
                found.add(link.guid)
                continue
            # Whoever wants something is decided about once more, and then with the path in its reason.
            decision = decide(self._facts.subject(node, facts, nesting, with_path=False), policy, now)
            if decision is not NOTHING and decision != NOTHING:
                found.add(link.guid)
        return found

    async def _write(
        self,
        pass_id: int,
        mark: Dirty,
        subject: Subject,
        decision: Decision,
        actions: Sequence[Action],
        now: datetime,
    ) -> None:
        journal = self._journal
        guid = mark.guid
        member = subject.match.member
        adopted, how = decision.adopt or (None, How.NONE)
        if adopted is not None and how is not How.APPROVED:
            await journal.links.set(
                Link(
                    guid=guid,
                    member_id=adopted.member_id,
                    how=how.value,
                    at=now,
                    old_external_id=adopted.external_id,
                )
            )
            row = {
                "kind": "link",
                "guid": guid,
                "email": adopted.email,
                "cause": how.value,
                "pass_id": pass_id,
            }
            await journal.append([{**row, "detail": {"old_external_id": adopted.external_id}}], now)
        elif (
            adopted is None
            and member is not None
            and member.status is Status.ACTIVE
            and subject.link
            and subject.link.suspended_by_us
        ):
            await journal.links.mark_suspended(
                guid, by_us=False
            )  # somebody lifted it: the next one isn't ours
        merged = merge(actions, decision.wanted, person_changed=mark.cause in ("delta", "retry"))
        await journal.outbox.supersede(merged.supersede, now)
        for wanted, approved in merged.insert:
            await journal.outbox.add(
                wanted,
                guid=guid,
                email=(member.email if member else wanted.changes.email) or subject.mapped.profile.email,
                member_id=member.member_id if member and wanted.kind is not ActionKind.INVITE else "",
                precondition=member.status.value if member else "",
                before=_shown(member),
                pass_id=pass_id,
                now=now,
                seen_at=mark.seen_at,
                approved=approved,
            )

    async def release(self, report: PlanReport, selection: Selection | None = None) -> None:
        """Inside the caller's transaction: lets go what the brake lets pass, holds the rest."""
        let_go = await self._release.let_go(selection.allows if selection else None)
        report.held = let_go.held
        report.stuck += let_go.stuck
        report.deferred = report.deferred or let_go.again


def _digest(options: PlannerOptions) -> str:
    text = repr(
        (
            options.policy,
            options.exclusions.email_patterns,
            sorted(options.exclusions.guids),
            options.external_id_format,
        )
    )
    return hashlib.sha256(text.encode()).hexdigest()


def _is_being_sent(open_actions: Mapping[str, Sequence[Action]]) -> bool:
    return any(one.state is State.SENDING for actions in open_actions.values() for one in actions)


def _shown(member: Member | None) -> Profile:
    if member is None:
        return Profile()
    return Profile(
        email=member.email,
        given_name=member.given_name,
        surname=member.surname,
        external_id=member.external_id,
    )

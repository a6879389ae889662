"""The planner: reads the members in question, asks `decide`, and writes what is wanted ahead into the outbox.

It holds no rule of its own: what is to be done stands in `pipeline.core.plan`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from pipeline.core.brake import BrakePolicy, HeldSet
from pipeline.core.exclusion import Exclusions
from pipeline.core.identity import LEGACY_PREFIX, Candidates, match
from pipeline.core.mapping import Mapped, profile_of
from pipeline.core.merge import merge
from pipeline.core.nesting import Nesting
from pipeline.core.plan import Decision, Note, Policy, Subject, decide, label_of
from pipeline.core.settle import is_under_way
from pipeline.journal_port import Journal
from pipeline.model import Action, ActionKind, Kind, Member, Profile, State, Status
from pipeline.ports import Clock, Team
from pipeline.records import Dirty, Link, Node, Pin
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
    """A pass about some persons only; with `rows`, about exactly these actions (GUID, kind, changes)."""

    guids: frozenset[str]
    rows: frozenset[tuple[str, ActionKind, Profile]] | None = None

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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Facts:
    """Everything that the decisions of one batch read, as it stands in one transaction."""

    nodes: Mapping[str, Node]
    links: Mapping[str, Link]
    mapped: Mapping[str, Mapped]
    linked: Mapping[str, Member]
    by_external: Mapping[str, Sequence[Member]]
    by_email: Mapping[str, Sequence[Member]]
    holders: Mapping[str, str]
    same_email: Mapping[str, Sequence[str]]
    at_home: frozenset[
        str
    ]  # people who share an e-mail with a leaver's account, and have an account of their own
    open_actions: Mapping[str, Sequence[Action]]
    pins: Mapping[str, Pin]
    labels: Mapping[str, str]


class Planner:
    def __init__(self, team: Team, journal: Journal, clock: Clock, options: PlannerOptions) -> None:
        self._journal = journal
        self._clock = clock
        self._options = options
        self._release = Release(journal, clock, options.brake)
        self._reader = MemberReader(
            team, journal, map_node=self._map, adopts_legacy=options.policy.adopt_legacy
        )

    @property
    def rules(self) -> str:
        """Names the settings that decisions depend on: other ones ask for everybody to be decided about again."""
        options = self._options
        text = repr(
            (
                options.policy,
                options.exclusions.email_patterns,
                sorted(options.exclusions.guids),
                options.external_id_format,
            )
        )
        return hashlib.sha256(text.encode()).hexdigest()

    async def plan(
        self,
        pass_id: int,
        nesting: Nesting,
        report: PlanReport,
        *,
        fresh: bool,
        selection: Selection | None = None,
    ) -> int:
        """Decides about every dirty person; returns how many. `fresh`: the whole team was just listed.

        `selection` limits it to some persons. Persons with a write under way are left for when it has settled.
        """
        decided = 0
        deferred: set[str] = set()
        report.deferred = False
        while True:
            async with self._journal.reading():
                marks = [
                    mark
                    for mark in await self._journal.dirty(
                        BATCH + len(deferred), selection.guids if selection else None
                    )
                    if mark.guid not in deferred
                ]
                open_actions = await self._journal.outbox.open_of(mark.guid for mark in marks)
            under_way = {
                guid for guid, actions in open_actions.items() if any(is_under_way(one) for one in actions)
            }
            deferred |= under_way
            report.deferred = report.deferred or _is_being_sent(open_actions)
            marks = [mark for mark in marks if mark.guid not in under_way]
            if not marks:
                return decided
            guids = [mark.guid for mark in marks]
            # Who was invited while the team was listed may be missing in the listing.
            await self._reader.refresh(await self._reader.without_member(guids) if fresh else guids)
            left_for_later = await self._decide(pass_id, nesting, marks, report)
            deferred |= left_for_later
            decided += len(marks) - len(left_for_later)
            report.decided += len(marks) - len(left_for_later)

    # --- decide

    def _map(self, node: Node) -> Mapped:
        return profile_of(node.entry, external_id_format=self._options.external_id_format)

    async def _decide(
        self, pass_id: int, nesting: Nesting, marks: Sequence[Dirty], report: PlanReport
    ) -> set[str]:
        """Returns those who are left for later: a write of theirs left while the members were read."""
        now = self._clock.now()
        journal = self._journal
        async with journal.transaction():
            facts = await self._facts([mark.guid for mark in marks])
            under_way = {
                guid
                for guid, actions in facts.open_actions.items()
                if any(is_under_way(one) for one in actions)
            }
            report.deferred = report.deferred or _is_being_sent(facts.open_actions)
            marks = [mark for mark in marks if mark.guid not in under_way]
            timers: dict[str, datetime | None] = {}
            notes: list[Note] = []
            report.touched.update(mark.guid for mark in marks)
            for mark in marks:
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
                    continue
                subject = self._subject(node, facts, nesting)
                decision = decide(subject, self._options.policy, now)
                await self._write(pass_id, mark, subject, decision, actions, now)
                timers[mark.guid] = decision.look_again
                notes += decision.notes
                if decision.skipped and (node.listed or subject.link is not None):
                    report.skipped[mark.guid] = (node, decision.skipped)
            await journal.set_timers(timers)
            told = await journal.notes_of([mark.guid for mark in marks])
            report.news += [note for note in notes if note not in told]
            await journal.set_notes([mark.guid for mark in marks], notes)
            await journal.clear_dirty(marks)
        return under_way

    async def preview(
        self, guids: Sequence[str], nesting: Nesting, now: datetime
    ) -> list[tuple[Subject, Decision]]:
        """What would be decided about these persons from what the journal knows; reads and changes nothing else."""
        async with self._journal.reading():
            facts = await self._facts(guids)
        subjects = [self._subject(node, facts, nesting) for node in facts.nodes.values()]
        return [(subject, decide(subject, self._options.policy, now)) for subject in subjects]

    async def _facts(self, guids: Sequence[str]) -> _Facts:
        journal = self._journal
        nodes = await journal.mirror.nodes(guids)
        links = await journal.links.of(guids)
        mapped = {guid: self._map(node) for guid, node in nodes.items()}
        linked = await journal.members.by_id(link.member_id for link in links.values())
        external_ids = {one.profile.external_id for one in mapped.values()} | {
            f"{LEGACY_PREFIX}{node.entry.sid}" for node in nodes.values() if node.entry.sid
        }
        by_external = await journal.members.by_external_id(sorted(external_ids - {""}))
        member_emails = {member.email for member in linked.values()}
        emails = sorted(({one.profile.email for one in mapped.values()} | member_emails) - {""})
        by_email = await journal.members.by_email(emails)
        candidates = {
            member.member_id for members in (*by_external.values(), *by_email.values()) for member in members
        }
        holders = await journal.links.holders(sorted(candidates))
        same_email = await journal.mirror.listed_with_email(emails)
        others = {guid for group in same_email.values() if len(group) > 1 for guid in group}
        others |= {guid for group in same_email.values() for guid in group if guid not in nodes}
        claimed = {linked[link.member_id].email for link in links.values() if link.member_id in linked}
        own_links = await journal.links.of(
            sorted({guid for email in claimed for guid in same_email.get(email, ())})
        )
        own_members = await journal.members.by_id(link.member_id for link in own_links.values())
        labels = {guid: label_of(node) for guid, node in (await journal.mirror.nodes(sorted(others))).items()}
        return _Facts(
            nodes=nodes,
            links=links,
            mapped=mapped,
            linked=linked,
            by_external=by_external,
            by_email=by_email,
            holders=holders,
            same_email=same_email,
            at_home=frozenset(
                guid
                for guid, link in own_links.items()
                if (own := own_members.get(link.member_id)) is not None and own.status is not Status.REMOVED
            ),
            open_actions=await journal.outbox.open_of(guids),
            pins=await journal.pins(guids),
            labels={**{guid: label_of(node) for guid, node in nodes.items()}, **labels},
        )

    def _subject(self, node: Node, facts: _Facts, nesting: Nesting) -> Subject:
        guid = node.guid
        if nesting.is_opaque_member(guid):
            node = replace(
                node, listed=True, seen=False
            )  # the group holds it, and the account can't see what it is
        link = facts.links.get(guid)
        mapped = facts.mapped[guid]
        policy = self._options.policy
        email = mapped.profile.email
        candidates = Candidates(
            linked=facts.linked.get(link.member_id) if link else None,
            by_external_id=facts.by_external.get(mapped.profile.external_id, ())
            if mapped.profile.external_id
            else (),
            by_legacy_id=facts.by_external.get(f"{LEGACY_PREFIX}{node.entry.sid}", ())
            if node.entry.sid and policy.adopt_legacy
            else (),
            by_email=facts.by_email.get(email, ()) if email and node.listed else (),
        )
        found = match(
            guid,
            link,
            candidates,
            facts.holders,
            own_format=policy.external_id_format,
            legacy_belongs=policy.adopt_legacy and not policy.overwrite_foreign_ids,
        )
        member_email = found.member.email if found.member else ""
        twins = (
            [other for other in facts.same_email.get(email, ()) if other != guid]
            if email and node.listed
            else []
        )
        heirs = (
            [
                other
                for other in facts.same_email.get(member_email, ())
                if other != guid and other not in facts.at_home
            ]
            if not node.listed
            else []
        )
        group = "in the exclusion group" if nesting.is_excluded(guid) or node.died_excluded else None
        reason = group or self._options.exclusions.reason(
            guid, directory_email=node.entry.email, member_email=member_email
        )
        return Subject(
            node=node,
            mapped=mapped,
            link=link,
            match=found,
            excluded=reason or "",
            duplicate_of=facts.labels.get(twins[0], twins[0]) if twins else "",
            claimed_by=facts.labels.get(heirs[0], heirs[0]) if heirs else "",
            pin=facts.pins.get(guid),
            scope_path=nesting.path(guid) if node.listed else (),
        )

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
        if decision.adopt is not None:
            adopted, how = decision.adopt
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
            member is not None
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

    async def release(self, report: PlanReport, selection: Selection | None = None) -> bool:
        """Lets go what the brake lets pass, holds the rest. True: something is held."""
        report.held = await self._release.let_go(selection.allows if selection else None)
        return bool(report.held)


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

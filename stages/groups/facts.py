"""What groups are about, as it stands in the journal: the facts of a decision, and the decision itself."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from pipeline.core.brake import BrakePolicy
from pipeline.core.exclusion import Exclusions
from pipeline.core.groups import (
    DirectoryGroup,
    GroupDecision,
    GroupPolicy,
    Known,
    Mode,
    Person,
    decide_groups,
)
from pipeline.core.mapping import external_id_of
from pipeline.core.nesting import Nesting
from pipeline.core.plan import Decision, Policy, Subject, is_disabled, label_of
from pipeline.journal_port import Journal
from pipeline.model import ActionKind, Kind, Member
from pipeline.ports import Clock
from pipeline.records import Node

Preview = Callable[[Sequence[str], Nesting, datetime], Awaitable[list[tuple[Subject, Decision]]]]
"""What would be decided about these persons: tells why somebody is not managed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupOptions:
    policy: GroupPolicy = field(default_factory=GroupPolicy)
    persons: Policy = field(default_factory=Policy)
    brake: BrakePolicy = field(default_factory=BrakePolicy)
    exclusions: Exclusions = field(default_factory=Exclusions)
    external_id_format: str = "ad-guid:{objectGUID}"
    sync_group: str = ""  # as configured, for what is told


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """`is_complete`: nothing below the sync group was unreadable, so that a missing group is a group that left."""

    decisions: list[GroupDecision]
    is_complete: bool


class GroupFacts:
    """Reads the journal only."""

    def __init__(self, journal: Journal, clock: Clock, options: GroupOptions, *, preview: Preview) -> None:
        self._journal = journal
        self._clock = clock
        self._options = options
        self._preview = preview

    def synced(self, nesting: Nesting) -> frozenset[str]:
        """The directory groups that are to be synced."""
        mode = self._options.policy.mode
        return nesting.synced_groups(separate=mode is Mode.SEPARATE) if mode is not Mode.OFF else frozenset()

    async def decide(
        self, nesting: Nesting, touched: frozenset[str] | None, standing: Mapping[str, str]
    ) -> Decided:
        """`touched`, `standing`: as `decide_groups` takes them."""
        # In one go, with nothing awaited in between: the poller goes on meanwhile, and a group that was deleted since it
        # was found to be synced would look emptied.
        synced = self.synced(nesting)
        inside = {guid: nesting.users_of(guid) for guid in synced if touched is None or guid in touched}
        is_complete = nesting.is_complete(separate=self._options.policy.mode is Mode.SEPARATE)
        journal = self._journal
        async with journal.reading():
            links = await journal.groups.links()
            team_groups = await journal.groups.all()
            pins = await journal.groups.pins()
            nodes = await journal.mirror.nodes(synced)
            looked_at = [guid for guid in inside if guid in nodes]
            members = await journal.groups.members_of(
                links[guid].group_id for guid in looked_at if guid in links
            )
            holders = await journal.links.holders({one for present in members.values() for one in present})
        groups = []
        people: set[str] = {*holders.values(), *(guid for subjects in pins.values() for guid in subjects)}
        for guid, node in nodes.items():
            users, is_opaque = inside.get(guid, (frozenset(), False))
            people |= users
            groups.append(self._group(node, users, is_opaque=is_opaque))
        persons = await self._persons(nesting, people)
        known = Known(
            team_groups=team_groups,
            links={guid: link.group_id for guid, link in links.items()},
            names={guid: link.name for guid, link in links.items()},
            members=members,
            holders=holders,
            pins=pins,
        )
        gone = [guid for guid in links if guid not in synced]
        decisions = decide_groups(
            groups, gone, persons, known, self._options.policy, touched=touched, standing=standing
        )
        return Decided(decisions=decisions, is_complete=is_complete)

    def _group(self, node: Node, users: frozenset[str], *, is_opaque: bool) -> DirectoryGroup:
        return DirectoryGroup(
            guid=node.guid,
            name=node.entry.name,
            sid=node.entry.sid,
            external_id=external_id_of(node.entry, self._options.external_id_format),
            users=users,
            is_opaque=is_opaque,
        )

    async def _persons(self, nesting: Nesting, guids: Iterable[str]) -> dict[str, Person]:
        now = self._clock.now()
        journal = self._journal
        async with journal.reading():
            nodes = await journal.mirror.nodes(guids)
            links = await journal.links.of(nodes)
            members = await journal.members.by_id(link.member_id for link in links.values())
        persons: dict[str, Person] = {}
        unmanaged = []
        for guid, node in nodes.items():
            if node.entry.kind is not Kind.USER:
                continue
            link = links.get(guid)
            member = members.get(link.member_id) if link else None
            persons[guid] = self._person(nesting, node, member, now)
            if link is None and node.listed and not persons[guid].is_disabled:
                unmanaged.append(guid)
        if unmanaged:
            for subject, decision in await self._preview(unmanaged, nesting, now):
                guid = subject.node.guid
                persons[guid] = _with_trouble(persons[guid], decision)
        return persons

    def _person(self, nesting: Nesting, node: Node, member: Member | None, now: datetime) -> Person:
        email = member.email if member else ""
        excluded = (
            "in the exclusion group"
            if nesting.is_excluded(node.guid)
            else self._options.exclusions.reason(
                node.guid, directory_email=node.entry.email, member_email=email
            )
        )
        return Person(
            guid=node.guid,
            label=email or label_of(node),
            member_id=member.member_id if member else "",
            status=member.status if member else None,
            is_listed=node.listed and node.live,
            # A full read that no longer shows somebody proves it as little for their groups as for their account.
            is_leaving=not node.listed and node.live and node.left_at is not None and not node.left_confirmed,
            is_seen=node.seen or not node.live,
            is_disabled=is_disabled(node, self._options.persons, now),
            excluded=excluded or "",
        )


def _with_trouble(person: Person, decision: Decision) -> Person:
    is_coming = decision.adopt is not None or any(
        one.kind in (ActionKind.INVITE, ActionKind.RECOVER) for one in decision.wanted
    )
    return person if is_coming else replace(person, trouble=decision.skipped or "not managed")

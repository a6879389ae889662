"""What persons are about, as it stands in the journal: the facts of a decision, and who it is about."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from pipeline.core.exclusion import Exclusions
from pipeline.core.identity import LEGACY_PREFIX, Candidates, How, by_link, match
from pipeline.core.mapping import Mapped
from pipeline.core.namesake import Claim, claim_on
from pipeline.core.nesting import Nesting
from pipeline.core.plan import Policy, Subject, is_disabled, label_of
from pipeline.journal_port import Journal
from pipeline.model import Action, ActionKind, Member, State, Status
from pipeline.records import Link, Node, Pin
from stages.people.claims import StandingClaims

FIRST_LOOK, LATER_LOOKS = 10, 500  # people read at once to find somebody in scope


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Everything that the decisions of one batch read, as it stands in one transaction."""

    now: datetime
    nodes: Mapping[str, Node]
    links: Mapping[str, Link]
    mapped: Mapping[str, Mapped]
    linked: Mapping[str, Member]
    by_external: Mapping[
        str, Sequence[Member]
    ]  # this and what follows: for those with no living account by their link
    by_email: Mapping[str, Sequence[Member]]
    holders: Mapping[str, str]
    holder_nodes: Mapping[str, Node]
    holder_links: Mapping[str, Link]
    claims: StandingClaims
    same_email: Mapping[str, Sequence[str]]
    at_home: frozenset[
        str
    ]  # people who share an e-mail with a leaver's account, and have an account of their own
    open_actions: Mapping[str, Sequence[Action]]
    pins: Mapping[str, Pin]
    labels: Mapping[str, str]
    owned: frozenset[str]  # external ids of the original connector that name somebody in the mirror


class FactReader:
    """`map_node` gives what the directory wants a member to show."""

    def __init__(
        self,
        journal: Journal,
        *,
        policy: Policy,
        exclusions: Exclusions,
        map_node: Callable[[Node], Mapped],
    ) -> None:
        self._journal = journal
        self._policy = policy
        self._exclusions = exclusions
        self._map = map_node

    async def gather(self, guids: Sequence[str], now: datetime) -> Facts:
        """Inside the caller's transaction, or reading."""
        journal = self._journal
        nodes = await journal.mirror.nodes(guids)
        links = await journal.links.of(guids)
        mapped = {guid: self._map(node) for guid, node in nodes.items()}
        linked = await journal.members.by_id(link.member_id for link in links.values())
        # Whoever is linked to a living account needs no other candidate (`by_link`).
        seeking = [
            guid
            for guid in nodes
            if (link := links.get(guid)) is None or by_link(linked.get(link.member_id)) is None
        ]
        external_ids = {mapped[guid].profile.external_id for guid in seeking} | {
            f"{LEGACY_PREFIX}{sid}" for guid in seeking if (sid := nodes[guid].entry.sid)
        }
        by_external = await journal.members.by_external_id(sorted(external_ids - {""}))
        by_email = await journal.members.by_email(
            sorted({mapped[guid].profile.email for guid in seeking} - {""})
        )
        member_emails = {member.email for member in linked.values()}
        emails = sorted(({one.profile.email for one in mapped.values()} | member_emails) - {""})
        candidates = {
            member.member_id for members in (*by_external.values(), *by_email.values()) for member in members
        }
        holders = await journal.links.holders(sorted(candidates))
        known_holders = set(holders.values())
        absent_holders = sorted(known_holders - set(nodes))
        same_email = await journal.mirror.listed_with_email(emails)
        others = {guid for group in same_email.values() if len(group) > 1 for guid in group}
        others |= {guid for group in same_email.values() for guid in group if guid not in nodes}
        claimed = {linked[link.member_id].email for link in links.values() if link.member_id in linked}
        bearers = {guid for email in claimed for guid in same_email.get(email, ())}
        own_links = links | await journal.links.of(sorted(bearers.difference(guids)))
        own_members = linked | await journal.members.by_id(
            link.member_id for link in own_links.values() if link.member_id not in linked
        )
        labels = {guid: label_of(node) for guid, node in (await journal.mirror.nodes(sorted(others))).items()}
        return Facts(
            now=now,
            nodes=nodes,
            links=links,
            mapped=mapped,
            linked=linked,
            by_external=by_external,
            by_email=by_email,
            holders=holders,
            holder_nodes={**nodes, **await journal.mirror.nodes(absent_holders)},
            holder_links={**links, **await journal.links.of(absent_holders)},
            claims=StandingClaims(await journal.outbox.claims()),
            same_email=same_email,
            at_home=frozenset(
                guid
                for guid in bearers & own_links.keys()
                if (own := own_members.get(own_links[guid].member_id)) is not None
                and own.status is not Status.REMOVED
            ),
            open_actions=await journal.outbox.open_of(guids),
            pins=await journal.pins(guids),
            labels={**{guid: label_of(node) for guid, node in nodes.items()}, **labels},
            owned=await self._owned(by_email),
        )

    async def _owned(self, by_email: Mapping[str, Sequence[Member]]) -> frozenset[str]:
        """Asked for only where such ids may be overwritten: who bears one may not have been matched yet."""
        policy = self._policy
        if not (policy.adopt_legacy and policy.overwrite_foreign_ids):
            return frozenset()
        ids = {member.external_id for members in by_email.values() for member in members}
        sids = sorted(one.removeprefix(LEGACY_PREFIX) for one in ids if one.startswith(LEGACY_PREFIX))
        known = await self._journal.mirror.known_sids(sids) if sids else ()
        return frozenset(f"{LEGACY_PREFIX}{sid}" for sid in known)

    def of_linked(
        self, pairs: Sequence[tuple[Link, Node]], members: Sequence[Member], now: datetime
    ) -> Facts:
        """For persons at rest whose living accounts are among `members`: no other member or person matters for them."""
        return Facts(
            now=now,
            nodes={node.guid: node for _, node in pairs},
            links={link.guid: link for link, _ in pairs},
            mapped={node.guid: self._map(node) for _, node in pairs},
            linked={member.member_id: member for member in members},
            by_external={},
            by_email={},
            holders={},
            holder_nodes={},
            holder_links={},
            claims=StandingClaims(()),
            same_email={},
            at_home=frozenset(),
            open_actions={},
            pins={},
            labels={},
            owned=frozenset(),
        )

    async def somebody_in_scope(self, nesting: Nesting, first: str = "") -> str:
        """The GUID of a listed person with an e-mail who is not excluded; "" when there is none. Inside `reading`.

        `first`: who was found before, and most likely still is. All are read only where nearly all are excluded.
        """
        mirror = self._journal.mirror
        some = list((await mirror.nodes([first])).values()) if first else []
        after, most = "", FIRST_LOOK
        while True:
            for node in some:
                is_in_question = node.listed and node.live and node.entry.email
                if is_in_question and not self._excluded(node, "", nesting):
                    return node.guid
            some = await mirror.addressed(after, most)
            if not some:
                return ""
            after, most = some[-1].guid, LATER_LOOKS

    def subject(self, node: Node, facts: Facts, nesting: Nesting, *, with_path: bool = True) -> Subject:
        """`with_path`: the way through the groups is looked up, which only the words of a reason need."""
        guid = node.guid
        node = _as_held(node, nesting)
        link = facts.links.get(guid)
        mapped = facts.mapped[guid]
        policy = self._policy
        email = mapped.profile.email
        linked = facts.linked.get(link.member_id) if link else None
        same_address = facts.by_email.get(email, ()) if email and node.listed else ()
        found = by_link(linked) or match(
            guid,
            link,
            Candidates(
                linked=linked,
                by_external_id=facts.by_external.get(mapped.profile.external_id, ())
                if mapped.profile.external_id
                else (),
                by_legacy_id=facts.by_external.get(f"{LEGACY_PREFIX}{node.entry.sid}", ())
                if node.entry.sid and policy.adopt_legacy
                else (),
                by_email=same_address,
            ),
            facts.holders,
            own_format=policy.external_id_format,
            legacy_belongs=policy.adopt_legacy
            and (
                not policy.overwrite_foreign_ids
                or any(one.external_id in facts.owned for one in same_address)
            ),
        )
        member_email = found.member.email if found.member else ""
        twins: Sequence[str] = facts.same_email.get(email, ()) if email and node.listed else ()
        twin = next((other for other in twins if other != guid), "") if twins else ""
        heirs: Sequence[str] = facts.same_email.get(member_email, ()) if not node.listed else ()
        heir = next((other for other in heirs if other != guid and other not in facts.at_home), "")
        actions = facts.open_actions.get(guid, ())
        return Subject(
            node=node,
            mapped=mapped,
            link=link,
            match=found,
            excluded=self._excluded(node, member_email, nesting),
            duplicate_of=facts.labels.get(twin, twin),
            claimed_by=facts.labels.get(heir, heir),
            claim=self._claim(node, found.member, found.rival, facts, nesting)
            if found.member and found.rival
            else None,
            parked_email=next((one.changes.email for one in actions if _is_parked(one)), "")
            if actions
            else "",
            pin=facts.pins.get(guid),
            scope_path=nesting.path(guid) if with_path and node.listed else (),
        )

    def _excluded(self, node: Node, member_email: str, nesting: Nesting) -> str:
        """Why the person is excluded, "" when they are not."""
        if nesting.is_excluded(node.guid) or node.died_excluded:
            return "in the exclusion group"
        reason = self._exclusions.reason(
            node.guid, directory_email=node.entry.email, member_email=member_email
        )
        return reason or ""

    def _claim(self, node: Node, member: Member, rival: str, facts: Facts, nesting: Nesting) -> Claim | None:
        """The claim on the member of a rival who is known here; its approval, where it has one, is looked up."""
        holder, link = facts.holder_nodes.get(rival), facts.holder_links.get(rival)
        if holder is None or link is None or link.member_id != member.member_id:
            return None
        holder = _as_held(holder, nesting)
        claim = claim_on(
            node,
            member,
            holder,
            link,
            holder_email=self._map(holder).profile.email,
            excluded=self._excluded(holder, member.email, nesting),
            disabled=is_disabled(holder, self._policy, facts.now),
            claimant_disabled=is_disabled(node, self._policy, facts.now),
            approved_link=How.APPROVED.value,
        )
        return replace(claim, approved=claim.digest in facts.claims.approved)


def _as_held(node: Node, nesting: Nesting) -> Node:
    """A group holds it, and the account can't see what it is: listed, and unreadable."""
    return replace(node, listed=True, seen=False) if nesting.is_opaque_member(node.guid) else node


def _is_parked(action: Action) -> bool:
    """An address that was refused, or that the brake holds."""
    is_update = action.kind is ActionKind.UPDATE and bool(action.changes.email)
    return is_update and action.state in (State.FAILED, State.HELD)

"""The full comparison: lists the whole team and marks everybody as dirty who may not be as wanted. It decides nothing itself.

Page by page it asks which of the members are exactly as their persons want them; on an ordinary day that is nearly everybody, and it is
found out while the next page is fetched. Who is not, or is not in the list, is decided about in the ordinary way.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from pipeline.core.mapping import check_external_id_format, identity_in
from pipeline.core.nesting import Nesting
from pipeline.journal_port import Journal
from pipeline.model import Kind, Member, State, Status
from pipeline.ports import Clock, Team
from pipeline.progress import Phase, tell
from pipeline.records import Link
from stages.dropbox.ahead import one_ahead
from stages.dropbox.settling import was_refused_an_address

BATCH = 1000
"""So many members are held in memory at a time."""

LookUp = Callable[[Sequence[str]], Awaitable[frozenset[str]]]
"""Takes GUIDs that only external ids name; answers which of them this domain shows, alive or as a tombstone."""

InQuestion = Callable[[Nesting, Sequence[Member]], Awaitable[set[str]]]
"""Takes members as just told; answers the GUIDs of those linked to them, but for those about whom nothing at all is to be done."""


class Reconciler:
    def __init__(self, team: Team, journal: Journal, clock: Clock, *, external_id_format: str) -> None:
        self._team = team
        self._journal = journal
        self._clock = clock
        self._format = external_id_format

    async def compare(self, look_up: LookUp, find_in_question: InQuestion, nesting: Nesting) -> int:
        """Returns how many members the team has. TeamReadError leaves everything as it was."""
        told: set[str] = set()
        in_question: set[str] = set()
        async with one_ahead(self._team.list_members()) as pages:
            async for page in pages:
                async with self._journal.transaction():
                    await self._journal.members.save_differing(page)
                # A page that is told again adds to them; it never takes anybody away.
                in_question |= await find_in_question(nesting, page)
                told.update(member.member_id for member in page)
                tell(Phase.TEAM, len(told))
        in_question |= await self._rebuild_links(look_up)
        now = self._clock.now()
        async with self._journal.transaction():
            await self._journal.members.keep(told)
            in_question.update(await self._journal.links.not_told(told))
            await self._journal.mark_dirty(sorted(in_question), "comparison", now)
            await self._journal.mark_dirty(await self._freed(), "retry", now)
            await self._journal.put("compared_at", now.isoformat())
        return len(told)

    async def _freed(self) -> list[str]:
        """Persons who were refused an address that nobody else on the team has now; somebody outside may have given it up."""
        refused = [
            action
            for action in await self._journal.outbox.in_state(State.FAILED)
            if was_refused_an_address(action)
        ]
        present = await self._journal.members.by_email(sorted({action.changes.email for action in refused}))
        return sorted(
            {
                action.guid
                for action in refused
                if not any(
                    member.member_id != action.member_id
                    and (member.status is not Status.REMOVED or member.recoverable)
                    for member in present.get(action.changes.email, ())
                )
            }
        )

    async def _rebuild_links(self, look_up: LookUp) -> set[str]:
        """The links survive the loss of the journal, but only for ids that this domain knows (behaviour.md §3).

        Returns whom it linked.
        """
        if check_external_id_format(self._format) != "{objectGUID}":
            return set()  # a SID tells no GUID; such members are matched when their person is listed
        prefix, after, linked = self._format.partition("{")[0], "", set[str]()
        while True:
            async with self._journal.reading():
                unlinked = await self._journal.members.unlinked_with_external_id(prefix, after, BATCH)
            if not unlinked:
                return linked
            linked |= await self._link(unlinked, look_up)
            after = unlinked[-1].member_id

    async def _link(self, unlinked: Sequence[Member], look_up: LookUp) -> set[str]:
        async with self._journal.reading():
            found = {identity_in(member.external_id, self._format): member for member in unlinked}
            found.pop("", None)
            nodes = {
                guid: node
                for guid, node in (await self._journal.mirror.nodes(found)).items()
                if node.entry.kind is Kind.OTHER
                or (node.entry.kind is Kind.USER and (node.listed or node.left_at))
            }
            taken = await self._journal.links.of(found)
        # Who is in the mirror for another reason (the exclusion group) was never seen to leave: looked up as well.
        strangers = sorted(guid for guid in found if guid not in nodes and guid not in taken)
        ours = await look_up(strangers) if strangers else frozenset()
        now = self._clock.now()
        linked = sorted({*nodes, *ours} - set(taken))
        if linked:
            async with self._journal.transaction():
                await self._journal.links.set_all(
                    [
                        Link(guid=guid, member_id=found[guid].member_id, how="external_id", at=now)
                        for guid in linked
                    ]
                )
                await self._journal.append(
                    [
                        {
                            "kind": "link",
                            "guid": guid,
                            "email": found[guid].email,
                            "cause": "external_id",
                            "detail": {},
                        }
                        for guid in linked
                    ],
                    now,
                )
        return set(linked)

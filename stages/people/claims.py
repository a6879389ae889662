"""Claims of namesakes in the journal: shown, withdrawn, and met once they were approved. (behaviour.md §2.5)

It holds no rule of its own: they stand in `pipeline.core.namesake` and `pipeline.core.plan`. Every method runs inside the
caller's transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from pipeline.core.identity import How
from pipeline.core.namesake import HELD_KIND, Claim, name_of
from pipeline.core.settle import is_under_way
from pipeline.journal_port import Journal
from pipeline.model import Action
from pipeline.records import HeldRecord, Link

CLAIMANT, HOLDER = "claims", "holds"


@dataclass(frozen=True, slots=True)
class StandingClaims:
    """What is shown, as the transaction found it."""

    records: Sequence[HeldRecord] = ()

    @property
    def approved(self) -> frozenset[str]:
        return frozenset(one.hash for one in self.records if one.approved_at is not None)

    @property
    def approved_claimants(self) -> frozenset[str]:
        return frozenset(_party(one, CLAIMANT) for one in self.records if one.approved_at is not None)

    def of_claimant(self, guid: str) -> list[HeldRecord]:
        return [one for one in self.records if _party(one, CLAIMANT) == guid]

    def claimants_of(self, guid: str) -> set[str]:
        """Who claims the account of this holder."""
        return {_party(one, CLAIMANT) for one in self.records if _party(one, HOLDER) == guid}


class Claims:
    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    async def under_way_of(self, claim: Claim) -> list[Action]:
        """Writes about the account that are on their way in the holder's name: the link moves when they have settled."""
        actions = await self._journal.outbox.open_of([claim.holder.guid])
        return [one for one in actions.get(claim.holder.guid, ()) if is_under_way(one)]

    async def judge(self, guid: str, claim: Claim | None, standing: StandingClaims, now: datetime) -> None:
        """After the decision about `guid`: shows what waits for an approval, withdraws what no longer holds.

        The holder is decided about again whenever that changes: as long as somebody claims the account, the holder's
        leaving does not end it, also where that was planned or held by the brake before.
        """
        before = standing.of_claimant(guid)
        if claim is None and not before:
            return
        stale = [one for one in before if claim is None or one.hash != claim.digest]
        await self._journal.outbox.withdraw(one.hash for one in stale)
        concerned = {_party(one, HOLDER) for one in stale}
        if claim is not None and not any(one.hash == claim.digest for one in before):
            await self._journal.outbox.offer(_record(claim, now))
            concerned.add(claim.holder.guid)
        await self._journal.mark_dirty(sorted(concerned), "action", now)

    async def look_at_claimants(self, guids: Iterable[str], now: datetime) -> None:
        """The holder was decided about: what the claim was shown for may no longer be so."""
        if guids := sorted(guids):
            await self._journal.mark_dirty(guids, "action", now)

    async def move(self, claim: Claim, pass_id: int, now: datetime) -> None:
        """The link passes to the claimant, and whatever was still to be done to the holder's account is void."""
        journal = self._journal
        member, holder, claimant = claim.member, claim.holder.guid, claim.claimant.guid
        await journal.links.set(
            Link(
                guid=claimant,
                member_id=member.member_id,
                how=How.APPROVED.value,
                at=now,
                old_external_id=member.external_id,
                suspended_by_us=claim.link.suspended_by_us,
            )
        )
        open_actions = await journal.outbox.open_of([holder])
        await journal.outbox.supersede(open_actions.get(holder, []), now)
        await journal.outbox.withdraw([claim.digest])
        await journal.mark_dirty([holder], "action", now)
        row = {"kind": "link", "email": member.email, "cause": How.APPROVED.value, "pass_id": pass_id}
        detail = {
            "approved": claim.digest,
            "member_id": member.member_id,
            "old_external_id": member.external_id,
        }
        await journal.append(
            [
                {**row, "guid": claimant, "detail": {**detail, "from": holder, "who": name_of(claim.holder)}},
                {**row, "guid": holder, "detail": {**detail, "to": claimant, "who": name_of(claim.claimant)}},
            ],
            now,
        )


def _party(record: HeldRecord, role: str) -> str:
    return next((guid for guid, as_what in record.items if as_what == role), "")


def _record(claim: Claim, now: datetime) -> HeldRecord:
    return HeldRecord(
        hash=claim.digest,
        kind=HELD_KIND,
        at=now,
        wanted=1,
        limit_text=claim.describe(),
        clusters=(),
        items=((claim.claimant.guid, CLAIMANT), (claim.holder.guid, HOLDER)),
    )

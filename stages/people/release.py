"""What may leave now: the brake's judgement over what is planned, and the order of what it lets pass.

It holds no rule of its own: they stand in `pipeline.core.brake` and `pipeline.core.ordering`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from pipeline.core.brake import (
    BrakeItem,
    BrakePolicy,
    HeldSet,
    Sent,
    apply_brake,
    count_window,
    counted_kinds,
)
from pipeline.core.ordering import Ordered, Planned, order
from pipeline.journal_port import Journal
from pipeline.model import Action, ActionKind, Member, Profile, State
from pipeline.ports import Clock
from pipeline.records import Settlement

SWAP = "e-mail swap: the address is held by somebody whose own change needs this one first"


@dataclass(frozen=True, slots=True)
class LetGo:
    """`again`: of some updates only the e-mail must wait, and their persons are to be decided about once more. `stuck`: what
    failed, since no order lets everybody have the address that they want.
    """

    held: tuple[HeldSet, ...] = ()
    stuck: tuple[Action, ...] = ()
    again: bool = False


class Release:
    def __init__(self, journal: Journal, clock: Clock, policy: BrakePolicy) -> None:
        self._journal = journal
        self._clock = clock
        self._policy = policy

    async def let_go(self, allows: Callable[[Action], bool] | None) -> LetGo:
        """Inside the caller's transaction: lets the applier take what the brake lets pass, in a working order.

        Returns what is held. `allows` limits what it is about.
        """
        now = self._clock.now()
        journal = self._journal
        actions = {
            action.id: action
            for action in await journal.outbox.unreleased()
            if allows is None or allows(action)
        }
        if not actions:
            return LetGo()
        dns = await journal.mirror.dns({action.guid for action in actions.values()})
        members = await journal.members.by_id(
            {action.member_id for action in actions.values() if action.member_id}
        )
        items = [
            _brake_item(action, dns.get(action.guid, ""), members.get(action.member_id))
            for action in actions.values()
        ]
        kinds = sorted(counted_kinds(items, self._policy))
        sent = await journal.outbox.sent_since(now - self._policy.window, kinds) if kinds else []
        counts = count_window([Sent.of(action, now) for action in sent], now=now, policy=self._policy)
        # Counting the managed reads them all; names and external ids are braked by nothing.
        is_braked = any(item.kind is not ActionKind.UPDATE or item.new_email for item in items)
        result = apply_brake(
            items,
            counts,
            await journal.links.count_managed() if is_braked else 0,
            self._policy,
            first_pass=is_braked and not await journal.has_real_pass(),
        )
        for held in result.held:
            await journal.outbox.hold([actions[item.ref] for item in held.items], held.record(now))
        released = [actions[item.ref] for item in result.released]
        ordered = order([_planned(action, members.get(action.member_id)) for action in released])
        await journal.outbox.release(_with_predecessors(ordered, actions))
        swapped = [one for swap in ordered.swaps for one in swap]
        stuck = [actions[one.ref] for one in (*swapped, *ordered.blocked)]
        await self._fail_swaps(stuck, now)
        stopped = [*stuck, *(actions[item.ref] for held in result.held for item in held.items)]
        # Names and external id need not wait for an address.
        split = sorted({one.guid for one in stopped if _has_more_than_email(one)})
        await journal.mark_dirty(split, "action", now)
        return LetGo(result.held, stuck=tuple(stuck), again=bool(split))

    async def _fail_swaps(self, stuck: Sequence[Action], now: datetime) -> None:
        await self._journal.outbox.settle_all(
            [
                Settlement(
                    # a held one was released by the brake just now
                    action=replace(action, state=State.PLANNED),
                    state=State.FAILED,
                    error=SWAP,
                    hint="give one of them an interim address in the directory, wait for a pass, then set the final one",
                    changes=Profile(email=action.changes.email) if _has_more_than_email(action) else None,
                )
                for action in stuck
            ],
            now,
        )


def _has_more_than_email(action: Action) -> bool:
    email = action.changes.email
    return action.kind is ActionKind.UPDATE and bool(email) and action.changes != Profile(email=email)


def _with_predecessors(ordered: Ordered, actions: Mapping[int, Action]) -> list[tuple[Action, int | None]]:
    """Each action with the one that frees the address it takes: side by side they could overtake each other."""
    freed_by = {one.frees: one.ref for one in ordered.sequence if one.frees}
    return [
        (
            actions[one.ref],
            before if one.takes and (before := freed_by.get(one.takes)) not in (None, one.ref) else None,
        )
        for one in ordered.sequence
    ]


def _planned(action: Action, member: Member | None) -> Planned:
    return Planned(
        guid=action.guid,
        kind=action.kind,
        changes=action.changes,
        member_email=member.email if member else "",
        seen_at=action.seen_at,
        ref=action.id,
    )


def _brake_item(action: Action, dn: str, member: Member | None) -> BrakeItem:
    # Only names and the external id are no change of e-mail; the brake counts those that are.
    is_email_change = (
        action.kind is ActionKind.UPDATE
        and action.changes.email
        and (member is None or member.email != action.changes.email)
    )
    return BrakeItem(
        guid=action.guid,
        kind=action.kind,
        new_email=action.changes.email if is_email_change else "",
        cause=action.cause,
        dn=dn,
        seen_at=action.seen_at,
        approved=action.approved,
        held=action.state is State.HELD,
        ref=action.id,
    )

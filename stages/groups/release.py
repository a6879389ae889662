"""What of the writes about groups may leave now: the brake's judgement. Its rules stand in `pipeline.core.brake`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from pipeline.core.brake import BrakeItem, BrakePolicy, HeldSet, Sent, apply_brake, count_window
from pipeline.core.group_values import GroupContent, GroupSelection
from pipeline.journal_port import Journal
from pipeline.model import MEMBERSHIP_KINDS, Action, ActionKind, State
from pipeline.records import Node


class GroupRelease:
    def __init__(self, journal: Journal, policy: BrakePolicy) -> None:
        self._journal = journal
        self._policy = policy

    async def let_go(
        self, waves: Mapping[str, int], now: datetime, selection: GroupSelection | None = None
    ) -> tuple[HeldSet, ...]:
        """Inside the caller's transaction: releases what may go, with its group's wave; returns what is held."""
        journal = self._journal
        actions = {
            one.id: one
            for one in await journal.outbox.unreleased(about_groups=True)
            if selection is None or selection.allows(GroupContent.of(one))
        }
        if not actions:
            return ()
        window = now - self._policy.window
        sent = await journal.outbox.sent_since(window, [ActionKind.GROUP_REMOVE])
        counts = count_window([Sent.of(one, now) for one in sent], now=now, policy=self._policy)
        nodes = await journal.mirror.nodes({one.guid for one in actions.values()})
        links = await journal.groups.links()
        members = await journal.groups.members_of({one.group_id for one in actions.values()} - {""})
        sizes = {guid: len(members.get(link.group_id, ())) for guid, link in links.items()}
        result = apply_brake(
            [_brake_item(action, nodes.get(action.guid)) for action in actions.values()],
            counts,
            await journal.links.count_managed(),
            self._policy,
            group_sizes=sizes,
        )
        for held in result.held:
            await journal.outbox.hold([actions[item.ref] for item in held.items], held.record(now))
        await journal.groups.release(
            [(actions[item.ref], waves.get(item.guid, 0)) for item in result.released]
        )
        return result.held


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
        held=action.state is State.HELD,
        ref=action.id,
    )

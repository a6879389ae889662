"""What a poll changes, written in one transaction with its checkpoint."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from pipeline.journal_port import Journal
from pipeline.model import Checkpoint
from pipeline.records import MirrorChange, Node
from stages.directory.sight import log_row


async def commit(
    journal: Journal,
    change: MirrorChange,
    checkpoint: Checkpoint,
    now: datetime,
    old: Mapping[str, Node],
    *,
    full: bool = False,
) -> None:
    """One transaction: deltas, mirror, dirty marks and checkpoint, all or none. `old`: who changed, as they were."""
    async with journal.transaction():
        # What is read is read first: a read after a write waits for it to be done.
        left = {} if full else await journal.mirror.nodes(change.left)
        changed = change.dirty if not full else await _changed(journal, change)
        # Whoever shares an e-mail with somebody who changed has to be looked at as well.
        others = set() if full else await _namesakes(journal, change, (*old.values(), *left.values()))
        await journal.mirror.apply(change)
        # Its own time, not ours: by it the directory knows which of its answers we have stored.
        await journal.mirror.save_checkpoint(checkpoint, checkpoint.at or now)
        await journal.append((log_row(delta) for delta in change.deltas), now)
        if full:
            await journal.append(
                [{"kind": "delta", "cause": "full read", "detail": {"entries": len(change.entries)}}], now
            )
        # The directory has changed them: what was undone no longer stands in the way of its rules.
        await journal.unpin(changed)
        await journal.mark_dirty(sorted(change.dirty), "comparison" if full else "delta", now)
        await journal.mark_dirty(sorted(others), "delta", now)


async def _namesakes(journal: Journal, change: MirrorChange, before: Iterable[Node]) -> set[str]:
    """Of whom the change does not speak. Whoever gets an e-mail, comes or goes by it is marked for that already."""
    emails = {entry.email.strip().lower() for entry in change.entries} | {
        node.entry.email.strip().lower() for node in before
    }
    same = await journal.mirror.listed_with_email(email for email in emails if email)
    return {guid for guids in same.values() for guid in guids} - change.dirty


async def _changed(journal: Journal, change: MirrorChange) -> frozenset[str]:
    """Those of the undone persons whom a full read shows otherwise than before: no delta tells of them."""
    pinned = await journal.pins(entry.guid for entry in change.entries)
    before = await journal.mirror.nodes(pinned)
    now = {entry.guid: entry for entry in change.entries if entry.guid in pinned}
    differing = {guid for guid, node in before.items() if node.entry != now[guid]}
    return frozenset(differing | change.entered | set(change.left) | change.tombstones)

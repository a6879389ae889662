"""Looking after the journal: `verify` and `compact`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from pipeline.core.scope import ScopeGraph
from pipeline.model import State
from pipeline.progress import Phase, tell
from state.chain import link_of_chain
from state.database import stamp
from state.journal import Journal

SLICE = 10_000


@dataclass(frozen=True, slots=True)
class Fault:
    """Something in the journal that must not be. `what` names the invariant, `detail` where."""

    what: str
    detail: str


async def verify(journal: Journal) -> list[Fault]:
    """Integrity of the file, the chain over the change log, and the invariants that everything rests on.

    All in one view: beside a `compact` or a pass, what is read late would not fit what was read early.
    """
    async with journal.reading():
        rows = await journal.database.fetch("PRAGMA integrity_check(10)")
        faults = [Fault("file integrity", row[0]) for row in rows if row[0] != "ok"]
        faults += await _verify_chain(journal)
        for what, statement in _INVARIANTS.items():
            rows = await journal.database.fetch(statement)
            faults += [Fault(what, " ".join(str(field) for field in row)) for row in rows[:10]]
        faults += await _verify_scope(journal)
    return faults


_STATES = ", ".join(f"'{state.value}'" for state in State)

_INVARIANTS = {
    "an action has a state that is not known": f"SELECT id, state FROM action WHERE state NOT IN ({_STATES})",
    "two writes about one person under way at once": "SELECT guid, count(*) FROM action WHERE state = 'sending' GROUP BY guid, group_guid HAVING count(*) > 1",
    "a write is under way without a time at which it left": "SELECT id FROM action WHERE state = 'sending' AND sent_at IS NULL",
    "an action waits for nothing": "SELECT id FROM action WHERE state = 'waiting' AND wait IS NULL",
    "a retry has no time": "SELECT id FROM action WHERE state = 'retry' AND due IS NULL",
    "a group link to a group that the team has not": "SELECT guid FROM group_link WHERE group_id NOT IN (SELECT group_id FROM team_group)",
    "members of a group that is not linked": "SELECT group_id FROM membership WHERE group_id NOT IN (SELECT group_id FROM group_link) LIMIT 10",
    "a link to nobody": "SELECT guid FROM link WHERE guid NOT IN (SELECT guid FROM node)",
    "an edge between unknown objects": "SELECT parent, child FROM edge WHERE parent NOT IN (SELECT guid FROM node)",
    "somebody is listed and has left": "SELECT guid FROM node WHERE listed = 1 AND left_at IS NOT NULL",
}


async def _verify_chain(journal: Journal) -> list[Fault]:
    """Recomputes every link; the first one that doesn't fit is told: behind it nothing can be trusted or blamed."""
    chain = await journal.get("chain_base") or ""
    expected = int(await journal.get("chain_base_seq") or 0) + 1
    last = await journal.last_seq()
    while True:
        tell(Phase.LINES, expected - 1, last)
        rows = await journal.database.fetch(
            "SELECT seq, at, kind, guid, email, action, state, cause, pass_id, detail, chain FROM log "
            "WHERE seq >= ? ORDER BY seq LIMIT ?",
            (expected, SLICE),
        )
        for row in rows:
            if row["seq"] != expected:
                return [Fault("a hole in the change log", f"line {expected} is missing")]
            chain = link_of_chain(chain, tuple(row)[1:-1])
            if chain != row["chain"]:
                return [Fault("the change log was altered", f"line {row['seq']} does not fit the chain")]
            expected += 1
        if len(rows) < SLICE:
            return []


async def _verify_scope(journal: Journal) -> list[Fault]:
    """What is marked as listed must be what the edges reach."""
    root = await journal.get("sync_group_guid")
    if not root:
        return []
    nodes, edges = await journal.mirror.graph()
    graph = ScopeGraph(root)
    for guid, kind, live in nodes:
        graph.set_node(guid, kind, live)
    for edge in edges:
        graph.add_edge(edge.parent, edge.child, primary=edge.primary)
    marked = {node.guid for node in await journal.mirror.listed_users()}
    reached = set(graph.listed_users())
    return [Fault("the scope does not fit the edges", guid) for guid in sorted(marked ^ reached)[:10]]


async def compact(journal: Journal, before: datetime) -> Mapping[str, int]:
    """Drops history older than `before`: lines, settled actions, passes, delivered mails, closed alerts.

    Never an open action, a link, a pin, or what the brake's window counts. The chain goes on from what was dropped.
    """
    limit = stamp(before)
    counts: dict[str, int] = {}
    database = journal.database
    async with journal.reading():
        newest = await database.value("SELECT seq FROM log WHERE at < ? ORDER BY seq DESC LIMIT 1", (limit,))
    if newest is not None:
        counts["lines"] = await _drop_lines(journal, newest)
    async with journal.transaction():
        counts["actions"] = await database.execute(
            "DELETE FROM action WHERE state IN ('done', 'superseded') AND planned_at < ? AND coalesce(settled_at, planned_at) < ?",
            (limit, limit),
        )
        counts["passes"] = await database.execute(
            "DELETE FROM pass WHERE ended IS NOT NULL AND ended < ?", (limit,)
        )
        counts["mails"] = await database.execute(
            "DELETE FROM mail WHERE sent_at IS NOT NULL AND sent_at < ?", (limit,)
        )
        counts["alerts"] = await database.execute(
            "DELETE FROM alert WHERE is_open = 0 AND last_seen_at < ?", (limit,)
        )
        counts["held sets"] = await database.execute(
            "DELETE FROM held_set WHERE at < ? AND kind <> 'namesake' AND NOT EXISTS (SELECT 1 FROM action WHERE state = 'held')",
            (limit,),
        )
        counts["objects"] = await journal.mirror.forget_unused()
    return counts


async def _drop_lines(journal: Journal, newest: int) -> int:
    """Up to line `newest`, slice by slice: all at once, whoever sends waited half a minute for a million lines."""
    dropped = 0
    while True:
        async with journal.transaction():
            oldest = await journal.database.value("SELECT min(seq) FROM log")
            if oldest is None or oldest > newest:
                return dropped
            last = await journal.database.fetch_one(
                "SELECT seq, chain FROM log WHERE seq <= ? ORDER BY seq DESC LIMIT 1",
                (min(newest, oldest + SLICE - 1),),
            )
            assert last is not None  # the oldest one at least
            await journal.put("chain_base", last["chain"])
            await journal.put("chain_base_seq", str(last["seq"]))
            dropped += await journal.database.execute("DELETE FROM log WHERE seq <= ?", (last["seq"],))

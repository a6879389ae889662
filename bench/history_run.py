"""A history polled at random moments: after each poll the mirror must equal a fresh full read, every time."""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel

from bench.history_hands import read_truth
from bench.history_world import HistoryWorld
from pipeline.errors import DirectoryBusy, DirectoryError, JournalError
from pipeline.model import Kind, Member, Status
from pipeline.ports import Clock, Directory
from pipeline.records import Edge, Link, Node
from stages.directory.poller import Poller, PollOptions, PollResult
from state.journal import Journal

SETTLE = timedelta(seconds=60)


class Mismatch(AssertionError):
    """The mirror and the directory disagree. The text holds what to look at, the last steps included."""


class HandClock:
    """Goes only when told, so that settling times pass in no time."""

    def __init__(self) -> None:
        self._now = datetime.now(UTC)

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._now.timestamp()

    async def sleep(self, seconds: float) -> None:
        self._now += timedelta(seconds=seconds)
        await anyio.lowlevel.checkpoint()

    def advance(self, seconds: float) -> None:
        self._now += timedelta(seconds=seconds)


class FaultyDirectory:
    """Passes everything on; the call with the number set in `fail_at` ends in an error, or cancels `scope`."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self.fail_at = 0
        self.scope: anyio.CancelScope | None = None

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._directory, name)
        if name == "changes":
            return self._changes
        if name in {"source", "close"}:
            return found

        async def call(*arguments: Any) -> Any:
            await self._count(name)
            return await found(*arguments)

        return call

    async def _changes(self, since: Any) -> Any:
        await self._count("changes")
        async for page in self._directory.changes(since):
            yield page

    async def _count(self, name: str) -> None:
        if self.fail_at:
            self.fail_at -= 1
            if not self.fail_at:
                if self.scope is None:
                    raise DirectoryBusy(name, "made to fail")
                self.scope.cancel()
                await anyio.lowlevel.checkpoint()


@dataclass
class Figures:
    seed: int
    source: str
    steps: int = 0
    polls: int = 0
    full_reads: int = 0
    restarts: int = 0
    faults: int = 0
    quiet_polls: int = 0
    links: int = 0
    checks: int = 0
    seconds: float = 0.0
    steps_by_name: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Snapshot:
    nodes: dict[str, Node]
    edges: frozenset[Edge]
    listed: frozenset[str]
    excluded: frozenset[str]
    links: frozenset[str]

    @classmethod
    async def of(cls, journal: Journal, poller: Poller) -> Snapshot:
        async with journal.reading():
            nodes, edges = await journal.mirror.graph()
            found = await journal.mirror.nodes(guid for guid, _, _ in nodes)
            links = await journal.links.all_guids()
        exclusion = poller.nesting.exclusion
        return cls(
            found,
            frozenset(edges),
            frozenset(guid for guid, node in found.items() if node.listed),
            frozenset(exclusion.listed_users() if exclusion else ()),
            frozenset(links),
        )


class HistoryRun:
    """Drives one world and one journal. `folder` takes the journals; nothing else is written."""

    def __init__(
        self,
        world: HistoryWorld,
        connect: Callable[[Clock], Directory],
        folder: Path,
        *,
        source: str,
        seed: int,
        batch: int = 8,
    ) -> None:
        self._world = world
        self._connect = connect
        self._folder = folder
        self._batch = batch
        self._random = random.Random(seed ^ 0x5EED)
        self._clock = HandClock()
        self._poll_options = PollOptions(sync_group=world.root, exclude_group=world.excluded, settle=SETTLE)
        self._was_listed: set[str] = set()
        self.figures = Figures(seed, source)
        self._before: Snapshot | None = None

    async def run(self, steps: int, report: Callable[[Figures], None] = lambda _: None) -> Figures:
        started = time.perf_counter()
        self._fresh = self._connect(self._clock)
        await self._open()
        try:
            await self._poll_and_compare()
            while self._world.steps < steps:
                for _ in range(min(self._random.randint(1, 2 * self._batch - 1), steps - self._world.steps)):
                    self._world.step()
                self._clock.advance(self._random.choice([1, 5, 20, 70, 200]))
                await self._link_somebody()
                if self._random.random() < 0.15:
                    await self._fail()
                if self._random.random() < 0.15:
                    await self._restart()
                await self._poll_and_compare(full=self._random.random() < 0.03)
                if self._random.random() < 0.1:
                    await self._poll_quietly()
                self._count(started)
                report(self.figures)
            await self._end()
            self._count(started)
        finally:
            await self._close()
            await self._fresh.close()
        return self.figures

    def _count(self, started: float) -> None:
        self.figures.steps = self._world.steps
        self.figures.steps_by_name = dict(self._world.steps_by_name)
        self.figures.seconds = time.perf_counter() - started

    async def _open(self) -> None:
        self._directory = self._connect(self._clock)
        self._faulty = FaultyDirectory(self._directory)
        self._journal = await Journal.open(self._folder / "journal.db")
        self._poller = Poller(self._faulty, self._journal, self._clock, self._poll_options)

    async def _close(self) -> None:
        with anyio.CancelScope(shield=True):
            await self._journal.close()
            await self._directory.close()

    async def _restart(self) -> None:
        await self._close()
        await self._open()
        self.figures.restarts += 1

    # ------------------------------------------------------------------------------------------------- polls

    async def _fail(self) -> None:
        """A poll that does not reach its end, in one of three ways. Whatever it left behind, the next one must be right."""
        how = self._random.choice(["busy", "cancelled", "commit"])
        journal = self._journal
        mirror_apply = journal.mirror.apply
        with anyio.CancelScope() as scope:
            self._faulty.fail_at = self._random.randint(1, 12) if how != "commit" else 0
            self._faulty.scope = scope if how == "cancelled" else None
            if how == "commit":
                journal.mirror.apply = _failing  # type: ignore[method-assign, assignment]
            try:
                await self._poller.poll()
            except (DirectoryError, JournalError):
                self.figures.faults += 1
        if scope.cancelled_caught:
            self.figures.faults += 1
        self._faulty.fail_at = 0
        self._faulty.scope = None
        journal.mirror.apply = mirror_apply  # type: ignore[method-assign]

    async def _poll_quietly(self) -> None:
        """Nothing has happened since the last poll: nothing may be found."""
        result = await self._poll()
        self.figures.quiet_polls += 1
        if result.changes and not result.full:
            raise Mismatch(self._text("a poll without changes found some", result.changes))

    async def _poll(self, *, full: bool = False) -> PollResult:
        result = await self._poller.poll(full=full)
        self.figures.polls += 1
        self.figures.full_reads += result.full
        return result

    async def _poll_and_compare(self, *, full: bool = False) -> None:
        await self._poll(full=full)
        mirror = await Snapshot.of(self._journal, self._poller)
        fresh = await self._read_afresh(mirror)
        self._compare(mirror, fresh)
        await self._compare_with_the_domain(mirror)
        await self._compare_dirty(mirror)
        self._before = mirror
        self.figures.checks += 1

    async def _read_afresh(self, mirror: Snapshot) -> Snapshot:
        with tempfile.TemporaryDirectory(dir=self._folder) as folder:
            journal = await Journal.open(Path(folder) / "fresh.db")
            try:
                await _link(journal, mirror.links, self._clock.now())
                poller = Poller(self._fresh, journal, self._clock, self._poll_options)
                await poller.poll()
                return await Snapshot.of(journal, poller)
            finally:
                await journal.close()

    # ------------------------------------------------------------------------------------------- comparisons

    def _compare(self, mirror: Snapshot, fresh: Snapshot) -> None:
        self._same("listed", mirror.listed, fresh.listed)
        self._same("excluded", mirror.excluded, fresh.excluded)
        for guid, node in fresh.nodes.items():
            known = mirror.nodes.get(guid)
            if known is None:
                raise Mismatch(self._text("not in the mirror", node))
            if (known.entry, known.live, known.seen) != (node.entry, node.live, node.seen):
                raise Mismatch(self._text("another entry", known, node))
        # What hangs on nothing that is reached, and what is dead, a fresh read does not see.
        parents = {guid for guid, node in fresh.nodes.items() if node.entry.kind is Kind.GROUP}
        edges = {edge for edge in mirror.edges if edge.parent in parents and mirror.nodes[edge.child].live}
        self._same("edges", edges, fresh.edges)
        if self._before is not None:
            self._same("links", mirror.links & self._before.links, self._before.links)
        for guid in mirror.links:
            if guid not in mirror.nodes:
                raise Mismatch(self._text("a linked person is no longer in the mirror", guid))

    async def _compare_with_the_domain(self, mirror: Snapshot) -> None:
        land = self._world.hands.look()
        truth = read_truth(land, self._world.root)
        self._same("listed, against the domain", mirror.listed, truth.people)
        edges = {
            (edge.parent, edge.child, edge.primary)
            for edge in mirror.edges
            if edge.parent in truth.groups and mirror.nodes[edge.child].live
        }
        self._same("edges, against the domain", edges, truth.edges)
        self._same(
            "excluded, against the domain",
            mirror.excluded,
            read_truth(land, self._world.excluded).people,
        )
        dead = {guid for guid, node in mirror.nodes.items() if not node.live}
        self._same("dead, but alive in the domain", dead - set(self._world.dead), set())
        # Somebody who was neither listed nor linked may have died unnoticed while a full read looked elsewhere.
        asked_for = mirror.links & set(mirror.nodes)
        self._same("linked and dead", dead & asked_for, set(self._world.dead) & asked_for)
        self._was_listed |= mirror.listed
        for guid, node in mirror.nodes.items():
            # Who was known without ever being listed (a member of the exclusion group) may count as having left.
            has_left = node.left_at is not None
            if (has_left and node.listed) or (guid in self._was_listed and not node.listed and not has_left):
                raise Mismatch(self._text("left_at", node))

    async def _compare_dirty(self, mirror: Snapshot) -> None:
        """Whoever is to be decided about again must be marked, else the change is lost although the mirror has it."""
        async with self._journal.reading():
            marks = await self._journal.dirty(10**6)
        dirty = {mark.guid for mark in marks}
        before = self._before
        if before is not None:
            for guid in mirror.nodes.keys() & (mirror.listed | before.listed | mirror.links):
                if guid not in dirty and _facts(before, guid) != _facts(mirror, guid):
                    raise Mismatch(
                        self._text("changed, but not marked", before.nodes.get(guid), mirror.nodes[guid])
                    )
        async with self._journal.transaction():
            await self._journal.clear_dirty(marks)

    async def _link_somebody(self) -> None:
        if self._before is None or self._random.random() < 0.5:
            return
        candidates = sorted(self._before.listed - self._before.links)
        if not candidates:
            return
        who = self._random.choice(candidates)
        await _link(self._journal, {who}, self._clock.now())
        self._before = replace(self._before, links=self._before.links | {who})
        self.figures.links += 1

    async def _end(self) -> None:
        """Once quiet, every leaver is confirmed: those whose link was seen to go by time, the others by a full read."""
        for full in (False, True, False, True):
            self._clock.advance(2 * SETTLE.total_seconds())
            await self._poll_and_compare(full=full)
        assert self._before is not None
        for node in self._before.nodes.values():
            if node.left_at is not None and not node.left_confirmed:
                raise Mismatch(self._text("left, but never confirmed", node))

    def _same(self, what: str, found: Any, wanted: Any) -> None:
        if found != wanted:
            raise Mismatch(
                self._text(
                    what,
                    f"missing {sorted(wanted - found, key=repr)}",
                    f"too many {sorted(found - wanted, key=repr)}",
                )
            )

    def _text(self, *parts: object) -> str:
        return "\n".join(
            [
                *map(str, parts),
                f"seed {self.figures.seed}, step {self._world.steps}; before:",
                *self._world.last,
            ]
        )


def _facts(snapshot: Snapshot, guid: str) -> tuple[object, ...]:
    node = snapshot.nodes.get(guid)
    if node is None:
        return ()
    return (node.entry, node.live, node.listed, guid in snapshot.excluded)


async def _link(journal: Journal, guids: Any, at: datetime) -> None:
    async with journal.transaction():
        for guid in guids:
            await journal.members.save([Member(member_id=f"dbmid:{guid}", status=Status.ACTIVE, email="")])
            await journal.links.set(Link(guid=guid, member_id=f"dbmid:{guid}", how="email", at=at))


async def _failing(_: object) -> None:
    raise JournalError("write to the journal", "made to fail")

"""Groups within a pass: after the persons, plan and apply until nothing is to be decided again."""

from __future__ import annotations

from datetime import datetime, timedelta

from pipeline.core.group_values import GroupSelection
from pipeline.core.nesting import Nesting
from pipeline.journal_port import Journal
from pipeline.model import State
from pipeline.ports import Clock
from stages.dropbox.group_applier import GroupApplier, GroupApplyReport
from stages.groups.planner import GroupPlanner, GroupReport

MOST_ROUNDS = 5


class GroupStage:
    """Remembers between passes which groups are still to be looked at; a new process looks at all."""

    def __init__(
        self,
        planner: GroupPlanner,
        applier: GroupApplier,
        journal: Journal,
        clock: Clock,
        *,
        compare_every: timedelta,
    ) -> None:
        self.planner = planner
        self._applier = applier
        self._journal = journal
        self._clock = clock
        self._compare_every = compare_every
        self._pending: frozenset[str] | None = None  # None: all
        self._nesting: Nesting | None = None
        self._people: set[str] = set()  # of passes that ended before their groups' turn

    def put_off(self, people: set[str]) -> None:
        """The pass ends without having come to these persons' groups: the next one does."""
        self._people |= people

    def begin_pass(self) -> None:
        self._applier.begin_pass()

    async def has_work(self) -> bool:
        """watch: inside the caller's transaction; whether groups want a look though nothing was seen."""
        links = await self._journal.groups.links()
        held = await self._journal.outbox.unreleased(about_groups=True)
        return any(link.doubted for link in links.values()) or any(
            one.state is State.PLANNED or one.approved for one in held
        )

    async def sync(
        self,
        pass_id: int,
        nesting: Nesting,
        people: set[str],
        report: GroupReport,
        done: dict[str, int],
        *,
        fault: str,
        has_compared: bool,
        seen_at: datetime | None,
        selection: GroupSelection | None = None,
    ) -> set[str]:
        """`people`: about whom something was decided or done. Returns members who have to be read again.

        With a `selection` only that is decided and sent; what was touched is still to be looked at afterwards.
        """
        changed = nesting.take_touched()
        people |= self._people
        self._people.clear()
        if nesting is not self._nesting:
            self._nesting, self._pending = nesting, None
        if has_compared and not report.has_compared:
            self._pending = None  # a full comparison is about all groups
        if not await self._is_needed():
            self._pending = frozenset()
            return set()
        if self._pending is not None:
            async with self._journal.reading():
                # Whose leaving has settled only now is in no group of the directory any more, but still in Dropbox's.
                holding = await self._journal.groups.holding(people)
            self._pending |= changed | nesting.groups_holding(people) | holding
        counts = GroupApplyReport()
        await self._applier.recover(counts)
        if selection is not None:
            await self._sync_selected(
                pass_id, nesting, report, counts, fault=fault, seen_at=seen_at, selection=selection
            )
            _count(counts, done)
            return counts.stale
        for _ in range(MOST_ROUNDS):
            compare = not report.has_compared and (has_compared or await self._is_comparison_due())
            await self.planner.plan(
                pass_id,
                nesting,
                report,
                fault=fault,
                compare=compare,
                touched=self._pending,
                changed=changed,
                seen_at=seen_at,
            )
            changed = frozenset()
            counts.again = False
            await self._applier.apply(counts)
            if not counts.again:
                break
        _count(counts, done)
        self._pending = frozenset()
        return counts.stale

    async def _sync_selected(
        self,
        pass_id: int,
        nesting: Nesting,
        report: GroupReport,
        counts: GroupApplyReport,
        *,
        fault: str,
        seen_at: datetime | None,
        selection: GroupSelection,
    ) -> None:
        for _ in range(MOST_ROUNDS):
            await self.planner.plan(
                pass_id,
                nesting,
                report,
                fault=fault,
                compare=False,
                touched=None,
                seen_at=seen_at,
                selection=selection,
            )
            counts.again = False
            await self._applier.apply(counts, selection)
            if not counts.again:
                break

    async def _is_needed(self) -> bool:
        async with self._journal.reading():
            return await self.planner.is_needed()

    async def _is_comparison_due(self) -> bool:
        async with self._journal.reading():
            text = await self._journal.get("groups_compared_at")
        return text is None or self._clock.now() - datetime.fromisoformat(text) >= self._compare_every


def _count(counts: GroupApplyReport, done: dict[str, int]) -> None:
    for kind, groups in counts.done.items():
        done[kind.value] = done.get(kind.value, 0) + len(groups)

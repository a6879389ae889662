"""Simulation equals reality: what a simulated pass lists, against what the real one then does. (behaviour.md §9)"""

from __future__ import annotations

from dataclasses import dataclass

import anyio

from pipeline.app import passes
from pipeline.app.passes import Outside, Simulated
from pipeline.app.report import PassSummary
from tests.pipeline.world import World


@dataclass(frozen=True, slots=True)
class Foreseen:
    """`seq`: where the change log stood when the real pass began. `wrote`: effects of the simulation itself."""

    simulated: Simulated
    seq: int
    wrote: int

    async def difference(self, world: World, summary: PassSummary) -> str:
        """The plan lists exactly the writes that were sent, and holds exactly what was held; "" when it is so."""
        async with world.reading() as journal:
            rows = await journal.database.fetch(
                "SELECT action, guid FROM log WHERE kind = 'action' AND state = 'done' AND seq > ?",
                (self.seq,),
            )
        plan = self.simulated.plan
        sent = sorted((row["action"], row["guid"]) for row in rows)
        planned = sorted((one["action"], one["guid"]) for one in plan["actions"])
        held = sorted(one["hash"] for one in plan["held"])
        holds = sorted([*(one.hash for one in summary.held), *(one.hash for one in summary.standing.claims)])
        if (sent, holds, self.wrote) == (planned, held, 0):
            return ""
        return (
            f"a simulation wrote {self.wrote}, foresaw {planned}, held {held} ({self.simulated.summary.ended_by}); "
            f"sent {sent}, held {holds} ({summary.ended_by})"
        )


def may_be_foreseen(world: World) -> bool:
    """Not while a fault is on its way, or a change for when somebody sleeps: they would meet the simulation."""
    return not (world.gate.has_faults or any(world.team._faults.values()) or world.clock.on_sleep)


async def foresee(world: World, *, full: bool) -> Foreseen:
    world.clock.turn(seconds=1)  # a pass begins after the one before has ended
    effects, now = len(world.team.effects), world.clock.now()
    clock, passes.SystemClock = passes.SystemClock, lambda: world.clock  # type: ignore[assignment, misc]
    world.clock.slept.clear()
    try:
        with anyio.fail_after(20):
            simulated = await passes.simulate(
                world.settings(), full=full, outside=Outside(directory=world.directory, team=world.team)
            )
    finally:
        passes.SystemClock = clock  # type: ignore[misc]
        world.clock.turn(seconds=(now - world.clock.now()).total_seconds())
    async with world.reading() as journal:
        seq = await journal.last_seq()
    return Foreseen(simulated, seq, len(world.team.effects) - effects)

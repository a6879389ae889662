"""Peak memory of whole passes over many people: the first one, and a full comparison by a process that starts with a warm journal.

Directory and team are made up as they are asked (bench/made_up.py) and hold nothing: what is measured is the connector. Each pass is made by
a process of its own.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import anyio

from bench import made_up
from bench.figure import Figure
from bench.machine import peak_megabytes
from pipeline.app.compose import Assembly

ROOT = Path(__file__).resolve().parents[1]
SIZES, LARGE = (10_000, 100_000), 1_000_000
CHANGES = 100
GOALS = {100_000: 300.0, LARGE: 1_500.0}


def measure(full: bool) -> Iterator[Figure]:
    base: dict[str, dict[str, float]] = {}
    for size in (*SIZES, LARGE) if full else SIZES:
        with tempfile.TemporaryDirectory() as name:
            for what in ("first pass", "full comparison"):
                found = _child(what, size, Path(name))
                first = base.setdefault(what, found)
                yield Figure(
                    name=f"{what}, {size:,} people, peak memory",
                    value=found["mb"],
                    unit="MB",
                    goal=f"<= {GOALS[size]:,.0f} MB" if size in GOALS else "",
                    beside=f"the goal of {GOALS[size]:,.0f} MB" if size in GOALS else "",
                    ratio=found["mb"] / GOALS[size] if size in GOALS else 0.0,
                )
                each = found["cpu"] / size * 1e6
                yield Figure(
                    name=f"{what}, {size:,} people, CPU",
                    value=each,
                    unit="microseconds a person",
                    beside="" if found is first else f"{SIZES[0]:,} people",
                    ratio=0.0 if found is first else each / (first["cpu"] / SIZES[0] * 1e6),
                    goal="" if found is first else "flat",
                    note=f"{found['seconds']:.1f} s",
                )
                if what == "full comparison":
                    yield Figure(
                        name=f"one change, {size:,} people, CPU",
                        value=found["change"] * 1e3,
                        unit="ms",
                        beside="the full comparison",
                        ratio=found["cpu"] / found["change"],
                        goal=">= 1,000 x less" if size >= 100_000 else "",
                        note=f"a name, seen and carried out by a watch, median of {CHANGES}; 3 requests to Dropbox "
                        f"(tests/applier/test_one_change.py) against {-(-(size + 1) // made_up.PAGE) + 3}",
                    )


def _child(what: str, size: int, folder: Path) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-P", "-W", "ignore", "-m", "bench.memory", what, str(size), str(folder)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"the pass over {size:,} people failed:\n{done.stderr[-2000:]}")
    found: dict[str, float] = json.loads(done.stdout)
    return found


async def _pass(what: str, size: int, folder: Path) -> dict[str, float]:
    directory, team = made_up.MadeUpDirectory(size), made_up.MadeUpTeam(size)
    async with made_up.connector(folder, directory, team) as (assembly, journal):
        await made_up.forget_comparison(journal)
        started, cpu = time.perf_counter(), time.process_time()
        summary = await assembly.engine.run()
        if summary.code or summary.actions:
            raise AssertionError(f"exit code {int(summary.code)}, {summary.actions}, {summary.ended_by}")
        found = {
            "seconds": time.perf_counter() - started,
            "cpu": time.process_time() - cpu,
            "mb": peak_megabytes(),
        }
        return {**found, "change": await _change(assembly, directory) if what == "full comparison" else 0.0}


async def _change(assembly: Assembly, directory: made_up.MadeUpDirectory) -> float:
    """Seconds of CPU for one change, seen and carried out by a watch."""
    costs = []
    async with made_up.watching(assembly):
        for number in range(CHANGES):
            directory.rename(number, "Changed")
            cpu = time.process_time()
            summary = await made_up.look(assembly)
            costs.append(time.process_time() - cpu)
            if summary.code or summary.actions != {"update": 1}:
                raise AssertionError(f"exit code {int(summary.code)}, {summary.actions}, {summary.ended_by}")
    return median(costs)


if __name__ == "__main__":
    print(json.dumps(anyio.run(_pass, sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))))

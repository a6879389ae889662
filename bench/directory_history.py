"""`python -m bench.directory_history --steps N --seed S`: a long random history on Samba, polled at random moments.

After each poll the mirror must equal a fresh full read and the domain itself; the first difference ends the run. With
`--record` the figures are written to bench/results/directory_history.md, one line a run, mismatches included.
"""

from __future__ import annotations

import argparse
import gc
import os
import platform
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import anyio

from bench.history_hands import SambaHands
from bench.history_run import Figures, HistoryRun, Mismatch
from bench.history_world import HistoryWorld
from sandbox.certificates import Authority
from sandbox.samba import SambaDomain
from stages.directory.ldap import LdapDirectory
from stages.directory.options import DirectoryOptions

RESULTS = Path(__file__).parent / "results" / "directory_history.md"
CACHE = Path(__file__).resolve().parents[1] / ".sandbox" / "cache"
_HEAD = """\
# Random histories of a real domain

`python -m bench.directory_history --steps N --seed S --source dirsync|usn --record`. Every step is a change made by an
administrator in a Samba domain: people and groups created, added, removed, nested (cycles too), cleared and refilled, edited,
renamed, moved, disabled, enabled, expired, deleted, restored, deleted and restored at once, created again under the old name,
given another primary group; contacts and computers among them. Polls come at random moments; some are made to fail (a read
that ends in an error, a cancellation, a commit that fails); the process's objects are thrown away and made anew at random.

After **each** poll: people listed, people excluded, edges, entries, live and seen flags equal those of a fresh full read into a
new journal, and those that the administrator sees by one search of his own; links are kept; every linked or listed person who
changed is marked to be decided about; a poll after nothing has happened finds nothing.

| date | source | seed | steps | polls | of them full reads | comparisons | restarts | failed polls | quiet polls | linked people | mismatches | wall time | machine |
|---|---|---|---|---|---|---|---|---|---|---|---|---|---|
"""


def options_of(domain: SambaDomain, source: str) -> DirectoryOptions:
    facts = domain.facts
    return DirectoryOptions(
        servers=(facts.ldaps_url,),
        username=facts.service_account,
        password=facts.service_password,
        ca_file=str(facts.ca_file),
        timeout_seconds=30,
        change_source=source,
    )


async def run_history(steps: int, seed: int, source: str, *, quiet: bool) -> tuple[Figures, str]:
    """The figures, and the text of the mismatch that ended it, if one did."""
    last = time.monotonic()

    def report(figures: Figures) -> None:
        nonlocal last
        if not quiet and time.monotonic() - last > 30:
            last = time.monotonic()
            print(
                f"{figures.steps} steps, {figures.polls} polls, {figures.restarts} restarts, {figures.seconds:.0f} s",
                flush=True,
            )

    with tempfile.TemporaryDirectory(prefix="history-") as name:
        folder = Path(name)
        domain = SambaDomain(folder / "dc", Authority(folder / "ca"), cache=CACHE)
        async with domain:
            with domain.administrator() as admin:
                run = HistoryRun(
                    HistoryWorld(SambaHands(admin, "h1"), "h1", seed),
                    lambda clock: LdapDirectory(options_of(domain, source), clock=clock),
                    folder,
                    source=source,
                    seed=seed,
                )
                try:
                    await run.run(steps, report)
                except Mismatch as mismatch:
                    return run.figures, str(mismatch)
                return run.figures, ""


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.directory_history", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--steps", type=int, default=2_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--source", choices=("dirsync", "usn"), default="dirsync")
    parser.add_argument("--record", action="store_true", help=f"add a line to {RESULTS.name}")
    parser.add_argument("--quiet", action="store_true")
    options = parser.parse_args()
    figures, mismatch = anyio.run(
        lambda: run_history(options.steps, options.seed, options.source, quiet=options.quiet)
    )
    gc.collect()
    print(figures)
    if mismatch:
        print(mismatch, file=sys.stderr)
    if options.record:
        _record(figures, mismatch)
    return 1 if mismatch else 0


def _record(figures: Figures, mismatch: str) -> None:
    RESULTS.parent.mkdir(exist_ok=True)
    text = RESULTS.read_text(encoding="utf-8") if RESULTS.exists() else _HEAD
    cells = (
        f"{datetime.now(UTC):%Y-%m-%d %H:%M}",
        figures.source,
        figures.seed,
        f"{figures.steps:,}",
        f"{figures.polls:,}",
        figures.full_reads,
        f"{figures.checks:,}",
        figures.restarts,
        figures.faults,
        figures.quiet_polls,
        figures.links,
        f"1: {mismatch.splitlines()[0]}" if mismatch else 0,
        f"{figures.seconds:,.0f} s",
        f"{os.cpu_count()} cores, Python {platform.python_version()}",
    )
    RESULTS.write_text(f"{text}| {' | '.join(map(str, cells))} |\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())

"""`./run bench [--full] [NAME …]`: measures, and writes bench/RESULTS.md and bench/results/NAME.json.

Each part runs in a process of its own and has a limit of time: one that fails or hangs says so and stops no other.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench import page
from bench.figure import COLUMNS, Figure


@dataclass(frozen=True, slots=True)
class Part:
    """`seconds` and `full_seconds`: when it is taken for hanging."""

    module: str
    what: str
    seconds: float
    full_seconds: float


PARTS = {
    "decide": Part("bench.decide", "The pure rules.", 120, 900),
    "journal": Part("bench.journal", "The journal beside bare sqlite3.", 120, 1800),
    "comparison": Part("bench.comparison", "The full comparison without a change, Dropbox side.", 150, 1200),
    "memory": Part(
        "bench.memory", "Whole passes over many people; directory and team are made up.", 150, 2400
    ),
    "directory": Part("bench.directory", "Reading the directory: Samba on the same machine.", 150, 7200),
    "change": Part(
        "bench.change", "One change beside `run --full`: Samba, and the team over HTTP.", 240, 3600
    ),
    "dropbox": Part("bench.dropbox", "Writing to Dropbox under a limit that nobody tells.", 240, 900),
    "takeover": Part("bench.takeover", "The warm standby takes over, as a whole.", 300, 300),
    "latency": Part("bench.latency", "From the change in the domain to the request at Dropbox.", 150, 900),
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="./run bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which of {', '.join(PARTS)}; else all")
    parser.add_argument("--full", action="store_true", help="the large sizes: hours rather than minutes")
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if unknown := [name for name in options.names if name not in PARTS]:
        parser.error(f"unknown: {', '.join(unknown)}; there are {', '.join(PARTS)}")
    if options.inside:
        _measure_here(options.names[0], options.full, options.inside)
        return 0
    console = Console()
    failed = []
    for name in options.names or PARTS:
        console.print(f"{name} ...")
        result = _measure(name, full=options.full)
        page.RESULTS.mkdir(exist_ok=True)
        file = page.result_file(name, full=options.full)
        file.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        page.write(list(PARTS))
        if result["error"]:
            failed.append(name)
            console.print(f"{name} failed: {result['error']}", markup=False)
        console.print(_table(result))
    console.print(f"written to {page.PAGE.parent.name}/{page.PAGE.name}")
    if failed:
        console.print(f"failed: {', '.join(failed)}")
    return 1 if failed else 0


def _measure(name: str, *, full: bool) -> dict[str, Any]:
    part = PARTS[name]
    load, started = os.getloadavg()[0], time.monotonic()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        figures, error = _measure_apart(name, full=full, folder=Path(folder))
    return {
        "name": name,
        "what": part.what,
        "at": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "seconds": round(time.monotonic() - started, 1),
        "load": [round(load, 1), round(os.getloadavg()[0], 1)],
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()}, Python {platform.python_version()}, "
        f"SQLite {sqlite3.sqlite_version}",
        "full": full,
        "error": error,
        "figures": figures,
    }


def _measure_apart(name: str, *, full: bool, folder: Path) -> tuple[list[dict[str, Any]], str]:
    """In a child: its peak memory is its own, and it can be ended with all that it started."""
    out, errors = folder / "figures.json", folder / "errors"
    part = PARTS[name]
    seconds = part.full_seconds if full else part.seconds
    command = [sys.executable, "-P", "-W", "ignore", "-m", "bench", name, *(["--full"] if full else [])]
    with errors.open("wb") as log:
        child = subprocess.Popen(
            [*command, "--inside", str(out)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env={**os.environ, "TMPDIR": str(folder)},
        )
        try:
            status = child.wait(seconds)
        except subprocess.TimeoutExpired:
            status = None
        finally:
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
    said = errors.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    error = f"not done after {seconds:.0f} s" if status is None else ""
    if status:
        error = f"ended with status {status}: {' / '.join(said[-3:])}"
    found: list[dict[str, Any]] = json.loads(out.read_text(encoding="utf-8")) if out.exists() else []
    if not found and not error:
        error = f"not measured: {' / '.join(said[-3:]) or 'no reason given'}"
    return found, error


def _measure_here(name: str, full: bool, out: Path) -> None:
    """A module whose `measure` gives its figures one by one keeps those it had when it fails."""
    import importlib

    figures: list[dict[str, Any]] = []
    for figure in importlib.import_module(PARTS[name].module).measure(full):
        figures.append(asdict(figure))
        unfinished = out.with_suffix(".new")
        unfinished.write_text(json.dumps(figures), encoding="utf-8")
        unfinished.replace(out)


def _table(result: dict[str, Any]) -> Table:
    table = Table(*COLUMNS, title=f"{result['name']} ({result['seconds']:.0f} s)", title_justify="left")
    for one in result["figures"]:
        table.add_row(*Figure(**one).cells())
    return table


if __name__ == "__main__":
    sys.exit(main())

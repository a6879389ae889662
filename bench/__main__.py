"""`./run bench [--full] [NAME …]`: measures, and writes bench/RESULTS.md."""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import sqlite3
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from bench.figure import Figure

MODULES = ("decide", "journal", "dropbox", "directory")
RESULTS = Path(__file__).parent / "RESULTS.md"


def main() -> int:
    parser = argparse.ArgumentParser(prog="./run bench", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"which of {', '.join(MODULES)}; else all")
    parser.add_argument("--full", action="store_true", help="the large sizes too: hours rather than minutes")
    options = parser.parse_args()
    unknown = [name for name in options.names if name not in MODULES]
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}")
    names = options.names or [name for name in MODULES if (Path(__file__).parent / f"{name}.py").exists()]
    sections = []
    for name in names:
        started = time.perf_counter()
        print(f"{name} ...", flush=True)
        figures = importlib.import_module(f"bench.{name}").measure(options.full)
        sections.append((name, figures, time.perf_counter() - started))
        for figure in figures:
            print(f"  {_line(figure)}", flush=True)
    if not options.names:
        RESULTS.write_text(_page(sections, full=options.full), encoding="utf-8")
        print(f"written to {RESULTS.name}")
    return 0


def _line(figure: Figure) -> str:
    ratio = f", {figure.ratio:.2f} x {figure.beside}" if figure.beside and figure.ratio else ""
    return f"{figure.name}: {figure.value:,.3g} {figure.unit}{ratio}  {figure.note}"


def _page(sections: list[tuple[str, list[Figure], float]], *, full: bool) -> str:
    lines = [
        "# Measured",
        "",
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {'all' if full else 'default'} sizes. {os.cpu_count()} cores, {platform.machine()}, "
        f"{platform.system()}, Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}.",
        "Each ratio is taken side by side in one run; absolute numbers depend on the machine and on what else it does.",
    ]
    for name, figures, seconds in sections:
        lines += [
            "",
            f"## {name} ({seconds:.0f} s)",
            "",
            "| figure | value | beside | ratio | goal | note |",
            "|---|---|---|---|---|---|",
        ]
        for figure in figures:
            ratio = f"{figure.ratio:.2f}" if figure.beside and figure.ratio else ""
            lines.append(
                f"| {figure.name} | {figure.value:,.4g} {figure.unit} | {figure.beside} | {ratio} | {figure.goal} | {figure.note} |"
            )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())

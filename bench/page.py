"""bench/RESULTS.md from the files in bench/results: what was measured last of each figure, and the recorded long runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bench.figure import COLUMNS, Figure

RESULTS = Path(__file__).parent / "results"
PAGE = Path(__file__).parent / "RESULTS.md"

HEAD = """# Measured

`./run bench` measures and writes this page; `./run bench --full` measures the large sizes too. Each ratio is taken side by side in
one run. Absolute numbers depend on the machine and on what else it did: the load average stands beside each part.
"""


def result_file(name: str, *, full: bool) -> Path:
    return RESULTS / f"{name}{'-full' if full else ''}.json"


def write(names: list[str]) -> None:
    """All parts that have a result, in the order of `names`, default sizes first."""
    parts = [HEAD]
    for full in (False, True):
        found = [file for name in names if (file := result_file(name, full=full)).exists()]
        if full and found:
            parts.append("# Large sizes (`--full`)\n")
        parts += [_section(json.loads(file.read_text(encoding="utf-8"))) for file in found]
    parts.append(_recorded({result_file(name, full=full) for name in names for full in (False, True)}))
    PAGE.write_text("\n".join(parts).rstrip() + "\n", encoding="utf-8")


def _section(result: dict[str, Any]) -> str:
    figures = [Figure(**one) for one in result["figures"]]
    lines = [
        f"## {result['name']}",
        "",
        f"{result['what']} {result['at']}, {result['seconds']:.0f} s, load {result['load'][0]} before and {result['load'][1]} after. "
        f"{result['machine']}.",
        "",
    ]
    if result["error"]:
        lines += [f"**Failed:** {' '.join(result['error'].split())}", ""]
    if figures:
        lines += ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
        lines += [
            "| " + " | ".join(cell.replace("|", "\\|") for cell in one.cells()) + " |" for one in figures
        ]
        lines.append("")
    return "\n".join(lines)


def _recorded(parts: set[Path]) -> str:
    others = sorted(
        file.name for file in RESULTS.iterdir() if file not in parts and file.suffix in (".json", ".md")
    )
    if not others:
        return ""
    lines = [
        "# Recorded long runs",
        "",
        "Not part of the command: each is a program of its own and writes its own file.",
        "",
    ]
    return "\n".join([*lines, *(f"* [{name}](results/{name})" for name in others)])

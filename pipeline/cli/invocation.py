"""How the program was called; light enough for every start."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Invocation:
    config: Path | None
    verbose: bool
    environ: Mapping[str, str]

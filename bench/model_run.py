"""The recorded long run of random histories against the oracle (tests/pipeline/histories.py).

    python bench/model_run.py --steps 10000 --seed 1 [--length 100] [--out results/model.json]

Each history has a seed of its own, counted up from --seed, so that one that fails is told again by
`--seed THAT --steps LENGTH`. Ends with exit status 1 when anything was not as it must be.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
import time
from pathlib import Path

import anyio

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from pipeline import log
from tests.pipeline.histories import Figures, Violation, tell


async def tell_all(first: int, steps: int, length: int) -> tuple[Figures, dict[int, str]]:
    total, violations = Figures(), {}
    seed = first
    while total.steps < steps:
        with tempfile.TemporaryDirectory(prefix="model-") as folder:
            try:
                total.add(await tell(seed, min(length, steps - total.steps), Path(folder)))
            except Violation as violation:
                violations[seed] = str(violation)
                total.steps += length
                print(f"seed {seed}: {violation}\n", flush=True)
        seed += 1
    return total, violations


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--steps", type=int, default=10_000, help="changes and passes altogether")
    arguments.add_argument("--seed", type=int, default=1, help="of the first history")
    arguments.add_argument("--length", type=int, default=100, help="steps a history")
    arguments.add_argument("--out", type=Path, help="where to write the figures as JSON")
    chosen = arguments.parse_args()
    log.configure(log.LogOptions(path=None, level="error", to_stderr=False))
    started = time.monotonic()
    total, violations = anyio.run(tell_all, chosen.seed, chosen.steps, chosen.length)
    figures = {
        "histories": total.histories,
        "steps": total.steps,
        "passes": total.passes,
        "deaths": total.deaths,
        "journals_lost": total.journals_lost,
        "simulated_before": total.foreseen,
        "effects": dict(total.effects),
        "exit_codes": {str(code): count for code, count in sorted(total.codes.items())},
        "changes": dict(total.kinds),
        "seed": chosen.seed,
        "length": chosen.length,
        "violations": sorted(violations),
        "seconds": round(time.monotonic() - started, 1),
        "machine": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
    }
    text = json.dumps(figures, indent=2)
    print(text)
    if chosen.out is not None:
        chosen.out.write_text(text + "\n", encoding="utf-8")
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())

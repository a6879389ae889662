"""`watch` with a thread beside it that writes down what the process holds: `python -m bench.soak_watch FILE --config … watch`.

One JSON object a line: seconds since the start, resident memory, file descriptors, threads, tasks, Python objects.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

SAMPLE_SECONDS = 10.0

_loops: list[asyncio.AbstractEventLoop] = []


def _remember_loops() -> None:
    make = asyncio.events.new_event_loop

    def remembered() -> asyncio.AbstractEventLoop:
        loop = make()
        _loops.append(loop)
        return loop

    asyncio.events.new_event_loop = remembered


def sample() -> dict[str, float]:
    """Of this process, now."""
    fields = dict(
        line.split(":", 1) for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    )
    return {
        "rss_mb": int(fields["VmRSS"].split()[0]) / 1024,
        "fds": sum(1 for _ in Path("/proc/self/fd").iterdir()) - 1,  # the one that lists them
        "threads": threading.active_count() - 2,  # the one that looks, and the lifeline
        "tasks": sum(len(asyncio.all_tasks(loop)) for loop in _loops if not loop.is_closed()),
        "objects": len(gc.get_objects()),
    }


def _write_samples(file: Path) -> None:
    started = time.monotonic()
    with file.open("a", encoding="utf-8") as lines:
        while True:
            lines.write(json.dumps({"seconds": round(time.monotonic() - started, 1), **sample()}) + "\n")
            lines.flush()
            time.sleep(SAMPLE_SECONDS)


def _end_with_parent() -> None:
    """Standard input is the lifeline: it ends when whoever started us is gone."""
    while os.read(0, 1):  # not sys.stdin: its lock would be held when the interpreter ends
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def main() -> None:
    file = Path(sys.argv.pop(1))
    _remember_loops()
    threading.Thread(target=_write_samples, args=(file,), daemon=True).start()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    from pipeline.__main__ import main as connector

    connector()


if __name__ == "__main__":
    main()

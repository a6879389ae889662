"""Runs the program again and again, and kills it without warning: at a named point, or after a time.

    python -P victim.py FILE

One request a line on standard input, one answer a line on standard output, both JSON. Everything is imported once; each
request forks a process of its own that runs the program from its first line, so a kill costs no start of Python. A request:

    {"arguments": ["--config", FILE, "run"], "point": "commit.before", "number": 3, "seconds": null}

Points: `commit` (the journal), `request` (to Dropbox), `directory` (an LDAP request), each `.before` and `.after`; `number`
0 kills nowhere. `seconds`: killed then, wherever it is; null for never. The answer: `status` (as a shell tells it, minus the
signal's number if killed), `counts` (how often each point was passed; empty if killed), `seconds`, and `output`, the end of what it
wrote. What the forked process writes goes to FILE.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import Any

POINTS = tuple(
    f"{what}.{when}" for what in ("commit", "request", "directory") for when in ("before", "after")
)
_LONGEST_SECONDS = 300.0


class Trap:
    """Counts what is passed; the n-th time at the point is the end of this process."""

    def __init__(self) -> None:
        self.passed: Counter[str] = Counter()
        self.point, self.number = "", 0

    def pass_by(self, name: str) -> None:
        self.passed[name] += 1
        if name == self.point and self.passed[name] == self.number:
            os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    output = Path(sys.argv[1])
    trap = Trap()
    _set(trap)
    for line in sys.stdin:
        request = json.loads(line)
        counts = output.with_suffix(".counts")
        counts.unlink(missing_ok=True)
        started = time.monotonic()
        child = os.fork()
        if not child:
            _run(request, trap, output, counts)
        status = _wait(child, request["seconds"])
        answer = {
            "status": status,
            "counts": json.loads(counts.read_text()) if counts.exists() else {},
            "seconds": time.monotonic() - started,
            "output": output.read_text(encoding="utf-8", errors="replace")[-3000:],
        }
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def _wait(child: int, seconds: float | None) -> int:
    """Kills it when its time has come. A pass that hangs is killed as well, and is seen by its status."""
    handle = os.pidfd_open(child)
    try:
        ending = select.poll()
        ending.register(handle, select.POLLIN)
        if not ending.poll(1000 * (_LONGEST_SECONDS if seconds is None else seconds)):
            os.kill(child, signal.SIGKILL)
    finally:
        os.close(handle)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _run(request: dict[str, Any], trap: Trap, output: Path, counts: Path) -> None:
    """The forked process; never returns."""
    status = 1
    try:
        target = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.dup2(target, 1)
        os.dup2(target, 2)
        trap.point, trap.number = request["point"], request["number"]
        sys.argv = ["ad-connector", *request["arguments"]]
        from pipeline.__main__ import main as program

        try:
            program()
            status = 0
        except SystemExit as ended:
            status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        counts.write_text(json.dumps(trap.passed))
    except BaseException:  # noqa: BLE001 - the forked process ends here, whatever it was
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status & 0xFF)


def _set(trap: Trap) -> None:
    """Imports what a pass needs and puts the trap beside each commit, request and LDAP request."""
    import pipeline.app.compose
    import pipeline.cli.run
    from stages.directory.line import Line
    from stages.dropbox.transport import Transport
    from state.database import Database

    assert pipeline.app.compose
    assert pipeline.cli.run
    commit = Database._commit

    async def committing(self: Database) -> None:
        trap.pass_by("commit.before")
        await commit(self)
        trap.pass_by("commit.after")

    post = Transport.post

    async def posting(self: Any, *arguments: Any, **named: Any) -> Any:
        trap.pass_by("request.before")
        reply = await post(self, *arguments, **named)
        trap.pass_by("request.after")
        return reply

    search = Line.search_blocking

    def searching(self: Any, *arguments: Any, **named: Any) -> Any:
        trap.pass_by("directory.before")
        answer = search(self, *arguments, **named)
        trap.pass_by("directory.after")
        return answer

    Database._commit = committing  # type: ignore[method-assign]
    Transport.post = posting  # type: ignore[method-assign]
    Line.search_blocking = searching  # type: ignore[method-assign]


if __name__ == "__main__":
    main()

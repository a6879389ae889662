"""Runs the program and kills it, without warning, at the n-th time that it comes by a named point.

    python -P victim.py POINT N -- --config FILE run

Points: `commit` (the journal), `request` (to Dropbox), `directory` (an LDAP request), each `.before` and `.after`.
With N = 0 nothing is killed, and the counts of all points are written to standard error as JSON.
"""

from __future__ import annotations

import atexit
import json
import os
import signal
import sys
from collections import Counter
from typing import Any

POINTS = tuple(
    f"{what}.{when}" for what in ("commit", "request", "directory") for when in ("before", "after")
)


def main() -> None:
    point, number = sys.argv[1], int(sys.argv[2])
    sys.argv = ["ad-connector", *sys.argv[4:]]
    passed: Counter[str] = Counter()

    def pass_by(name: str) -> None:
        passed[name] += 1
        if name == point and passed[name] == number:
            os.kill(os.getpid(), signal.SIGKILL)

    import aiosqlite

    from stages.directory.line import Line
    from stages.dropbox.transport import Transport

    execute = aiosqlite.Connection.execute

    def committing(self: Any, statement: str, *values: Any) -> Any:
        if statement != "COMMIT":
            return execute(self, statement, *values)

        async def commit() -> Any:
            pass_by("commit.before")
            cursor = await execute(self, statement, *values)
            pass_by("commit.after")
            return cursor

        return commit()

    post = Transport.post

    async def posting(self: Any, *arguments: Any, **named: Any) -> Any:
        pass_by("request.before")
        reply = await post(self, *arguments, **named)
        pass_by("request.after")
        return reply

    search = Line.search_blocking

    def searching(self: Any, *arguments: Any, **named: Any) -> Any:
        pass_by("directory.before")
        answer = search(self, *arguments, **named)
        pass_by("directory.after")
        return answer

    aiosqlite.Connection.execute = committing  # type: ignore[method-assign,assignment]
    Transport.post = posting  # type: ignore[method-assign]
    Line.search_blocking = searching  # type: ignore[method-assign]
    if not number:
        atexit.register(lambda: sys.stderr.write("\n" + json.dumps(passed) + "\n"))
    from pipeline.__main__ import main as program

    program()


if __name__ == "__main__":
    main()

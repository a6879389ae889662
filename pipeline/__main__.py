"""`python -m pipeline`: the command line."""

from __future__ import annotations

import signal
import sys

OLDEST = (3, 11)

OURS = ("config", "stages", "state")
"""Import names that other packages on the package index bear as well (docs/decisions/0011-an-environment-of-its-own.md)."""

MARK = "dropbox-ad-connector"
"""Stands in the `__init__.py` of each of ours: an overwritten one lacks it."""


def main() -> None:
    """Ends the process with the exit code of behaviour.md §10, modulo 256."""
    if sys.version_info < OLDEST:
        found = ".".join(str(part) for part in sys.version_info[:3])
        sys.stderr.write(f"exit code: -1: Python {found} is not supported; install Python 3.11 or newer\n")
        raise SystemExit(255)
    stranger = find_stranger()
    if stranger:
        sys.stderr.write(
            f"starting ad-connector: {stranger}\n"
            "What to do: install the connector again, in a virtual environment of its own, and start it from there\n"
            "exit code: -10\n"
        )
        raise SystemExit(246)
    # Until the libraries are loaded, which takes half a second, Ctrl-C just ends the process: caught anywhere in an import
    # it would end in a traceback. Where it was ignored from the start (a job in the background), it stays so.
    handler = signal.getsignal(signal.SIGINT)
    if handler is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        from pipeline.cli import application

        application(on_loaded=lambda: signal.signal(signal.SIGINT, handler))
    except KeyboardInterrupt:
        raise SystemExit(130) from None


def find_stranger() -> str:
    """Which of our packages is somebody else's, in words; "" when all are ours. Imports none of them.

    Another distribution with the same import name either stands before ours on the path, or was installed
    into the same folder and overwrote it: the first shows by its place, the second by the missing mark.
    """
    import importlib.util
    from pathlib import Path

    home = Path(__file__).resolve().parent.parent
    for name in OURS:
        spec = importlib.util.find_spec(name)
        if spec is None:
            return f"the package {name!r} is missing"
        place = Path(spec.origin).resolve() if spec.origin else None
        if place is None or place.parent != home / name:
            where = place or ", ".join(spec.submodule_search_locations or ())
            return f"the package {name!r} that Python finds is another program's: {where}"
        if MARK not in place.read_text(encoding="utf-8", errors="replace"):
            return f"the package {name!r} was overwritten by another program's: {place}"
    return ""


if __name__ == "__main__":
    main()

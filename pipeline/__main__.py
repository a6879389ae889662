"""`python -m pipeline`: the command line."""

from __future__ import annotations

import sys

OLDEST = (3, 11)


def main() -> None:
    """Ends the process with the exit code of behaviour.md §10, modulo 256."""
    if sys.version_info < OLDEST:
        found = ".".join(str(part) for part in sys.version_info[:3])
        sys.stderr.write(f"exit code: -1: Python {found} is not supported; install Python 3.11 or newer\n")
        raise SystemExit(255)
    from pipeline.cli import application

    application()


if __name__ == "__main__":
    main()

"""A measuring process ends with its error, whatever fails in it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import sys
from pathlib import Path
import anyio
from bench import made_up

def broken(*_, **__):
    raise RuntimeError("can't be put together")

made_up.assemble = broken

async def work():
    async with made_up.connector(Path(sys.argv[1]), None, None):
        pass

anyio.run(work)
"""


def test_it_does_not_hang_where_the_connector_can_not_be_put_together(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-W", "ignore", "-c", PROGRAM, str(tmp_path)],
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1
    assert "can't be put together" in done.stderr

from __future__ import annotations

import importlib.util
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest

from sandbox.environment import Sandbox, SandboxOptions


def _load():
    path = Path(__file__).with_name("matrix.py")
    spec = importlib.util.spec_from_file_location("crash_matrix", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["crash_matrix"] = module
    spec.loader.exec_module(module)
    return module


crash_matrix = _load()


@pytest.fixture
async def matrix(tmp_path: Path, anyio_backend: str) -> AsyncIterator[object]:
    checkout = Path(__file__).resolve().parents[2]
    options = SandboxOptions(population=None, seats=100_000)
    async with Sandbox(
        tmp_path / "sandbox", cache=checkout / ".sandbox" / "cache", options=options
    ) as sandbox:
        configuration = sandbox.write_configuration(
            safety={"max_leavers": 1_000_000, "max_email_changes": 1_000_000},
            mail={"enabled": False},
            groups={"mode": "same"},
        )
        made = await anyio.to_thread.run_sync(crash_matrix.Matrix, sandbox, configuration)
        try:
            await anyio.to_thread.run_sync(made.start)
            yield made
        finally:
            made.close()

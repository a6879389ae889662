"""What a plan without actions says of the team."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from pipeline.app.tables import plan_table
from pipeline.core.exits import ExitCode

HELD = {"kind": "leavers", "count": 9, "limit": "5%", "clusters": [], "hash": "c7c63870c705"}


@pytest.mark.parametrize(
    ("code", "held", "said"),
    [
        (0, [], "No action: the team is as the directory wants it."),
        (int(ExitCode.BRAKE), [HELD], "No action but those that are held."),
        (int(ExitCode.DIRECTORY), [], "No action, but this plan is not complete: see below."),
        (int(ExitCode.DIRECTORY), [HELD], "No action, but this plan is not complete: see below."),
    ],
)
def test_a_plan_without_actions_claims_no_more_than_was_read(
    code: int, held: list[dict[str, Any]], said: str
) -> None:
    plan = {"actions": [], "held": held, "skipped": [], "errors": [], "plan": "sha256:0", "exit_code": code}
    console = Console(file=io.StringIO(), width=120)
    plan_table(plan, console)
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue().splitlines()[0] == said

"""What tables say of passes that did nothing, or not all."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from pipeline.app.tables import plan_table, status_table
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


@pytest.mark.parametrize(("code", "said"), [(0, "nothing to do"), (int(ExitCode.BRAKE), "nothing sent")])
def test_a_pass_that_sent_nothing_had_nothing_to_do_only_if_it_ended_well(code: int, said: str) -> None:
    status: dict[str, Any] = {
        "managed": 1,
        "by_status": {},
        "pending": {},
        "last_pass": {"id": 7, "simulated": False, "ended": "now", "exit_code": code, "actions": {}},
        "checkpoint": None,
        "lag_seconds": None,
        "lag": {"changes": 0, "seen_to_settled": None},
        "next_retry": None,
        "brake": None,
        "owner": None,
        "mails_waiting": 0,
    }
    console = Console(file=io.StringIO(), width=120)
    status_table(status, console)
    assert isinstance(console.file, io.StringIO)
    assert f"with {code}: {said}" in console.file.getvalue()

"""What tables say of passes that did nothing, or not all."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from pipeline.app.renderings import plan_html
from pipeline.app.tables import plan_table, status_table
from pipeline.core.exits import ExitCode

HELD = {"kind": "leavers", "count": 9, "limit": "5%", "clusters": [], "actions": [], "hash": "c7c63870c705"}


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
    assert said in plan_html({**plan, "created": "2026-11-26T05:10:35Z", "summary": {}})


def test_a_plan_tells_how_people_were_matched_and_names_no_kind_of_note() -> None:
    suspension = {"email": "ann@example.test", "guid": "1", "action": "", "error": "console_suspension"}
    fault = {
        "email": "",
        "guid": "",
        "action": "",
        "error": "listing the groups: refused",
        "hint": "authorize",
    }
    plan = {
        "actions": [],
        "held": [],
        "skipped": [],
        "errors": [{**suspension, "hint": "was suspended in the admin console"}, fault],
        "plan": "sha256:0",
        "exit_code": int(ExitCode.SYNC),
        "matches": {"email": 5, "invited": 2},
    }
    console = Console(file=io.StringIO(), width=200)
    plan_table(plan, console)
    assert isinstance(console.file, io.StringIO)
    page = plan_html({**plan, "created": "2026-11-26T05:10:35Z", "summary": {}})
    for text in (console.file.getvalue(), page):
        assert "5 matched by e-mail, 2 invited by us (those of this plan included)" in text
        assert "was suspended in the admin console" in text
        assert "console_suspension" not in text
        assert f"exit code {int(ExitCode.SYNC)}" in text
    assert "listing the groups: refused -> authorize" in console.file.getvalue()


def test_who_would_be_released_is_named_before_the_command_that_releases_them() -> None:
    ann = {"action": "suspend", "email": "ann@example.test", "guid": "1", "reason": "left"}
    plan = {
        "actions": [],
        "held": [{**HELD, "actions": [ann]}],
        "skipped": [],
        "errors": [],
        "plan": "sha256:0",
        "exit_code": int(ExitCode.BRAKE),
    }
    console = Console(file=io.StringIO(), width=120)
    plan_table(plan, console)
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert -1 < text.find("would suspend  ann@example.test") < text.find("ad-connector approve")
    page = plan_html({**plan, "created": "2026-11-26T05:10:35Z", "summary": {}})
    assert "ann@example.test" in page


def shown(**changes: Any) -> str:
    status: dict[str, Any] = {
        "managed": 1,
        "by_status": {},
        "pending": {},
        "last_pass": None,
        "checkpoint": None,
        "lag_seconds": None,
        "lag": {"changes": 0, "seen_to_settled": None},
        "next_retry": None,
        "brake": None,
        "owner": None,
        "mails_waiting": 0,
    }
    console = Console(file=io.StringIO(), width=120)
    status_table({**status, **changes}, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def last_pass(code: int) -> dict[str, Any]:
    ended = "2026-11-26T05:10:35.131985Z"
    found = {"cause": "bind: no answer" if code else "", "remedy": ExitCode(code).remedy}
    return {"id": 7, "simulated": False, "ended": ended, "exit_code": code, "actions": {}, **found}


@pytest.mark.parametrize(("code", "said"), [(0, "nothing to do"), (int(ExitCode.BRAKE), "nothing sent")])
def test_a_pass_that_sent_nothing_had_nothing_to_do_only_if_it_ended_well(code: int, said: str) -> None:
    assert f"ended 2026-11-26T05:10:35Z with {code}: {said}" in shown(last_pass=last_pass(code))


def test_a_pass_that_failed_says_why_and_what_to_do() -> None:
    text = shown(last_pass=last_pass(int(ExitCode.DIRECTORY)))
    assert "can't be reached" in text
    assert "(bind: no answer)" in text
    assert "`ad-connector check directory`" in text
    assert "What to do" not in shown(last_pass=last_pass(0))


def test_a_held_set_shows_its_limit_and_where_its_people_stand() -> None:
    held = {"hash": "c7c63870c705", "kind": "leavers", "count": 4, "limit": "at most 3"}
    text = shown(brake={"sets": [held]})
    assert "at most 3. Who: ad-connector plan" in text

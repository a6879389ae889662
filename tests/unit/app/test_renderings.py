"""Plans as CSV and HTML: nothing in them runs."""

from __future__ import annotations

import csv
import io
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pipeline.app.renderings import plain_cell, plan_csv, plan_html


def _plan(email: str, reason: str) -> dict[str, Any]:
    row = {
        "action": "invite",
        "email": email,
        "guid": "g-1",
        "reason": reason,
        "detail": {"given_name": email},
    }
    held = {
        "hash": "abc",
        "kind": "leavers",
        "count": 1,
        "limit": reason,
        "clusters": [{"by": "cause", "value": reason, "count": 1}],
    }
    return {
        "plan": "sha256:0",
        "created": "2026-11-23T09:00:00Z",
        "simulation": True,
        "summary": {"invite": 1},
        "held": [{**held, "actions": [row]}],
        "actions": [row],
        "skipped": [{"email": email, "guid": "g-2", "dn": reason, "reason": reason}],
        "errors": [{"email": email, "error": reason, "hint": ""}],
        "exit_code": 0,
    }


@given(st.text(), st.text())
def test_no_cell_of_the_csv_begins_like_a_formula(email: str, reason: str) -> None:
    rows = list(csv.reader(io.StringIO(plan_csv(_plan(email, reason)))))
    assert [row[0] for row in rows] == ["action", "invite", "held: invite", "skipped", "error"]
    for row in rows:
        for cell in row:
            assert not cell.startswith(("=", "+", "@", "\t", "\r"))
            assert not cell.startswith("-") or cell.lstrip("-").isdigit()


@given(st.text())
def test_numbers_stay_numbers(text: str) -> None:
    assert plain_cell(-17) == "-17"
    assert plain_cell(None) == ""
    assert plain_cell("=" + text).startswith("'=")


@given(st.text(alphabet="<>&\"'/abc \u202e\n{}%", max_size=30))
def test_markup_from_the_directory_is_shown_and_never_runs(text: str) -> None:
    page = plan_html(_plan(f"<script>{text}", f"<img src=x onerror=alert(1)>{text}"))
    assert "<script" not in page
    assert "<img" not in page
    assert "\u202e" not in page
    assert "&lt;script&gt;" in page


def test_a_row_about_a_group_names_the_group_and_who_is_in_question() -> None:
    emails = [f"p{number:02}@example.test" for number in range(12)]
    row = {
        "action": "group_add",
        "email": "",
        "guid": "g-1",
        "group": "Sales",
        "group_guid": "g-1",
        "reason": "in the directory group Sales",
        "emails": emails,
        "detail": {"guids": [f"u-{number}" for number in range(12)]},
    }
    left_out = {
        "email": "",
        "guid": "",
        "dn": "",
        "group": "Sales",
        "group_guid": "g-1",
        "reason": "left out: Ann",
    }
    plan = {**_plan("ann@example.test", "why"), "actions": [row], "skipped": [left_out]}
    shown = "group Sales: " + ", ".join(emails[:10]) + " and 2 more"
    assert shown in plan_html(plan)
    table = list(csv.reader(io.StringIO(plan_csv(plan))))
    assert table[1][1] == f"group Sales: {', '.join(emails)}"
    assert "u-3" not in plan_csv(plan)
    assert table[3][:3] == ["skipped", "group Sales", "g-1"]

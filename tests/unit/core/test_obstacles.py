"""What keeps an action from being sent, and which of several is told."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from pipeline.core.exits import ExitCode
from pipeline.core.obstacles import SIMULATION, Circumstances
from pipeline.model import DESTRUCTIVE, Action, ActionKind, Profile, State
from pipeline.records import HeldRecord

AT = datetime(2026, 11, 26, tzinfo=UTC)
ANN = "11111111-1111-1111-1111-111111111111"
SALES = "22222222-2222-2222-2222-222222222222"
HELD = HeldRecord(
    hash="3f9a1c07b2de",
    kind="leavers",
    at=AT,
    wanted=12,
    limit_text="at most 10",
    clusters=(),
    items=((ANN, "suspend"), (f"{SALES}/{ANN}", "group_remove")),
)
UNREAD = (ExitCode.CONFIGURATION, ExitCode.DIRECTORY, ExitCode.SCOPE)
UNREACHED = (ExitCode.DROPBOX_SETUP, ExitCode.TEAM_INFO, ExitCode.TEAM_READ)


def action(kind: ActionKind, state: State, group_guid: str = "") -> Action:
    return Action(
        id=1,
        guid=ANN,
        kind=kind,
        state=state,
        email="ann@example.test",
        member_id="",
        changes=Profile(),
        reason="",
        cause="",
        pass_id=7,
        group_guid=group_guid,
    )


def ended(code: ExitCode) -> Circumstances:
    return Circumstances(pass_id=7, code=code, cause="no answer", remedy="look there", held=(HELD,))


@pytest.mark.parametrize("code", set(ExitCode) - {*UNREAD, *UNREACHED})
def test_other_ends_of_a_pass_keep_nothing_back(code: ExitCode) -> None:
    assert ended(code).of_pass is None
    assert ended(code).against(ActionKind.SUSPEND, ANN, ()) is None


@pytest.mark.parametrize("code", [*UNREAD, *UNREACHED])
@pytest.mark.parametrize("kind", ActionKind)
def test_after_a_failed_read_nothing_new_is_sent(code: ExitCode, kind: ActionKind) -> None:
    obstacle = ended(code).against(kind, ANN, ())
    assert obstacle is not None
    assert obstacle.by == "pass"
    for said in ("pass 7", str(int(code)), "no answer"):
        assert said in obstacle.why
    assert obstacle.remedy.startswith("look there")


@pytest.mark.parametrize("kind", ActionKind)
def test_what_was_due_and_harms_nobody_still_goes_where_only_the_directory_failed(kind: ActionKind) -> None:
    due = [action(kind, State.PLANNED)]
    for code in UNREAD:
        assert (ended(code).against(kind, ANN, due) is None) == (kind not in DESTRUCTIVE)
        assert ended(code).against(kind, ANN, [action(kind, State.FAILED)]) is not None
    for code in UNREACHED:
        assert ended(code).against(kind, ANN, due) is not None


def test_groups_wait_for_a_pass_that_reads() -> None:
    due = [action(ActionKind.GROUP_ADD, State.PLANNED, SALES)]
    assert ended(ExitCode.DIRECTORY).against(ActionKind.GROUP_ADD, ANN, due, SALES) is not None
    assert ended(ExitCode.OK).against(ActionKind.GROUP_ADD, ANN, due, SALES) is None


def test_a_fault_of_the_group_sync_group_holds_up_groups_only() -> None:
    present = Circumstances(group_fault="no group is in it")
    obstacle = present.against(ActionKind.GROUP_ADD, ANN, (), SALES)
    assert obstacle is not None
    assert obstacle.by == "groups"
    assert present.against(ActionKind.SUSPEND, ANN, ()) is None


def test_of_what_is_held_the_set_is_named() -> None:
    held = [action(ActionKind.SUSPEND, State.HELD), action(ActionKind.GROUP_REMOVE, State.HELD, SALES)]
    for kind, group in ((ActionKind.SUSPEND, ""), (ActionKind.GROUP_REMOVE, SALES)):
        obstacle = ended(ExitCode.BRAKE).against(kind, ANN, held, group)
        assert obstacle is not None
        assert obstacle.by == "brake"
        assert f"ad-connector approve {HELD.hash}" in obstacle.remedy
        assert "at most 10" in obstacle.why
    assert ended(ExitCode.BRAKE).against(ActionKind.UPDATE, ANN, held) is None
    unknown = replace(ended(ExitCode.BRAKE), held=()).against(ActionKind.SUSPEND, ANN, held)
    assert unknown is not None
    assert "ad-connector status" in unknown.remedy


def test_simulation_comes_first() -> None:
    present = replace(ended(ExitCode.DIRECTORY), simulation=SIMULATION)
    obstacle = present.against(ActionKind.INVITE, ANN, ())
    assert obstacle is not None
    assert obstacle.by == "simulation"

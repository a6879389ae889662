"""What an earlier process left in `sending` is settled by what the team shows, before anything else is sent."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipeline.model import Action, ActionKind, Profile, State, Wanted
from stages.dropbox.applier import Applier, ApplierOptions, ApplyReport
from stages.dropbox.memory import MemoryTeam
from state.journal import Journal

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
GUID = "00000000-0000-0000-0000-000000000001"


class _StoppedClock:
    def now(self) -> datetime:
        return NOW

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("nothing waits here")


async def _left_in_doubt(journal: Journal, *, deaths: int) -> None:
    """One invitation whose process died so often while it was under way."""
    wanted = Wanted(
        kind=ActionKind.INVITE,
        reason="in sync group",
        changes=Profile(email="ann@example.test", external_id=f"ad-guid:{GUID}"),
    )
    async with journal.transaction():
        pass_id = await journal.begin_pass(NOW, simulated=False, full=False)
        await journal.outbox.add(
            wanted,
            guid=GUID,
            email="ann@example.test",
            member_id="",
            precondition="",
            before=Profile(),
            pass_id=pass_id,
            now=NOW,
            seen_at=NOW,
        )
        await journal.outbox.release([(action, None) for action in await journal.outbox.unreleased()])
        for number in range(deaths):
            (action,) = await journal.outbox.claimable(1)
            await journal.outbox.mark_sending([action], NOW)
            if number < deaths - 1:
                (sending,) = await journal.outbox.in_state(State.SENDING)
                await journal.outbox.settle(sending, State.PLANNED, NOW, error="reply lost, no effect")


async def _recovered(folder: Path, team: MemoryTeam, *, deaths: int) -> Action:
    journal = await Journal.open(folder / "journal.db")
    try:
        await _left_in_doubt(journal, deaths=deaths)
        applier = Applier(
            team, journal, _StoppedClock(), ApplierOptions(), jitter=lambda: 0.0, log=lambda *_: None
        )
        assert await applier.recover(ApplyReport()) == 1
        async with journal.reading():
            (action,) = await journal.outbox.in_state(*State)
        return action
    finally:
        await journal.close()


async def test_a_write_that_a_crash_proved_without_effect_leaves_again_at_once(tmp_path: Path) -> None:
    action = await _recovered(tmp_path, MemoryTeam(), deaths=1)
    assert (action.state, action.due) == (State.PLANNED, None)


async def test_a_write_under_which_processes_die_again_and_again_is_slowed_down(tmp_path: Path) -> None:
    action = await _recovered(tmp_path, MemoryTeam(), deaths=2)
    assert action.state is State.RETRY
    assert action.due is not None
    assert action.due > NOW


async def test_a_write_that_had_its_effect_is_done_and_is_not_sent_again(tmp_path: Path) -> None:
    team = MemoryTeam()
    await team.invite([Profile(email="ann@example.test", external_id=f"ad-guid:{GUID}")], send_welcome=True)
    action = await _recovered(tmp_path, team, deaths=1)
    assert action.state is State.DONE
    assert sum(team.welcome_mails.values()) == 1

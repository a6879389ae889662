from __future__ import annotations

import pytest

from pipeline.errors import TeamReadError
from pipeline.model import ActionKind, Outcome, Profile, Status, Verdict
from stages.dropbox.memory import MemoryTeam

pytestmark = pytest.mark.anyio


async def test_a_lost_reply_is_unknown_with_or_without_its_effect():
    team = MemoryTeam()
    ann, bob = team.add("ann@example.test"), team.add("bob@example.test")
    team.break_next(ActionKind.SUSPEND, lost="before")
    team.break_next(ActionKind.SUSPEND, lost="after")
    outcomes = [await team.suspend(each.member_id, wipe_data=True) for each in (ann, bob)]
    assert {outcome.verdict for outcome in outcomes} == {Verdict.UNKNOWN}
    assert team.members[ann.member_id].status is Status.ACTIVE
    assert team.members[bob.member_id].status is Status.SUSPENDED
    assert (team.wipes[ann.member_id], team.wipes[bob.member_id]) == (0, 1)


async def test_failures_by_tag_meet_one_person_of_a_batch():
    team = MemoryTeam()
    team.break_next(ActionKind.INVITE, tag="user_on_another_team")
    team.break_next(ActionKind.INVITE, outcome=Outcome(verdict=Verdict.RETRY, retry_after=3.0))
    people = [Profile(email=f"p{n}@example.test") for n in range(3)]
    outcomes = await team.invite(people, send_welcome=True)
    assert [each.verdict for each in outcomes] == [Verdict.FAILED, Verdict.RETRY, Verdict.DONE]
    assert team.welcome_mails == {"p2@example.test": 1}


async def test_an_outage_is_never_an_absence():
    team = MemoryTeam()
    ann = team.add("ann@example.test")
    team.outage = True
    with pytest.raises(TeamReadError):
        await team.get_members(member_ids=[ann.member_id])
    assert (await team.suspend(ann.member_id, wipe_data=True)).verdict is Verdict.UNKNOWN

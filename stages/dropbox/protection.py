"""Admins who must not lose their account by us: the one whose token we use, and in doubt all of them."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.journal_port import Journal
from pipeline.model import LEAVER_KINDS, Action, Outcome, Verdict
from stages.dropbox.settling import Settled

_THE_ADMIN = Outcome(
    verdict=Verdict.FAILED,
    tag="the authorising admin",
    hint="the admin who authorised the connector is never suspended or removed: authorise it with another admin first",
)
_PERHAPS = Outcome(
    verdict=Verdict.FAILED,
    tag="perhaps the authorising admin",
    hint="who authorised the connector can't be told at the moment, so no team admin is suspended or removed: see `check dropbox`",
)


async def refused_for_admins(journal: Journal, admin_id: str, ready: Sequence[Action]) -> list[Settled]:
    """What must not be sent, with why; inside the caller's transaction. `admin_id` empty: it can't be told who authorised."""
    leavers = [action for action in ready if action.kind in LEAVER_KINDS and action.member_id]
    if admin_id:
        return [(action, _THE_ADMIN) for action in leavers if action.member_id == admin_id]
    if not leavers:
        return []
    members = await journal.members.by_id({action.member_id for action in leavers})
    admins = {member.member_id for member in members.values() if member.is_team_admin}
    return [(action, _PERHAPS) for action in leavers if action.member_id in admins]

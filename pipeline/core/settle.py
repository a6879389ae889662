"""After a crash or a lost reply the member was read back: what became of the write?

There is no idempotency key in Dropbox's API; a repeated write either fails or works twice. So what the
member shows decides (table 5.4 of the API sheet), and in doubt the person is decided afresh rather than
invited or wiped a second time.
"""

from __future__ import annotations

from pipeline.core.mapping import changes
from pipeline.model import OPEN_STATES, Action, ActionKind, Member, Profile, State, Status, Verdict

IN_DOUBT = "?"
"""As the job of an action: its reply was lost, and with it the id of a job that there may be."""

_HAS_ACCOUNT = frozenset({Status.ACTIVE, Status.SUSPENDED})


def is_under_way(action: Action) -> bool:
    """Whether its effect may still come: until a look has told, nothing is decided about the person."""
    return action.state is State.SENDING or (bool(action.job_id) and action.state in OPEN_STATES)


def settle(action: Action, member: Member | None, *, job_pending: bool = False) -> Verdict:
    """What is to be done with an action in `sending`, from the member as read now.

    `member` None: the team has no such member (asked by id; for an invitation by external id and e-mail). A failed
    read is no answer: don't call.

    DONE: the effect is there. RETRY: it is not, and may be asked for again. STALE: the member is in a state
    that the action was not decided for; decide again. UNKNOWN: no effect is seen, but an async job that may
    still bring it (`job_pending`) has not ended; or the action is about a group, which no member tells about.
    """
    if action.kind in _ABOUT_GROUPS:
        return Verdict.UNKNOWN
    match action.kind:
        case ActionKind.INVITE:
            verdict = _settle_invite(
                action, member
            )  # a new account: any id it was decided for is an old one's
        case ActionKind.RESEND_WELCOME:
            verdict = Verdict.DONE  # nothing shows whether the mail left: at most once
        case _ if member is not None and action.member_id not in ("", member.member_id):
            verdict = Verdict.STALE
        case ActionKind.UPDATE:
            verdict = _settle_update(action, member)
        case ActionKind.RECOVER:
            verdict = _settle_recover(member)
        case _:
            verdict = _BY_STATUS[action.kind].get(member.status if member else Status.REMOVED, Verdict.STALE)
    return Verdict.UNKNOWN if job_pending and verdict is Verdict.RETRY else verdict


_ABOUT_GROUPS = frozenset(
    {
        ActionKind.GROUP_CREATE,
        ActionKind.GROUP_RENAME,
        ActionKind.GROUP_ADD,
        ActionKind.GROUP_REMOVE,
        ActionKind.GROUP_DELETE,
    }
)

# A member that is gone counts as removed here. What is not named is STALE.
_BY_STATUS: dict[ActionKind, dict[Status, Verdict]] = {
    ActionKind.SUSPEND: {Status.SUSPENDED: Verdict.DONE, Status.ACTIVE: Verdict.RETRY},
    ActionKind.UNSUSPEND: {Status.ACTIVE: Verdict.DONE, Status.SUSPENDED: Verdict.RETRY},
    ActionKind.REMOVE: {
        Status.REMOVED: Verdict.DONE,
        Status.ACTIVE: Verdict.RETRY,
        Status.SUSPENDED: Verdict.RETRY,
    },
    # who joined meanwhile has files and devices: that is a suspension, and for the planner to decide
    ActionKind.REVOKE_INVITE: {Status.REMOVED: Verdict.DONE, Status.INVITED: Verdict.RETRY},
}


def _settle_invite(action: Action, member: Member | None) -> Verdict:
    if member is None:
        return Verdict.RETRY
    if member.status not in (Status.INVITED, Status.ACTIVE):
        return Verdict.STALE
    if action.changes.external_id:
        # the same address under another id, or none, was invited by somebody else: not ours to claim
        is_ours = member.external_id == action.changes.external_id
    else:
        is_ours = member.email.lower() == (action.changes.email or action.email).lower()
    return Verdict.DONE if is_ours else Verdict.STALE


def _settle_update(action: Action, member: Member | None) -> Verdict:
    if member is None or member.status is Status.REMOVED:
        return Verdict.STALE
    if changes(action.changes, member) == Profile():
        return Verdict.DONE
    if member.status is Status.INVITED and action.changes != Profile(external_id=action.changes.external_id):
        return Verdict.STALE  # names and e-mail of an invited member wait until they join
    return Verdict.RETRY


def _settle_recover(member: Member | None) -> Verdict:
    if member is None:
        return Verdict.STALE
    if member.status in _HAS_ACCOUNT:  # a recovered account comes back in its previous state
        return Verdict.DONE
    return Verdict.RETRY if member.status is Status.REMOVED and member.recoverable else Verdict.STALE

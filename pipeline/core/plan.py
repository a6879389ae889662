"""`decide`: the one place where it is decided what to do about a person. (behaviour.md §2 to §5)

Every command is another source of its input or another sink of its output. It reads present state only
(level-triggered), so a thousand deltas of one person make one decision, and asking again changes nothing.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from pipeline.core.identity import LEGACY_PREFIX, How, Match
from pipeline.core.mapping import NO_CHANGES, changes, cleaning_of, identity_in
from pipeline.core.namesake import Claim, name_of
from pipeline.core.subject import (
    NOTHING,
    Decision,
    Note,
    NoteKind,
    Policy,
    Presence,
    Subject,
    is_disabled,
    label_of,
)
from pipeline.model import ActionKind, Member, Profile, Status, WaitFor, Wanted
from pipeline.records import Link, Pin

__all__ = [
    "NOTHING",
    "Decision",
    "Note",
    "NoteKind",
    "Policy",
    "Presence",
    "Subject",
    "decide",
    "is_disabled",
    "label_of",
]
"""With the values that `decide` takes and gives: they stand in `subject`."""


def decide(subject: Subject, policy: Policy, now: datetime) -> Decision:
    if subject.excluded:
        return Decision(skipped=f"excluded: {subject.excluded}")
    if subject.match.rival:
        if subject.claim is None or not subject.claim.is_released:
            return _held_namesake(subject)
        subject = _moved(subject, subject.claim)
    member = subject.match.member
    if subject.pin is not None and subject.link is not None:
        return _undone(subject.pin, member)
    if member is not None and not _is_managed(subject, policy):
        return Decision(
            skipped="a member already, and users.manage_existing is off: unmanaged, never touched"
        )
    if member is not None and subject.duplicate_of and subject.match.how is How.EMAIL:
        # Whose account it is can't be told by an address that two people carry.
        detail = f"the member with this e-mail may be theirs or that of {subject.duplicate_of}, who has the same e-mail"
        return Decision(skipped=detail, notes=(_duplicate_note(subject),))
    if member is not None and member.status is Status.UNKNOWN:
        return Decision(skipped="Dropbox tells a status that this version does not know; left alone")
    if subject.presence is Presence.UNREADABLE:
        note = _note(
            subject,
            NoteKind.MISSING_RIGHT,
            "still in the sync group, but the account may not read the object; left alone",
        )
        return Decision(skipped="the object can't be read; a missing right proves nothing", notes=(note,))
    adopt = (member, subject.match.how) if member is not None and subject.match.how is not How.LINK else None
    decision = _decide_state(subject, policy, now)
    return decision if adopt is None else replace(decision, adopt=adopt)


def _is_managed(subject: Subject, policy: Policy) -> bool:
    match subject.match.how:
        case How.EMAIL:
            # A person who is no longer listed is never adopted by an e-mail alone. An old link, to an account that is
            # gone, makes no other account ours.
            return policy.manage_existing and subject.node.listed
        case How.LEGACY:
            return policy.adopt_legacy
        case _:
            return True


def _decide_state(subject: Subject, policy: Policy, now: datetime) -> Decision:
    if subject.presence is Presence.LISTED:
        if is_disabled(subject.node, policy, now):
            word = "disabled" if subject.node.entry.disabled else "expired"
            return _shut_out(subject, policy, f"{word} in the directory", cause=word)
        decision = _let_in(subject, policy, now)
        expires = subject.node.entry.account_expires
        if policy.expired_is_disabled and expires is not None and expires > now:
            earliest = min(filter(None, (decision.look_again, expires)))
            decision = replace(decision, look_again=earliest)
        return decision
    if (
        subject.claimed_by
        and subject.match.member is not None
        and subject.match.member.status is not Status.REMOVED
    ):
        return _held_for_namesake(subject)
    if subject.presence is Presence.DELETED:
        return _deleted(subject, policy, now)
    return _left(subject, policy, now)


# --- in scope and enabled ------------------------------------------------------------------------------


def _let_in(subject: Subject, policy: Policy, now: datetime) -> Decision:
    member = subject.match.member
    if member is None or (member.status is Status.REMOVED and not member.recoverable):
        return _invite(subject)
    external_id, notes = _external_id(subject, member, policy)
    wanted = subject.mapped.profile
    if external_id != wanted.external_id:
        wanted = replace(wanted, external_id=external_id)
    if subject.duplicate_of:
        wanted = replace(wanted, email="")
        notes += (_duplicate_note(subject),)
    differs = changes(wanted, member)
    update = _updates(differs, member, subject)
    match member.status:
        case Status.INVITED:
            return _invited(subject, member, differs, notes, policy=policy, now=now)
        case Status.ACTIVE:
            return Decision(wanted=update, notes=notes) if update or notes else NOTHING
        case Status.SUSPENDED:
            by_console = subject.link is None or not subject.link.suspended_by_us
            if by_console and policy.hold_console_suspension:
                return Decision(
                    skipped="suspended in the admin console; users.console_suspension is hold", notes=notes
                )
            if by_console:
                detail = "was suspended in the admin console; to keep it, disable the person in the directory"
                notes += (_note(subject, NoteKind.CONSOLE_SUSPENSION, detail),)
            reason = f"{_in_scope(subject)} and enabled, but suspended in Dropbox"
            return Decision(wanted=(Wanted(kind=ActionKind.UNSUSPEND, reason=reason), *update), notes=notes)
        case Status.REMOVED:
            reason = f"{_in_scope(subject)}, and the removed account can still be recovered"
            return Decision(wanted=(Wanted(kind=ActionKind.RECOVER, reason=reason), *update), notes=notes)
        case Status.UNKNOWN:
            return Decision(notes=notes)


def _updates(differs: Profile, member: Member, subject: Subject) -> tuple[Wanted, ...]:
    """One request for everything, but for an address that stands refused or held: the rest must not wait for it."""
    if differs == NO_CHANGES:
        return ()
    parts = [differs]
    if differs.email and differs.email == subject.parked_email:
        parts = [replace(differs, email=""), Profile(email=differs.email)]
    return tuple(
        Wanted(kind=ActionKind.UPDATE, reason=_difference(part, member, subject), changes=part)
        for part in parts
        if part != NO_CHANGES
    )


def _invite(subject: Subject) -> Decision:
    profile = subject.mapped.invitation_profile
    if not profile.email:
        reason = subject.mapped.email_problem or "no e-mail"
        return Decision(skipped=reason, notes=(_skip_note(subject, reason),))
    if subject.duplicate_of:
        return Decision(
            skipped=f"another listed person has the same e-mail: {subject.duplicate_of}",
            notes=(_duplicate_note(subject),),
        )
    reason = f"{_in_scope(subject)}, not on the team{cleaning_of(subject.mapped, profile)}"
    return Decision(wanted=(Wanted(kind=ActionKind.INVITE, reason=reason, changes=profile),))


def _invited(
    subject: Subject,
    member: Member,
    differs: Profile,
    notes: tuple[Note, ...],
    *,
    policy: Policy,
    now: datetime,
) -> Decision:
    """Invited members are not updated; only the external id of an adoption is set at once."""
    rest = replace(differs, external_id="")
    if rest.email and policy.reinvite_on_email_change:
        reason = f"the e-mail of an open invitation changed from {member.email} to {rest.email}"
        return Decision(
            wanted=(
                Wanted(kind=ActionKind.REVOKE_INVITE, reason=reason, cause="e-mail of an invitation changed"),
                Wanted(kind=ActionKind.INVITE, reason=reason, changes=subject.mapped.invitation_profile),
            ),
            notes=notes,
        )
    wanted: list[Wanted] = []
    look_again = None
    welcomes = subject.link.welcomes if subject.link else 0
    if policy.reinvite_every and member.invited_on is not None and welcomes < 3:
        look_again = member.invited_on + policy.reinvite_every * (welcomes + 1)
        if look_again <= now:
            # First: what waits for the member to join would keep it waiting.
            reason = f"invited since {member.invited_on:%Y-%m-%d}"
            wanted.append(Wanted(kind=ActionKind.RESEND_WELCOME, reason=reason))
            look_again = now + policy.reinvite_every
    if differs.external_id:
        wanted.append(
            Wanted(
                kind=ActionKind.UPDATE,
                reason="adopted: external id set",
                changes=Profile(external_id=differs.external_id),
            )
        )
    if rest != NO_CHANGES:
        if rest.email:
            detail = f"the e-mail changed to {rest.email} while the invitation to {member.email} is open"
            notes += (_note(subject, NoteKind.INVITED_EMAIL, detail),)
        reason = f"{_difference(rest, member, subject)}; waits until the member has joined"
        wanted.append(Wanted(kind=ActionKind.UPDATE, reason=reason, changes=rest, wait=WaitFor.JOINED))
    return Decision(wanted=tuple(wanted), notes=notes, look_again=look_again)


def _external_id(subject: Subject, member: Member, policy: Policy) -> tuple[str, tuple[Note, ...]]:
    """The external id to set, or "" where another system's id stands and must not be overwritten."""
    ours = subject.mapped.profile.external_id
    present = member.external_id
    replaceable = (
        present in ("", ours)
        or subject.match.how is How.LEGACY
        or present == f"{LEGACY_PREFIX}{subject.node.entry.sid}"
        or identity_in(present, policy.external_id_format)
        or (_is_of_predecessor(subject.link, present) and policy.adopt_legacy)
        or policy.overwrite_foreign_ids
    )
    if replaceable:
        return ours, ()
    detail = "carries another system's external id; set external_id.overwrite_foreign to replace it"
    return "", (_note(subject, NoteKind.FOREIGN_ID, detail),)


def _is_of_predecessor(link: Link | None, external_id: str) -> bool:
    """The original connector's id of the person from whom an approval took the account."""
    return (
        link is not None
        and link.how == How.APPROVED
        and external_id == link.old_external_id
        and external_id.startswith(LEGACY_PREFIX)
    )


# --- out -----------------------------------------------------------------------------------------------


def _shut_out(
    subject: Subject, policy: Policy, reason: str, *, cause: str, wait: Wanted | None = None
) -> Decision:
    """Suspends who is active and revokes what is still an invitation; `wait` carries wait and until."""
    member = subject.match.member
    if member is None:
        return Decision(skipped=f"{reason}: not invited")
    match member.status:
        case Status.ACTIVE:
            kind = ActionKind.SUSPEND
        case Status.INVITED if policy.revoke_invited_leavers:
            kind = ActionKind.REVOKE_INVITE
            reason += "; the invitation is still open"
        case _:
            return Decision()
    wanted = Wanted(kind=kind, reason=reason, cause=cause)
    if wait is not None:
        wanted = replace(wanted, wait=wait.wait, until=wait.until)
    return Decision(wanted=(wanted,))


def _left(subject: Subject, policy: Policy, now: datetime) -> Decision:
    node = subject.node
    cause = node.left_cause or "no longer in the sync group"
    wait = None
    if not node.left_confirmed:
        until = (node.left_at or now) + policy.leave_settle
        wait = Wanted(kind=ActionKind.SUSPEND, reason="", wait=WaitFor.SETTLING, until=until)
    return _shut_out(subject, policy, cause, cause=cause, wait=wait)


def _deleted(subject: Subject, policy: Policy, now: datetime) -> Decision:
    member = subject.match.member
    reason = "deleted in the directory (tombstone seen)"
    if member is None or member.status is Status.REMOVED:
        return Decision(skipped="deleted in the directory")
    if member.status is Status.INVITED:
        return Decision(wanted=(Wanted(kind=ActionKind.REVOKE_INVITE, reason=reason, cause="deleted"),))
    if not policy.remove_on_delete:
        return _shut_out(subject, policy, reason, cause="deleted")
    remove = Wanted(kind=ActionKind.REMOVE, reason=reason, cause="deleted")
    until = (subject.node.deleted_at or now) + policy.delete_grace
    if until <= now:
        return Decision(wanted=(remove,))
    waiting = replace(remove, wait=WaitFor.GRACE, until=until)
    first = _shut_out(
        subject, policy, f"{reason}; removal after users.delete_grace_days", cause="deleted"
    ).wanted
    return Decision(wanted=(*first, waiting), look_again=until)


# --- undone -------------------------------------------------------------------------------------------


_UNDONE_STATUS = {
    ActionKind.SUSPEND: Status.ACTIVE,
    ActionKind.UNSUSPEND: Status.SUSPENDED,
    ActionKind.REMOVE: Status.ACTIVE,
    ActionKind.REVOKE_INVITE: Status.INVITED,
}
"""What a member's status must be for the undoing action to make sense."""


def _undone(pin: Pin, member: Member | None) -> Decision:
    """What an `undo` asked for, while it is still to be done; afterwards the person is left as they are."""
    left_alone = Decision(skipped=f"{pin.reason}: left as they are until the directory changes them")
    if pin.kind is None or member is None:
        return left_alone
    match pin.kind:
        case ActionKind.UPDATE:
            differs = changes(pin.changes, member)
            fits = differs != NO_CHANGES and member.status in (Status.ACTIVE, Status.SUSPENDED)
            wanted = Wanted(kind=pin.kind, reason=pin.reason, changes=differs)
        case ActionKind.RECOVER:
            fits = member.status is Status.REMOVED and member.recoverable
            wanted = Wanted(kind=pin.kind, reason=pin.reason)
        case _:
            fits = member.status is _UNDONE_STATUS.get(pin.kind)
            wanted = Wanted(kind=pin.kind, reason=pin.reason, cause="undo")
    return Decision(wanted=(wanted,)) if fits else left_alone


# --- held ----------------------------------------------------------------------------------------------


def _moved(subject: Subject, claim: Claim) -> Subject:
    """The claimant as the holder of the account: an approval moved the link. A suspension of ours stays one of ours."""
    link = replace(
        claim.link,
        guid=subject.node.guid,
        how=How.APPROVED.value,
        old_external_id=claim.member.external_id,
        welcomes=0,
    )
    match_ = Match(member=claim.member, how=How.APPROVED)
    return replace(subject, match=match_, link=link, pin=None)


def _held_namesake(subject: Subject) -> Decision:
    claim = subject.claim
    if claim is None:
        detail = (
            f"has the e-mail of a member that carries the id of somebody unknown here ({subject.match.rival}); "
            "nothing is done until that id is taken off the member, or the e-mail changes"
        )
    elif claim.obstacle:
        detail = (
            f"has the e-mail of the account of {name_of(claim.holder)}; nothing is done: {claim.obstacle}"
        )
    else:
        detail = f"held: `ad-connector approve {claim.digest}` moves the account with its files: {claim.describe()}"
    note = _note(subject, NoteKind.NAMESAKE, detail)
    return Decision(
        skipped=f"held: a namesake; {detail.removeprefix('held: ')}",
        notes=(note,),
        claim=claim if claim is not None and not claim.obstacle else None,
    )


def _held_for_namesake(subject: Subject) -> Decision:
    detail = f"is gone, but {subject.claimed_by} now carries the same e-mail; the account is left alone"
    note = _note(subject, NoteKind.NAMESAKE, detail)
    return Decision(skipped="held: another person now carries this e-mail", notes=(note,))


# --- words ---------------------------------------------------------------------------------------------


def _in_scope(subject: Subject) -> str:
    if not subject.scope_path:
        return "in the sync group"
    first, *rest = subject.scope_path
    return f"in sync group {first}" + (f" via {' > '.join(rest)}" if rest else "")


def _difference(differs: Profile, member: Member, subject: Subject) -> str:
    parts = []
    if differs.email:
        parts.append(f"e-mail {member.email} -> {differs.email}")
    if differs.given_name:
        parts.append(f"first name {member.given_name!r} -> {differs.given_name!r}")
    if differs.surname:
        parts.append(f"last name {member.surname!r} -> {differs.surname!r}")
    if differs.external_id:
        parts.append("external id")
    return f"differs: {', '.join(parts)}{cleaning_of(subject.mapped, differs)}"


def _skip_note(subject: Subject, reason: str) -> Note:
    return _note(subject, NoteKind.SKIPPED, reason)


def _duplicate_note(subject: Subject) -> Note:
    return _note(subject, NoteKind.SKIPPED, f"same e-mail as {subject.duplicate_of}")


def _note(subject: Subject, kind: NoteKind, detail: str) -> Note:
    return Note(kind=kind, guid=subject.node.guid, label=label_of(subject.node), detail=detail)

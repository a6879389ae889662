"""Stage 1: which member is a person's, and is it managed? (behaviour.md §3 and §2.5)"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from pipeline.core.mapping import identity_in
from pipeline.model import Member, Status
from pipeline.records import Link

LEGACY_PREFIX = "ADSYNC "
"""What the original connector's external ids begin with; the objectSid follows."""


class How(StrEnum):
    """How a member was found, in the order in which the ways are tried."""

    LINK = "link"
    EXTERNAL_ID = "external_id"
    LEGACY = "legacy"
    EMAIL = "email"
    APPROVED = "approved"  # the link of another person, moved by `approve`: see namesake.py
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """The members that may be the person's, as the team told them in this pass."""

    linked: Member | None = None
    by_external_id: Sequence[Member] = ()
    by_legacy_id: Sequence[Member] = ()
    by_email: Sequence[Member] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """`rival`: the GUID of another person to whom this e-mail's member belongs; then nothing is done."""

    member: Member | None = None
    how: How = How.NONE
    rival: str = ""


def match(
    guid: str,
    link: Link | None,
    candidates: Candidates,
    holders: Mapping[str, str],
    *,
    own_format: str,
    legacy_belongs: bool = True,
) -> Match:
    """The first way that finds a member wins: link, own external id, legacy id, e-mail.

    A member that is linked to another person, or carries another person's own external id, is never taken
    over by its e-mail: an account with its files must not pass to a namesake unseen. Nor is one that carries the original
    connector's id of an object that is not this person, while such ids count (`legacy_belongs`).
    `holders` maps member_id to the GUID of the person it is linked to.
    """
    linked = candidates.linked if link is not None else None
    own = by_link(linked)
    if own is not None:
        return own
    for how, found in ((How.EXTERNAL_ID, candidates.by_external_id), (How.LEGACY, candidates.by_legacy_id)):
        free = _best([member for member in found if holders.get(member.member_id, guid) == guid])
        if free is not None and not is_gone(free):
            return Match(member=free, how=how)
    best = _best(candidates.by_email)
    if best is not None and not is_gone(best):
        holder = holders.get(best.member_id, "")
        if holder and holder != guid:
            return Match(member=best, how=How.EMAIL, rival=holder)
        rival = identity_in(best.external_id, own_format)
        if not rival and legacy_belongs and best.external_id.startswith(LEGACY_PREFIX):
            rival = best.external_id
        if rival:
            return Match(member=best, how=How.EMAIL, rival=rival)
        return Match(member=best, how=How.EMAIL)
    if linked is not None:
        return Match(member=linked, how=How.LINK)
    return Match()


def by_link(linked: Member | None) -> Match | None:
    """The first of the ways, which needs no other candidate: the member that the person is linked to, unless it is gone."""
    return Match(member=linked, how=How.LINK) if linked is not None and not is_gone(linked) else None


def is_gone(member: Member) -> bool:
    """Removed for good: nobody can bring the account back."""
    return member.status is Status.REMOVED and not member.recoverable


def _best(members: Sequence[Member]) -> Member | None:
    """A living account before a removed one; the id decides between equals, so that the answer is stable."""
    if not members:
        return None
    return min(
        members,
        key=lambda member: (member.status is Status.REMOVED, not member.recoverable, member.member_id),
    )

"""Namesakes: a person who carries the e-mail of a member that is linked to another one. (behaviour.md §2.5)

An account, with its files, must not pass to a namesake unseen: both are held and shown, and only `approve` with the
hash of exactly this pair moves the link.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from pipeline.core.brake import HASH_LENGTH
from pipeline.model import Member
from pipeline.records import Link, Node

HELD_KIND = "namesake"
"""What such a held set is called among those of the brake."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """`claimant` carries the e-mail of `member`, which `link` gives to `holder`.

    `because` says in words how the holder stands. `obstacle`: why the link can't be moved at present, "" when an
    approval can. `is_holder_in`: the holder is in scope and enabled, so that the account would be taken from somebody
    who works with it. `approved`: by the hash of this claim.
    """

    claimant: Node
    member: Member
    holder: Node
    link: Link
    because: str = ""
    obstacle: str = ""
    is_holder_in: bool = False
    approved: bool = False

    @property
    def digest(self) -> str:
        """What an approval is bound to: both persons, the member, its e-mail, and whether the holder is gone."""
        content = (
            HELD_KIND,
            self.claimant.guid,
            self.holder.guid,
            self.member.member_id,
            self.member.email,
            "in" if self.is_holder_in else "out",
        )
        return hashlib.sha256("\x1f".join(content).encode()).hexdigest()[:HASH_LENGTH]

    @property
    def is_released(self) -> bool:
        return self.approved and not self.obstacle

    def describe(self) -> str:
        """`the account ann@example.test passes from CN=Ann,OU=Old (was deleted) to CN=Ann,OU=New`."""
        return (
            f"the account {self.member.email} passes from {name_of(self.holder)} ({self.because or self.obstacle}) "
            f"to {name_of(self.claimant)}"
        )


def name_of(node: Node) -> str:
    """Tells namesakes apart: their e-mails and often their names are the same."""
    return node.entry.dn or node.guid


def claim_on(
    claimant: Node,
    member: Member,
    holder: Node,
    link: Link,
    *,
    holder_email: str,
    excluded: str,
    disabled: bool,
    claimant_disabled: bool,
    approved_link: str,
) -> Claim:
    """`holder_email` is the usable one of the directory, `excluded` and `disabled` why and whether the holder is,
    `approved_link` how a link is marked that an approval made.

    Nobody who is disabled is given an account: it would be suspended at once, and wiped under the hands of the holder.
    """
    because = obstacle = ""
    is_in = False
    if excluded:
        obstacle = f"that person is excluded ({excluded}), and an excluded member is never touched"
    elif claimant_disabled:
        obstacle = "the one who carries it now is disabled"
    elif not holder.live:
        because = "deleted in the directory"
    elif holder.listed and not holder.seen:
        obstacle = "that person is still in the sync group, but can't be read, which proves nothing"
    elif not holder.listed and not holder.left_confirmed:
        obstacle = "that person has only just left, and may be back in a moment"
    elif not holder.listed:
        because = holder.left_cause or "no longer in the sync group"
    elif disabled:
        because = "disabled in the directory"
    elif holder_email != member.email:
        obstacle = "that person is still in the sync group under another e-mail, and keeps the account"
    elif link.how == approved_link:
        obstacle = "that person is still in the sync group, and was given the account by an approval"
    else:
        because, is_in = "STILL IN THE SYNC GROUP AND ENABLED, with the same e-mail", True
    return Claim(
        claimant=claimant,
        member=member,
        holder=holder,
        link=link,
        because=because,
        obstacle=obstacle,
        is_holder_in=is_in,
    )

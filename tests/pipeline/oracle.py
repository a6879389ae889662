"""What must be so, told from the truth of both sides alone: shares no code with the connector's decisions."""

from __future__ import annotations

import re
from collections.abc import Iterable

from pipeline.model import Kind, Member, Status
from stages.directory.memory_domain import MemoryDomain, MemoryObject

_ADDRESS = re.compile(r"[a-z0-9.]+@example\.test")
OPEN = frozenset({Status.ACTIVE, Status.INVITED})


class Truth:
    """The directory as it is, seen by nobody's rights."""

    def __init__(self, domain: MemoryDomain, sync_group: str, exclusion_group: str) -> None:
        self.objects = domain.objects
        self.listed = self._below(sync_group)
        self.excluded = self._below(exclusion_group)

    def _below(self, root: str) -> frozenset[str]:
        people: set[str] = set()
        seen: set[str] = set()
        stack = [root]
        while stack:
            guid = stack.pop()
            found = self.objects.get(guid)
            if found is None or found.deleted or guid in seen:
                continue
            seen.add(guid)
            if found.kind is Kind.USER:
                people.add(guid)
            elif found.kind is Kind.GROUP:
                stack += found.members
                stack += (one.guid for one in self.objects.values() if one.primary_rid == found.rid)
        return frozenset(people)

    def people(self) -> Iterable[MemoryObject]:
        return (one for one in self.objects.values() if one.kind is Kind.USER)

    def wants_in(self, guid: str) -> bool:
        found = self.objects.get(guid)
        return found is not None and guid in self.listed and found.enabled and not found.deleted

    def is_dead(self, guid: str) -> bool:
        """With a tombstone."""
        found = self.objects.get(guid)
        return found is not None and found.deleted

    def email(self, guid: str) -> str:
        """The usable one, in lower case."""
        email = self.objects[guid].mail.lower()
        return email if _ADDRESS.fullmatch(email) else ""

    def sharers(self, email: str) -> set[str]:
        return {guid for guid in self.listed if email and self.email(guid) == email}


def marked(guid: str) -> str:
    return f"ad-guid:{guid}"


def account_of(guid: str, members: Iterable[Member]) -> Member | None:
    """The person's account by our mark; the living one where there are several."""
    ours = [one for one in members if one.external_id == marked(guid)]
    return min(ours, key=lambda one: (one.status is Status.REMOVED, not one.recoverable), default=None)


def faults_when_quiet(truth: Truth, members: list[Member], *, removes: bool, exempt: set[str]) -> list[str]:
    """Every person whose account is not as behaviour.md says once nothing is left to do."""
    faults = []
    for person in truth.people():
        if person.guid in truth.excluded or person.guid in exempt:
            continue
        account = account_of(person.guid, members)
        others = [
            one
            for one in members
            if one is not account and (one.status is not Status.REMOVED or one.recoverable)
        ]
        fault = _fault(truth, person, account, others, removes=removes)
        if fault:
            faults.append(f"{person.name} ({person.guid}): {fault}; account: {account}; person: {person}")
    return faults


def _fault(
    truth: Truth,
    person: MemoryObject,
    account: Member | None,
    others: list[Member],
    *,
    removes: bool,
) -> str:
    guid = person.guid
    if not truth.wants_in(guid):
        if account is None:
            return ""
        heirs = truth.sharers(account.email) - {guid}
        if any(not _has_home(heir, others) for heir in heirs):
            return ""  # a namesake: held, until somebody approves
        if account.status in OPEN:
            return "should be shut out"
        if truth.is_dead(guid) and removes and account.status is Status.SUSPENDED:
            return "was deleted with a tombstone, and should be removed"
        return ""
    email = truth.email(guid)
    if account is None or (account.status is Status.REMOVED and not account.recoverable):
        if not email or len(truth.sharers(email)) > 1 or any(one.email == email for one in others):
            return ""  # nothing to invite, or the address is somebody's
        return "should have an account"
    if account.status not in OPEN:
        return "should be let in"
    if account.status is Status.INVITED:
        return ""
    is_free = email and len(truth.sharers(email)) == 1 and not any(one.email == email for one in others)
    if person.given_name and account.given_name != person.given_name:
        return "first name"
    if person.surname and account.surname != person.surname:
        return "last name"
    if is_free and account.email != email:
        return "e-mail"
    return ""


def _has_home(guid: str, members: list[Member]) -> bool:
    return any(one.external_id == marked(guid) and one.status is not Status.REMOVED for one in members)

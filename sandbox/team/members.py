"""Members and their register: indexed by id, e-mail, external id and persistent id."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal

from sandbox.team.clock import Clock
from sandbox.team.history import History
from sandbox.team.identifiers import Identifiers
from sandbox.team.schema import Tagged

Status = Literal["active", "invited", "suspended", "removed"]

TEAM_ADMIN = "pid_dbtmr:2345"


@dataclass(frozen=True, slots=True)
class Member:
    """One immutable state of a member; a change replaces it, so that lagging reads can keep the old one."""

    id: str
    account_id: str
    email: str
    seq: int
    status: Status
    given_name: str = ""
    surname: str = ""
    external_id: str | None = None
    persistent_id: str | None = None
    directory_restricted: bool | None = None
    email_verified: bool = False
    role: str | None = None
    groups: frozenset[str] = field(default_factory=frozenset)
    invited_on: datetime | None = None
    joined_on: datetime | None = None
    suspended_on: datetime | None = None
    removed_on: datetime | None = None
    recoverable_until: datetime | None = None
    disconnected: bool = False
    status_before_removal: Status | None = None
    groups_before_removal: tuple[tuple[str, str], ...] = ()
    files: Literal["kept", "moving", "moved", "deleted", "none"] = "kept"
    legal_hold: bool = False
    must_sign_tos: bool = False

    @property
    def present(self) -> bool:
        """Holds a seat: invited, active and suspended do (section 3.1)."""
        return self.status != "removed"

    def recoverable(self, now: datetime) -> bool:
        return self.recoverable_until is not None and now < self.recoverable_until

    @property
    def display_name(self) -> str:
        return f"{self.given_name} {self.surname}".strip() or self.email


class MemberRegister:
    def __init__(self, clock: Clock, identifiers: Identifiers) -> None:
        self._clock = clock
        self._identifiers = identifiers
        self._by_id: dict[str, Member] = {}
        self._order: list[str] = []
        # One entry per claimed name. Claims of removed members end by time, so entries are checked when read.
        self._claims: dict[str, dict[str, str]] = {"email": {}, "external_id": {}, "persistent_id": {}}
        self._folded_external: dict[str, str] = {}
        self._accounts: dict[str, str] = {}
        self.count: Counter[str] = Counter()
        """By status."""
        self.active_admins: set[str] = set()
        self.history: History[Member] = History()

    def __len__(self) -> int:
        return len(self._order)

    def __iter__(self) -> Iterator[Member]:
        return iter(self._by_id.values())

    def get(self, member_id: str) -> Member | None:
        return self._by_id.get(member_id)

    def __getitem__(self, member_id: str) -> Member:
        return self._by_id[member_id]

    @property
    def present(self) -> int:
        """Seats in use (section 3.1)."""
        return len(self._order) - self.count["removed"]

    def has_account(self, account_id: str) -> bool:
        return account_id in self._accounts

    def at(self, position: int) -> Member:
        return self._by_id[self._order[position]]

    def create(self, email: str, status: Status, **fields: Any) -> Member:
        member = Member(
            id=self._identifiers.member(),
            account_id=self._identifiers.account(),
            email=email.lower(),
            seq=len(self._order),
            status=status,
            **fields,
        )
        self.restore(member)
        self.history.changed(member.id, None, self._clock.now())
        return member

    def restore(self, member: Member) -> None:
        """Put in a member as is, with ids and all."""
        self._by_id[member.id] = member
        self._order.append(member.id)
        self._accounts[member.account_id] = member.id
        self.count[member.status] += 1
        self._index(member)

    def change(self, member: Member, **fields: Any) -> Member:
        changed = replace(member, **fields)
        self.history.changed(member.id, member, self._clock.now())
        self._by_id[member.id] = changed
        self.count[member.status] -= 1
        self.count[changed.status] += 1
        self._unindex(member)
        self._index(changed)
        return changed

    def _index(self, member: Member) -> None:
        # A former member past recovery has lost his names, perhaps to somebody else already.
        if member.present or member.recoverable(self._clock.now()):
            for name, claims in self._claims.items():
                value = getattr(member, name)
                if value is not None:
                    claims[value] = member.id
            if member.external_id is not None:
                self._folded_external[member.external_id.casefold()] = member.id
        if member.status == "active" and member.role == TEAM_ADMIN:
            self.active_admins.add(member.id)
        else:
            self.active_admins.discard(member.id)

    def _unindex(self, member: Member) -> None:
        for name, claims in self._claims.items():
            value = getattr(member, name)
            if value is not None and claims.get(value) == member.id:
                del claims[value]
        folded = (member.external_id or "").casefold()
        if self._folded_external.get(folded) == member.id:
            del self._folded_external[folded]

    def holder(self, kind: str, value: str) -> Member | None:
        """Who claims this name: present members, and removed ones as long as they can be recovered."""
        member_id = self._claims[kind].get(value)
        if member_id is None:
            return None
        member = self._by_id[member_id]
        if member.present or member.recoverable(self._clock.now()):
            return member
        del self._claims[kind][value]
        return None

    def find(self, selector: Tagged, *, fold_email: bool, fold_external: bool) -> Member | None:
        value: str = selector.value
        if selector.tag == "team_member_id":
            return self._by_id.get(value)
        if selector.tag == "email":
            return self.holder("email", value.lower() if fold_email else value)
        found = self.holder("external_id", value)
        if found is None and fold_external:
            member_id = self._folded_external.get(value.casefold())
            member = self._by_id.get(member_id) if member_id is not None else None
            return (
                member
                if member and member.external_id and self.holder("external_id", member.external_id)
                else None
            )
        return found

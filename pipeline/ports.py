"""What the pipeline asks of the outside, as contracts. They stand here only; adapters don't repeat them.

Every adapter and every double passes the contract suite of its port (tests/contract).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Protocol

from pipeline.model import (
    Alert,
    ChangePage,
    Checkpoint,
    Domain,
    Entry,
    EventPage,
    Finding,
    Member,
    Outcome,
    Profile,
    Source,
    Target,
    TeamGroup,
    TeamInfo,
)


class Clock(Protocol):
    """The only source of time. `now` is aware UTC; `sleep` may be cut short by cancellation only."""

    def now(self) -> datetime: ...
    def monotonic(self) -> float: ...
    async def sleep(self, seconds: float) -> None: ...


class Directory(Protocol):
    """A domain, read only. Obligations of every implementation:

    - a method returns the *whole* truth or raises; a partial answer is never returned;
    - raises DirectoryError (-12) for reach, TLS, bind and read errors; DirectoryBusy where trying again
      may help with the same checkpoint; CheckpointRefused where only a full read can follow;
    - an object that the account can't see is simply absent from a result: absence proves nothing;
    - safe to cancel at any await; usable again afterwards;
    - connects when first used, and again after a lost connection (to the same or the next server).
    """

    async def identify(self) -> Domain:
        """Connects, binds, and says which domain and DC answered. Verifies that the DC is synchronised."""

    async def find_group(self, reference: str) -> Entry:
        """By DN, objectGUID, sAMAccountName, else cn. GroupNotFound, AmbiguousGroup, DirectoryError."""

    async def start(self) -> Checkpoint:
        """A checkpoint of *now*, taken before a full read: changes after it will be delivered."""

    def changes(self, since: Checkpoint) -> AsyncIterator[ChangePage]:
        """Pages of what changed, in order, at least one; the last one has `more` false.

        Merged by object within a page. Covers users, groups, contacts and computers of the whole domain
        and their tombstones. CheckpointRefused where `since` is void (foreign, expired, other epoch or profile).
        """

    async def read_entries(self, guids: Sequence[str]) -> Mapping[str, Entry]:
        """The living objects among `guids`, as they are now, by GUID. Missing: deleted, moved away or unreadable."""

    async def read_members(self, group_guid: str) -> tuple[Target, ...]:
        """All explicit members of a group, ranged retrieval included; whole or DirectoryError.

        A group that changes while it is read is read again. A group that can't be seen is a DirectoryError.
        """

    async def read_members_of(self, group_guids: Sequence[str]) -> Mapping[str, tuple[Target, ...]]:
        """As `read_members`, for many groups in few requests; DirectoryError when any of them can't be read whole."""

    async def read_primary_members_of(self, rids: Sequence[int]) -> Mapping[int, tuple[str, ...]]:
        """As `read_primary_members`, for many groups in few requests."""

    async def read_primary_members(self, rid: int) -> tuple[str, ...]:
        """GUIDs of the users whose primaryGroupID is `rid`."""

    async def read_parents(self, guid: str) -> tuple[str, ...]:
        """GUIDs of the groups that hold the object as an explicit member (memberOf). Empty when unseen."""

    async def read_tombstones(self, guids: Sequence[str]) -> frozenset[str]:
        """Those of `guids` that have a tombstone of this domain: proof of deletion. SIDs or moves prove nothing."""

    async def sees_tombstones(self) -> bool | None:
        """Whether the account sees deletions; probed with a real tombstone, None when there is none to probe with."""

    async def wait_for_change(self, timeout_seconds: float) -> bool:
        """Waits for the directory's change notification, at most so long. True: something changed, or may have, since
        listening has only just begun (first call, or after a loss): so poll, and then what changed before is not missed.

        Where notification is not offered or its connection died, waits the whole time and returns False.
        """

    async def check(self, group_reference: str) -> Sequence[Finding]:
        """The lines of `check directory`; never raises, failures are findings."""

    @property
    def source(self) -> Source | None:
        """How changes are read, once known."""

    async def close(self) -> None: ...


class Team(Protocol):
    """A Dropbox team. Obligations of every implementation:

    - reads return the whole answer or raise TeamInfoError / TeamReadError / DropboxSetupError; an outage
      is never read as "absent";
    - a write never raises for what the vendor answers: it returns an Outcome. A lost reply is
      `Verdict.UNKNOWN`, never a retry inside the adapter. DropboxSetupError (token revoked) may be raised;
    - members are addressed by `member_id`, never by e-mail; e-mails are sent in lower case;
    - `wipe_data` is always sent explicitly;
    - paces itself to the team's rate limit; safe to cancel at any await, but a write that has left may have
      had its effect: the caller reads back.
    """

    async def team_info(self) -> TeamInfo: ...

    async def acting_admin(self) -> Member:
        """The admin who authorised the connector. TeamInfoError when no longer active."""

    def list_members(self) -> AsyncIterator[Sequence[Member]]:
        """Pages of all members, removed ones included, deduplicated by id. TeamReadError; restarts by itself
        (from the first page, repeating members) when a cursor turns invalid.
        """

    async def get_members(
        self,
        *,
        member_ids: Sequence[str] = (),
        external_ids: Sequence[str] = (),
        emails: Sequence[str] = (),
    ) -> Sequence[Member]:
        """The members found, deduplicated by id; those not found are simply missing. TeamReadError."""

    async def invite(self, profiles: Sequence[Profile], *, send_welcome: bool) -> Sequence[Outcome]:
        """Invites up to 20 people in one request; one Outcome each, in order. An async job is polled within a
        bound; beyond it the outcomes are UNKNOWN.
        """

    async def update(self, member_id: str, changes: Profile) -> Outcome:
        """Sets the non-empty fields of `changes`."""

    async def suspend(self, member_id: str, *, wipe_data: bool) -> Outcome: ...

    async def unsuspend(self, member_id: str) -> Outcome: ...

    async def remove(self, member_id: str, *, wipe_data: bool) -> Outcome:
        """Removes, keeping the files in the admin console for transfer. Also revokes an invitation."""

    async def recover(self, member_id: str) -> Outcome: ...

    async def send_welcome(self, member_id: str) -> Outcome: ...

    # groups: addressed by `group_id`; read with the same care as members (TeamReadError)

    def list_groups(self) -> AsyncIterator[Sequence[TeamGroup]]:
        """Pages of all groups, the system's own included."""

    async def get_groups(
        self, *, group_ids: Sequence[str] = (), external_ids: Sequence[str] = ()
    ) -> Sequence[TeamGroup]:
        """The groups found, each once; those not found are simply missing."""

    def list_group_members(self, group_id: str) -> AsyncIterator[Sequence[str]]:
        """Pages of member ids. GroupGone where there is no such group."""

    async def create_group(self, name: str, external_id: str) -> Outcome:
        """Company-managed, without members or owner; `group` tells its id."""

    async def rename_group(self, group_id: str, *, name: str, external_id: str) -> Outcome:
        """Sets what is not empty of the two."""

    async def delete_group(self, group_id: str) -> Outcome: ...

    async def add_to_group(self, group_id: str, member_ids: Sequence[str]) -> Sequence[Outcome]:
        """One Outcome each, in order. The vendor takes or refuses a whole request: a batch that is refused for somebody
        in it is narrowed down, so that everybody else is added; who is in it already is ALREADY.
        """

    async def remove_from_group(self, group_id: str, member_ids: Sequence[str]) -> Sequence[Outcome]:
        """Likewise; who is not in it is ALREADY."""

    async def events(self, cursor: str, since: datetime, *, about_groups: bool = False) -> EventPage:
        """The team's event log from `cursor`, or from `since` when the cursor is empty; unsorted. TeamReadError.

        Members and groups have each their own log: a cursor is good for the one it came from.
        """

    async def check(self) -> Sequence[Finding]:
        """The lines of `check dropbox`; never raises."""

    def pace(self) -> Mapping[str, float]:
        """Current pace for status and metrics: requests_per_second, refused, in_flight, sent."""

    async def close(self) -> None: ...


class Mailer(Protocol):
    """Sends one message. Raises MailError; at least once, with a stable Message-ID."""

    async def send(
        self, alerts: Sequence[Alert], *, message_id: str, simulated: bool, over: Sequence[str] = ()
    ) -> None:
        """One mail about these alerts (`over`: titles of those that ended)."""

    async def check(self, *, send_mail: bool) -> Sequence[Finding]: ...


class Transactions(Protocol):
    """The journal's only way to write: a lock, a shielded scope, BEGIN IMMEDIATE … COMMIT or ROLLBACK."""

    def transaction(self) -> AbstractAsyncContextManager[None]: ...

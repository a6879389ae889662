"""Random histories on the Windows-like server, polled at random moments by processes that come and go: who is in is always
whom the domain itself lists.
"""

import random
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from pipeline.app.clock import SystemClock
from pipeline.model import Source
from sandbox.certificates import Authority
from sandbox.domain import SERVICE_ACCOUNT, SERVICE_PASSWORD
from sandbox.windows_ldap import WindowsDomain, WindowsServer
from stages.directory.ldap import LdapDirectory
from stages.directory.options import DirectoryOptions
from stages.directory.poller import Poller, PollOptions
from state.journal import Journal
from tests.pipeline.world import without_waiting

pytestmark = pytest.mark.anyio

STEPS = 150
PEOPLE, GROUPS = 8, 5


class History:
    """Does one thing at a time to a small domain, as chance has it."""

    def __init__(self, domain: WindowsDomain, seed: int) -> None:
        self.domain = domain
        self.chance = random.Random(seed)
        self.top = domain.create_group("Dropbox")
        self.people = [self._new_person() for _ in range(PEOPLE)]
        self.groups = [self.top, *(domain.create_group(f"Group {number}") for number in range(GROUPS))]
        self.deleted: list[str] = []
        self.done: list[str] = []
        domain.add_members(self.top, self.people[0], self.groups[1])
        for name in ("One", "Two"):
            domain.create_ou(name)

    def _new_person(self) -> str:
        number = self.chance.randrange(10**9)
        return self.domain.create_user(f"Person {number}", mail=f"p{number}@example.test")

    def step(self) -> None:
        actions = (
            self.join,
            self.leave,
            self.delete,
            self.restore,
            self.create,
            self.change,
            self.move,
            self.primary,
        )
        action = self.chance.choices(actions, weights=(10, 5, 2, 3, 1, 2, 1, 2))[0]
        self.done.append(action.__name__)
        action()

    def _living(self, of: list[str]) -> str:
        return self.chance.choice([guid for guid in of if guid not in self.deleted])

    def _members(self, group: str) -> set[str]:
        return {str(guid) for guid in self.domain.dc.replica.link_targets(self.domain.find(group), "member")}

    def join(self) -> None:
        group, member = (
            self._living(self.groups),
            self._living([*self.people, *self.groups[1:], *self.groups[1:]]),
        )
        if member != group and member not in self._members(group) and not self._is_primary(member, group):
            self.domain.add_members(group, member)

    def leave(self) -> None:
        group = self._living(self.groups)
        if members := sorted(self._members(group)):
            self.domain.remove_members(group, self.chance.choice(members))

    def delete(self) -> None:
        who = self._living([*self.people, *self.groups[1:]])
        is_primary = any(self._is_primary(person, who) for person in self.people)
        if len(self.deleted) < 5 and not (who in self.groups and is_primary):  # AD refuses that
            self.deleted.append(who)
            self.domain.delete(who)

    def restore(self) -> None:
        if self.deleted:
            who = self.deleted.pop(self.chance.randrange(len(self.deleted)))
            self.domain.restore(who)
            if who in self.people and not self.domain.recycle_bin:
                self.domain.modify(who, mail=f"{who}@example.test")

    def create(self) -> None:
        self.people.append(self._new_person())
        self.domain.add_members(self._living(self.groups), self.people[-1])

    def change(self) -> None:
        self.domain.modify(self._living(self.people), sn=str(self.chance.random()))

    def move(self) -> None:
        self.domain.move(self._living([*self.people, *self.groups]), self.chance.choice(["One", "Two"]))

    def primary(self) -> None:
        person, group = self._living(self.people), self._living(self.groups)
        if person in self._members(group):
            self.domain.set_primary_group(person, group)

    def _is_primary(self, person: str, group: str) -> bool:
        rid = self.domain.find(person).number("primarygroupid")
        return rid == int.from_bytes(self.domain.find(group).value("objectsid")[-4:], "little")

    def listed(self) -> set[str]:
        """By a walk of the domain's own links."""
        replica, waiting, seen = self.domain.dc.replica, [self.top], {self.top}
        while waiting:
            group = waiting.pop()
            below = self._members(group)
            below |= {who for who in self.people if who not in self.deleted and self._is_primary(who, group)}
            for guid in below - seen:
                seen.add(guid)
                if replica.records[uuid.UUID(guid)].values("grouptype"):
                    waiting.append(guid)
        return seen & set(self.people)


@asynccontextmanager
async def reading(
    domain: WindowsDomain, authority: Authority, folder: Path, source: Source
) -> AsyncIterator[tuple[Callable[[], Poller], Journal]]:
    """A function that makes a new process's poller, and the journal."""
    with without_waiting():
        journal = await Journal.open(folder / "journal.db")
    with WindowsServer(domain, authority) as server:
        directory = LdapDirectory(
            DirectoryOptions(
                servers=(server.ldaps_url,),
                username=f"{SERVICE_ACCOUNT}@{domain.dns_name}",
                password=SERVICE_PASSWORD,
                ca_file=str(server.ca_file),
                change_source=source.value,
            )
        )
        options = PollOptions(sync_group="Dropbox", exclude_group="", settle=timedelta(0))
        try:
            yield lambda: Poller(directory, journal, SystemClock(), options), journal
        finally:
            await directory.close()
            await journal.close()


async def listed_in(journal: Journal) -> set[str]:
    async with journal.reading():
        return {node.guid for node in await journal.mirror.listed_users()}


@pytest.mark.parametrize("source", Source)
@pytest.mark.parametrize("recycle_bin", [False, True], ids=["tombstones", "recycle-bin"])
@pytest.mark.parametrize("seed", [1, 2])
async def test_who_is_in_is_whom_the_domain_lists(
    authority: Authority, tmp_path: Path, source: Source, seed: int, recycle_bin: bool
) -> None:
    domain = WindowsDomain(recycle_bin=recycle_bin, seed=seed)
    limits = domain.dc.limits
    limits.max_page_size, limits.max_val_range, limits.dirsync_least_objects = 3, 7, 2
    history = History(domain, seed)
    async with reading(domain, authority, tmp_path, source) as (process, journal):
        poller, has_polled = process(), False
        for number in range(STEPS):
            history.step()
            if history.chance.random() < 0.4:
                if history.chance.random() < 0.1:
                    poller = process()
                result = await poller.poll()
                assert result.full is not has_polled, "only the first look reads everything"
                has_polled = True
                assert await listed_in(journal) == history.listed(), (number, history.done[-10:])


@pytest.mark.parametrize("clears", [False, True], ids=["last-known-parent-kept", "last-known-parent-cleared"])
@pytest.mark.parametrize("source", Source)
async def test_a_newcomer_deleted_before_anybody_looked_is_in_once_restored(
    authority: Authority, tmp_path: Path, source: Source, clears: bool
) -> None:
    """Recycle Bin: the link was hidden when the group was read, and comes back without a word from the group."""
    domain = WindowsDomain(recycle_bin=True)
    domain.dc.manners.undelete_clears_last_known_parent = clears
    ann, bob = (domain.create_user(name, mail=f"{name}@example.test") for name in ("Ann", "Bob"))
    domain.create_group("Dropbox", members=[ann])
    async with reading(domain, authority, tmp_path, source) as (process, journal):
        poller = process()
        await poller.poll()
        domain.add_members("Dropbox", bob)
        domain.delete(bob)
        await poller.poll()
        assert await listed_in(journal) == {ann}
        domain.restore(bob)
        await poller.poll()
        assert await listed_in(journal) == {ann, bob}

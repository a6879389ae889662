"""Counted work: what a look at the directory costs in LDAP requests, by the number of people. Requests don't jitter."""

from collections import Counter
from collections.abc import AsyncIterator
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

pytestmark = pytest.mark.anyio

FEW, MANY = 20, 300


@asynccontextmanager
async def looking(
    domain: WindowsDomain, authority: Authority, folder: Path, source: Source
) -> AsyncIterator[tuple[Poller, WindowsServer]]:
    """A poller that has read everything and whose next look finds nothing."""
    journal = await Journal.open(folder / f"{source.value}.db")
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
        poller = Poller(directory, journal, SystemClock(), options)
        try:
            await poller.poll()
            for _ in range(3):  # sequence numbers: until nothing can still be in flight
                await poller.poll()
            server.forget()
            yield poller, server
        finally:
            await directory.close()
            await journal.close()


def _populate(people: int) -> tuple[WindowsDomain, list[str]]:
    """In a group below the sync group."""
    domain = WindowsDomain()
    guids = [domain.create_user(f"Person {one}", mail=f"p{one}@example.test") for one in range(people)]
    domain.create_group("Staff", members=guids)
    domain.create_group("Dropbox", members=["Staff"])
    return domain, guids


@pytest.mark.parametrize("source", Source)
async def test_an_empty_look_is_one_request_at_any_size(
    authority: Authority, tmp_path: Path, source: Source
) -> None:
    for people in (FEW, MANY):
        domain, _ = _populate(people)
        folder = tmp_path / str(people)
        folder.mkdir()
        async with looking(domain, authority, folder, source) as (poller, server):
            for _ in range(3):
                result = await poller.poll()
                assert (result.changes, result.full) == (0, False)
            assert len(server.seen) == 3, [(one.kind, one.base, one.filter) for one in server.seen]


async def test_one_change_is_at_most_five_requests(authority: Authority, tmp_path: Path) -> None:
    domain, guids = _populate(MANY)
    newcomer = domain.create_user("Newcomer", mail="newcomer@example.test")
    changes = {
        "a name": lambda: domain.modify(guids[0], sn="Other"),
        "a leaver": lambda: domain.remove_members("Staff", guids[1]),
        "a newcomer": lambda: domain.add_members("Staff", newcomer),
        "disabled": lambda: domain.modify(guids[2], userAccountControl="546"),
        "deleted": lambda: domain.delete(guids[3]),
        "a group taken out": lambda: domain.remove_members("Dropbox", "Staff"),
    }
    async with looking(domain, authority, tmp_path, Source.DIRSYNC) as (poller, server):
        found = {}
        for what, act in changes.items():
            act()
            server.forget()
            result = await poller.poll()
            assert result.changes, what
            assert not result.full, what
            found[what] = Counter(one.kind for one in server.seen)
        assert all(kinds.total() <= 5 for kinds in found.values()), found

"""A bad read is never an empty group: whatever goes wrong in whichever page or range, the pass ends with an error and nobody
leaves. (behaviour.md §2; reference sheet §0.3: ldap3's own loops turn such an error into a shorter list)

The real reader, poller and journal, against the Windows-like server.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest

from pipeline.app.clock import SystemClock
from pipeline.core.exits import ExitCode
from pipeline.errors import DirectoryError
from pipeline.model import Checkpoint, Source
from sandbox.certificates import Authority
from sandbox.domain import SERVICE_ACCOUNT, SERVICE_PASSWORD
from sandbox.windows_ldap import Fault, WindowsDomain, WindowsServer
from sandbox.windows_ldap.faults import Drop
from stages.directory.ldap import LdapDirectory
from stages.directory.options import DirectoryOptions
from stages.directory.poller import Poller, PollOptions
from state.journal import Journal
from tests.pipeline.world import World, without_waiting

pytestmark = pytest.mark.anyio

_REFUSALS = {"time limit": 3, "admin limit": 11, "busy": 51, "unavailable": 52}
REFUSALS = {
    f"{name}, {where}": Fault(code=code, after_entries=entries)
    for name, code in _REFUSALS.items()
    for where, entries in (("nothing sent", 0), ("in the middle", 7))
}
DROPS = {
    "dropped before the answer": Fault(drop=Drop.BEFORE),
    "dropped in the middle": Fault(drop=Drop.MIDDLE, after_entries=7),
    "a message cut short": Fault(drop=Drop.TRUNCATED, after_entries=7),
    "dropped before the result": Fault(drop=Drop.LATE),
}
FAULTS = {**REFUSALS, **DROPS, "operations error": Fault(code=1)}


@dataclass(frozen=True)
class Standing:
    """What the journal says of who is in."""

    listed: frozenset[str]
    leaving: frozenset[str]
    edges: int
    checkpoint: Checkpoint | None


@dataclass
class Company:
    """People in four nested groups, and a process that reads them again and again."""

    server: WindowsServer
    folder: Path
    source: Source
    count: int
    domain: WindowsDomain = field(init=False)
    people: list[str] = field(init=False)
    directory: LdapDirectory = field(init=False)
    journal: Journal = field(init=False)

    def __post_init__(self) -> None:
        assert isinstance(self.server.forest, WindowsDomain)
        self.domain = self.server.forest
        for number in range(3):
            self.domain.delete(self.domain.create_user(f"Gone {number}"))
        names = [f"p{number}" for number in range(self.count)]
        self.people = [self.domain.create_user(name, mail=f"{name}@example.test") for name in names]
        inner: list[str] = []
        half, quarter, eighth = self.count // 2, self.count * 3 // 4, self.count * 7 // 8
        for name, first, last in (
            ("Fourth", eighth, self.count),
            ("Third", quarter, eighth),
            ("Second", half, quarter),
            ("Dropbox", 0, half),
        ):
            inner = [self.domain.create_group(name, members=[*inner, *self.people[first:last]])]
        self.directory = LdapDirectory(
            DirectoryOptions(
                servers=(self.server.ldaps_url,),
                username=f"{SERVICE_ACCOUNT}@{self.domain.dns_name}",
                password=SERVICE_PASSWORD,
                ca_file=str(self.server.ca_file),
                change_source=self.source.value,
                timeout_seconds=30,
            )
        )

    async def poll(self, *, full: bool) -> None:
        """As a process of its own would: it connects, signs in, finds the group."""
        await self.directory.close()
        options = PollOptions(sync_group="Dropbox", exclude_group="", settle=timedelta(0))
        await Poller(self.directory, self.journal, SystemClock(), options).poll(full=full)

    async def standing(self) -> Standing:
        async with self.journal.reading():
            mirror = self.journal.mirror
            _, edges = await mirror.graph()
            return Standing(
                frozenset(node.guid for node in await mirror.listed_users()),
                frozenset(node.guid for node in await mirror.unconfirmed()),
                len(edges),
                await mirror.checkpoint(),
            )

    async def survives(self, number: int, fault: Fault, *, full: bool, stays: bool) -> bool:
        """One pass with the fault at the `number`-th request. False: there are fewer requests.

        What is dropped once may be asked for again; then the pass must be as good as any.
        """
        before = await self.standing()
        arm = self.server.faults.since if stays else self.server.faults.at
        arm(number, fault)
        try:
            await self.poll(full=full)
        except DirectoryError:
            assert await self.standing() == before, (number, fault)
            return True
        finally:
            struck = not self.server.faults.pending
            self.server.faults.clear()
        after = await self.standing()
        assert not struck or not (fault.code in _REFUSALS.values() or stays), (
            number,
            fault,
            "was overlooked",
        )
        assert (after.listed, after.leaving, after.edges) == (before.listed, frozenset(), before.edges)
        return struck


@pytest.fixture
async def company(
    request: pytest.FixtureRequest, authority: Authority, tmp_path: Path
) -> AsyncIterator[Company]:
    source, count = getattr(request, "param", (Source.DIRSYNC, 124))
    with WindowsServer(WindowsDomain(), authority) as server:
        # A twenty-fifth of everything, where it is a twenty-fifth of the people: as many pages and ranges.
        limits = server.controller.limits
        small = count < 1000
        limits.max_val_range, limits.max_page_size = (20, 16) if small else (500, 400)
        limits.dirsync_least_objects = 16 if small else 100
        made = Company(server, tmp_path, source, count)
        with without_waiting():
            made.journal = await Journal.open(tmp_path / "journal.db")
        await made.poll(full=True)
        assert (await made.standing()).listed == frozenset(made.people)
        yield made
        await made.directory.close()
        await made.journal.close()


@pytest.mark.parametrize("name", FAULTS)
async def test_a_full_read_that_fails_anywhere_makes_nobody_leave(company: Company, name: str) -> None:
    """A refusal strikes once; a connection that breaks does so again when it is asked again."""
    await fail_everywhere(company, FAULTS[name], stays=name not in REFUSALS)


@pytest.mark.parametrize("company", [(Source.USN, 124)], indirect=True, ids=["usn"])
@pytest.mark.parametrize("name", ["busy, in the middle", "a message cut short"])
async def test_by_sequence_numbers_it_is_the_same(company: Company, name: str) -> None:
    await fail_everywhere(company, FAULTS[name], stays=name not in REFUSALS)


@pytest.mark.parametrize("name", ["dropped in the middle", "operations error"])
async def test_what_fails_only_once_may_be_asked_for_again(company: Company, name: str) -> None:
    await fail_everywhere(company, FAULTS[name], stays=False)


async def fail_everywhere(company: Company, fault: Fault, *, stays: bool) -> None:
    company.server.forget()
    number = 1
    while await company.survives(number, fault, full=True, stays=stays):
        number += 1
    assert number > 25, "there are fewer requests than there should be pages and ranges"
    assert sum(seen.kind == "range" for seen in company.server.seen) > number


@pytest.mark.parametrize("company", [(Source.DIRSYNC, 3100)], indirect=True, ids=["3,100 people"])
async def test_three_thousand_one_hundred_members_and_an_error_at_every_page_and_range(
    company: Company,
) -> None:
    """Another fault at each request, so that all of them strike pages as well as ranges."""
    kinds = list(FAULTS.values())
    number = 1
    company.server.forget()
    while await company.survives(number, kinds[number % len(kinds)], full=True, stays=True):
        number += 1
    assert {"bind", "root", "search", "paged", "range", "dirsync"} <= {
        seen.kind for seen in company.server.seen
    }
    assert number > 25
    assert len((await company.standing()).listed) == 3100


@pytest.mark.parametrize(
    "company", [(Source.DIRSYNC, 124), (Source.USN, 124)], indirect=True, ids=["dirsync", "usn"]
)
@pytest.mark.parametrize(
    "name", ["time limit, in the middle", "busy, nothing sent", "dropped before the result"]
)
async def test_a_read_of_changes_that_fails_anywhere_is_as_if_it_had_not_begun(
    company: Company, name: str
) -> None:
    domain, leaver = company.domain, company.people[-1]
    joiners = [domain.create_user(f"new{number}", mail=f"new{number}@example.test") for number in range(40)]
    domain.add_members("Fourth", *joiners)
    domain.remove_members("Fourth", leaver)
    for guid in company.people[:20]:
        domain.modify(guid, sn="Changed")
    before, number = await company.standing(), 1
    while True:
        company.server.faults.since(number, FAULTS[name])
        try:
            await company.poll(full=False)
        except DirectoryError:
            assert await company.standing() == before, number
        else:
            break
        finally:
            overlooked = not company.server.faults.pending
            company.server.faults.clear()
        number += 1
    assert not overlooked
    assert number > 8
    after = await company.standing()
    assert after.listed == before.listed - {leaver} | {*joiners}


@pytest.mark.parametrize("name", ["unavailable, in the middle", "dropped in the middle"])
async def test_a_pass_ends_with_12_and_touches_nobody(company: Company, name: str) -> None:
    """The whole job: engine, planner, applier; a fault at a range, at a page, at the read of changes."""
    world = World(company.folder)
    world.directory = company.directory  # type: ignore[assignment]
    for number, guid in enumerate(company.people):
        world.team.add(f"p{number}@example.test", external_id=f"ad-guid:{guid}")
    assert (await world.run()).code is ExitCode.OK
    world.team.effects.clear()
    for kind, full in (("range", True), ("paged", True), ("dirsync", False)):
        await company.directory.close()
        company.server.faults.since(2 if full else 1, FAULTS[name], kind)
        world.clock.turn(minutes=5)
        summary = await world.run(full=full)
        assert not company.server.faults.pending
        company.server.faults.clear()
        assert (summary.code, world.team.effects) == (ExitCode.DIRECTORY, []), kind
    assert (await world.run(full=True)).code is ExitCode.OK
    assert world.harm() == []

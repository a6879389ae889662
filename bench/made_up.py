"""A directory and a team that are made up as they are asked: any size, and nearly nothing in memory.

Everybody in the directory is on the team with the names and the external id that are wanted; nothing ever changes. So what a process that
reads them holds and spends is the connector's own.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio

from config.settings import Settings
from pipeline import log
from pipeline.app.clock import SystemClock
from pipeline.app.compose import Assembly, assemble
from pipeline.app.report import PassSummary
from pipeline.model import (
    ChangePage,
    Checkpoint,
    Delta,
    Domain,
    Entry,
    EventPage,
    Kind,
    Member,
    Outcome,
    Profile,
    Source,
    Status,
    Target,
    TeamInfo,
    Verdict,
)
from state.journal import Journal

PEOPLE_A_GROUP = 500
PAGE = 1000
BASE_DN = "DC=example,DC=test"
SID = "S-1-5-21-1-2-3"
JOINED = datetime(2026, 1, 1, tzinfo=UTC)
_ROOT, _GROUP, _PERSON = (f"0000000{kind}-0000-4000-8000-" for kind in (1, 2, 3))
ROOT = f"{_ROOT}{0:012d}"


def person_guid(number: int) -> str:
    return f"{_PERSON}{number:012d}"


def email(number: int) -> str:
    return f"person{number}@example.test"


class MadeUpDirectory:
    """`people` in groups of 500 below the sync group `Dropbox`."""

    source = Source.DIRSYNC

    def __init__(self, people: int, a_group: int = PEOPLE_A_GROUP) -> None:
        """`a_group`: so many people are in each group."""
        self._people = people
        self._a_group = a_group
        self._groups = -(-people // a_group)
        self._surnames: dict[str, str] = {}
        self._deltas: tuple[Delta, ...] = ()
        self._checkpoint = Checkpoint(
            source=Source.DIRSYNC, server="dc1", ds_service="ds", invocation_id="1", profile="p", cookie=b"1"
        )

    def rename(self, number: int, surname: str) -> None:
        """The one thing that can happen here."""
        guid = person_guid(number)
        self._surnames[guid] = surname
        entry = self._entry(guid)
        self._deltas = (*self._deltas, Delta(guid=guid, dn=entry.dn, attributes=("sn",)))

    async def identify(self) -> Domain:
        return Domain(
            guid="00000000-0000-4000-8000-000000000001",
            dns_name="example.test",
            base_dn=BASE_DN,
            sid=SID,
            server="dc1",
            ds_service="ds",
            invocation_id="1",
            skew_seconds=0.0,
        )

    async def find_group(self, _reference: str) -> Entry:
        return self._entry(ROOT)

    async def start(self) -> Checkpoint:
        return self._checkpoint

    async def changes(self, since: Checkpoint) -> AsyncIterator[ChangePage]:
        deltas, self._deltas = self._deltas, ()
        yield ChangePage(deltas=deltas, checkpoint=since, more=False)

    async def read_entries(self, guids: Sequence[str]) -> Mapping[str, Entry]:
        return {guid: self._entry(guid) for guid in guids}

    async def read_members(self, group_guid: str) -> tuple[Target, ...]:
        if group_guid == ROOT:
            return tuple(Target(guid=f"{_GROUP}{one:012d}", dn="") for one in range(self._groups))
        first = int(group_guid.rpartition("-")[2]) * self._a_group
        last = min(first + self._a_group, self._people)
        return tuple(Target(guid=person_guid(one), dn="") for one in range(first, last))

    async def read_members_of(self, group_guids: Sequence[str]) -> Mapping[str, tuple[Target, ...]]:
        return {guid: await self.read_members(guid) for guid in group_guids}

    async def read_primary_members_of(self, rids: Sequence[int]) -> Mapping[int, tuple[str, ...]]:
        return dict.fromkeys(rids, ())

    async def read_primary_members(self, _rid: int) -> tuple[str, ...]:
        return ()

    async def read_parents(self, _guid: str) -> tuple[str, ...]:
        return ()

    async def read_tombstones(self, _guids: Sequence[str]) -> frozenset[str]:
        return frozenset()

    async def sees_tombstones(self) -> bool | None:
        return True

    async def wait_for_change(self, _seconds: float) -> bool:
        return False

    async def close(self) -> None:
        pass

    def _entry(self, guid: str) -> Entry:
        number = int(guid.rpartition("-")[2])
        if not guid.startswith(_PERSON):
            name = "Dropbox" if guid == ROOT else f"Group {number}"
            return Entry(
                guid=guid,
                kind=Kind.GROUP,
                dn=f"CN={name},{BASE_DN}",
                name=name,
                sid=f"{SID}-{2_000_000 + number}",
                sam_account_name=name,
            )
        return Entry(
            guid=guid,
            kind=Kind.USER,
            dn=f"CN=Given{number} Family{number},OU=Staff,{BASE_DN}",
            name=f"Given{number} Family{number}",
            sid=f"{SID}-{10_000_000 + number}",
            sam_account_name=f"person{number}",
            email=email(number),
            given_name=f"Given{number}",
            surname=self._surnames.get(guid, f"Family{number}"),
            display_name=f"Given{number} Family{number}",
            primary_group_rid=513,
        )


class MadeUpTeam:
    """Takes updates, and forgets them."""

    def __init__(self, people: int) -> None:
        self._people = people

    async def team_info(self) -> TeamInfo:
        return TeamInfo(
            name="Made up", team_id="dbtid:1", seats=self._people + 10, provisioned=self._people + 1
        )

    async def acting_admin(self) -> Member:
        return Member(
            member_id="dbmid:admin", status=Status.ACTIVE, email="admin@example.test", is_team_admin=True
        )

    async def list_members(self) -> AsyncIterator[Sequence[Member]]:
        yield [await self.acting_admin()]
        for first in range(0, self._people, PAGE):
            yield [self._member(number) for number in range(first, min(first + PAGE, self._people))]

    async def get_members(self, *, member_ids: Sequence[str] = (), **_: Sequence[str]) -> Sequence[Member]:
        return [self._member(int(one.rpartition(":")[2])) for one in member_ids]

    async def events(self, cursor: str, _since: datetime, **_: bool) -> EventPage:
        return EventPage(events=(), cursor=cursor or "1", more=False)

    async def update(self, member_id: str, changes: Profile) -> Outcome:
        member = replace(self._member(int(member_id.rpartition(":")[2])), surname=changes.surname)
        return Outcome(verdict=Verdict.DONE, member=member)

    def pace(self) -> Mapping[str, float]:
        return {}

    async def close(self) -> None:
        pass

    @staticmethod
    def _member(number: int) -> Member:
        return Member(
            member_id=f"dbmid:{number}",
            status=Status.ACTIVE,
            email=email(number),
            given_name=f"Given{number}",
            surname=f"Family{number}",
            external_id=f"ad-guid:{person_guid(number)}",
            joined_on=JOINED,
        )


@asynccontextmanager
async def connector(folder: Path, directory: Any, team: Any) -> AsyncIterator[tuple[Assembly, Journal]]:
    """A connector over them with the journal in `folder`, kept from one to the next."""
    log.configure(log.LogOptions(path=folder / "log", to_stderr=False))
    settings = Settings.model_validate(
        {
            "simulation": False,
            "directory": {"servers": ["ldaps://dc1.example.test"], "username": "svc@example.test"},
            "users": {"leave_settle_seconds": 0},
            "dropbox": {"access_token": "env:DROPBOX"},
        },
        context={"folder": folder, "environ": {"AD_PASSWORD": "not a secret", "DROPBOX": "not used"}},
    )
    journal = await Journal.open(folder / "journal.db")
    try:  # the journal's thread outlives an error, and the process with it, until it is closed
        assembly = assemble(
            settings, journal, SystemClock(), directory=directory, team=team, mailer=None, simulated=False
        )
        try:
            yield assembly, journal
        finally:
            await assembly.close()
    finally:
        await journal.close()
        log.close()


@asynccontextmanager
async def watching(assembly: Assembly) -> AsyncIterator[None]:
    """A watch that looks when it is nudged, from its readiness until the body ends."""

    async def wait_for_change(_seconds: float) -> bool:
        await anyio.sleep_forever()
        return False

    async def on_ready() -> None:
        ready.set()

    async def work() -> None:
        await assembly.engine.watch(
            poll_seconds=3600, wait_for_change=wait_for_change, on_ready=on_ready, stop=stop
        )

    ready, stop = anyio.Event(), anyio.Event()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(work)
        await ready.wait()
        yield
        stop.set()


async def look(assembly: Assembly) -> PassSummary:
    """What the watch does about what has changed, seen and carried out."""
    before = assembly.engine.last_summary
    assembly.engine.nudge()
    await assembly.engine.quiet()
    summary = assembly.engine.last_summary
    if summary is None or summary is before:
        raise AssertionError("nothing was found to do")
    return summary


async def forget_comparison(journal: Journal) -> None:
    """The next pass compares everything with Dropbox; the mirror stays as it is, where one due by its age would read afresh."""
    async with journal.transaction():
        await journal.put("rules", "of other settings")

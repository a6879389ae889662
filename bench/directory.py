"""What reading the directory costs: first load, empty poll, one change; by the number of people in nested groups. And reading
everybody beside what others need for the same (`bench.directory_peers`).

Every measurement is made in a process of its own (`python -m bench.directory`), so that its peak memory is its own.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import anyio

from bench import directory_peers, machine
from bench.directory_peers import LDAP3, PYTHON_LDAP
from bench.figure import Figure
from pipeline.model import Kind, Target
from sandbox.certificates import Authority
from sandbox.domain import DomainFacts
from sandbox.samba import SambaDomain, missing_for_samba
from sandbox.samba_admin import DomainAdministrator
from stages.directory.ldap import LdapDirectory, SystemClock
from stages.directory.line import Line
from stages.directory.messages import MessageReader
from stages.directory.options import DirectoryOptions
from stages.directory.poller import Poller, PollOptions
from stages.directory.walk import walk
from state.journal import Journal

ROOT = Path(__file__).resolve().parents[1]
SIZES, LARGE = (1_000, 10_000), 100_000
PEOPLE_A_GROUP = 50
LOADS, EMPTY_POLLS, CHANGES = 3, 21, 11
MOST_OF_PYTHON_LDAP, MOST_OF_LDAP3 = "<= 2 x its time", "<= 1/3 of its memory"
MOST_OF_SMALL = "<= 1.5 x"
WEIGHTS, WEIGHED = frozenset({"entries", "KB received"}), frozenset({"full read", "one change"})
SYNC_GROUP = "Bench"

Sample = dict[str, float]


def measure(full: bool) -> Iterator[Figure]:
    if missing := missing_for_samba():
        print(f"directory: not measured. {missing}")
        return
    base: dict[str, float] = {}
    for size in (*SIZES, LARGE) if full else SIZES:
        found = _measure(size)
        yield from _figures(size, found, base)
        base = base or found


def _figures(size: int, found: dict[str, float], base: dict[str, float]) -> Iterator[Figure]:
    """Each beside a peer's where there is one, else beside the same of the smallest size (`base`; empty for that one)."""
    for name, value in found.items():
        what, unit = name.rsplit(", ", 1)
        if what.startswith("by ") or (unit in WEIGHTS and what not in WEIGHED):
            continue
        peer = _peer_of(what).get(unit, "")
        other = found.get(f"by {peer}, {unit}", 0.0)
        beside = f"{peer}: {other:,.4g}" if other else f"{SIZES[0]:,} people" if base.get(name) else ""
        yield Figure(
            name=f"{what}, {unit}, {size:,} people",
            value=value,
            unit=unit,
            beside=beside,
            ratio=value / (other or base.get(name) or 1.0) if beside else 0.0,
            goal=_goal(what, unit, size),
            note=_NOTES.get(what, ""),
        )
    for unit, name in (("entries", "entries"), ("KB received", "bytes"), ("ms of our CPU", "our CPU")):
        all_of_it, one = found[f"full read, {unit}"], found[f"one change, {unit}"]
        yield Figure(
            name=f"one change against a full read, {name}, {size:,} people",
            value=all_of_it / one,
            unit="times less",
            beside=f"{all_of_it:,.4g} and {one:,.4g} {unit}",
            goal=">= 1,000" if size == LARGE else "",
            note="what reading everybody takes divided by what one person's change takes, the directory side of both; same run",
        )


_NOTES = {
    "first load": f"new journal, Samba on the same machine; of {SIZES[0]:,} people the median of {LOADS} processes",
    "empty poll": f"median of {EMPTY_POLLS}",
    "one change": f"one person's e-mail, median of {CHANGES}",
    "one leaver": f"one person out of a nested group, median of {CHANGES}",
    "empty poll by sequence numbers": f"median of {EMPTY_POLLS}",
    "full read": "everybody and every group, kept in memory, as a first load reads them; the peers read the same attributes raw",
}


def _peer_of(what: str) -> dict[str, str]:
    """Whose measurement a figure of ours stands beside, by unit."""
    if what != "full read":
        return {}
    return {"ms": PYTHON_LDAP, "ms of our CPU": PYTHON_LDAP, "MB at its peak": LDAP3}


def _goal(what: str, unit: str, size: int) -> str:
    if what == "empty poll" and unit == "LDAP requests":
        return "1"
    if what == "empty poll" and unit in {"ms", "ms of our CPU"} and size > SIZES[0]:
        return MOST_OF_SMALL
    if what in {"one change", "one leaver"} and unit == "LDAP requests":
        return "<= 5"
    if what == "first load" and unit == "MB at its peak" and size == LARGE:
        return "< 300"
    if what == "full read" and size == LARGE:
        return {"ms": MOST_OF_PYTHON_LDAP, "MB at its peak": MOST_OF_LDAP3}.get(unit, "")
    return ""


@contextmanager
def domain_for(size: int) -> Iterator[tuple[SambaDomain, Path]]:
    """A domain that runs and is to hold so many people, and a folder beside it."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        domain = SambaDomain(
            folder / "dc",
            Authority(folder / "ca"),
            cache=ROOT / ".sandbox" / "cache",
            store="mdb" if size > 5_000 else "tdb",
        )
        domain.start_blocking()
        try:
            yield domain, folder
        finally:
            domain.stop_blocking()


def _measure(size: int) -> dict[str, float]:
    with domain_for(size) as (domain, folder):
        with domain.administrator() as admin:
            admin.create_group(SYNC_GROUP)
            everybody = admin.create_group("Bench Everybody")
            admin.add_members(SYNC_GROUP, everybody)
            dn = admin.dn(everybody)
        domain.load_people_blocking(size, group=dn, groups=size // PEOPLE_A_GROUP)
        reads = _reads(domain.facts, folder, size)
        count = LOADS if size == SIZES[0] else 1
        loads = [_child(domain.facts, folder / f"{number}.db", "load") for number in range(count)]
        polls = _child(domain.facts, folder / "0.db", "poll")
        numbers = _child(domain.facts, folder / "usn.db", "numbers")
    for sample in loads:
        if sample.pop("people") != size:
            raise AssertionError(f"the first load found other than {size} people")
    first = {name: median(sample[name] for sample in loads) for name in loads[0]}
    return {**first, **polls, **numbers, **reads}


def _reads(facts: DomainFacts, folder: Path, size: int) -> Sample:
    """Our full read and those of the peers, one after the other."""
    sample = _child(facts, folder / "unused.db", "read")
    order = {
        "address": facts.address,
        "ca_file": str(facts.ca_file),
        "base": facts.base_dn,
        "username": facts.service_account,
        "password": facts.service_password,
    }
    for peer in directory_peers.available():
        found = directory_peers.measure(peer, order)
        if (
            found.pop("people") < size
            or found.pop("members") < size
            or found.pop("groups") < sample["groups"]
        ):
            raise AssertionError(f"{peer} did not read everything")
        sample |= {f"by {peer}, {unit}": value for unit, value in found.items()}
    if sample.pop("people") != size:
        raise AssertionError(f"the full read found other than {size} people")
    del sample["groups"]
    return sample


def _child(facts: DomainFacts, journal: Path, what: str) -> Sample:
    order = {"address": facts.address, "ca_file": str(facts.ca_file), "journal": str(journal), "what": what}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "bench.directory"],
        input=json.dumps(order),
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"the measuring process failed:\n{done.stderr[-2000:]}")
    sample: Sample = json.loads(done.stdout)
    return sample


# ------------------------------------------------------------------------------------------- in the measuring process


class Traffic:
    """Counts every search of every connection, and what comes in answer."""

    def __init__(self) -> None:
        self.requests = self.entries = self.bytes = 0
        search, feed = Line.search_blocking, MessageReader.feed

        def counted(line: Line, request: Any) -> Any:
            self.requests += 1
            answer = search(line, request)
            self.entries += len(answer.entries)
            return answer

        def weighed(reader: MessageReader, data: bytes) -> Any:
            self.bytes += len(data)
            return feed(reader, data)

        Line.search_blocking = counted  # type: ignore[method-assign, assignment]
        MessageReader.feed = weighed  # type: ignore[method-assign]
        self._before = self._now()

    def start(self) -> None:
        self._before = self._now()

    def sample(self, what: str) -> Sample:
        """What came since `start`."""
        requests, entries, received, wall, cpu = (
            now - before for now, before in zip(self._now(), self._before, strict=True)
        )
        return {
            f"{what}, LDAP requests": requests,
            f"{what}, entries": entries,
            f"{what}, KB received": received / 1000,
            f"{what}, ms": wall * 1000,
            f"{what}, ms of our CPU": cpu * 1000,
        }

    def _now(self) -> tuple[float, ...]:
        return self.requests, self.entries, self.bytes, time.perf_counter(), time.process_time()


async def _run(order: dict[str, str]) -> Sample:
    counter = Traffic()
    facts = DomainFacts(order["address"], Path(order["ca_file"]))
    options = DirectoryOptions(
        servers=(facts.ldaps_url,),
        username=facts.service_account,
        password=facts.service_password,
        ca_file=order["ca_file"],
        timeout_seconds=60,
        change_source="usn" if order["what"] == "numbers" else "dirsync",
    )
    directory = LdapDirectory(options)
    journal = await Journal.open(order["journal"])
    poller = Poller(directory, journal, SystemClock(), PollOptions(sync_group=SYNC_GROUP))
    try:
        if order["what"] == "read":
            return await _read(directory, counter)
        if order["what"] == "load":
            sample = await _timed(poller, counter, "first load")
            async with journal.reading():
                people = await journal.database.value(
                    "SELECT count(*) FROM node WHERE listed = 1 AND kind = 'user' AND live = 1"
                )
            peak = machine.peak_megabytes()
            return {**sample, "first load, MB at its peak": peak, "people": people}
        await poller.poll()
        if order["what"] == "numbers":
            await poller.poll()  # by the second quiet one it knows that nothing is in flight
            return await _medians(
                poller, counter, "empty poll by sequence numbers", EMPTY_POLLS, lambda _: None
            )
        samples = await _medians(poller, counter, "empty poll", EMPTY_POLLS, lambda _: None)
        with DomainAdministrator(facts) as admin:
            samples |= await _medians(
                poller,
                counter,
                "one change",
                CHANGES,
                lambda number: admin.modify("p000001", mail=f"changed{number}@example.test"),
            )
            members = admin.members("Bulk 001")
            samples |= await _medians(
                poller,
                counter,
                "one leaver",
                CHANGES,
                lambda number: admin.remove_members("Bulk 001", members[number]),
            )
        return samples
    finally:
        await journal.close()
        await directory.close()


async def _read(directory: LdapDirectory, counter: Traffic) -> Sample:
    counter.start()
    root = await directory.find_group(SYNC_GROUP)
    target = Target(guid=root.guid, dn=root.dn)
    walked = await walk(directory, [target], known=lambda _: False, was_group=lambda _: False)
    kinds = Counter(entry.kind for entry in walked.entries.values())
    return {
        **counter.sample("full read"),
        "full read, MB at its peak": machine.peak_megabytes(),
        "people": kinds[Kind.USER],
        "groups": kinds[Kind.GROUP],
    }


async def _medians(
    poller: Poller, counter: Traffic, what: str, count: int, prepare: Callable[[int], None]
) -> Sample:
    samples = []
    for number in range(count):
        prepare(number)
        samples.append(await _timed(poller, counter, what))
    return {name: median(sample[name] for sample in samples) for name in samples[0]}


async def _timed(poller: Poller, counter: Traffic, what: str) -> Sample:
    counter.start()
    await poller.poll()
    return counter.sample(what)


if __name__ == "__main__":
    print(json.dumps(anyio.run(_run, json.load(sys.stdin))))

"""One change, seen and carried out by a watch, beside what an admin would run otherwise: `run --full`. Both sides real.

Samba, the simulator over HTTP, and the connector, which is measured, in a process of its own (`python -m bench.change`). Everybody is on
the team and as wanted; so the full pass, which reads the directory and compares the team, finds nothing to do.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import anyio
import anyio.to_thread

from bench import made_up
from bench.directory import PEOPLE_A_GROUP, ROOT, Sample, Traffic, domain_for
from bench.figure import Figure
from pipeline.app.clock import SystemClock
from pipeline.model import Kind, Target
from sandbox.domain import DomainFacts
from sandbox.samba import missing_for_samba
from sandbox.samba_admin import DomainAdministrator
from sandbox.team import SeedMember, TeamConfig, TeamSimulator
from stages.directory.ldap import LdapDirectory
from stages.directory.options import DirectoryOptions
from stages.directory.walk import walk
from stages.dropbox.options import DropboxOptions
from stages.dropbox.team import HttpTeam

SIZE, LARGE = 10_000, 100_000
CHANGES = 25
SYNC_GROUP = "Dropbox"
FULL, CHANGE = "full pass", "one change"
LEAST = 1000
GOALS = {"LDAP requests": "<= 5", "Dropbox requests": "<= 3"}


def measure(full: bool) -> Iterator[Figure]:
    if missing := missing_for_samba():
        print(f"change: not measured. {missing}")
        return
    for size in (SIZE, LARGE) if full else (SIZE,):
        yield from _figures(size, _measure(size))


def _figures(size: int, found: Sample) -> Iterator[Figure]:
    for name, one in found.items():
        what, unit = name.rsplit(", ", 1)
        if what != CHANGE:
            continue
        all_of_it = found[f"{FULL}, {unit}"]
        goal = GOALS.get(unit, f">= {LEAST:,} x less" if size == LARGE and unit == "ms of our CPU" else "")
        yield Figure(
            name=f"one change, both sides, {unit}, {size:,} people",
            value=one,
            unit=unit,
            beside=f"run --full: {all_of_it:,.4g}",
            ratio=all_of_it / one,
            goal=goal,
            note=f"a name, seen and carried out by a watch, median of {CHANGES}; the ratio says how many times less",
        )


def _measure(size: int) -> Sample:
    with domain_for(size) as (domain, folder):
        with domain.administrator() as admin:
            admin.create_group(SYNC_GROUP)
            dn = admin.dn(SYNC_GROUP)
        domain.load_people_blocking(size, group=dn, groups=size // PEOPLE_A_GROUP)
        return anyio.run(_beside, domain.facts, folder, size)


async def _beside(facts: DomainFacts, folder: Path, size: int) -> Sample:
    """Everybody who is in the directory is on the team."""
    directory = _directory(facts)
    try:
        root = await directory.find_group(SYNC_GROUP)
        target = Target(guid=root.guid, dn=root.dn)
        walked = await walk(directory, [target], known=lambda _: False, was_group=lambda _: False)
    finally:
        await directory.close()
    members = [
        SeedMember(entry.email, entry.given_name, entry.surname, f"ad-guid:{entry.guid}")
        for entry in walked.entries.values()
        if entry.kind is Kind.USER
    ]
    if len(members) != size:
        raise AssertionError(f"{len(members)} people were found, not {size}")
    admin = SeedMember("admin@example.test", "Ada", "Admin", admin=True)
    team = TeamSimulator(TeamConfig(seats=size + 10, members=(admin, *members), timeline_bytes=1))
    del walked, members
    await team.start()
    try:
        order = {
            "address": facts.address,
            "ca_file": str(facts.ca_file),
            "folder": str(folder),
            "url": team.url,
            "token": team.config.access_token,
        }
        return await anyio.to_thread.run_sync(_child, order)
    finally:
        await team.stop()


def _child(order: dict[str, str]) -> Sample:
    done = subprocess.run(
        [sys.executable, "-P", "-W", "ignore", "-m", "bench.change"],
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


def _directory(facts: DomainFacts) -> LdapDirectory:
    return LdapDirectory(
        DirectoryOptions(
            servers=(facts.ldaps_url,),
            username=facts.service_account,
            password=facts.service_password,
            ca_file=str(facts.ca_file),
            timeout_seconds=60,
        )
    )


# ------------------------------------------------------------------------------------------- in the measuring process


async def _run(order: dict[str, str]) -> Sample:
    counter = Traffic()
    facts = DomainFacts(order["address"], Path(order["ca_file"]))
    options = DropboxOptions(
        api_url=order["url"], access_token=order["token"], max_requests_per_second=1000.0
    )
    team = HttpTeam(options, SystemClock())
    sent = 0.0

    def sample(what: str) -> Sample:
        return {**counter.sample(what), f"{what}, Dropbox requests": team.pace()["sent"] - sent}

    async with made_up.connector(Path(order["folder"]), _directory(facts), team) as (assembly, _):
        first = await assembly.engine.run()
        if first.code:
            raise AssertionError(f"the first pass ended with {int(first.code)}: {first.ended_by}")
        counter.start()
        sent = team.pace()["sent"]
        summary = await assembly.engine.run(full=True)
        found = sample(FULL)
        if summary.code or summary.actions:
            raise AssertionError(f"exit code {int(summary.code)}, {summary.actions}, {summary.ended_by}")
        samples = []
        with DomainAdministrator(facts) as admin:
            async with made_up.watching(assembly):
                for number in range(CHANGES):
                    await anyio.to_thread.run_sync(lambda: admin.modify("p000001", sn=f"Changed{number}"))  # noqa: B023 - awaited at once
                    counter.start()
                    sent = team.pace()["sent"]
                    summary = await made_up.look(assembly)
                    samples.append(sample(CHANGE))
                    if summary.code or summary.actions != {"update": 1}:
                        raise AssertionError(f"exit code {int(summary.code)}, {summary.actions}")
    return {**found, **{name: median(one[name] for one in samples) for name in samples[0]}}


if __name__ == "__main__":
    print(json.dumps(anyio.run(_run, json.load(sys.stdin))))

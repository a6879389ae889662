"""The full comparison without a change: the Dropbox side only, with a mirror that is up to date.

The list of the team takes pages / rate, whatever a program does with it. Beside ours runs a naive script: the official SDK lists the team,
a dict by e-mail is compared with another. The simulator, each client and the preparation are processes of their own.
"""

from __future__ import annotations

import json
import math
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio

from bench import made_up
from bench.dropbox_clients import TOKEN
from bench.figure import Figure
from pipeline.app.clock import SystemClock
from sandbox.team import SeedMember, TeamConfig, TeamSimulator
from stages.dropbox.options import DropboxOptions
from stages.dropbox.pace import KnownPace
from stages.dropbox.team import HttpTeam

ROOT = Path(__file__).resolve().parents[1]
PEOPLE, FULL_PEOPLE = 50_000, 100_000
RATE = 10.0  # max_requests_per_second as it is configured when nothing is said


def measure(full: bool) -> Iterator[Figure]:
    people = FULL_PEOPLE if full else PEOPLE
    pages = math.ceil((people + 1) / made_up.PAGE)
    least = pages / RATE
    with tempfile.TemporaryDirectory() as name, _team(people) as url:
        folder = Path(name)
        _child("prepare", url, folder, people)
        _child("limit", url, folder, people)
        cold = _child("cold", url, folder, people)
        ours = [_child("ours", url, folder, people) for _ in range(3)]
        naive = _child("sdk", url, folder, people)
    seconds = [one["seconds"] for one in ours]
    best = min(ours, key=lambda one: one["seconds"])
    setting = f"{people:,} people, {pages} pages, {RATE:.0f} requests a second allowed"
    yield Figure.of(
        seconds,
        name="full comparison without a change",
        unit="s",
        beside=f"pages / rate: {least:.1f} s",
        ratio=sorted(seconds)[len(seconds) // 2] / least,
        goal="<= 1.1 x",
        note=f"{setting}; {best['cpu']:.1f} s of our CPU; the pace of the pass before is known",
    )
    yield Figure(
        name="the same by the first process of all",
        value=cold["seconds"],
        unit="s",
        beside=f"pages / rate: {least:.1f} s",
        ratio=cold["seconds"] / least,
        note="nothing is known of the limit yet",
    )
    yield Figure(
        name="the same by a naive script",
        value=naive["seconds"],
        unit="s",
        beside="ours",
        ratio=naive["seconds"] / best["seconds"],
        note=f"official SDK and a dict; {naive['cpu']:.1f} s of CPU",
    )
    yield Figure(
        name="peak memory of the full comparison",
        value=best["mb"],
        unit="MB",
        beside=f"the naive script: {naive['mb']:.0f} MB",
        ratio=best["mb"] / naive["mb"],
        goal="< 1 x",
        note="of the whole process, graph of the directory included",
    )
    yield Figure(
        name="requests of the full comparison",
        value=best["requests"],
        unit="requests",
        beside="pages of the list",
        ratio=best["requests"] / pages,
        note="team, admin and pages; no write",
    )


# --- the simulator


@contextmanager
def _team(people: int) -> Iterator[str]:
    """A team in which everybody made up is a member."""
    process = subprocess.Popen(
        [sys.executable, "-P", "-W", "ignore", "-m", "bench.comparison", "serve", str(people)],
        stdin=subprocess.PIPE,  # it ends when we do
        stdout=subprocess.PIPE,
        cwd=ROOT,
        text=True,
    )
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.communicate()


async def _serve(people: int) -> None:
    admin = SeedMember("admin@example.test", "Ada", "Admin", admin=True)
    others = (
        SeedMember(
            made_up.email(number),
            f"Given{number}",
            f"Family{number}",
            f"ad-guid:{made_up.person_guid(number)}",
        )
        for number in range(people)
    )
    config = TeamConfig(seats=people + 10, members=(admin, *others), timeline_bytes=1)
    simulator = TeamSimulator(config)
    await simulator.start()
    print(simulator.url, flush=True)
    await anyio.to_thread.run_sync(sys.stdin.read)
    await simulator.stop()


# --- its clients, each in a process of its own


def _child(what: str, url: str, folder: Path, people: int) -> dict[str, Any]:
    if what == "limit":
        import urllib.request

        limit = {"per_second": RATE, "burst": RATE}
        urllib.request.urlopen(f"{url}/sandbox/limits", data=json.dumps(limit).encode()).close()
        return {}
    done = subprocess.run(
        [sys.executable, "-P", "-W", "ignore", "-m", "bench.comparison", what, url, str(folder), str(people)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{what} failed:\n{done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


async def _ours(url: str, folder: Path, people: int, ceiling: float, known_pace: float) -> dict[str, float]:
    options = DropboxOptions(
        api_url=url,
        access_token=TOKEN,
        max_requests_per_second=ceiling,
        known_pace=KnownPace(known_pace),
    )
    team = HttpTeam(options, SystemClock())
    async with made_up.connector(folder, made_up.MadeUpDirectory(people), team) as (assembly, journal):
        await made_up.forget_comparison(journal)
        started, cpu = 0.0, 0.0
        compare = assembly.parts.reconciler.compare

        async def watched(*arguments: Any) -> int:
            """From here on it is the Dropbox side: the graph of the directory has been loaded."""
            nonlocal started, cpu
            started, cpu = time.perf_counter(), time.process_time()
            return await compare(*arguments)

        assembly.parts.reconciler.compare = watched  # type: ignore[method-assign]
        summary = await assembly.engine.run()
        seconds = time.perf_counter() - started
        if summary.code or summary.actions:
            raise AssertionError(
                f"exit code {int(summary.code)}, actions {summary.actions}: {summary.ended_by}"
            )
        return {"seconds": seconds, "cpu": time.process_time() - cpu, "requests": team.pace()["sent"]}


def _naive_blocking(url: str, people: int) -> dict[str, float]:
    """What somebody writes in an afternoon: both sides as dicts by e-mail."""
    import dropbox
    import requests
    from requests.adapters import HTTPAdapter

    class Loopback(HTTPAdapter):
        def send(self, request: Any, *arguments: Any, **more: Any) -> Any:
            request.url = request.url.replace("https://api.dropboxapi.com", url, 1)
            return super().send(request, *arguments, **more)

    wanted = {
        made_up.email(number): {
            "guid": made_up.person_guid(number),
            "mail": made_up.email(number),
            "givenName": f"Given{number}",
            "sn": f"Family{number}",
            "enabled": True,
        }
        for number in range(people)
    }
    started, cpu = time.perf_counter(), time.process_time()
    session = requests.Session()
    session.trust_env = False
    session.mount("https://", Loopback())
    client = dropbox.DropboxTeam(TOKEN, session=session)
    page = client.team_members_list_v2(limit=made_up.PAGE, include_removed=True)
    members = {member.profile.email: member for member in page.members}
    while page.has_more:
        page = client.team_members_list_continue_v2(page.cursor)
        members |= {member.profile.email: member for member in page.members}
    differing = [
        email
        for email, person in wanted.items()
        if (member := members.get(email)) is None
        or not member.profile.status.is_active()
        or (member.profile.name.given_name, member.profile.name.surname)
        != (person["givenName"], person["sn"])
    ]
    if differing:
        raise AssertionError(f"{len(differing)} differ")
    return {"seconds": time.perf_counter() - started, "cpu": time.process_time() - cpu}


def main() -> None:
    what = sys.argv[1]
    if what == "serve":
        anyio.run(_serve, int(sys.argv[2]))
        return
    url, folder, people = sys.argv[2], Path(sys.argv[3]), int(sys.argv[4])
    if what == "sdk":
        found = _naive_blocking(url, people)
    else:
        ceiling = 1000.0 if what == "prepare" else RATE
        found = anyio.run(_ours, url, folder, people, ceiling, 0.0 if what == "cold" else RATE)
    found["mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(found))


if __name__ == "__main__":
    main()

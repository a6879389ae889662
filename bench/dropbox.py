"""The Dropbox applier: what it makes of a rate limit that it is not told, and what a request costs.

The team simulator runs in a process of its own, so that CPU time here is ours alone.
"""

from __future__ import annotations

import contextlib
import gc
import json
import math
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import anyio

from bench.dropbox_clients import (
    FIXED_RATE,
    SDK_THREADS,
    TOKEN,
    bare_invitations,
    sdk_invitations_blocking,
)
from bench.figure import Figure
from config.settings import Settings
from pipeline import log
from pipeline.app.clock import SystemClock
from pipeline.app.compose import Assembly, assemble, team_of
from pipeline.app.pace_memory import known_from
from stages.directory.memory import MemoryDirectory
from stages.dropbox.pace import NOTHING_KNOWN, KnownPace
from state.journal import Journal

PHASES = (50.0, 5.0, 50.0)  # requests a second that the team allows
BURST = 5  # a tenth of a second's worth
TRANSITION_SECONDS = 10.0  # reported apart: nobody can know of a change before meeting it
ROUND_TRIP_SECONDS = 0.1  # what was on its way when the refusal came back is no fault
LOAD_RATE = 50.0
DEFAULT_CONCURRENCY = 4  # of dropbox.max_concurrency
PEOPLE = 10_000
SDK_CALLS = 50
BARE_CALLS = 100


# --- the simulator


class Simulator:
    def __init__(self, *, seats: int, people: int = 0) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "sandbox.team", "--port", str(port)),
                *("--seats", str(seats), "--people", str(people)),
            ],
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[1],
        )
        assert self._process.stdout is not None
        for _ in range(4):
            self._process.stdout.readline()

    def close(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(10)

    def post(self, path: str, body: Any) -> Any:
        request = urllib.request.Request(f"{self.url}/sandbox/{path}", data=json.dumps(body).encode())
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(f"{self.url}/sandbox/{path}") as answer:
            return json.load(answer)

    def limit(self, per_second: float | None, burst: int = BURST) -> None:
        self.post("limits", {"per_second": per_second, "burst": burst} if per_second else None)

    def count(self, route: str) -> int:
        requests = self.get("effects")["requests"]
        return sum(number for key, number in requests.items() if key.startswith(f"team/{route} "))


@contextmanager
def simulator(*, seats: int, people: int = 0) -> Iterator[Simulator]:
    running = Simulator(seats=seats, people=people)
    try:
        yield running
    finally:
        running.close()


# --- a hidden limit that changes


@dataclass(frozen=True, slots=True)
class _Seen:
    at: float
    refused: bool
    retry_after: float


@dataclass(frozen=True, slots=True)
class _Course:
    """How a client fared. Shares of what was allowed, and of what it sent."""

    used: tuple[float, ...]  # by phase, from ten seconds after its beginning
    refused: float  # over all those
    refused_on_the_way: float
    recovery_seconds: tuple[float, ...]  # until a second in which nine tenths were used, by phase
    too_early: int


def _course(seen: list[_Seen], starts: list[float], phase_seconds: float) -> _Course:
    used, steady, transition, recovery = [], [], [], []
    for rate, start in zip(PHASES, starts, strict=True):
        settled, end = start + TRANSITION_SECONDS, start + phase_seconds
        after = [one for one in seen if settled <= one.at < end]
        steady += after
        transition += [one for one in seen if start <= one.at < settled]
        used.append(sum(not one.refused for one in after) / (rate * (end - settled)))
        window = max(1.0, 5 / rate)
        moments = [start + step / 4 for step in range(1, int(4 * (phase_seconds - window)))]
        recovery.append(
            next(
                (
                    moment - start
                    for moment in moments
                    if sum(not one.refused for one in seen if moment <= one.at < moment + window)
                    >= 0.9 * rate * window
                ),
                math.inf,
            )
        )
    too_early = 0
    for one in (each for each in seen if each.refused):
        silent_until = one.at + one.retry_after - 0.01
        too_early += sum(one.at + ROUND_TRIP_SECONDS < other.at < silent_until for other in seen)
    return _Course(
        used=tuple(used),
        refused=sum(one.refused for one in steady) / max(1, len(steady)),
        refused_on_the_way=sum(one.refused for one in transition) / max(1, len(transition)),
        recovery_seconds=tuple(recovery),
        too_early=too_early,
    )


def _follow(names: tuple[str, ...], phase_seconds: float) -> dict[str, _Course]:
    """All of them at the same time, each with a team and a limit of its own."""
    seconds = phase_seconds * len(PHASES)
    with contextlib.ExitStack() as stack:
        teams = {name: stack.enter_context(simulator(seats=100, people=50)) for name in names}
        for team in teams.values():
            team.limit(PHASES[0])
        clients = {
            name: subprocess.Popen(
                [sys.executable, "-m", "bench.dropbox_clients", name, team.url, str(seconds + 3)],
                cwd=Path(__file__).parents[1],
            )
            for name, team in teams.items()
        }
        try:
            while not all(team.count("members/set_profile_v2") for team in teams.values()):
                time.sleep(0.02)
            starts = []
            for rate in PHASES:
                for team in teams.values():
                    team.limit(rate)
                starts.append(time.time())
                time.sleep(phase_seconds)
            seen = {
                name: [
                    _Seen(
                        datetime.fromisoformat(one["at"]).timestamp(),
                        one["status"] == 429,
                        float(one["retry_after"] or 0),
                    )
                    for one in team.get("requests?route=team/members/set_profile_v2&last=20000")
                ]
                for name, team in teams.items()
            }
        finally:
            for client in clients.values():
                client.terminate()
                client.wait(10)
    return {name: _course(each, starts, phase_seconds) for name, each in seen.items()}


def _percent(shares: tuple[float, ...]) -> str:
    return ", ".join(f"{100 * share:.0f} %" for share in shares)


def _pace_figures(phase_seconds: float) -> list[Figure]:
    courses = _follow(("ours", "fixed", "sdk"), phase_seconds)
    one = courses["ours"]
    peers = {
        f"a fixed {FIXED_RATE:.0f} requests a second": courses["fixed"],
        f"the official SDK in {SDK_THREADS} threads": courses["sdk"],
    }
    limits = " -> ".join(f"{rate:.0f}" for rate in PHASES)
    setting = f"hidden limit {limits} requests a second, bursts of more than {BURST} refused, Retry-After 1 s"
    figures = [
        Figure(
            name="share of the allowed rate used, ten seconds after each change (worst phase)",
            value=100 * min(one.used),
            unit="%",
            beside=name,
            ratio=min(one.used) / min(peer.used) if min(peer.used) else 0,
            goal=">= 90 %",
            note=f"{setting}; by phase {_percent(one.used)}, beside {_percent(peer.used)}",
        )
        for name, peer in peers.items()
    ]
    figures += [
        Figure(
            name="share of requests refused, ten seconds after each change",
            value=100 * one.refused,
            unit="%",
            beside=name,
            ratio=one.refused / peer.refused if peer.refused else 0,
            goal="< 2 %",
            note=f"beside: {100 * peer.refused:.1f} %",
        )
        for name, peer in peers.items()
    ]
    seconds = ", ".join(
        f"{rate:.0f}/s: {each:.1f} s" for rate, each in zip(PHASES, one.recovery_seconds, strict=True)
    )
    sdk = courses["sdk"]
    return [
        *figures,
        Figure(
            name="sent before a Retry-After was over",
            value=one.too_early,
            unit="requests",
            goal="0",
            note=f"the SDK in threads: {sdk.too_early}",
        ),
        Figure(
            name="share refused in the ten seconds after each change",
            value=100 * one.refused_on_the_way,
            unit="%",
            note=f"nine tenths of the limit reached after {seconds}; the SDK: {100 * sdk.refused_on_the_way:.0f} %",
        ),
    ]


# --- the whole way


@asynccontextmanager
async def _pipeline(
    team: Simulator,
    people: int,
    *,
    ceiling: float,
    concurrency: int,
    known: KnownPace = NOTHING_KNOWN,
) -> AsyncIterator[tuple[Assembly, MemoryDirectory, list[str]]]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        log.configure(log.LogOptions(path=folder / "log", to_stderr=False))
        settings = Settings.model_validate(
            {
                "simulation": False,
                "directory": {"servers": ["ldaps://dc1.example.test"], "username": "svc@example.test"},
                "users": {"leave_settle_seconds": 0},
                "dropbox": {
                    "access_token": "env:DROPBOX",
                    "api_url": team.url,
                    "max_requests_per_second": ceiling,
                    "max_concurrency": concurrency,
                },
            },
            context={"folder": folder, "environ": {"AD_PASSWORD": "not a secret", "DROPBOX": TOKEN}},
        )
        clock = SystemClock()
        directory = MemoryDirectory(clock=clock)
        group = directory.create_group("Dropbox")
        guids = [
            directory.create_user(
                f"p{n}", mail=f"p{n}@example.test", given_name=f"Given{n}", surname="Family"
            )
            for n in range(people)
        ]
        directory.add_members(group, *guids)
        journal = await Journal.open(folder / "journal.db")
        try:
            assembly = assemble(
                settings,
                journal,
                clock,
                directory=directory,
                team=team_of(settings, clock, known_pace=known),
                mailer=None,
                simulated=False,
            )
            try:
                yield assembly, directory, guids
            finally:
                await assembly.close()
        finally:
            await journal.close()
            log.close()


@dataclass(slots=True)
class _Spent:
    """Of the applier alone."""

    wall_seconds: float = 0.0
    cpu_seconds: float = 0.0


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _watch(assembly: Assembly) -> _Spent:
    spent = _Spent()
    applier = assembly.parts.applier
    apply = applier.apply

    async def watched(*arguments: Any, **named: Any) -> None:
        wall, cpu = time.perf_counter(), _cpu_seconds()
        await apply(*arguments, **named)
        spent.wall_seconds += time.perf_counter() - wall
        spent.cpu_seconds += _cpu_seconds() - cpu

    applier.apply = watched  # type: ignore[method-assign]
    return spent


@dataclass(frozen=True, slots=True)
class _Loaded:
    seconds: float
    sending_seconds: float  # of these; the rest is reading and planning
    planning_cpu_seconds: float
    invitations: int  # requests, refused ones included
    requests: int
    refused: int
    known: KnownPace


async def _load(people: int, *, ceiling: float, known: KnownPace = NOTHING_KNOWN) -> _Loaded:
    with simulator(seats=people + 10) as team:
        team.limit(LOAD_RATE, BURST)
        async with _pipeline(team, people, ceiling=ceiling, concurrency=DEFAULT_CONCURRENCY, known=known) as (
            assembly,
            _,
            _,
        ):
            spent = _watch(assembly)
            started, cpu = time.perf_counter(), _cpu_seconds()
            await assembly.engine.run()
            seconds, cpu = time.perf_counter() - started, _cpu_seconds() - cpu
            pace = assembly.parts.team.pace()
        invitations = team.count("members/add_v2")
        return _Loaded(
            seconds=seconds,
            sending_seconds=spent.wall_seconds,
            planning_cpu_seconds=cpu - spent.cpu_seconds,
            invitations=invitations,
            requests=invitations + team.count("members/list_v2") + team.count("get_info"),
            refused=int(pace["refused"]),
            known=known_from(pace),
        )


async def _first_load(people: int) -> list[Figure]:
    """At a limit that the client has to find, that it is told, and that it knows from the time before."""
    found = await _load(people, ceiling=200)
    told = await _load(people, ceiling=LOAD_RATE)
    known = await _load(people, ceiling=200, known=found.known)
    least = math.ceil(people / 20) / LOAD_RATE
    figures = []
    for how, one in (
        ("hidden", found),
        ("the configuration's ceiling", told),
        ("known from the load before", known),
    ):
        name = f"first load of {people:,} people at {LOAD_RATE:.0f} requests a second, the limit {how}"
        rest = one.seconds - one.sending_seconds
        figures += [
            Figure(
                name=name,
                value=one.seconds,
                unit="s",
                beside="calls x 1/rate",
                ratio=one.seconds / least,
                goal="<= 1.05 x",
                note=f"{least:.0f} s; {rest:.1f} s reading and planning, {one.planning_cpu_seconds:.1f} of CPU; {one.refused} refused",
            ),
            Figure(
                name=f"{name}: the sending alone",
                value=one.sending_seconds,
                unit="s",
                beside="calls x 1/rate",
                ratio=one.sending_seconds / least,
            ),
        ]
    return [
        *figures,
        Figure(
            name=f"requests for {people:,} invitations (refused ones included)",
            value=found.invitations,
            unit="requests",
            beside="people / 20",
            ratio=found.invitations / math.ceil(people / 20),
            goal="<= 1.02 x",
            note=f"{found.requests} with the team's list; the limit hidden",
        ),
    ]


async def _cost(people: int) -> list[Figure]:
    figures = []
    with simulator(seats=people + 20 * (SDK_CALLS + BARE_CALLS) + 10) as team:
        bare = await bare_invitations(team.url, BARE_CALLS)
        sdk = await anyio.to_thread.run_sync(sdk_invitations_blocking, team.url, SDK_CALLS)
        before = team.count("members/add_v2")
        # What the SDK has loaded into this process is not the connector's to look through for garbage.
        gc.collect()
        gc.freeze()
        async with _pipeline(team, people, ceiling=2000, concurrency=8) as (assembly, directory, guids):
            spent = _watch(assembly)
            await assembly.engine.run()
            requests = team.count("members/add_v2") - before
            figures.append(_cost_figure("an invitation of 20", spent, requests, "the official SDK", sdk))
            figures.append(_cost_figure("an invitation of 20", spent, requests, "aiohttp", bare))
            team.post("accept_all", {})
            for guid in guids:
                directory.modify(guid, surname="Renamed")
            spent.cpu_seconds = 0.0
            await assembly.engine.run()
            figures.append(_cost_figure("a rename", spent, team.count("members/set_profile_v2")))
    return figures


def _cost_figure(
    what: str, spent: _Spent, requests: int, peer: str = "", peer_seconds: float = 0.0
) -> Figure:
    """`peer_seconds`: CPU of the peer for the call alone, in the same run."""
    each = spent.cpu_seconds / max(1, requests)
    return Figure(
        name=f"CPU of one request: {what}",
        value=1000 * each,
        unit="ms",
        beside=f"{peer}, the call alone" if peer else "",
        ratio=each / peer_seconds if peer_seconds else 0,
        goal="< 5 ms: 200 requests a second on one core",
        note=f"{1 / each:.0f} requests a second of CPU, journal, log and TLS-less HTTP included; {requests} requests"
        + (f"; {peer}: {1000 * peer_seconds:.1f} ms" if peer else ""),
    )


def measure(full: bool) -> Iterator[Figure]:
    """About 190 s at the default sizes, 120 of them the three phases of the hidden limit."""
    yield from anyio.run(_cost, PEOPLE if full else 2000)
    yield from _pace_figures(60.0 if full else 40.0)
    yield from anyio.run(_first_load, PEOPLE)

"""A clock that costs no time, and a server that answers what a test tells it to."""

from __future__ import annotations

import heapq
import json
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from aiohttp import web

from stages.dropbox.options import DropboxOptions
from stages.dropbox.team import HttpTeam

EPOCH = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)


class HurriedClock:
    """`sleep` returns at once and moves the time on by as much."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.slept: list[float] = []

    def now(self) -> datetime:
        return EPOCH + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.seconds += max(0.0, seconds)
        await anyio.lowlevel.checkpoint()


class VirtualClock(HurriedClock):
    """Sleepers wake in order while `run_until` moves the time on. For tasks that wait for nothing else."""

    def __init__(self) -> None:
        super().__init__()
        self._sleepers: list[tuple[float, int, anyio.Event]] = []
        self._number = 0

    async def sleep(self, seconds: float) -> None:
        self._number += 1
        event = anyio.Event()
        heapq.heappush(self._sleepers, (self.seconds + max(0.0, seconds), self._number, event))
        await event.wait()

    async def run_until(self, end_seconds: float) -> None:
        while True:
            for _ in range(12):
                await anyio.lowlevel.checkpoint()
            if not self._sleepers or self._sleepers[0][0] > end_seconds:
                self.seconds = end_seconds
                return
            self.seconds, _, event = heapq.heappop(self._sleepers)
            event.set()


@dataclass
class Seen:
    route: str
    body: Any
    raw: bytes
    headers: dict[str, str]


Answer = tuple[int, Any] | tuple[int, Any, dict[str, str]] | str | Callable[[Any], Any]


@dataclass
class ScriptedDropbox:
    """`script[route]`: answers in turn, the last one stays. An answer is (status, body[, headers]), "drop"
    (the connection dies), "hang" (no reply ever) or a function from the request's body to an answer.
    A body that is no bytes becomes JSON.
    """

    script: defaultdict[str, deque[Answer]] = field(default_factory=lambda: defaultdict(deque))
    seen: list[Seen] = field(default_factory=list)
    url: str = ""
    stopping: anyio.Event = field(default_factory=anyio.Event)

    def on(self, route: str, *answers: Answer) -> None:
        self.script[route] = deque(answers)

    def sent(self, route: str) -> list[Any]:
        return [each.body for each in self.seen if each.route == route]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        route = request.path.removeprefix("/2/")
        try:
            body = json.loads(raw)
        except ValueError:
            body = raw.decode()
        self.seen.append(Seen(route, body, raw, {k.lower(): v for k, v in request.headers.items()}))
        queue = self.script[route]
        if not queue:
            return web.Response(status=404, text=f"not scripted: {route}")
        answer = queue.popleft() if len(queue) > 1 else queue[0]
        if callable(answer):
            answer = answer(body)
        if answer == "drop":
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        if answer == "hang":
            await self.stopping.wait()
            return web.Response()
        assert isinstance(answer, tuple)
        status, content = answer[0], answer[1]
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        headers = {"Content-Type": "application/json", "X-Dropbox-Request-Id": f"{len(self.seen):032x}"}
        return web.Response(
            status=status, body=data, headers=headers | (answer[2] if len(answer) > 2 else {})
        )


@pytest.fixture
def clock() -> HurriedClock:
    return HurriedClock()


@pytest.fixture
def virtual_clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
async def dropbox(anyio_backend: str) -> AsyncIterator[ScriptedDropbox]:
    scripted = ScriptedDropbox()
    app = web.Application()
    app.router.add_post("/{path:.*}", scripted.handle)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    scripted.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield scripted
    scripted.stopping.set()
    await runner.cleanup()


@pytest.fixture
async def make_team(dropbox: ScriptedDropbox, clock: HurriedClock) -> AsyncIterator[Callable[..., HttpTeam]]:
    """HttpTeam on the scripted server, with a high ceiling; options can be overridden."""
    teams: list[HttpTeam] = []

    def make(**options: Any) -> HttpTeam:
        credentials = {} if "refresh_token" in options else {"access_token": "sl.secret-token"}
        values = {"api_url": dropbox.url, "max_requests_per_second": 1000.0, **credentials, **options}
        teams.append(HttpTeam(DropboxOptions(**values), clock))
        return teams[-1]

    yield make
    for team in teams:
        await team.close()


@pytest.fixture
def profile_of() -> Callable[..., dict[str, Any]]:
    """A member as the API shows it."""

    def make(email: str = "ann@example.test", status: str = "active", **fields: Any) -> dict[str, Any]:
        extra = {"is_recoverable": True, "is_disconnected": False} if status == "removed" else {}
        return {
            "profile": {
                "team_member_id": f"dbmid:{email}",
                "email": email,
                "email_verified": True,
                "status": {".tag": status, **extra},
                "name": {
                    "given_name": "Ann",
                    "surname": "Lee",
                    "familiar_name": "Ann",
                    "display_name": "Ann Lee",
                    "abbreviated_name": "AL",
                },
                "membership_type": {".tag": "full"},
                "groups": [],
                "member_folder_id": "20",
                "root_folder_id": "30",
                **fields,
            },
            "roles": [],
        }

    return make

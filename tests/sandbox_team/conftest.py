import functools
import importlib.util
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import dropbox
import pytest
import requests
from requests.adapters import HTTPAdapter

from sandbox.team import SeedMember, TeamConfig, TeamSimulator
from sandbox.team.engine import Call

START = datetime(2026, 11, 20, 9, 0, 0, tzinfo=UTC)


def _load(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


ORACLE = _load("stone_oracle")

PEOPLE = (
    SeedMember("admin@example.com", "Ada", "Admin", admin=True),
    SeedMember("active@example.com", "Ann", "Active", external_id="x-active"),
    SeedMember("invited@example.com", "Ian", "Invited", external_id="x-invited", status="invited"),
    SeedMember("suspended@example.com", "Sue", "Suspended", external_id="x-suspended", status="suspended"),
    SeedMember("removed@example.com", "Rob", "Removed", external_id="x-removed"),
    SeedMember("gone@example.com", "Gus", "Gone", external_id="x-gone"),
)


class Bench:
    """A team without a network: calls go straight into the engine, and the oracle reads every one."""

    def __init__(self, config: TeamConfig) -> None:
        self.simulator = TeamSimulator(config)
        self.team = self.simulator.team
        self.console = self.simulator.console
        self.effects = self.team.effects
        # Tests that move the clock by weeks mean the members, not the token.
        self.simulator.tokens.access[config.access_token].expires = None

    def raw(self, route: str, body: bytes, **headers: str) -> Any:
        sent = {
            "Authorization": f"Bearer {self.simulator.config.access_token}",
            "Content-Type": "application/json",
        }
        call = Call(route, {**sent, **headers}, body, self.team.identifiers.request())
        return self.simulator.engine.answer(call)

    def __call__(self, route: str, argument: Any = None) -> tuple[int, Any]:
        body = json.dumps(argument).encode()
        reply = self.raw(route, body)
        if reply.status in (200, 409):
            complaints = ORACLE.check_exchange(route, body, reply.status, reply.body)
            assert complaints == []
            return reply.status, json.loads(reply.body)
        return reply.status, reply.body.decode()

    def ok(self, route: str, argument: Any = None) -> Any:
        status, payload = self(route, argument)
        assert status == 200, payload
        return payload

    def tag(self, route: str, argument: Any = None) -> str:
        """ "ok" or the tag of the 409."""
        status, payload = self(route, argument)
        assert status in (200, 409), payload
        return "ok" if status == 200 else payload["error"][".tag"]

    def user(self, who: str) -> dict[str, str]:
        """A selector by member id for the seed person of that name."""
        return {".tag": "team_member_id", "team_member_id": self.id(who)}

    def id(self, who: str) -> str:
        email = f"{who}@example.com"
        return next(m.id for m in self.team.members if m.email == email)

    def status(self, who: str) -> str:
        return self.team.members[self.id(who)].status


def make_bench(**fields: Any) -> Bench:
    people = fields.pop("members", PEOPLE)
    bench = Bench(TeamConfig(**{"members": people, "clock": lambda: START, "seats": 50, **fields}))
    if people is PEOPLE:
        bench.console.remove("removed@example.com")
        bench.console.remove("gone@example.com", permanently=True)
    return bench


class _Loopback(HTTPAdapter):
    """Section 7 (c): what the SDK means for api.dropboxapi.com goes to the simulator, in the clear."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = url

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        request.url = request.url.replace("https://api.dropboxapi.com", self._url, 1)
        return super().send(request, **options)


class Sdk:
    """The official client in a worker thread."""

    def __init__(self, simulator: TeamSimulator) -> None:
        self.simulator = simulator
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.mount("https://", _Loopback(simulator.url))
        self.team = self.client(oauth2_access_token=simulator.config.access_token)

    def client(self, kind: Callable[..., Any] = dropbox.DropboxTeam, **options: Any) -> Any:
        return kind(
            session=self._session, max_retries_on_error=0, max_retries_on_rate_limit=0, timeout=10, **options
        )

    async def __call__(self, method: str, *arguments: Any, **named: Any) -> Any:
        return await self.run(getattr(self.team, method), *arguments, **named)

    @staticmethod
    async def run(function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        return await anyio.to_thread.run_sync(functools.partial(function, *arguments, **named))

    def close(self) -> None:
        self._session.close()


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def stone_oracle() -> Any:
    return ORACLE


@pytest.fixture
def bench() -> Callable[..., Bench]:
    """A factory: bench(seats=3, switches=Switches(...))."""
    return make_bench


@pytest.fixture
async def simulator() -> Any:
    """Runs with the seed people; at the end the oracle reads everything that went over the wire."""
    simulator = make_bench().simulator
    async with simulator:
        yield simulator
    complaints = [
        complaint
        for exchange in simulator.team.timeline.exchanges()
        if exchange.route != "oauth2/token" and exchange.status in (200, 409) and exchange.fault is None
        for complaint in ORACLE.check_exchange(
            exchange.route, exchange.request, exchange.status, exchange.reply
        )
    ]
    assert complaints == []


@pytest.fixture
async def sdk(simulator: TeamSimulator) -> Any:
    sdk = Sdk(simulator)
    yield sdk
    sdk.close()

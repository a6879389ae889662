"""The simulated team behind plain HTTP on the loopback: the API, OAuth and the sandbox's own routes on one port."""

import asyncio
import contextlib
import ssl
from collections.abc import Mapping
from typing import Any, Self

from aiohttp import web

from sandbox.team.clock import stamp
from sandbox.team.config import TeamConfig
from sandbox.team.console import Console
from sandbox.team.control import Control
from sandbox.team.effects import Exchange
from sandbox.team.engine import Call, Engine
from sandbox.team.faults import AFTER, BEFORE, Fault, Faults
from sandbox.team.oauth import OAuth
from sandbox.team.spoiling import instead, spoil
from sandbox.team.storage import load, save
from sandbox.team.team import Team
from sandbox.team.wire import Reply

_BODY_LIMIT = 16 * 1024 * 1024
_LOST = Reply(0)


class TeamSimulator:
    def __init__(self, config: TeamConfig | None = None) -> None:
        self.config = config or TeamConfig()
        self.team = Team(self.config)
        self.engine = Engine(self.team)
        stored = self.config.storage
        if stored is None or not stored.exists():
            self.team.seed()
        else:
            load(stored, self.team, self.engine.tokens)
        self.tokens = self.engine.tokens
        self.faults = Faults(self.config.seed)
        self.console = Console(self.engine)
        self.oauth = OAuth(self.tokens)
        self.app = self._application()
        self._runner: web.AppRunner | None = None
        self._url: str | None = None
        self._stopping = asyncio.Event()

    # --- running -------------------------------------------------------------------------------------------------

    def _application(self) -> web.Application:
        app = web.Application(client_max_size=_BODY_LIMIT)
        app.router.add_post("/2/{route:.+}", self._api)
        app.router.add_get("/oauth2/authorize", self._authorize)
        app.router.add_post("/oauth2/token", self._token)
        Control(self).register(app)
        return app

    async def start(
        self, host: str = "127.0.0.1", port: int = 0, ssl_context: ssl.SSLContext | None = None
    ) -> None:
        self._stopping = asyncio.Event()
        # Handlers outlive their clients: a write whose caller gave up takes effect all the same.
        self._runner = web.AppRunner(
            self.app, access_log=None, handler_cancellation=False, shutdown_timeout=1.0
        )
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port, ssl_context=ssl_context)
        await site.start()
        bound = self._runner.addresses[0]
        self._url = f"{'https' if ssl_context else 'http'}://{bound[0]}:{bound[1]}"

    async def stop(self) -> None:
        self._stopping.set()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
        self.save()

    def save(self) -> bool:
        if self.config.storage is None:
            return False
        save(self.config.storage, self.team, self.tokens)
        return True

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.stop()

    @property
    def url(self) -> str:
        if self._url is None:
            raise RuntimeError("the simulator has not been started")
        return self._url

    # --- the API -------------------------------------------------------------------------------------------------

    async def _api(self, request: web.Request) -> web.StreamResponse:
        route = request.match_info["route"]
        body = await request.read()
        call = Call(route, request.headers, body, self.team.identifiers.request())
        return await self._carry_out(request, call, self.engine.answer)

    async def _token(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        call = Call("oauth2/token", request.headers, body, self.team.identifiers.request())
        return await self._carry_out(request, call, self.oauth.token)

    async def _authorize(self, request: web.Request) -> web.StreamResponse:
        return self.oauth.authorize(request.query)

    async def _carry_out(self, request: web.Request, call: Call, answer: Any) -> web.StreamResponse:
        fault = self.faults.pick(call.route)
        kind = fault.kind if fault else ""
        if fault and kind == "delay":
            await asyncio.sleep(fault.seconds)
        if fault and kind in BEFORE:
            if kind == "reset" and fault.value is None:
                fault.value = stamp(self.team.clock.now())
            reply = instead(kind, self.engine.errors, call.route, fault) or _LOST
        else:
            reply = self._effect(call, answer, fault)
            if fault and kind in AFTER:
                reply = _LOST if kind in ("drop_after", "timeout_after") else reply
                reply = reply if reply is _LOST else spoil(kind, reply, self.engine.errors, fault)
        self._record(call, reply, kind)
        if fault and kind == "delay_after":
            await asyncio.sleep(fault.seconds)
        if fault and kind.startswith("timeout"):
            await self._silence(request, fault)
        if reply is _LOST:
            return self._hang_up(request)
        return _response(reply, call.request_id)

    def _effect(self, call: Call, answer: Any, fault: Fault | None) -> Reply:
        launching = self.engine.launching
        launching.force_once = fault is not None and fault.kind == "async"
        launching.fail_once = fault is not None and fault.kind == "job_failed"
        try:
            reply: Reply = answer(call)
        finally:
            launching.force_once = launching.fail_once = False
        return reply

    def _record(self, call: Call, reply: Reply, fault: str) -> None:
        self.team.effects.requests[f"{call.route} {reply.status}"] += 1
        self.team.timeline.add(
            Exchange(
                self.team.clock.now(),
                call.route,
                reply.status,
                call.body,
                reply.body,
                call.request_id,
                fault or None,
                reply.headers.get("Retry-After"),
                reply.content_type,
            )
        )

    async def _silence(self, request: web.Request, fault: Fault) -> None:
        """Say nothing until the client goes away, the server stops, or a fault without end is taken back."""
        while not self._stopping.is_set() and (fault.count is not None or fault in self.faults.queue):
            if request.transport is None or request.transport.is_closing():
                return
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), 0.05)

    @staticmethod
    def _hang_up(request: web.Request) -> web.StreamResponse:
        if request.transport is not None:
            request.transport.close()
        return web.Response(status=500)  # nobody hears it


def _response(reply: Reply, request_id: str) -> web.Response:
    headers: Mapping[str, str] = {
        **reply.headers,
        "Content-Type": reply.content_type,
        "X-Dropbox-Request-Id": request_id,
    }
    return web.Response(status=reply.status, body=reply.body, headers=headers)

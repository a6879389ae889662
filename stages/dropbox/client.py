"""The typed HTTP client: one way to call a route, and four ways in which a call can end (see `answer`)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic_core import from_json  # takes two thirds of the time of json.loads

from pipeline.ports import Clock
from stages.dropbox.answer import Answer, LostReply, NotSent, Reply
from stages.dropbox.breaker import Breaker
from stages.dropbox.oauth import TokenOutOfReach, TokenSource
from stages.dropbox.options import DropboxOptions
from stages.dropbox.pacing import Pacer
from stages.dropbox.refusal import EXPIRED_TAGS, header_seconds, refusal_from, retry_after_seconds
from stages.dropbox.retrying import read_repeatedly
from stages.dropbox.transport import NeverLeft, NoReply, RawReply, Transport

MOST_THROTTLES_A_CALL = 10
LONGEST_HOLD_SECONDS = 600.0  # asked to wait longer: the caller keeps the action for later instead
LONGEST_TROUBLE_HOLD_SECONDS = 60.0  # the same for 503; the breaker looks after longer outages
REMEMBERED_REQUESTS = 20_000


class Client:
    """Calls routes of `api_url`, within one pace for all callers. Raises DropboxSetupError only."""

    def __init__(self, options: DropboxOptions, clock: Clock) -> None:
        self._clock = clock
        self._transport = Transport(options)
        self.tokens = TokenSource(options, self._transport, clock)
        self.pacer = Pacer(
            clock,
            max_requests_per_second=options.max_requests_per_second,
            max_concurrency=options.max_concurrency,
            known_pace=options.known_pace,
        )
        self.breaker = Breaker(clock)
        self._own_requests: dict[str, None] = {}

    async def call(self, route: str, body: Any, *, is_write: bool) -> Answer:
        """`route` as in "team/members/add_v2"; `body` None for routes without an argument (sent as `null`).

        Reads are repeated when nothing came back. A write is sent once; it is sent again only where the vendor
        turned it away unread (429, expired token).
        """
        payload = json.dumps(body, separators=(",", ":")).encode("ascii")
        if is_write:
            return await self._attempt(route, payload, is_write=True)
        return await read_repeatedly(lambda: self._attempt(route, payload, is_write=False), self._clock)

    async def _attempt(self, route: str, payload: bytes, *, is_write: bool) -> Answer:
        may_refresh = True
        for _ in range(MOST_THROTTLES_A_CALL):
            obstacle = self._obstacle(route)
            if obstacle is not None:
                return obstacle
            outcome = await self._send(route, payload, is_write=is_write)
            if not isinstance(outcome, tuple):
                return outcome
            token, raw = outcome
            if raw.status == 429:
                continue
            if raw.status == 200:
                return self._reply(route, raw)
            refusal = refusal_from(route, raw.status, raw.headers, raw.body.replace(token.encode(), b"***"))
            if (
                raw.status == 401
                and may_refresh
                and refusal.tag in EXPIRED_TAGS
                and self.tokens.reject(token)
            ):
                may_refresh = False
                continue
            return refusal
        held = self.pacer.seconds_held()
        return NotSent(route=route, text="the rate limit let nothing through", retry_after=held or None)

    def _obstacle(self, route: str) -> NotSent | None:
        """Why nothing should leave now."""
        closed_seconds = self.breaker.seconds_until_allowed()
        if closed_seconds > 0:
            return NotSent(
                route=route,
                text="Dropbox does not answer; it is tried now and then",
                retry_after=closed_seconds,
            )
        held = self.pacer.seconds_held()
        if held > LONGEST_HOLD_SECONDS:
            return NotSent(route=route, text=f"Dropbox asks to wait for {held:.0f} s", retry_after=held)
        return None

    async def _send(
        self, route: str, payload: bytes, *, is_write: bool
    ) -> tuple[str, RawReply] | NotSent | LostReply:
        """One request on the wire. The reply (with the token it was sent with), or how it was lost."""
        slot = await self.pacer.acquire(is_write=is_write)
        obstacle = self._obstacle(route)  # the outage may have begun while we waited for our turn
        if obstacle is not None:
            self.pacer.released(slot)
            return obstacle
        was_probe = self.breaker.start()
        try:
            token = await self.tokens.token()
            headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
            raw = await self._transport.post(f"/2/{route}", headers=headers, body=payload)
        except (NeverLeft, TokenOutOfReach) as error:
            self.pacer.released(slot)
            self.breaker.failed(was_probe=was_probe)
            return NotSent(route=route, text=str(error), retry_after=getattr(error, "retry_after", None))
        except NoReply as error:
            self.pacer.released(slot)
            self.breaker.failed(was_probe=was_probe)
            return LostReply(route=route, text=str(error))
        except BaseException:  # cancelled, or the client can't be set up
            self.pacer.released(slot)
            self.breaker.abandoned(was_probe=was_probe)
            raise
        if is_write:
            self._remember(raw.headers.get("x-dropbox-request-id", ""))
        if raw.status >= 500:
            self.pacer.released(slot)
            self.breaker.failed(was_probe=was_probe)
            return self._trouble(route, raw)
        self.breaker.succeeded()
        if raw.status == 429:
            self.pacer.refused(slot, retry_after_seconds(raw.headers, raw.body, self._clock.now()))
        else:
            self.pacer.accepted(slot)
        return token, raw

    def _trouble(self, route: str, raw: RawReply) -> LostReply:
        """5xx: bodies are often empty, and the effect may have happened all the same."""
        asked = header_seconds(raw.headers, self._clock.now())
        if asked:
            self.pacer.hold(min(asked, LONGEST_TROUBLE_HOLD_SECONDS))
        return LostReply(
            route=route,
            text=f"Dropbox answered with status {raw.status}",
            retry_after=asked,
            request_id=raw.headers.get("x-dropbox-request-id", ""),
        )

    def _reply(self, route: str, raw: RawReply) -> Reply | LostReply:
        request_id = raw.headers.get("x-dropbox-request-id", "")
        if not raw.body.strip():
            return Reply(body=None, request_id=request_id)  # as good as `null` on routes without a result
        try:
            return Reply(body=from_json(raw.body), request_id=request_id)
        except ValueError:
            return LostReply(route=route, text="the reply could not be read", request_id=request_id)

    def _remember(self, request_id: str) -> None:
        if not request_id:
            return
        self._own_requests[request_id] = None
        if len(self._own_requests) > REMEMBERED_REQUESTS:
            del self._own_requests[next(iter(self._own_requests))]

    def is_own_request(self, request_id: str) -> bool:
        """Whether one of our writes since start carried this id (`dbarid:` in the team's event log)."""
        return request_id.removeprefix("dbarid:") in self._own_requests

    def pace(self) -> Mapping[str, float]:
        return {**self.pacer.snapshot(), "circuit_open": float(self.breaker.is_open)}

    async def close(self) -> None:
        await self._transport.close()

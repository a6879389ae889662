"""Who may see a page of this program: a ticket that is good once becomes a cookie; and what browsers are told to keep from others.

A port on loopback is open to every account of the machine, and to every page that its browsers show.
"""

from __future__ import annotations

import hmac
import math
import secrets
import time
from collections.abc import Awaitable, Callable, Collection

from aiohttp import web

CLOSED_POLICY = "default-src 'none'; frame-ancestors 'none'"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_MOST_TICKETS = 16
_MOST_SESSIONS = 16


class Admission:
    """Tickets and sessions, in memory only. `cookie` is the cookie's name; seconds count from issue, on a monotonic clock.

    There are only so many of each at a time: a new one takes the oldest one's place.
    """

    def __init__(
        self,
        cookie: str,
        *,
        ticket_seconds: float = math.inf,
        session_seconds: float = math.inf,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.cookie = cookie
        self._ticket_seconds = ticket_seconds
        self._session_seconds = session_seconds
        self._now = now
        self._tickets: dict[str, float] = {}  # when each is no longer good
        self._sessions: dict[str, float] = {}

    def ticket(self) -> str:
        """Whoever shows it first is let in."""
        return self._issue(self._tickets, self._ticket_seconds, _MOST_TICKETS)

    def admit(self, given: str, refusal: str, *, is_secure: bool = False) -> web.Response:
        """Takes a ticket, and leads to the page without it in the address. HTTPForbidden with `refusal`.

        `is_secure`: the cookie never goes over a connection without TLS.
        """
        if (ticket := self._found(self._tickets, given)) is None:
            raise web.HTTPForbidden(text=refusal)
        del self._tickets[ticket]
        session = self._issue(self._sessions, self._session_seconds, _MOST_SESSIONS)
        answer = web.Response(status=303, headers={"Location": "/"})
        age = None if math.isinf(self._session_seconds) else int(self._session_seconds)
        answer.set_cookie(
            self.cookie, session, httponly=True, samesite="Strict", path="/", max_age=age, secure=is_secure
        )
        return answer

    def knows(self, request: web.Request) -> bool:
        return self._found(self._sessions, request.cookies.get(self.cookie, "")) is not None

    def _issue(self, issued: dict[str, float], seconds: float, most: int) -> str:
        while len(issued) >= most:
            del issued[next(iter(issued))]
        one = secrets.token_urlsafe(32)
        issued[one] = self._now() + seconds
        return one

    def _found(self, issued: dict[str, float], given: str) -> str | None:
        """In a time that does not tell how much of it was right."""
        now = self._now()
        return next(
            (
                one
                for one, until in issued.items()
                if hmac.compare_digest(given.encode("utf-8", "replace"), one.encode()) and now < until
            ),
            None,
        )


def require_host(request: web.Request, hosts: Collection[str], refusal: str) -> None:
    """HTTPForbidden for another name that leads here: that is somebody else's page (DNS rebinding)."""
    if request.headers.get("Host", "").lower() not in hosts:
        raise web.HTTPForbidden(text=refusal)


async def closed_off(request: web.Request, handler: Handler) -> web.StreamResponse:
    """The answer, or the refusal, as nobody keeps, frames or loads it; without a policy of its own the page may load nothing."""
    try:
        answer = await handler(request)
    except web.HTTPException as error:
        _close_off(error)
        raise
    _close_off(answer)
    return answer


def _close_off(answer: web.StreamResponse) -> None:
    answer.headers.setdefault("Content-Security-Policy", CLOSED_POLICY)
    answer.headers.update(
        {
            "Cache-Control": "no-store",
            "Cross-Origin-Resource-Policy": "same-origin",
            # Not "no-referrer": then browsers send the origin of a form as "null" (Fetch, 3.2).
            "Referrer-Policy": "same-origin",
            "X-Content-Type-Options": "nosniff",
            "X-Frame-Options": "DENY",
        }
    )

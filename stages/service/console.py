"""The console's door: who may look, by which address, and that nothing can be changed from there.

What the pages say is made by whoever is asked for them (`Show`). There are no forms that change something and no scripts:
an approval by HTTP would be one click on somebody else's page.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from aiohttp import web

from stages.service.admission import CLOSED_POLICY, Admission, Handler, closed_off, require_host

COOKIE = "ad_connector_console"
TICKET_SECONDS = 300.0
SESSION_SECONDS = 12 * 3600.0
_POLICY = "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
_HOW_TO_OPEN = "This page shows people's names. To open it, type on this machine:  ad-connector status --console\nand open the address that it prints.\n"


@dataclass(frozen=True, slots=True)
class Shown:
    """One page: its HTTP status and its HTML."""

    status: int
    html: str


Show = Callable[[str, Mapping[str, str]], Awaitable[Shown]]
"""A page by its name and its query; never raises."""


class Console:
    """The pages named in `pages` ("" is the first one), at `/NAME`, in the style `style`."""

    def __init__(self, show: Show, *, pages: tuple[str, ...], style: str) -> None:
        self._show = show
        self._pages = pages
        self._style = style
        self._admission = Admission(COOKIE, ticket_seconds=TICKET_SECONDS, session_seconds=SESSION_SECONDS)
        self._base = ""

    def address(self) -> str:
        """Good once, for `TICKET_SECONDS`. "" while nothing is served."""
        return f"{self._base}/open?key={self._admission.ticket()}" if self._base else ""

    def stands_at(self, base: str) -> None:
        """`base`: scheme, host and port that lead here."""
        self._base = base
        # Browsers keep the cookies of all ports of a host together: one team's console would close another's.
        self._admission.cookie = f"{COOKIE}_{base.rpartition(':')[2]}"

    def add_to(self, router: web.UrlDispatcher) -> None:
        # No HEAD: whoever asks what an address leads to would use up its ticket.
        router.add_get("/open", self._guarded(self._open, is_open=True), allow_head=False)
        router.add_get("/console.css", self._guarded(self._styled), allow_head=False)
        for name in self._pages:
            router.add_get(f"/{name}", self._guarded(self._page(name)), allow_head=False)

    def _guarded(self, handler: Handler, *, is_open: bool = False) -> Handler:
        async def judged(request: web.Request) -> web.StreamResponse:
            if not request.secure:  # with TLS the certificate speaks for the name
                require_host(request, _hosts(request), "open the address that `status --console` prints\n")
            if not is_open and not self._admission.knows(request):
                raise web.HTTPForbidden(text=_HOW_TO_OPEN)
            return await handler(request)

        async def guarded(request: web.Request) -> web.StreamResponse:
            return await closed_off(request, judged)

        return guarded

    async def _open(self, request: web.Request) -> web.StreamResponse:
        return self._admission.admit(
            request.query.get("key", ""),
            f"This address was used before, is too old, or is wrong.\n{_HOW_TO_OPEN}",
            is_secure=request.secure,
        )

    async def _styled(self, _request: web.Request) -> web.StreamResponse:
        return web.Response(
            text=self._style, content_type="text/css", headers={"Content-Security-Policy": CLOSED_POLICY}
        )

    def _page(self, name: str) -> Handler:
        async def page(request: web.Request) -> web.StreamResponse:
            shown = await self._show(name, request.query)
            return web.Response(
                status=shown.status,
                text=shown.html,
                content_type="text/html",
                headers={"Content-Security-Policy": _POLICY},
            )

        return page


def _hosts(request: web.Request) -> frozenset[str]:
    """By which names a browser on this machine may have come: those of loopback, with the port that it came to."""
    found = request.transport.get_extra_info("sockname") if request.transport is not None else None
    if not found:
        return frozenset()
    port = found[1]
    return frozenset(f"{name}:{port}" for name in ("127.0.0.1", "localhost", "[::1]", found[0]))

"""The set-up in a browser: a page on loopback that shows a conversation and sends the answers back.

Who may use it: whoever opened the address with its token, which is good once. From then on a cookie that no script
and no other site can use, a form token in every form, and the host and the origin of each request are what is checked.
Nothing is loaded from anywhere, and no script runs.
"""

from __future__ import annotations

import hmac
import secrets
from html import escape

import anyio
import anyio.to_thread
from aiohttp import web
from anyio.abc import TaskStatus

from stages.service.admission import Admission, Handler, closed_off, require_host
from stages.service.conversation import Conversation, Shown

HOST = "127.0.0.1"
_COOKIE = "ad_connector_setup"
_PATIENCE_SECONDS = 20.0
_MAX_ANSWER = 65_536  # characters; more than any secret
_STYLE = (
    "body{font:16px/1.5 sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#111;background:#fff}"
    "pre{white-space:pre-wrap;overflow-wrap:anywhere;background:#f3f3f3;padding:1rem}"
    "label{display:block;font-weight:bold}input{font:inherit;width:100%;padding:.4rem;box-sizing:border-box}"
    "button{font:inherit;margin-top:1rem;padding:.4rem 1.5rem}"
)


class SetupPage:
    """`address` is good once. `serve` runs until it is cancelled."""

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation
        self._admission = Admission(_COOKIE)
        self._token = self._admission.ticket()
        self._form_token = secrets.token_urlsafe(32)
        self._port = 0
        self._limiter = anyio.CapacityLimiter(8)
        self.end_was_shown = anyio.Event()

    @property
    def address(self) -> str:
        return f"{self._origin}/start?token={self._token}"

    @property
    def _origin(self) -> str:
        return f"http://{HOST}:{self._port}"

    async def serve(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        app = web.Application(middlewares=[self._guarded], client_max_size=4 * _MAX_ANSWER)
        app.router.add_get("/start", self._start)
        app.router.add_get("/", self._show)
        app.router.add_post("/answer", self._answer)
        # No access log: the address of the first request holds the token.
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await runner.setup()
        try:
            await web.TCPSite(runner, HOST, 0).start()
            self._port = runner.addresses[0][1]
            task_status.started()
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await runner.cleanup()

    @web.middleware
    async def _guarded(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        async def judged(request: web.Request) -> web.StreamResponse:
            require_host(request, {f"{HOST}:{self._port}"}, "open the address that the terminal shows")
            if request.path != "/start" and not self._admission.knows(request):
                raise web.HTTPForbidden(
                    text="this page belongs to whoever opened the address of the terminal"
                )
            return await handler(request)

        return await closed_off(request, judged)

    async def _start(self, request: web.Request) -> web.StreamResponse:
        return self._admission.admit(
            request.query.get("token", ""),
            "this address was used before, or is wrong: start configure --web again",
        )

    async def _show(self, _request: web.Request) -> web.StreamResponse:
        shown = await anyio.to_thread.run_sync(
            self._conversation.wait_blocking, _PATIENCE_SECONDS, limiter=self._limiter
        )
        nonce = secrets.token_urlsafe(16)
        if shown.is_over:
            self.end_was_shown.set()
        return web.Response(
            text=_page(shown, self._form_token, nonce),
            content_type="text/html",
            headers={
                "Content-Security-Policy": f"default-src 'none'; style-src 'nonce-{nonce}'; form-action 'self'; "
                "base-uri 'none'; frame-ancestors 'none'"
            },
        )

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Origin") != self._origin:
            raise web.HTTPForbidden(text="this answer comes from another page")
        form = await request.post()
        token, number, answer = (str(form.get(name, "")) for name in ("form", "number", "answer"))
        if not hmac.compare_digest(token.encode(), self._form_token.encode()):
            raise web.HTTPForbidden(text="this answer comes from another page")
        if number.isascii() and number.isdigit() and len(answer) <= _MAX_ANSWER:
            # One that comes twice, or too late, changes nothing: the page shows what is asked now.
            self._conversation.answer(int(number[:9]), answer, goes_back="back" in form)
        return web.Response(status=303, headers={"Location": "/"})


def _page(shown: Shown, form_token: str, nonce: str) -> str:
    lines = "\n".join(_line(line, is_address=line in shown.addresses) for line in shown.lines)
    refresh = "" if shown.prompt or shown.is_over else '<meta http-equiv="refresh" content="1">'
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8">{refresh}'
        f'<title>ad-connector configure</title><style nonce="{nonce}">{_STYLE}</style></head><body>'
        f"<h1>Set-up of the Dropbox AD connector</h1><pre>{lines}</pre>{_form(shown, form_token)}</body></html>"
    )


def _line(line: str, *, is_address: bool) -> str:
    text = escape(line)
    return f'<a href="{text}" target="_blank" rel="noopener noreferrer">{text}</a>' if is_address else text


def _form(shown: Shown, form_token: str) -> str:
    if shown.is_over:
        return "<p>This page can be closed.</p>"
    if shown.prompt is None:
        return "<p>Testing &hellip;</p>"
    prompt = shown.prompt
    kind = "password" if prompt.is_hidden else "text"
    return (
        f'<form method="post" action="/answer" autocomplete="off">'
        f'<input type="hidden" name="form" value="{escape(form_token)}">'
        f'<input type="hidden" name="number" value="{prompt.number}">'
        f'<label for="answer">{escape(prompt.text)}</label>'
        f'<input id="answer" name="answer" type="{kind}" value="{escape(prompt.default)}" autofocus>'
        # The first button is the one that Enter presses.
        f'<button type="submit">Next</button> <button type="submit" name="back" value="1">Back</button></form>'
    )

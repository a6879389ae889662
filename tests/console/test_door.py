"""Who may look at the console, by which address, and that nothing else is let in."""

from collections.abc import AsyncIterator
from http.cookies import SimpleCookie
from pathlib import Path

import aiohttp
import anyio
import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from pipeline import log
from pipeline.app.watching import Watch
from pipeline.errors import ControlError
from stages.service.admission import Admission
from stages.service.console import COOKIE, Console, Shown
from stages.service.health import Reading, serving
from stages.service.supervisor import Supervisor
from tests.console.scene import Visitor, path_of
from tests.pipeline.world import World

pytestmark = pytest.mark.anyio


@pytest.fixture
async def visitor() -> AsyncIterator[Visitor]:
    async def show(name: str, query: object) -> Shown:
        return Shown(200, f"<p>the page {name or 'now'} with names of people</p>")

    async def read() -> Reading:
        return Reading(values={("managed_members", ""): 3})

    console = Console(show, pages=("", "journal"), style="p{color:red}")
    async with (
        serving("127.0.0.1:0", read, None, console) as base,
        aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session,
    ):
        yield Visitor(base, console, session)


@pytest.mark.parametrize("path", ["/", "/journal", "/console.css", "/open", "/open?key=guess", "/open?key="])
async def test_without_its_address_nothing_is_shown_but_how_to_get_it(visitor: Visitor, path: str) -> None:
    page = await visitor.get(path)
    assert page.status == 403
    assert "ad-connector status --console" in page.text
    assert "people with names" not in page.text
    assert page.headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"


async def test_an_address_opens_it_once_and_leaves_no_key_in_the_browser(visitor: Visitor) -> None:
    path = path_of(visitor.console.address())
    reply = await visitor.session.get(f"{visitor.base}{path}", allow_redirects=False)
    assert (reply.status, reply.headers["Location"]) == (303, "/")
    (cookie,) = SimpleCookie(reply.headers["Set-Cookie"]).values()
    assert cookie.key == f"{COOKIE}_{visitor.base.rpartition(':')[2]}", (
        "beside that of another team's console"
    )
    assert cookie["httponly"]
    assert cookie["samesite"] == "Strict"
    assert cookie.value not in path
    assert (await visitor.get("/")).status == 200
    assert (await visitor.get("/journal")).status == 200
    assert (await visitor.get("/console.css")).text == "p{color:red}"
    visitor.session.cookie_jar.clear()
    assert (await visitor.get(path)).status == 403, "good once"


async def test_two_admins_have_an_address_each(visitor: Visitor) -> None:
    first, second = visitor.console.address(), visitor.console.address()
    assert first != second
    for address in (first, second):
        visitor.session.cookie_jar.clear()
        assert (await visitor.get(path_of(address))).status == 200


async def test_monitors_need_no_key_as_before(visitor: Visitor) -> None:
    for path in ("/healthz", "/readyz", "/metrics"):
        assert (await visitor.get(path)).status == 200


@pytest.mark.parametrize(
    "host", ["evil.example.test", "evil.example.test:{port}", "127.0.0.1", "127.0.0.1:1", ""]
)
async def test_another_name_that_leads_here_is_refused(visitor: Visitor, host: str) -> None:
    assert (await visitor.open()).status == 200
    host = host.format(port=visitor.base.rpartition(":")[2])
    assert (await visitor.get("/", headers={"Host": host})).status == 403
    ticket = path_of(visitor.console.address())
    assert (await visitor.get(ticket, headers={"Host": host})).status == 403
    assert (await visitor.get(ticket)).status == 200, "and the ticket was not used up by it"


async def test_localhost_is_another_name_of_loopback(visitor: Visitor) -> None:
    await visitor.open()
    port = visitor.base.rpartition(":")[2]
    assert (await visitor.get("/", headers={"Host": f"LOCALHOST:{port}"})).status == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"])
async def test_it_only_answers_to_looking(visitor: Visitor, method: str) -> None:
    await visitor.open()
    for path in ("/", "/journal", "/open"):
        assert (await visitor.get(path, method)).status == 405
    ticket = path_of(visitor.console.address())
    assert (await visitor.get(ticket, method)).status == 405
    assert (await visitor.get(ticket)).status == 200, "a ticket is not used up by it"


async def test_a_page_is_kept_framed_and_read_by_nobody_else_and_runs_no_script(visitor: Visitor) -> None:
    headers = (await visitor.open()).headers
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    policy = headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; style-src 'self';")
    assert "script" not in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert "form-action 'self'" in policy


class Time:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


async def test_tickets_and_sessions_end_and_are_never_more_than_a_few() -> None:
    time = Time()
    admission = Admission("c", ticket_seconds=300, session_seconds=3600, now=time)
    late = admission.ticket()
    time.seconds = 300
    with pytest.raises(web.HTTPForbidden):
        admission.admit(late, "too late")
    first = admission.ticket()
    for _ in range(16):
        admission.ticket()
    with pytest.raises(web.HTTPForbidden):
        admission.admit(first, "others came after it")

    def known(answer: web.Response) -> bool:
        request = make_mocked_request("GET", "/", headers={"Cookie": f"c={answer.cookies['c'].value}"})
        return admission.knows(request)

    answer = admission.admit(admission.ticket(), "")
    assert answer.cookies["c"]["max-age"] == "3600"
    assert known(answer)
    time.seconds += 3600
    assert not known(answer)


async def test_no_address_while_nothing_is_served() -> None:
    async def show(_name: str, _query: object) -> Shown:
        raise AssertionError

    assert Console(show, pages=(), style="").address() == ""


def test_the_log_never_holds_a_key(tmp_path: Path) -> None:
    """The server keeps no access log: the first address holds the key."""
    file = tmp_path / "log"
    log.configure(log.LogOptions(path=file, level="debug", to_stderr=False))

    async def look() -> str:
        async def show(_name: str, _query: object) -> Shown:
            return Shown(200, "x")

        async def read() -> Reading:
            return Reading()

        console = Console(show, pages=("",), style="")
        async with serving("127.0.0.1:0", read, None, console) as base, aiohttp.ClientSession() as session:
            visitor = Visitor(base, console, session)
            address = console.address()
            await visitor.get(path_of(address))
            return address.rpartition("=")[2]

    try:
        key = anyio.run(look)
    finally:
        log.close()
    assert key not in (file.read_text() if file.exists() else "")


async def test_a_watch_without_a_port_says_so(tmp_path: Path) -> None:
    settings = World(tmp_path, config={"service": {"listen": ""}}).settings()
    watch = Watch(
        settings,
        None,  # type: ignore[arg-type]
        load=lambda: settings,
        configure_log=lambda _settings: None,
        supervisor=Supervisor({}),
    )
    with pytest.raises(ControlError, match=r"service\.listen"):
        await watch._answer({"command": "console"})

"""`configure --web`: the same on a page; and nobody but who opened the address with its token can see it or answer."""

import re
import stat
import subprocess
import sys
import tomllib
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from html.parser import HTMLParser
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given, settings

from stages.service.conversation import Prompt, Shown
from stages.service.setup_page import _page
from tests.browser import Chromium
from tests.hostile.words import texts
from tests.setup.dialogue import PATIENCE_SECONDS, Outside


class Form(HTMLParser):
    """The fields of a page by name: type and value; and all tags."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.fields: dict[str, tuple[str, str]] = {}
        self.tags: list[str] = []
        self.label = ""
        self._in = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self._in = tag
        named = {name: value or "" for name, value in attrs}
        assert not any(name.startswith("on") for name in named)
        if tag == "input":
            self.fields[named["name"]] = (named["type"], named["value"])

    def handle_data(self, data: str) -> None:
        if self._in == "label":
            self.label += data

    def handle_endtag(self, _tag: str) -> None:
        self._in = ""


class Browser:
    """Cookies, redirects, forms, and the headers that a browser sends by itself."""

    def __init__(self, origin: str) -> None:
        self.origin = origin
        self.jar = CookieJar()
        self._opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self.jar))
        self.page = ""
        self.headers: Any = {}

    def open(self, path: str, fields: dict[str, str] | None = None, **headers: str) -> int:
        body = None if fields is None else urllib.parse.urlencode(fields).encode()
        own = {"Origin": self.origin} if fields is not None else {}
        request = urllib.request.Request(f"{self.origin}{path}", body, {**own, **headers})
        try:
            with self._opener.open(request, timeout=PATIENCE_SECONDS) as answer:
                self.page, self.headers = answer.read().decode(), answer.headers
                return int(answer.status)
        except urllib.error.HTTPError as error:
            with error:
                self.page, self.headers = error.read().decode(), error.headers
                return int(error.code)

    def until_asked(self, what: str) -> Form:
        """Looks again as long as the page says that it is testing."""
        while (form := Form(self.page)) and "answer" not in form.fields and "Testing" in self.page:
            assert self.open("/") == 200
        assert what in form.label, self.page
        return form

    def answer(self, what: str, text: str | None) -> None:
        """`None` leaves the field as it is filled."""
        form = self.until_asked(what)
        fields = {name: value for name, (_, value) in form.fields.items()}
        assert self.open("/answer", fields if text is None else {**fields, "answer": text}) == 200


@pytest.fixture
def page(outside: Outside) -> Iterator["Page"]:
    outside.file.touch(mode=0o600)
    outside.file.write_text(
        f'simulation = true\n[directory]\nservers = ["{outside.server.ldaps_url}"]\nusername = "{outside.account}"\n'
        f'ca_file = "{outside.server.ca_file}"\n'
    )
    running = Page(outside)
    yield running
    running.process.kill()
    running.process.communicate()


class Page:
    def __init__(self, outside: Outside) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "pipeline", "configure", "--web"],
            cwd=outside.folder,
            env={**outside.environment, "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert self.process.stdout is not None
        found = None
        said = ""
        while found is None:
            line = self.process.stdout.readline()
            said += line
            assert line, said
            found = re.search(r"(http://127\.0\.0\.1:\d+)(/start\?token=\S+)", line)
        self.origin, self.start = found[1], found[2]


def test_one_thing_is_changed_in_a_browser_and_only_by_whom_it_belongs_to(
    page: Page, outside: Outside
) -> None:
    browser, stranger = Browser(page.origin), Browser(page.origin)
    assert stranger.open("/") == 403
    assert stranger.open("/start?token=guess") == 403
    assert browser.open("/", Host="evil.example.test") == 403
    assert browser.open(page.start) == 200
    assert stranger.open(page.start) == 403, "the address is good once"
    (cookie,) = browser.jar
    assert cookie.has_nonstandard_attr("HttpOnly")
    assert cookie.get_nonstandard_attr("SameSite") == "Strict"

    form = browser.until_asked("What shall be changed")
    policy = browser.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; style-src 'nonce-")
    assert "form-action 'self'" in policy
    assert browser.headers["Cache-Control"] == "no-store"
    fields = {name: value for name, (_, value) in form.fields.items()} | {"answer": "q"}
    assert stranger.open("/answer", fields) == 403
    assert browser.open("/answer", fields, Origin="http://evil.example.test") == 403
    assert browser.open("/answer", fields, Origin="null") == 403
    assert browser.open("/answer", {**fields, "form": "guess"}) == 403
    assert browser.open("/answer", {**fields, "number": "99"}) == 200, (
        "an answer to another question is not one"
    )
    browser.answer("What shall be changed", "directory")
    browser.answer("Domain controllers", None)
    browser.answer("Certificate authority", None)
    browser.answer("Sign-in", None)
    browser.answer("Account that reads", None)
    browser.answer("where is it kept", None)
    browser.answer("File", "ad-password")
    assert browser.until_asked("Its password").fields["answer"] == ("password", "")
    browser.answer("Its password", outside.password)
    browser.answer("What shall be changed", "simulation")
    browser.answer("Simulation mode", "no")
    browser.answer("What shall be changed", "s")
    browser.answer("Save ", None)
    assert "sign in: as svc-dropbox@example.test" in browser.page
    assert "Saved:" in browser.page
    assert "can be closed" in browser.page
    assert outside.password not in browser.page
    assert page.process.wait(PATIENCE_SECONDS) == 0
    assert page.process.stdout is not None
    assert f"Saved: {outside.file}" in page.process.stdout.read(), "it is said where it was started, too"
    values = tomllib.loads(outside.file.read_text())
    assert values["simulation"] is False
    assert values["directory"]["password"] == "file:ad-password"
    assert stat.S_IMODE((outside.folder / "ad-password").stat().st_mode) == 0o600


class Admin(Chromium):
    async def answer(self, label: str, text: str | None) -> None:
        field = "document.getElementById('answer')"
        await self.until(
            f"document.readyState === 'complete' && {field} && document.querySelector('label').textContent.includes({label!r})"
        )
        if text is not None:
            await self.value(f"{field}.value = {text!r}")
        await self.value("document.querySelector('button').click()")

    async def go_back(self, label: str) -> None:
        await self.until(
            f"document.readyState === 'complete' && document.querySelector('label')?.textContent.includes({label!r})"
        )
        await self.value("document.querySelector('button[name=back]').click()")


def test_a_real_browser_can_do_it_too(page: Page, outside: Outside, tmp_path: Path) -> None:
    async def act() -> None:
        await browser.call("Page.navigate", url=f"{page.origin}{page.start}")
        await browser.until("document.title === 'ad-connector configure'")
        assert await browser.value("document.cookie") == "", "no script can read the cookie"
        assert "token" not in await browser.value("location.href")
        assert await browser.value("getComputedStyle(document.body).maxWidth") == "960px", (
            "its style is let through"
        )
        await browser.answer("What shall be changed", "simulation")
        await browser.answer("Simulation mode", "no")
        await browser.answer("What shall be changed", "directory")
        await browser.answer("Domain controllers", "ldaps://127.0.0.1:1")
        await browser.answer("k: keep it", "")
        await browser.answer("Domain controllers", outside.server.ldaps_url)
        await browser.go_back("Certificate authority")
        await browser.answer("Domain controllers", None)
        await browser.answer("Certificate authority", None)
        await browser.answer("Sign-in", None)
        await browser.answer("Account that reads", None)
        await browser.answer("where is it kept", "env")
        await browser.answer("Name of the environment variable", "AD_PASSWORD")
        await browser.answer("What shall be changed", "dropbox")
        await browser.answer("App key", outside.team.config.app_key)
        await browser.answer("where is it kept", None)
        await browser.answer("File", None)
        await browser.until("document.querySelector('a[target=_blank][rel~=noopener]') !== null")
        address = await browser.value("document.querySelector('a').href")
        assert address.startswith(f"{outside.team.url}/oauth2/authorize?")
        assert await browser.value("document.querySelectorAll('a').length") == 1
        await browser.answer("Code", "")
        await browser.answer("What shall be changed", "s")
        await browser.answer("Save ", None)
        await browser.until("document.body.textContent.includes('can be closed')")

    with Admin.started(tmp_path / "chromium") as browser:
        anyio.run(browser.use, act)
    assert page.process.wait(PATIENCE_SECONDS) == 0
    assert tomllib.loads(outside.file.read_text())["simulation"] is False


@settings(max_examples=40, deadline=None)
@given(line=texts, text=texts, default=texts)
def test_nothing_that_is_shown_becomes_a_part_of_the_page(line: str, text: str, default: str) -> None:
    plain = Form(_page(Shown(("x",), Prompt(1, "x", "x"), is_over=False), "t", "n"))
    found = Form(_page(Shown((line,), Prompt(1, text, default), is_over=False), "t", "n"))
    assert found.tags == plain.tags
    assert set(found.fields) == {"form", "number", "answer"}

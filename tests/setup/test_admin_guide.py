"""The admin guide, typed into the sandbox as it stands: from nothing to a scheduled, mailing, monitored connector.

Only what a new admin has to put in their own words is put in: names, addresses and passwords of the place, the code from
the browser. Nothing of this machine is changed: what `schedule install` would write goes below a folder.
"""

import re
import shlex
import shutil
import subprocess
import sys
import time
import tomllib
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from socket import socket

import pytest
from anyio.from_thread import start_blocking_portal

from sandbox.environment import Sandbox
from sandbox.mailbox import Mailbox
from sandbox.samba import missing_for_samba
from tests.setup.dialogue import MAIL_ACCOUNT, MAIL_PASSWORD, PATIENCE_SECONDS, ROOT, Outside

GUIDE = ROOT / "docs" / "admin-guide.md"
STEPS = range(1, 9)
HERE_ALREADY = ("git clone ", "cd ad-connector", "sudo ln ")
"""The checkout that the test runs from is the clone; that a fresh one sets itself up is shown by the demo, and that a link is the
connector by the tests of `run`."""


@dataclass(frozen=True)
class Step:
    """One step of the guide: command lines in their order."""

    title: str
    commands: tuple[str, ...]


def _steps() -> list[Step]:
    text = GUIDE.read_text(encoding="utf-8")
    found = []
    for number in STEPS:
        title, _, rest = text.partition(f"\n## {number}. ")[2].partition("\n")
        body = rest.partition("\n## ")[0].partition("\n### ")[0]
        blocks = re.findall(r"^```sh\n(.*?)^```", body, re.MULTILINE | re.DOTALL)
        lines = [line for block in blocks for line in block.splitlines() if line.strip()]
        found.append(Step(f"{number}. {title}", tuple(lines)))
    return found


def _answers(command: str) -> list[tuple[str, str]]:
    """The table of what is asked and typed."""
    text = (
        GUIDE.read_text(encoding="utf-8").partition(f"<!-- answers: {command} -->\n")[2].partition("\n\n")[0]
    )
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()[2:]]
    return [(question, answer) for question, answer in rows]


def test_the_guide_has_the_steps_of_the_help_article_in_its_order() -> None:
    titles = " / ".join(step.title for step in _steps())
    assert titles == (
        "1. Install / 2. Prepare the directory / 3. Prepare Dropbox / 4. Configure / 5. Check / "
        "6. Test run: look at the plan / 7. The first real pass / 8. Let it run"
    )
    assert sum(len(step.commands) for step in _steps()) > 15
    assert len(_answers("configure")) > 25


@pytest.fixture
def place(tmp_path: Path) -> Iterator["Place"]:
    if missing := missing_for_samba():
        pytest.skip(missing)
    sandbox = Sandbox(tmp_path / "sandbox", cache=ROOT / ".sandbox" / "cache")
    sandbox.mailbox = Mailbox(sandbox.authority, username=MAIL_ACCOUNT, password=MAIL_PASSWORD)
    with start_blocking_portal("asyncio") as portal, portal.wrap_async_context_manager(sandbox):
        with sandbox.administrator() as administrator:
            administrator.create_user("Ann Lee", given_name="Ann", surname="Lee", mail="ann@example.test")
            administrator.add_members("Dropbox", "Ann Lee")
            # So that the right to see deletions can be proven, as step 5 advises.
            administrator.create_user("Test Account")
            administrator.delete("Test Account")
        yield Place(sandbox, tmp_path / "home")


class Place:
    """An admin's shell, in which `ad-connector` is the checkout's."""

    def __init__(self, sandbox: Sandbox, home: Path) -> None:
        home.mkdir()
        self.sandbox = sandbox
        self.folder = home
        self.image = home / "image"
        with closing(socket()) as free:
            free.bind(("127.0.0.1", 0))
            self.listen = f"127.0.0.1:{free.getsockname()[1]}"
        self.outside = Outside(home, sandbox.facts, sandbox.team, sandbox.mailbox)
        self.environment = {**self.outside.environment, "AD_CONNECTOR__SERVICE__LISTEN": self.listen}
        self.transcript: list[str] = []

    def in_own_words(self, answer: str) -> str:
        known = {
            "Enter": "",
            "*the key of your app*": self.sandbox.team.config.app_key,
            "ldaps://dc1.example.test": self.sandbox.facts.ldaps_url,
            "svc-dropbox@example.test": self.sandbox.facts.service_account,
            "*its password*": self.sandbox.facts.service_password,
            "smtp.example.test": self.sandbox.mailbox.host,
            "587": str(self.sandbox.mailbox.port),
            "*the connector's mail account*": MAIL_ACCOUNT,
            "*its mail password*": MAIL_PASSWORD,
        }
        return known.get(answer, answer)

    def type(self, line: str) -> str:
        """One command line of the guide; what it showed."""
        words = shlex.split(line, comments=True)
        if words[0] == "sudo":
            words = words[1:]
        if words[0] == "cd":
            self.folder = self.folder / words[1]
            shutil.copy(self.sandbox.authority.ca_file, self.folder / "corporate-ca.pem")
            return ""
        if words[:2] == ["ad-connector", "configure"]:
            return self._answer(words[1:])
        if words[0] == "curl":
            with urllib.request.urlopen(words[1].replace("127.0.0.1:8734", self.listen), timeout=10) as page:
                return str(page.read().decode())
        if words[:2] == ["ad-connector", "schedule"]:
            words += ["--system", "systemd", "--root", str(self.image)]
        if words[0] == "ad-connector":
            words = [sys.executable, "-P", "-m", "pipeline", *words[1:]]
        if words[0] == "./run":
            words[0] = str(ROOT / "run")
        done = subprocess.run(
            words,
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_SECONDS,
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
        return done.stdout + done.stderr

    def _answer(self, arguments: list[str]) -> str:
        self.outside.folder = self.folder
        talk = self.outside.start(*arguments, environment=self.environment)
        for question, answer in _answers(" ".join(arguments)):
            if question == "Code":
                talk.answer(question, talk.code_from_page())
            else:
                talk.answer(question, self.in_own_words(answer))
        assert talk.end() == 0, talk.shown
        assert "failed" not in talk.shown
        return talk.shown

    @contextmanager
    def service(self) -> Iterator[None]:
        """What systemd would do with the unit that was installed."""
        (unit,) = [file for file in self.image.rglob("*.service") if not file.is_symlink()]
        entries = dict(
            line.split("=", 1) for line in unit.read_text().splitlines() if "=" in line and line[0] != "#"
        )
        with (self.folder / "service.out").open("w") as out:
            process = subprocess.Popen(
                shlex.split(entries["ExecStart"]),
                cwd=entries["WorkingDirectory"],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
            )
            try:
                self.wait_until(lambda: "ready" in (self.folder / "service.out").read_text().split())
                yield
                process.terminate()
                assert process.wait(PATIENCE_SECONDS) == 0
            finally:
                process.kill()
                process.wait()

    def wait_until(self, condition) -> None:  # type: ignore[no-untyped-def]
        end = time.monotonic() + PATIENCE_SECONDS
        while not condition():
            assert time.monotonic() < end, (self.folder / "service.out").read_text()
            time.sleep(0.05)


@pytest.mark.samba
def test_from_nothing_to_a_scheduled_mailing_monitored_connector_by_the_guide_alone(place: Place) -> None:
    shown: dict[str, list[str]] = {}
    *before, last = [step for step in _steps() if step.commands]
    for step in before:
        for line in step.commands:
            if not line.startswith(HERE_ALREADY):
                shown.setdefault(line, []).append(place.type(line))

    assert place.sandbox.facts.service_password not in str(shown)
    assert "failed" not in shown["ad-connector check"][0]
    assert "accepted by the server" in shown["ad-connector check mail --send-mail"][0]
    assert "ann@example.test" in shown["ad-connector plan"][0]
    assert "ann@example.test" in (place.folder / "plan.html").read_text()
    assert "exit code: 0" in shown["ad-connector run --simulate"][0]
    first, second = shown["ad-connector run"]
    assert "ann@example.test" in first
    assert "ann@example.test" not in second, "the second pass has nothing to send"
    assert "in sync group" in shown["ad-connector explain ann@example.test"][0]
    assert tomllib.loads((place.folder / "connector.toml").read_text())["simulation"] is False
    assert (place.folder / "ad-connector.log").read_text().splitlines()[-1] == "exit code: 0"

    installed = False
    lines = list(last.commands)
    while lines and not installed:
        installed = "schedule install" in lines[0]
        shown.setdefault(lines[0], []).append(place.type(lines.pop(0)))
    assert installed
    with place.service(), place.sandbox.administrator() as administrator:
        for line in lines:
            shown.setdefault(line, []).append(place.type(line))
        administrator.create_user("Ben Ode", given_name="Ben", surname="Ode", mail="ben@example.test")
        administrator.add_members("Dropbox", "Ben Ode")
        place.wait_until(lambda: "ben@example.test" in (place.folder / "ad-connector.log").read_text())
    assert "ad_connector_" in shown["curl http://127.0.0.1:8734/metrics"][0]
    assert {str(mail.subject) for mail in place.sandbox.mailbox.received}
    assert all(mail.signed_in_as == MAIL_ACCOUNT for mail in place.sandbox.mailbox.received)

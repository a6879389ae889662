"""A directory, a team and a mail server for the set-up to be tried against, and a pseudo-terminal to try it in."""

import os
import re
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pexpect
import pytest
from anyio.from_thread import start_blocking_portal

from sandbox.certificates import Authority
from sandbox.domain import SERVICE_ACCOUNT, SERVICE_PASSWORD
from sandbox.mailbox import Mailbox
from sandbox.population import STANDARD, load
from sandbox.team import SeedMember, TeamConfig, TeamSimulator
from sandbox.windows_ldap import WindowsDomain, WindowsServer

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_SECONDS = 30
MAIL_PASSWORD = "Mail-Pass-1"


class Outside:
    """What an admin knows who is about to set the connector up, and a folder of theirs."""

    account = f"{SERVICE_ACCOUNT}@example.test"
    password = SERVICE_PASSWORD
    mail_account = "alerts"
    mail_password = MAIL_PASSWORD

    def __init__(self, folder: Path, server: WindowsServer, team: TeamSimulator, mailbox: Mailbox) -> None:
        self.folder = folder
        self.server = server
        self.team = team
        self.mailbox = mailbox
        self.file = folder / "connector.toml"

    @property
    def environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "PYTHONPATH": str(ROOT),
            "LANG": "C.UTF-8",
            "TERM": "dumb",
            "COLUMNS": "200",
            "AD_CONNECTOR__DROPBOX__API_URL": self.team.url,
            "AD_CONNECTOR__DROPBOX__MAX_REQUESTS_PER_SECOND": "1000",
        }

    def start(self, *arguments: str, environment: dict[str, str] | None = None) -> "Dialogue":
        return Dialogue(self, list(arguments), {**self.environment, **(environment or {})})


class Dialogue:
    """The program at the other end of a pseudo-terminal."""

    def __init__(self, outside: Outside, arguments: list[str], environment: dict[str, str]) -> None:
        self.shown = ""
        self._child: Any = pexpect.spawn(
            sys.executable,
            ["-P", "-m", "pipeline", *arguments],
            cwd=str(outside.folder),
            env=environment,  # type: ignore[arg-type]  # os._Environ in its stubs
            timeout=PATIENCE_SECONDS,
            encoding="utf-8",
            dimensions=(50, 200),
        )
        self._child.delaybeforesend = None

    def expect(self, text: str) -> str:
        """Waits for a text; answers what was shown before it."""
        try:
            self._child.expect_exact(text)
        except (pexpect.EOF, pexpect.TIMEOUT) as error:
            raise AssertionError(f"not shown: {text!r}\n{self.shown}{self._child.before}") from error
        before: str = self._child.before
        self.shown += before + text
        return before

    def answer(self, question: str, *answers: str) -> None:
        """Waits for a prompt, then types."""
        for text in answers:
            self.expect(question)
            self.expect(": ")
            self._child.sendline(text)

    def interrupt(self) -> None:
        self._child.sendintr()

    def end(self) -> int:
        """Everything else that is shown; the exit status."""
        self._child.expect(pexpect.EOF)
        self.shown += self._child.before
        self._child.close()
        assert "Traceback" not in self.shown, self.shown
        assert self._child.exitstatus is not None, self.shown
        return int(self._child.exitstatus)

    def code_from_page(self) -> str:
        """Opens the address that is shown, as an admin's browser does."""
        self.expect("http://")
        self.expect("\r\n")
        address = [word for word in self.shown.split() if "/oauth2/authorize?" in word][-1]
        with urllib.request.urlopen(address) as page:
            found = re.search(r'id="auth-code">([^<]+)<', page.read().decode())
        assert found is not None
        return found[1]


@pytest.fixture
def outside(tmp_path: Path, authority: Authority) -> Iterator[Outside]:
    domain = WindowsDomain()
    load(STANDARD, domain)
    domain.create_group("Synced Groups", members=["Project Apollo"])
    folder = tmp_path / "connector"
    folder.mkdir()
    admin = SeedMember("it-admin@example.test", "Ines", "Admin", admin=True)
    team = TeamSimulator(TeamConfig(team_name="Sandbox", seats=500, members=(admin,)))
    mailbox = Mailbox(authority, username="alerts", password=MAIL_PASSWORD)
    with (
        WindowsServer(domain, authority) as server,
        start_blocking_portal("asyncio") as portal,
        portal.wrap_async_context_manager(team),
        portal.wrap_async_context_manager(mailbox),
    ):
        yield Outside(folder, server, team, mailbox)

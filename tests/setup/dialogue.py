"""The program at the other end of a pseudo-terminal, and what an admin knows who types there."""

import os
import re
import signal
import sys
import urllib.request
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import pexpect

from sandbox.domain import SERVICE_ACCOUNT, SERVICE_PASSWORD
from sandbox.mailbox import Mailbox
from sandbox.team import TeamSimulator

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_SECONDS = 60
MAIL_ACCOUNT = "alerts"
MAIL_PASSWORD = "Mail-Pass-1"


class Server(Protocol):
    """A domain controller, whichever."""

    @property
    def ldaps_url(self) -> str: ...
    @property
    def ldap_url(self) -> str: ...
    @property
    def ca_file(self) -> Path: ...


class Place(Protocol):
    """Where somebody sits and types."""

    @property
    def folder(self) -> Path: ...


class Outside:
    """What an admin knows who is about to set the connector up, and a folder of theirs."""

    account = f"{SERVICE_ACCOUNT}@example.test"
    password = SERVICE_PASSWORD
    mail_account = MAIL_ACCOUNT
    mail_password = MAIL_PASSWORD

    def __init__(self, folder: Path, server: Server, team: TeamSimulator, mailbox: Mailbox) -> None:
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

    def __init__(self, place: Place, arguments: list[str], environment: dict[str, str]) -> None:
        self.shown = ""
        self._child: Any = pexpect.spawn(
            sys.executable,
            ["-P", "-m", "pipeline", *arguments],
            cwd=str(place.folder),
            env=environment,  # type: ignore[arg-type]  # os._Environ in its stubs
            timeout=PATIENCE_SECONDS,
            encoding="utf-8",
            dimensions=(50, 200),
            # Where the tests run in the background, Ctrl-C is ignored, and that is inherited.
            preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
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
        """Ctrl-C, again where it went unseen: one that falls between a prompt and the read behind it waits for the next key
        (CPython's `input` looks for signals only once the read has begun).
        """
        for _ in range(6):
            self._child.sendintr()
            if self._child.expect([pexpect.EOF, pexpect.TIMEOUT], timeout=PATIENCE_SECONDS / 6) == 0:
                self.shown += self._child.before
                break

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

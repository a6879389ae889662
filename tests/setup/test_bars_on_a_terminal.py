"""Long commands at a pseudo-terminal: what is shown there, and that nothing of it gets into a file, a pipe or the log."""

import json
import re
import shlex
import subprocess
import sys
from typing import Any

import pexpect
import pytest

from sandbox.team import TeamSimulator
from tests.setup.dialogue import PATIENCE_SECONDS, Outside

PROGRAM = f"{shlex.quote(sys.executable)} -P -m pipeline"
CONTROLS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@pytest.fixture
def terminal(outside: Outside) -> "Terminal":
    for name, value in (("password", outside.password), ("token", outside.team.config.refresh_token)):
        secret = outside.folder / name
        secret.touch(mode=0o600)
        secret.write_text(value)
    outside.file.touch(mode=0o600)
    outside.file.write_text(
        f"""
        simulation = false
        directory.servers = ["{outside.server.ldaps_url}"]
        directory.ca_file = "{outside.server.ca_file}"
        directory.username = "{outside.account}"
        directory.password = "file:password"
        users.sync_group = "Dropbox"
        dropbox.app_key = "{outside.team.config.app_key}"
        dropbox.refresh_token = "file:token"
        """
    )
    return Terminal(outside)


class Terminal:
    """A shell line at a pseudo-terminal; what was to be seen there, escapes and all."""

    def __init__(self, outside: Outside) -> None:
        self.outside = outside
        self.environment = {**outside.environment, "TERM": "xterm", "FORCE_COLOR": "1"}

    @property
    def team(self) -> TeamSimulator:
        return self.outside.team

    def __call__(self, line: str) -> str:
        child: Any = pexpect.spawn(
            "/bin/sh",
            ["-c", f"{PROGRAM} {line}"],
            cwd=str(self.outside.folder),
            env=self.environment,  # type: ignore[arg-type]  # os._Environ in its stubs
            timeout=PATIENCE_SECONDS,
            encoding="utf-8",
            dimensions=(50, 200),
        )
        child.expect(pexpect.EOF)
        child.close()
        assert child.exitstatus == 0, child.before
        return str(child.before)

    def piped(self, line: str) -> tuple[str, str]:
        done = subprocess.run(
            ["/bin/sh", "-c", f"{PROGRAM} {line}"],
            cwd=self.outside.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=True,
            timeout=PATIENCE_SECONDS,
        )
        return done.stdout, done.stderr

    def file(self, name: str) -> str:
        return (self.outside.folder / name).read_text(encoding="utf-8")


def lines(text: str) -> list[str]:
    return [line.strip("\r") for line in CONTROLS.sub("", text).splitlines()]


def test_each_long_command_shows_how_far_it_is(terminal: Terminal) -> None:
    seen = terminal("plan --format json > plan.json")
    assert "reading the directory" in seen
    plan = json.loads(terminal.file("plan.json"))
    assert plan["summary"] == {"invite": 10}

    # The lines of the log stand between, whole, and in the log itself nothing else.
    seen = terminal("apply plan.json")
    assert "reading the directory" in seen
    assert "10 of 10" in seen
    log = terminal.file("ad-connector.log").splitlines()
    assert len([line for line in log if " action " in line]) == 10
    assert set(log) <= set(lines(seen))
    assert "\x1b" not in terminal.file("ad-connector.log")

    for line, phase in (
        ("journal verify", "going through the change log"),
        ("journal backup copy.db", "working on the journal"),
        ("journal export --whole > whole.jsonl", "rows of the journal"),
        ("replay --from 1 --effects", "going through the change log"),
        ("undo 1", "working on the journal"),
    ):
        seen = terminal(line)
        assert phase in seen, line
        assert seen.rindex("\x1b[?25h") > seen.index("\x1b[?25l"), "the cursor is there again"
        assert phase not in lines(seen)[-1], line
    assert all(json.loads(line) for line in terminal.file("whole.jsonl").splitlines())


def test_a_pipe_gets_nothing_of_it(terminal: Terminal) -> None:
    out, err = terminal.piped("run 2>&1 >/dev/null | cat")
    assert "reading the directory" not in out + err
    assert "\x1b" not in out + err
    assert out.splitlines()[-1] == "exit code: 0"
    assert out == terminal.file("ad-connector.log")

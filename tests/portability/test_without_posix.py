"""The original ran on Windows: `run` and `watch` need nothing that only POSIX has. (Nothing here was run on Windows.)"""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("pipeline", "stages", "state", "config")

POSIX = {
    "os": {
        "geteuid",
        "getuid",
        "getgid",
        "getegid",
        "fchown",
        "chown",
        "fork",
        "killpg",
        "setsid",
        "uname",
        "mkfifo",
    },
    "signal": {"SIGHUP", "SIGUSR1", "SIGUSR2", "SIGALRM", "SIGKILL", "pthread_sigmask", "setitimer"},
    "socket": {"AF_UNIX", "SO_PEERCRED", "sendmsg", "recvmsg"},
    "anyio": {"open_signal_receiver"},
    "asyncio": {"open_unix_connection", "start_unix_server"},
    "time": {"clock_gettime_ns", "CLOCK_MONOTONIC"},
}
"""What Windows does not have; used only where `hasattr`, `sys.platform` or the address of a socket has been asked first."""

MODULES = {"fcntl", "pwd", "grp", "resource", "termios", "tty", "pty", "syslog"}

ASKED_FIRST = {
    "pipeline/control.py": {"geteuid"},  # hasattr
    "config/secrets.py": {"geteuid", "fchown"},  # sys.platform
    "stages/service/supervisor.py": {"AF_UNIX", "clock_gettime_ns", "CLOCK_MONOTONIC"},  # hasattr
    "pipeline/cli/sandbox.py": {"open_signal_receiver"},  # Samba's, which is not on Windows
}


def test_run_and_watch_without_what_only_posix_has(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-P", str(Path(__file__).with_name("elsewhere.py")), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={"PATH": "", "PYTHONPATH": str(ROOT), "LANG": "C.UTF-8"},
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["imported"] > 120
    assert told["run"] == [0, {"invite": 1}]
    assert "pace" in told["asked"], "over the pipe's code path"
    assert told["watched"] == ["bob@example.test"]
    assert "ready" in done.stdout.splitlines()
    # The watch may be told to stop just after its last pass has ended: that line is about no pass.
    log = (tmp_path / "ad-connector.log").read_text().splitlines()
    assert [line for line in log if " draining " not in line][-1] == "exit code: 0"


@pytest.fixture(scope="module")
def nodes() -> list[tuple[str, ast.AST]]:
    words = re.compile("|".join({*MODULES, *(name for names in POSIX.values() for name in names)}))
    return [
        (file.relative_to(ROOT).as_posix(), node)
        for package in PACKAGES
        for file in (ROOT / package).rglob("*.py")
        if words.search(text := file.read_text(encoding="utf-8"))
        for node in ast.walk(ast.parse(text))
    ]


def test_what_is_missing_elsewhere_is_used_only_where_it_was_asked_for(
    nodes: list[tuple[str, ast.AST]],
) -> None:
    found: dict[str, set[str]] = {}
    for file, node in nodes:
        match node:
            case ast.Attribute(value=ast.Name(id=module), attr=name) if name in POSIX.get(module, ()):
                found.setdefault(file, set()).add(name)
    assert found == ASKED_FIRST


def test_no_module_of_posix_is_imported(nodes: list[tuple[str, ast.AST]]) -> None:
    for file, node in nodes:
        names: list[str | None] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module]
        assert not {"fcntl", "pwd", "grp", "resource", "termios", "tty", "pty", "syslog"}.intersection(
            names
        ), file

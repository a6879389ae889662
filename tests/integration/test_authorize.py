"""`authorize` through the command line: URL, code, token stored by reference, used at once."""

from __future__ import annotations

import re
import stat
import subprocess
import sys
import urllib.request
from pathlib import Path

import anyio
import pytest

from sandbox.team import TeamConfig, TeamSimulator

pytestmark = pytest.mark.anyio


def _configuration(folder: Path, url: str, key: str) -> Path:
    file = folder / "connector.toml"
    file.touch(mode=0o600)
    file.write_text(
        f'[directory]\nservers = ["ldaps://127.0.0.1"]\nusername = "svc@example.test"\npassword = "env:NOT_NEEDED_HERE"\n[dropbox]\napp_key = "{key}"\napi_url = "{url}"\n'
        'refresh_token = "file:dropbox.token"\n'
    )
    return file


def _drive(configuration: Path, code: str | None) -> tuple[int, str]:
    """Types the code that the page shows, or `code`, into the prompt."""
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "pipeline", "--config", str(configuration), "authorize"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        bufsize=1,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process:
        shown = ""
        while "/oauth2/authorize?" not in shown:
            line = process.stdout.readline()
            assert line, shown
            shown += line
        url = next(word for word in shown.split() if "/oauth2/authorize?" in word)
        if code is None:
            with urllib.request.urlopen(url) as page:
                found = re.search(r'id="auth-code">([^<]+)<', page.read().decode())
            assert found is not None
            code = found[1]
        process.stdin.write(code + "\n")
        process.stdin.close()
        shown += process.stdout.read()
    return process.returncode, shown


async def test_the_token_is_stored_where_the_reference_points_and_never_shown(tmp_path: Path) -> None:
    async with TeamSimulator(TeamConfig()) as simulator:
        configuration = _configuration(tmp_path, simulator.url, simulator.config.app_key)
        status, shown = await anyio.to_thread.run_sync(_drive, configuration, None)
    assert status == 0, shown
    token = tmp_path / "dropbox.token"
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    secret = token.read_text().strip()
    assert secret
    assert secret not in shown
    assert "Team: Example Team" in shown
    assert "members.delete" in shown


async def test_a_wrong_code_is_minus_13_and_says_what_to_do(tmp_path: Path) -> None:
    async with TeamSimulator(TeamConfig()) as simulator:
        configuration = _configuration(tmp_path, simulator.url, simulator.config.app_key)
        status, shown = await anyio.to_thread.run_sync(_drive, configuration, "nonsense")
    assert status == 256 - 13, shown
    assert "What to do" in shown
    assert not (tmp_path / "dropbox.token").exists()

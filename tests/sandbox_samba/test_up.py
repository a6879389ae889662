"""`sandbox up`, as somebody uses it who follows what it prints."""

import os
import shlex
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from sandbox.samba import missing_for_samba

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def printed(tmp_path):
    """What it printed until it was ready."""
    if missing := missing_for_samba():
        pytest.skip(missing)
    command = [sys.executable, "-P", "-m", "pipeline", "sandbox", "up", "--folder", str(tmp_path / "box")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with (
        (tmp_path / "printed").open("w") as out,
        subprocess.Popen(
            command, stdout=out, stderr=subprocess.PIPE, text=True, env=environment, cwd=tmp_path
        ) as running,
    ):
        try:
            assert any(line.startswith("ready;") for line in running.stderr)
            yield (tmp_path / "printed").read_text(encoding="utf-8")
        finally:
            running.send_signal(signal.SIGTERM)
    assert running.returncode == 0


def test_what_it_prints_shows_how_to_change_the_directory_and_has_a_console(printed):
    settings = tomllib.loads(printed)
    assert settings["service"]["listen"].startswith("127.0.0.1:")
    (line,) = [line for line in printed.splitlines() if "samba-tool user disable" in line]
    words = shlex.split(line[line.index("samba-tool") :])
    subprocess.run(words, capture_output=True, check=True)
    folder = words[words.index("-H") + 1]
    shown = subprocess.run(
        ["samba-tool", "user", "show", "ada.lovelace", "--attributes=userAccountControl", "-H", folder],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert int(shown.partition("userAccountControl: ")[2].split()[0]) & 2

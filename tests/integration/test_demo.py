"""The demo, as it is started by `./run demo`: to its end, and what it says when something is not as told."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox import story
from sandbox.samba import missing_for_samba

_ROOT = Path(__file__).resolve().parents[2]
_SENTENCES = (
    "it would invite 50 people",
    "the team equals the group",
    "read requests and no write to Dropbox",
    "each member is now as the directory wants it",
    "CRITICAL: 40 leavers held by the brake",
    "nobody was touched: Dropbox got no write",
    "OVER: 40 leavers held by the brake",
    "nothing is held any more",
    "200 invitations, none twice, none missing",
    "whom the directory wants are on the team, and nobody else",
    "expectations checked, all as told",
)


def _demo(tmp_path: Path, *arguments: str) -> str:
    """Whatever is set for a connector of this machine must not reach the sandbox's."""
    (tmp_path / "config").mkdir()  # a folder that would shadow ours, were it looked for here
    done = subprocess.run(
        [sys.executable, "-P", "-m", "pipeline", "demo", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "AD_CONNECTOR__USERS__SYNC_GROUP": "Nobody", "COLUMNS": "100"},
        timeout=180,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert done.stderr == ""
    for sentence in _SENTENCES:
        assert sentence in done.stdout
    assert "NOT AS TOLD" not in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 110
    assert not re.search(r"Sandbox-Service|refresh-token|/tmp/|\x1b", done.stdout)
    return done.stdout


def test_the_demo_tells_its_story_on_a_real_domain_with_the_real_program(tmp_path: Path) -> None:
    if missing := missing_for_samba():
        pytest.skip(missing)
    told = _demo(tmp_path)
    assert "a real Active Directory domain" in told
    assert re.search(r"kill -9 \d+", told)


def test_the_demo_tells_the_same_story_in_memory_and_says_what_differs(tmp_path: Path) -> None:
    told = _demo(tmp_path, "--directory", "memory")
    assert "a directory in memory" in told
    assert "kill -9 needs a program of its own" in told


@pytest.mark.anyio
async def test_the_demo_ends_with_one_and_names_the_sentence_that_did_not_hold(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from sandbox.scene_memory import MemoryScene

    async def refused(_scene: MemoryScene) -> int:
        return -16

    monkeypatch.setattr(MemoryScene, "run", refused)
    assert await story.tell("memory") == 1
    told = capsys.readouterr().out
    assert "NOT AS TOLD: it ended with exit code 0 after" in told
    assert "-16 instead of 0" in told
    assert "The demo ends here, with exit status 1." in told

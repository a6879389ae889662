"""-1: an old Python is told so, by `run` and by the program itself, and nothing else happens."""

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
OLD = """#!/bin/sh
[ "$1" = -V ] && { echo Python 3.9.2; exit 0; }
exit 1
"""


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A PATH on which everything is there but a Python that is new enough."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("cat", "cksum", "dirname", "kill", "mkdir", "mv", "readlink", "rm", "sleep"):
        found = shutil.which(name)
        if found:
            (folder / name).symlink_to(found)
    return folder


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    folder = tmp_path / "checkout"
    folder.mkdir()
    for name in ("run", "requirements.lock"):
        shutil.copy(ROOT / name, folder / name)
    return folder


def _run(checkout: Path, programs: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    shell = shutil.which("sh")
    assert shell is not None
    return subprocess.run(
        [shell, str(checkout / "run"), *arguments],
        env={"PATH": str(programs)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("arguments", [("ad-connector", "--version"), ("demo",), ("test",)])
def test_an_old_python_alone_ends_with_minus_one_and_says_so(
    checkout: Path, programs: Path, arguments: tuple[str, ...]
) -> None:
    (programs / "python3").write_text(OLD, encoding="utf-8")
    (programs / "python3").chmod(0o755)
    done = _run(checkout, programs, *arguments)
    assert done.returncode == 255  # -1, as a shell shows it
    assert "-1: Python version not supported, 3.11 or newer is needed" in done.stderr
    assert "python3 (Python 3.9.2)" in done.stderr
    assert done.stdout == ""
    assert not (checkout / ".venv").exists()


def test_no_python_at_all_ends_the_same_way(checkout: Path, programs: Path) -> None:
    done = _run(checkout, programs, "ad-connector", "--version")
    assert done.returncode == 255
    assert "found: none" in done.stderr


def test_the_program_itself_refuses_an_old_python_too() -> None:
    """For who starts it without `run`. The version is made up: no old Python needs to be there."""
    code = "import sys; sys.version_info = (3, 9, 2, 'final', 0); from pipeline.__main__ import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 255
    assert done.stderr == "exit code: -1: Python 3.9.2 is not supported; install Python 3.11 or newer\n"


@pytest.mark.parametrize("name", ["pipeline/__init__.py", "pipeline/__main__.py"])
def test_what_an_old_python_reads_before_it_is_refused_has_no_new_syntax(name: str) -> None:
    ast.parse((ROOT / name).read_text(encoding="utf-8"), feature_version=(3, 7))

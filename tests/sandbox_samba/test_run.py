"""`run` without a set-up: which Python it takes, and that it becomes the program it was asked for."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

_ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    folder = tmp_path / "a checkout"
    folder.mkdir()
    for name in ("run", "requirements.lock"):
        shutil.copy(_ROOT / name, folder / name)
    return folder


def _run(
    checkout: Path, *arguments: str, path: str = "/usr/bin:/bin", **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [checkout / "run", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": path, **environment},
        cwd=checkout.parent,
    )


def test_an_old_python_is_refused_with_minus_one(checkout: Path, tmp_path: Path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("cat", "cksum", "dirname", "mkdir", "readlink", "rm"):
        (programs / name).symlink_to(str(shutil.which(name)))
    (programs / "python3").write_text('#!/bin/sh\n[ "$1" = -V ] || exit 1\necho Python 3.9.2\n')
    (programs / "python3").chmod(0o755)
    done = _run(checkout, "ad-connector", "--version", path=str(programs))
    assert done.returncode == 255
    assert "-1: Python version not supported, 3.11 or newer is needed" in done.stderr
    assert "3.9.2" in done.stderr
    assert not (checkout / ".sandbox" / "set-up.lock").exists()


def test_it_passes_arguments_and_status_through(checkout: Path) -> None:
    binaries = checkout / ".venv" / "bin"
    binaries.mkdir(parents=True)
    (binaries / "python").symlink_to(sys.executable)
    package = checkout / "pipeline"
    package.mkdir()
    (package / "__main__.py").write_text("import sys; print(sys.argv[1:]); sys.exit(241)\n")
    with (checkout / "requirements.lock").open("rb") as lock:
        sum_of_lock = subprocess.run(["cksum"], stdin=lock, capture_output=True, text=True, check=True).stdout
    (checkout / ".venv" / ".set-up").write_text(
        f"{sum_of_lock}{os.path.realpath(sys.executable)}\n{checkout}\n"
    )
    assert _run(checkout, "shell", "-c", "exit 7").returncode == 7
    done = _run(checkout, "ad-connector", "a b", "", "*", PYTHONPATH=str(checkout))
    assert (done.returncode, done.stdout) == (241, "['a b', '', '*']\n")
    assert done.stderr == ""

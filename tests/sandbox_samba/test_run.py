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
    for name in ("run", "requirements.lock", "requirements-kerberos.lock"):
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


def _stamp(checkout: Path, name: str, lock: str, *more: str) -> None:
    with (checkout / lock).open("rb") as content:
        done = subprocess.run(["cksum"], stdin=content, capture_output=True, text=True, check=True)
    lines = [done.stdout.strip(), os.path.realpath(sys.executable), *more]
    (checkout / ".venv" / name).write_text("".join(f"{line}\n" for line in lines))


@pytest.fixture
def set_up(checkout: Path) -> Path:
    """With a virtual environment that is taken for a finished one."""
    binaries = checkout / ".venv" / "bin"
    binaries.mkdir(parents=True)
    (binaries / "python").symlink_to(sys.executable)
    _stamp(checkout, ".set-up", "requirements.lock", str(checkout))
    return checkout


def test_kerberos_without_a_compiler_is_told_and_nothing_is_left(set_up: Path, tmp_path: Path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("cat", "cksum", "dirname", "id", "mkdir", "readlink", "rm"):
        (programs / name).symlink_to(str(shutil.which(name)))
    done = _run(set_up, "kerberos-setup", path=str(programs))
    assert done.returncode == 1
    assert "no Kerberos: the packages to build it with are missing" in done.stderr
    assert "apt-get install libkrb5-dev gcc" in done.stderr
    assert not (set_up / ".venv" / ".kerberos").exists()
    assert not (set_up / ".sandbox" / "set-up.lock").exists()


def test_kerberos_that_is_there_takes_no_work(set_up: Path) -> None:
    _stamp(set_up, ".kerberos", "requirements-kerberos.lock")
    done = _run(set_up, "kerberos-setup")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_it_passes_arguments_and_status_through(set_up: Path) -> None:
    checkout = set_up
    package = checkout / "pipeline"
    package.mkdir()
    (package / "__main__.py").write_text("import sys; print(sys.argv[1:]); sys.exit(241)\n")
    assert _run(checkout, "shell", "-c", "exit 7").returncode == 7
    done = _run(checkout, "ad-connector", "a b", "", "*", PYTHONPATH=str(checkout))
    assert (done.returncode, done.stdout) == (241, "['a b', '', '*']\n")
    assert done.stderr == ""


def test_a_link_named_ad_connector_is_the_connector(set_up: Path, tmp_path: Path) -> None:
    package = set_up / "pipeline"
    package.mkdir()
    (package / "__main__.py").write_text("import sys; print(sys.argv[1:])\n")
    link = tmp_path / "ad-connector"
    link.symlink_to(set_up / "run")
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(set_up)}
    done = subprocess.run(
        [link, "plan", "--help"], capture_output=True, text=True, check=False, env=environment
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "['plan', '--help']\n", "")

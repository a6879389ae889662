"""`config`, `pipeline`, `stages` are names that others bear too: nothing we install may bring them, and ours are checked."""

import os
import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from pipeline import __main__ as start

ROOT = Path(__file__).resolve().parents[2]
OURS = {"config", "pipeline", "stages", "state", "sandbox", "bench"}


def _locked() -> list[str]:
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    return re.findall(r"^([A-Za-z0-9][\w.-]*)==", lock, re.MULTILINE)


def _top_levels(distribution: metadata.Distribution) -> set[str]:
    """What `import` finds of it: folders and modules directly below site-packages."""
    names = set()
    for file in distribution.files or ():
        top = file.parts[0]
        if top in ("..", "/") or top.endswith((".dist-info", ".egg-info", ".pth")):
            continue
        names.add(top.partition(".")[0])
    return names


@pytest.mark.parametrize("name", _locked())
def test_no_locked_package_brings_an_import_name_of_ours(name: str) -> None:
    try:
        distribution = metadata.distribution(name)
    except metadata.PackageNotFoundError:
        pytest.skip("another system's")
    tops = _top_levels(distribution)
    assert tops, f"{name} lists no files"
    assert not tops & OURS


def test_nothing_else_that_is_installed_brings_one() -> None:
    for distribution in metadata.distributions():
        name = distribution.metadata["Name"]
        if name != "dropbox-ad-connector":
            assert not _top_levels(distribution) & OURS, name


def test_no_package_of_these_names_is_asked_for() -> None:
    assert not OURS & {name.lower() for name in _locked()}


# --- the check at the start -----------------------------------------------------------------------------------


def test_our_own_packages_pass() -> None:
    assert start.find_stranger() == ""


@pytest.mark.parametrize("name", start.OURS)
def test_each_of_our_packages_bears_the_mark(name: str) -> None:
    assert start.MARK in (ROOT / name / "__init__.py").read_text(encoding="utf-8")


def _version(python_path: Path, *, code: str = "") -> subprocess.CompletedProcess[str]:
    run = ["-c", code] if code else ["-m", "pipeline", "--version"]
    return subprocess.run(
        [sys.executable, "-P", *run],
        env={**os.environ, "PYTHONPATH": str(python_path)},
        cwd=python_path,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("name", start.OURS)
def test_a_package_of_the_same_name_before_ours_is_refused(tmp_path: Path, name: str) -> None:
    package = tmp_path / name
    package.mkdir()
    # Not even imported: what it would do is not ours to answer for.
    (package / "__init__.py").write_text("raise SystemExit('imported')\n", encoding="utf-8")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); sys.path.append({str(ROOT)!r})\n"
    done = _version(tmp_path, code=code + "from pipeline.__main__ import main; main()")
    assert done.returncode == 246  # -10, as a shell shows it
    assert f"the package '{name}' that Python finds is another program's: {package}" in done.stderr
    assert "a virtual environment of its own" in done.stderr
    assert done.stderr.endswith("exit code: -10\n")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for name in ("pipeline", *start.OURS):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def test_a_copy_of_ours_starts(copy: Path) -> None:
    done = _version(copy)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_package_that_overwrote_ours_is_refused(copy: Path) -> None:
    (copy / "config" / "__init__.py").write_text("# another config\n", encoding="utf-8")
    done = _version(copy)
    assert done.returncode == 246
    assert "the package 'config' was overwritten by another program's" in done.stderr


def test_a_folder_that_is_no_package_is_refused(copy: Path) -> None:
    (copy / "state" / "__init__.py").unlink()
    done = _version(copy)
    assert done.returncode == 246
    assert "the package 'state' that Python finds is another program's" in done.stderr


def test_a_missing_package_is_told(copy: Path) -> None:
    shutil.rmtree(copy / "stages")
    done = _version(
        copy,
        code="import sys; sys.path[:] = [p for p in sys.path if p != "
        + repr(str(ROOT))
        + "]; from pipeline.__main__ import main; main()",
    )
    assert done.returncode == 246
    assert "the package 'stages' is missing" in done.stderr

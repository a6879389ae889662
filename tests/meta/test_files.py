"""What every file of the checkout keeps to: length, no place of one machine, no package index; and the lock."""

import os
import re
import subprocess
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
MOST_LINES = 400
MOST_LINES_OF_TESTS = 600
"""Tests and measurements are tables and stories: they are read case by case, not as one thing."""

# Longer ones, each with its own bound and its reason.
LONGER = {
    "pipeline/model.py": (430, "the words of the system stand in one place"),
    "pipeline/core/plan.py": (450, "one `decide`: the table of behaviour.md §5 stands in one place"),
    "stages/people/planner.py": (
        500,
        "gathers the facts of a decision in one transaction; the rules are in pipeline.core",
    ),
}


def _bound(name: str) -> int:
    usual = MOST_LINES_OF_TESTS if name.startswith(("tests/", "bench/")) else MOST_LINES
    return LONGER.get(name, (usual, ""))[0]


# Put together here, so that this file does not hold what it forbids.
INDEX = re.compile(
    "|".join(
        (
            "py" + r"pi\.org",
            "python" + r"hosted\.org",
            "--" + r"(extra-)?index" + "-url",
            "--find" + "-links",
            "trusted" + "-host",
            "PIP_(EXTRA_)?" + "INDEX_URL",
            "registry" + r"\.npmjs",
            r"https?://[^\s\"'`]+/simple" + r"/?(?![\w-])",
        )
    ),
    re.IGNORECASE,
)
MACHINE = re.compile(r"(?<![\w.$}*])/(?:" + "work|root|home|Users" + r")/(?!\.\.\.)\w|[A-Z]:\\" + r"Users\\")


def tracked() -> list[str]:
    """All files of the checkout that are, or are about to be, in the repository."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    names = {os.fsdecode(name) for name in listed.stdout.split(b"\0") if name}
    return sorted(name for name in names if (ROOT / name).is_file())


def texts() -> Iterator[tuple[str, str]]:
    for name in tracked():
        content = (ROOT / name).read_bytes()
        if b"\0" not in content:
            yield name, content.decode("utf-8")


def _lines_with(pattern: re.Pattern[str]) -> list[str]:
    return [
        f"{name}:{number}: {line.strip()[:120]}"
        for name, text in texts()
        for number, line in enumerate(text.splitlines(), 1)
        if pattern.search(line)
    ]


def test_no_module_is_longer_than_four_hundred_lines() -> None:
    lengths = {name: len(text.splitlines()) for name, text in texts() if name.endswith(".py")}
    wrong = {name: lines for name, lines in lengths.items() if lines > _bound(name)}
    assert not wrong, f"split them, or argue in LONGER why they must be so long: {wrong}"


def test_every_exception_is_argued() -> None:
    for name, (bound, reason) in LONGER.items():
        assert bound > MOST_LINES, name
        assert len(reason) > 20, name
        assert (ROOT / name).exists(), f"{name} is gone: take it out of LONGER"


def test_no_file_names_a_place_of_one_machine() -> None:
    found = _lines_with(MACHINE)
    if len(ROOT.parts) > 2:  # a checkout right below / would match everything
        found += _lines_with(re.compile(re.escape(str(ROOT)) + r"(?![\w-])"))
    assert not found, "\n".join(found)


def test_no_file_names_a_package_index() -> None:
    """Where packages come from is the business of the machine that installs them."""
    found = _lines_with(INDEX)
    assert not found, "\n".join(found)


def test_the_patterns_catch_what_they_are_for() -> None:
    for text in ("see /" + "home/ann/x", "at /" + "work/main", "C:\\" + "Users\\ann"):
        assert MACHINE.search(text), text
    for text in (
        "https://" + "py" + "pi.org/simple",
        "pip install --" + "index-url x",
        "https://host.test" + "/simple/",
    ):
        assert INDEX.search(text), text
    for text in ("/etc/ad-connector", "simple (over TLS)", "homework/x", "tests/work/x"):
        assert not MACHINE.search(text), text
        assert not INDEX.search(text), text


# --- the locks ----------------------------------------------------------------------------------------------

LOCK, KERBEROS = "requirements.lock", "requirements-kerberos.lock"
"""The second holds what the extra needs beyond the first: source only, and never part of the demo."""
BUILD, BENCH = "requirements-kerberos-build.lock", "requirements-bench.lock"


def _blocks(*names: str) -> list[list[str]]:
    """Each requirement of these locks with its hashes."""
    text = "".join((ROOT / name).read_text(encoding="utf-8") for name in names)
    blocks: list[list[str]] = []
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        if not line.startswith(" "):
            blocks.append([])
        blocks[-1].append(line.strip().removesuffix("\\").strip())
    return blocks


def _locked() -> dict[str, Requirement]:
    found = [Requirement(block[0]) for block in _blocks(LOCK, KERBEROS)]
    return {canonicalize_name(one.name): one for one in found}


@pytest.mark.parametrize("name", [LOCK, KERBEROS, BUILD, BENCH])
def test_the_lock_pins_every_package_with_hashes_and_has_no_options(name: str) -> None:
    for block in _blocks(name):
        assert not block[0].startswith("-"), block[0]
        requirement = Requirement(block[0])
        assert requirement.url is None, block[0]
        assert re.fullmatch(r"==[^*,]+", str(requirement.specifier)), block[0]
        hashes = block[1:]
        assert hashes, f"{block[0]} has no hash"
        assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", one) for one in hashes), block[0]


def test_the_lock_names_each_package_once() -> None:
    names = [canonicalize_name(Requirement(block[0]).name) for block in _blocks(LOCK, KERBEROS)]
    assert len(names) == len(set(names))


def _asked_for() -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"].values()
    return [
        Requirement(text) for text in (*project["dependencies"], *(one for extra in extras for one in extra))
    ]


def _reached() -> set[str]:
    """What pyproject.toml asks for, and what that needs, on any system with any Python that is supported."""
    environments = [
        {
            "python_version": f"3.{minor}",
            "python_full_version": f"3.{minor}.0",
            "sys_platform": system,
            "platform_system": {"linux": "Linux", "darwin": "Darwin", "win32": "Windows"}[system],
            "os_name": "nt" if system == "win32" else "posix",
        }
        for minor in range(11, 15)
        for system in ("linux", "darwin", "win32")
    ]
    reached: set[tuple[str, str]] = set()
    waiting = [(canonicalize_name(one.name), extra) for one in _asked_for() for extra in ("", *one.extras)]
    while waiting:
        name, extra = waiting.pop()
        if (name, extra) in reached:
            continue
        reached.add((name, extra))
        try:
            needs = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue  # another system's: what it needs can't be told here
        for text in needs:
            need = Requirement(text)
            if need.marker is None or any(
                need.marker.evaluate({**environment, "extra": extra}) for environment in environments
            ):
                waiting += [(canonicalize_name(need.name), one) for one in ("", *need.extras)]
    return {name for name, _ in reached}


def test_the_lock_holds_what_pyproject_asks_for_and_nothing_else() -> None:
    locked, reached = set(_locked()), _reached()
    if not _is_needed_here("gssapi"):  # what it needs is known only where it is built
        locked -= {canonicalize_name(Requirement(block[0]).name) for block in _blocks(KERBEROS)}
    assert not locked - reached, f"nobody asks for {sorted(locked - reached)}"
    missing = {
        name
        for name in reached - locked
        if name not in {"ad-connector", "dropbox-ad-connector"} and _is_needed_here(name)
    }
    assert not missing, f"not in the lock: {sorted(missing)}"


def test_what_comes_as_source_only_is_in_no_other_lock_than_its_own() -> None:
    assert "gssapi" not in {Requirement(block[0]).name for block in _blocks(LOCK)}
    assert {"gssapi"} <= {Requirement(block[0]).name for block in _blocks(KERBEROS)}


def _is_needed_here(name: str) -> bool:
    """What other systems need and this one does not have may be left out of a lock made for this one."""
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def test_the_pins_are_what_pyproject_allows() -> None:
    locked = _locked()
    for one in _asked_for():
        pin = next(iter(locked[canonicalize_name(one.name)].specifier)).version
        assert one.specifier.contains(pin, prereleases=True), f"{one} is locked to {pin}"

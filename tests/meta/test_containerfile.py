"""The container file, which nothing here can build: what it names exists, and the program starts from what it copies."""

import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from config.load import load

ROOT = Path(__file__).resolve().parents[2]
CONTAINERFILE = ROOT / "Containerfile"
HOME = "/opt/ad-connector"


def instructions() -> list[tuple[str, str]]:
    text = re.sub(r"^#.*\n", "", CONTAINERFILE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    lines = [line for line in text.replace("\\\n", " ").splitlines() if line.strip()]
    return [(word, " ".join(rest.split())) for word, _, rest in (line.partition(" ") for line in lines)]


def last(word: str) -> str:
    return [rest for name, rest in instructions() if name == word][-1]


def copied() -> dict[str, str]:
    """What is taken from the checkout into the last stage, and where it goes."""
    stage = [index for index, (word, _) in enumerate(instructions()) if word == "FROM"][-1]
    pairs = [rest.split() for word, rest in instructions()[stage:] if word == "COPY" and "--from" not in rest]
    return dict(pairs)


def variables() -> dict[str, str]:
    return dict(one.partition("=")[::2] for one in last("ENV").split())


def test_what_is_copied_exists_and_is_the_whole_program_without_the_sandbox() -> None:
    sources = copied()
    for source in sources:
        assert (ROOT / source).exists(), source
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    packages = {one.rstrip("*") for one in project["tool"]["setuptools"]["packages"]["find"]["include"]}
    assert {source for source in sources if (ROOT / source).is_dir()} == packages - {"sandbox"}
    for package in packages - {"sandbox"}:
        assert sources[package] == f"{HOME}/{package}"


def test_packages_are_installed_by_their_hashes_alone() -> None:
    (install,) = [rest for word, rest in instructions() if word == "RUN" and "pip install" in rest]
    assert "--require-hashes --no-deps" in install
    assert ("COPY", "requirements.lock /build/requirements.lock") in instructions()
    assert install.endswith("-r /build/requirements.lock")


def test_it_runs_as_an_account_that_is_not_root_and_owns_its_folder() -> None:
    user, _, group = last("USER").partition(":")
    assert int(user) > 0
    assert int(group) > 0
    words = [word for word, _ in instructions()]
    assert words.index("USER") < words.index("ENTRYPOINT")
    assert words.count("USER") == 1
    create = next(rest for word, rest in instructions() if word == "RUN" and "useradd" in rest)
    assert f"--uid {user} " in create
    assert f"install -d -o {user} -g {group} -m 0700 {last('VOLUME')}" in create


def test_its_settings_are_keys_of_the_configuration(tmp_path: Path) -> None:
    config = tmp_path / "connector.toml"
    shutil.copy(ROOT / "config" / "connector.example.toml", config)
    config.chmod(0o600)
    settings = load(config, variables())
    assert str(settings.journal.path) == f"{last('VOLUME')}/journal.db"
    assert settings.log.path.parent == settings.journal.path.parent
    assert f"http://{settings.service.listen}/healthz" in last("HEALTHCHECK")


@pytest.mark.parametrize("arguments", [["--version"], ["schedule", "show", "--help"], ["watch", "--help"]])
def test_the_program_starts_from_the_copied_files_alone(tmp_path: Path, arguments: list[str]) -> None:
    for source, target in copied().items():
        place = tmp_path / Path(target).relative_to(HOME)
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, place, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / source, place)
    _python, *options = json.loads(last("ENTRYPOINT"))
    done = subprocess.run(
        [sys.executable, *options, *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"},
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "ad-connector" in done.stdout

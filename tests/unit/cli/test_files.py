"""A file that a command line names wrongly: what is wrong with it is said, before anything is read or made."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipeline.cli import build


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    file = tmp_path / "connector.toml"
    file.write_text(
        'simulation = false\n[directory]\nservers = ["ldaps://127.0.0.1"]\nusername = "svc@example.test"\n'
        'password = "env:SECRET"\n[dropbox]\naccess_token = "env:SECRET"\n',
        encoding="utf-8",
    )
    file.chmod(0o600)
    monkeypatch.setenv("SECRET", "not one")
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("apply folder", "folder is a directory, not a file"),
        ("apply nowhere", "nowhere: there is no such file"),
        ("plan --out folder", "folder is a directory, not a file"),
        ("plan --out nowhere/plan.json", "the folder nowhere does not exist"),
        ("journal import folder", "folder is a directory, not a file"),
        ("journal import nowhere", "nowhere: there is no such file"),
        ("journal backup folder", "folder is a directory"),
        ("journal backup --incremental connector.toml", "connector.toml is a file"),
        ("journal restore nowhere", "nowhere: there is no such file or folder"),
    ],
)
def test_it_is_told_as_a_wrong_command_line(folder: Path, arguments: str, said: str) -> None:
    before = sorted(folder.iterdir())
    done = CliRunner().invoke(build(), arguments.split())
    assert done.exit_code == 2, done.output
    assert said in " ".join(done.output.split())
    assert sorted(folder.iterdir()) == before, "nothing was begun"


def test_a_folder_is_no_configuration(folder: Path) -> None:
    done = CliRunner().invoke(build(), ["--config", "folder", "status"])
    assert done.exit_code == 246
    assert "it is a directory" in done.output


def test_bytes_that_are_no_text_are_called_so(folder: Path) -> None:
    (folder / "bytes").write_bytes(b"\xff\xfe\x00")
    for command, code in ((("apply", "bytes"), 246), (("journal", "import", "bytes"), 236)):
        done = CliRunner().invoke(build(), command)
        assert done.exit_code == code
        assert "not a text in UTF-8" in done.output
        assert "Errno" not in done.output
        assert "codec" not in done.output


@pytest.mark.parametrize("arguments", ["approve 0123456789ab", "retry --failed", "journal compact"])
def test_what_is_about_earlier_passes_makes_no_journal(folder: Path, arguments: str) -> None:
    done = CliRunner().invoke(build(), arguments.split())
    assert done.exit_code == 2
    assert "no pass has run" in done.output
    assert not (folder / "journal.db").exists()


@pytest.mark.parametrize("arguments", ["explain ann", "journal show", "undo 3"])
def test_without_a_journal_the_command_for_a_first_one_is_named(folder: Path, arguments: str) -> None:
    done = CliRunner().invoke(build(), arguments.split())
    assert "no pass has run on it yet" in done.output
    assert "ad-connector run --simulate" in done.output
    assert not (folder / "journal.db").exists()


def test_several_faults_of_a_configuration_stand_in_lines_of_their_own(folder: Path) -> None:
    file = folder / "connector.toml"
    file.write_text(file.read_text().replace("servers", "server").replace("username", "user"))
    lines = CliRunner().invoke(build(), ["status"]).output.splitlines()
    assert lines[0].startswith("reading the configuration ")
    assert lines[0].endswith("connector.toml:")
    assert [line for line in lines if line.startswith("  line 3: directory.server: is no key")]
    assert [line for line in lines if line.startswith("  line 4: directory.user: is no key")]
    assert lines[-1].startswith("What to do: ")

"""Behaviour §7: one process owns a journal; another gets -19 and the holder's name."""

import json
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipeline.errors import InstanceRunning, JournalError, RightsError
from state.lock import acquire, owner

pytestmark = pytest.mark.usefixtures("impatience")
ROOT = Path(__file__).resolve().parents[2]
HOLDER = """
import sys
from pathlib import Path
from state.lock import acquire
with acquire(Path(sys.argv[1]), "watch", "/run/x.sock"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("state.lock._PATIENCE_SECONDS", 0)


@contextmanager
def holder(journal: Path) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(journal)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


def test_a_second_process_gets_the_holders_process_host_and_command(tmp_path: Path) -> None:
    journal = tmp_path / "journal.db"
    with holder(journal) as process:
        with pytest.raises(InstanceRunning) as caught, acquire(journal, "run"):
            pass
        assert caught.value.exit_code == -19
        assert f"process {process.pid} on {socket.gethostname()} runs `watch` since 20" in caught.value.cause
        found = owner(journal)
        assert found is not None
        assert (found.pid, found.command, found.control) == (process.pid, "watch", "/run/x.sock")


def test_two_names_of_one_journal_meet_in_one_lock(tmp_path: Path) -> None:
    (tmp_path / "other.db").symlink_to("journal.db")
    with (
        holder(tmp_path / "journal.db"),
        pytest.raises(InstanceRunning),
        acquire(tmp_path / "other.db", "run"),
    ):
        pass


def test_a_dead_owners_file_is_ignored(tmp_path: Path) -> None:
    journal = tmp_path / "journal.db"
    with holder(journal) as process:
        process.kill()
        process.wait()
        assert (tmp_path / "journal.db.owner").exists()
        assert owner(journal) is None
        with acquire(journal, "run") as held:
            assert held.pid == os.getpid()


def test_the_lock_is_free_after_the_context_even_after_an_error(tmp_path: Path) -> None:
    journal = tmp_path / "journal.db"

    def fail() -> None:
        assert owner(journal) is not None
        raise ZeroDivisionError

    for _ in range(2):
        with pytest.raises(ZeroDivisionError), acquire(journal, "run"):
            fail()
        assert owner(journal) is None
    assert not (tmp_path / "journal.db.owner").exists()
    assert not journal.exists()


def test_the_same_process_can_not_own_a_journal_twice(tmp_path: Path) -> None:
    journal = tmp_path / "journal.db"
    with (
        acquire(journal, "watch"),
        pytest.raises(InstanceRunning, match="runs `watch`"),
        acquire(journal, "run"),
    ):
        pass


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{",
        b"\xff",
        b'{"pid": "x"}',
        b"[" * 10_000,
        b'{"pid": 1, "host": 2, "command": 3, "since": 4}',
    ],
)
def test_an_owner_file_of_nonsense_hides_the_name_and_nothing_else(tmp_path: Path, content: bytes) -> None:
    journal = tmp_path / "journal.db"
    with acquire(journal, "watch"):
        (tmp_path / "journal.db.owner").write_bytes(content)
        with pytest.raises(InstanceRunning, match="another instance is running"), acquire(journal, "run"):
            pass
        assert owner(journal) is None


def test_the_files_are_private_and_the_database_is_not_touched(tmp_path: Path) -> None:
    journal = tmp_path / "journal.db"
    with acquire(journal, "run", "/x"):
        assert sorted(file.name for file in tmp_path.iterdir()) == ["journal.db.lock", "journal.db.owner"]
        for file in tmp_path.iterdir():
            assert stat.S_IMODE(file.stat().st_mode) == 0o600
        content = json.loads((tmp_path / "journal.db.owner").read_text())
        assert set(content) == {"pid", "host", "command", "since", "control"}


def test_a_missing_folder_is_a_fault_of_the_journal(tmp_path: Path) -> None:
    with (
        pytest.raises(JournalError, match=r"journal\.path") as caught,
        acquire(tmp_path / "gone" / "j.db", "run"),
    ):
        pass
    assert caught.value.exit_code == -20
    assert owner(tmp_path / "gone" / "j.db") is None
    assert not (tmp_path / "gone").exists()


def test_a_lock_that_can_not_be_written_is_a_matter_of_rights(tmp_path: Path) -> None:
    (tmp_path / "journal.db.lock").mkdir()
    with pytest.raises((RightsError, JournalError)), acquire(tmp_path / "journal.db", "run"):
        pass

"""What scripts rely on: help, exit status of a wrong command line, shapes of `status` and `journal export` (interface.md)."""

import csv
import io
import json
from datetime import datetime

import pytest

ADA = "ada.lovelace@example.test"
COMMANDS = [
    (),
    ("plan",),
    ("run",),
    ("watch",),
    ("status",),
    ("check",),
    ("approve",),
    ("retry",),
    ("journal",),
    ("journal", "show"),
    ("journal", "tail"),
    ("journal", "export"),
    ("journal", "backup"),
    ("sandbox", "up"),
    ("demo",),
]


def test_every_command_has_help_with_an_example(make_world_folder):
    ask = make_world_folder
    for command in COMMANDS:
        done = ask(*command, "--help")
        assert done.returncode == 0, command
        assert "Usage" in done.stdout
        assert "Example: ad-connector" in done.stdout, command


@pytest.mark.parametrize(
    "arguments",
    [
        ("explode",),
        ("run", "--explode"),
        ("plan", "--format", "poem"),
        ("approve",),
        ("retry",),
        ("retry", "--failed", "--all"),
        ("apply", "nowhere.json"),
    ],
)
def test_a_wrong_command_line_is_2(make_world_folder, arguments):
    assert make_world_folder(*arguments).returncode == 2


def test_the_list_of_commands_cuts_no_sentence_off(make_world_folder):
    for command in ((), ("journal",)):
        assert "..." not in make_world_folder(*command, "--help").stdout.partition("Commands:")[2], command


def test_the_version(make_world_folder):
    assert make_world_folder("--version").stdout.startswith("ad-connector ")


@pytest.fixture
def make_world_folder(tools, tmp_path):
    """The program without any sandbox: no configuration, an empty folder."""
    import os
    import subprocess
    import sys

    def ask(*arguments):
        return subprocess.run(
            [sys.executable, "-P", "-m", "pipeline", *arguments],
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(tmp_path),
                "PYTHONPATH": str(tools.ROOT),
                "COLUMNS": "100",
            },
        )

    return ask


def test_status_before_the_first_pass_and_after_it(world):
    empty = world.status()
    assert (empty["managed"], empty["last_pass"], empty["checkpoint"]) == (0, None, None)
    assert empty["lag_seconds"] is None, "nothing was seen yet"
    assert not world.journal_file.exists(), "looking makes no journal"
    world.ok("run")
    world.console("accept", ADA)
    world.admin.modify("Alan Turing", sn="Mathison")
    world.ok("run")
    status = world.status()
    assert status["managed"] == 10
    assert status["by_status"] == {"active": 1, "invited": 9} or status["by_status"] == {"invited": 10}
    assert status["pending"] == {"waiting": 1, "retry": 0, "failed": 0, "held": 0}
    last = status["last_pass"]
    assert set(last) >= {"id", "started", "ended", "exit_code", "simulated", "actions"}
    assert (last["id"], last["exit_code"], last["simulated"], last["actions"]) == (2, 0, False, {})
    assert datetime.fromisoformat(last["started"]) <= datetime.fromisoformat(last["ended"])
    assert set(status["checkpoint"]) >= {"source", "server", "at"}
    assert status["checkpoint"]["source"] == "dirsync"
    assert isinstance(status["lag_seconds"], float)
    assert status["brake"] is None
    assert status["next_retry"] is None


def test_the_journal_as_jsonl_and_csv(settled):
    settled.admin.disable("Ada Lovelace")
    settled.ok("run")
    lines = [json.loads(line) for line in settled.ok("journal", "export").out.splitlines()]
    keys = {"seq", "at", "kind", "guid", "email", "action", "state", "cause", "pass"}
    for line in lines:
        assert set(line) >= keys
        datetime.fromisoformat(line["at"])
    assert [line["seq"] for line in lines] == sorted({line["seq"] for line in lines})
    assert {"delta", "action", "pass"} <= {line["kind"] for line in lines}
    (suspended,) = [line for line in lines if line["action"] == "suspend" and line["state"] == "done"]
    assert suspended["email"] == ADA
    assert suspended["guid"] == settled.admin.guid("Ada Lovelace")
    assert suspended["pass"] == 2
    assert "disabled" in suspended["cause"]
    about_ada = settled.ok("journal", "export", "--person", ADA).out.splitlines()
    assert about_ada
    assert all(suspended["guid"] in line for line in about_ada)
    assert settled.ok("journal", "export", "--since", "2999-01-01").out == ""
    table = list(csv.DictReader(io.StringIO(settled.ok("journal", "export", "--format", "csv").out)))
    assert len(table) == len(lines)
    assert settled("journal", "export", "--since", "yesterday").code == 2
    mistyped = settled("journal", "export", "--person", "ada.lovelaec@example.test")
    assert mistyped.code == 2
    assert f"did you mean {ADA}" in mistyped.err
    assert settled("explain", "nobody at all").code == 2
    group = settled("explain", "Platform Team")
    assert group.code == 2
    assert "ad-connector explain --group 'Platform Team'" in group.err
    assert settled.ok("explain", "Nikola Tesla").out.count("no e-mail\n") == 1
    assert settled("replay", "--from", 5, "--to", 1).code == 2
    settled.ok("journal", "backup", "copy.db")
    assert (settled.folder / "copy.db").stat().st_mode & 0o777 == 0o600
    assert settled("journal", "backup", "copy.db").code == 2, "no copy is ever replaced"
    nowhere = settled("journal", "backup", "nowhere/copy.db")
    assert nowhere.code == -11
    assert "restore" not in nowhere.err, "nothing is wrong with the journal"
    assert settled("explain", "--group", "no such group").code == 2
    assert settled("approve", "0123456789ab").code == 2
    assert settled("undo", "999").code == 2
    beyond = settled.ok("replay", "--from", "999999")
    assert beyond.out == ""
    assert "the change log ends at line" in beyond.err


def test_settings_come_from_the_environment_too(world):
    world.configure(users={"sync_group": "Nowhere"})
    assert world("plan", AD_CONNECTOR__USERS__SYNC_GROUP="Dropbox").code == 0
    file = world.configure()
    assert world("plan", config="", AD_CONNECTOR_CONFIG=str(file)).code == 0
    assert world("plan", config="").code == 0, "./connector.toml"


def test_check_says_ok_for_everything_in_a_sandbox(world):
    done = world("check")
    assert done.code == 0, done.out
    assert {line.split()[0] for line in done.out.splitlines()} == {"ok", "warning"}, "one line each"
    world.mailbox.clear()
    assert world("check", "mail", "--send-mail").code == 0
    assert len(world.mailbox.wait_for_blocking(1)) == 1
    assert world.writes() == []


def test_check_names_each_fault_with_its_code(world):
    world.configure(directory={"password": "env:AD_PASSWORD"})
    done = world("check", "directory", AD_PASSWORD="wrong")
    assert done.code == -12
    assert "failed" in done.out
    world.configure(dropbox={"access_token": "env:TOKEN", "refresh_token": ""})
    done = world("check", "dropbox", TOKEN="sl.revoked-token")
    assert done.code == -14

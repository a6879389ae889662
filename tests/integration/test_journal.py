"""The journal through the command line: taken elsewhere, restored, damaged."""

import json
import socket

import pytest

ADA = "ada.lovelace@example.test"


@pytest.fixture(scope="module")
def settled(make_shared_world):
    world = make_shared_world()
    world.configure(users={"leave_settle_seconds": 0}, groups={"mode": "same"})
    world("run")
    world.accept_all()
    world.admin.disable("Ada Lovelace")
    world.admin.modify("Coco Chanel", sn="Bonheur")
    world("run")
    return world


def _second(world, name, *, simulation=False):
    """The configuration of a second host: the same, but for its journal."""
    return world.sandbox.write_configuration(
        f"{name}.toml",
        simulation=simulation,
        users={"leave_settle_seconds": 0},
        groups={"mode": "same"},
        journal={"path": str(world.folder / f"{name}.db")},
        log={"path": str(world.folder / f"{name}.log")},
    )


def _elsewhere(world, name, lines):
    """A configuration with another journal, made of these exported lines."""
    file = world.folder / f"{name}.jsonl"
    file.write_text(lines)
    config = _second(world, name, simulation=True)
    world.ok("journal", "import", file, config=config)
    return config


def test_a_journal_taken_elsewhere_explains_replays_and_plans_what_it_did_here(settled):
    config = _elsewhere(settled, "other", settled.ok("journal", "export", "--whole").out)
    for arguments in (("explain", ADA, "--json"), ("replay", "--from", 1, "--json")):
        here, there = settled.ok(*arguments).json, settled.ok(*arguments, config=config).json
        assert here == there
    settled.admin.disable("Willy Loman")
    here = settled("plan", "--format", "json").json
    there = settled("plan", "--format", "json", config=config).json
    assert here["actions"] == there["actions"]
    assert [row["action"] for row in there["actions"]] == ["suspend"]
    again = settled("journal", "import", settled.folder / "other.jsonl", config=config)
    assert again.code == -20
    assert "exists" in again.err


def test_a_pseudonymised_journal_explains_and_replays_without_a_name(settled):
    text = settled.ok("journal", "export", "--whole", "--pseudonymise").out
    for name in (
        "lovelace",
        "chanel",
        "bonheur",
        "sales",
        "example.test",
        settled.admin.guid("Ada Lovelace"),
    ):
        assert name not in text.lower()
    config = _elsewhere(settled, "hidden", text)
    rows = settled.ok("replay", "--from", 1, "--json", config=config).json
    here = settled.ok("replay", "--from", 1, "--json").json
    assert len(rows) == len(here) > 5
    key = lambda row: (row["changes"], row["wanted"], row["open"], row["differs"])  # noqa: E731
    assert sorted(map(key, rows)) == sorted(map(key, here))
    log = [json.loads(line) for line in settled.ok("journal", "export", config=config).out.splitlines()]
    [suspended] = [line for line in log if line["action"] == "suspend" and line["state"] == "done"]
    told = settled.ok("explain", suspended["email"], "--json", config=config).json
    assert {"suspend", "invite"} <= {one["action"] for one in told["actions"]}
    assert told["enabled"] is False
    settled.ok("journal", "verify", config=config)
    assert settled("journal", "export", "--pseudonymise").code == 2


def test_a_second_host_takes_over_once_the_first_is_silent_and_the_first_is_told_to_stop(settled):
    folder = settled.folder / "standby"
    assert settled("journal", "backup", "--incremental", folder).code == -11
    folder.mkdir(mode=0o700)
    assert "a new base copy" in settled.ok("journal", "backup", "--incremental", folder).out
    settled.admin.modify("Coco Chanel", sn="Chasnel")
    settled("run")
    assert " lines to " in settled.ok("journal", "backup", "--incremental", folder).out
    config = _second(settled, "second")
    refused = settled("journal", "restore", folder, config=config)
    assert refused.code == -19
    assert "--primary-is-stopped" in refused.err
    with socket.create_server(("127.0.0.1", 0)) as primary:
        address = f"127.0.0.1:{primary.getsockname()[1]}"
        asked = ("journal", "restore", folder, "--primary-is-stopped", "--primary", address)
        assert settled(*asked, config=config).code == -19
    settled.ok(*asked, config=config)
    settled.ok("journal", "verify", config=config)
    settled.forget_exchanges()
    before = settled.effects()["invitations"]
    settled("run", config=config)
    assert settled.writes() == []
    settled.admin.modify("Coco Chanel", sn="Chanel")
    settled("run", config=config)
    assert [kind for kind, _ in settled.sent()] == ["update"]
    assert settled.effects()["invitations"] == before
    late = settled("journal", "backup", "--incremental", folder)
    assert late.code == -19
    assert "stop this connector" in late.err
    assert settled("journal", "restore", folder, config=config).code == -19
    assert "restored on" in settled.ok("journal", "export", config=config).out


def test_a_journal_deleted_under_a_running_watch_ends_it_with_minus_20_and_a_new_one_begins_well(settled):
    config = _second(settled, "fragile")
    settled("run", config=config)
    running = settled.watch(config=config)
    for suffix in ("", "-wal", "-shm"):
        (settled.folder / f"fragile.db{suffix}").unlink(missing_ok=True)
    settled.admin.modify("Coco Chanel", sn="Anew")
    assert running.wait() == -20
    log = (settled.folder / "fragile.log").read_text().splitlines()
    assert log[-1] == "exit code: -20"
    assert "was deleted or replaced" in "\n".join(log)
    settled.forget_exchanges()
    settled("run", config=config)
    assert [kind for kind, _ in settled.sent()] == ["update"]

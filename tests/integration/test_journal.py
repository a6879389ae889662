"""The journal through the command line: taken elsewhere, restored, damaged."""

import json

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


def _elsewhere(world, name, lines):
    """A configuration with another journal, made of these exported lines."""
    file = world.folder / f"{name}.jsonl"
    file.write_text(lines)
    config = world.sandbox.write_configuration(
        f"{name}.toml",
        simulation=True,
        users={"leave_settle_seconds": 0},
        groups={"mode": "same"},
        journal={"path": str(world.folder / f"{name}.db")},
    )
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
    assert [one["action"] for one in told["actions"]] == ["suspend", "invite"]
    assert told["enabled"] is False
    settled.ok("journal", "verify", config=config)
    assert settled("journal", "export", "--pseudonymise").code == 2

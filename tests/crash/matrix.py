"""A history that can be crashed anywhere: changes on both sides, a killed pass, a good pass, and what must have come of it.

Each round makes six new people and changes the six of the round before, one of each kind: renamed, disabled,
left, deleted, another e-mail, left alone. So every pass invites, updates, suspends and removes.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

VICTIM = Path(__file__).with_name("victim.py")
ROOT = Path(__file__).resolve().parents[2]
ROLES = ("renamed", "disabled", "left", "deleted", "moved", "calm")


@dataclass
class Expected:
    """What the team must be, by e-mail: (status, given name); and what it must have noticed, by e-mail."""

    members: dict[str, tuple[str, str]] = field(default_factory=dict)
    invitations: dict[str, int] = field(default_factory=dict)
    suspensions: dict[str, int] = field(default_factory=dict)
    removals: dict[str, int] = field(default_factory=dict)


class Matrix:
    """`sandbox`: sandbox.environment.Sandbox, started, without people. Blocking; run it in a thread."""

    def __init__(self, sandbox: Any, configuration: Path) -> None:
        self.sandbox = sandbox
        self.configuration = configuration
        self.expected = Expected()
        self.round = 0
        self.administrator = sandbox.administrator()
        self.administrator.create_group("Dropbox")
        self._guids: dict[str, str] = {}

    def start(self) -> None:
        """Thirty people who stay, so that the brake's own rule (half of all) is far away; then one round."""
        for number in range(30):
            self._create(f"base{number}", "Base")
        self.good_pass()
        self._accept()
        self.change()
        self.good_pass()

    def change(self) -> None:
        """A round of changes in the directory and in the team."""
        self._accept()
        administrator, before = self.administrator, self.round
        self.round += 1
        if before:
            email = {role: f"{role}{before}@example.test" for role in ROLES}
            guid = {role: self._guids[f"{role}{before}"] for role in ROLES}
            administrator.modify(guid["renamed"], givenName=f"Renamed{before}")
            self.expected.members[email["renamed"]] = ("active", f"Renamed{before}")
            administrator.disable(guid["disabled"])
            administrator.remove_members("Dropbox", guid["left"])
            for role in ("disabled", "left"):
                self.expected.members[email[role]] = ("suspended", "New")
                self.expected.suspensions[email[role]] = 1
            administrator.delete(guid["deleted"])
            self.expected.members[email["deleted"]] = ("removed", "New")
            self.expected.removals[email["deleted"]] = 1
            administrator.modify(guid["moved"], mail=f"moved{before}.new@example.test")
            del self.expected.members[email["moved"]]
            self.expected.members[f"moved{before}.new@example.test"] = ("active", "New")
        for role in ROLES:
            self._create(f"{role}{self.round}", "New")

    def crash_at(self, point: str, number: int) -> bool:
        """Runs a pass that dies at this point. False: it ended before it came there so often."""
        return self._victim(point, number).returncode == -signal.SIGKILL

    def crash_after(self, seconds: float) -> bool:
        process = subprocess.Popen(
            self._command("none", 1), env=_environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            return True
        return False

    def count_points(self) -> dict[str, int]:
        """A whole pass: how often it comes by each point."""
        done = self._victim("none", 0)
        assert done.returncode == 0, done.stderr
        counts: dict[str, int] = json.loads(done.stderr.strip().splitlines()[-1])
        return counts

    def good_pass(self) -> None:
        done = self._victim("none", 1)
        assert done.returncode == 0, done.stderr[-3000:]

    def check(self) -> None:
        """The team is as an uninterrupted history would have left it, and nobody noticed anything twice."""
        team = self.sandbox.team.team
        shown = {
            member.email: (member.status, member.given_name)
            for member in team.members
            if not member.email.startswith("it-admin")
        }
        assert shown == self.expected.members
        effects = team.effects
        assert dict(effects.invitations) == self.expected.invitations
        assert dict(effects.welcome_mails) == self.expected.invitations
        by_id = {member.id: member.email for member in team.members}
        assert {
            by_id[one]: number for one, number in effects.suspensions.items()
        } == self.expected.suspensions
        assert {by_id[one]: number for one, number in effects.removals.items()} == self.expected.removals
        wipes = {by_id[one]: number for one, number in effects.wipes.items()}
        assert wipes == {**self.expected.suspensions, **self.expected.removals}

    def close(self) -> None:
        self.administrator.close()

    # --- inside

    def _create(self, account: str, given_name: str) -> None:
        email = f"{account}@example.test"
        guid = self.administrator.create_user(
            account, account=account, given_name=given_name, surname="Person", mail=email
        )
        self.administrator.add_members("Dropbox", guid)
        self._guids[account] = guid
        self.expected.members[email] = ("invited", given_name)
        self.expected.invitations[email] = 1

    def _accept(self) -> None:
        """Everybody who is invited joins."""
        for member in list(self.sandbox.team.team.members):
            if member.status == "invited":
                self.sandbox.team.console.accept(member.email)
                self.expected.members[member.email] = ("active", self.expected.members[member.email][1])

    def _command(self, point: str, number: int) -> list[str]:
        start = [sys.executable, "-P", str(VICTIM), point, str(number), "--"]
        return [*start, "--config", str(self.configuration), "run"]

    def _victim(self, point: str, number: int) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self._command(point, number),
            env=_environment(),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def every_point(matrix: Matrix, *, seed: int, most: int | None) -> dict[str, int]:
    """One crash a round, at each time that a pass comes by each point, or at `most` of them drawn with `seed`."""
    matrix.change()
    counts = matrix.count_points()
    matrix.check()
    places = [(point, number) for point, times in sorted(counts.items()) for number in range(1, times + 1)]
    if most is not None:
        places = random.Random(seed).sample(places, min(most, len(places)))
    died = 0
    for point, number in places:
        matrix.change()
        died += matrix.crash_at(point, number)
        matrix.good_pass()
        matrix.check()
    return {"points": len(places), "killed": died}


def random_instants(matrix: Matrix, *, seed: int, times: int) -> dict[str, int]:
    """Kills at random instants of a pass."""
    dice = random.Random(seed)
    matrix.change()
    started = time.monotonic()
    matrix.good_pass()
    length = time.monotonic() - started
    killed = 0
    for _ in range(times):
        matrix.change()
        killed += matrix.crash_after(dice.uniform(0.3, 1.1) * length)
        matrix.good_pass()
        matrix.check()
    return {"instants": times, "killed": killed}

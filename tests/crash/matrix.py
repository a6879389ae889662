"""A history that can be crashed anywhere: changes on both sides, a killed pass, a good pass, and what must have come of it.

Each round makes six new people and changes the six of the round before, one of each kind: renamed, disabled,
left, deleted, another e-mail, left alone. Who was disabled a round earlier comes back, a nested group takes its next name,
three join it, three leave it. So every pass invites, updates, suspends, unsuspends, removes, renames a group and changes its
members.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

VICTIM = Path(__file__).with_name("victim.py")
ROOT = Path(__file__).resolve().parents[2]
ROLES = ("renamed", "disabled", "left", "deleted", "moved", "calm")
IN_UNIT = ("left", "deleted", "calm")


@dataclass
class Expected:
    """What the team must be, by e-mail: (status, given name); and what it must have noticed, by e-mail."""

    members: dict[str, tuple[str, str]] = field(default_factory=dict)
    invitations: dict[str, int] = field(default_factory=dict)
    suspensions: dict[str, int] = field(default_factory=dict)
    removals: dict[str, int] = field(default_factory=dict)
    unsuspensions: dict[str, int] = field(default_factory=dict)
    unit: set[str] = field(default_factory=set)
    joined: set[str] = field(default_factory=set)  # who was ever put into the unit
    left: set[str] = field(default_factory=set)  # who was taken out of it, not with the account


class Matrix:
    """`sandbox`: sandbox.environment.Sandbox, started, without people. Blocking; run it in a thread."""

    def __init__(self, sandbox: Any, configuration: Path) -> None:
        self.sandbox = sandbox
        self.configuration = configuration
        self.expected = Expected()
        self.round = 0
        self.administrator = sandbox.administrator()
        self.administrator.create_group("Dropbox")
        self.unit = self.administrator.create_group("Unit 0")
        self.administrator.add_members("Dropbox", self.unit)
        self._guids: dict[str, str] = {}
        process = subprocess.Popen(
            [sys.executable, "-P", str(VICTIM), str(configuration.with_name("victim.out"))],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        self._process: Any = process

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
            administrator.remove_members(self.unit, guid["left"], guid["calm"])
            self.expected.unit -= {email[role] for role in IN_UNIT}
            self.expected.left |= {email["left"], email["calm"]}
        if before > 1:
            back = f"disabled{before - 1}"
            administrator.enable(self._guids[back])
            self.expected.members[f"{back}@example.test"] = ("active", "New")
            self.expected.unsuspensions[f"{back}@example.test"] = 1
        for role in ROLES:
            self._create(f"{role}{self.round}", "New")
        administrator.add_members(self.unit, *(self._guids[f"{role}{self.round}"] for role in IN_UNIT))
        administrator.rename(self.unit, f"Unit {self.round}")
        joining = {f"{role}{self.round}@example.test" for role in IN_UNIT}
        self.expected.unit |= joining
        self.expected.joined |= joining

    def crash_at(self, point: str, number: int) -> bool:
        """Runs a pass that dies at this point. False: it ended before it came there so often."""
        return self._ended(self._victim(point=point, number=number))

    def crash_after(self, seconds: float) -> bool:
        """False: it ended earlier."""
        return self._ended(self._victim(seconds=seconds))

    def _ended(self, answer: dict[str, Any]) -> bool:
        """Whether it was killed; that it ended well otherwise is checked."""
        killed: bool = answer["status"] == -signal.SIGKILL
        assert killed or answer["status"] == 0, answer
        return killed

    def count_points(self) -> dict[str, int]:
        """A whole pass: how often it comes by each point."""
        answer = self._victim()
        assert answer["status"] == 0, answer
        counts: dict[str, int] = answer["counts"]
        return counts

    def good_pass(self) -> float:
        """Returns the seconds it took."""
        answer = self._victim()
        assert answer["status"] == 0, answer
        return float(answer["seconds"])

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

        def counted(numbers: dict[str, int]) -> dict[str, int]:
            return {by_id[one]: number for one, number in numbers.items()}

        assert counted(effects.suspensions) == self.expected.suspensions
        assert counted(effects.unsuspensions) == self.expected.unsuspensions
        assert counted(effects.removals) == self.expected.removals
        assert counted(effects.wipes) == {**self.expected.suspensions, **self.expected.removals}
        self._check_unit(by_id)

    def _check_unit(self, by_id: dict[str, str]) -> None:
        team = self.sandbox.team.team
        units = [group for group in team.groups if group.management == "company_managed"]
        assert [group.name for group in units] == [f"Unit {self.round}"]
        assert {by_id[one] for one in units[0].members} == self.expected.unit
        joins, leaves = (
            {by_id[pair.partition(" ")[2]]: number for pair, number in counts.items()}
            for counts in (team.effects.group_joins, team.effects.group_leaves)
        )
        assert joins == dict.fromkeys(self.expected.joined, 1)
        # Who is removed leaves the group by that, or was taken out of it just before.
        assert {who: number for who, number in leaves.items() if who not in self.expected.removals} == (
            dict.fromkeys(self.expected.left, 1)
        )
        assert set(leaves.values()) <= {1}

    def close(self) -> None:
        self.administrator.close()
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

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

    def _victim(self, *, point: str = "", number: int = 0, seconds: float | None = None) -> dict[str, Any]:
        request = {
            "arguments": ["--config", str(self.configuration), "run"],
            "point": point,
            "number": number,
            "seconds": seconds,
        }
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, "the victim's host has died"
        answer: dict[str, Any] = json.loads(line)
        return answer


@dataclass
class Course:
    """How a run of the matrix goes on: `told` hears how far it is, `may_go_on` is asked before every round."""

    told: Callable[[str], None] = lambda _: None
    may_go_on: Callable[[], bool] = lambda: True


def every_point(
    matrix: Matrix, *, seed: int, most: int | None, course: Course | None = None
) -> dict[str, int]:
    """One crash a round, at each time that a pass comes by each point, or at `most` of them drawn with `seed`."""
    course = course or Course()
    matrix.change()
    counts = matrix.count_points()
    matrix.check()
    places = [(point, number) for point, times in sorted(counts.items()) for number in range(1, times + 1)]
    # Drawn, or all in an order that a run which is stopped early has been everywhere.
    places = random.Random(seed).sample(places, min(most or len(places), len(places)))
    killed = tried = 0
    for point, number in places:
        if not course.may_go_on():
            break
        matrix.change()
        tried += 1
        killed += matrix.crash_at(point, number)
        matrix.good_pass()
        matrix.check()
        course.told(f"{tried} of {len(places)} named points, {killed} killed")
    return {"points": len(places), "tried": tried, "killed": killed}


def random_instants(matrix: Matrix, *, seed: int, times: int, course: Course | None = None) -> dict[str, int]:
    """Kills at `times` random instants: two a round, of the pass and of the one that would repair it."""
    course = course or Course()
    dice = random.Random(seed)
    matrix.change()
    seconds = matrix.good_pass()
    killed = rounds = 0
    while killed < times and rounds < 2 * times and course.may_go_on():
        matrix.change()
        rounds += 1
        for _ in range(2):
            killed += killed < times and matrix.crash_after(dice.uniform(0.0, 1.0) * seconds)
        seconds = matrix.good_pass()
        matrix.check()
        course.told(f"{killed} of {times} random instants, {rounds} rounds")
    return {"rounds": rounds, "killed": killed}

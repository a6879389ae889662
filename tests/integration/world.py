"""What a black-box test acts with: the program as a process, the administrator of the directory, the team from outside.

Nothing here looks into the program: only its command line, its log, its exit status, and what the team and the
mail server got.
"""

import contextlib
import importlib.util
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from sandbox.environment import ADMIN_EMAIL
from sandbox.population import STANDARD, people_in
from sandbox.team.faults import Fault

ROOT = Path(__file__).resolve().parents[2]
READS = {
    "team/get_info",
    "team/token/get_authenticated_admin",
    "team/members/list_v2",
    "team/members/list/continue_v2",
    "team/members/get_info_v2",
    "team/groups/list",
    "team/groups/list/continue",
    "team/groups/get_info",
    "team/groups/members/list",
    "team/groups/members/list/continue",
    "team_log/get_events",
    "team_log/get_events/continue",
    "team/members/add/job_status/get_v2",
    "team/members/remove/job_status/get",
}
SETTLED_SECONDS = 20.0


def _load_oracle():
    path = ROOT / "tests" / "sandbox_team" / "stone_oracle.py"
    spec = importlib.util.spec_from_file_location("integration_stone_oracle", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def wait_until(condition, what, *, seconds=SETTLED_SECONDS):
    """The condition's first true answer. Fails when the deadline passes."""
    deadline = time.monotonic() + seconds
    while True:
        if answer := condition():
            return answer
        if time.monotonic() > deadline:
            said = what() if callable(what) else what
            raise AssertionError(f"not within {seconds:g} s: {said}")
        select.select([], [], [], 0.01)


def signed(status):
    """The exit code of behaviour.md §10 from what a shell sees; a death by signal stays negative and below -100."""
    if status < 0:
        return status - 1000
    return status - 256 if status > 127 else status


def standard_emails():
    """Whom the standard population wants in the team: enabled, with an e-mail, in `Dropbox` through any nesting."""
    names = people_in(STANDARD, "Dropbox")
    return {
        person.mail
        for person in STANDARD.people
        if person.name in names and person.mail and person.is_enabled
    }


def planned(plan):
    """What a plan lists, comparable with `World.sent`."""
    return sorted(
        (row["action"], row["email"] if row["action"] == "invite" else f"ad-guid:{row['guid']}")
        for row in plan["actions"]
    )


@dataclass
class Done:
    code: int
    out: str
    err: str

    @property
    def json(self):
        return json.loads(self.out)


class Running:
    """A process of the program that goes on; its output goes into files, so that nothing ever blocks it."""

    def __init__(self, command, folder, environment, name):
        self.out_file = folder / f"{name}.out"
        self.err_file = folder / f"{name}.err"
        with self.out_file.open("wb") as out, self.err_file.open("wb") as err:
            self.process = subprocess.Popen(
                command, stdout=out, stderr=err, stdin=subprocess.DEVNULL, cwd=folder, env=environment
            )

    @property
    def out(self):
        return self.out_file.read_text()

    @property
    def err(self):
        return self.err_file.read_text()

    @property
    def is_alive(self):
        return self.process.poll() is None

    def wait_ready(self):
        wait_until(lambda: "ready\n" in self.out or not self.is_alive, lambda: f"ready: {self.err}")
        assert self.is_alive, self.err

    def kill(self):
        self.process.kill()
        self.process.wait(10)

    def terminate(self, seconds=30):
        """SIGTERM; answers the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.wait(seconds)

    def wait(self, seconds=60):
        return signed(self.process.wait(seconds))


class World:
    def __init__(self, sandbox, portal, *, exit_stack):
        self.sandbox = sandbox
        self.folder = sandbox.folder
        self.portal = portal
        self.admin = exit_stack.enter_context(sandbox.administrator())
        self.mailbox = sandbox.mailbox
        self.config = sandbox.write_configuration()
        self.log_file = self.folder / "ad-connector.log"
        self.journal_file = self.folder / "journal.db"
        self._running = []
        self._oracle = _load_oracle()
        self._names = Counter()

    # --- the program

    def environment(self, **more):
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "PYTHONPATH": str(ROOT),
            "LANG": "C.UTF-8",
            **more,
        }

    def command(self, *arguments, config=None):
        chosen = [] if config == "" else ["--config", str(config or self.config)]
        return [sys.executable, "-P", "-m", "pipeline", *chosen, *map(str, arguments)]

    def __call__(self, *arguments, config=None, seconds=90, prefix=(), **environment):
        done = subprocess.run(
            [*prefix, *self.command(*arguments, config=config)],
            capture_output=True,
            text=True,
            check=False,
            cwd=self.folder,
            env=self.environment(**environment),
            stdin=subprocess.DEVNULL,
            timeout=seconds,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return Done(signed(done.returncode), done.stdout, done.stderr)

    def ok(self, *arguments, **options):
        done = self(*arguments, **options)
        assert done.code == 0, f"{arguments} ended with {done.code}:\n{done.out}\n{done.err}"
        return done

    def start(self, *arguments, config=None):
        self._names[arguments[0]] += 1
        name = f"{arguments[0]}-{self._names[arguments[0]]}"
        running = Running(self.command(*arguments, config=config), self.folder, self.environment(), name)
        self._running.append(running)
        return running

    def watch(self, config=None):
        running = self.start("watch", config=config)
        running.wait_ready()
        return running

    def configure(self, **changes):
        """Writes `connector.toml` anew: sections as dictionaries, top keys as they are."""
        self.config = self.sandbox.write_configuration(**changes)
        return self.config

    def status(self):
        return self.ok("status", "--json").json

    @property
    def log_lines(self):
        return self.log_file.read_text().splitlines() if self.log_file.exists() else []

    def check_exit_line(self, code, done=None):
        """The pass ended its log with its exit code on a line of its own; the shell saw the same."""
        assert self.log_lines[-1] == f"exit code: {code}", self.log_lines[-5:]
        if done is not None:
            assert done.code == code, done.err

    # --- the team

    def inside(self, function, *arguments):
        """Runs where the simulator lives: it is not made for threads."""
        return self.portal.call(function, *arguments)

    @property
    def team(self):
        return self.sandbox.team

    def members(self, *, removed=True):
        """All but the admin, by e-mail."""

        def look():
            return {
                member.email: member
                for member in self.team.team.members
                if member.email != ADMIN_EMAIL and (removed or member.status != "removed")
            }

        return self.inside(look)

    def states(self):
        return {email: member.status for email, member in self.members().items()}

    def statuses(self, *emails):
        states = self.states()
        return [states.get(email, "") for email in emails]

    def console(self, action, *arguments, **named):
        return self.inside(lambda: getattr(self.team.console, action)(*arguments, **named))

    def accept_all(self):
        return self.console("accept_all")

    def join_standard_people(self):
        """As if an earlier journal had invited them, and all had accepted."""
        emails = standard_emails()

        def join():
            for person in STANDARD.people:
                if person.mail in emails:
                    console = self.team.console
                    console.add(
                        person.mail, given_name=person.given_name, surname=person.surname, welcome=False
                    )
                    console.set_external_id(person.mail, f"ad-guid:{self.sandbox.guids[person.name]}")
                    console.accept(person.mail)

        self.inside(join)

    def effects(self):
        return self.inside(self.team.team.effects.as_json)

    def fault(self, kind, route="*", **fields):
        fault = Fault(kind, route, **fields)
        self.inside(lambda: self.team.faults.add(fault))
        return fault

    def no_more_faults(self):
        self.inside(self.team.faults.clear)

    def exchanges(self, route=None):
        return self.inside(lambda: self.team.team.timeline.exchanges(route))

    def writes(self):
        """Every request that may change the team, whatever became of it."""
        return [one for one in self.exchanges() if one.route not in READS and one.route != "oauth2/token"]

    def sent(self):
        """What really was sent, as (action, who): who is an e-mail for an invitation, else the external id."""
        names = {
            "team/members/set_profile_v2": "update",
            "team/members/suspend": "suspend",
            "team/members/unsuspend": "unsuspend",
            "team/members/recover": "recover",
        }
        members = {member.id: member for member in self.members().values()}
        sent = []
        for one in self.writes():
            wanted = one.request_json
            if one.route == "team/members/add_v2":
                sent += [("invite", item["member_email"]) for item in wanted["new_members"]]
                continue
            member = members[wanted.get("user", wanted)["team_member_id"]]
            gone = "remove" if member.joined_on else "revoke_invite"
            sent.append((names.get(one.route, gone), member.external_id))
        return sorted(sent)

    def forget_exchanges(self):
        """The oracle reads them first."""
        self.check_exchanges()
        self.inside(self.team.team.timeline.clear)

    def check_exchanges(self):
        complaints = []
        for one in self.exchanges():
            if one.route == "oauth2/token":
                continue
            # A reply that a fault has made up or spoilt is not the connector's doing: then only the request counts.
            status = 500 if one.fault or one.status == 0 else one.status
            complaints += self._oracle.check_exchange(one.route, one.request, status, one.reply)
        assert complaints == []

    # --- the end

    def close(self):
        for running in self._running:
            if running.is_alive:
                running.kill()

    def unused_port(self):
        with contextlib.closing(socket.socket()) as free:
            free.bind(("127.0.0.1", 0))
            return free.getsockname()[1]

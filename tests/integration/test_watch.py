"""`watch`: changes made with plain LDAP modifies reach the team within `poll_seconds` + 1 s (issue 2, point 3)."""

import signal
import socket
import sys
import time

ADA = "ada.lovelace@example.test"
ALAN = "alan.turing@example.test"
COCO = "coco.chanel@example.test"
ESTEE = "estee.lauder@example.test"
HEDY = "hedy.lamarr@example.test"
INGVAR = "ingvar.kamprad@example.test"
KATHERINE = "katherine.johnson@example.test"
LINUS = "linus.pauling@example.test"
WILLY = "willy.loman@example.test"

GENEROUS_SECONDS = 15.0  # the figure is printed; the machine of a test is no place to judge it


class Stopwatch:
    """Measures from the moment the directory has accepted the change."""

    def __init__(self, world, tools):
        self._world = world
        self._tools = tools
        self.rows = []

    def __call__(self, what, change, arrived):
        change()
        started = time.monotonic()
        self._tools.wait_until(arrived, lambda: f"{what}: {self._world.states()}", seconds=GENEROUS_SECONDS)
        self.rows.append((what, time.monotonic() - started))

    def show(self):
        lines = [f"    {what:<46} {seconds * 1000:7.0f} ms" for what, seconds in self.rows]
        limit = self._world.sandbox.options.poll_seconds + 1
        over = sum(seconds > limit for _, seconds in self.rows)
        sys.stderr.write(
            "\n".join(["", f"from LDAP to the team, {over} of {len(lines)} over {limit:g} s:", *lines, ""])
        )


def test_watch_carries_every_kind_of_change_into_the_team(settled, tools, capfd):
    world, admin = settled, settled.admin
    status = lambda email: world.states().get(email, "")  # noqa: E731
    watch = world.watch()
    clock = Stopwatch(world, tools)

    clock(
        "last name changed",
        lambda: admin.modify("Ada Lovelace", sn="King"),
        lambda: world.members()[ADA].surname == "King",
    )
    clock(
        "e-mail changed",
        lambda: admin.modify("Alan Turing", mail="a.turing@example.test"),
        lambda: "a.turing@example.test" in world.members(),
    )
    clock("disabled", lambda: admin.disable("Ada Lovelace"), lambda: status(ADA) == "suspended")
    clock("enabled", lambda: admin.enable("Ada Lovelace"), lambda: status(ADA) == "active")
    clock(
        "new user into a nested group",
        lambda: admin.add_members(
            "Platform Team",
            admin.create_user("New Comer", given_name="New", surname="Comer", mail="new.comer@example.test"),
        ),
        lambda: status("new.comer@example.test") == "invited",
    )
    clock(
        "joined a nested group",
        lambda: admin.add_members("Sales Europe", "Katherine Johnson"),
        lambda: status(KATHERINE) == "invited",
    )
    clock(
        "invited leaver",
        lambda: admin.remove_members("Sales Europe", "Katherine Johnson"),
        lambda: status(KATHERINE) in ("", "removed"),
    )
    clock("left", lambda: admin.remove_members("Dropbox", "Hedy Lamarr"), lambda: status(HEDY) == "suspended")
    clock(
        "joined again", lambda: admin.add_members("Dropbox", "Hedy Lamarr"), lambda: status(HEDY) == "active"
    )
    clock(
        "nested group removed",
        lambda: admin.remove_members("Sales Team", "Sales Europe"),
        lambda: {status(COCO), status(INGVAR)} == {"suspended"},
    )
    clock(
        "nested group added",
        lambda: admin.add_members("Sales Team", "Sales Europe"),
        lambda: {status(COCO), status(INGVAR)} == {"active"},
    )
    clock(
        "primary group set",
        lambda: admin.set_primary_group("Katherine Johnson", "Sales Team"),
        lambda: status(KATHERINE) == "invited",
    )
    clock(
        "primary group changed back",
        lambda: admin.set_primary_group("Katherine Johnson", "Domain Users"),
        lambda: (
            status(KATHERINE) == "invited"
        ),  # setting a primary group leaves the old one as a plain member
    )
    guids = {}
    clock(
        "deleted",
        lambda: guids.update(estee=admin.delete("Estee Lauder")),
        lambda: status(ESTEE) == "removed",
    )

    def restore():
        admin.restore(guids["estee"], givenName="Estee", sn="Lauder", mail=ESTEE, userAccountControl=544)
        admin.add_members("Sales Team", guids["estee"])

    clock("restored and added again", restore, lambda: status(ESTEE) == "active")
    clock(
        "moved to another unit and renamed",
        lambda: _move(admin),
        lambda: world.members()[WILLY].surname == "Highman",
    )
    clock(
        "everybody of a group deleted",
        lambda: admin.delete("Sales Europe"),
        lambda: status(COCO) == "suspended",
    )

    with capfd.disabled():
        clock.show()
    assert watch.terminate() == 0
    assert "exit code: 0" in watch.err.splitlines()[-1]
    wipes = world.effects()["suspensions"]
    assert set(wipes.values()) <= {1, 2}


def _move(admin):
    admin.move("Willy Loman", "Research")
    admin.rename("Willy Loman", "William Loman")
    admin.modify("William Loman", sn="Highman")


def test_many_changes_of_one_person_end_in_the_last(settled, tools):
    watch = settled.watch()
    for number in range(30):
        settled.admin.modify("Ada Lovelace", sn=f"Number {number}")
    tools.wait_until(lambda: settled.members()[ADA].surname == "Number 29", "the last name arrived")
    assert watch.terminate() == 0
    assert settled.members()[ADA].surname == "Number 29"


def test_an_idle_watch_sends_no_write_and_makes_no_pass(settled, tools):
    settled.configure(dropbox={"drift_poll_seconds": 0})  # the team's log tells of those who joined just now
    watch = settled.watch()
    passes = settled.status()["last_pass"]["id"]
    seen = len(settled.log_lines)
    tools.wait_until(lambda: _has_polled(settled, tools), "some polls went by")
    assert settled.writes() == []
    assert settled.status()["last_pass"]["id"] == passes
    assert len(settled.log_lines) == seen
    assert watch.terminate() == 0


def _has_polled(world, tools):
    """A later change is carried: so polls before it went by without a trace."""
    started = time.monotonic()
    tools.wait_until(lambda: time.monotonic() - started > 3.5, "three polls")
    return True


def test_sigterm_drains_what_is_under_way_and_ends_with_0(settled, tools):
    watch = settled.watch()
    settled.fault("delay_after", "team/members/set_profile_v2", seconds=2.0)
    settled.admin.modify("Ada Lovelace", sn="King")
    tools.wait_until(lambda: settled.exchanges("team/members/set_profile_v2"), "the request is under way")
    assert watch.terminate() == 0
    status = settled.status()
    assert status["last_pass"]["actions"] == {"update": 1}
    assert status["pending"] == {"waiting": 0, "retry": 0, "failed": 0, "held": 0}
    settled.forget_exchanges()
    settled.ok("run")
    assert settled.writes() == []


def test_a_second_sigterm_gives_up_at_once(settled, tools):
    watch = settled.watch()
    settled.fault("delay_after", "team/members/set_profile_v2", seconds=25.0)
    settled.admin.modify("Ada Lovelace", sn="King")
    tools.wait_until(lambda: settled.exchanges("team/members/set_profile_v2"), "the request is under way")
    watch.process.send_signal(signal.SIGTERM)
    tools.wait_until(lambda: "draining" in watch.err, "it drains")
    watch.process.send_signal(signal.SIGTERM)
    assert watch.wait(10) == -17, "not everything that was wanted is done"
    assert "a second signal gave up" in watch.err
    assert watch.err.splitlines()[-1] == "exit code: -17"
    settled.forget_exchanges()
    settled.ok("run")
    assert settled.writes() == [], "the update had its effect: read back, not sent again"


def test_a_second_instance_ends_with_minus_19_and_names_the_first(settled):
    watch = settled.watch()
    for command in ("run", "watch"):
        done = settled(command)
        assert done.code == -19
        assert str(watch.process.pid) in done.err
        assert "watch" in done.err
        assert socket.gethostname() in done.err
        assert "exit code: -19" in done.err
    log = "\n".join(settled.log_lines)
    assert "-19" not in log
    assert "another instance" not in log
    assert watch.terminate() == 0
    assert settled.mailbox.received == ()


def test_reading_commands_work_beside_a_watch(settled):
    watch = settled.watch()
    assert str(watch.process.pid) in settled.ok("status").out
    assert "  pass 1  exit code 0\n" in settled.ok("journal", "show").out
    assert settled.ok("journal", "export", "--format", "csv").out.startswith("seq,at,kind")
    settled.ok("journal", "backup", settled.folder / "backup.db")
    settled.ok("check", "journal")
    assert "ok" in settled.ok("check", "directory").out
    assert watch.terminate() == 0


def test_watch_goes_on_after_an_outage_of_the_directory(settled, tools):
    watch = settled.watch()
    settled.sandbox.domain.kill_blocking()
    tools.wait_until(lambda: "exit code: -12" in watch.err, "the outage is told", seconds=40)
    settled.sandbox.domain.start_blocking()
    settled.admin.modify("Ada Lovelace", sn="King")
    tools.wait_until(
        lambda: settled.members()[ADA].surname == "King", "the change arrived after the outage", seconds=60
    )
    tools.wait_until(lambda: len(settled.mailbox.received) == 2, "one mail at its begin, one at its end")
    assert watch.err.count("exit code: -12") == 1
    assert watch.terminate() == 0


def test_watch_goes_on_after_an_outage_of_dropbox(settled, tools):
    watch = settled.watch()
    settled.fault("503", "team/*", count=None, retry_after=1)
    settled.admin.modify("Ada Lovelace", sn="King")
    tools.wait_until(
        lambda: settled.inside(lambda: settled.team.faults.queue[0].hits) >= 1, "the outage is met"
    )
    settled.no_more_faults()
    tools.wait_until(
        lambda: settled.members()[ADA].surname == "King", "it arrived after the outage", seconds=60
    )
    assert watch.terminate() == 0


def test_watch_notices_a_changed_acceptance_and_sends_the_waiting_update(world, tools):
    world.ok("run")
    watch = world.watch()
    world.admin.modify("Ada Lovelace", sn="King")
    tools.wait_until(lambda: world.status()["pending"]["waiting"] == 1, "the update waits")
    assert world.members()[ADA].surname == "Lovelace"
    world.console("accept", ADA)
    world.ok("retry", "--person", ADA)
    tools.wait_until(lambda: world.members()[ADA].surname == "King", "the update came after joining")
    assert watch.terminate() == 0

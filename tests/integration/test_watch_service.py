"""`watch` as a service: what it tells systemd, its monitors and its admin, and how it takes a new configuration."""

import json
import os
import signal
import socket
import threading
import urllib.error
import urllib.request

import pytest

ADA = "ada.lovelace@example.test"
HEDY = "hedy.lamarr@example.test"


class NotifySocket:
    """What systemd would hear (sd_notify(3))."""

    def __init__(self, folder):
        self.path = folder / "notify"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(self.path))
        self._heard = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self):
        while lines := self._socket.recv(4096).decode().splitlines():
            self._heard.append(lines)

    def heard(self):
        return list(self._heard)

    def count(self, word):
        return sum(word in lines for lines in self.heard())

    def close(self):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as last:
            last.sendto(b"", str(self.path))
        self._reader.join(10)
        self._socket.close()


@pytest.fixture
def notify(tmp_path_factory):
    listener = NotifySocket(tmp_path_factory.mktemp("n"))
    yield listener
    listener.close()


def start(world, tools, notify, **environ):
    """A watch under a supervisor that wants a sign of life every 0.4 s."""
    before = {name: os.environ.get(name) for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC")}
    original = world.environment
    world.environment = lambda **more: original(
        NOTIFY_SOCKET=str(notify.path), WATCHDOG_USEC="400000", **environ, **more
    )
    try:
        running = world.start("watch")
    finally:
        world.environment = original
    assert {name: os.environ.get(name) for name in before} == before
    running.wait_ready()
    return running


def get(port, path):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as reply:
            return reply.status, reply.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def metrics(port):
    """The samples by name and labels, as they stand in the text."""
    status, text = get(port, "/metrics")
    assert status == 200
    return {
        name: float(value)
        for name, _, value in (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
    }


def test_a_service_tells_how_it_is_and_takes_a_new_configuration_only_when_it_is_good(settled, tools, notify):
    world = settled
    port = world.unused_port()
    options = {"service": {"listen": f"127.0.0.1:{port}"}, "canary": {"person": ADA, "every_hours": 1}}
    world.configure(**options)
    watch = start(world, tools, notify)
    tools.wait_until(lambda: notify.count("READY=1") == 1, "systemd hears that it is ready")
    assert notify.heard()[0][0].startswith("EXTEND_TIMEOUT_USEC="), "the first pass may take its time"
    seen = notify.count("WATCHDOG=1")
    tools.wait_until(lambda: notify.count("WATCHDOG=1") >= seen + 3, "signs of life")

    # --- what monitors see
    assert get(port, "/healthz") == (200, "alive\n")
    assert get(port, "/readyz")[0] == 200
    first = metrics(port)
    status = world.status()
    assert first["ad_connector_ready"] == 1
    assert first["ad_connector_managed_members"] == status["managed"] > 0
    assert first["ad_connector_last_pass_exit_code"] == 0
    assert first["ad_connector_requests_per_second"] > 0
    assert first["ad_connector_requests_refused_total"] == 0
    assert first["ad_connector_canary_overdue"] == 0
    assert first["ad_connector_change_lag_seconds_count"] == 0

    world.admin.modify("Ada Lovelace", sn="King")
    tools.wait_until(lambda: world.members()[ADA].surname == "King", "the change arrives")
    tools.wait_until(lambda: metrics(port)["ad_connector_change_lag_seconds_count"] == 1, "it is counted")
    second = metrics(port)
    assert second["ad_connector_seats"] == 500
    assert second["ad_connector_seats_free"] == 500 - len(world.states()) - 1
    assert 0 < second["ad_connector_change_lag_seconds_sum"] < 60
    assert second['ad_connector_change_lag_seconds_bucket{le="+Inf"}'] == 1
    assert second['ad_connector_actions_total{action="update",outcome="done"}'] == 1
    assert second["ad_connector_requests_sent_total"] > first["ad_connector_requests_sent_total"]
    assert (
        second["ad_connector_last_pass_timestamp_seconds"]
        >= first["ad_connector_last_pass_timestamp_seconds"]
    )

    # --- a bad configuration is refused, told, and changes nothing
    good = world.config.read_text()
    world.config.write_text(good.replace("[users]", "[users]\nsync_grupo = 1"))
    watch.process.send_signal(signal.SIGHUP)
    tools.wait_until(lambda: notify.count("RELOADING=1") == 1, "systemd hears of the reload")
    tools.wait_until(lambda: notify.count("READY=1") == 2, "and of its end")
    assert any(
        "STATUS=watching with the old configuration" in line for lines in notify.heard() for line in lines
    )
    assert "configuration_refused" in watch.err
    assert "sync_grupo" in watch.err
    tools.wait_until(lambda: len(world.mailbox.received) == 1, "the refusal is mailed")
    world.admin.modify("Ada Lovelace", sn="Byron")
    tools.wait_until(lambda: world.members()[ADA].surname == "Byron", "it goes on with the old one")

    # --- a good one is taken over: here Hedy becomes untouchable, and the port can't change while it runs
    world.configure(
        users={"exclude_emails": [HEDY]},
        **{**options, "service": {"listen": f"127.0.0.1:{world.unused_port()}"}},
    )
    watch.process.send_signal(signal.SIGHUP)
    tools.wait_until(lambda: "configuration_reloaded" in watch.err, "the new one is read")
    tools.wait_until(lambda: notify.count("READY=1") == 3, "and in force")
    assert "restart_needed" in watch.err
    assert "service.listen" in watch.err
    assert get(port, "/readyz")[0] == 200, "the old port still answers"
    world.admin.remove_members("Dropbox", "Hedy Lamarr")
    world.admin.modify("Ada Lovelace", sn="King")
    tools.wait_until(lambda: world.members()[ADA].surname == "King", "the next change arrives")
    assert world.states()[HEDY] == "active"
    assert metrics(port)["ad_connector_change_lag_seconds_count"] == 3, "what was counted stays counted"
    tools.wait_until(
        lambda: len(world.mailbox.received) == 2,
        lambda: (
            f"the refusal is told to be over: {[one.message['Subject'] for one in world.mailbox.received]} {watch.err}"
        ),
    )

    # --- an outage shows
    world.sandbox.domain.kill_blocking()
    tools.wait_until(lambda: get(port, "/readyz")[0] == 503, "the outage shows", seconds=60)
    reasons = json.loads(get(port, "/readyz")[1])["reasons"]
    assert any("the directory can't be reached" in reason for reason in reasons)
    assert not any("Error" in reason for reason in reasons), "words for people"
    assert metrics(port)["ad_connector_ready"] == 0
    assert get(port, "/healthz")[0] == 200

    # --- simulation set while it runs: nothing more may be written, so it ends
    world.forget_exchanges()
    world.configure(simulation=True)
    watch.process.send_signal(signal.SIGHUP)
    assert watch.wait() == -10
    assert notify.count("STOPPING=1") == 1
    assert watch.out.splitlines() == ["ready"]
    assert "simulation = true" in watch.err
    assert world.log_lines[-1] == "exit code: -10"
    assert world.writes() == []


def test_sigterm_during_a_long_first_pass_drains_at_once(world, tools):
    """It must not wait until all of a big team is loaded."""
    world.fault("delay_after", "team/get_info", seconds=20.0)
    watch = world.start("watch")
    tools.wait_until(lambda: world.exchanges("team/get_info"), "the first pass is under way")
    watch.process.send_signal(signal.SIGTERM)
    tools.wait_until(lambda: "draining" in watch.err, "it drains before it was ever ready")
    assert "ready" not in watch.out
    watch.process.send_signal(signal.SIGTERM)
    watch.wait(10)

"""The warm standby takes over, timed as a whole: from the primary's SIGKILL until a change arrives from the second host.

Both hosts are this machine, with a journal each; the connector is the real program, started as `watch`. While changes go on,
the primary's journal is shipped every few seconds. The last change before the kill was not shipped; it must arrive all the same.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import anyio
import anyio.to_thread

from bench.figure import Figure
from sandbox.environment import Sandbox, SandboxOptions
from sandbox.samba import missing_for_samba

ROOT = Path(__file__).resolve().parents[1]
PEOPLE = 1_000
POLL_SECONDS = 1.0
SHIPMENTS, SHIP_SECONDS = 4, 3.0
UPDATE = "team/members/set_profile_v2"
PATIENCE_SECONDS = 180.0


def measure(full: bool) -> Iterator[Figure]:
    del full
    if missing := missing_for_samba():
        print(missing)
        return
    with tempfile.TemporaryDirectory() as name:
        steps = anyio.run(_measure, Path(name))
    whole = sum(steps.values())
    made_of = ", ".join(f"{step} {seconds:.1f} s" for step, seconds in steps.items())
    yield Figure(
        name="takeover: primary killed until a change arrives from the standby",
        value=whole,
        unit="s",
        note=f"{PEOPLE:,} people, shipped every {SHIP_SECONDS:g} s: {made_of}",
    )
    for step, seconds in steps.items():
        yield Figure(name=f"takeover: {step}", value=seconds, unit="s")


async def _measure(folder: Path) -> dict[str, float]:
    """Seconds of each step, in their order."""
    options = SandboxOptions(population=None, seats=PEOPLE + 10, poll_seconds=POLL_SECONDS)
    async with Sandbox(folder, cache=ROOT / ".sandbox" / "cache", options=options) as sandbox:
        await anyio.to_thread.run_sync(_populate_blocking, sandbox)
        return await anyio.to_thread.run_sync(_take_over_blocking, sandbox, folder)


def _populate_blocking(sandbox: Sandbox) -> None:
    with sandbox.administrator() as administrator:
        administrator.create_group("Dropbox")
        sandbox.domain.load_people_blocking(PEOPLE, group=administrator.dn("Dropbox"))


def _take_over_blocking(sandbox: Sandbox, folder: Path) -> dict[str, float]:
    primary, standby = _host(sandbox, folder, "primary"), _host(sandbox, folder, "standby")
    shelf = folder / "shelf"
    shelf.mkdir(mode=0o700)
    children: list[subprocess.Popen[bytes]] = []
    steps: dict[str, float] = {}

    def step(name: str, work: Callable[[], object]) -> None:
        started = time.perf_counter()
        work()
        steps[name] = time.perf_counter() - started

    def change(number: int, surname: str) -> None:
        with sandbox.administrator() as administrator:
            administrator.modify(f"p{number:06d}", sn=surname)

    def arrived(surname: str) -> bool:
        return any(
            exchange.request_json.get("new_surname") == surname and exchange.status == 200
            for exchange in sandbox.team.team.timeline.exchanges(UPDATE)
        )

    def bring(number: int, surname: str) -> None:
        change(number, surname)
        _wait(lambda: arrived(surname), f"{surname} arrives")

    try:
        children.append(_watch(primary))
        sandbox.team.console.accept_all()
        for number in range(1, SHIPMENTS + 1):
            change(number, f"Shipped{number}")
            time.sleep(SHIP_SECONDS)
            _ask(primary, "journal", "backup", "--incremental", str(shelf))
        _wait(lambda: arrived(f"Shipped{SHIPMENTS}"), "the last shipped change arrives")
        change(SHIPMENTS + 1, "Unshipped")
        children[0].kill()
        children[0].wait()
        step(
            "journal restore", lambda: _ask(standby, "journal", "restore", str(shelf), "--primary-is-stopped")
        )
        step("journal verify", lambda: _ask(standby, "journal", "verify"))
        step("watch until its first pass has ended", lambda: children.append(_watch(standby)))
        step("a change made then, until it arrives", lambda: bring(SHIPMENTS + 2, "Standby"))
        _wait(lambda: arrived("Unshipped"), "the change that was not shipped arrives")
        invitations = sandbox.team.team.effects.invitations
        assert len(invitations) == PEOPLE
        assert set(invitations.values()) == {1}, "nobody was invited twice"
    finally:
        for child in children:
            child.kill()
            child.wait()
    return steps


def _host(sandbox: Sandbox, folder: Path, name: str) -> Path:
    """Its connector.toml: another journal and another log."""
    made = sandbox.write_configuration(
        directory={"poll_seconds": POLL_SECONDS},
        mail={"enabled": False},
        service={"listen": ""},
        journal={"path": str(folder / f"{name}.db")},
        log={"path": str(folder / f"{name}.log")},
    )
    return Path(shutil.copy2(made, made.with_name(f"{name}.toml")))


def _command(configuration: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-P", "-m", "pipeline", "--config", str(configuration), *arguments]


def _ask(configuration: Path, *arguments: str) -> None:
    done = subprocess.run(_command(configuration, *arguments), capture_output=True, check=False, cwd=ROOT)
    if done.returncode:
        raise RuntimeError(f"{' '.join(arguments)}: {done.stderr.decode()[-500:]}")


def _watch(configuration: Path) -> subprocess.Popen[bytes]:
    """Returns once it is ready: its first pass has ended."""
    said = configuration.with_suffix(".out")
    with said.open("wb") as out:
        child = subprocess.Popen(
            _command(configuration, "watch"), stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=ROOT
        )

    def is_ready() -> bool:
        text = said.read_text(encoding="utf-8", errors="replace")
        if child.poll() is not None:
            raise RuntimeError(text[-1000:])
        return "ready" in text

    _wait(is_ready, "watch is ready")
    return child


def _wait(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f"in vain: {what}")
        time.sleep(0.02)

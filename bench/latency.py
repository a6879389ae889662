"""From a change that Samba has committed to the request that the team simulator has accepted: five changes a second.

The connector is the real program, started as `watch` with poll_seconds = 1. Each change gives a person another last name; the request that
carries it tells when it arrived.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import anyio
import anyio.to_thread

from bench.figure import Figure
from sandbox.environment import Sandbox, SandboxOptions
from sandbox.samba import missing_for_samba

ROOT = Path(__file__).resolve().parents[1]
PEOPLE = 300
A_SECOND = 5.0
POLL_SECONDS = 1.0
SECONDS, FULL_SECONDS = 30.0, 300.0
UPDATE = "team/members/set_profile_v2"


def measure(full: bool) -> Iterator[Figure]:
    if missing := missing_for_samba():
        print(missing)
        return
    seconds = FULL_SECONDS if full else SECONDS
    for notify in (True, False):
        with tempfile.TemporaryDirectory() as name:
            lags = anyio.run(_measure, Path(name), notify, seconds)
        how = "woken by notification" if notify else "by polling alone"
        for share in (50, 95, 99):
            value = lags[min(len(lags) - 1, len(lags) * share // 100)]
            yield Figure(
                name=f"change committed to request accepted, {how}, p{share}",
                value=value,
                unit="s",
                beside=f"the poll interval, {POLL_SECONDS:g} s",
                ratio=value / POLL_SECONDS,
                goal=f"<= {POLL_SECONDS + 0.5:g} s" if share == 99 else "",
                note=f"{len(lags)} changes, {A_SECOND:g} a second, {PEOPLE} people; longest {lags[-1]:.2f} s",
            )


async def _measure(folder: Path, notify: bool, seconds: float) -> list[float]:
    options = SandboxOptions(population=None, seats=PEOPLE + 10, poll_seconds=POLL_SECONDS)
    async with Sandbox(folder, cache=ROOT / ".sandbox" / "cache", options=options) as sandbox:
        names = await anyio.to_thread.run_sync(_populate_blocking, sandbox)
        configuration = sandbox.write_configuration(
            directory={"poll_seconds": POLL_SECONDS, "notify": notify}, mail={"enabled": False}
        )
        said = folder / "watch.out"
        command = [sys.executable, "-P", "-m", "pipeline", "--config", str(configuration), "watch"]
        with said.open("wb") as out:
            watch = subprocess.Popen(  # noqa: ASYNC220 - it returns at once
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=folder
            )
        try:
            with anyio.fail_after(90):
                while "ready" not in said.read_text(encoding="utf-8", errors="replace"):
                    if watch.poll() is not None:
                        raise RuntimeError(said.read_text(encoding="utf-8")[-1000:])
                    await anyio.sleep(0.1)
            sandbox.team.console.accept_all()
            committed = await anyio.to_thread.run_sync(_change_blocking, sandbox, names, seconds)
            return await _lags(sandbox, committed)
        finally:
            watch.kill()
            watch.wait()


def _populate_blocking(sandbox: Sandbox) -> list[str]:
    with sandbox.administrator() as administrator:
        administrator.create_group("Dropbox")
        sandbox.domain.load_people_blocking(PEOPLE, group=administrator.dn("Dropbox"))
    return [f"p{number:06d}" for number in range(1, PEOPLE + 1)]


def _change_blocking(sandbox: Sandbox, names: list[str], seconds: float) -> dict[str, datetime]:
    """Last name → when the directory had it. Nobody is changed twice within a minute."""
    committed = {}
    started = time.monotonic()
    with sandbox.administrator() as administrator:
        for number in range(int(seconds * A_SECOND)):
            time.sleep(max(0.0, started + number / A_SECOND - time.monotonic()))
            surname = f"Changed{number}"
            administrator.modify(names[number % len(names)], sn=surname)
            committed[surname] = datetime.now(UTC)
    return committed


async def _lags(sandbox: Sandbox, committed: dict[str, datetime]) -> list[float]:
    """Seconds, the shortest first."""
    arrived: dict[str, datetime] = {}
    with anyio.move_on_after(30):
        while len(arrived) < len(committed):
            await anyio.sleep(0.2)
            arrived = {
                exchange.request_json.get("new_surname"): exchange.at
                for exchange in sandbox.team.team.timeline.exchanges(UPDATE)
                if exchange.status == 200
            }
    missing = committed.keys() - arrived.keys()
    if missing:
        raise AssertionError(f"{len(missing)} of {len(committed)} changes never arrived")
    return sorted((arrived[surname] - at).total_seconds() for surname, at in committed.items())

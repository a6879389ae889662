"""`python -m bench.soak --minutes N`: a watch lives through an hour of changes and troubles on Samba and the team simulator.

Changes every second, faults of Dropbox, of the domain controller and of the mail server, expired tokens, console admins. Every few minutes
all troubles end and both sides must become equal. Memory, file descriptors, threads and tasks are written down all the while; at the end
they must be flat. It tells equality and flatness, not speed: it may run on a busy machine. Written to bench/results/soak.json.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import anyio
import anyio.to_thread

from bench.soak_hands import Churn, differences
from sandbox.environment import Sandbox, SandboxOptions
from sandbox.samba import missing_for_samba
from sandbox.samba_host import SambaError
from sandbox.team.config import RateLimit
from sandbox.team.faults import Fault
from sandbox.team.refusal import RefusalError

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "bench" / "results" / "soak.json"
FAULTS = (
    *("503", "429", "500_before", "drop_before", "401", "html", "delay", "reset"),
    *("drop_after", "500_after", "503_after", "timeout_after", "truncated_json", "async"),
)
EQUAL_SECONDS = 400.0
"""So long both sides may take to become equal once all troubles have ended."""
ROUND_SECONDS = 300.0
MOST_GROWTH = 1.10
"""Of the last fifth's median memory over the second fifth's: the first fifth fills caches."""


class Soak:
    def __init__(self, sandbox: Sandbox, churn: Churn, watch: subprocess.Popen[bytes], seed: int) -> None:
        self._sandbox = sandbox
        self._churn = churn
        self._watch = watch
        self._random = random.Random(seed)
        self.counts: Counter[str] = Counter()
        self.equal_after: list[float] = []
        self.problems: list[str] = []

    async def run(self, seconds: float, a_second: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0 and not self.problems:
            await self._trouble(min(left, ROUND_SECONDS), a_second)
            await self._become_equal()

    async def _trouble(self, seconds: float, a_second: float) -> None:
        stop = threading.Event()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(anyio.to_thread.run_sync, self._churn.work, stop, a_second)
            try:
                with anyio.move_on_after(seconds):
                    async with anyio.create_task_group() as troubles:
                        for pause, trouble in (
                            (15.0, self._fault),
                            (20.0, self._accept),
                            (25.0, self._console),
                            (60.0, self._expire),
                            (80.0, self._slow_down),
                            (90.0, self._mail_outage),
                            (100.0, self._directory_outage),
                        ):
                            troubles.start_soon(self._again, pause, trouble)
            finally:
                stop.set()

    async def _again(self, pause: float, trouble: Callable[[], Any]) -> None:
        while True:
            await anyio.sleep(self._random.uniform(0.5, 1.5) * pause)
            with anyio.CancelScope(shield=True):  # an outage that began is ended
                await trouble()

    # --- troubles

    async def _fault(self) -> None:
        kind = self._random.choice(FAULTS)
        route = "oauth2/token" if kind == "503" and self._random.random() < 0.2 else "team*"
        if kind == "reset":
            route = "team_log/get_events/continue"  # the event log alone begins anew
        self._sandbox.team.faults.add(Fault(kind, route, count=self._random.randint(1, 4), seconds=2.0))
        self.counts[f"Dropbox: {kind}"] += 1

    async def _accept(self) -> None:
        self.counts["invitations accepted"] += self._sandbox.team.console.accept_all()

    async def _console(self) -> None:
        active = [one for one in self._sandbox.team.team.members if one.status == "active" and not one.role]
        if not active:
            return
        one = self._random.choice(active)
        with suppress(RefusalError):
            if self._random.random() < 0.5:
                self._sandbox.team.console.suspend(one.email)
            else:
                self._sandbox.team.console.rename(one.email, "Console", "Admin")
            self.counts["changes in the console"] += 1

    async def _expire(self) -> None:
        self._sandbox.team.tokens.expire()
        self.counts["tokens expired"] += 1

    async def _slow_down(self) -> None:
        self._sandbox.team.engine.limiter.set(RateLimit(3, 5))
        await anyio.sleep(15)
        self._sandbox.team.engine.limiter.set(None)
        self.counts["rate limits"] += 1

    async def _mail_outage(self) -> None:
        await self._sandbox.mailbox.stop()
        await anyio.sleep(15)
        await self._sandbox.mailbox.start()
        self.counts["mail outages"] += 1

    async def _directory_outage(self) -> None:
        domain = self._sandbox.domain
        is_sudden = self._random.random() < 0.5
        await anyio.to_thread.run_sync(domain.kill_blocking if is_sudden else domain.stop_blocking)
        await anyio.sleep(self._random.uniform(0, 10))
        for attempt in range(10):
            try:
                await domain.start()
                break
            except SambaError:  # a busy machine: not up in time
                if attempt == 9:
                    raise
        self.counts["domain controller killed" if is_sudden else "domain controller stopped"] += 1

    # --- both sides equal

    async def _become_equal(self) -> None:
        self._sandbox.team.faults.clear()
        self._sandbox.team.engine.limiter.set(None)
        started = time.monotonic()
        retried = False
        found: list[str] = []
        while (waited := time.monotonic() - started) < EQUAL_SECONDS:
            if self._watch.poll() is not None:
                self.problems.append(f"watch ended with status {self._watch.returncode}")
                return
            self._sandbox.team.console.accept_all()
            found = await anyio.to_thread.run_sync(self._differences_blocking)
            if not found:
                self.equal_after.append(round(waited, 1))
                print(f"equal after {waited:.1f} s; {sum(self._churn.counts.values())} changes", flush=True)
                return
            if waited > EQUAL_SECONDS / 2 and not retried:
                retried = True  # what an admin would do about failed actions
                self.counts["retry by hand"] += 1
                print(f"by hand, for: {found[:5]}", flush=True)
                await anyio.to_thread.run_sync(self._ask_blocking, "retry", "--failed")
            await anyio.sleep(1)
        self.problems.append(f"not equal after {EQUAL_SECONDS:.0f} s: {found[:20]}")

    def _differences_blocking(self) -> list[str]:
        with self._sandbox.administrator() as administrator:
            return differences(administrator, self._sandbox.team, self._churn.deleted, self._churn.groups)

    def _ask_blocking(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [
                sys.executable,
                "-P",
                "-m",
                "pipeline",
                "--config",
                str(self._sandbox.folder / "connector.toml"),
                *words,
            ],
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )

    def finish_blocking(self) -> None:
        """SIGTERM, exit status 0; then a fresh full comparison finds nothing to do."""
        self._watch.terminate()
        try:
            status = self._watch.wait(60)
        except subprocess.TimeoutExpired:
            self._watch.kill()
            self._watch.wait()
            status = -9
        if status:
            self.problems.append(f"watch ended with status {status} after SIGTERM")
        plan = self._ask_blocking("plan", "--format", "json")
        try:
            left = json.loads(plan.stdout)
        except ValueError:
            self.problems.append(f"plan: {plan.stderr[-500:]}")
            return
        if left["summary"] or left["held"]:
            self.problems.append(f"a full comparison afterwards wants: {left['summary']} {left['held']}")
        verified = self._ask_blocking("journal", "verify")
        if verified.returncode:
            self.problems.append(f"journal verify: {verified.stdout[-500:]} {verified.stderr[-500:]}")


async def _ready(watch: subprocess.Popen[bytes], said: Path) -> None:
    """The first pass is through; on a busy machine the start alone takes a minute."""
    with anyio.fail_after(600):
        while "ready" not in said.read_text(encoding="utf-8", errors="replace"):
            if watch.poll() is not None:
                raise RuntimeError(f"watch ended with status {watch.returncode}: {said.read_text()[-1000:]}")
            await anyio.sleep(0.2)


async def _journal_sizes(folder: Path, sizes: list[tuple[float, float]]) -> None:
    started = time.monotonic()
    while True:
        size = sum(file.stat().st_size for file in folder.glob("journal.db*") if file.is_file())
        sizes.append((time.monotonic() - started, size / 2**20))
        await anyio.sleep(30)


async def soak(folder: Path, minutes: float, seed: int, a_second: float) -> dict[str, Any]:
    options = SandboxOptions(population=None, seats=100_000)
    async with Sandbox(folder, cache=ROOT / ".sandbox" / "cache", options=options) as sandbox:
        with sandbox.administrator() as administrator:
            churn = Churn(administrator, seed)
            await anyio.to_thread.run_sync(churn.populate)
            sandbox.write_configuration(
                directory={"poll_seconds": 1, "timeout_seconds": 10},
                users={"leave_settle_seconds": 2},
                groups={"mode": "same", "adopt_existing": True},
                dropbox={"timeout_seconds": 5, "drift_poll_seconds": 5},
                # The brake's share is of the last minute: else an hour's leavers would all have to be approved.
                safety={"window_hours": 0.01, "max_leavers": 1_000_000, "max_email_changes": 1_000_000},
                full_comparison={"every_hours": 0.2},
            )
            samples = folder / "samples.jsonl"
            command = [sys.executable, "-P", "-m", "bench.soak_watch", str(samples)]
            sizes: list[tuple[float, float]] = []
            with (folder / "watch.err").open("wb") as errors:
                watch = subprocess.Popen(  # noqa: ASYNC220 - it returns at once
                    [*command, "--config", str(folder / "connector.toml"), "watch"],
                    stdin=subprocess.PIPE,
                    stdout=errors,
                    stderr=errors,
                    cwd=ROOT,
                )
            run = Soak(sandbox, churn, watch, seed)
            started = time.monotonic()
            try:
                await _ready(watch, folder / "watch.err")
                ready_seconds = time.monotonic() - started
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(_journal_sizes, folder, sizes)
                    await run.run(minutes * 60, a_second)
                    tasks.cancel_scope.cancel()
                await anyio.to_thread.run_sync(run.finish_blocking)
            finally:
                if watch.poll() is None:
                    watch.kill()
                    watch.wait()
                if watch.stdin is not None:
                    watch.stdin.close()
        lines = [json.loads(line) for line in samples.read_text(encoding="utf-8").splitlines()]
        lines = [line for line in lines if line["seconds"] > ready_seconds]
        run.problems += _growth(lines)
        tracebacks = _count(folder / "ad-connector.log", "Traceback") + _count(
            folder / "watch.err", "Traceback"
        )
        if tracebacks:
            run.problems.append(f"{tracebacks} tracebacks")
        return {
            "at": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
            "minutes": minutes,
            "seed": seed,
            "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
            "load": round(os.getloadavg()[2], 1),
            "problems": run.problems,
            "equal_after_seconds": run.equal_after,
            "changes": dict(churn.counts.most_common()),
            "troubles": dict(sorted(run.counts.items())),
            "effects": {
                name: sum(counter.values())
                for name, counter in vars(sandbox.team.team.effects).items()
                if name != "requests" and counter
            },
            "requests": sum(sandbox.team.team.effects.requests.values()),
            "mails": len(sandbox.mailbox.received),
            "fifths": _fifths(lines),
            "journal_mb": [round(size, 2) for _, size in sizes[:: max(1, len(sizes) // 12)]],
        }


def _fifths(lines: list[dict[str, float]]) -> list[dict[str, float]]:
    """The median of each measure in each fifth of the time."""
    size = max(1, len(lines) // 5)
    return [
        {name: round(median(line[name] for line in part), 1) for name in lines[0]}
        for part in (lines[start * size : (start + 1) * size] for start in range(5))
        if part
    ]


def _growth(lines: list[dict[str, float]]) -> list[str]:
    parts = _fifths(lines)
    if len(parts) < 5:
        return []
    second, last = parts[1], parts[4]
    slack = {"rss_mb": second["rss_mb"] * (MOST_GROWTH - 1), "fds": 2, "threads": 2, "tasks": 3}
    return [
        f"{name} grew from {second[name]} to {last[name]}"
        for name, more in slack.items()
        if last[name] > second[name] + more
    ]


def _count(file: Path, word: str) -> int:
    return file.read_text(encoding="utf-8", errors="replace").count(word) if file.exists() else 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--changes-a-second", type=float, default=1.0)
    parser.add_argument("--folder", type=Path, help="where everything lies, kept; else a temporary folder")
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args()
    if missing := missing_for_samba():
        print(missing, file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="soak-") as name:
        folder = options.folder or Path(name) / "s"
        found = anyio.run(soak, folder, options.minutes, options.seed, options.changes_a_second)
    text = json.dumps(found, indent=1)
    options.out.parent.mkdir(exist_ok=True)
    options.out.write_text(text + "\n", encoding="utf-8")
    print(text)
    return 1 if found["problems"] else 0


if __name__ == "__main__":
    sys.exit(main())

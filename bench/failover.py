"""`python -m bench.failover`: two replicating domain controllers, failed over in both directions while changes go on.

Every person is changed exactly once, on whichever controller runs. Afterwards the mirror must equal a fresh full read from each
controller, and must have shown every person exactly one change: nothing lost, nothing seen to happen twice. Prints what happened as
JSON, one object a seed; `--record` writes them to bench/results/failover.json.
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

import anyio
import anyio.to_thread

from bench import machine
from bench.history_run import HandClock, Snapshot
from bench.replicas import ReplicaPair, in_namespace, missing_for_replicas
from pipeline.errors import DirectoryError
from sandbox.domain import SERVICE_PASSWORD
from stages.directory.ldap import LdapDirectory
from stages.directory.options import DirectoryOptions
from stages.directory.poller import Poller, PollOptions
from state.journal import Journal

RESULTS = Path(__file__).parent / "results" / "failover.json"
CACHE = Path(__file__).resolve().parents[1] / ".sandbox" / "cache"
OTHER = {"dc1": "dc2", "dc2": "dc1"}


@dataclass
class Outcome:
    source: str
    seed: int
    changes: int = 0
    polls: int = 0
    full_reads: int = 0
    failed_polls: int = 0
    outages: list[str] = field(default_factory=list)
    answered: dict[str, int] = field(default_factory=dict)  # polls by controller
    restarts: int = 0
    deltas: int = 0
    seconds: float = 0.0
    faults: list[str] = field(default_factory=list)


class Failover:
    def __init__(self, pair: ReplicaPair, folder: Path, source: str, seed: int, people: int) -> None:
        self._pair = pair
        self._folder = folder
        self._source = source
        self._random = random.Random(seed)
        self._count = people
        self._clock = HandClock()
        self._admins = {name: pair.administrator(name) for name in OTHER}
        self._down = ""
        self._shown: dict[str, int] = {}  # how often the mirror has shown another state of each person
        self._states: dict[str, object] = {}
        self._events: dict[str, str] = {}
        self._story: list[str] = []
        self.outcome = Outcome(source, seed)

    async def run(self) -> Outcome:
        started = time.perf_counter()
        try:
            self._populate()
            await self._open()
            await self._poll_until_it_ends_well()
            self._shown = dict.fromkeys(self._people, 0)
            while self._waiting or len(set(self.outcome.outages)) < len(OTHER):
                await self._round()
            await self._end()
        finally:
            await self._close()
            for admin in self._admins.values():
                admin.close()
        self.outcome.seconds = round(time.perf_counter() - started, 1)
        return self.outcome

    def _populate(self) -> None:
        admin = self._admins["dc1"]
        self._groups = [admin.create_group(f"Fail Group {number}") for number in range(3)]
        self._root = admin.create_group("Fail Over", members=self._groups)
        admin.add_members(self._groups[0], self._groups[1])
        self._people = [
            admin.create_user(f"Fail {number}", mail=f"fail{number}@example.test")
            for number in range(self._count)
        ]
        self._home: dict[str, str] = {}
        for number, person in enumerate(self._people):
            if number % 2:
                self._home[person] = self._groups[number % 3]
                admin.add_members(self._home[person], person)
        self._waiting = list(self._people)
        self._random.shuffle(self._waiting)
        self._pair.wait_for_replication_blocking()

    async def _open(self) -> None:
        addresses = tuple(self._pair.facts(name).ldaps_url for name in OTHER)
        facts = self._pair.facts("dc1")
        self._directory = LdapDirectory(
            DirectoryOptions(
                servers=addresses,
                username=facts.service_account,
                password=SERVICE_PASSWORD,
                ca_file=str(facts.ca_file),
                timeout_seconds=10,
                change_source=self._source,
            ),
            clock=self._clock,
        )
        self._journal = await Journal.open(self._folder / "journal.db")
        self._poller = Poller(self._directory, self._journal, self._clock, PollOptions(sync_group=self._root))

    async def _close(self) -> None:
        with anyio.CancelScope(shield=True):
            await self._journal.close()
            await self._directory.close()

    async def _round(self) -> None:
        """Some changes, perhaps an outage in the middle of a poll or the end of one, and a poll."""
        for _ in range(self._random.randint(1, 3)):
            if self._waiting:
                self._change(self._waiting.pop())
        self._clock.advance(5)
        draw = self._random.random()
        if self._down and draw < 0.4:
            name, self._down = self._down, ""
            self._story.append(f"{name} comes up")
            await anyio.to_thread.run_sync(self._pair.start_blocking, name)
            if self._source == "usn" or self._random.random() < 0.5:
                await anyio.to_thread.run_sync(self._pair.wait_for_replication_blocking)
        elif not self._down and draw < 0.4:
            await self._fail()
        if self._random.random() < 0.1:
            await self._close()
            await self._open()
            self.outcome.restarts += 1
        await self._poll()

    async def _fail(self) -> None:
        """The controller that we read from goes down, mostly while it is being read from."""
        async with self._journal.reading():
            checkpoint = await self._journal.mirror.checkpoint()
        assert checkpoint is not None
        name = checkpoint.server.partition(".")[0].lower()
        if self._source == "usn":
            # Another controller is read in full then; what has not come there yet would look as if taken back.
            await anyio.to_thread.run_sync(self._pair.wait_for_replication_blocking)
            await self._poll()
        self._down = name
        self._story.append(f"{name} goes down")
        self.outcome.outages.append(name)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._poll)
            await anyio.sleep(self._random.choice([0.0, 0.002, 0.005, 0.01, 0.02]))
            self._pair.kill_blocking(name)
        self._admins[name].close()
        if self._source == "usn":
            self._clock.advance(11 * 60)  # so long the one whose numbers we hold is waited for

    def _change(self, person: str) -> None:
        name = OTHER[self._down] if self._down else self._random.choice(list(OTHER))
        admin = self._admins[name]
        if not admin.exists(person):
            raise AssertionError("not replicated")
        if person in self._home:
            what = self._random.choice(["remove", "disable", "edit", "delete"])
            if what == "remove":
                admin.remove_members(self._home[person], person)
            elif what == "disable":
                admin.disable(person)
            elif what == "edit":
                admin.modify(person, mail=f"changed.{person[:8]}@example.test")
            else:
                admin.delete(person)
        else:
            admin.add_members(self._random.choice(self._groups), person)
        else_what = "add" if person not in self._home else what
        self._events[person] = f"{else_what} on {name}"
        self._story.append(f"{else_what} {person} on {name}")
        self.outcome.changes += 1

    async def _poll_until_it_ends_well(self) -> None:
        """Both are up: on a busy machine one may be too slow all the same."""
        for _ in range(10):
            if await self._poll():
                return
        raise RuntimeError("ten polls failed with both controllers up")

    async def _poll(self) -> bool:
        try:
            result = await self._poller.poll()
        except DirectoryError as error:
            self.outcome.failed_polls += 1
            if not self._down:
                print(f"failed with both up: {error}", file=sys.stderr)
            return False
        self.outcome.polls += 1
        self.outcome.full_reads += result.full
        self.outcome.deltas += 0 if result.full else result.changes
        snapshot = await Snapshot.of(self._journal, self._poller)
        async with self._journal.reading():
            checkpoint = await self._journal.mirror.checkpoint()
            marked = {mark.guid for mark in await self._journal.dirty(10**6)}
        assert checkpoint is not None
        name = checkpoint.server.partition(".")[0].lower()
        self._story.append(f"poll {result.changes} from {name}")
        self.outcome.answered[name] = self.outcome.answered.get(name, 0) + 1
        for person in self._people:
            node = snapshot.nodes.get(person)
            state = None if node is None else (node.entry, node.live, node.listed)
            if state != self._states.get(person):
                self._states[person] = state
                self._shown[person] = self._shown.get(person, 0) + 1
                if person not in marked:
                    self.outcome.faults.append(f"changed without being marked: {person}")
        async with self._journal.transaction():
            await self._journal.clear_dirty(await self._journal.dirty(10**6))
        return True

    async def _end(self) -> None:
        if self._down:
            await anyio.to_thread.run_sync(self._pair.start_blocking, self._down)
            self._down = ""
        await anyio.to_thread.run_sync(self._pair.wait_for_replication_blocking)
        self._clock.advance(5)
        await self._poll_until_it_ends_well()
        mirror = await Snapshot.of(self._journal, self._poller)
        for name in OTHER:
            fresh = await self._read_afresh(name)
            if mirror.listed != fresh.listed:
                self.outcome.faults.append(
                    f"against {name}: missing {sorted(fresh.listed - mirror.listed)}, too many {sorted(mirror.listed - fresh.listed)}"
                )
            for guid, node in fresh.nodes.items():
                known = mirror.nodes.get(guid)
                if known is None or (known.entry, known.live) != (node.entry, node.live):
                    self.outcome.faults.append(f"against {name}: {known} is not {node}")
        if self.outcome.faults:
            print("\n".join(self._story), file=sys.stderr)
        for person in self._people:
            if self._shown[person] != 1:
                self.outcome.faults.append(
                    f"{person} ({self._events[person]}) was changed once and shown {self._shown[person]} times"
                )

    async def _read_afresh(self, name: str) -> Snapshot:
        facts = self._pair.facts(name)
        directory = LdapDirectory(
            DirectoryOptions(
                servers=(facts.ldaps_url,),
                username=facts.service_account,
                password=SERVICE_PASSWORD,
                ca_file=str(facts.ca_file),
            )
        )
        journal = await Journal.open(self._folder / f"{name}.db")
        try:
            poller = Poller(directory, journal, self._clock, PollOptions(sync_group=self._root))
            await poller.poll()
            return await Snapshot.of(journal, poller)
        finally:
            await journal.close()
            await directory.close()


async def _run_inside(source: str, seed: int, people: int) -> Outcome:
    pair = ReplicaPair(CACHE)
    try:
        await anyio.to_thread.run_sync(pair.open_blocking)
        with tempfile.TemporaryDirectory() as folder:
            return await Failover(pair, Path(folder), source, seed, people).run()
    finally:
        pair.close_blocking()


def fail_over(source: str, seed: int, people: int) -> Outcome:
    """Runs it in a namespace of its own. RuntimeError with what the run said when it could not be carried out."""
    done = in_namespace(
        "bench.failover",
        ["--inside", "--source", source, "--seed", str(seed), "--people", str(people)],
        seconds=600,
    )
    if done.returncode:
        raise RuntimeError(f"{done.stdout[-2000:]}\n{done.stderr[-6000:]}")
    sys.stderr.write(done.stderr)
    return Outcome(**json.loads(done.stdout))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.failover")
    parser.add_argument("--source", choices=("dirsync", "usn"), default="dirsync")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=1, help="how many runs, each with the next seed")
    parser.add_argument("--people", type=int, default=60)
    parser.add_argument(
        "--record", action="store_true", help=f"add to {RESULTS.name}, in place of earlier runs alike"
    )
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        outcome = anyio.run(_run_inside, options.source, options.seed, options.people)
        gc.collect()
        print(json.dumps(asdict(outcome)))
        return 0
    if missing := missing_for_replicas():
        print(missing, file=sys.stderr)
        return 2
    faulty = False
    for seed in range(options.seed, options.seed + options.seeds):
        outcome = fail_over(options.source, seed, options.people)
        print(json.dumps(asdict(outcome), indent=1), flush=True)
        faulty = faulty or bool(outcome.faults)
        if options.record:
            _record(outcome)
    return 1 if faulty else 0


def _record(outcome: Outcome) -> None:
    runs = json.loads(RESULTS.read_text(encoding="utf-8"))["runs"] if RESULTS.exists() else []
    runs = [run for run in runs if (run["source"], run["seed"]) != (outcome.source, outcome.seed)]
    runs = sorted([*runs, asdict(outcome)], key=lambda run: (run["source"], run["seed"]))
    recorded = {
        "what": "Two Samba domain controllers that replicate: the one read from is killed, in both directions, while changes go on. "
        "Every person is changed once. faults: changes lost, shown twice, or other than a fresh full read of either controller.",
        **machine.facts(),
        "runs": runs,
    }
    RESULTS.write_text(json.dumps(recorded, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())

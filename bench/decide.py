"""Pure planning: cost per person of `decide`, and whether it grows with the number of persons."""

from __future__ import annotations

import gc
import time
from datetime import UTC, datetime
from statistics import median

from bench.figure import Figure
from pipeline.core.identity import How, Match
from pipeline.core.mapping import profile_of
from pipeline.core.plan import Policy, Subject, decide
from pipeline.model import Entry, Kind, Member, Status
from pipeline.records import Link, Node

FORMAT = "ad-guid:{objectGUID}"


def subjects_of(count: int) -> list[Subject]:
    """One in a hundred has another surname than Dropbox shows."""
    now = datetime(2026, 11, 23, tzinfo=UTC)
    subjects = []
    for number in range(count):
        guid = f"00000000-0000-4000-8000-{number:012d}"
        email = f"person{number}@example.test"
        entry = Entry(
            guid=guid,
            kind=Kind.USER,
            dn=f"CN={number}",
            email=email,
            given_name="Ann",
            surname="New" if number % 100 == 0 else "Old",
        )
        member = Member(
            member_id=f"dbmid:{number}",
            status=Status.ACTIVE,
            email=email,
            given_name="Ann",
            surname="Old",
            external_id=f"ad-guid:{guid}",
        )
        subjects.append(
            Subject(
                node=Node(entry=entry, listed=True),
                mapped=profile_of(entry, external_id_format=FORMAT),
                link=Link(guid=guid, member_id=member.member_id, how="invited", at=now),
                match=Match(member=member, how=How.LINK),
            )
        )
    return subjects


def _microseconds_a_person(count: int) -> float:
    now = datetime(2026, 11, 23, tzinfo=UTC)
    policy = Policy()
    subjects = subjects_of(count)
    changed = 0
    gc.collect()
    gc.freeze()  # the subjects are the bench's; a pass holds a batch of them
    started = time.process_time()
    for subject in subjects:
        changed += bool(decide(subject, policy, now).wanted)
    elapsed = time.process_time() - started
    assert changed == (count + 99) // 100
    return elapsed / count * 1e6


def measure(full: bool) -> list[Figure]:
    sizes = (10_000, 100_000, 1_000_000) if full else (10_000, 100_000)
    figures = []
    base = 0.0
    for size in sizes:
        samples = [_microseconds_a_person(size) for _ in range(3)]
        value = median(samples)
        base = base or value
        figures.append(
            Figure.of(
                samples,
                name=f"decide, {size:,} persons with 1 % changed",
                unit="microseconds a person",
                beside=f"{sizes[0]:,} persons",
                ratio=value / base,
                goal="flat",
                note="CPU, median of 3",
            )
        )
    return figures

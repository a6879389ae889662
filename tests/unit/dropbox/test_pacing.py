"""The limiter, on virtual time, against a limit that it is not told."""

from __future__ import annotations

from dataclasses import dataclass, field

import anyio
import pytest

from stages.dropbox.pacing import Pacer

pytestmark = pytest.mark.anyio

ROUND_TRIP = 0.05


@dataclass
class HiddenLimit:
    """A token bucket, full at first, that counts what it refuses; `per_second` may change on the way."""

    per_second: float
    burst: float
    tokens: float | None = None
    at: float = 0.0
    log: list[tuple[float, bool]] = field(default_factory=list)

    def admits(self, now: float) -> bool:
        tokens = self.burst if self.tokens is None else self.tokens
        self.tokens = min(self.burst, tokens + (now - self.at) * self.per_second)
        self.at = now
        is_admitted = self.tokens >= 1
        self.tokens -= is_admitted
        self.log.append((now, is_admitted))
        return is_admitted

    def share_between(self, start: float, end: float) -> tuple[float, float]:
        """(share of what is allowed that was used, share of requests that were refused)."""
        inside = [ok for at, ok in self.log if start <= at < end]
        return sum(inside) / ((end - start) * self.per_second), inside.count(False) / len(inside)


async def _send_without_end(pacer: Pacer, limit: HiddenLimit, clock, retry_after: float = 1.0) -> None:
    while True:
        slot = await pacer.acquire(is_write=True)
        await clock.sleep(ROUND_TRIP)
        if limit.admits(clock.seconds):
            pacer.accepted(slot)
        else:
            pacer.refused(slot, retry_after)


@pytest.mark.parametrize(("per_second", "burst"), [(50.0, 5), (5.0, 5)])
async def test_finds_a_hidden_limit_and_uses_nine_tenths_of_it_with_few_refusals(
    virtual_clock, per_second, burst
):
    """The pacer with real tasks; what the pace does with other bursts, and when the limit changes, stands in test_pace."""
    pacer = Pacer(virtual_clock, max_requests_per_second=500, max_concurrency=8)
    limit = HiddenLimit(per_second, burst)
    async with anyio.create_task_group() as tasks:
        for _ in range(8):
            tasks.start_soon(_send_without_end, pacer, limit, virtual_clock)
        await virtual_clock.run_until(75)
        tasks.cancel_scope.cancel()
    used, refused = limit.share_between(15, 75)
    assert used >= 0.9
    assert refused < 0.02


async def test_sends_nothing_before_retry_after_is_over(virtual_clock):
    pacer = Pacer(virtual_clock, max_requests_per_second=500, max_concurrency=8)
    limit = HiddenLimit(5, 2)
    async with anyio.create_task_group() as tasks:
        for _ in range(8):
            tasks.start_soon(_send_without_end, pacer, limit, virtual_clock, 7.0)
        await virtual_clock.run_until(60)
        tasks.cancel_scope.cancel()
    refused_at = [at for at, ok in limit.log if not ok]
    assert refused_at
    for at in refused_at:
        # what was on its way already may still arrive within one round trip of the first refusal
        assert not [other for other, _ in limit.log if at + 2 * ROUND_TRIP < other < at + 7.0]


async def test_starts_at_ten_a_second_and_never_exceeds_the_ceiling(virtual_clock):
    pacer = Pacer(virtual_clock, max_requests_per_second=10, max_concurrency=8)
    limit = HiddenLimit(1000, 1000)
    async with anyio.create_task_group() as tasks:
        for _ in range(8):
            tasks.start_soon(_send_without_end, pacer, limit, virtual_clock)
        await virtual_clock.run_until(31)
        tasks.cancel_scope.cancel()
    times = [at for at, _ in limit.log]
    assert 8 <= sum(at < 1 for at in times) <= 11
    for second in range(30):
        assert sum(second <= at < second + 1 for at in times) <= 11
    assert sum(20 <= at < 30 for at in times) >= 95


async def test_one_refusal_halves_the_pace_once_however_many_were_on_their_way(virtual_clock):
    pacer = Pacer(virtual_clock, max_requests_per_second=100, max_concurrency=4)
    virtual_clock.seconds = 10.0
    slots = []
    pacer._pace.rate = 40.0
    async with anyio.create_task_group() as tasks:

        async def take() -> None:
            slots.append(await pacer.acquire(is_write=True))

        for _ in range(3):
            tasks.start_soon(take)
        await virtual_clock.run_until(11)
    for slot in slots:
        pacer.refused(slot, 2.0)
    assert pacer.snapshot()["requests_per_second"] == 20.0
    assert pacer.snapshot()["refused"] == 3
    assert pacer.seconds_held() == 2.0


async def test_writes_go_before_reads_and_reads_are_not_starved(virtual_clock):
    pacer = Pacer(virtual_clock, max_requests_per_second=10, max_concurrency=1)
    order: list[str] = []

    async def send(name: str, *, is_write: bool) -> None:
        slot = await pacer.acquire(is_write=is_write)
        order.append(name)
        await virtual_clock.sleep(ROUND_TRIP)
        pacer.accepted(slot)

    async with anyio.create_task_group() as tasks:
        for _ in range(6):
            tasks.start_soon(lambda: send("r", is_write=False))
        for _ in range(6):
            tasks.start_soon(lambda: send("w", is_write=True))
        await virtual_clock.run_until(60)
    assert "".join(order) in {"rwwrwwrwwrrr", "wwrwwrwwrrrr"}


async def test_concurrency_is_bounded(virtual_clock):
    pacer = Pacer(virtual_clock, max_requests_per_second=100, max_concurrency=2)
    most = 0.0

    async def send() -> None:
        nonlocal most
        slot = await pacer.acquire(is_write=True)
        most = max(most, pacer.snapshot()["in_flight"])
        await virtual_clock.sleep(5)
        pacer.accepted(slot)

    async with anyio.create_task_group() as tasks:
        for _ in range(6):
            tasks.start_soon(send)
        await virtual_clock.run_until(60)
    assert most == 2
    assert pacer.snapshot()["in_flight"] == 0


async def test_a_cancelled_waiter_lets_the_next_one_through(virtual_clock):
    pacer = Pacer(virtual_clock, max_requests_per_second=1, max_concurrency=1)
    got: list[str] = []

    async def take(name: str) -> None:
        pacer.released(await pacer.acquire(is_write=True))
        got.append(name)

    async with anyio.create_task_group() as tasks:
        pacer.hold(5)
        scope = anyio.CancelScope()

        async def impatient() -> None:
            with scope:
                await take("first")

        tasks.start_soon(impatient)
        await virtual_clock.run_until(1)
        tasks.start_soon(take, "second")
        await virtual_clock.run_until(2)
        scope.cancel()
        await virtual_clock.run_until(20)
    assert got == ["second"]

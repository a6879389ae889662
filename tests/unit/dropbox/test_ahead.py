"""Pages read one ahead: the same pages, never more than one too early, and every fault where it belongs."""

import gc
import weakref
from collections.abc import AsyncIterator

import anyio
import anyio.lowlevel
import pytest

from pipeline.errors import TeamReadError
from stages.dropbox.ahead import one_ahead

pytestmark = pytest.mark.anyio


class Pages:
    """Counts what was fetched; `fault_at`: instead of this page a fault."""

    def __init__(self, count: int, fault_at: int | None = None) -> None:
        self._count, self._fault_at = count, fault_at
        self.fetched = 0
        self.is_closed = False

    async def read(self) -> AsyncIterator[int]:
        try:
            for number in range(self._count):
                await anyio.lowlevel.checkpoint()
                if number == self._fault_at:
                    raise TeamReadError("list the team", "broke off")
                self.fetched += 1
                yield number
        finally:
            self.is_closed = True


@pytest.mark.parametrize("count", [0, 1, 2, 7])
async def test_the_same_pages_in_the_same_order(count: int) -> None:
    async with one_ahead(Pages(count).read()) as pages:
        assert [page async for page in pages] == list(range(count))


async def test_one_page_is_fetched_ahead_and_no_more() -> None:
    source = Pages(10)
    async with one_ahead(source.read()) as pages:
        async for page in pages:
            await anyio.wait_all_tasks_blocked()
            assert source.fetched == min(page + 2, 10)


@pytest.mark.parametrize("fault_at", [0, 1, 3])
async def test_a_fault_comes_after_the_pages_before_it_and_as_itself(fault_at: int) -> None:
    source, seen = Pages(5, fault_at), []
    with pytest.raises(TeamReadError, match="broke off"):
        async with one_ahead(source.read()) as pages:
            async for page in pages:
                await anyio.wait_all_tasks_blocked()  # the fault is there already
                seen.append(page)
    assert seen == list(range(fault_at))
    assert source.is_closed


async def test_a_fault_of_the_body_is_raised_as_itself_and_ends_the_reading() -> None:
    source = Pages(5)
    with pytest.raises(KeyError):
        async with one_ahead(source.read()) as pages:
            async for _ in pages:
                raise KeyError
    assert source.fetched <= 2
    assert source.is_closed


async def test_cancelling_ends_the_reading() -> None:
    source = Pages(5)
    with anyio.CancelScope() as scope:
        async with one_ahead(source.read()) as pages:
            async for _ in pages:
                scope.cancel()
                await anyio.lowlevel.checkpoint()
    assert scope.cancelled_caught
    assert source.is_closed


class Page(list[int]):
    """One of which a weak reference can be had."""


async def test_a_fault_that_nobody_keeps_keeps_no_page() -> None:
    """Without the collector of cyclic garbage, which looks seldom."""
    told: list[weakref.ref[Page]] = []

    async def read() -> AsyncIterator[Page]:
        page = Page([1])
        told.append(weakref.ref(page))
        yield page
        raise TeamReadError("list the team", "broke off")

    async def take() -> bool:
        try:
            async with one_ahead(read()) as pages:
                async for _ in pages:
                    pass
        except TeamReadError:
            return True
        return False

    gc.collect()
    gc.disable()
    try:
        assert await take()
        assert [one() for one in told] == [None]
    finally:
        gc.enable()

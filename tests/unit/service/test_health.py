"""What monitors are answered: no number that nobody knows."""

import urllib.request

import anyio
import anyio.lowlevel
import pytest

from stages.service.health import Reading, _Seldom, serving

pytestmark = pytest.mark.anyio


def fetch(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as reply:
        return str(reply.read().decode())


async def test_what_is_not_known_is_left_out_and_not_called_0() -> None:
    async def read() -> Reading:
        return Reading(values={("managed_members", ""): 3, ("members", "active"): 2})

    async with serving("127.0.0.1:0", read) as url:
        text = await anyio.to_thread.run_sync(fetch, f"{url}/metrics")
    assert "ad_connector_managed_members 3.0" in text
    assert 'ad_connector_members{status="active"} 2.0' in text
    assert "ad_connector_ready 1.0" in text
    assert "seats" not in text
    assert "last_pass" not in text


async def test_what_only_grows_is_a_counter() -> None:
    async def read() -> Reading:
        return Reading(values={("requests_sent", ""): 7, ("managed_members", ""): 3})

    async with serving("127.0.0.1:0", read) as url:
        text = await anyio.to_thread.run_sync(fetch, f"{url}/metrics")
    assert "# TYPE ad_connector_requests_sent_total counter" in text
    assert "ad_connector_requests_sent_total 7.0" in text
    assert "# TYPE ad_connector_managed_members gauge" in text
    assert "requests_refused" not in text


async def test_however_many_ask_looking_takes_a_quarter_of_the_time_at_most() -> None:
    """Nobody has to show a key for it."""
    now = 100.0
    looks = at_once = 0

    async def read() -> Reading:
        nonlocal now, looks, at_once
        looks, at_once = looks + 1, at_once + 1
        assert at_once == 1
        await anyio.lowlevel.checkpoint()
        now += 0.1
        at_once -= 1
        return Reading(troubles=(str(looks),))

    seldom = _Seldom(read, lambda: now)
    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(seldom)
    assert looks == 1
    now += 0.29
    assert (await seldom()).troubles == ("1",)
    now += 0.02
    assert (await seldom()).troubles == ("2",)

"""What monitors are answered: no number that nobody knows."""

import urllib.request

import anyio
import pytest

from stages.service.health import Reading, serving

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

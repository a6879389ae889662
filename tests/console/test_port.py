"""Many who open connections and say nothing, or next to nothing, keep nobody out, and take no more than their share."""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import aiohttp
import anyio
import anyio.to_thread
import pytest

from pipeline.errors import ConfigurationError
from sandbox.certificates import Authority
from stages.service.health import Reading, serving
from stages.service.tls import server_context

pytestmark = pytest.mark.anyio
MOST = 8
COUNT = 4 * MOST
PATIENCE_SECONDS = 60


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stages.service.port.MOST_CONNECTIONS", MOST)


@pytest.fixture
def guests() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


async def read() -> Reading:
    return Reading()


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 0  # noqa: PTH208


@pytest.mark.parametrize(
    "begin", [b"", b"GET /healthz HTTP/1.1\r\nHost: x"], ids=["silent", "half a request"]
)
@pytest.mark.parametrize("has_tls", [False, True], ids=["http", "https"])
async def test_silent_ones_keep_nobody_out(
    begin: bytes, has_tls: bool, guests: ExitStack, tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    files = authority.issue("127.0.0.1")
    tls = server_context(files.certificate, files.key) if has_tls else None
    connector = aiohttp.TCPConnector(ssl=authority.client_context())
    async with (
        serving("127.0.0.1:0", read, tls=tls) as base,
        aiohttp.ClientSession(connector=connector) as session,
    ):
        port = int(base.rpartition(":")[2])
        before = descriptors()
        for number in range(COUNT):
            one = await anyio.to_thread.run_sync(
                socket.create_connection, ("127.0.0.1", port), PATIENCE_SECONDS
            )
            guests.enter_context(one).sendall(begin)
            if number % MOST == 0:
                async with session.get(f"{base}/healthz") as answer:
                    assert answer.status == 200
        assert descriptors() <= before + COUNT + MOST + 4, "ours are among them"
        async with session.get(f"{base}/healthz") as answer:
            assert await answer.text() == "alive\n"


async def test_whoever_is_gone_leaves_the_place(guests: ExitStack) -> None:
    async with serving("127.0.0.1:0", read) as base, aiohttp.ClientSession() as session:
        port = int(base.rpartition(":")[2])
        first = guests.enter_context(socket.create_connection(("127.0.0.1", port), PATIENCE_SECONDS))
        for _ in range(COUNT):
            with await anyio.to_thread.run_sync(
                socket.create_connection, ("127.0.0.1", port), PATIENCE_SECONDS
            ):
                pass
            async with session.get(f"{base}/healthz", headers={"Connection": "close"}) as answer:
                assert answer.status == 200
        first.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        reply = await anyio.to_thread.run_sync(first.recv, 100)
        assert reply.startswith(b"HTTP/1.1 200 OK"), "and nobody is shown out for them"


async def test_a_port_that_is_taken_is_told_and_freed_at_the_end() -> None:
    async with serving("127.0.0.1:0", read) as base:
        port = base.rpartition(":")[2]
        with pytest.raises(ConfigurationError, match=r"service\.listen"):
            await serving(f"127.0.0.1:{port}", read).__aenter__()
    async with serving(f"127.0.0.1:{port}", read) as again:
        assert again == base


@pytest.mark.filterwarnings("error")
async def test_whoever_hangs_up_during_the_handshake_is_forgotten(tmp_path: Path) -> None:
    files = Authority(tmp_path).issue("127.0.0.1")
    tls = server_context(files.certificate, files.key)
    async with serving("127.0.0.1:0", read, tls=tls) as base:
        address = ("127.0.0.1", int(base.rpartition(":")[2]))
        for said in (b"", b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x00\xa5"):
            with socket.create_connection(address, PATIENCE_SECONDS) as one:
                one.sendall(said)
                await anyio.sleep(0)
        trusting = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
        async with (
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trusting)) as session,
            session.get(f"{base}/healthz") as answer,
        ):
            assert answer.status == 200
    gc.collect()


async def test_an_address_that_this_machine_is_without_is_left_out_unless_it_is_the_only_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = socket.create_server

    def without_ipv6(address: tuple[str, int], *, family: socket.AddressFamily) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(errno.EAFNOSUPPORT, "not here")
        return real(address, family=family)

    monkeypatch.setattr(socket, "create_server", without_ipv6)
    loop = asyncio.get_running_loop()
    both = [
        (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", 0, 0, 0)),
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0)),
    ]

    async def found(*_arguments: object, **_options: object) -> list[object]:
        return list(both)

    monkeypatch.setattr(loop, "getaddrinfo", found)
    async with serving("localhost:0", read):
        pass
    both.pop()
    with pytest.raises(ConfigurationError, match="not here"):
        await serving("localhost:0", read).__aenter__()

"""The control channel over named pipes, on a double of the two methods that asyncio's Windows loop has for them.

The double is a UNIX socket behind the same methods. What Windows itself does (rights, names) is not tested here.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest

from pipeline import control_pipe
from pipeline.control import MAX_MESSAGE_BYTES, ask, pipe_address_for, serve
from pipeline.errors import ControlError, JournalError
from pipeline.model import Json

pytestmark = pytest.mark.anyio


class PipeServer:
    def __init__(self, server: asyncio.AbstractServer) -> None:
        self._server = server

    def close(self) -> None:
        self._server.close()


@pytest.fixture
async def pipes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Gives the running loop the methods of ProactorEventLoop, with its way to fail."""
    loop = asyncio.get_running_loop()

    def place(address: str) -> Path:
        return tmp_path / address.removeprefix(control_pipe.PREFIX)[-20:]

    async def start_serving_pipe(factory: Callable[[], Any], address: str) -> list[PipeServer]:
        if place(address).exists():
            raise PermissionError(13, "Access is denied")
        return [PipeServer(await loop.create_unix_server(factory, str(place(address))))]

    async def create_pipe_connection(factory: Callable[[], Any], address: str) -> Any:
        return await loop.create_unix_connection(factory, str(place(address)))

    monkeypatch.setattr(loop, "start_serving_pipe", start_serving_pipe, raising=False)
    monkeypatch.setattr(loop, "create_pipe_connection", create_pipe_connection, raising=False)
    return place


@pytest.fixture
def address(tmp_path: Path, pipes: Callable[[str], Path]) -> str:
    return pipe_address_for(tmp_path / "j.db")


async def echo(request: Json) -> Json:
    return {"got": request}


async def fail(_request: Json) -> Json:
    raise JournalError("write", "the disk is full", "free some")


async def test_requests_are_answered_one_a_connection_and_side_by_side(address: str) -> None:
    both_there = anyio.Event()
    waiting = 0

    async def handler(request: Json) -> Json:
        nonlocal waiting
        waiting += 1
        if waiting == 2:
            both_there.set()
        await both_there.wait()
        return {"got": request}

    replies: dict[int, Json] = {}

    async def client(number: int) -> None:
        replies[number] = await ask(address, {"number": number, "text": "ü" * 1000}, 10)

    async with anyio.create_task_group() as group:
        await group.start(partial(serve, address, handler, owns_lock=True))
        async with anyio.create_task_group() as clients:
            clients.start_soon(client, 1)
            clients.start_soon(client, 2)
        group.cancel_scope.cancel()
    assert {number: reply["got"]["number"] for number, reply in replies.items()} == {1: 1, 2: 2}


async def test_the_owners_error_comes_back_as_it_was(address: str) -> None:
    async with anyio.create_task_group() as group:
        await group.start(partial(serve, address, fail, owns_lock=True))
        with pytest.raises(ControlError) as caught:
            await ask(address, {}, 10)
        group.cancel_scope.cancel()
    assert (caught.value.operation, caught.value.cause, caught.value.exit_code) == (
        "write",
        "the disk is full",
        -20,
    )


async def test_nobody_there(address: str) -> None:
    with pytest.raises(ControlError, match="nobody listens"):
        await ask(address, {}, 10)


async def test_a_name_that_is_taken_is_a_clear_error(address: str, pipes: Callable[[str], Path]) -> None:
    pipes(address).touch()
    with pytest.raises(ControlError, match="Access is denied"):
        await serve(address, echo, owns_lock=True)


async def test_an_owner_that_goes_away_is_not_waited_for(address: str) -> None:
    asked = anyio.Event()

    async def handler(_request: Json) -> Json:
        asked.set()
        await anyio.sleep_forever()
        return {}

    async with anyio.create_task_group() as group:
        await group.start(partial(serve, address, handler, owns_lock=True))

        async def client() -> None:
            with pytest.raises(ControlError, match="ended before it answered"):
                await ask(address, {}, 30)

        async with anyio.create_task_group() as clients:
            clients.start_soon(client)
            await asked.wait()
            group.cancel_scope.cancel()


@pytest.mark.parametrize("content", [b"no json\n", b"[]\n", b"x" * (MAX_MESSAGE_BYTES + 2)])
async def test_what_is_no_request_is_refused_and_ends_nothing(address: str, content: bytes) -> None:
    async with anyio.create_task_group() as group:
        await group.start(partial(serve, address, echo, owns_lock=True))
        async with await control_pipe.connect(address) as stream:
            await stream.send(content)
            assert b"not a request" in await stream.receive()
        assert await ask(address, {"still": "there"}, 10) == {"got": {"still": "there"}}
        group.cancel_scope.cancel()

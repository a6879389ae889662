"""Behaviour §7: commands that change something hand their request to the owner over a private socket."""

import json
import os
import socket
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest

from pipeline import control
from pipeline.control import MAX_ADDRESS_BYTES, MAX_MESSAGE_BYTES, address_for, ask, serve
from pipeline.errors import ControlError, JournalError
from pipeline.model import Json

pytestmark = pytest.mark.anyio


async def echo(request: Json) -> Json:
    return {"got": request}


@asynccontextmanager
async def serving(address: str, handler: Any = echo, **options: Any) -> AsyncIterator[None]:
    async with anyio.create_task_group() as group:
        await group.start(partial(serve, address, handler, owns_lock=True, **options))
        yield
        group.cancel_scope.cancel()


@pytest.fixture
def address(tmp_path: Path) -> str:
    found = address_for(tmp_path / "j.db", {"XDG_RUNTIME_DIR": str(tmp_path)})
    assert len(os.fsencode(found)) <= MAX_ADDRESS_BYTES
    return found


async def raw(address: str, content: bytes) -> bytes:
    async with await anyio.connect_unix(address) as stream:
        await stream.send(content)
        await stream.send_eof()
        received = b""
        async for part in stream:
            received += part
        return received


async def test_a_request_is_answered(address: str) -> None:
    async with serving(address):
        assert await ask(address, {"command": "approve", "hash": "ü"}, 5) == {
            "got": {"command": "approve", "hash": "ü"}
        }


async def test_the_socket_and_its_folder_are_private_and_go_away(address: str) -> None:
    async with serving(address):
        status = Path(address).stat()
        assert stat.S_ISSOCK(status.st_mode)
        assert stat.S_IMODE(status.st_mode) == 0o600
        assert stat.S_IMODE(Path(address).parent.stat().st_mode) == 0o700
    assert not Path(address).exists()


async def test_requests_are_answered_side_by_side(address: str) -> None:
    both = anyio.Event()
    count = 0

    async def meet(_request: Json) -> Json:
        nonlocal count
        count += 1
        if count == 2:
            both.set()
        await both.wait()
        return {}

    async with serving(address, meet), anyio.create_task_group() as group:
        group.start_soon(ask, address, {}, 5)
        group.start_soon(ask, address, {}, 5)


async def test_an_error_of_the_owner_is_raised_with_its_cause_and_code(address: str) -> None:
    async def refuse(_request: Json) -> Json:
        raise JournalError("approving a held set", "the disk is full", "free some space")

    async with serving(address, refuse):
        with pytest.raises(ControlError) as caught:
            await ask(address, {}, 5)
    assert caught.value.operation == "approving a held set"
    assert caught.value.cause == "the disk is full"
    assert caught.value.hint == "free some space"
    assert caught.value.exit_code == -20
    assert ControlError.exit_code == -17


async def test_an_unexpected_error_answers_and_ends_nothing_else(address: str) -> None:
    async def fail(request: Json) -> Json:
        return {"got": request["x"]}

    async with serving(address, fail):
        with pytest.raises(ControlError, match="KeyError"):
            await ask(address, {}, 5)
        assert await ask(address, {"x": 1}, 5) == {"got": 1}


@pytest.mark.parametrize("answer", [{"x": object()}, {"x": "y" * MAX_MESSAGE_BYTES}])
async def test_an_answer_that_can_not_be_sent_is_an_error(address: str, answer: Json) -> None:
    async def give(_request: Json) -> Json:
        return answer

    async with serving(address, give):
        with pytest.raises(ControlError, match="too long or can't be written"):
            await ask(address, {}, 5)


@pytest.mark.parametrize(
    "content", [b"\n", b"[]\n", b"{\n", b"\xff\n", b"[" * 50_000 + b"\n", b"x" * (MAX_MESSAGE_BYTES + 10)]
)
async def test_what_is_no_request_is_refused(address: str, content: bytes) -> None:
    async with serving(address):
        try:
            reply = await raw(address, content)
        except anyio.BrokenResourceError:
            reply = b""  # refused before all of it was read
        if reply:
            assert "not a request" in json.loads(reply)["error"]["cause"]
        assert await ask(address, {}, 5) == {"got": {}}


async def test_a_client_that_says_nothing_or_leaves_early_harms_nobody(address: str) -> None:
    async with serving(address):
        assert await raw(address, b"") == b""
        assert await raw(address, b'{"half":') == b""
        async with await anyio.connect_unix(address) as stream:
            await stream.send(b"{}\n")
        assert await ask(address, {}, 5) == {"got": {}}


async def test_a_request_too_long_is_not_sent(address: str) -> None:
    with pytest.raises(ControlError, match="too long"):
        await ask(address, {"x": "y" * MAX_MESSAGE_BYTES}, 5)


async def test_nobody_listening_is_told(address: str) -> None:
    with pytest.raises(ControlError, match="nobody listens"):
        await ask(address, {}, 5)
    Path(address).parent.mkdir(mode=0o700, exist_ok=True)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(address)
    with pytest.raises(ControlError, match="nobody listens"):
        await ask(address, {}, 5)


async def test_no_answer_in_time_says_that_it_may_have_been_done(address: str) -> None:
    async def hang(_request: Json) -> Json:
        await anyio.sleep_forever()
        return {}

    async with serving(address, hang):
        with pytest.raises(ControlError, match="whether it was carried out is not known"):
            await ask(address, {}, 0.01)


async def test_an_owner_that_ends_before_it_answers_is_told(address: str) -> None:
    reached = anyio.Event()

    async def hang(_request: Json) -> Json:
        reached.set()
        await anyio.sleep_forever()
        return {}

    async def expect() -> None:
        with pytest.raises(ControlError, match="ended before it answered"):
            await ask(address, {}, 5)

    async with anyio.create_task_group() as group, serving(address, hang):
        group.start_soon(expect)
        await reached.wait()


@pytest.mark.parametrize("line", [b"[]\n", b"nonsense\n"])
async def test_an_answer_of_nonsense_is_told(address: str, line: bytes) -> None:
    Path(address).parent.mkdir(mode=0o700, exist_ok=True)
    async with await anyio.create_unix_listener(address) as listener, anyio.create_task_group() as group:

        async def babble(stream: anyio.abc.SocketStream) -> None:
            async with stream:
                await stream.receive()
                await stream.send(line)

        group.start_soon(listener.serve, babble)
        with pytest.raises(ControlError, match="its answer can't be read"):
            await ask(address, {}, 5)
        group.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("uid", "is_heard"), [(os.geteuid(), True), (0, True), (None, True), (os.geteuid() + 1, False)]
)
async def test_only_the_same_account_and_root_are_heard(
    address: str, uid: int | None, is_heard: bool
) -> None:
    async with serving(address, peer_uid=lambda _stream: uid):
        if is_heard:
            await ask(address, {}, 5)
        else:
            with pytest.raises(ControlError, match="may not ask"):
                await ask(address, {}, 5)


async def test_the_system_tells_who_is_connected(address: str) -> None:
    if not hasattr(socket, "SO_PEERCRED"):
        pytest.skip("not told on this system")
    seen: list[int | None] = []

    def note(stream: anyio.abc.SocketStream) -> int | None:
        seen.append(control._peer_uid(stream))
        return seen[-1]

    async with serving(address, peer_uid=note):
        await ask(address, {}, 5)
    assert seen == [os.geteuid()]


# --- the socket file --------------------------------------------------------------------------------------------------


async def test_a_dead_owners_socket_is_removed_only_by_who_owns_the_lock(address: str) -> None:
    Path(address).parent.mkdir(mode=0o700, exist_ok=True)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(address)
    with pytest.raises(ControlError, match="another instance's"):
        await serve(address, echo, owns_lock=False)
    assert Path(address).exists()
    async with serving(address):
        assert await ask(address, {}, 5) == {"got": {}}


async def test_a_file_that_is_no_socket_is_never_removed(address: str) -> None:
    Path(address).parent.mkdir(mode=0o700, exist_ok=True)
    Path(address).write_text("precious")
    with pytest.raises(ControlError, match="no socket"):
        await serve(address, echo, owns_lock=True)
    assert Path(address).read_text() == "precious"


@pytest.mark.parametrize("kind", ["open", "link"])
async def test_a_folder_that_is_not_private_is_refused(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "f"
    if kind == "open":
        folder.mkdir()
        folder.chmod(0o755)
    else:
        (tmp_path / "real").mkdir(mode=0o700)
        folder.symlink_to("real")
    if len(os.fsencode(folder / "s")) > MAX_ADDRESS_BYTES:
        pytest.skip("the temporary folder's path is too long for a socket")
    with pytest.raises(ControlError, match="not a private folder"):
        await serve(str(folder / "s"), echo, owns_lock=True)


async def test_a_missing_folder_and_a_path_too_long_are_told(tmp_path: Path) -> None:
    with pytest.raises(ControlError, match="does not exist"):
        await serve("/nonexistent-folder/x/s", echo, owns_lock=True)
    with pytest.raises(ControlError, match="longer than"):
        await serve(str(tmp_path / ("x" * 120) / "s"), echo, owns_lock=True)


def test_a_long_journal_path_gives_a_short_address_of_its_own() -> None:
    one = address_for(Path("/var/" + "x" * 120 + "/one.db"), {"XDG_RUNTIME_DIR": "/run/user/7"})
    two = address_for(Path("/var/" + "x" * 120 + "/two.db"), {"XDG_RUNTIME_DIR": "/run/user/7"})
    assert one != two
    assert Path(one).parent == Path("/run/user/7/ad-connector")
    assert (
        len(os.fsencode(address_for(Path("/" + "é" * 60), {"XDG_RUNTIME_DIR": "/" + "r" * 99})))
        <= MAX_ADDRESS_BYTES
    )
    assert address_for(Path("/var/lib/j.db"), {}) == "/var/lib/j.db.control/socket"


def test_on_windows_the_address_is_a_pipe(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("pipeline.control.sys.platform", "win32")
    found = address_for(tmp_path / "j.db")
    assert found.startswith("\\\\.\\pipe\\ad-connector-")
    assert found == address_for(tmp_path / "x" / ".." / "j.db")
    assert found != address_for(tmp_path / "other.db")

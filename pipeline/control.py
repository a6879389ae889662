"""The control channel: commands that change something hand their request to the process that owns the journal.

One request and one reply a connection, each one line of JSON. The channel is a UNIX socket of mode 0600 in a
folder of mode 0700; where the system tells who is at the other end, only the same user and root are heard.
On Windows it is a named pipe (`control_pipe`), which the address shows; that was not run on Windows.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import stat
import struct
import sys
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
from anyio.abc import ByteStream, SocketAttribute, SocketStream, TaskStatus
from anyio.streams.buffered import BufferedByteReceiveStream

from pipeline import control_pipe
from pipeline.errors import ConnectorError, ControlError
from pipeline.model import Json
from pipeline.redaction import redacted

Handler = Callable[[Json], Awaitable[Json]]

MAX_MESSAGE_BYTES = 1_048_576
MAX_ADDRESS_BYTES = 100  # sun_path holds 108 on Linux, 104 on macOS and the BSDs, with a NUL at its end
_MAX_CONNECTIONS = 16
_READ_SECONDS = 10.0  # a client that connects and says nothing must not keep a place for ever
_SO_PEERCRED = getattr(socket, "SO_PEERCRED", None)  # Linux


def address_for(journal_path: Path, environ: Mapping[str, str] = os.environ) -> str:
    """Where the owner of a journal listens: `<journal>.control/socket`, or, where that is too long for a socket,
    a short name in the runtime folder. Other processes take it from the owner file instead of working it out.
    """
    resolved = journal_path.resolve()
    if sys.platform == "win32":
        return pipe_address_for(resolved)
    beside = str(resolved.with_name(f"{resolved.name}.control") / "socket")
    if len(os.fsencode(beside)) <= MAX_ADDRESS_BYTES:
        return beside
    name = hashlib.sha256(os.fsencode(resolved)).hexdigest()[:16]
    runtime = environ.get("XDG_RUNTIME_DIR")
    candidates = [Path(runtime) / "ad-connector"] if runtime else []
    candidates.append(Path(tempfile.gettempdir()) / f"ad-connector-{_own_uid()}")
    candidates.append(Path("/tmp") / f"ad-connector-{_own_uid()}")  # noqa: S108 - 0700 and owner are checked
    fitting = [
        str(folder / name) for folder in candidates if len(os.fsencode(folder / name)) <= MAX_ADDRESS_BYTES
    ]
    return fitting[0]


def pipe_address_for(resolved: Path) -> str:
    """The pipe of a journal on Windows: names of pipes are one flat list."""
    return f"{control_pipe.PREFIX}ad-connector-{hashlib.sha256(os.fsencode(resolved)).hexdigest()[:16]}"


async def serve(
    address: str,
    handler: Handler,
    *,
    owns_lock: bool,
    peer_uid: Callable[[SocketStream], int | None] | None = None,
    task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED,
) -> None:
    """Answers requests until cancelled; `task_status` is set once clients can connect.

    `owns_lock`: the caller holds the journal's lock, so that a socket found at the address is a dead owner's and
    may be removed; without it such a socket is a ControlError. A request that fails is answered with its error
    and ends nothing else. `peer_uid` tells who is connected (for tests). Raises ControlError where the address
    can't be used.
    """
    places = anyio.Semaphore(_MAX_CONNECTIONS)
    uid_of = peer_uid or _peer_uid

    async def answer(stream: ByteStream) -> None:
        async with stream, places:
            # a client that hangs up early has its request carried out all the same; only the reply is lost
            with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
                await _answer(stream, handler, uid_of(stream) if isinstance(stream, SocketStream) else None)

    if address.startswith(control_pipe.PREFIX):
        try:
            async with control_pipe.serving(address) as answer_all:
                task_status.started()
                await answer_all(answer)
        except OSError as error:
            raise ControlError("serving the control channel", f"{address}: {error.strerror}") from error
        return
    path = Path(address)
    _prepare(path, owns_lock=owns_lock)
    try:
        # mode: between bind and chmod the folder (0700) keeps others out, so the process's umask, which all
        # threads share, is left alone
        listener = await anyio.create_unix_listener(address, mode=0o600, backlog=_MAX_CONNECTIONS)
    except OSError as error:
        raise ControlError("serving the control channel", f"{address}: {error.strerror}") from error
    identity = _identity(path)
    try:
        async with listener:
            task_status.started()
            await listener.serve(answer)
    finally:
        _remove(path, identity)


async def ask(address: str, request: Json, timeout_seconds: float) -> Json:
    """Sends one request to the owner at `address` and returns its reply.

    Raises ControlError: nobody answers there, no reply in time (whether the request was carried out is then not
    known), or the owner's own error, with its operation, cause, hint and exit code.
    """
    operation = "asking the running instance"
    line = _encoded(request)
    if line is None:
        raise ControlError(operation, "the request is too long")
    try:
        with anyio.fail_after(timeout_seconds):
            async with await _connect(address) as stream:
                await stream.send(line)
                reply = _decoded(await _line(stream))
    except TimeoutError as error:
        raise ControlError(
            operation,
            f"no answer within {timeout_seconds:g} s; whether it was carried out is not known",
            "look at `ad-connector status` before trying again",
        ) from error
    except (FileNotFoundError, ConnectionRefusedError) as error:
        raise ControlError(operation, f"nobody listens at {address}") from error
    except (anyio.EndOfStream, anyio.IncompleteRead, anyio.BrokenResourceError) as error:
        raise ControlError(
            operation,
            "it ended before it answered; whether it was carried out is not known",
            "look at `ad-connector status` before trying again",
        ) from error
    except (OSError, ValueError, anyio.DelimiterNotFound) as error:
        cause = error.strerror if isinstance(error, OSError) else "its answer can't be read"
        raise ControlError(
            operation, f"{address}: {cause}", "run as the same account, with the same version"
        ) from error
    if "error" in reply:
        raise _error_from(reply["error"])
    return reply


async def _connect(address: str) -> ByteStream:
    if address.startswith(control_pipe.PREFIX):
        return await control_pipe.connect(address)
    return await anyio.connect_unix(address)


# --- one connection -----------------------------------------------------------------------------------------


async def _answer(stream: ByteStream, handler: Handler, uid: int | None) -> None:
    reply: Json
    if uid is not None and uid not in {0, _own_uid()}:
        reply = _refusal(f"user {uid} may not ask: only the account that runs the connector, and root")
    else:
        try:
            with anyio.fail_after(_READ_SECONDS):
                request = _decoded(await _line(stream))
        except TimeoutError:
            reply = _refusal("no request came")
        except (anyio.EndOfStream, anyio.IncompleteRead):
            return  # somebody only looked whether the socket is alive
        except (ValueError, anyio.DelimiterNotFound):
            reply = _refusal(f"not a request: one line of JSON, an object, up to {MAX_MESSAGE_BYTES} bytes")
        else:
            reply = await _handled(handler, request)
    line = _encoded(reply) or _encoded(_refusal("the answer is too long or can't be written as JSON"))
    if line is not None:
        with anyio.move_on_after(_READ_SECONDS):
            await stream.send(line)


async def _handled(handler: Handler, request: Json) -> Json:
    try:
        return await handler(request)
    except ConnectorError as error:
        return {
            "error": {
                "operation": error.operation,
                "cause": error.cause,
                "hint": error.hint,
                "exit_code": error.exit_code,
            }
        }
    except Exception as error:  # noqa: BLE001 - one bad request must not end the pass that serves it
        return _refusal(
            f"something unexpected happened ({type(error).__name__}: {redacted(str(error))[:200]})"
        )


def _refusal(cause: str) -> Json:
    return {
        "error": {
            "operation": "handling a request",
            "cause": cause,
            "hint": ControlError.default_hint,
            "exit_code": ControlError.exit_code,
        }
    }


def _error_from(found: Any) -> ControlError:
    parts = found if isinstance(found, dict) else {}
    error = ControlError(
        str(parts.get("operation", "asking the running instance")),
        str(parts.get("cause", "it refused")),
        str(parts.get("hint", "")),
    )
    code = parts.get("exit_code")
    if isinstance(code, int) and not isinstance(code, bool):
        error.exit_code = code  # the code of what went wrong over there, not of the errand
    return error


async def _line(stream: ByteStream) -> bytes:
    return await BufferedByteReceiveStream(stream).receive_until(b"\n", MAX_MESSAGE_BYTES)


def _encoded(message: Json) -> bytes | None:
    try:
        line = json.dumps(message).encode() + b"\n"
    except (TypeError, ValueError, RecursionError):
        return None
    return line if len(line) <= MAX_MESSAGE_BYTES else None


def _decoded(line: bytes) -> Json:
    try:
        message = json.loads(line)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not isinstance(message, dict):
        raise ValueError("no object")  # noqa: TRY004 - for the caller it is one more malformed line
    return message


# --- the socket file ----------------------------------------------------------------------------------------


def _prepare(path: Path, *, owns_lock: bool) -> None:
    operation = "serving the control channel"
    if len(os.fsencode(path)) > MAX_ADDRESS_BYTES:
        raise ControlError(
            operation, f"{path} is longer than a socket's path can be", "use a shorter journal.path"
        )
    folder = path.parent
    try:
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        status = folder.lstat()
        if (
            not stat.S_ISDIR(status.st_mode)
            or status.st_uid != _own_uid()
            or stat.S_IMODE(status.st_mode) & 0o077
        ):
            # in a shared folder such as /tmp anybody may have made it first
            raise ControlError(
                operation, f"{folder} is not a private folder of this account", f"remove {folder}"
            )
        found = path.lstat()
    except FileNotFoundError:
        if folder.exists():
            return
        raise ControlError(operation, f"{folder.parent} does not exist") from None
    except OSError as error:
        raise ControlError(operation, f"{folder}: {error.strerror}") from error
    if not stat.S_ISSOCK(found.st_mode):
        raise ControlError(operation, f"{path} exists and is no socket", f"remove {path}")
    if not owns_lock:
        raise ControlError(operation, f"{path} exists, and may be another instance's")
    path.unlink()


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.lstat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _remove(path: Path, identity: tuple[int, int] | None) -> None:
    """Takes our socket away, unless another one stands there by now."""
    if identity is not None and identity == _identity(path):
        with suppress(OSError):
            path.unlink()


def _peer_uid(stream: SocketStream) -> int | None:
    """The user at the other end (unix(7), SO_PEERCRED); None where the system does not tell."""
    if _SO_PEERCRED is None:
        return None
    raw = stream.extra(SocketAttribute.raw_socket)  # noqa: S610 - anyio's, nothing of a database
    _pid, uid, _gid = struct.unpack(
        "iII", raw.getsockopt(socket.SOL_SOCKET, _SO_PEERCRED, struct.calcsize("iII"))
    )
    return int(uid)


def _own_uid() -> int:
    return os.geteuid() if hasattr(os, "geteuid") else 0

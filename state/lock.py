"""One process owns a journal. The lock decides; the owner file beside it only says who holds it.

`<journal>.lock` is locked, `<journal>.owner` describes. The database file itself is never opened here: closing
any descriptor of a file drops all POSIX locks that the process holds on it, SQLite's included
(https://www.sqlite.org/howtocorrupt.html, 2.2).
"""

from __future__ import annotations

import errno
import json
import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from pipeline.errors import InstanceRunning, JournalError, RightsError

# `owner` takes the lock for a moment to see whether it is free; an owner-to-be outlasts such a look.
_PATIENCE_SECONDS = 0.5
_POLL_SECONDS = 0.02
_MAX_BYTES = 16_384


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """Who holds a journal. `control` is the address of its control channel, "" where it has none."""

    pid: int
    host: str
    command: str
    since: datetime
    control: str = ""

    def describe(self) -> str:
        return (
            f"process {self.pid} on {self.host} runs `{self.command}` "
            f"since {self.since.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
        )


@contextmanager
def acquire(journal_path: Path, command: str, control_address: str = "") -> Iterator[Owner]:
    """Holds the journal for as long as the context lasts; may block for half a second.

    Raises InstanceRunning (-19) with the holder's process, host and command; RightsError (-11) where the lock
    can't be written by this account; JournalError (-20) for a full or read-only disk or a missing folder.
    """
    operation = f"taking the journal {journal_path}"
    if not (folder := _beside(journal_path, "").parent).is_dir():
        # filelock would make it: a misspelt path would become a new, empty journal
        raise JournalError(
            operation, f"the folder {folder} does not exist", "create it, or change journal.path"
        )
    lock = _lock(journal_path)
    try:
        lock.acquire(timeout=_PATIENCE_SECONDS, poll_interval=_POLL_SECONDS)
    except Timeout as error:
        holder = _read(journal_path)
        raise InstanceRunning(
            operation,
            f"another instance is running: {holder.describe()}" if holder else "another instance is running",
        ) from error
    except OSError as error:
        raise _refusal(operation, error) from error
    try:
        owner = Owner(
            pid=os.getpid(),
            host=socket.gethostname(),
            command=command,
            since=datetime.now(UTC),
            control=control_address,
        )
        try:
            _write(journal_path, owner)
        except OSError as error:
            raise _refusal(operation, error) from error
        try:
            yield owner
        finally:
            with suppress(OSError):  # a stale owner file does no harm: the lock decides
                _beside(journal_path, ".owner").unlink()
    finally:
        lock.release()


def owner(journal_path: Path) -> Owner | None:
    """Who holds the journal now; None when nobody does, whatever an owner file left behind by a crash says."""
    if not _beside(journal_path, ".lock").exists():
        return None
    lock = _lock(journal_path)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return _read(journal_path)
    except OSError as error:
        raise _refusal(f"looking who holds the journal {journal_path}", error) from error
    lock.release()
    return None


def _lock(journal_path: Path) -> FileLock:
    # no soft lock: a file whose existence is the lock outlives its owner's crash
    return FileLock(
        _beside(journal_path, ".lock"),
        mode=0o600,
        thread_local=False,
        fallback_to_soft=False,
        is_singleton=False,
    )


def _beside(journal_path: Path, suffix: str) -> Path:
    # resolved: two names of one journal must meet in one lock
    resolved = journal_path.resolve()
    return resolved.with_name(resolved.name + suffix)


def _write(journal_path: Path, holder: Owner) -> None:
    target = _beside(journal_path, ".owner")
    content = {
        "pid": holder.pid,
        "host": holder.host,
        "command": holder.command,
        "since": holder.since.isoformat(),
        "control": holder.control,
    }
    descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)  # mode 0600
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(content, file)
        Path(name).replace(target)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise


def _read(journal_path: Path) -> Owner | None:
    """The owner file, None where it is missing or no owner's: it may have been written by anything."""
    try:
        with _beside(journal_path, ".owner").open("rb") as file:
            content: Any = json.loads(file.read(_MAX_BYTES))
        found = Owner(
            pid=int(content["pid"]),
            host=str(content["host"]),
            command=str(content["command"]),
            since=datetime.fromisoformat(content["since"]),
            control=str(content.get("control", "")),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return found


def _refusal(operation: str, error: OSError) -> RightsError | JournalError:
    cause = f"{error.filename or 'the lock file'}: {error.strerror or error}"
    if error.errno in {errno.EACCES, errno.EPERM}:
        return RightsError(
            operation,
            cause,
            "run as the account that owns the journal, or give it the files beside the journal",
        )
    if error.errno == errno.EROFS:
        return JournalError(
            operation, cause, "the disk is read-only: mount it writable, or change journal.path"
        )
    if error.errno in {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP}:
        return JournalError(
            operation, cause, "this file system has no locks: put the journal on a local disk"
        )
    return JournalError(operation, cause)

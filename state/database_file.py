"""The journal's file on the disk: private from its first moment, known again by what it is, and what SQLite's errors about it mean."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.errors import JournalError, RightsError

IN_MEMORY = ":memory:"
HOW_TO_BEGIN = (
    "`ad-connector run --simulate` is a first pass that writes nothing to Dropbox; if there were passes already, "
    "check journal.path"
)
HINT_FULL = "free disk space, then run again: nothing half-written remains"


@contextmanager
def journal_errors(operation: str, path: str) -> Iterator[None]:
    """Turns SQLite's errors into JournalError with the remedy that fits; memory of the cause is kept."""
    try:
        yield
    except sqlite3.Error as error:
        text = str(error)
        code = getattr(error, "sqlite_errorname", "")
        hint = ""
        if code == "SQLITE_IOERR_SHMSIZE":  # no room for the file beside it by which readers and writer agree
            text, hint = f"{text}: the disk is full, it seems", HINT_FULL
        elif "FULL" in code or "full" in text:
            hint = HINT_FULL
        elif "READONLY" in code or "readonly" in text:
            hint = "make the journal and its folder writable for the account that runs the connector"
        elif "CORRUPT" in code or "NOTADB" in code or "malformed" in text:
            hint = "move the file away and restore a backup, or start without it: the next pass compares everything and does nothing wrong"
        elif "IOERR" in code:
            hint = "check the disk; restore a backup if the file is damaged"
        raise JournalError(operation, f"{path}: {text}", hint) from error


def identity_of(path: str) -> tuple[int, int] | None:
    """Asked of the name, without opening anything."""
    if path == IN_MEMORY:
        return None
    try:
        found = os.stat(path)  # noqa: PTH116 - several times a pass, and a Path costs as much as the question
    except OSError:
        return (0, 0)
    return (found.st_dev, found.st_ino)


def prepare_file(path: Path, *, read_only: bool) -> None:
    """The journal holds names and addresses: readable by its owner alone from its first moment."""
    parent = path.resolve().parent
    if not parent.is_dir():
        raise RightsError("open the journal", f"the folder {parent} does not exist", "create the folder")
    if path.exists():
        return
    if read_only:
        raise JournalError(
            "open the journal", f"{path} does not exist: no pass has run on it yet", HOW_TO_BEGIN
        )
    try:
        path.touch(mode=0o600)
    except OSError as error:
        raise RightsError(
            "create the journal",
            f"{path}: {error.strerror}",
            "make the folder writable for the account that runs the connector",
        ) from error

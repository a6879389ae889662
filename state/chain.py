"""The chain of the change log: each line carries a digest of itself and of all before it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from state.database import Connection

CHAIN_END = (
    "SELECT coalesce((SELECT chain FROM log ORDER BY seq DESC LIMIT 1), "
    "(SELECT value FROM meta WHERE key = 'chain_base'), '')"
)


def link_of_chain(before: str, line: Sequence[Any]) -> str:
    """The chain value of a line: 32 hex digits of SHA-256 over the chain before and every field."""
    content = before + "\x1e" + "\x1f".join("" if field is None else str(field) for field in line)
    return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def write_lines(lines: Sequence[tuple[Any, ...]], connection: Connection) -> None:
    """In SQLite's thread: the chain goes on from what is there then."""
    chain = connection.execute(CHAIN_END).fetchone()[0]
    chained = []
    for line in lines:
        chain = link_of_chain(chain, line)
        chained.append((*line, chain))
    connection.executemany(
        "INSERT INTO log (at, kind, guid, email, action, state, cause, pass_id, detail, chain) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        chained,
    )

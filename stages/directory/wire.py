"""What passes between the readers and a connection, in words of our own. No ldap3 here: the tests' scripted
connections speak these words too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from stages.directory.controls import Control

EVERYTHING = "(objectClass=*)"


class Scope(StrEnum):
    """Spelt as ldap3 spells them."""

    BASE = "BASE"
    LEVEL = "LEVEL"
    SUBTREE = "SUBTREE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """One search request. `purpose` is the operation that an error names.

    `guids`: only objects with one of these objectGUIDs, of those that match `filter`; empty: all of those.
    `patience_seconds` overrides the connection's timeout for the first byte of the answer.
    """

    purpose: str
    base: str
    scope: Scope
    attributes: tuple[str, ...]
    filter: str = EVERYTHING
    guids: tuple[str, ...] = ()
    controls: tuple[Control, ...] = ()
    size_limit: int = 0
    patience_seconds: int = 0


@dataclass(frozen=True, slots=True)
class RawEntry:
    """One entry as it came: names in lower case with their options, values as bytes. A cleared attribute is
    there with no values; an unchanged or unreadable one is not there.
    """

    dn: str
    values: Mapping[str, tuple[bytes, ...]]

    def first(self, name: str) -> bytes | None:
        values = self.values.get(name)
        return values[0] if values else None

    def text(self, name: str) -> str:
        value = self.first(name)
        return "" if value is None else value.decode("utf-8", errors="replace")


@dataclass(frozen=True, slots=True)
class Answer:
    """The entries of a search that ended with success.

    `page_cookie` is the cookie of the paged results control, b"" on the last page, None where the server sent none.
    `change_cookie` and `more_changes` come from the DirSync control, None and False where there was none.
    """

    entries: tuple[RawEntry, ...]
    page_cookie: bytes | None = None
    change_cookie: bytes | None = None
    more_changes: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Controller:
    """The domain controller at the other end, as its root entry told when we connected.

    `invocation_id` is "" where the account can't read it. `clock` is the controller's `currentTime`, `asked_at` our
    own time when it answered.
    """

    base_dn: str
    config_dn: str
    host_name: str
    ds_service: str
    invocation_id: str
    domain_guid: str
    domain_sid: str
    controls: frozenset[str]
    synchronized: bool = True
    read_only: bool = False
    tombstone_days: int = 60
    clock: datetime | None = None
    asked_at: datetime | None = None


class Searcher(Protocol):
    """An open connection to one domain controller. All searches of one read go through one of these: paged and
    ranged reads hold on one connection only (MS-ADTS 3.1.1.3.1.3.3).
    """

    @property
    def controller(self) -> Controller: ...

    async def search(self, request: Search) -> Answer:
        """Raises LdapRefusal, LdapBusy for any result but success; ConnectionLost."""

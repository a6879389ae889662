"""A plain ldap3 client of the server: raw searches, nothing of the connector."""

import contextlib
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import ldap3
from ldap3.core.exceptions import LDAPExceptionError
from ldap3.strategy.base import BaseStrategy
from ldap3.utils.asn1 import decode_message_fast

from sandbox.samba_admin import VerifiedTls
from sandbox.windows_ldap import WindowsServer

DIRSYNC = "1.2.840.113556.1.4.841"
EXTENDED_DN = ("1.2.840.113556.1.4.529", True, bytes.fromhex("3003020101"))
SHOW_DELETED = ("1.2.840.113556.1.4.417", True, None)
SHOW_RECYCLED = ("1.2.840.113556.1.4.2064", True, None)
FLAGS = 0x80000801
ATTRIBUTES = [
    "sAMAccountName",
    "givenName",
    "sn",
    "mail",
    "name",
    "isDeleted",
    "userAccountControl",
    "member",
]


@dataclass
class Reply:
    code: int
    entries: list[dict[str, Any]]
    references: list[Any]
    controls: dict[str, Any]
    message: str

    @property
    def dns(self) -> list[str]:
        return [entry["dn"] for entry in self.entries]

    def raw(self, number: int = 0) -> dict[str, list[bytes]]:
        """Attributes of one entry. One that came without values has an empty list."""
        return {name: list(values or []) for name, values in self.entries[number]["raw_attributes"].items()}


class Client:
    def __init__(self, server: WindowsServer, user: str, password: str, *, start_tls: bool = False) -> None:
        tls = VerifiedTls(server.ca_file)
        port = server.ldap_port if start_tls else server.ldaps_port
        host = ldap3.Server(
            server.host, port=port, use_ssl=not start_tls, tls=tls, get_info=ldap3.NONE, connect_timeout=10
        )
        self.connection = ldap3.Connection(
            host,
            user=user,
            password=password,
            client_strategy=ldap3.SAFE_SYNC,
            auto_referrals=False,
            auto_range=False,
            check_names=False,
            return_empty_attributes=False,
            receive_timeout=30,
        )

    def bind(self) -> dict[str, Any]:
        _, result, _, _ = self.connection.bind()
        return dict(result)

    def search(
        self,
        base: str,
        query: str = "(objectClass=*)",
        scope: str = ldap3.SUBTREE,
        attributes: list[str] | None = None,
        controls: list[Any] | None = None,
        size_limit: int = 0,
    ) -> Reply:
        _, result, response, _ = self.connection.search(
            base,
            query,
            scope,
            attributes=attributes or ["1.1"],
            controls=controls,
            size_limit=size_limit,
        )
        response = response or []
        entries = [one for one in response if one["type"] == "searchResEntry"]
        references = [one["uri"] for one in response if one["type"] == "searchResRef"]
        return Reply(result["result"], entries, references, result.get("controls") or {}, result["message"])

    def read(self, base: str, *attributes: str, controls: list[Any] | None = None) -> Reply:
        return self.search(base, scope=ldap3.BASE, attributes=list(attributes) or ["*"], controls=controls)

    def dirsync(
        self,
        base: str,
        cookie: bytes = b"",
        *,
        flags: int = FLAGS,
        query: str = "(|(objectClass=user)(objectClass=group)(objectClass=organizationalUnit))",
        attributes: list[str] | None = None,
        size_limit: int = 0,
    ) -> "Reply":
        control = (DIRSYNC, True, dirsync_value(flags, cookie))
        return self.search(
            base,
            query,
            attributes=attributes or ATTRIBUTES,
            controls=[control, EXTENDED_DN, SHOW_DELETED],
            size_limit=size_limit,
        )

    def dirsync_all(self, base: str, cookie: bytes = b"", **options: Any) -> "Cycle":
        cycle = Cycle(cookie)
        while True:
            reply = self.dirsync(base, cycle.cookie, **options)
            assert reply.code == 0, reply.message
            value = reply.controls[DIRSYNC]["value"]
            cycle.pages.append(reply)
            cycle.cookie = value["cookie"]
            if not value["more_results"]:
                return cycle

    def close(self) -> None:
        connection = self.connection
        with contextlib.suppress(LDAPExceptionError, OSError):
            connection.unbind()
        if connection.socket is not None:
            connection.socket.close()


class Watcher:
    """Leaves searches open and reads what comes, in one thread: ldap3's own asynchronous strategies write to the TLS
    socket while another thread reads from it, which OpenSSL forbids and which now and then loses a reply.
    """

    def __init__(self, client: Client, *, patience_seconds: float = 30.0) -> None:
        self._connection = client.connection
        self._connection.post_send_search = (
            int  # the number of the request is the answer: nothing is waited for
        )
        self._connection.strategy.thread_safe = False
        self._patience_seconds = patience_seconds
        self._unread = b""
        self._entries: deque[dict[str, Any]] = deque()

    def ask(self, base: str, scope: str, controls: list[Any] | None = None) -> int:
        """Sends a search for everything there; its message id."""
        number = self._connection.search(
            base, "(objectClass=*)", scope, attributes=["objectGUID"], controls=controls
        )
        return int(number)

    def result_of(self, number: int) -> dict[str, Any]:
        """The last message about a request. Entries that come before it are kept for `told`."""
        while True:
            found, message = self._receive()
            if message["type"] == "searchResEntry":
                if found != number:
                    self._entries.append(message)
            elif found == number:
                return message

    def told(self) -> str:
        """The DN of the next entry. TimeoutError when none comes."""
        while not self._entries:
            _, message = self._receive()
            if message["type"] == "searchResEntry":
                self._entries.append(message)
        return str(self._entries.popleft()["dn"])

    def _receive(self) -> tuple[int, dict[str, Any]]:
        connection = self._connection
        connection.socket.settimeout(self._patience_seconds)
        while not 0 < (size := BaseStrategy.compute_ldap_message_size(self._unread)) <= len(self._unread):
            data = connection.socket.recv(65_536)
            if not data:
                raise ConnectionError("the server hung up")
            self._unread += data
        message, self._unread = self._unread[:size], self._unread[size:]
        decoded = decode_message_fast(message)
        return int(decoded["messageID"]), dict(connection.strategy.decode_response_fast(decoded))


@dataclass
class Cycle:
    """All pages up to the one that says that there is no more."""

    cookie: bytes
    pages: list[Reply] = field(default_factory=list)

    @property
    def entries(self) -> list[dict[str, Any]]:
        return [entry for page in self.pages for entry in page.entries]

    def of(self, guid: str) -> list[dict[str, list[bytes]]]:
        """The attributes of every entry about one object."""
        found = (e for e in self.entries if guid_of(e) == guid)
        return [{name: list(values or []) for name, values in e["raw_attributes"].items()} for e in found]

    @property
    def guids(self) -> set[str]:
        return {guid_of(entry) for entry in self.entries}


def guid_of(entry: dict[str, Any]) -> str:

    return str(uuid.UUID(bytes_le=entry["raw_attributes"]["objectGUID"][0]))


def _tlv(tag: int, body: bytes) -> bytes:
    size = len(body)
    if size < 0x80:
        return bytes((tag, size)) + body
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + body


def dirsync_value(flags: int, cookie: bytes, max_bytes: int = 0) -> bytes:
    """Flags in four bytes, as a signed 32-bit word."""
    word = flags.to_bytes(4, "big")
    return _tlv(0x30, _tlv(2, word) + _tlv(2, max_bytes.to_bytes(4, "big")) + _tlv(4, cookie))


Connect = Callable[..., Client]

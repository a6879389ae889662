"""A plain ldap3 client of the server: raw searches, nothing of the connector."""

import contextlib
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import ldap3
from ldap3.core.exceptions import LDAPExceptionError

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

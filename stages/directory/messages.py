"""The LDAP messages of which there are many (RFC 4511): what asks for people by GUID, and the entries that answer.

ldap3 parses a filter as text, builds it from objects and takes it apart again for its own record, and decodes every value three
times, as a tuple, as bytes and as text: in all 250 microseconds a person (measured). Here it is done once: 60. Filters and
results are still ldap3's work (`stages.directory.line`).
"""

from __future__ import annotations

import uuid
from functools import lru_cache
from typing import NamedTuple

from stages.directory.controls import Control, int32, tlv
from stages.directory.wire import EVERYTHING, RawEntry, Scope, Search

ENTRY, REFERENCE, DONE, UNSOLICITED = 0x64, 0x73, 0x65, 0x78  # RFC 4511 4.5.2, 4.12

_REQUEST, _CONTROLS = 0x63, 0xA0
_AND, _OR, _EQUAL = 0xA0, 0xA1, 0xA3  # RFC 4511 4.5.1.7
_BOOLEAN, _INTEGER, _OCTET_STRING, _ENUMERATED, _SEQUENCE, _SET = 0x01, 0x02, 0x04, 0x0A, 0x30, 0x31
_SCOPES = {Scope.BASE: b"\x00", Scope.LEVEL: b"\x01", Scope.SUBTREE: b"\x02"}
_OBJECT_GUID = tlv(_OCTET_STRING, b"objectGUID")
_NO_ATTRIBUTES = "1.1"  # RFC 4511 4.5.1.8
_LONGEST_LENGTH = 4  # bytes of a length that we believe


class NotLdap(ValueError):
    """The server sent what is no LDAP message."""


def search_message(number: int, request: Search, condition: bytes) -> bytes:
    """The whole message of a request; `condition` is its `filter`, encoded. ValueError for what is no GUID."""
    if request.guids:
        guids = b"".join(
            tlv(_EQUAL, _OBJECT_GUID + tlv(_OCTET_STRING, uuid.UUID(guid).bytes_le)) for guid in request.guids
        )
        # The GUIDs first: Samba goes through the parts in this order until one is short enough (ldb's index).
        condition = (
            tlv(_OR, guids) if request.filter == EVERYTHING else tlv(_AND, tlv(_OR, guids) + condition)
        )
    wanted = request.attributes or (_NO_ATTRIBUTES,)
    search = (
        tlv(_OCTET_STRING, request.base.encode())
        + tlv(_ENUMERATED, _SCOPES[request.scope])
        + tlv(_ENUMERATED, b"\x00")  # aliases are never followed
        + int32(request.size_limit)
        + int32(0)  # the server's own limit of time
        + tlv(_BOOLEAN, b"\x00")  # values too, not the names alone
        + condition
        + tlv(_SEQUENCE, b"".join(tlv(_OCTET_STRING, name.encode()) for name in wanted))
    )
    controls = b"".join(map(_control, request.controls))
    return tlv(
        _SEQUENCE,
        int32(number) + tlv(_REQUEST, search) + (tlv(_CONTROLS, controls) if controls else b""),
    )


def _control(control: Control) -> bytes:
    oid, critical, value = control
    return tlv(
        _SEQUENCE,
        tlv(_OCTET_STRING, oid.encode())
        + (tlv(_BOOLEAN, b"\xff") if critical else b"")
        + (b"" if value is None else tlv(_OCTET_STRING, value)),
    )


class Message(NamedTuple):
    """Which request it answers (0: none, it is the server's own), the operation's tag, the whole message, and where in it
    the operation begins.
    """

    number: int
    operation: int
    data: bytes
    at: int


class MessageReader:
    """Cuts a stream into messages."""

    def __init__(self) -> None:
        self._pending = bytearray()

    def feed(self, data: bytes) -> list[Message]:
        """The messages that `data` completes. NotLdap."""
        pending = self._pending
        pending += data
        messages, start = [], 0
        while (size := _size_of(pending, start)) is not None and len(pending) - start >= size:
            messages.append(_message(bytes(pending[start : start + size])))
            start += size
        del pending[:start]
        return messages


def read_entry(message: Message) -> RawEntry:
    """What a message of the operation ENTRY holds. NotLdap where its parts don't fill it exactly: half an entry is none."""
    data = message.data
    at, end = _body(data, message.at, ENTRY)
    at, stop = _body(data, at, _OCTET_STRING)
    dn = data[at:stop].decode()
    values: dict[str, tuple[bytes, ...]] = {}
    at, last = _body(data, stop, _SEQUENCE)
    if last != end:
        raise NotLdap("an entry does not end where its attributes do")
    while at < last:
        at, stop = _body(data, at, _SEQUENCE)
        at, name_end = _body(data, at, _OCTET_STRING)
        name = _name(data[at:name_end])
        at, set_end = _body(data, name_end, _SET)
        if set_end != stop:
            raise NotLdap("an attribute does not end where its values do")
        found = []
        while at < stop:
            at, value_end = _body(data, at, _OCTET_STRING)
            found.append(data[at:value_end])
            at = value_end
        if at != stop:
            raise NotLdap("a value goes beyond its attribute")
        values[name] = tuple(found)
    if at != last:
        raise NotLdap("an attribute goes beyond its entry")
    return RawEntry(dn, values)


@lru_cache(maxsize=1024)
def _name(raw: bytes) -> str:
    return raw.decode().lower()


def _body(data: bytes, at: int, tag: int) -> tuple[int, int]:
    """Where the body of the element at `at` begins and ends."""
    try:
        if data[at] != tag:
            raise NotLdap(f"an element of another kind than expected: {data[at]:#x}, not {tag:#x}")
        size = data[at + 1]
        at += 2
        if size >= 0x80:
            count = size & 0x7F
            size = int.from_bytes(data[at : at + count], "big")
            at += count
    except IndexError as error:
        raise NotLdap("a message ends too early") from error
    if at + size > len(data):
        raise NotLdap("an element goes beyond its message")
    return at, at + size


def _size_of(data: bytearray, start: int) -> int | None:
    """Header and body of the message that begins at `start`; None while the header isn't complete."""
    known = len(data) - start
    if known and data[start] != _SEQUENCE:
        raise NotLdap("the server sent what is no LDAP message")
    if known < 2:
        return None
    size = data[start + 1]
    if size < 0x80:
        return 2 + size
    count = size & 0x7F
    if count == 0 or count > _LONGEST_LENGTH:
        raise NotLdap("the server sent what is no LDAP message")
    if known < 2 + count:
        return None
    return 2 + count + int.from_bytes(data[start + 2 : start + 2 + count], "big")


def _message(data: bytes) -> Message:
    at, _ = _body(data, 0, _SEQUENCE)
    at, end = _body(data, at, _INTEGER)
    if end >= len(data):
        raise NotLdap("a message says nothing")
    return Message(int.from_bytes(data[at:end], "big"), data[end], data, end)

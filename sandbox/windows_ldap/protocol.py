"""LDAP messages (RFC 4511) as values: what a client may send, and what goes back."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sandbox.windows_ldap import ber
from sandbox.windows_ldap.ber import BerError, Reader
from sandbox.windows_ldap.codes import Code
from sandbox.windows_ldap.filters import Filter, decode_filter

START_TLS = "1.3.6.1.4.1.1466.20037"
BASE, ONE_LEVEL, SUBTREE = 0, 1, 2


@dataclass(frozen=True)
class Control:
    oid: str
    critical: bool = False
    value: bytes | None = None


@dataclass(frozen=True)
class Bind:
    name: str
    password: str | None  # None: not a simple bind


@dataclass(frozen=True)
class Unbind:
    pass


@dataclass(frozen=True)
class Abandon:
    message_id: int


@dataclass(frozen=True)
class Extended:
    name: str


@dataclass(frozen=True)
class Search:
    base: str
    scope: int
    size_limit: int
    types_only: bool
    filter: Filter
    attributes: tuple[str, ...]


@dataclass(frozen=True)
class Write:
    """Add, modify, delete, modifyDN: this server is written to by Python, not by LDAP."""

    tag: int


Operation = Bind | Unbind | Abandon | Extended | Search | Write


@dataclass(frozen=True)
class Request:
    id: int
    operation: Operation
    controls: tuple[Control, ...] = ()


_WRITES = (0x66, 0x68, 0x4A, 0x6C, 0x6E)  # the last one is compare


def decode_request(message: bytes) -> Request:
    """One whole LDAPMessage. BerError."""
    envelope = Reader(Reader(message).take(ber.SEQUENCE))
    number = envelope.integer()
    tag, body = envelope.next()
    controls = _decode_controls(envelope.take(0xA0)) if envelope.peek() == 0xA0 else ()
    return Request(number, _decode_operation(tag, body), controls)


def _decode_operation(tag: int, body: bytes) -> Operation:
    match tag:
        case 0x60:
            fields = Reader(body)
            fields.integer()  # the version
            name = fields.text()
            method, credentials = fields.next()
            return Bind(name, credentials.decode() if method == 0x80 else None)
        case 0x42:
            return Unbind()
        case 0x50:
            return Abandon(ber.to_integer(body))
        case 0x63:
            return _decode_search(Reader(body))
        case 0x77:
            return Extended(Reader(body).text(0x80))
        case _ if tag in _WRITES:
            return Write(tag)
    raise BerError(f"no operation has the tag {tag:#04x}")


def _decode_search(fields: Reader) -> Search:
    base = fields.text()
    scope = fields.integer(ber.ENUMERATED)
    fields.integer(ber.ENUMERATED)  # aliases: AD has none
    size_limit = fields.integer()
    fields.integer()  # the client's time limit
    types_only = fields.boolean()
    wanted = decode_filter(fields)
    attributes = Reader(fields.take(ber.SEQUENCE))
    names = []
    while attributes:
        names.append(attributes.text())
    return Search(base, scope, size_limit, types_only, wanted, tuple(names))


def _decode_controls(body: bytes) -> tuple[Control, ...]:
    controls = []
    listed = Reader(body)
    while listed:
        fields = Reader(listed.take(ber.SEQUENCE))
        oid = fields.text()
        critical = fields.boolean() if fields.peek() == ber.BOOLEAN else False
        controls.append(Control(oid, critical, fields.take(ber.OCTETS) if fields else None))
    return tuple(controls)


# ------------------------------------------------------------------------------------------------------- going back

Attributes = Sequence[tuple[str, Iterable[bytes]]]


@dataclass(frozen=True)
class Found:
    """A searchResultEntry. An attribute may be there with no values."""

    dn: str
    attributes: Attributes

    def encode(self, number: int, *, types_only: bool = False) -> bytes:
        listed = [
            ber.sequence(ber.octets(name), ber.tlv(ber.SET, *(() if types_only else map(ber.octets, values))))
            for name, values in self.attributes
        ]
        return _message(number, ber.tlv(0x64, ber.octets(self.dn), ber.sequence(*listed)))


@dataclass(frozen=True)
class Reference:
    """A searchResultReference."""

    urls: tuple[str, ...]

    def encode(self, number: int) -> bytes:
        return _message(number, ber.tlv(0x73, *map(ber.octets, self.urls)))


@dataclass(frozen=True)
class Result:
    code: int = Code.SUCCESS
    message: str = ""
    matched: str = ""
    referrals: tuple[str, ...] = ()
    controls: tuple[Control, ...] = ()

    def encode(self, number: int, tag: int, *, name: str = "") -> bytes:
        parts = [ber.integer(self.code, ber.ENUMERATED), ber.octets(self.matched), ber.octets(self.message)]
        if self.referrals:
            parts.append(ber.tlv(0xA3, *map(ber.octets, self.referrals)))
        if name:
            parts.append(ber.octets(name, 0x8A))
        return _message(number, ber.tlv(tag, *parts), self.controls)


BIND_RESPONSE, SEARCH_DONE, EXTENDED_RESPONSE = 0x61, 0x65, 0x78
WRITE_RESPONSES = {0x66: 0x67, 0x68: 0x69, 0x4A: 0x6B, 0x6C: 0x6D, 0x6E: 0x6F}


def _message(number: int, operation: bytes, controls: Sequence[Control] = ()) -> bytes:
    parts = [ber.integer(number), operation]
    if controls:
        listed = [
            ber.sequence(
                ber.octets(control.oid),
                *([ber.boolean(True)] if control.critical else []),
                *([ber.octets(control.value)] if control.value is not None else []),
            )
            for control in controls
        ]
        parts.append(ber.tlv(0xA0, *listed))
    return ber.sequence(*parts)

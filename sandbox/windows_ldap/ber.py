"""The part of BER that LDAP uses: definite lengths, one-byte tags (RFC 4511, 5.1)."""

from collections.abc import Iterator

BOOLEAN = 0x01
INTEGER = 0x02
OCTETS = 0x04
ENUMERATED = 0x0A
SEQUENCE = 0x30
SET = 0x31


class BerError(ValueError):
    """What arrived is no BER, or not what belongs here."""


def tlv(tag: int, *parts: bytes) -> bytes:
    body = b"".join(parts)
    size = len(body)
    if size < 0x80:
        return bytes((tag, size)) + body
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + body


def integer(value: int, tag: int = INTEGER) -> bytes:
    size = 1
    while not -(1 << (8 * size - 1)) <= value < 1 << (8 * size - 1):
        size += 1
    return tlv(tag, value.to_bytes(size, "big", signed=True))


def boolean(value: bool) -> bytes:
    return tlv(BOOLEAN, b"\xff" if value else b"\x00")


def octets(value: bytes | str, tag: int = OCTETS) -> bytes:
    return tlv(tag, value.encode() if isinstance(value, str) else value)


def sequence(*parts: bytes) -> bytes:
    return tlv(SEQUENCE, *parts)


def to_integer(body: bytes) -> int:
    if not body:
        raise BerError("an integer of no bytes")
    return int.from_bytes(body, "big", signed=True)


class Reader:
    """Walks over the elements of a body. Every method raises BerError where something else stands there."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def __bool__(self) -> bool:
        return self._at < len(self._data)

    def next(self) -> tuple[int, bytes]:
        header = header_of(self._data, self._at)
        if header is None:
            raise BerError("an element is cut short")
        size, length = header
        tag, start = self._data[self._at], self._at + size
        body = self._data[start : start + length]
        if len(body) != length:
            raise BerError("an element is cut short")
        self._at = start + length
        return tag, body

    def peek(self) -> int:
        return self._data[self._at] if self else -1

    def take(self, tag: int) -> bytes:
        found, body = self.next()
        if found != tag:
            raise BerError(f"tag {found:#04x} where {tag:#04x} belongs")
        return body

    def integer(self, tag: int = INTEGER) -> int:
        return to_integer(self.take(tag))

    def boolean(self) -> bool:
        return self.take(BOOLEAN) != b"\x00"

    def text(self, tag: int = OCTETS) -> str:
        try:
            return self.take(tag).decode()
        except UnicodeDecodeError as error:
            raise BerError("text is not UTF-8") from error

    def rest(self) -> Iterator[tuple[int, bytes]]:
        while self:
            yield self.next()


def header_of(data: bytes, at: int = 0) -> tuple[int, int] | None:
    """(bytes of tag and length, bytes of content) of the element at `at`; None while the header is not all there."""
    if len(data) < at + 2:
        return None
    first = data[at + 1]
    if first < 0x80:
        return 2, first
    count = first & 0x7F
    if not 1 <= count <= 4:
        raise BerError("a length of that form is not for LDAP")
    if len(data) < at + 2 + count:
        return None
    return 2 + count, int.from_bytes(data[at + 2 : at + 2 + count], "big")

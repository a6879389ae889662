"""LDAP controls, encoded by hand.

ldap3's own DirSync encodes its flags in five bytes on 64-bit systems, which Windows refuses with 12
(cannatag/ldap3#642, go-ldap/ldap#570); and pyasn1 gets the bare 0x80000000 wrong as well.
"""

from __future__ import annotations

DIRSYNC_OID = "1.2.840.113556.1.4.841"
PAGED_OID = "1.2.840.113556.1.4.319"
RANGE_NOERR_OID = "1.2.840.113556.1.4.1948"
SHOW_DELETED_OID = "1.2.840.113556.1.4.417"
SHOW_RECYCLED_OID = "1.2.840.113556.1.4.2064"
NOTIFICATION_OID = "1.2.840.113556.1.4.528"
_EXTENDED_DN_OID = "1.2.840.113556.1.4.529"
_DOMAIN_SCOPE_OID = "1.2.840.113556.1.4.1339"

# MS-ADTS 3.1.1.3.4.1.3. OBJECT_SECURITY: an ordinary account may ask. INCREMENTAL_VALUES: which members came and went.
OBJECT_SECURITY = 0x00000001
ANCESTORS_FIRST = 0x00000800
INCREMENTAL_VALUES = 0x80000000
DIRSYNC_FLAGS = INCREMENTAL_VALUES | ANCESTORS_FIRST | OBJECT_SECURITY

Control = tuple[str, bool, bytes | None]
"""OID, critical, value: the form in which ldap3 sends it as it is."""

_INTEGER, _OCTET_STRING, _SEQUENCE = 0x02, 0x04, 0x30


def tlv(tag: int, body: bytes) -> bytes:
    """One BER element with a definite length."""
    size = len(body)
    if size < 0x80:
        return bytes((tag, size)) + body
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + body


def int32(value: int) -> bytes:
    """A 32-bit word as the shortest *signed* integer: the only form of the flags that Windows takes."""
    if value >= 0x80000000:
        value -= 1 << 32
    size = 1
    while not -(1 << (8 * size - 1)) <= value < 1 << (8 * size - 1):
        size += 1
    return tlv(_INTEGER, value.to_bytes(size, "big", signed=True))


def dirsync(cookie: bytes, *, flags: int = DIRSYNC_FLAGS, max_bytes: int = 0) -> Control:
    """`max_bytes` 0 is 1 MiB and at most 1,000 objects a page (MS-DRSR 5.115.4). Must be critical."""
    return (
        DIRSYNC_OID,
        True,
        tlv(_SEQUENCE, int32(flags) + int32(max_bytes) + tlv(_OCTET_STRING, cookie)),
    )


def paged(size: int, cookie: bytes) -> Control:
    """RFC 2696. Critical: a server that does not page must say so and not cut the list."""
    return (PAGED_OID, True, tlv(_SEQUENCE, int32(size) + tlv(_OCTET_STRING, cookie)))


EXTENDED_DN: Control = (_EXTENDED_DN_OID, True, tlv(_SEQUENCE, int32(1)))
"""DNs come as `<GUID=…>;<SID=…>;DN`, readable (flag 1; MS-ADTS 3.1.1.3.4.1.5)."""

SHOW_DELETED: Control = (SHOW_DELETED_OID, True, None)
SHOW_RECYCLED: Control = (SHOW_RECYCLED_OID, True, None)
RANGE_NOERR: Control = (RANGE_NOERR_OID, True, None)
NOTIFICATION: Control = (NOTIFICATION_OID, True, None)
DOMAIN_SCOPE: Control = (_DOMAIN_SCOPE_OID, False, None)
"""No continuation references: they would never be followed."""

"""The DirSync cookie (MS-DRSR 5.115.2.1). Clients must treat it as opaque; it is laid out as Windows lays it out."""

import struct
import uuid
from collections.abc import Mapping
from dataclasses import dataclass

from sandbox.windows_ldap.codes import Code, Refused

_SIGNATURE = b"MSDS"
_VERSION = 3
_HEAD = struct.Struct("<4sIQQI3Q16s")  # signature, version, time, reserved, vector's size, USN vector, source
_VECTOR_HEAD = struct.Struct("<IIII")  # version, reserved, number of cursors, reserved
_CURSOR = struct.Struct("<16sQ")
_FILETIME_OF_1970 = 116_444_736_000_000_000
_FILETIME_PER_SECOND = 10_000_000


@dataclass(frozen=True)
class Cookie:
    """`position`: how far this cycle has come at the source; `since`: where the last whole cycle ended there; `seen`: what
    the client knows of every DC's writes as of that end.
    """

    source: uuid.UUID
    position: int
    since: int
    seen: Mapping[uuid.UUID, int]
    created: float = 0.0

    def encode(self) -> bytes:
        cursors = b"".join(_CURSOR.pack(dsa.bytes_le, usn) for dsa, usn in sorted(self.seen.items()))
        vector = _VECTOR_HEAD.pack(1, 0, len(self.seen), 0) + cursors if self.seen else b""
        filetime = int(self.created * _FILETIME_PER_SECOND) + _FILETIME_OF_1970
        usns = (self.position, 0, self.since)
        head = _HEAD.pack(_SIGNATURE, _VERSION, filetime, 0, len(vector), *usns, self.source.bytes_le)
        return head + vector

    @classmethod
    def decode(cls, raw: bytes) -> "Cookie":
        """Refused(2, 0000203D) for anything that this DC can't have written."""
        try:
            signature, version, filetime, _, size, position, _, since, source = _HEAD.unpack_from(raw)
            if signature != _SIGNATURE or version != _VERSION or len(raw) != _HEAD.size + size:
                raise refused_cookie()
            seen = {}
            if size:
                count = _VECTOR_HEAD.unpack_from(raw, _HEAD.size)[2]
                for number in range(count):
                    dsa, usn = _CURSOR.unpack_from(
                        raw, _HEAD.size + _VECTOR_HEAD.size + number * _CURSOR.size
                    )
                    seen[uuid.UUID(bytes_le=dsa)] = usn
        except struct.error as error:
            raise refused_cookie() from error
        created = (filetime - _FILETIME_OF_1970) / _FILETIME_PER_SECOND
        return cls(uuid.UUID(bytes_le=source), position, since, seen, created)


def refused_cookie() -> Refused:
    message = "0000203D: LdapErr: DSID-0C090B7C, comment: Error processing control, data 0, v4563"
    return Refused(Code.PROTOCOL_ERROR, message)

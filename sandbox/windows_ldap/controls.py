"""The controls that this server knows, and their values (MS-ADTS 3.1.1.3.4.1)."""

from dataclasses import dataclass

from sandbox.windows_ldap import ber
from sandbox.windows_ldap.ber import BerError, Reader
from sandbox.windows_ldap.codes import Code, Refused
from sandbox.windows_ldap.protocol import Control

PAGED = "1.2.840.113556.1.4.319"
SHOW_DELETED = "1.2.840.113556.1.4.417"
NOTIFICATION = "1.2.840.113556.1.4.528"
EXTENDED_DN = "1.2.840.113556.1.4.529"
RANGE_OPTION = "1.2.840.113556.1.4.802"
DIRSYNC = "1.2.840.113556.1.4.841"
DOMAIN_SCOPE = "1.2.840.113556.1.4.1339"
RANGE_NOERR = "1.2.840.113556.1.4.1948"
SHOW_RECYCLED = "1.2.840.113556.1.4.2064"
SHOW_DEACTIVATED_LINK = "1.2.840.113556.1.4.2065"

KNOWN = (
    PAGED,
    SHOW_DELETED,
    NOTIFICATION,
    EXTENDED_DN,
    RANGE_OPTION,
    DIRSYNC,
    DOMAIN_SCOPE,
    RANGE_NOERR,
    SHOW_RECYCLED,
    SHOW_DEACTIVATED_LINK,
)


def _bad_control(oid: str, why: str) -> Refused:
    message = f"00000057: LdapErr: DSID-0C090A5F, comment: Error processing control, data 0 ({oid}: {why})"
    return Refused(Code.UNAVAILABLE_CRITICAL_EXTENSION, message)


class Controls:
    """The controls of one request. Refused(12) for one that is critical and unknown."""

    def __init__(self, controls: tuple[Control, ...], *, hidden: set[str]) -> None:
        self._by_oid = {}
        for control in controls:
            if control.oid in KNOWN and control.oid not in hidden:
                self._by_oid[control.oid] = control
            elif control.critical:
                raise _bad_control(control.oid, "not known here")

    def __contains__(self, oid: str) -> bool:
        return oid in self._by_oid

    def get(self, oid: str) -> Control | None:
        return self._by_oid.get(oid)

    @property
    def oids(self) -> tuple[str, ...]:
        return tuple(self._by_oid)

    @property
    def extended_dn(self) -> int | None:
        control = self._by_oid.get(EXTENDED_DN)
        if control is None:
            return None
        if not control.value:
            return 0
        try:
            return Reader(Reader(control.value).take(ber.SEQUENCE)).integer()
        except BerError as error:
            raise _bad_control(control.oid, str(error)) from error


@dataclass(frozen=True)
class PagedValue:
    size: int
    cookie: bytes

    @classmethod
    def of(cls, control: Control) -> "PagedValue":
        try:
            fields = Reader(Reader(control.value or b"").take(ber.SEQUENCE))
            return cls(fields.integer(), fields.take(ber.OCTETS))
        except BerError as error:
            raise _bad_control(control.oid, str(error)) from error

    @staticmethod
    def answer(cookie: bytes) -> Control:
        return Control(PAGED, value=ber.sequence(ber.integer(0), ber.octets(cookie)))


OBJECT_SECURITY = 0x0000_0001
ANCESTORS_FIRST = 0x0000_0800
PUBLIC_DATA_ONLY = 0x0000_2000
INCREMENTAL_VALUES = 0x8000_0000
_FLAG_BYTES = 4


@dataclass(frozen=True)
class DirSyncValue:
    flags: int  # as an unsigned 32-bit word
    max_bytes: int
    cookie: bytes

    @classmethod
    def of(cls, control: Control) -> "DirSyncValue":
        """Refused(12) for flags of more than four bytes: AD reads a signed 32-bit integer (go-ldap#570, ldap3#642)."""
        if not control.critical:
            raise Refused(Code.PROTOCOL_ERROR, f"{control.oid} must be critical")
        try:
            fields = Reader(Reader(control.value or b"").take(ber.SEQUENCE))
            flags = fields.take(ber.INTEGER)
            max_bytes, cookie = fields.integer(), fields.take(ber.OCTETS)
        except BerError as error:
            raise _bad_control(control.oid, str(error)) from error
        if len(flags) > _FLAG_BYTES:
            raise _bad_control(control.oid, f"flags of {len(flags)} bytes")
        return cls(ber.to_integer(flags) & 0xFFFF_FFFF, max_bytes, cookie)

    @staticmethod
    def answer(cookie: bytes, *, more: bool) -> Control:
        value = ber.sequence(ber.integer(int(more)), ber.integer(0), ber.octets(cookie))
        return Control(DIRSYNC, value=value)

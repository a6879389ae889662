"""Distinguished names: taking apart, putting together, comparing without regard to case (RFC 4514)."""

import functools
import re
import uuid
from dataclasses import dataclass

from sandbox.windows_ldap.codes import Code, Refused
from sandbox.windows_ldap.schema import guid_of, sid_bytes

_SPECIAL = frozenset(',\\#+<>;"=')
_HEX_PAIR = re.compile(r"[0-9a-fA-F]{2}")


def escape_rdn(value: str) -> str:
    escaped = []
    for position, character in enumerate(value):
        if character in _SPECIAL or (character == " " and position in (0, len(value) - 1)):
            escaped.append("\\" + character)
        elif ord(character) < 0x20:
            escaped.append(f"\\{ord(character):02X}")
        else:
            escaped.append(character)
    return "".join(escaped)


def split_dn(dn: str) -> list[tuple[str, str]]:
    """(type, value) from the object up. Refused(34) where it is no DN."""
    parts: list[tuple[str, str]] = []
    kind, value, in_value, position = "", bytearray(), False, 0
    while position < len(dn):
        character = dn[position]
        if character == "\\":
            if _HEX_PAIR.match(dn, position + 1):
                value += bytes.fromhex(dn[position + 1 : position + 3])
                position += 3
            else:
                value += dn[position + 1 : position + 2].encode()
                position += 2
            continue
        if character == "=" and not in_value:
            in_value = True
        elif character == ",":
            parts.append(_part(dn, kind, value, in_value=in_value))
            kind, value, in_value = "", bytearray(), False
        elif in_value:
            value += character.encode()
        else:
            kind += character
        position += 1
    parts.append(_part(dn, kind, value, in_value=in_value))
    return parts


def _part(dn: str, kind: str, value: bytearray, *, in_value: bool) -> tuple[str, str]:
    if not in_value or not kind.strip():
        raise Refused(Code.INVALID_DN, f"0000208F: NameErr: DSID-03100225, problem 2006 (BAD_NAME): {dn}")
    return kind.strip().upper(), value.decode(errors="replace").strip(" ")


@functools.lru_cache(maxsize=4096)
def key_of(dn: str) -> tuple[tuple[str, str], ...]:
    """What two spellings of one DN have in common."""
    return tuple((kind, value.lower()) for kind, value in split_dn(dn))


@dataclass(frozen=True)
class Address:
    """How a request names an object: exactly one of these is set, `well_known` together with `dn`."""

    dn: str = ""
    guid: uuid.UUID | None = None
    sid: bytes | None = None
    well_known: str = ""


def parse_address(text: str) -> Address:
    """A DN, `<GUID=…>`, `<SID=…>` or `<WKGUID=hex,DN>`; what follows a semicolon is ignored. Refused(34)."""
    if not text.startswith("<"):
        return Address(dn=text)
    inner = text[1:].partition(">")[0]
    kind, _, value = inner.partition("=")
    try:
        match kind.upper():
            case "GUID":
                return Address(guid=guid_of(value))
            case "SID":
                return Address(sid=sid_bytes(value) if value[:2].upper() == "S-" else bytes.fromhex(value))
            case "WKGUID":
                well_known, _, dn = value.partition(",")
                return Address(dn=dn, well_known=well_known.lower())
    except ValueError as error:
        raise Refused(Code.INVALID_DN, f"0000208F: NameErr: {text}: {error}") from error
    raise Refused(Code.INVALID_DN, f"0000208F: NameErr: {text}")

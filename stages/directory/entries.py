"""From raw attributes to the pipeline's values: GUIDs, SIDs, times, kinds, entries and link targets.

Everything is decoded here from bytes, so that types don't depend on a schema that ldap3 may or may not have read.
"""

from __future__ import annotations

import re
import struct
import uuid
from datetime import UTC, datetime, timedelta

from pipeline.errors import DirectoryError
from pipeline.model import Entry, Kind, Target
from stages.directory.wire import RawEntry

PROXY_ADDRESSES = "proxyaddresses"

_DISABLED = 0x0002  # userAccountControl, MS-ADTS 2.2.16
# Accounts of trusts, workstations, member servers and domain controllers: class user, but nobody's.
_MACHINE = 0x0800 | 0x1000 | 0x2000
_NEVER = frozenset({0, 0x7FFFFFFFFFFFFFFF})  # of accountExpires
_FILETIME_EPOCH = datetime(1601, 1, 1, tzinfo=UTC)
_LATEST = datetime(9999, 12, 31, tzinfo=UTC)

# What a group's `member` and an entry's DN look like with the extended-DN control (MS-ADTS 3.1.1.3.4.1.5). A contact or
# an organizational unit has no SID; a tombstone that the account can't read may have no DN.
_EXTENDED_DN = re.compile(r"<GUID=([0-9a-fA-F-]{36})>(?:;<SID=([^>]+)>)?(?:;(.*))?", re.DOTALL)
_GENERALIZED_TIME = re.compile(r"(\d{14})(?:[.,]\d+)?Z")


def guid_text(raw: bytes) -> str:
    """Sixteen bytes, the first three fields little-endian, as lower-case dashed text."""
    return str(uuid.UUID(bytes_le=raw))


def guid_of(entry: RawEntry, name: str = "objectguid") -> str:
    """Empty where the attribute isn't there."""
    raw = entry.first(name)
    return guid_text(raw) if raw is not None and len(raw) == 16 else ""


def guid_filter(guid: str, attribute: str = "objectGUID") -> str:
    """Every byte escaped: right as long as ldap3 has no schema (cannatag/ldap3#1000)."""
    escaped = "".join(f"\\{byte:02x}" for byte in uuid.UUID(guid).bytes_le)
    return f"({attribute}={escaped})"


def guid_base(guid: str) -> str:
    """A search base that follows the object through renames and moves. ValueError for what is no GUID."""
    return f"<GUID={uuid.UUID(guid)}>"


def sid_text(raw: bytes) -> str:
    """`S-1-…`; "" for what is no SID. Revision, count, a big-endian authority, little-endian sub-authorities (MS-DTYP 2.4.2.2)."""
    if len(raw) < 8 or len(raw) != 8 + 4 * raw[1]:
        return ""
    parts = [raw[0], int.from_bytes(raw[2:8], "big"), *struct.unpack(f"<{raw[1]}I", raw[8:])]
    return "S-" + "-".join(map(str, parts))


def parse_target(text: str) -> Target:
    """One DN with its GUID in front. DirectoryError where there is none: an edge without a GUID can't be kept."""
    found = _EXTENDED_DN.fullmatch(text)
    if found is None:
        raise DirectoryError(
            "read a link value",
            f"no GUID came with {text!r}",
            "this server does not offer the extended-DN control; use an Active Directory domain controller",
        )
    return Target(guid=found[1].lower(), sid=found[2] or "", dn=found[3] or "")


def plain_dn(text: str) -> str:
    """The DN without GUID and SID in front."""
    found = _EXTENDED_DN.fullmatch(text)
    return text if found is None else found[3] or ""


def dns_name(base_dn: str) -> str:
    """`example.test` of `DC=example,DC=test`."""
    return ".".join(_domain_parts(base_dn))


def is_foreign(dn: str, base_dn: str) -> bool:
    """Whether `dn` lies in another domain of the forest, a child domain included: its objects never show up here."""
    return bool(dn) and _domain_parts(dn) != _domain_parts(base_dn)


def parse_file_time(text: str) -> datetime | None:
    """100-nanosecond steps since 1601; None for "never", which 0 and the largest value both mean."""
    try:
        steps = int(text)
    except ValueError:
        return None
    if steps in _NEVER or steps < 0:
        return None
    try:
        return _FILETIME_EPOCH + timedelta(microseconds=steps // 10)
    except OverflowError:
        return _LATEST


def parse_generalized_time(text: str) -> datetime | None:
    """None for what is no time, such as the month 13."""
    found = _GENERALIZED_TIME.fullmatch(text)
    try:
        return datetime.strptime(found[1], "%Y%m%d%H%M%S").replace(tzinfo=UTC) if found else None
    except ValueError:
        return None


def kind_of(entry: RawEntry) -> Kind | None:
    """By the object's classes; None where they did not come along. Computers and managed service accounts are users to
    the schema, and so are the accounts of trusts.
    """
    classes = {
        value.decode("ascii", errors="replace").lower() for value in entry.values.get("objectclass", ())
    }
    if not classes:
        return None
    if "foreignsecurityprincipal" in classes:
        return Kind.FOREIGN
    if "computer" in classes:
        return Kind.COMPUTER
    if "user" in classes:
        return Kind.COMPUTER if _number(entry, "useraccountcontrol") & _MACHINE else Kind.USER
    if "group" in classes:
        return Kind.GROUP
    return Kind.CONTACT if "contact" in classes else Kind.OTHER


def entry_of(raw: RawEntry, email_attribute: str) -> Entry:
    """A living object. DirectoryError where not even the GUID or the classes are readable."""
    guid, kind = guid_of(raw), kind_of(raw)
    if not guid or kind is None:
        raise DirectoryError(
            f"read {plain_dn(raw.dn)}",
            "objectGUID or objectClass is missing",
            "give the service account the right to read all properties of it",
        )
    return Entry(
        guid=guid,
        kind=kind,
        dn=plain_dn(raw.dn),
        name=raw.text("name"),
        sid=sid_text(raw.first("objectsid") or b""),
        sam_account_name=raw.text("samaccountname"),
        email=email_of(raw, email_attribute),
        given_name=raw.text("givenname"),
        surname=raw.text("sn"),
        display_name=raw.text("displayname"),
        disabled=bool(_number(raw, "useraccountcontrol") & _DISABLED),
        account_expires=parse_file_time(raw.text("accountexpires")),
        primary_group_rid=_number(raw, "primarygroupid") or None,
    )


def email_of(raw: RawEntry, attribute: str) -> str:
    """The first value; of `proxyAddresses` the primary address, which is the one whose prefix is in capitals."""
    name = attribute.lower()
    if name != PROXY_ADDRESSES:
        return raw.text(name)
    for value in raw.values.get(name, ()):
        text = value.decode("utf-8", errors="replace")
        if text.startswith("SMTP:"):
            return text.removeprefix("SMTP:")
    return ""


def _number(entry: RawEntry, name: str) -> int:
    try:
        return int(entry.text(name))
    except ValueError:
        return 0


def _domain_parts(dn: str) -> list[str]:
    parts = []
    # From the right, and only whole components: a comma within a value is always escaped (RFC 4514).
    for component in reversed(re.split(r"(?<!\\),", dn)):
        name, _, value = component.strip().partition("=")
        if name.strip().lower() != "dc":
            break
        parts.append(value.strip().lower())
    return parts[::-1]

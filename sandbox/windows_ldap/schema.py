"""What the server knows of attributes: how values compare, what replicates, what a deletion leaves.

Names in sets are lower case. Sources: the reference sheet, sections 1.3, 1.4, 2.3 and 5.1.
"""

import struct
import uuid
from enum import Enum


class Syntax(Enum):
    TEXT = "text"  # compares without regard to case
    OCTETS = "octets"
    NUMBER = "number"
    TRUTH = "truth"
    NAME = "name"  # a DN; stored as text
    REFERENCE = "reference"  # a DN; stored as the target's objectGUID, so that it follows renames


_SYNTAX = {
    **dict.fromkeys(("objectguid", "objectsid", "invocationid", "ms-ds-consistencyguid"), Syntax.OCTETS),
    **dict.fromkeys(
        (
            "useraccountcontrol",
            "accountexpires",
            "primarygroupid",
            "grouptype",
            "samaccounttype",
            "instancetype",
            "usnchanged",
            "usncreated",
            "badpwdcount",
            "logoncount",
            "lastlogon",
            "lastlogontimestamp",
            "lockouttime",
            "pwdlastset",
            "tombstonelifetime",
            "msds-deletedobjectlifetime",
            "systemflags",
        ),
        Syntax.NUMBER,
    ),
    **dict.fromkeys(("isdeleted", "isrecycled", "iscriticalsystemobject"), Syntax.TRUTH),
    **dict.fromkeys(("objectcategory", "distinguishedname"), Syntax.NAME),
    **dict.fromkeys(("member", "memberof", "manager", "directreports", "lastknownparent"), Syntax.REFERENCE),
}

FORWARD_LINKS = {"member": "memberof", "manager": "directreports"}
BACK_LINKS = {back: forward for forward, back in FORWARD_LINKS.items()}

NOT_REPLICATED = frozenset(
    ("badpwdcount", "lastlogon", "logoncount", "usnchanged", "usncreated", "whenchanged")
)
CONSTRUCTED = frozenset(("tokengroups", "parentguid", "primarygrouptoken", "canonicalname"))
OUTSIDE_DIRSYNC = (
    NOT_REPLICATED | CONSTRUCTED | frozenset(BACK_LINKS) | {"cn", "ou", "dc", "distinguishedname"}
)
"""MS-DRSR 4.1.10.5.6: the RDN attribute, back-links, constructed and non-replicated attributes."""

KEPT_BY_TOMBSTONES = frozenset(
    (
        "objectclass",
        "objectguid",
        "objectsid",
        "samaccountname",
        "useraccountcontrol",
        "name",
        "cn",
        "ou",
        "lastknownparent",
        "grouptype",
        "instancetype",
        "isdeleted",
        "isrecycled",
        "sidhistory",
        "systemflags",
        "whencreated",
        "ntsecuritydescriptor",
        "msds-lastknownrdn",
    )
)
"""MS-ADTS 3.1.1.5.5.1: a tombstone keeps these; mail, names, userPrincipalName and all links are gone."""

LOST_BY_DELETED_OBJECTS = frozenset(("objectcategory", "samaccounttype"))
"""All that a deleted-object loses while the Recycle Bin is on."""

_DISPLAY = {
    name.lower(): name
    for name in [
        "objectGUID",
        "objectSid",
        "objectClass",
        "objectCategory",
        "instanceType",
        "sAMAccountName",
        "sAMAccountType",
        "userAccountControl",
        "userPrincipalName",
        "givenName",
        "displayName",
        "accountExpires",
        "primaryGroupID",
        "groupType",
        "lastKnownParent",
        "isDeleted",
        "isRecycled",
        "whenCreated",
        "whenChanged",
        "uSNChanged",
        "uSNCreated",
        "badPwdCount",
        "logonCount",
        "lastLogon",
        "lastLogonTimestamp",
        "distinguishedName",
        "memberOf",
        "directReports",
        "invocationId",
        "tombstoneLifetime",
        "proxyAddresses",
    ]
}


def syntax_of(attribute: str) -> Syntax:
    return _SYNTAX.get(attribute.lower(), Syntax.TEXT)


def display_name(attribute: str) -> str:
    return _DISPLAY.get(attribute, attribute)


def is_link(attribute: str) -> bool:
    return attribute in FORWARD_LINKS or attribute in BACK_LINKS


def truth(value: bool) -> bytes:
    return b"TRUE" if value else b"FALSE"


# The first class names the kind; the last is the most specific one. `user` is not the last one of a computer.
CLASSES = {
    "user": ("top", "person", "organizationalPerson", "user"),
    "computer": ("top", "person", "organizationalPerson", "user", "computer"),
    "managed": (
        "top",
        "person",
        "organizationalPerson",
        "user",
        "computer",
        "msDS-GroupManagedServiceAccount",
    ),
    "group": ("top", "group"),
    "contact": ("top", "person", "organizationalPerson", "contact"),
    "ou": ("top", "organizationalUnit"),
    "container": ("top", "container"),
    "foreign": ("top", "foreignSecurityPrincipal"),
    "domain": ("top", "domain", "domainDNS"),
}

_CATEGORY = {
    "user": "Person",
    "contact": "Person",
    "computer": "Computer",
    "managed": "ms-DS-Group-Managed-Service-Account",
    "group": "Group",
    "ou": "Organizational-Unit",
    "container": "Container",
    "foreign": "Foreign-Security-Principal",
    "domain": "Domain-DNS",
}
_ACCOUNT_TYPE = {"user": 0x30000000, "computer": 0x30000001, "managed": 0x30000001}
_DISTRIBUTION_GROUP, _SECURITY_GROUP = 0x10000001, 0x10000000
_LOCAL_BIT, _LOCAL_OFFSET = 0x4, 0x10000000


def category_of(kind: str, base_dn: str) -> str:
    return f"CN={_CATEGORY[kind]},CN=Schema,CN=Configuration,{base_dn}"


def category_named(word: str, base_dn: str) -> str:
    """`(objectCategory=person)` may name a class; its defaultObjectCategory is meant. `user` means Person as well."""
    word = word.lower()
    if "=" in word:
        return word
    return (
        category_of(word, base_dn) if word in _CATEGORY else f"CN={word},CN=Schema,CN=Configuration,{base_dn}"
    )


def account_type_of(kind: str, group_type: int = 0) -> int | None:
    if kind != "group":
        return _ACCOUNT_TYPE.get(kind)
    base = _SECURITY_GROUP if group_type < 0 else _DISTRIBUTION_GROUP
    return base + (_LOCAL_OFFSET if group_type & _LOCAL_BIT else 0)


# ------------------------------------------------------------------------------------------------------------- SIDs


def sid_bytes(text: str) -> bytes:
    """`S-1-5-21-…`: revision, count, authority in six bytes big-endian, sub-authorities little-endian."""
    parts = text.split("-")
    if len(parts) < 3 or parts[0].upper() != "S":
        raise ValueError(f"{text} is no SID")
    subs = [int(part) for part in parts[3:]]
    return struct.pack(
        f"<BB6s{len(subs)}I", int(parts[1]), len(subs), int(parts[2]).to_bytes(6, "big"), *subs
    )


def sid_text(raw: bytes) -> str:
    revision, count = raw[0], raw[1]
    subs = struct.unpack(f"<{count}I", raw[8 : 8 + 4 * count])
    return "-".join(map(str, ("S", revision, int.from_bytes(raw[2:8], "big"), *subs)))


def guid_of(text: str) -> uuid.UUID:
    """Dashed, or 32 hex digits of the bytes as stored (little-endian fields), as `<GUID=…>` allows."""
    if "-" in text:
        return uuid.UUID(text)
    return uuid.UUID(bytes_le=bytes.fromhex(text))

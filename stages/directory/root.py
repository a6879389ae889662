"""Who is at the other end: the root entry of a domain controller, and the few objects that it points at."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from pipeline.errors import DirectoryError
from stages.directory.entries import guid_of, parse_generalized_time, sid_text
from stages.directory.faults import LdapRefusal
from stages.directory.wire import Answer, Controller, RawEntry, Scope, Search

# MS-ADTS 3.1.1.3.4.3.6: this capability is how a read-only domain controller shows itself.
_READ_ONLY_CAPABILITY = "1.2.840.113556.1.4.1920"
_DEFAULT_TOMBSTONE_DAYS = 60  # where tombstoneLifetime is unset (MS-ADTS 3.1.1)

_ROOT_ATTRIBUTES = (
    "defaultNamingContext",
    "configurationNamingContext",
    "dnsHostName",
    "dsServiceName",
    "isSynchronized",
    "supportedCapabilities",
    "supportedControl",
    "currentTime",
)

Ask = Callable[[Search], Awaitable[Answer]]


async def read_controller(ask: Ask, now: Callable[[], datetime]) -> Controller:
    """DirectoryError where this is no domain controller of a domain."""
    purpose = "read who answers"
    root = await _read(ask, purpose, "", _ROOT_ATTRIBUTES)
    base_dn = root.text("defaultnamingcontext")
    ds_service = root.text("dsservicename")
    if not base_dn or not ds_service:
        raise DirectoryError(
            purpose,
            "the server does not say which domain it serves",
            "name an Active Directory domain controller in directory.servers",
        )
    asked_at = now()
    base = await _read(ask, purpose, base_dn, ("objectGUID", "objectSid"))
    guid = guid_of(base)
    if not guid:
        raise DirectoryError(
            purpose,
            f"the account may not read {base_dn}",
            "give the service account read access to the domain, as Authenticated Users have it",
        )
    service = await _read_if_there(ask, purpose, ds_service, ("invocationId",))
    config_dn = root.text("configurationnamingcontext")
    lifetime = await _read_if_there(
        ask,
        purpose,
        f"CN=Directory Service,CN=Windows NT,CN=Services,{config_dn}",
        ("tombstoneLifetime",),
    )
    days = lifetime.text("tombstonelifetime")
    return Controller(
        base_dn=base_dn,
        config_dn=config_dn,
        host_name=root.text("dnshostname"),
        ds_service=ds_service,
        invocation_id=guid_of(service, "invocationid"),
        domain_guid=guid,
        domain_sid=sid_text(base.first("objectsid") or b""),
        controls=frozenset(_texts(root, "supportedcontrol")),
        synchronized=root.text("issynchronized").upper() != "FALSE",
        read_only=_READ_ONLY_CAPABILITY in _texts(root, "supportedcapabilities"),
        tombstone_days=int(days) if days.isdecimal() else _DEFAULT_TOMBSTONE_DAYS,
        clock=parse_generalized_time(root.text("currenttime")),
        asked_at=asked_at.astimezone(UTC),
    )


async def read_highest_usn(ask: Ask) -> int:
    """`highestCommittedUSN`: what has been written by now. DirectoryError where it isn't told."""
    purpose = "read the highest update sequence number"
    root = await _read(ask, purpose, "", ("highestCommittedUSN",))
    text = root.text("highestcommittedusn")
    if not text.isdecimal():
        raise DirectoryError(purpose, "the server does not tell it", "let directory.change_source be dirsync")
    return int(text)


async def read_invocation_id(ask: Ask, ds_service: str) -> str:
    """The epoch of the sequence numbers; "" where the account can't read it."""
    return guid_of(
        await _read_if_there(ask, "read the server's epoch", ds_service, ("invocationId",)), "invocationid"
    )


async def _read(ask: Ask, purpose: str, dn: str, attributes: tuple[str, ...]) -> RawEntry:
    answer = await ask(Search(purpose=purpose, base=dn, scope=Scope.BASE, attributes=attributes))
    return answer.entries[0] if answer.entries else RawEntry(dn, {})


async def _read_if_there(ask: Ask, purpose: str, dn: str, attributes: tuple[str, ...]) -> RawEntry:
    try:
        return await _read(ask, purpose, dn, attributes)
    except LdapRefusal:
        return RawEntry(dn, {})


def _texts(entry: RawEntry, name: str) -> list[str]:
    return [value.decode("ascii", errors="replace") for value in entry.values.get(name, ())]

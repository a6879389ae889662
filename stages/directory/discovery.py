"""Domain controllers by DNS, where the configuration names a domain instead of servers."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable

import anyio
import dns.asyncresolver
import dns.exception
import dns.resolver

from pipeline.errors import DirectoryBusy, DirectoryError
from stages.directory.options import Target

Record = tuple[int, int, int, str]
"""Priority, weight, port, target of one SRV record."""

Lookup = Callable[[str, float], Awaitable[list[Record]]]
"""Answers the SRV records of a name within so many seconds; raises what dnspython raises."""


async def look_up(name: str, timeout_seconds: float) -> list[Record]:
    answer = await dns.asyncresolver.resolve(name, "SRV", lifetime=timeout_seconds)
    return [(record.priority, record.weight, record.port, record.target.to_text()) for record in answer]


Resolve = Callable[[str, int], Awaitable[list[str]]]
"""Answers the numeric addresses of a host for a port; raises OSError or UnicodeError."""


async def resolve(host: str, port: int) -> list[str]:
    found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))


async def discover(
    domain: str, *, start_tls: bool, timeout_seconds: float, lookup: Lookup = look_up
) -> tuple[Target, ...]:
    """The writable domain controllers of `domain`, best first: lowest priority, then highest weight.

    The name without a site, because read-only controllers register only under their sites (MS-ADTS 6.3.2.3). The
    records' port is that of plain LDAP; LDAPS has none of its own, so 636 is used unless StartTLS is wanted.
    DirectoryBusy when DNS does not answer, DirectoryError when the domain has no such records.
    """
    name = f"_ldap._tcp.dc._msdcs.{domain.strip('.')}"
    operation = f"find the domain controllers of {domain}"
    hint = "use the domain's own DNS servers on this machine, or list directory.servers instead of directory.domain"
    try:
        records = await lookup(name, timeout_seconds)
    except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer) as error:
        raise DirectoryError(operation, f"DNS knows no {name}", hint) from error
    except (dns.exception.DNSException, OSError) as error:
        raise DirectoryBusy(operation, f"DNS does not answer for {name}: {error}", hint) from error
    # DNS is not authenticated, and whoever forges an answer may well own a certificate for a name of theirs: only names
    # within the domain are believed, since the password goes to them.
    suffix = "." + domain.strip(".").lower()
    hosts = [
        (priority, -weight, target.rstrip(".").lower(), port)
        for priority, weight, port, target in records
        if target.rstrip(".").lower().endswith(suffix)
    ]
    if not hosts:
        raise DirectoryError(operation, f"{name} names no host within {domain}", hint)
    return tuple(
        Target(host=host, port=port if start_tls else 636, implicit_tls=not start_tls)
        for _, _, host, port in sorted(hosts)
    )

"""A Windows-like domain controller: LDAP over TLS on loopback, in front of a domain in memory.

It stands in for what cannot be run here. Every rule is taken from the reference sheet `ad-incremental.md` (which cites MS-ADTS
and MS-DRSR); none from what a client of ours happens to send. Where the sheet leaves a question open, the place says so.

    domain = WindowsDomain()                         # the forest's data, accounts, clock; one DC to begin with
    with WindowsServer(domain.dc, authority) as server:
        domain.create_user("Ann Lee", mail="ann@example.test")
        server.faults.at(3, Fault(code=51))          # the third search from now on is answered "busy"
"""

from sandbox.windows_ldap.domain import WindowsDomain
from sandbox.windows_ldap.faults import Fault, Faults
from sandbox.windows_ldap.server import WindowsServer

__all__ = ["Fault", "Faults", "WindowsDomain", "WindowsServer"]

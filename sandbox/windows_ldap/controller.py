"""One domain controller: its replica, its names, its limits and its manners."""

import uuid
from dataclasses import dataclass, field

from sandbox.windows_ldap.replica import Replica


@dataclass
class Limits:
    """LDAP policies (MS-ADTS 3.1.1.3.4.6) and what DirSync pages by; tests make them small."""

    max_page_size: int = 1000
    max_val_range: int = 1500
    max_notifications: int = 5  # per connection
    max_result_sets: int = 10  # per connection
    dirsync_least_objects: int = 100  # MS-DRSR 5.115.4: cMaxObjects is never less
    dirsync_least_bytes: int = 0x100000
    dirsync_examined: int = (
        10_000  # objects looked at for one page: a page may come back empty, with more to follow
    )


@dataclass
class Manners:
    """What the sheet leaves open, or what differs between versions of Windows."""

    refuses_cookies_of_others: bool = False  # a DC of another Windows version may: 2, 0000203D
    rodc_dirsync_code: int = 53  # the sheet knows only the Win32 error, ERROR_DS_DRA_SOURCE_DISABLED
    range_order_moves: bool = (
        True  # the order of values is stable only on one connection while nothing is written
    )
    synchronized: bool = True
    undelete_clears_last_known_parent: bool = (
        False  # Samba keeps it; no source of ours says what Windows does
    )


@dataclass
class Controller:
    name: str
    host_name: str
    ds_service: str
    ds_service_guid: uuid.UUID
    replica: Replica
    read_only: bool = False
    limits: Limits = field(default_factory=Limits)
    manners: Manners = field(default_factory=Manners)
    hidden_controls: set[str] = field(default_factory=set)  # OIDs that this DC doesn't know

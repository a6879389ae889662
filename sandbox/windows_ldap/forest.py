"""What all domain controllers of the sandbox share: names, clock, accounts, who may see what."""

import random
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sandbox.domain import (
    ADMINISTRATOR_PASSWORD,
    BLIND_ACCOUNT,
    BLIND_PASSWORD,
    DOMAIN,
    NETBIOS,
    SERVICE_ACCOUNT,
    SERVICE_PASSWORD,
)
from sandbox.windows_ldap.controller import Controller
from sandbox.windows_ldap.record import Record
from sandbox.windows_ldap.replica import Replica, Values
from sandbox.windows_ldap.schema import CLASSES, account_type_of, category_of, sid_bytes, truth

DELETED_OBJECTS = "18e2ea80684f11d2b9aa00c04f79f805"
USERS_CONTAINER = "a9d1ca15768811d1aded00c04fd8d5cd"
COMPUTERS_CONTAINER = "aa312825768811d1aded00c04fd8d5cd"

_DAY_SECONDS = 86_400.0
_DOMAIN_USERS, _DOMAIN_COMPUTERS = 513, 515


@dataclass
class Account:
    """Somebody who may sign in. Rights are switches: the sandbox has no security descriptors."""

    name: str
    guid: uuid.UUID
    password: str
    is_administrator: bool = False
    sees_deleted: bool = False  # List Contents and Read Property on CN=Deleted Objects
    may_get_changes: bool = False  # DS-Replication-Get-Changes
    unreadable_attributes: set[str] = field(default_factory=set)  # lower case


class Forest:
    """One forest of one domain. Every read and write happens under `lock`."""

    def __init__(
        self,
        *,
        domain: str = DOMAIN,
        netbios: str = NETBIOS,
        recycle_bin: bool = False,
        tombstone_days: int | None = 180,
        seed: int | None = None,
    ) -> None:
        """`tombstone_days` None: the attribute is not set, which means 60. `seed`: the same objectGUIDs every time."""
        self.lock = threading.RLock()
        self._chance = random.Random(seed)
        self.dns_name = domain
        self.netbios = netbios
        self.base_dn = ",".join(f"DC={part}" for part in domain.split("."))
        self.config_dn = f"CN=Configuration,{self.base_dn}"
        self.domain_sid = "S-1-5-21-1004336348-1177238915-682003330"
        self.recycle_bin = recycle_bin
        self.confidential: set[str] = set()  # attributes, lower case
        self.unreadable: dict[uuid.UUID, set[str]] = {}  # container: account names that can't look into it
        self.accounts: dict[str, Account] = {}
        self.controllers: list[Controller] = []
        self.well_known: dict[str, uuid.UUID] = {}
        self.known_instances: set[uuid.UUID] = set()  # every invocationId there ever was
        self._offset_seconds = 0.0
        self._ticks = 0
        self._next_rid = 1103
        self._servers_guid = self.new_guid()
        self._found(tombstone_days)

    def new_guid(self) -> uuid.UUID:
        return uuid.UUID(int=self._chance.getrandbits(128), version=4)

    # ------------------------------------------------------------------------------------------------------- time

    def now(self) -> float:
        return time.time() + self._offset_seconds

    def advance(self, *, days: float = 0, seconds: float = 0) -> None:
        """The domain's clock jumps ahead; nothing else happens by itself."""
        self._offset_seconds += days * _DAY_SECONDS + seconds

    def _tick(self) -> int:
        self._ticks += 1
        return self._ticks

    # ------------------------------------------------------------------------------------------------ controllers

    @property
    def dc(self) -> Controller:
        return self.controllers[0]

    def add_controller(self, name: str, *, read_only: bool = False, first_usn: int = 20_000) -> Controller:
        """Another DC with a copy of everything; from then on it learns by `replicate`."""
        with self.lock:
            controller = self._new_controller(name, first_usn, read_only=read_only)
            self._register(controller)
            self.replicate()
            return controller

    def replicate(self, *, to: Controller | None = None) -> None:
        """Every DC, or the one named, takes over what the others have."""
        with self.lock:
            for _ in range(2 if to is None else 1):
                for target in [to] if to else self.controllers:
                    for source in self.controllers:
                        if source is not target and not (source.read_only and target is not to):
                            target.replica.pull(source.replica)

    def begin_instance(self, controller: Controller | None = None) -> None:
        """As after a restore from backup: a new invocationId, with nothing lost."""
        with self.lock:
            controller = controller or self.dc
            controller.replica.begin_instance()
            self._publish_instance(controller)

    def _publish_instance(self, controller: Controller) -> None:
        self.known_instances.add(controller.replica.invocation_id)
        record = controller.replica.records[controller.ds_service_guid]
        controller.replica.write(record, {"invocationId": (controller.replica.invocation_id.bytes_le,)})

    def _new_controller(self, name: str, first_usn: int, *, read_only: bool) -> Controller:
        service = (
            f"CN=NTDS Settings,CN={name},CN=Servers,CN=Default-First-Site-Name,CN=Sites,{self.config_dn}"
        )
        replica = Replica(self._tick, self.now, first_usn=first_usn)
        controller = Controller(
            name, f"{name.lower()}.{self.dns_name}", service, self.new_guid(), replica, read_only=read_only
        )
        self.controllers.append(controller)
        self.known_instances.add(replica.invocation_id)
        return controller

    def _register(self, controller: Controller) -> None:
        """The DC's objects in the configuration, written at the first DC."""
        site = self._servers_guid
        server = self.put(site, "CN", controller.name, "container")
        settings = Record(controller.ds_service_guid, "CN", server.guid)
        values = {
            "objectClass": (b"top", b"applicationSettings", b"nTDSDSA"),
            "invocationId": (controller.replica.invocation_id.bytes_le,),
            "instanceType": (b"4",),
            "name": (b"NTDS Settings",),
        }
        self.dc.replica.add(settings, values)

    # ------------------------------------------------------------------------------------------------ the first day

    def _found(self, tombstone_days: int | None) -> None:
        first = self._new_controller("DC1", 4096, read_only=False)
        domain_sid = sid_bytes(self.domain_sid)
        root = self._put_head(self.base_dn, {"objectSid": (domain_sid,)})
        self.root_guid = root.guid
        users = self.put(root.guid, "CN", "Users", "container")
        computers = self.put(root.guid, "CN", "Computers", "container")
        deleted = self.put(root.guid, "CN", "Deleted Objects", "container", {"isDeleted": (truth(True),)})
        self.put(root.guid, "OU", "Domain Controllers", "ou")
        self.foreign_guid = self.put(root.guid, "CN", "ForeignSecurityPrincipals", "container").guid
        self.well_known = {
            DELETED_OBJECTS: deleted.guid,
            USERS_CONTAINER: users.guid,
            COMPUTERS_CONTAINER: computers.guid,
        }
        self._found_configuration(first, tombstone_days)
        self._found_accounts(users.guid)

    def _put_head(self, dn: str, values: Mapping[str, Values]) -> Record:
        record = Record(self.new_guid(), "DC", None, root_dn=dn)
        name = dn.partition(",")[0].partition("=")[2].encode()
        # 5: the head of a naming context, writable
        return self.dc.replica.add(
            record,
            {
                "objectClass": tuple(word.encode() for word in CLASSES["domain"]),
                "instanceType": (b"5",),
                "name": (name,),
                "objectCategory": (category_of("domain", self.base_dn).encode(),),
                **values,
            },
        )

    def _found_configuration(self, first: Controller, tombstone_days: int | None) -> None:
        head = self._put_head(self.config_dn, {})
        services = self.put(head.guid, "CN", "Services", "container")
        windows = self.put(services.guid, "CN", "Windows NT", "container")
        days = {} if tombstone_days is None else {"tombstoneLifetime": (str(tombstone_days).encode(),)}
        self.directory_service_guid = self.put(
            windows.guid, "CN", "Directory Service", "container", days
        ).guid
        sites = self.put(head.guid, "CN", "Sites", "container")
        site = self.put(sites.guid, "CN", "Default-First-Site-Name", "container")
        self._servers_guid = self.put(site.guid, "CN", "Servers", "container").guid
        self._register(first)

    def _found_accounts(self, users: uuid.UUID) -> None:
        for rid, name in ((_DOMAIN_USERS, "Domain Users"), (_DOMAIN_COMPUTERS, "Domain Computers")):
            sid = sid_bytes(f"{self.domain_sid}-{rid}")
            self.put(users, "CN", name, "group", _principal(name, sid, groupType=b"-2147483646"))
        self.add_account("Administrator", ADMINISTRATOR_PASSWORD, rid=500, is_administrator=True)
        self.add_account(SERVICE_ACCOUNT, SERVICE_PASSWORD, sees_deleted=True)
        self.add_account(BLIND_ACCOUNT, BLIND_PASSWORD)

    def add_account(
        self,
        name: str,
        password: str,
        *,
        rid: int = 0,
        is_administrator: bool = False,
        sees_deleted: bool = False,
        may_get_changes: bool = False,
    ) -> Account:
        """A user that may sign in."""
        with self.lock:
            sid = sid_bytes(f"{self.domain_sid}-{rid}") if rid else self.next_sid()
            values = {
                "userPrincipalName": (f"{name}@{self.dns_name}".encode(),),
                **_principal(name, sid, userAccountControl=b"512", primaryGroupID=b"513"),
            }
            record = self.put(self.well_known[USERS_CONTAINER], "CN", name, "user", values)
            account = Account(
                name,
                record.guid,
                password,
                is_administrator,
                sees_deleted or is_administrator,
                may_get_changes or is_administrator,
            )
            self.accounts[name.lower()] = account
            return account

    def next_sid(self) -> bytes:
        self._next_rid += 1
        return sid_bytes(f"{self.domain_sid}-{self._next_rid}")

    def put(
        self,
        parent: uuid.UUID,
        rdn_kind: str,
        name: str,
        kind: str,
        values: Mapping[str, Sequence[bytes]] | None = None,
        *,
        at: Controller | None = None,
        guid: uuid.UUID | None = None,
    ) -> Record:
        """An object of a kind of schema.CLASSES, with what the directory itself sets on it."""
        values = dict(values or {})
        group_type = int(next(iter(values.get("groupType", ())), b"0"))
        account_type = account_type_of(kind, group_type)
        return (at or self.dc).replica.add(
            Record(guid or self.new_guid(), rdn_kind, parent),
            {
                "objectClass": tuple(word.encode() for word in CLASSES[kind]),
                "objectCategory": (category_of(kind, self.base_dn).encode(),),
                "instanceType": (b"4",),
                "name": (name.encode(),),
                "whenCreated": (time.strftime("%Y%m%d%H%M%S.0Z", time.gmtime(self.now())).encode(),),
                **({} if account_type is None else {"sAMAccountType": (str(account_type).encode(),)}),
                **values,
            },
        )


def _principal(name: str, sid: bytes, **values: bytes) -> dict[str, Values]:
    return {
        "sAMAccountName": (name.encode(),),
        "objectSid": (sid,),
        **{attribute: (value,) for attribute, value in values.items()},
    }

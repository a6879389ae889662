"""How objects end and come back: tombstones, the Recycle Bin, garbage collection, and deletions that leave no trace.

Sources: MS-ADTS 3.1.1.5.5 and 3.1.1.1.6, as cited in the reference sheet, 1.4 and 1.5.
"""

import uuid

from sandbox.windows_ldap.controller import Controller
from sandbox.windows_ldap.forest import DELETED_OBJECTS, Forest
from sandbox.windows_ldap.record import Record
from sandbox.windows_ldap.replica import Replica, Values
from sandbox.windows_ldap.schema import (
    KEPT_BY_TOMBSTONES,
    LOST_BY_DELETED_OBJECTS,
    account_type_of,
    category_of,
    truth,
)

_DEFAULT_DAYS = 60  # where tombstoneLifetime is not set
_DAY_SECONDS = 86_400.0
_PRIMARY_GROUPS = {"user": b"513", "computer": b"515", "managed": b"515"}


class Lifecycle(Forest):
    def delete(self, who: str, *, tree: bool = False, at: Controller | None = None) -> str:
        """Answers the objectGUID. ValueError where there is something below and `tree` is not asked for."""
        with self.lock:
            replica = (at or self.dc).replica
            record = self.find(who, at=at)
            below = [replica.records[guid] for guid in sorted(replica.children.get(record.guid, ()))]
            if below and not tree:
                raise ValueError(f"{who} is not empty")
            for child in below:
                self.delete(str(child.guid), tree=True, at=at)
            self._bury(replica, record)
            return str(record.guid)

    def _bury(self, replica: Replica, record: Record) -> None:
        values: dict[str, Values] = {
            "isDeleted": (truth(True),),
            "lastKnownParent": (record.parent.bytes_le if record.parent else b"",),
        }
        if self.recycle_bin:
            values["msDS-LastKnownRDN"] = (record.name.encode(),)
            gone: dict[str, Values] = {name: () for name in LOST_BY_DELETED_OBJECTS if record.values(name)}
        else:
            gone = replica.strip(record)
        record.deleted_at = self.now()
        name = f"{record.name[:75]}\nDEL:{record.guid}"  # an RDN has at most 255 characters; AD cuts the old name
        if not self.recycle_bin:
            replica.drop_links(record)
        replica.rename(record, self.well_known[DELETED_OBJECTS], name, {**gone, **values})

    def restore(self, guid: str, *, ou: str = "", at: Controller | None = None) -> str:
        """Undeletes; a reanimated tombstone has lost what tombstones lose. ValueError for what can't come back."""
        with self.lock:
            controller = at or self.dc
            record = controller.replica.records[uuid.UUID(guid)]
            if not record.is_tombstone_like or record.is_recycled:
                raise ValueError(f"{guid} can't be restored")
            parent = (
                self.container(ou, at=at).guid if ou else uuid.UUID(bytes_le=record.value("lastknownparent"))
            )
            kind = _kind_of(record)
            values: dict[str, Values] = {
                "isDeleted": (),
                "objectCategory": (category_of(kind, self.base_dn).encode(),),
            }
            account_type = account_type_of(kind, record.number("grouptype") or 0)
            if account_type is not None:
                values["sAMAccountType"] = (str(account_type).encode(),)
            if kind in _PRIMARY_GROUPS and not record.values("primarygroupid"):
                values["primaryGroupID"] = (
                    _PRIMARY_GROUPS[kind],
                )  # tombstones lose it, and no account is without
            if controller.manners.undelete_clears_last_known_parent:
                values["lastKnownParent"] = ()
            record.deleted_at = None
            controller.replica.rename(record, parent, record.name.partition("\n")[0], values)
            return guid

    # --------------------------------------------------------------------------------------------------- lifetimes

    @property
    def tombstone_days(self) -> int:
        return self._days("tombstonelifetime") or _DEFAULT_DAYS

    @property
    def deleted_object_days(self) -> int:
        return self._days("msds-deletedobjectlifetime") or self.tombstone_days

    def _days(self, attribute: str) -> int | None:
        return self.dc.replica.records[self.directory_service_guid].number(attribute)

    def collect_garbage(self, *, at: Controller | None = None) -> int:
        """What the nightly task does: old deleted-objects are recycled, old tombstones vanish. Answers how many vanished."""
        with self.lock:
            vanished = 0
            for controller in [at] if at else self.controllers:
                replica = controller.replica
                for record in [one for one in replica.records.values() if one.is_tombstone_like]:
                    has_links = not record.has_lost_links
                    since = record.recycled_at or record.deleted_at or self.now()
                    age_days = (self.now() - since) / _DAY_SECONDS
                    if has_links and age_days >= self.deleted_object_days:
                        self._recycle(replica, record)
                    elif not has_links and age_days >= self.tombstone_days:
                        replica.expunge(record)
                        vanished += 1
            return vanished

    def recycle(self, guid: str, *, at: Controller | None = None) -> None:
        """At once what garbage collection does after the deleted-object lifetime."""
        with self.lock:
            replica = (at or self.dc).replica
            self._recycle(replica, replica.records[uuid.UUID(guid)])

    def _recycle(self, replica: Replica, record: Record) -> None:
        replica.drop_links(record)
        record.recycled_at = self.now()
        kept = KEPT_BY_TOMBSTONES
        replica.write(record, {**replica.strip(record, kept), "isRecycled": (truth(True),)})

    def expunge(self, who: str) -> str:
        """Gone from every DC without a tombstone: a move to another domain, a dynamicObject's end, a lingering object."""
        with self.lock:
            guid = self.find(who).guid
            for controller in self.controllers:
                if record := controller.replica.records.get(guid):
                    controller.replica.expunge(record)
            return str(guid)

    # ------------------------------------------------------------------------------------------------------ names

    def find(self, who: str, *, at: Controller | None = None) -> Record:
        """By objectGUID, DN, sAMAccountName or name. LookupError."""
        replica = (at or self.dc).replica
        try:
            record = replica.records.get(uuid.UUID(who))
        except ValueError:
            record = replica.find_dn(who) if "=" in who else _named(replica, who)
        if record is None:
            raise LookupError(f"{who} is not in the domain")
        return record

    def container(self, ou: str, *, at: Controller | None = None) -> Record:
        """`Sales`, `Sales/Europe`, a DN; nothing means `CN=Users`."""
        if not ou:
            return self.find(f"CN=Users,{self.base_dn}", at=at)
        if "=" in ou:
            return self.find(ou, at=at)
        path = ",".join(f"OU={part}" for part in reversed(ou.split("/")))
        return self.find(f"{path},{self.base_dn}", at=at)


def _named(replica: Replica, who: str) -> Record | None:
    wanted = who.lower()
    living = [record for record in replica.records.values() if not record.is_deleted]
    for attribute in ("samaccountname", "name"):
        found = [record for record in living if record.text(attribute).lower() == wanted]
        if len(found) == 1:
            return found[0]
        if found:
            raise LookupError(f"{who} is the name of several objects")
    return None


def _kind_of(record: Record) -> str:
    by_class = {
        "computer": "computer",
        "msDS-GroupManagedServiceAccount": "managed",
        "user": "user",
        "group": "group",
        "contact": "contact",
        "organizationalUnit": "ou",
    }
    most_specific = record.values("objectclass")[-1].decode()
    return by_class.get(most_specific, "container")

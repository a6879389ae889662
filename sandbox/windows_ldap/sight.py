"""What one signed-in account sees, and an object as it sees it."""

import time
import uuid
from collections.abc import Iterator

from sandbox.windows_ldap.controller import Controller
from sandbox.windows_ldap.forest import DELETED_OBJECTS, Account, Forest
from sandbox.windows_ldap.names import parse_address
from sandbox.windows_ldap.record import Record
from sandbox.windows_ldap.schema import BACK_LINKS, FORWARD_LINKS, is_link


class Sight:
    """Rights as Windows checks them: List Contents of every container above, Read Property on the object itself."""

    def __init__(self, forest: Forest, controller: Controller, account: Account) -> None:
        self.forest = forest
        self.controller = controller
        self.replica = controller.replica
        self.account = account
        self._may_list: dict[uuid.UUID, bool] = {}  # what this request has found out of containers

    def afresh(self) -> "Sight":
        """For the next request: rights may have changed, and objects moved."""
        return Sight(self.forest, self.controller, self.account)

    @property
    def base_dn(self) -> str:
        return self.forest.base_dn

    def locates(self, record: Record) -> bool:
        """Whether every container above may be listed: then the object is there, though perhaps with nothing to read."""
        if record.parent is None:
            return True
        known = self._may_list.get(record.parent)
        if known is None:
            known = self._may_list[record.parent] = self.sees(self.replica.records[record.parent])
        return known

    def sees(self, record: Record) -> bool:
        return self._allows(record) and self.locates(record)

    def _allows(self, record: Record) -> bool:
        if self.account.is_administrator:
            return True
        if record.guid == self.forest.well_known[DELETED_OBJECTS]:
            return self.account.sees_deleted  # KB 892806: by default only SYSTEM and Administrators
        return self.account.name.lower() not in self.forest.unreadable.get(record.guid, ())

    def reads(self, record: Record, attribute: str) -> bool:
        return self.sees(record) and self.permits(attribute)

    def permits(self, attribute: str) -> bool:
        """Of any object that is seen."""
        if self.account.is_administrator:
            return True
        return (
            attribute not in self.forest.confidential and attribute not in self.account.unreadable_attributes
        )

    def resolve(self, text: str) -> uuid.UUID | None:
        """The objectGUID of what a DN, `<GUID=…>`, `<SID=…>` or `<WKGUID=…>` names, seen or not. Refused(34)."""
        address = parse_address(text)
        if address.guid:
            return address.guid if address.guid in self.replica.records else None
        if address.sid:
            found = (one for one in self.replica.records.values() if one.value("objectsid") == address.sid)
            return next((one.guid for one in found), None)
        record = self.replica.find_dn(address.dn)
        if record and address.well_known:
            is_root = record.guid == self.forest.root_guid
            return self.forest.well_known.get(address.well_known) if is_root else None
        return record.guid if record else None


class ObjectView:
    """An object's values as they are compared and rendered: references are 16 bytes of objectGUID."""

    def __init__(self, record: Record, sight: Sight, *, deactivated_links: bool = False) -> None:
        self.record = record
        self._sight = sight
        self._replica = sight.replica
        self._deactivated = deactivated_links
        self._is_seen = sight.sees(record)

    def values(self, attribute: str) -> tuple[bytes, ...] | None:
        """None where the account may not read it. An attribute that is not set has no values."""
        if not self._is_seen or not self._sight.permits(attribute):
            return None
        return self._raw(attribute)

    def _raw(self, attribute: str) -> tuple[bytes, ...]:
        record = self.record
        if is_link(attribute):
            targets = self._replica.link_targets(record, attribute, deactivated=self._deactivated)
            return tuple(target.bytes_le for target in targets)
        match attribute:
            case "objectguid":
                return (record.guid.bytes_le,)
            case "distinguishedname":
                return (self._replica.dn(record.guid).encode(),)
            case "cn" | "ou" | "dc":
                return (record.name.encode(),) if record.rdn_kind.lower() == attribute else ()
            case "usnchanged":
                return (str(record.usn_changed).encode(),)
            case "usncreated":
                return (str(record.usn_created).encode(),)
            case "whenchanged":
                return (time.strftime("%Y%m%d%H%M%S.0Z", time.gmtime(record.changed_at)).encode(),)
            case "parentguid":
                return (record.parent.bytes_le,) if record.parent else ()
            case "primarygrouptoken":
                return (str(_rid(record)).encode(),) if record.values("grouptype") else ()
            case "tokengroups":
                return tuple(self._token_groups())
        return record.values(attribute)

    def stored_names(self) -> list[str]:
        """Lower-case names of what `*` brings: everything that is set, constructed attributes left out."""
        always = ["objectguid", "distinguishedname", "usnchanged", "usncreated", "whenchanged"]
        rdn = [self.record.rdn_kind.lower()]
        stored = [name for name, one in self.record.attributes.items() if one.values]
        links = [name for name in (*FORWARD_LINKS, *BACK_LINKS) if self._raw(name)]
        return list(dict.fromkeys([*always, *rdn, *stored, *links]))

    def reaches(self, attribute: str, target: bytes) -> bool:
        """A recursive walk with a visited set, as the specification has it (MS-ADTS 3.1.1.3.4.4.3)."""
        wanted = uuid.UUID(bytes_le=target)
        seen, waiting = set[uuid.UUID](), [self.record.guid]
        while waiting:
            for found in self._replica.link_targets(self._replica.records[waiting.pop()], attribute):
                if found == wanted:
                    return True
                if found not in seen:
                    seen.add(found)
                    waiting.append(found)
        return False

    def _token_groups(self) -> Iterator[bytes]:
        """SIDs of the security groups that hold the object, through groups and the primary group."""
        domain_sid, primary = self.record.value("objectsid")[:-4], self.record.number("primarygroupid")
        by_sid = {
            one.value("objectsid"): one.guid
            for one in self._replica.records.values()
            if one.values("grouptype")
        }
        waiting = list(self._replica.link_targets(self.record, "memberof"))
        if primary and (group := by_sid.get(_with_rid(domain_sid, primary))):
            waiting.append(group)
        seen = set[uuid.UUID]()
        while waiting:
            guid = waiting.pop()
            if guid not in seen:
                seen.add(guid)
                record = self._replica.records[guid]
                if (record.number("grouptype") or 0) < 0:
                    yield record.value("objectsid")
                    waiting.extend(self._replica.link_targets(record, "memberof"))


def _rid(record: Record) -> int:
    return int.from_bytes(record.value("objectsid")[-4:], "little")


def _with_rid(domain_sid: bytes, rid: int) -> bytes:
    return domain_sid + rid.to_bytes(4, "little")

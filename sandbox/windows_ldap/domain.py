"""The domain as its administrator works on it: the same verbs as `sandbox.samba_admin.DomainAdministrator`, without LDAP."""

from collections.abc import Iterable

from sandbox.windows_ldap.controller import Controller
from sandbox.windows_ldap.lifecycle import Lifecycle
from sandbox.windows_ldap.record import Record
from sandbox.windows_ldap.replica import Backup
from sandbox.windows_ldap.schema import FORWARD_LINKS, account_type_of, sid_bytes

Scalar = str | int | bytes | bool
Values = Scalar | Iterable[Scalar] | None

_ENABLED = 512
_DISABLED_BIT = 2
_COMPUTER = 4096
_GROUP_TYPES = {"global": -2147483646, "local": -2147483644, "universal": -2147483640, "distribution": 2}


class WindowsDomain(Lifecycle):
    """Wherever an object is named, an objectGUID, a DN, a sAMAccountName or a name will do. Whatever creates answers the
    objectGUID. `at` is the DC that is written to, the first one by default. ValueError and LookupError for what AD refuses.
    """

    # ---------------------------------------------------------------------------------------------------- looking

    def dn(self, who: str, *, at: Controller | None = None) -> str:
        with self.lock:
            return (at or self.dc).replica.dn(self.find(who, at=at).guid)

    def guid(self, who: str) -> str:
        with self.lock:
            return str(self.find(who).guid)

    def exists(self, who: str) -> bool:
        with self.lock:
            try:
                return not self.find(who).is_deleted
            except LookupError:
                return False

    def read(self, who: str, *attributes: str) -> dict[str, list[str]]:
        """What is stored, as text."""
        with self.lock:
            record = self.find(who)
            names = [name.lower() for name in attributes] or list(record.attributes)
            return {
                record.attributes[name].name: [
                    value.decode(errors="replace") for value in record.values(name)
                ]
                for name in names
                if record.values(name)
            }

    def members(self, group: str) -> list[str]:
        """DNs, as far as they are visible."""
        with self.lock:
            replica = self.dc.replica
            return [replica.dn(guid) for guid in replica.link_targets(self.find(group), "member")]

    # --------------------------------------------------------------------------------------------------- creating

    def create_ou(self, name: str, *, ou: str = "", at: Controller | None = None) -> str:
        with self.lock:
            parent = self.container(ou, at=at).guid if ou else self.root_guid
            return str(self.put(parent, "OU", name, "ou", {"ou": (name.encode(),)}, at=at).guid)

    def create_user(
        self,
        name: str,
        *,
        account: str = "",
        given_name: str = "",
        surname: str = "",
        display_name: str = "",
        mail: str = "",
        ou: str = "",
        enabled: bool = True,
        at: Controller | None = None,
        **attributes: Values,
    ) -> str:
        account = account or name.replace(" ", ".").lower()[:20]  # 20: the longest sAMAccountName of a user
        return self._create(
            "user",
            name,
            ou,
            at,
            sAMAccountName=account,
            userPrincipalName=f"{account}@{self.dns_name}",
            userAccountControl=_ENABLED if enabled else _ENABLED | _DISABLED_BIT,
            primaryGroupID=513,
            givenName=given_name,
            sn=surname,
            displayName=display_name or name,
            mail=mail,
            **attributes,
        )

    def create_group(
        self,
        name: str,
        *,
        ou: str = "",
        members: Iterable[str] = (),
        scope: str = "global",
        at: Controller | None = None,
        **attributes: Values,
    ) -> str:
        guid = self._create(
            "group", name, ou, at, sAMAccountName=name, groupType=_GROUP_TYPES[scope], **attributes
        )
        if members := list(members):
            self.add_members(guid, *members, at=at)
        return guid

    def create_contact(
        self, name: str, *, mail: str = "", ou: str = "", at: Controller | None = None, **attributes: Values
    ) -> str:
        return self._create("contact", name, ou, at, displayName=name, mail=mail, **attributes)

    def create_computer(
        self,
        name: str,
        *,
        ou: str = "",
        managed: bool = False,
        at: Controller | None = None,
        **attributes: Values,
    ) -> str:
        """`managed`: a group managed service account."""
        return self._create(
            "managed" if managed else "computer",
            name,
            ou,
            at,
            sAMAccountName=f"{name}$",
            userAccountControl=_COMPUTER,
            primaryGroupID=515,
            **attributes,
        )

    def create_foreign(self, sid: str) -> str:
        """A foreign security principal: somebody of a trusted domain, known by SID."""
        with self.lock:
            values = {"objectSid": _encoded(sid_bytes(sid))}
            return str(self.put(self.foreign_guid, "CN", sid, "foreign", values).guid)

    def create_phantom(self, dn: str) -> str:
        """An object of another domain of the forest: it can be a member, but nothing here tells more of it."""
        with self.lock:
            record = Record(self.new_guid(), "CN", None, root_dn=dn, phantom=True)
            self.dc.replica.add(record, {"objectSid": (self.next_sid(),)})
            return str(record.guid)

    def _create(self, kind: str, name: str, ou: str, at: Controller | None, **attributes: Values) -> str:
        with self.lock:
            parent = self.container(ou, at=at).guid
            replica = (at or self.dc).replica
            if replica.child_named(parent, name):
                raise ValueError(f"{name} exists already")
            values = {key: encoded for key, value in attributes.items() if (encoded := _encoded(value))}
            if kind != "contact":
                values["objectSid"] = (self.next_sid(),)
            return str(self.put(parent, "CN", name, kind, values, at=at).guid)

    # --------------------------------------------------------------------------------------------------- changing

    def modify(self, who: str, /, *, at: Controller | None = None, **attributes: Values) -> None:
        """Replaces; `None` or nothing clears. Links have `add_members`, `remove_members` and `set_link`."""
        with self.lock:
            record = self.find(who, at=at)
            values = {name.replace("_", "-"): _encoded(value) for name, value in attributes.items()}
            if any(name.lower() in FORWARD_LINKS for name in values):
                raise ValueError("links are not written by modify")
            if "groupType" in values:
                account_type = account_type_of("group", int(values["groupType"][0]))
                values["sAMAccountType"] = (str(account_type).encode(),)
            (at or self.dc).replica.write(record, values)

    def add_members(self, group: str, *members: str, at: Controller | None = None) -> None:
        with self.lock:
            record = self.find(group, at=at)
            targets = [self.find(member, at=at).guid for member in members]
            there = set((at or self.dc).replica.link_targets(record, "member"))
            if there.intersection(targets):
                raise ValueError("a member already")
            (at or self.dc).replica.link(record, "member", targets, present=True)

    def remove_members(self, group: str, *members: str, at: Controller | None = None) -> None:
        with self.lock:
            record = self.find(group, at=at)
            targets = [self.find(member, at=at).guid for member in members]
            there = set((at or self.dc).replica.link_targets(record, "member"))
            if not there.issuperset(targets):
                raise ValueError("not a member")
            (at or self.dc).replica.link(record, "member", targets, present=False)

    def set_link(self, who: str, attribute: str, target: str = "") -> None:
        """A link of one value, such as `manager`."""
        with self.lock:
            record, replica = self.find(who), self.dc.replica
            if old := replica.link_targets(record, attribute.lower()):
                replica.link(record, attribute.lower(), old, present=False)
            if target:
                replica.link(record, attribute.lower(), [self.find(target).guid], present=True)

    def disable(self, who: str, *, at: Controller | None = None) -> None:
        self.modify(who, at=at, userAccountControl=self._account_control(who, at) | _DISABLED_BIT)

    def enable(self, who: str, *, at: Controller | None = None) -> None:
        self.modify(who, at=at, userAccountControl=self._account_control(who, at) & ~_DISABLED_BIT)

    def _account_control(self, who: str, at: Controller | None) -> int:
        with self.lock:
            return self.find(who, at=at).number("useraccountcontrol") or 0

    def rename(self, who: str, name: str, *, at: Controller | None = None) -> None:
        with self.lock:
            record = self.find(who, at=at)
            (at or self.dc).replica.rename(record, record.parent, name)

    def move(self, who: str, ou: str, *, at: Controller | None = None) -> None:
        with self.lock:
            record = self.find(who, at=at)
            (at or self.dc).replica.rename(record, self.container(ou, at=at).guid, record.name)

    def set_primary_group(self, who: str, group: str) -> None:
        """The old primary group gets them as a member, the new one loses that value: both are explicit changes of links."""
        with self.lock:
            record, new, replica = self.find(who), self.find(group), self.dc.replica
            old_rid = record.number("primarygroupid") or 0
            rid = int.from_bytes(new.value("objectsid")[-4:], "little")
            if rid == old_rid:
                return
            old = next(
                one
                for one in replica.records.values()
                if one.value("objectsid")[-4:] == old_rid.to_bytes(4, "little") and one.values("grouptype")
            )
            if record.guid in replica.link_targets(new, "member"):
                replica.link(new, "member", [record.guid], present=False)
            replica.link(old, "member", [record.guid], present=True)
            replica.write(record, {"primaryGroupID": (str(rid).encode(),)})

    # ------------------------------------------------------------------------------------------- noise and rights

    def bad_password(self, who: str) -> None:
        """Counted on this DC only: no stamp, and no USN either."""
        with self.lock:
            record = self.find(who)
            count = (record.number("badpwdcount") or 0) + 1
            stamp = record.attributes["name"].stamp
            record.put("badPwdCount", (str(count).encode(),), stamp, record.attributes["name"].local_usn)

    def sign_on(self, who: str, filetime: int) -> None:
        """The first sign-on in a fortnight: lastLogonTimestamp replicates."""
        self.modify(who, lastLogonTimestamp=filetime)

    def hide(self, who: str, *accounts: str) -> None:
        """These accounts can't read the object any more, nor list what lies below. Nothing is reported."""
        with self.lock:
            self.unreadable.setdefault(self.find(who).guid, set()).update(name.lower() for name in accounts)

    def show(self, who: str) -> None:
        with self.lock:
            self.unreadable.pop(self.find(who).guid, None)

    # --------------------------------------------------------------------------------------------- a DC from backup

    def backup(self, controller: Controller | None = None) -> Backup:
        with self.lock:
            return (controller or self.dc).replica.backup()

    def restore_controller(self, backup: Backup, controller: Controller | None = None) -> None:
        """The DC is back where the backup was; its invocationId is new. The others bring it forward by `replicate`."""
        with self.lock:
            controller = controller or self.dc
            controller.replica.restore(backup)
            self._publish_instance(controller)


def _encoded(value: Values) -> tuple[bytes, ...]:
    """Text as UTF-8, numbers as digits; nothing for what is empty: LDAP knows no empty value."""
    if value is None or value == "":
        return ()
    if isinstance(value, str | int | bytes):
        return (_scalar(value),)
    return tuple(_scalar(one) for one in value)


def _scalar(value: Scalar) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, bool):
        return b"TRUE" if value else b"FALSE"
    return str(value).encode()

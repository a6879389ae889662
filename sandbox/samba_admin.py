"""What an administrator does in Active Directory, done as a plain LDAP client over verified TLS."""

import contextlib
import select
import ssl
import struct
import threading
import time
import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import ldap3
from ldap3.core.exceptions import LDAPExceptionError, LDAPNoSuchObjectResult
from ldap3.utils.conv import escape_filter_chars
from ldap3.utils.dn import escape_rdn

from sandbox.domain import DomainFacts

SHOW_DELETED = ("1.2.840.113556.1.4.417", True, None)
_TREE_DELETE = ("1.2.840.113556.1.4.805", True, None)

_ENABLED = 544  # an ordinary account that needs no password: the one way to enable it without setting one
_DISABLED_BIT = 2
_COMPUTER = 4096
_GROUP_TYPES = {"global": -2147483646, "local": -2147483644, "universal": -2147483640, "distribution": 2}
_IDLE_SECONDS = 300.0  # the server hangs up after 900

Scalar = str | int | bytes
Values = Scalar | Iterable[Scalar] | None


class VerifiedTls(ldap3.Tls):  # type: ignore[misc]  # ldap3 has no types
    """TLS whose host check is OpenSSL's.

    ldap3's own calls `ssl.match_hostname`: deprecated in Python 3.11, gone in 3.12, and the substitute there knows no addresses.
    """

    def __init__(self, ca_file: Path) -> None:
        super().__init__(validate=ssl.CERT_REQUIRED, ca_certs_file=str(ca_file))
        self._context = ssl.create_default_context(cafile=str(ca_file))

    def wrap_socket(self, connection: ldap3.Connection, do_handshake: bool = False) -> None:
        connection.socket = self._context.wrap_socket(
            connection.socket, do_handshake_on_connect=do_handshake, server_hostname=connection.server.host
        )


class DomainAdministrator:
    """One connection, made when first needed; calls from several threads wait for each other.

    Wherever an object is named, an objectGUID, a DN, a sAMAccountName or a name will do. Whatever creates answers the objectGUID.
    """

    def __init__(self, facts: DomainFacts, *, user: str = "", password: str = "") -> None:
        """As the domain's administrator, or as the `user` given."""
        self.base_dn = facts.base_dn
        self._facts = facts
        self._user = user or facts.administrator
        self._password = password if user else facts.administrator_password
        self._lock = threading.RLock()
        self._connection: ldap3.Connection | None = None
        self._used_at = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ask(self, operation: str, *arguments: Any, **options: Any) -> Any:
        # Locked as a whole: an answer on its way to another thread must not look like the server's goodbye.
        with self._lock:
            _, _, response, _ = getattr(self.connect(), operation)(*arguments, **options)
            return response

    def connect(self) -> ldap3.Connection:
        """Signs in if need be. The connection is for one thread at a time; the methods below see to that themselves."""
        with self._lock:
            connection = self._connection
            if connection is not None and (self._is_stale() or _is_hung_up(connection)):
                self.close()
                connection = None
            if connection is None:
                connection = self._connection = self._open()
            self._used_at = time.monotonic()
            return connection

    def _is_stale(self) -> bool:
        return time.monotonic() - self._used_at > _IDLE_SECONDS

    def close(self) -> None:
        with self._lock:
            connection, self._connection = self._connection, None
            if connection is not None:
                with contextlib.suppress(LDAPExceptionError, OSError):  # it may be gone already
                    connection.unbind()
                _close_socket(connection)

    def _open(self) -> ldap3.Connection:
        tls = VerifiedTls(self._facts.ca_file)
        server = ldap3.Server(
            self._facts.address, port=636, use_ssl=True, tls=tls, get_info=ldap3.NONE, connect_timeout=10
        )
        connection = ldap3.Connection(
            server,
            user=self._user,
            password=self._password,
            client_strategy=ldap3.SAFE_SYNC,
            auto_referrals=False,
            auto_range=False,
            check_names=False,
            return_empty_attributes=False,
            receive_timeout=120,
            raise_exceptions=True,
        )
        try:
            connection.bind()
        except BaseException:
            _close_socket(connection)
            raise
        return connection

    # ---------------------------------------------------------------------------------------------------- looking

    def dn(self, who: str) -> str:
        return str(self._entry(who)["dn"])

    def guid(self, who: str) -> str:
        return _guid_of(self._entry(who))

    def read(self, who: str, *attributes: str) -> dict[str, list[str]]:
        """The attributes that are set, as text; binary ones are not for this."""
        return _texts(self._entry(who, *(attributes or ("*",))))

    def members(self, group: str) -> list[str]:
        return self.read(group, "member").get("member", [])

    def exists(self, who: str) -> bool:
        try:
            self._entry(who)
        except LookupError:
            return False
        return True

    def tombstones(self) -> dict[str, dict[str, list[str]]]:
        """Whatever lies in `CN=Deleted Objects` and this account may see, by objectGUID."""
        wanted = [
            "objectGUID",
            "distinguishedName",
            "name",
            "lastKnownParent",
            "objectClass",
            "sAMAccountName",
        ]
        response = self._ask(
            "search",
            f"CN=Deleted Objects,{self.base_dn}",
            "(isDeleted=TRUE)",
            ldap3.LEVEL,
            attributes=wanted,
            controls=[SHOW_DELETED],
        )
        return {_guid_of(entry): _texts(entry) for entry in response if entry["type"] == "searchResEntry"}

    def _entry(self, who: str, *attributes: str) -> dict[str, Any]:
        wanted = ["objectGUID", *attributes]
        if address := _addressed(who):
            base, scope, query = address, ldap3.BASE, "(objectClass=*)"
        else:
            text = escape_filter_chars(who)
            base, scope, query = self.base_dn, ldap3.SUBTREE, f"(|(sAMAccountName={text})(name={text}))"
        try:
            response = self._ask("search", base, query, scope, attributes=wanted)
        except LDAPNoSuchObjectResult as error:
            raise LookupError(f"{who} is not in the domain") from error
        found = [entry for entry in response if entry["type"] == "searchResEntry"]
        if len(found) != 1:
            raise LookupError(
                f"{who} is {'not in the domain' if not found else 'the name of several objects'}"
            )
        entry: dict[str, Any] = found[0]
        return entry

    # --------------------------------------------------------------------------------------------------- creating

    def create_ou(self, name: str, *, ou: str = "") -> str:
        return self.add(
            f"OU={escape_rdn(name)},{self.container(ou) if ou else self.base_dn}", ["organizationalUnit"]
        )

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
        **attributes: Values,
    ) -> str:
        account = account or name.replace(" ", ".").lower()[:20]  # 20: the longest sAMAccountName of a user
        domain = self.base_dn.lower().removeprefix("dc=").replace(",dc=", ".")
        return self.add(
            f"CN={escape_rdn(name)},{self.container(ou)}",
            ["user"],
            sAMAccountName=account,
            userPrincipalName=f"{account}@{domain}",
            userAccountControl=_ENABLED if enabled else _ENABLED | _DISABLED_BIT,
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
        **attributes: Values,
    ) -> str:
        return self.add(
            f"CN={escape_rdn(name)},{self.container(ou)}",
            ["group"],
            sAMAccountName=name,
            groupType=_GROUP_TYPES[scope],
            member=[self.dn(member) for member in members],
            **attributes,
        )

    def create_contact(self, name: str, *, mail: str = "", ou: str = "", **attributes: Values) -> str:
        dn = f"CN={escape_rdn(name)},{self.container(ou)}"
        return self.add(dn, ["contact"], displayName=name, mail=mail, **attributes)

    def create_computer(self, name: str, *, ou: str = "", **attributes: Values) -> str:
        dn = f"CN={escape_rdn(name)},{self.container(ou)}"
        return self.add(
            dn, ["computer"], sAMAccountName=f"{name}$", userAccountControl=_COMPUTER, **attributes
        )

    def add(self, dn: str, classes: list[str], /, **attributes: Values) -> str:
        """Attributes that are empty are left out: LDAP knows no empty value."""
        values = {name: listed for name, value in attributes.items() if (listed := _listed(value))}
        self._ask("add", dn, classes, values)
        return self.guid(dn)

    def container(self, ou: str) -> str:
        """The DN of `Sales` or `Sales/Europe`; a DN stays itself; nothing means `CN=Users`."""
        if not ou:
            return f"CN=Users,{self.base_dn}"
        if "=" in ou:
            return ou
        return ",".join([*(f"OU={escape_rdn(part)}" for part in reversed(ou.split("/"))), self.base_dn])

    # --------------------------------------------------------------------------------------------------- changing

    def modify(self, who: str, /, **attributes: Values) -> None:
        """Replaces; `None` or nothing clears."""
        changes = {name: [(ldap3.MODIFY_REPLACE, _listed(value))] for name, value in attributes.items()}
        self._ask("modify", self.dn(who), changes)

    def add_members(self, group: str, *members: str) -> None:
        self._change_members(group, ldap3.MODIFY_ADD, members)

    def remove_members(self, group: str, *members: str) -> None:
        self._change_members(group, ldap3.MODIFY_DELETE, members)

    def _change_members(self, group: str, operation: str, members: Iterable[str]) -> None:
        self._ask(
            "modify", self.dn(group), {"member": [(operation, [self.dn(member) for member in members])]}
        )

    def disable(self, who: str) -> None:
        self.modify(who, userAccountControl=self._account_control(who) | _DISABLED_BIT)

    def enable(self, who: str) -> None:
        self.modify(who, userAccountControl=self._account_control(who) & ~_DISABLED_BIT)

    def _account_control(self, who: str) -> int:
        return int(self.read(who, "userAccountControl")["userAccountControl"][0])

    def rename(self, who: str, name: str) -> None:
        """Changes the object's own name; sn, mail and the like are `modify`'s business."""
        dn = self.dn(who)
        self._ask("modify_dn", dn, f"{dn.partition('=')[0]}={escape_rdn(name)}")

    def move(self, who: str, ou: str) -> None:
        dn = self.dn(who)
        self._ask("modify_dn", dn, _own_part(dn), new_superior=self.container(ou))

    def set_primary_group(self, who: str, group: str) -> None:
        """The directory wants them to be a member first, and takes that member value away when it is done."""
        if self.dn(who) not in self.members(group):
            self.add_members(group, who)
        sid: bytes = self._entry(group, "objectSid")["raw_attributes"]["objectSid"][0]
        self.modify(who, primaryGroupID=int(struct.unpack("<I", sid[-4:])[0]))

    def delete(self, who: str, *, tree: bool = False) -> str:
        """Answers the objectGUID, under which the tombstone is found."""
        entry = self._entry(who)
        self._ask("delete", entry["dn"], controls=[_TREE_DELETE] if tree else None)
        return _guid_of(entry)

    def restore(self, guid: str, *, ou: str = "", **attributes: Values) -> str:
        """Brings a tombstone back. It has lost mail, names and groups; `attributes` gives back what is wanted."""
        tombstone = self.tombstones()[guid]
        parent = self.container(ou) if ou else tombstone["lastKnownParent"][0]
        kind = "OU" if "organizationalUnit" in tombstone["objectClass"] else "CN"
        name = tombstone["name"][0].partition("\n")[0]
        changes: dict[str, list[tuple[str, list[Scalar]]]] = {
            "isDeleted": [(ldap3.MODIFY_DELETE, [])],
            "distinguishedName": [(ldap3.MODIFY_REPLACE, [f"{kind}={escape_rdn(name)},{parent}"])],
        }
        # By its full DN: Samba's reanimation stumbles over `<GUID=…>`.
        self._ask("modify", tombstone["distinguishedName"][0], changes, controls=[SHOW_DELETED])
        if attributes:
            self.modify(guid, **attributes)
        return guid


def _is_hung_up(connection: ldap3.Connection) -> bool:
    """Between two calls there is nothing to read, unless it is the end: the server was stopped or restarted."""
    if connection.closed or connection.socket is None:
        return True
    readable, _, _ = select.select([connection.socket], [], [], 0)
    return bool(readable)


def _close_socket(connection: ldap3.Connection) -> None:
    """ldap3 leaves it open when connecting, signing in or saying goodbye fails."""
    if connection.socket is not None:
        connection.socket.close()


def _addressed(who: str) -> str:
    """What can be a search's base; empty for a mere name."""
    try:
        return f"<GUID={uuid.UUID(who)}>"
    except ValueError:
        return who if "=" in who else ""


def _guid_of(entry: Mapping[str, Any]) -> str:
    return str(uuid.UUID(bytes_le=entry["raw_attributes"]["objectGUID"][0]))


def _texts(entry: Mapping[str, Any]) -> dict[str, list[str]]:
    return {
        name: [value.decode("utf-8", errors="replace") for value in values]
        for name, values in entry["raw_attributes"].items()
        if name != "objectGUID"
    }


def _listed(value: Values) -> list[Scalar]:
    if value is None or value == "":
        return []
    if isinstance(value, str | int | bytes):
        return [value]
    return list(value)


def _own_part(dn: str) -> str:
    r"""`CN=Doe\, Jane` of `CN=Doe\, Jane,OU=Sales,…`."""
    position = 0
    while (position := dn.index(",", position)) and dn[position - 1] == "\\":
        position += 1
    return dn[:position]

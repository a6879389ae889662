"""Simple bind as a domain controller judges it; the sub-codes are those that Windows puts into its text."""

from sandbox.windows_ldap.codes import Code, Refused
from sandbox.windows_ldap.controller import Controller
from sandbox.windows_ldap.forest import Account, Forest
from sandbox.windows_ldap.protocol import Bind

_NO_SUCH_USER, _WRONG_PASSWORD, _DISABLED, _EXPIRED = "525", "52e", "533", "701"
_DISABLED_BIT = 2
_NEVER = (0, 0x7FFF_FFFF_FFFF_FFFF)
_FILETIME_OF_1970 = 116_444_736_000_000_000


def sign_in(forest: Forest, controller: Controller, bind: Bind, *, encrypted: bool) -> Account | None:
    """None for an anonymous bind, which succeeds and may then read the rootDSE only. Refused with 7, 8, 49."""
    if bind.password is None:
        raise Refused(Code.AUTH_METHOD, "00002027: LdapErr: DSID-0C0905DD, comment: only simple binds here")
    if not bind.password:
        return None  # no password: "unauthenticated", whatever the name says (RFC 4513, 5.1.2)
    if not encrypted:
        raise Refused(
            Code.STRONGER_AUTH,
            "00002028: LdapErr: DSID-0C090259, comment: The server requires binds to turn on integrity checking if"
            " SSL\\TLS are not already active on the connection, data 0, v4563",
        )
    account = _account(forest, controller, bind.name)
    record = controller.replica.records.get(account.guid) if account else None
    if account is None or record is None or record.is_deleted:
        raise _refused(_NO_SUCH_USER)
    if account.password != bind.password:
        raise _refused(_WRONG_PASSWORD)
    if (record.number("useraccountcontrol") or 0) & _DISABLED_BIT:
        raise _refused(_DISABLED)
    expires = record.number("accountexpires") or 0
    if expires not in _NEVER and (expires - _FILETIME_OF_1970) / 10_000_000 < forest.now():
        raise _refused(_EXPIRED)
    return account


def _refused(data: str) -> Refused:
    message = f"80090308: LdapErr: DSID-0C09044E, comment: AcceptSecurityContext error, data {data}, v4563"
    return Refused(Code.INVALID_CREDENTIALS, message)


def _account(forest: Forest, controller: Controller, name: str) -> Account | None:
    """By user principal name, NetBIOS domain and name, or DN."""
    for account in forest.accounts.values():
        record = controller.replica.records.get(account.guid)
        if record is None:
            continue
        sam = record.text("samaccountname")
        names = (
            record.text("userprincipalname"),
            f"{sam}@{forest.dns_name}",
            f"{forest.netbios}\\{sam}",
            controller.replica.dn(account.guid),
        )
        if name.lower() in (one.lower() for one in names):
            return account
    return None

"""Work on a domain's database files; executed by the system's own Python, which has the `samba` package.

That package comes from the distribution and exists for no virtual environment, so `sandbox.samba` runs this file as a program:
`/usr/bin/python3 samba_offline.py COMMAND`, with one JSON object on standard input and one on standard output. All writes go
through Samba's own locks, as those of `samba-tool` do: a running domain controller sees them, and may only have to wait.
"""

import json
import logging
import sys
from typing import Any

from samba import ldb
from samba.auth import system_session
from samba.dcerpc import security
from samba.dsdb import DS_DOMAIN_FUNCTION_2008_R2
from samba.ndr import ndr_pack, ndr_unpack
from samba.param import LoadParm
from samba.provision import FILL_FULL, provision
from samba.samdb import SamDB

# Samba before 4.19.3 let everybody read tombstones (CVE-2018-14628). The container's access list is therefore always written
# whole, so that an account without the right is blind on every version: SYSTEM everything, Administrators list and read.
_CONTAINER_SDDL = "O:SYG:SYD:PAI(A;;RPWPCCDCLCRCWOWDSDSW;;;SY)(A;;RPLC;;;BA)"
_NEVER = str(-0x8000000000000000)  # of maxPwdAge
_PASSWORD_NEVER_EXPIRES = 0x10000
_NORMAL_ACCOUNT = 0x200
_TRANSACTION_SIZE = 5_000  # one transaction for everything never ends


def _open(smb_conf: str, *, batch: bool = False) -> Any:
    parameters = LoadParm()
    parameters.load(smb_conf)
    return SamDB(
        session_info=system_session(),
        lp=parameters,
        # Without batch mode every single add is a transaction within the transaction, and the time for one grows with the domain.
        options=["batch_mode:1"] if batch else [],
    )


def provision_domain(order: dict[str, Any]) -> dict[str, Any]:
    """An empty domain, plus the service accounts: they are part of the template that every instance is a copy of."""
    logger = logging.getLogger("provision")
    logger.addHandler(logging.StreamHandler(sys.stderr))
    logger.setLevel(logging.WARNING)
    provision(
        logger,
        system_session(),
        smbconf=order["smb_conf"],
        targetdir=None,
        samdb_fill=FILL_FULL,
        realm=order["domain"],
        domain=order["netbios"],
        hostname=order["host_name"],
        hostip=order.get("host_address", "127.0.0.1"),
        adminpass=order["administrator_password"],
        dns_backend=order.get("name_server", "NONE"),
        serverrole="active directory domain controller",
        backend_store=order["store"],
        dom_for_fun_level=DS_DOMAIN_FUNCTION_2008_R2,
        skip_sysvolacl=True,  # nobody mounts this share, and not every file system can hold its access lists
    )
    samdb = _open(order["smb_conf"])
    base = str(samdb.domain_dn())
    # A template may lie in the cache for longer than the 42 days after which Windows and Samba let a password expire.
    _replace(samdb, base, "maxPwdAge", _NEVER)
    for account in order["accounts"]:
        samdb.newuser(account["name"], account["password"], setpassword=True)
        found = samdb.search(
            base, expression=f"(sAMAccountName={account['name']})", attrs=["userAccountControl"]
        )
        _replace(
            samdb, str(found[0].dn), "userAccountControl", str(_NORMAL_ACCOUNT | _PASSWORD_NEVER_EXPIRES)
        )
    _write_container_access(samdb, order["readers"])
    return {"base_dn": base}


def write_tombstone_readers(order: dict[str, Any]) -> dict[str, Any]:
    """Exactly these accounts may list and read `CN=Deleted Objects`, besides the administrators."""
    _write_container_access(_open(order["smb_conf"]), order["readers"])
    return {}


def load_people(order: dict[str, Any]) -> dict[str, Any]:
    """`count` people in one organizational unit, spread over groups that are members of `parent_group`."""
    samdb = _open(order["smb_conf"], batch=True)
    base = str(samdb.domain_dn())
    unit, first, count, domain = order["ou"], order["first"], order["count"], order["mail_domain"]
    unit_dn = f"OU={unit},{base}"
    if not _exists(samdb, unit_dn):
        samdb.add({"dn": unit_dn, "objectClass": "organizationalUnit"})
    groups = [f"CN={unit} {index:03d},{unit_dn}" for index in range(1, order["groups"] + 1)]
    for group_dn in groups:
        if not _exists(samdb, group_dn):
            name = group_dn.split(",", 1)[0].removeprefix("CN=")
            samdb.add({"dn": group_dn, "objectClass": "group", "sAMAccountName": name})
    for start in range(first, first + count, _TRANSACTION_SIZE):
        numbers = range(start, min(start + _TRANSACTION_SIZE, first + count))
        samdb.transaction_start()
        try:
            for number in numbers:
                samdb.add(_person(number, unit_dn, domain))
            # Neighbours go into one group, so that a group is written by one transaction, or two, and not by every one.
            for index, group_dn in enumerate(groups):
                begin = first - (-index * count // len(groups))
                end = first - (-(index + 1) * count // len(groups))
                mine = range(max(begin, numbers.start), min(end, numbers.stop))
                _add_members(samdb, group_dn, [_person_dn(number, unit_dn) for number in mine])
        except BaseException:
            samdb.transaction_cancel()
            raise
        samdb.transaction_commit()
        sys.stderr.write(f"{numbers[-1] - first + 1} of {count} people\n")
    if order["parent_group"]:
        _add_members(samdb, order["parent_group"], groups)
    return {"ou": unit_dn, "groups": groups}


def _person_dn(number: int, unit_dn: str) -> str:
    return f"CN=Person {number:06d},{unit_dn}"


def _person(number: int, unit_dn: str, domain: str) -> dict[str, Any]:
    account = f"p{number:06d}"
    return {
        "dn": _person_dn(number, unit_dn),
        "objectClass": "user",
        "sAMAccountName": account,
        "userPrincipalName": f"{account}@{domain}",
        "userAccountControl": "544",  # enabled, and no password is asked of an account that never signs in
        "givenName": f"Given{number:06d}",
        "sn": f"Sur{number:06d}",
        "displayName": f"Given{number:06d} Sur{number:06d}",
        "mail": f"{account}@{domain}",
    }


def _add_members(samdb: Any, group_dn: str, members: list[str]) -> None:
    if members:
        message = ldb.Message(ldb.Dn(samdb, group_dn))
        message["member"] = ldb.MessageElement(members, ldb.FLAG_MOD_ADD, "member")
        samdb.modify(message)


def _replace(samdb: Any, dn: str, attribute: str, value: Any) -> None:
    message = ldb.Message(ldb.Dn(samdb, dn))
    message[attribute] = ldb.MessageElement(value, ldb.FLAG_MOD_REPLACE, attribute)
    samdb.modify(message)


def _exists(samdb: Any, dn: str) -> bool:
    try:
        samdb.search(base=dn, scope=ldb.SCOPE_BASE, attrs=["1.1"])
    except ldb.LdbError as error:
        if error.args[0] == ldb.ERR_NO_SUCH_OBJECT:
            return False
        raise
    return True


def _write_container_access(samdb: Any, readers: list[str]) -> None:
    # `samba-tool dsacl set` can't address this container: it is itself a deleted object and needs the control.
    sddl = _CONTAINER_SDDL
    for name in readers:
        found = samdb.search(
            str(samdb.domain_dn()), expression=f"(sAMAccountName={name})", attrs=["objectSid"]
        )
        if not found:
            raise LookupError(f"no account named {name}")
        sid = ndr_unpack(security.dom_sid, found[0]["objectSid"][0])
        # Inherited: a tombstone that came by replication has no rights of its own that an ordinary account could use.
        sddl += f"(A;CI;RPLC;;;{sid})"
    descriptor = security.descriptor.from_sddl(sddl, security.dom_sid(samdb.get_domain_sid()))
    message = ldb.Message(ldb.Dn(samdb, f"CN=Deleted Objects,{samdb.domain_dn()}"))
    message["nTSecurityDescriptor"] = ldb.MessageElement(
        ndr_pack(descriptor), ldb.FLAG_MOD_REPLACE, "nTSecurityDescriptor"
    )
    samdb.modify(message, controls=["show_deleted:1", "sd_flags:1:4"])


_COMMANDS = {
    "provision": provision_domain,
    "tombstone-readers": write_tombstone_readers,
    "load": load_people,
}

if __name__ == "__main__":
    answer = _COMMANDS[sys.argv[1]](json.load(sys.stdin))
    sys.stdout.write(json.dumps(answer) + "\n")

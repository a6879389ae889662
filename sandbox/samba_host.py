"""What the machine gives to the sandbox's domain: Samba's programs, a free address, and work on a domain's files."""

import hashlib
import json
import os
import random
import socket
import subprocess
from pathlib import Path
from typing import Any

from sandbox.certificates import CertificateFiles
from sandbox.domain import (
    ADMINISTRATOR_PASSWORD,
    BLIND_ACCOUNT,
    BLIND_PASSWORD,
    DOMAIN,
    HOST_NAME,
    NETBIOS,
    SERVICE_ACCOUNT,
    SERVICE_PASSWORD,
)

DEBIAN_PACKAGES = ("samba", "samba-ad-provision", "samba-dsdb-modules")  # `run` installs the same

SAMBA = Path("/usr/sbin/samba")
# The `samba` package for Python is the distribution's: no virtual environment can have it.
_SYSTEM_PYTHON = Path("/usr/bin/python3")
_OFFLINE = Path(__file__).with_name("samba_offline.py")

_SMB_CONF = """\
[global]
netbios name = {host_name}
realm = {realm}
workgroup = {netbios}
server role = active directory domain controller
server services = {services}
interfaces = {address}/8
bind interfaces only = yes
private dir = {folder}/private
state directory = {folder}/state
cache directory = {folder}/cache
lock directory = {folder}/lock
pid directory = {folder}/pid
ncalrpc dir = {folder}/ncalrpc
binddns dir = {folder}/bind-dns
ntp signd socket directory = {folder}/ntp
winbindd socket directory = {folder}/winbind
log file = {folder}/samba-%m.log
log level = 1
tls enabled = yes
tls certfile = {certificate}
tls keyfile = {key}
tls cafile = {ca}
ldb:nosync = true

[sysvol]
path = {folder}/state/sysvol
read only = no

[netlogon]
path = {folder}/state/sysvol/{domain}/scripts
read only = no
"""
_KRB5_CONF = """\
[libdefaults]
default_realm = {realm}
dns_lookup_realm = false
dns_lookup_kdc = false
dns_canonicalize_hostname = false
rdns = false
udp_preference_limit = 1

[realms]
{realm} = {{
    kdc = {address}:88
}}

[domain_realm]
.{domain} = {realm}
"""
# No name is looked up anywhere, and by TCP a KDC that is not there is noticed at once.

# "/8" after the address is needed: without it Samba finds no such interface and listens nowhere.
# "ldb:nosync" saves several fsync calls a write; a sandbox has nothing that should survive a power cut.


class SambaError(RuntimeError):
    """The domain controller can't be had; the text says why and what to do."""


def missing_for_samba() -> str:
    """Why the domain controller can't run on this machine, and what to do; empty when it can."""
    packages = " ".join(DEBIAN_PACKAGES)
    provision_data = Path("/usr/share/samba/setup/provision.ldif")
    if not (SAMBA.exists() and _SYSTEM_PYTHON.exists() and provision_data.exists()):
        return f"Samba is not installed. As root: apt-get install --no-install-recommends {packages}"
    if not _modules_exist():
        return f"Samba's directory modules are missing. As root: apt-get install --no-install-recommends {packages}"
    if os.geteuid() != 0:
        return "Samba's domain controller needs root: it owns ports 389 and 636. Start again as root, or use `--directory memory`"
    return ""


def _modules_exist() -> bool:
    return any(Path("/usr/lib").glob("*/samba/ldb/samba_dsdb.so"))


def configuration(folder: Path, address: str, services: str, files: CertificateFiles, ca_file: Path) -> str:
    return _SMB_CONF.format(
        host_name=HOST_NAME.upper(),
        realm=DOMAIN.upper(),
        domain=DOMAIN,
        netbios=NETBIOS,
        services=services,
        address=address,
        folder=folder,
        certificate=files.certificate.absolute(),
        key=files.key.absolute(),
        ca=ca_file.absolute(),
    )


def kerberos_configuration(address: str) -> str:
    return _KRB5_CONF.format(realm=DOMAIN.upper(), domain=DOMAIN, address=address)


def export_keytab(smb_conf: Path, account: str, keytab: Path) -> None:
    done = subprocess.run(
        ["samba-tool", "domain", "exportkeytab", str(keytab), f"--principal={account}", "-s", str(smb_conf)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if done.returncode != 0 or not keytab.exists():
        raise SambaError(f"samba-tool could not export the keytab of {account}: {done.stderr.strip()[-500:]}")


def provision(smb_conf: Path, store: str, **more: str) -> None:
    """`more` replaces or adds to what the script is told: see `provision_domain` there."""
    order = {
        "smb_conf": str(smb_conf),
        "domain": DOMAIN,
        "netbios": NETBIOS,
        "host_name": HOST_NAME,
        "administrator_password": ADMINISTRATOR_PASSWORD,
        "store": store,
        "accounts": [
            {"name": SERVICE_ACCOUNT, "password": SERVICE_PASSWORD},
            {"name": BLIND_ACCOUNT, "password": BLIND_PASSWORD},
        ],
        "readers": [SERVICE_ACCOUNT],
        **more,
    }
    change_files("provision", order, seconds=180.0)


def template_name() -> str:
    """Changes with the program, with this folder's script and with the values given to it."""
    program = SAMBA.stat()
    parts = (
        program.st_size,
        program.st_mtime_ns,
        _SMB_CONF,
        DOMAIN,
        ADMINISTRATOR_PASSWORD,
        SERVICE_PASSWORD,
        BLIND_PASSWORD,
    )
    return hashlib.sha256(repr(parts).encode() + _OFFLINE.read_bytes()).hexdigest()[:12]


def free_address(ports: tuple[int, ...]) -> str:
    """Samba's ports can't be moved, so every instance gets an address of its own from 127.0.0.0/8."""
    refusal: OSError | None = None
    for _ in range(50):
        address = f"127.{random.randint(64, 126)}.{random.randint(0, 255)}.{random.randint(1, 254)}"
        try:
            for port in ports:
                with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    probe.bind((address, port))
        except OSError as error:
            refusal = error
            continue
        return address
    raise SambaError(
        f"No address of 127.0.0.0/8 is free at ports {', '.join(map(str, ports))}: {refusal}."
        " A directory server that listens on 0.0.0.0 takes them all: stop it, or use `--directory memory`."
    )


def change_files(command: str, order: dict[str, Any], *, seconds: float = 60.0) -> dict[str, Any]:
    done = subprocess.run(
        # Isolated: else this folder would be on the import path, and our samba.py would be taken for the package.
        [_SYSTEM_PYTHON, "-I", _OFFLINE, command],
        input=json.dumps(order),
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    if done.returncode != 0:
        lines = "\n".join(f"    {line}" for line in done.stderr.splitlines()[-15:])
        raise SambaError(
            f"Samba's `{command}` ended with status {done.returncode}:\n{lines}\n"
            f"To do: apt-get install --reinstall --no-install-recommends {' '.join(DEBIAN_PACKAGES)}, or use `--directory memory`."
        )
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer

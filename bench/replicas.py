"""Two domain controllers of one domain that replicate, on one machine: for failing over from one to the other.

They need addresses that are no loopback ones, a name server, and files under /etc of their own, so all of it lives in a network
and mount namespace that ends with the process: `in_namespace` starts this program anew inside of one. Nothing of the machine
is changed. The pair is made once (a minute) and kept in `cache`; later ones are copies.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from sandbox.certificates import Authority
from sandbox.domain import (
    ADMINISTRATOR_PASSWORD,
    DOMAIN,
    NETBIOS,
    DomainFacts,
)
from sandbox.samba import DomainAdministrator, SambaError, missing_for_samba
from sandbox.samba_host import SAMBA, provision, template_name

# In the namespace only: always the same, since Samba writes absolute paths into its files.
HOME = Path("/mnt/pair")
ADDRESSES = {
    "dc1": "10.77.1.1",
    "dc2": "10.77.2.1",
}  # in two networks: within one Samba takes the first for both
BASE_DN = ",".join(f"DC={part}" for part in DOMAIN.split("."))
_CREDENTIALS = (f"--username={NETBIOS}\\Administrator%{ADMINISTRATOR_PASSWORD}",)
_START_SECONDS, _REPLICATION_SECONDS = 60.0, 90.0
# A process namespace too: its end is the end of all controllers, however they were started.
_UNSHARE = ("unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
_TOOLS = ("unshare", "mount", "ip", "samba-tool")

_SMB_CONF = """\
[global]
netbios name = {name}
realm = {realm}
workgroup = {netbios}
server role = active directory domain controller
server services = rpc, ldap, cldap, kdc, drepl, dns
interfaces = {address}/24
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
dreplsrv:periodic_startup_interval = 1
dreplsrv:periodic_interval = 2
dreplsrv:notify_interval = 1

[sysvol]
path = {folder}/state/sysvol
read only = no

[netlogon]
path = {folder}/state/sysvol/{domain}/scripts
read only = no
"""


def missing_for_replicas() -> str:
    """Why the pair can't run on this machine; empty when it can."""
    if missing := missing_for_samba():
        return missing
    absent = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if absent:
        return f"missing programs: {', '.join(absent)}"
    done = subprocess.run(
        ["unshare", "--net", "--mount", "true"], capture_output=True, check=False, timeout=10
    )
    return "" if done.returncode == 0 else "no namespaces may be made here (unshare --net --mount)"


def in_namespace(
    module: str, arguments: Sequence[str], *, seconds: float
) -> subprocess.CompletedProcess[str]:
    """Runs `python -m module` in a network and mount namespace of its own; what it started ends with it."""
    return subprocess.run(
        [*_UNSHARE, sys.executable, "-W", "ignore", "-m", module, *arguments],
        cwd=Path(__file__).resolve().parents[1],
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )


class ReplicaPair:
    """Both controllers. Inside the namespace only."""

    def __init__(self, cache: Path) -> None:
        self._cache = cache
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._prepare_namespace()

    def facts(self, name: str) -> DomainFacts:
        return DomainFacts(ADDRESSES[name], HOME / "ca" / "ca.pem", host_name=f"{name}.{DOMAIN}")

    def administrator(self, name: str) -> DomainAdministrator:
        return DomainAdministrator(self.facts(name))

    def open_blocking(self) -> None:
        """Both run, and have replicated once in each direction."""
        key = hashlib.sha256(Path(__file__).read_bytes() + template_name().encode()).hexdigest()
        template = self._cache / f"replicas-{key[:12]}.tar"
        if template.exists():
            with tarfile.open(template) as archive:
                archive.extractall(HOME, filter="fully_trusted")
            for name in ADDRESSES:
                self._write_conf(name)  # with a certificate that has not run out
                self.start_blocking(name)
        else:
            self._make_domain()
            self._stop_all()
            self._cache.mkdir(parents=True, exist_ok=True)
            unfinished = template.with_suffix(f".{os.getpid()}")
            with tarfile.open(unfinished, "w") as archive:
                for name in ("dc1", "dc2"):
                    archive.add(HOME / name, name, filter=_without_sockets)
            unfinished.rename(template)
            for name in ADDRESSES:
                self.start_blocking(name)
        self.wait_for_replication_blocking()

    def close_blocking(self) -> None:
        self._stop_all()

    def start_blocking(self, name: str) -> None:
        folder = HOME / name
        with (folder / "samba.log").open("ab") as log:
            # One process for all deadlocked once two controllers talked to each other.
            self._processes[name] = subprocess.Popen(
                [SAMBA, "--interactive", "--model=standard", f"--configfile={folder / 'smb.conf'}"],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=folder,
                start_new_session=True,
            )
        _wait_until(lambda: self._answers(name), _START_SECONDS, f"{name} does not answer")

    def kill_blocking(self, name: str) -> None:
        """An outage: no goodbye to the clients."""
        process = self._processes.pop(name)
        os.killpg(process.pid, 9)
        process.wait()

    def wait_for_replication_blocking(self) -> None:
        """What was written on either is on the other: a mark is written on each and awaited on the other."""
        for source, target in (("dc1", "dc2"), ("dc2", "dc1")):
            mark = str(time.time_ns())
            with self.administrator(source) as admin:
                admin.modify("Guest", description=mark)
            deadline = time.monotonic() + _REPLICATION_SECONDS
            with self.administrator(target) as admin:
                while admin.read("Guest", "description").get("description") != [mark]:
                    if time.monotonic() > deadline:
                        raise SambaError(f"no replication from {source} to {target}")
                    self._pull(target, source)

    def _pull(self, target: str, source: str) -> None:
        """Asks for it, rather than waiting for the timer."""
        names = (f"{target}.{DOMAIN}", f"{source}.{DOMAIN}")
        conf = f"--configfile={HOME / target / 'smb.conf'}"
        _tool(["drs", "replicate", *names, BASE_DN, conf, *_CREDENTIALS], may_fail=True)

    def _answers(self, name: str) -> bool:
        process = self._processes[name]
        if process.poll() is not None:
            log = (HOME / name / "samba.log").read_text(errors="replace").splitlines()[-15:]
            raise SambaError(f"{name} ended with status {process.returncode}:\n" + "\n".join(log))
        try:
            with self.administrator(name) as admin:
                return admin.exists("Guest")
        except Exception:  # noqa: BLE001 - whatever it is, it is not there yet
            return False

    def _stop_all(self) -> None:
        for name, process in list(self._processes.items()):
            if process.stdin is not None:
                process.stdin.close()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, 9)
                process.wait()
            del self._processes[name]

    def _prepare_namespace(self) -> None:
        _run("mount", "--make-rprivate", "/")
        _run("mount", "-t", "tmpfs", "tmpfs", "/mnt")
        HOME.mkdir()
        _run("ip", "link", "set", "lo", "up")
        for address in ADDRESSES.values():
            _run("ip", "address", "add", f"{address}/24", "dev", "lo")
        names = "".join(f"{address} {name}.{DOMAIN} {name}\n" for name, address in ADDRESSES.items())
        files = {
            "resolv.conf": f"nameserver {ADDRESSES['dc1']}\nnameserver {ADDRESSES['dc2']}\noptions timeout:1\nsearch {DOMAIN}\n",
            "hosts": f"127.0.0.1 localhost\n{names}",
        }
        for name, text in files.items():
            (HOME / name).write_text(text)
            _run("mount", "--bind", str(HOME / name), str(Path("/etc", name).resolve()))
        kerberos = "".join(f"  kdc = {address}\n" for address in ADDRESSES.values())
        (HOME / "krb5.conf").write_text(
            f"[libdefaults]\n default_realm = {DOMAIN.upper()}\n dns_lookup_realm = false\n"
            f"[realms]\n {DOMAIN.upper()} = {{\n{kerberos} }}\n"
        )
        os.environ["KRB5_CONFIG"] = str(HOME / "krb5.conf")
        self._authority = Authority(HOME / "ca")

    def _make_domain(self) -> None:
        for name in ADDRESSES:
            (HOME / name).mkdir()
        conf = self._write_conf("dc1")
        # Not by `samba-tool`, which sets rights on files that no one mounts, with a module that is a package of its own.
        provision(conf, "tdb", host_name="dc1", host_address=ADDRESSES["dc1"], name_server="SAMBA_INTERNAL")
        self.start_blocking("dc1")
        _register_services(conf)
        _tool(
            [
                "domain",
                "join",
                DOMAIN,
                "DC",
                f"--server=dc1.{DOMAIN}",
                "--dns-backend=SAMBA_INTERNAL",
                "--option=netbios name=dc2",
                *self._options("dc2"),
                *_CREDENTIALS,
            ]
        )
        conf = self._write_conf("dc2")
        self.start_blocking("dc2")
        _register_services(conf)
        self.wait_for_replication_blocking()

    @staticmethod
    def _options(name: str) -> list[str]:
        interfaces = f"interfaces={ADDRESSES[name]}/24"
        options = (interfaces, "bind interfaces only=yes", "ldb:nosync=true")
        return [f"--targetdir={HOME / name}", *(f"--option={option}" for option in options)]

    def _write_conf(self, name: str) -> Path:
        folder = HOME / name
        for each in ("private", "state", "cache", "lock", "pid", "ncalrpc", "bind-dns", "ntp", "winbind"):
            (folder / each).mkdir(exist_ok=True)
        files = self._authority.issue(ADDRESSES[name], f"{name}.{DOMAIN}", DOMAIN)
        text = _SMB_CONF.format(
            name=name.upper(),
            realm=DOMAIN.upper(),
            netbios=NETBIOS,
            domain=DOMAIN,
            address=ADDRESSES[name],
            folder=folder,
            certificate=files.certificate,
            key=files.key,
            ca=self._authority.ca_file,
        )
        conf = folder / "smb.conf"
        conf.write_text(text)
        return conf


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=30)


def _register_services(conf: Path) -> None:
    """The names under which Kerberos knows the controller; Samba's service `dnsupdate` would do it in its own time."""
    subprocess.run(
        ["/usr/sbin/samba_spnupdate", f"--configfile={conf}"],
        cwd=HOME,
        capture_output=True,
        timeout=60,
        check=True,
    )


def _tool(arguments: Sequence[str], *, may_fail: bool = False) -> None:
    done = subprocess.run(
        ["samba-tool", *arguments], cwd=HOME, capture_output=True, text=True, timeout=180, check=False
    )
    if done.returncode and not may_fail:
        raise SambaError(
            f"samba-tool {' '.join(arguments[:2])} failed:\n{done.stdout[-1500:]}\n{done.stderr[-3000:]}"
        )


def _without_sockets(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return entry if entry.isfile() or entry.isdir() or entry.issym() or entry.islnk() else None


def _wait_until(is_so: Callable[[], bool], seconds: float, otherwise: str) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > deadline:
            raise SambaError(f"{otherwise} after {seconds:.0f} s")
        time.sleep(0.05)

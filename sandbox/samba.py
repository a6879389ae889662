"""A real Active Directory domain on loopback: Samba as a domain controller, private to one folder.

Nothing of the machine's own Samba is read or written. The process can't outlive us: Samba ends when the pipe on its standard
input closes, which the kernel does for us even after `kill -9`. (A parent-death signal would not do: it follows the *thread*
that started the child, and worker threads come and go.)
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import anyio
import anyio.to_thread
from filelock import FileLock

from sandbox.certificates import Authority
from sandbox.domain import DOMAIN, HOST_NAME, SERVICE_ACCOUNT, DomainFacts
from sandbox.samba_admin import DomainAdministrator
from sandbox.samba_host import (
    SAMBA,
    SambaError,
    change_files,
    configuration,
    export_keytab,
    free_address,
    kerberos_configuration,
    missing_for_samba,
    provision,
    template_name,
)

__all__ = ["DomainAdministrator", "DomainFacts", "SambaDomain", "SambaError", "missing_for_samba"]

_PORTS = (389, 636, 3268, 3269)
_KERBEROS_PORTS = (88, 464)
_START_SECONDS = 30.0
_STOP_SECONDS = 5.0
_LONGEST_FOLDER = 75  # a socket's path ends at 107 characters, and Samba adds up to 30 to the folder's


class SambaDomain:
    """One domain controller. May be stopped and started again: address, data and authority stay the same."""

    def __init__(
        self,
        folder: Path,
        authority: Authority,
        *,
        cache: Path | None = None,
        store: Literal["tdb", "mdb"] = "tdb",
        kerberos: bool = False,
    ) -> None:
        """`cache` keeps a pristine domain; new ones are copies of it (0.1 s, not 5 s), so they share the domain's SID and the
        server's invocation id. `store="mdb"` is for more than a few thousand people. With `kerberos` there is a KDC beside it, and a
        Kerberos bind is taken inside TLS; clients are led there by `krb5_conf`, never by the machine's own configuration.
        """
        self._folder = folder.absolute()
        self._authority = authority
        self._cache = cache
        self._store = store
        self._kerberos = kerberos
        self._services = "ldap, kdc" if kerberos else "ldap"
        self._ports = _PORTS + _KERBEROS_PORTS if kerberos else _PORTS
        self._address = ""
        self._readers = {SERVICE_ACCOUNT}
        self._short: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self.log_file = self._folder / "samba.log"
        self.krb5_conf = self._folder / "krb5.conf"  # for KRB5_CONFIG

    @property
    def facts(self) -> DomainFacts:
        if not self._address:
            raise SambaError("the sandbox's domain was not started yet")
        return DomainFacts(self._address, self._authority.ca_file)

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def administrator(self) -> DomainAdministrator:
        return DomainAdministrator(self.facts)

    async def start(self) -> DomainFacts:
        return await anyio.to_thread.run_sync(self.start_blocking)

    async def stop(self) -> None:
        with anyio.CancelScope(shield=True):  # a few seconds at most; nothing may be left running
            await anyio.to_thread.run_sync(self.stop_blocking)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def grant_tombstone_right(self, account: str) -> None:
        """`account` (a sAMAccountName) may list and read `CN=Deleted Objects` from its next request on."""
        await anyio.to_thread.run_sync(self.change_tombstone_right_blocking, account, True)

    async def strip_tombstone_right(self, account: str) -> None:
        await anyio.to_thread.run_sync(self.change_tombstone_right_blocking, account, False)

    async def load_people(self, count: int, *, group: str = "", groups: int = 1, first: int = 1) -> list[str]:
        """`count` people in OU=Bulk, in `groups` groups that are put into `group` (a DN); answers the groups' DNs."""
        return await anyio.to_thread.run_sync(
            lambda: self.load_people_blocking(count, group=group, groups=groups, first=first)
        )

    def start_blocking(self) -> DomainFacts:
        if self.is_running:
            return self.facts
        if missing := missing_for_samba():
            raise SambaError(missing)
        self._folder.mkdir(parents=True, exist_ok=True)
        if not (self._folder / "private" / "sam.ldb").exists():
            self._make_domain()
        for attempt in range(3):
            address = self._address or free_address(self._ports)
            self._write_conf(self._folder, address)
            self._process = self._spawn()
            try:
                self._wait_until_ready(address)
            except SambaError:
                self.stop_blocking()
                # Somebody may have taken the ports between our look and Samba's. A second start must keep its address.
                if self._address or attempt == 2:
                    raise
            except BaseException:
                self.stop_blocking()
                raise
            else:
                self._address = address
                break
        if self._kerberos:
            self._register_services()
        return self.facts

    def stop_blocking(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            if process.stdin is not None:
                process.stdin.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_STOP_SECONDS)
            _kill_group(process)  # also children, should any be left: the group is ours alone
        if self._short is not None:
            shutil.rmtree(self._short, ignore_errors=True)
            self._short = None

    def kill_blocking(self) -> None:
        """An outage: no goodbye to the clients."""
        if self._process is not None:
            _kill_group(self._process)
        self.stop_blocking()

    def change_tombstone_right_blocking(self, account: str, granted: bool) -> None:
        readers = self._readers | {account} if granted else self._readers - {account}
        change_files(
            "tombstone-readers", {"smb_conf": str(self._conf(self._folder)), "readers": sorted(readers)}
        )
        self._readers = readers

    def export_keytab_blocking(self, account: str, keytab: Path) -> None:
        """Adds the present keys of `account` (a sAMAccountName) to the file `keytab`."""
        export_keytab(self._conf(self._folder), account, keytab)

    def load_people_blocking(
        self, count: int, *, group: str = "", groups: int = 1, first: int = 1
    ) -> list[str]:
        answer = change_files(
            "load",
            {
                "smb_conf": str(self._conf(self._folder)),
                "ou": "Bulk",
                "first": first,
                "count": count,
                "groups": groups,
                "parent_group": group,
                "mail_domain": DOMAIN,
            },
            seconds=7200.0,
        )
        return [str(dn) for dn in answer["groups"]]

    def _make_domain(self) -> None:
        if self._cache is None:
            self._provision(self._folder)
            return
        self._cache.mkdir(parents=True, exist_ok=True)
        template = self._cache.absolute() / f"domain-{self._store}-{template_name()}"
        if not template.exists():
            with FileLock(
                f"{template}.lock"
            ):  # test workers start together: one provisions, the others wait for it
                if not template.exists():
                    unfinished = Path(tempfile.mkdtemp(prefix="unfinished-", dir=self._cache))
                    try:
                        self._provision(unfinished)
                        unfinished.rename(template)
                    finally:
                        shutil.rmtree(unfinished, ignore_errors=True)
        shutil.copytree(template, self._folder, dirs_exist_ok=True)

    def _provision(self, folder: Path) -> None:
        self._write_conf(folder, "127.0.0.1")
        provision(self._conf(folder), self._store)

    @staticmethod
    def _conf(folder: Path) -> Path:
        return folder / "smb.conf"

    def _write_conf(self, folder: Path, address: str) -> None:
        for name in ("private", "state", "cache", "lock", "pid", "ncalrpc", "bind-dns", "ntp", "winbind"):
            (folder / name).mkdir(exist_ok=True)
        files = self._authority.issue(address, f"{HOST_NAME}.{DOMAIN}", DOMAIN)
        text = configuration(
            self._socket_safe(folder), address, self._services, files, self._authority.ca_file
        )
        if self._kerberos:
            # A bind by Kerberos without signing of its own is taken where TLS signs already (ldap3 2.9.1 has none).
            text += "\n[global]\nldap server require strong auth = allow_sasl_over_tls\n"
        self._conf(folder).write_text(text, encoding="utf-8")
        (folder / "krb5.conf").write_text(kerberos_configuration(address), encoding="utf-8")

    def _socket_safe(self, folder: Path) -> Path:
        """The folder itself, or a short link to it where Samba's sockets would get too long a path."""
        if folder != self._folder or len(str(folder)) <= _LONGEST_FOLDER:
            return folder
        if self._short is None:
            self._short = Path(tempfile.mkdtemp(prefix="ad-"))
            (self._short / "d").symlink_to(folder)
        return self._short / "d"

    def _spawn(self) -> subprocess.Popen[bytes]:
        with self.log_file.open("wb") as log:
            return subprocess.Popen(
                [SAMBA, "--interactive", "--model=single", f"--configfile={self._conf(self._folder)}"],
                stdin=subprocess.PIPE,  # the lifeline, see above
                env={**os.environ, "KRB5_CONFIG": str(self.krb5_conf)},
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self._folder,
                start_new_session=True,  # Ctrl-C in a terminal is for us; we stop Samba when we are done with it
            )

    def _register_services(self) -> None:
        """What a client asks the KDC for. Samba's own update of it is part of a service that does not run here."""
        with self.administrator() as administrator:
            name = f"{HOST_NAME}.{DOMAIN}"
            services = [f"HOST/{name}", f"ldap/{name}", f"ldap/{name}/{DOMAIN}"]
            administrator.modify(f"{HOST_NAME.upper()}$", servicePrincipalName=services)

    def _wait_until_ready(self, address: str) -> None:
        deadline = time.monotonic() + _START_SECONDS
        facts = DomainFacts(address, self._authority.ca_file)
        while True:
            assert self._process is not None
            if self._process.poll() is not None:
                raise SambaError(self._failure(f"Samba ended with status {self._process.returncode}"))
            try:
                socket.create_connection((address, 636), timeout=1).close()
            except OSError:
                if time.monotonic() > deadline:
                    raise SambaError(
                        self._failure(f"nothing answers on {address}:636 after {_START_SECONDS:.0f} s")
                    ) from None
                time.sleep(0.01)
                continue
            break
        account = DomainAdministrator(facts, user=facts.service_account, password=facts.service_password)
        try:
            account.connect()
        except Exception as error:
            raise SambaError(
                self._failure(f"the service account can't sign in on {address}: {error}")
            ) from error
        finally:
            account.close()

    def _failure(self, what: str) -> str:
        try:
            lines = self.log_file.read_text(encoding="utf-8", errors="replace").splitlines()[-15:]
        except OSError:
            lines = []
        ports = ", ".join(map(str, self._ports))
        return "\n".join(
            [
                f"The sandbox's domain controller did not start: {what}.",
                f"The last lines of {self.log_file}:",
                *(f"    {line}" for line in lines),
                f"To do: be root, and see that nothing listens on 0.0.0.0 at ports {ports}. If that is so, delete",
                f"{self._cache or self._folder} and start again, or use `--directory memory`.",
            ]
        )


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()

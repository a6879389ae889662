"""A mail server that others wrote: a private Postfix with STARTTLS and SASL, on addresses of loopback and in a folder of its own.

Its programs are unpacked from Debian's packages, not installed (`run test` does that), so no mail server of the machine is
replaced and nothing starts at boot. It needs root: Postfix gives up its rights by itself.
"""

import contextlib
import email.policy
import os
import random
import shutil
import socket
import subprocess
import tempfile
import time
from email.message import EmailMessage
from email.parser import BytesParser
from pathlib import Path

from sandbox.certificates import Authority

HOME = Path(__file__).resolve().parents[1] / ".sandbox" / "postfix"
DOMAIN = "example.test"
_START_SECONDS = 30.0
_OWNER, _SETGID_GROUP, _DELIVERER = (
    "mail",
    "games",
    "nobody",
)  # accounts of any Debian; Postfix wants them to differ

_QUEUES = [
    "active",
    "bounce",
    "corrupt",
    "defer",
    "deferred",
    "flush",
    "hold",
    "incoming",
    "maildrop",
    "private",
    "public",
    "saved",
    "trace",
]

_MAIN = """\
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
command_directory = {home}/usr/sbin
daemon_directory = {home}/usr/lib/postfix/sbin
shlib_directory = {home}/usr/lib/postfix
meta_directory = {home}/etc/postfix
import_environment = LD_LIBRARY_PATH={libraries} SASL_PATH={plugins} MAIL_CONFIG={folder}/etc PATH=/usr/bin:/bin
export_environment = LD_LIBRARY_PATH PATH
mail_owner = {owner}
setgid_group = {group}
default_privs = {deliverer}
maillog_file = {folder}/mail.log
maillog_file_prefixes = {folder}
inet_interfaces = loopback-only
inet_protocols = ipv4
myhostname = mail.{domain}
mydestination =
mynetworks =
local_recipient_maps =
alias_maps =
alias_database =
virtual_mailbox_domains = {domain}
virtual_mailbox_base = {folder}/mail
virtual_mailbox_maps = static:all/
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
virtual_minimum_uid = 1
smtpd_relay_restrictions = reject_unauth_destination
smtpd_tls_cert_file = {certificate}
smtpd_tls_key_file = {key}
smtpd_tls_session_cache_database =
"""

# Port by port as in the wild: submission with a password inside STARTTLS, its older sibling, and a relay that asks nobody.
_MASTER = """\
{address}:587 inet n - n - - smtpd -o smtpd_tls_security_level=encrypt -o smtpd_tls_auth_only=yes -o smtpd_sasl_auth_enable=yes -o smtpd_recipient_restrictions=permit_sasl_authenticated,reject
{address}:465 inet n - n - - smtpd -o smtpd_tls_wrappermode=yes -o smtpd_sasl_auth_enable=yes -o smtpd_recipient_restrictions=permit_sasl_authenticated,reject
{address}:25 inet n - n - - smtpd -o smtpd_tls_security_level=may
{bare}:25 inet n - n - - smtpd -o smtpd_tls_security_level=none
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
virtual unix - n n - - virtual
error unix - - n - - error
retry unix - - n - - error
tlsmgr unix - - n 1000? 1 tlsmgr
anvil unix - - n - 1 anvil
proxymap unix - - n - - proxymap
postlog unix-dgram n - n - 1 postlogd
"""


def missing_for_postfix() -> str:
    """Why there can be none here; "" when there can."""
    if os.geteuid() != 0:
        return "Postfix needs root to start"
    master = HOME / "usr/lib/postfix/sbin/master"
    if not master.exists():
        return "Postfix is not there: ./run test unpacks it where there is apt-get"
    missing = [
        line.split()[0]
        for program in (master, master.with_name("smtpd"), HOME / "usr/sbin/saslpasswd2")
        for line in _output("ldd", str(program)).splitlines()
        if "not found" in line
    ]
    return f"libraries of Postfix are missing: {', '.join(sorted(set(missing)))}" if missing else ""


class Postfix:
    """`address` answers on 25, 465 and 587, `bare` on 25 and without TLS."""

    def __init__(self, authority: Authority, *, username: str, password: str) -> None:
        self.username, self.password = f"{username}@{DOMAIN}", password
        self.address, self.bare = _free_address(), _free_address()
        self._authority = authority
        # Not in a folder of the tests: those are closed to the accounts that Postfix turns to.
        self.folder = Path(tempfile.mkdtemp(prefix="ad-connector-postfix-"))
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._write()
        self._process = subprocess.Popen(
            [HOME / "usr/lib/postfix/sbin/master", "-c", self.folder / "etc", "-d"],
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + _START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(f"Postfix did not start: {self.log()}")
            time.sleep(0.05)

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()  # its children end with it
            self._process.wait(30)
            self._process = None
        shutil.rmtree(self.folder, ignore_errors=True)

    def log(self) -> str:
        file = self.folder / "mail.log"
        return file.read_text(encoding="utf-8", errors="replace") if file.exists() else ""

    def messages(self) -> list[EmailMessage]:
        """What was delivered, in order."""
        parser = BytesParser(policy=email.policy.default)
        files = sorted((self.folder / "mail/all/new").glob("*"), key=lambda one: one.stat().st_mtime_ns)
        return [parser.parsebytes(file.read_bytes()) for file in files]

    def _answers(self) -> bool:
        for address, port in ((self.address, 25), (self.address, 587), (self.address, 465), (self.bare, 25)):
            try:
                socket.create_connection((address, port), timeout=1).close()
            except OSError:
                return False
        return True

    def _write(self) -> None:
        self.folder.chmod(0o755)
        for name in ("etc/sasl", "data", "mail", "queue/pid", *(f"queue/{one}" for one in _QUEUES)):
            (self.folder / name).mkdir(parents=True)
        for name in ("data", *(f"queue/{one}" for one in _QUEUES)):
            shutil.chown(self.folder / name, _OWNER)
            (self.folder / name).chmod(0o755 if name == "queue/public" else 0o700)
        shutil.chown(self.folder / "mail", _DELIVERER)
        status = (self.folder / "mail").stat()
        gid = int(_output("id", "-g", _DELIVERER))
        files = self._authority.issue(self.address, self.bare)
        values = {
            "folder": self.folder,
            "home": HOME,
            "libraries": HOME / "usr/lib/postfix",
            "plugins": _plugins(),
            "owner": _OWNER,
            "group": _SETGID_GROUP,
            "deliverer": _DELIVERER,
            "domain": DOMAIN,
            "uid": status.st_uid,
            "gid": gid,
            "certificate": files.certificate,
            "key": files.key,
            "address": self.address,
            "bare": self.bare,
        }
        (self.folder / "etc/main.cf").write_text(_MAIN.format(**values))
        (self.folder / "etc/master.cf").write_text(_MASTER.format(**values))
        database = self.folder / "sasldb2"
        (self.folder / "etc/sasl/smtpd.conf").write_text(
            f"pwcheck_method: auxprop\nauxprop_plugin: sasldb\nsasldb_path: {database}\nmech_list: PLAIN LOGIN\n"
        )
        subprocess.run(
            [
                HOME / "usr/sbin/saslpasswd2",
                "-p",
                "-c",
                "-f",
                database,
                "-u",
                DOMAIN,
                self.username.partition("@")[0],
            ],
            input=self.password.encode(),
            check=True,
            env=_environment(),
            capture_output=True,
        )
        shutil.chown(database, _OWNER)


def _environment() -> dict[str, str]:
    return {
        "PATH": "/usr/bin:/bin",
        "LD_LIBRARY_PATH": str(HOME / "usr/lib/postfix"),
        "SASL_PATH": str(_plugins()),
    }


def _plugins() -> Path:
    """The unpacked SASL mechanisms; the folder has the machine's architecture in its name."""
    return next(HOME.glob("usr/lib/*/sasl2"), HOME / "usr/lib/sasl2")


def _output(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=_environment())
    return done.stdout


def _free_address() -> str:
    """One on loopback with nobody on the ports of mail."""
    while True:
        address = f"127.{random.randint(64, 126)}.{random.randint(1, 254)}.{random.randint(1, 254)}"
        with contextlib.ExitStack() as stack:
            try:
                for port in (25, 465, 587):
                    stack.enter_context(socket.socket()).bind((address, port))
            except OSError:
                continue
        return address

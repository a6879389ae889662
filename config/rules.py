"""Rules between keys: what one key demands of another. Each fault names all the keys it looked at."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from config.sections import Directory, Groups, JournalSettings, LogSettings, Mail, Service
from config.values import is_loopback

# What TLS means on the ports that mean something (RFC 8314 for 465, RFC 6409 for 587; behaviour §10).
_PORTS = {
    587: (frozenset({"auto", "starttls"}), 'STARTTLS is required on port 587: security "auto" or "starttls"'),
    465: (frozenset({"auto", "tls"}), 'port 465 speaks TLS from the first byte: security "auto" or "tls"'),
    25: (
        frozenset({"auto", "starttls", "none"}),
        'port 25 does not speak TLS from the first byte: use "auto"',
    ),
}


@dataclass(frozen=True, slots=True)
class Fault:
    """`keys[0]` is where the fault is shown; if another key of `keys` is broken by itself, this one is moot."""

    keys: tuple[str, ...]
    text: str


def broken(
    directory: Directory,
    groups: Groups,
    journal: JournalSettings,
    log: LogSettings,
    mail: Mail,
    service: Service,
) -> tuple[Fault, ...]:
    """All rules that do not hold."""
    return (*_directory(directory), *_groups(groups), *_files(journal, log), *_mail(mail), *_service(service))


def _directory(directory: Directory) -> Iterator[Fault]:
    if not directory.servers and not directory.domain:
        yield Fault(
            ("directory.servers", "directory.domain"),
            "give the addresses of domain controllers here, or the domain's name as directory.domain",
        )
    plain = [server for server in directory.servers if urlsplit(server).scheme == "ldap"]
    if plain and not directory.start_tls:
        yield Fault(
            ("directory.servers", "directory.start_tls"),
            f"{plain[0]} would send the password in the clear: use ldaps:// or set start_tls = true",
        )
    if directory.auth == "kerberos":
        if directory.keytab and directory.ccache:
            yield Fault(("directory.ccache", "directory.keytab"), "can't be used together with a keytab")
        if directory.keytab and not directory.username:
            yield Fault(
                ("directory.username", "directory.keytab"),
                "is needed with a keytab: the name whose key it holds",
            )
        return
    for name in ("keytab", "ccache"):
        if getattr(directory, name):
            yield Fault((f"directory.{name}", "directory.auth"), 'is used only with auth = "kerberos"')
    if not directory.username:
        yield Fault(("directory.username", "directory.auth"), 'is needed with auth = "simple"')
    if not directory.password.is_set:
        yield Fault(
            ("directory.password", "directory.auth"),
            'is needed with auth = "simple": an empty password would bind as nobody',
        )


def _groups(groups: Groups) -> Iterator[Fault]:
    if groups.mode == "separate" and not groups.sync_group:
        yield Fault(("groups.sync_group", "groups.mode"), 'is needed with mode = "separate"')


def _files(journal: JournalSettings, log: LogSettings) -> Iterator[Fault]:
    if log.path == journal.path:
        yield Fault(("log.path", "journal.path"), "must be another file than the journal")


def _mail(mail: Mail) -> Iterator[Fault]:
    if mail.enabled:
        if not mail.host:
            yield Fault(("mail.host", "mail.enabled"), "is needed with enabled = true")
        if not mail.sender:
            yield Fault(("mail.sender", "mail.enabled"), "is needed with enabled = true")
        if not mail.recipients:
            yield Fault(("mail.recipients", "mail.enabled"), "at least one is needed with enabled = true")
    if mail.security == "none" and mail.username:
        yield Fault(
            ("mail.username", "mail.security"),
            'can\'t be used with security = "none": it would be sent in the clear',
        )
    elif mail.port not in _PORTS:
        if mail.security == "auto":
            yield Fault(
                ("mail.security", "mail.port"),
                'must be given ("starttls", "tls" or "none") with a port other than 587, 25 and 465',
            )
    elif mail.security not in _PORTS[mail.port][0]:
        yield Fault(("mail.security", "mail.port"), _PORTS[mail.port][1])
    if mail.username and not mail.password.is_set:
        yield Fault(("mail.password", "mail.username"), "is needed with a username")


def _service(service: Service) -> Iterator[Fault]:
    has_certificate, has_key = service.tls_certificate is not None, service.tls_key is not None
    if has_certificate != has_key:
        name, other = ("tls_key", "tls_certificate") if has_certificate else ("tls_certificate", "tls_key")
        yield Fault((f"service.{name}", f"service.{other}"), f"is needed with {other}")
    elif not has_certificate and service.listen and not is_loopback(_host_of(service.listen)):
        # The console shows names (behaviour §10 wants TLS off this machine).
        yield Fault(
            ("service.listen", "service.tls_certificate"),
            "must be a loopback address, or be given a certificate with tls_certificate and tls_key",
        )


def _host_of(listen: str) -> str:
    return urlsplit(f"tcp://{listen}").hostname or ""

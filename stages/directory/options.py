"""What the directory stage is told: where, as whom, and how to read changes."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from pipeline.errors import ConfigurationError

_GLOBAL_CATALOG_PORTS = frozenset({3268, 3269})
_DEFAULT_PORTS = {"ldaps": 636, "ldap": 389}
_ATTRIBUTE_NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]*")


@dataclass(frozen=True, slots=True)
class Target:
    """One server to try: `host` is the name that its certificate must show."""

    host: str
    port: int
    implicit_tls: bool

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'ldaps' if self.implicit_tls else 'ldap'}://{host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectoryOptions:
    """The section [directory]. Either `servers` (tried in order) or `domain` (found by DNS).

    `ca_file` is a path, or "" for the system's authorities. With auth = "kerberos" there is no password: tickets are got with
    the `keytab` (a path), else taken from `ccache` (a path or TYPE:NAME, "" for the default one).
    ConfigurationError names all faults at once.
    """

    servers: tuple[str, ...] = ()
    domain: str = ""
    auth: str = "simple"
    username: str = ""
    password: str = field(default="", repr=False)
    keytab: str = ""
    ccache: str = ""
    ca_file: str = ""
    start_tls: bool = False
    change_source: str = "auto"
    email_attribute: str = "mail"
    timeout_seconds: int = 30
    notify: bool = True

    def __post_init__(self) -> None:
        faults = tuple(self._faults())
        if faults:
            raise ConfigurationError("read the section [directory]", faults)

    @property
    def account(self) -> str:
        """Who signs in, for people to read."""
        return self.username or "the account of the Kerberos ticket"

    def targets(self) -> tuple[Target, ...]:
        """The configured servers; empty where they are to be found by DNS."""
        return tuple(parse_target(server) for server in self.servers)

    def _faults(self) -> list[str]:
        faults = []
        if bool(self.servers) == bool(self.domain):
            faults.append("directory.servers or directory.domain: give exactly one of the two")
        for server in self.servers:
            try:
                target = parse_target(server)
            except ValueError as error:
                faults.append(f"directory.servers: {server!r}: {error}")
                continue
            if not target.implicit_tls and not self.start_tls:
                faults.append(
                    f"directory.servers: {server!r} needs directory.start_tls = true, or ldaps://: "
                    "the password is never sent in the clear"
                )
            if target.port in _GLOBAL_CATALOG_PORTS:
                faults.append(
                    f"directory.servers: {server!r} is a global catalog, which knows only part of what is "
                    "needed; use the ports 636 (ldaps://) or 389 (ldap://)"
                )
        if self.auth not in {"simple", "kerberos"}:
            faults.append('directory.auth: must be "simple" or "kerberos"')
        if self.auth == "kerberos" and self.keytab and self.ccache:
            faults.append("directory.keytab and directory.ccache: give one of the two")
        if self.auth == "kerberos" and self.keytab and not self.username:
            faults.append("directory.username: is needed with directory.keytab")
        if self.auth == "simple" and (self.keytab or self.ccache):
            faults.append('directory.keytab and directory.ccache: only with directory.auth = "kerberos"')
        if self.auth == "simple" and not (self.username and self.password):
            # A simple bind without a password is an anonymous one (RFC 4513, 5.1.2) and would seem to succeed.
            faults.append("directory.username and directory.password: both are needed")
        if self.change_source not in {"auto", "dirsync", "usn"}:
            faults.append('directory.change_source: must be "auto", "dirsync" or "usn"')
        if not _ATTRIBUTE_NAME.fullmatch(self.email_attribute):
            faults.append(f"directory.email_attribute: {self.email_attribute!r} is no attribute name")
        if self.timeout_seconds < 1:
            faults.append("directory.timeout_seconds: must be 1 or more")
        return faults


def parse_target(url: str) -> Target:
    """`ldaps://dc1.example.test[:636]` or `ldap://…`. ValueError says what is wrong with it."""
    parts = urlsplit(url.strip())
    if parts.scheme not in _DEFAULT_PORTS:
        raise ValueError("must start with ldaps:// or ldap://")
    if not parts.hostname:
        raise ValueError("names no host")
    if parts.path not in {"", "/"} or parts.query or parts.fragment or parts.username:
        raise ValueError("must be a host with an optional port and nothing else")
    try:
        port = parts.port or _DEFAULT_PORTS[parts.scheme]
    except ValueError as error:
        raise ValueError("has no valid port") from error
    return Target(host=parts.hostname, port=port, implicit_tls=parts.scheme == "ldaps")

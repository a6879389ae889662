"""What the mailer is told: server, security, sender and recipients."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum


class Encryption(StrEnum):
    """How the connection is encrypted, after `security` and the port were read together."""

    TLS = "tls"  # from the first byte
    STARTTLS = "starttls"  # required: without it nothing is sent
    OFFERED = "offered"  # STARTTLS where the server offers it, and then verified
    NONE = "none"


_SECURITIES = ("auto", "starttls", "tls", "none")
_BY_PORT = {465: Encryption.TLS, 25: Encryption.OFFERED}

# One plain addr-spec. Narrower than RFC 5321 on purpose: quoted local parts, comments and display names are where
# header and command injection live, and no mailbox for alerts needs them.
_ADDRESS = re.compile(r"[^\s\x00-\x20\x7f<>()\[\]\\,;:@\"]+@[^\s\x00-\x20\x7f<>()\\,;:@\"]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class MailOptions:
    """`security` auto: 465 → implicit TLS, 25 → STARTTLS if offered (and then verified), any other port → STARTTLS
    required. TLS is 1.2 or later with a verified certificate; `ca_file` stands instead of the system's authorities.
    """

    host: str
    port: int = 587
    security: str = "auto"
    username: str = ""
    password: str = field(default="", repr=False)
    sender: str = ""
    recipients: tuple[str, ...] = ()
    ca_file: str = ""
    timeout_seconds: float = 30

    @property
    def encryption(self) -> Encryption:
        if self.security == "auto":
            return _BY_PORT.get(self.port, Encryption.STARTTLS)
        return Encryption(self.security)

    def faults(self) -> tuple[str, ...]:
        """What makes sending impossible whatever the server says, each with its key; empty when all is well."""
        found: list[str] = []
        if not self.host or not self.host.isprintable() or " " in self.host:
            found.append("mail.host: no usable server name")
        if not 0 < self.port < 65536:
            found.append(f"mail.port: {self.port} is no port")
        if self.security not in _SECURITIES:
            found.append(f"mail.security: must be one of {', '.join(_SECURITIES)}")
        elif self.username and self.encryption is Encryption.NONE:
            found.append(
                'mail.username: a password never goes over an unencrypted connection (security = "none")'
            )
        if not _ADDRESS.fullmatch(self.sender):
            found.append("mail.sender: no plain e-mail address")
        if not self.recipients:
            found.append("mail.recipients: nobody to write to")
        found += [
            f"mail.recipients: no plain e-mail address at position {position}"
            for position, address in enumerate(self.recipients, 1)
            if not _ADDRESS.fullmatch(address)
        ]
        return tuple(found)

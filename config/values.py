"""What single values of the configuration must look like.

Every function takes one value and returns it in its settled form, or raises ValueError with a sentence that
stands without the value: a secret pasted into the wrong key must not reach a log.
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

from pydantic import ValidationInfo

_HOST_LABEL = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)")
_ATTRIBUTE = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,254}")  # RFC 4512, 1.4: keystring
_EMAIL = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9.-]+")  # RFC 5321 dot-string, roughly
_PERCENT = re.compile(r"(\d{1,3}(?:\.\d+)?)\s*%")
_PLACEHOLDER = re.compile(r"\{[^{}]*\}")

# the longest text that can stand in for a placeholder; a domain SID is S-1-5-21-a-b-c-RID (MS-DTYP 2.4.2)
_LONGEST = {
    "{objectGUID}": len("00000000-0000-0000-0000-000000000000"),
    "{objectSid}": len("S-1-5-21" + 4 * "-4294967295"),
}
_EXTERNAL_ID_LENGTH = 64  # Dropbox: MemberExternalId, max_length 64


@dataclass(frozen=True, slots=True)
class Limit:
    """A limit of the brake: a plain `count`, or a `percent` of the managed members. One of the two is None."""

    count: int | None
    percent: float | None

    def __str__(self) -> str:
        return f"{self.percent:g}%" if self.percent is not None else str(self.count)


def limit(value: Any) -> Limit:
    """A number of subjects, or a percentage such as "5%"."""
    if isinstance(value, Limit):
        return value
    if isinstance(value, str):
        text = value.strip()
        if (matched := _PERCENT.fullmatch(text)) and float(matched[1]) <= 100:
            return Limit(None, float(matched[1]))
        if re.fullmatch(r"[0-9]{1,9}", text):
            return Limit(int(text), None)
    elif isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**9:
        return Limit(value, None)
    raise ValueError('must be a whole number from 0, or a percentage from "0%" to "100%"')


def text(value: str) -> str:
    """One line of text without control characters."""
    if any(unicodedata.category(letter) in {"Cc", "Cs"} for letter in value):
        raise ValueError("must not contain control characters or more than one line")
    return value.strip()


def filled(value: str) -> str:
    """One line of text that is not empty."""
    settled = text(value)
    if not settled:
        raise ValueError("must not be empty")
    return settled


def listed(value: Any) -> Any:
    """TOML's arrays as tuples, so that settings can't be changed."""
    return tuple(value) if isinstance(value, list) else value


def folder_of(info: ValidationInfo) -> Path:
    """Where relative paths start: the configuration file's folder."""
    return Path((info.context or {}).get("folder", "."))


def path(value: Any, info: ValidationInfo) -> Path:
    """An absolute path; relative ones start at the configuration file's folder."""
    if isinstance(value, Path):
        return value
    if not isinstance(value, str) or not value.strip():
        raise ValueError("must be the path of a file, in quotes")
    settled = text(value)
    try:
        return (folder_of(info) / Path(settled).expanduser()).absolute()
    except RuntimeError:
        raise ValueError("names a home folder (~) that does not exist") from None


def existing_file(value: Any, info: ValidationInfo) -> Path | None:
    """The path of a file that is there; "" gives None."""
    if value is None or value == "":
        return None
    settled = path(value, info)
    try:
        is_there = settled.is_file()
    except OSError:
        is_there = False
    if not is_there:
        raise ValueError("names a file that does not exist or can't be seen by this account")
    return settled


def credential_cache(value: Any, info: ValidationInfo) -> str:
    """A Kerberos credential cache: `TYPE:NAME` as it is, a path made absolute; "" stays as it is."""
    if not isinstance(value, str):
        raise ValueError("must be a path or TYPE:NAME, in quotes")  # noqa: TRY004 - pydantic collects only ValueErrors
    settled = text(value)
    kind, colon, name = settled.partition(":")
    if colon and kind.upper() in {"FILE", "DIR"}:
        return f"{kind.upper()}:{path(name, info)}"
    if not settled or (colon and re.fullmatch(r"[A-Z]{2,}", kind)):
        return settled
    return f"FILE:{path(settled, info)}"


def is_loopback(host: str) -> bool:
    """Whether a host name or address can only mean this machine."""
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def host(value: str) -> str:
    """A host name or an IP address; "" stays as it is."""
    settled = text(value)
    if settled and not _is_host(settled):
        raise ValueError("must be a host name or an IP address, without port or path")
    return settled


def domain(value: str) -> str:
    """The DNS name of a domain, lower case; "" stays as it is."""
    settled = text(value).lower().rstrip(".")
    if settled and not _is_name(settled):
        raise ValueError('must be the DNS name of the domain, such as "example.test"')
    return settled


def server(value: str) -> str:
    """`ldaps://host[:port]` or `ldap://host[:port]`."""
    settled = text(value)
    parts = _split(settled)
    if (
        parts is None
        or parts.scheme not in {"ldap", "ldaps"}
        or parts.path not in {"", "/"}
        or parts.username is not None
    ):
        raise ValueError('must look like "ldaps://dc1.example.test" or "ldap://dc1.example.test:389"')
    return settled.rstrip("/")


def api_url(value: str) -> str:
    """The base address of Dropbox's API: https, or http on loopback; without a slash at its end."""
    settled = text(value)
    parts = _split(settled)
    if parts is None or parts.scheme not in {"http", "https"} or parts.username is not None:
        raise ValueError("must be an https address without user name, query or fragment")
    if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        raise ValueError(
            "must be https: plain http is accepted for loopback only (127.0.0.1, ::1, localhost)"
        )
    return settled.rstrip("/")


def listen(value: str) -> str:
    """`host:port`; "" for off."""
    settled = text(value)
    if not settled:
        return settled
    parts = _split(f"tcp://{settled}")
    if parts is None or parts.port is None or parts.path or parts.username is not None:
        raise ValueError('must be "host:port" such as "127.0.0.1:8734", or "" for off')
    return settled


def attribute(value: str) -> str:
    """The name of a directory attribute. It becomes part of LDAP filters: nothing else may pass."""
    settled = text(value)
    if _ATTRIBUTE.fullmatch(settled) is None:
        raise ValueError('must be the name of a directory attribute, such as "mail" or "userPrincipalName"')
    return settled


def email(value: str) -> str:
    """One plain e-mail address; "" stays as it is."""
    settled = text(value)
    if settled and (_EMAIL.fullmatch(settled) is None or not _is_name(settled.rpartition("@")[2])):
        raise ValueError('must be a plain e-mail address such as "admin@example.test"')
    return settled


def guid(value: str) -> str:
    """An objectGUID as lower-case dashed text; braces are taken off."""
    try:
        return str(uuid.UUID(text(value)))
    except ValueError as error:
        raise ValueError("must be an objectGUID such as 6f9619ff-8b86-d011-b42d-00c04fc964ff") from error


def glob(value: str) -> str:
    """An e-mail pattern with `*`, `?` and `[…]`, lower case."""
    settled = text(value).lower()
    if not settled:
        raise ValueError("has an empty pattern")
    if any(letter.isspace() for letter in settled):
        raise ValueError("has a pattern with a space in it: no e-mail address would match")
    if settled.count("[") != settled.count("]"):
        raise ValueError("has a pattern with a bracket that is not closed")
    if "@" not in settled and not any(letter in settled for letter in "*?["):
        raise ValueError("has a pattern that is no e-mail address: write *@example.test for a domain")
    return settled


def external_id_format(value: str) -> str:
    """The form of external ids: exactly one identity placeholder, at most 64 characters once filled."""
    settled = text(value)
    placeholders = _PLACEHOLDER.findall(settled)
    if len(placeholders) != 1 or placeholders[0] not in _LONGEST:
        raise ValueError("must contain exactly one placeholder, {objectGUID} or {objectSid}")
    rest = settled.replace(placeholders[0], "")
    if "{" in rest or "}" in rest:
        raise ValueError("must not contain braces except those of its one placeholder")
    if len(rest) + _LONGEST[placeholders[0]] > _EXTERNAL_ID_LENGTH:
        room = _EXTERNAL_ID_LENGTH - _LONGEST[placeholders[0]]
        raise ValueError(
            f"would be longer than the 64 characters that Dropbox allows: {room} are left beside {placeholders[0]}"
        )
    return settled


def _split(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    if parts.query or parts.fragment or url.endswith(("?", "#")) or parts.netloc.endswith(":"):
        return None
    if not _is_host(parts.hostname or "") or (port is not None and not 0 <= port <= 65535):
        return None
    return parts


def _is_host(value: str) -> bool:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return _is_name(value.rstrip("."))
    return True


def _is_name(value: str) -> bool:
    return 0 < len(value) <= 253 and all(_HOST_LABEL.fullmatch(label) for label in value.split("."))

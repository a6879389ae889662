"""Before there is an account: can a domain controller be reached, and does it show a certificate that is trusted?"""

from __future__ import annotations

import os

import anyio
import anyio.to_thread

from pipeline.errors import DirectoryError
from pipeline.model import Finding
from stages.directory.discovery import Lookup, discover, look_up, resolve
from stages.directory.line import Line
from stages.directory.options import Target, parse_target

SECTION = "directory"
_PLAIN_PORTS = (389, 3268)
_PLAIN_PORT = "ldaps:// is port 636; port 389 is for ldap://, which is made secure by StartTLS"


async def check_reach(
    servers: tuple[str, ...],
    domain: str,
    *,
    start_tls: bool,
    timeout_seconds: int,
    ca_file: str | None = None,
    lookup: Lookup = look_up,
) -> tuple[Finding, ...]:
    """A line a server. `ca_file` None asks for the port only; else TLS is tried as well, "" with the system's authorities.

    Nothing is sent but the handshake. Never raises for what the network does.
    """
    try:
        targets = tuple(parse_target(server) for server in servers) or await discover(
            domain, start_tls=start_tls, timeout_seconds=timeout_seconds, lookup=lookup
        )
    except DirectoryError as error:
        return (Finding(SECTION, "domain", "failed", error.cause, error.hint),)
    return tuple([await _checked(target, timeout_seconds, ca_file) for target in targets])


async def _checked(target: Target, timeout_seconds: int, ca_file: str | None) -> Finding:
    name = "reach" if ca_file is None else "TLS"
    try:
        with anyio.fail_after(timeout_seconds):
            addresses = await resolve(target.host, target.port)
            stream = await anyio.connect_tcp(addresses[0], target.port)
            await stream.aclose()
    except TimeoutError:
        return _failed(name, target, f"no answer within {timeout_seconds} s", "firewall, address, port")
    except (OSError, UnicodeError) as error:
        return _failed(name, target, _cause(error), "check the name and the port, and that the server is up")
    if ca_file is None:
        return Finding(SECTION, name, "ok", f"{target.url} answers")
    line = Line(target, addresses[0], timeout_seconds=timeout_seconds)
    try:
        await anyio.to_thread.run_sync(line.secure_blocking, ca_file)
    except DirectoryError as error:
        hint = _PLAIN_PORT if target.implicit_tls and target.port in _PLAIN_PORTS else error.hint
        return Finding(SECTION, name, "failed", f"{error.operation}: {error.cause}", hint)
    return Finding(SECTION, name, "ok", f"{target.url}: TLS 1.2 or later, certificate verified")


def _failed(name: str, target: Target, cause: str, hint: str) -> Finding:
    return Finding(SECTION, name, "failed", f"{target.url}: {cause}", hint)


def _cause(error: Exception) -> str:
    """The network's own word: anyio says only that no attempt succeeded, and keeps the reason of a single one behind it."""
    reason = error.__cause__ if isinstance(error.__cause__, OSError) else error
    if isinstance(reason, OSError) and (reason.errno or 0) > 0:
        return os.strerror(reason.errno or 0)
    return getattr(reason, "strerror", None) or str(reason) or type(reason).__name__

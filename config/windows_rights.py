"""Who may read a file on Windows, by its security descriptor; and how a new file is narrowed to its owner.

The descriptor is read as SDDL (MS-DTYP 2.5.1), which names accounts by their numbers: what icacls prints is in the system's language and
does not tell the owner. **Nothing here has run on Windows.** The judgement is pure, and tested with descriptors as documented.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

_SECONDS = 20
_PART = re.compile(r"(?:^|(?<=[^:]))([OGDS]):")
_ALIASES = {  # MS-DTYP 2.5.1.1, those that an answer here depends on
    "SY": "S-1-5-18",
    "BA": "S-1-5-32-544",
    "OW": "S-1-3-4",
    "CO": "S-1-3-0",
    "LS": "S-1-5-19",
    "NS": "S-1-5-20",
}
_TRUSTED = frozenset(_ALIASES[name] for name in ("SY", "BA", "OW", "CO"))
_RIGHTS = {
    "GA": 0x10000000,
    "GR": 0x80000000,
    "GW": 0x40000000,
    "GX": 0x20000000,
    "RC": 0x20000,
    "SD": 0x10000,
    "WD": 0x40000,
    "WO": 0x80000,
    "CC": 0x1,
    "DC": 0x2,
    "LC": 0x4,
    "SW": 0x8,
    "RP": 0x10,
    "WP": 0x20,
    "DT": 0x40,
    "LO": 0x80,
    "CR": 0x100,
    "FA": 0x1F01FF,
    "FR": 0x120089,
    "FW": 0x120116,
    "FX": 0x1200A0,
}
_OPENS = 0x1 | 0x10000000 | 0x80000000 | 0x40000 | 0x80000
"""Reading the content, generic reading, or the right to give oneself any right: the list (WD) and the owner (WO) can be changed."""

Describe = Callable[[Sequence[Path]], Mapping[Path, str]]
"""Takes files, answers the descriptors of those that could be asked about."""


def others(descriptor: str) -> tuple[str, ...]:
    """Who but the owner, SYSTEM and the administrators may read the file. ValueError where the text is not understood.

    A list that says "deny" is not trusted to keep anybody out: whoever stands there as allowed counts.
    """
    parts = dict(zip(*[iter(_PART.split(descriptor.strip())[1:])] * 2, strict=True))
    if "O" not in parts or "D" not in parts:
        raise ValueError("it names no owner, or no list of rights")
    owner, (flags, _, _) = _account(parts["O"]), parts["D"].partition("(")
    if "NO_ACCESS_CONTROL" in flags:
        return ("S-1-1-0",)  # no list at all: everybody
    found = []
    for entry in _entries(parts["D"]):
        kind, inheritance, rights, _, _, account, *_ = [*entry.split(";"), "", ""][:8]
        if kind not in ("A", "OA", "XA", "ZA") or "IO" in re.findall("..", inheritance):
            continue
        name = _account(account)
        if not name:
            raise ValueError(f"an entry without an account: ({entry})")
        if name not in (_TRUSTED | {owner}) and _mask(rights) & _OPENS:
            found.append(name)
    return tuple(dict.fromkeys(found))


def _entries(text: str) -> list[str]:
    """What stands in the outer parentheses: a condition inside an entry has some of its own."""
    found, depth, start = [], 0, 0
    for place, letter in enumerate(text):
        if letter == "(":
            depth += 1
            if depth == 1:
                start = place + 1
        elif letter == ")":
            depth -= 1
            if depth == 0:
                found.append(text[start:place])
    if depth:
        raise ValueError("a parenthesis is open")
    return found


def _account(text: str) -> str:
    return _ALIASES.get(text.strip(), text.strip())


def _mask(rights: str) -> int:
    if rights.lower().startswith("0x"):
        return int(rights, 16)
    if len(rights) % 2 or any(word not in _RIGHTS for word in re.findall("..", rights)):
        raise ValueError(f"unknown rights {rights!r}")
    mask = 0
    for word in re.findall("..", rights):
        mask |= _RIGHTS[word]
    return mask


def remedy(file: Path) -> str:
    """The command that leaves a file to its owner, SYSTEM and the administrators."""
    return subprocess.list2cmdline(_narrowing(file))


def exposed(files: Sequence[Path], describe: Describe) -> dict[Path, tuple[str, ...] | None]:
    """Of each file who else may read it; None where that can't be told."""
    described = describe(files) if files else {}
    found: dict[Path, tuple[str, ...] | None] = {}
    for file in files:
        try:
            found[file] = others(described[file])
        except (KeyError, ValueError):
            found[file] = None
    return found


# --- Windows itself


def described(files: Sequence[Path]) -> dict[Path, str]:
    """The descriptors as PowerShell's Get-Acl tells them, one a line; none of them where it can't be asked."""
    script = (
        "foreach ($file in $env:AD_CONNECTOR_FILES -split '\\|') "
        "{ try { (Get-Acl -LiteralPath $file -ErrorAction Stop).Sddl } catch { '?' } }"
    )
    try:
        done = subprocess.run(  # noqa: S603 - a fixed text; the paths stand in the environment
            ["powershell.exe", "-NoProfile", "-NonInteractive", "-Command", script],  # noqa: S607 - it has no fixed place
            # Not in the command line: a name may hold anything but a bar.
            env={**os.environ, "AD_CONNECTOR_FILES": "|".join(map(str, files))},
            capture_output=True,
            text=True,
            check=True,
            timeout=_SECONDS,
        )
    except (OSError, subprocess.SubprocessError, ValueError):
        return {}
    lines = done.stdout.split()
    return dict(zip(files, lines, strict=True)) if len(lines) == len(files) else {}


def narrow(file: Path) -> None:
    """Takes a new file of ours from everybody else. Where that fails, the next start finds out who may read it."""
    if sys.platform != "win32":
        return
    try:
        subprocess.run(  # noqa: S603 - a fixed program, and a path as one argument
            _narrowing(file), capture_output=True, check=False, timeout=_SECONDS
        )
    except (OSError, subprocess.SubprocessError):
        return


def _narrowing(file: Path) -> list[str]:
    # By number, since names are in the system's language: owner rights, SYSTEM, the administrators.
    grants = [f"*{_ALIASES[name]}:F" for name in ("OW", "SY", "BA")]
    return ["icacls.exe", str(file), "/inheritance:r", "/grant:r", *grants]

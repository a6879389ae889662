"""What a recorded figure was measured on and with."""

from __future__ import annotations

import os
import platform
import resource
import sqlite3
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from sandbox.samba import missing_for_samba
from sandbox.samba_host import SAMBA


def facts() -> dict[str, object]:
    """Machine, versions, time and load, as JSON can hold them."""
    return {
        "at": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "machine": f"{_processor()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}",
        "load": round(os.getloadavg()[0], 1),
        "versions": {
            "python": platform.python_version(),
            "sqlite": sqlite3.sqlite_version,
            "ldap3": version("ldap3"),
            "samba": _samba(),
        },
    }


def _samba() -> str:
    if missing_for_samba():
        return ""
    done = subprocess.run([SAMBA, "--version"], capture_output=True, text=True, check=False, timeout=30)
    return done.stdout.strip().removeprefix("Version ")


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def peak_megabytes() -> float:
    """Of this process. Not `ru_maxrss`, where there is a choice: that one knows of the parent's memory too."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    (kibibytes,) = (line.split()[1] for line in lines if line.startswith("VmHWM:"))
    return int(kibibytes) / 1024

"""What others need to read the same: python-ldap (the OpenLDAP library, in C) and ldap3's own loops, the attributes left raw.

`python -m bench.directory_peers --install` builds python-ldap from requirements-bench.lock into a folder of its own, for
measurements only; on Debian that needs the packages gcc, python3-dev, libldap-dev and libsasl2-dev. Run with a JSON order on
standard input, as `bench.directory` does, it measures one of them in this process.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ldap3

from bench import machine
from stages.directory.reader import entry_attributes

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / ".sandbox" / "bench-packages"
PYTHON_LDAP, LDAP3 = "python-ldap", "ldap3's own loops"
PEOPLE, GROUPS = "(&(objectCategory=person)(objectClass=user))", "(objectClass=group)"
PAGE = 1000

Sample = dict[str, float]


def available() -> list[str]:
    """The peers that can be measured here."""
    return [PYTHON_LDAP, LDAP3] if (FOLDER / "ldap").exists() else [LDAP3]


def measure(peer: str, order: dict[str, str]) -> Sample:
    """In a process of its own, so that its peak memory is its own. RuntimeError with what it said."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "bench.directory_peers"],
        input=json.dumps({**order, "peer": peer}),
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{peer} failed:\n{done.stderr[-2000:]}")
    sample: Sample = json.loads(done.stdout)
    return sample


def install() -> int:
    """The package, and what builds it, locked by hash; the build tools are put aside afterwards."""
    pip = [sys.executable, "-m", "pip", "install", "--require-hashes", "--no-deps", "--no-compile"]
    with tempfile.TemporaryDirectory() as tools:
        build = ROOT / "requirements-kerberos-build.lock"
        done = subprocess.run([*pip, "--target", tools, "-r", str(build)], check=False)
        if done.returncode:
            return done.returncode
        lock = ROOT / "requirements-bench.lock"
        environment = {**os.environ, "PYTHONPATH": tools}
        return subprocess.run(
            [*pip, "--no-build-isolation", "--upgrade", "--target", str(FOLDER), "-r", str(lock)],
            env=environment,
            check=False,
        ).returncode


# ------------------------------------------------------------------------------------------- in the measuring process


def _by_python_ldap(order: dict[str, str]) -> dict[str, int]:
    sys.path.insert(0, str(FOLDER))
    ldap: Any = importlib.import_module("ldap")
    paged: Any = importlib.import_module("ldap.controls")
    ldap.set_option(ldap.OPT_X_TLS_CACERTFILE, order["ca_file"])
    connection = ldap.initialize(f"ldaps://{order['address']}:636", bytes_mode=False)
    connection.set_option(ldap.OPT_REFERRALS, 0)
    connection.simple_bind_s(order["username"], order["password"])
    counts = {}
    for what, pattern, attributes in _reads():
        control = paged.SimplePagedResultsControl(True, size=PAGE, cookie="")
        kept = []
        while True:
            number = connection.search_ext(
                order["base"], ldap.SCOPE_SUBTREE, pattern, attributes, serverctrls=[control]
            )
            _, entries, _, controls = connection.result3(number)
            kept += [entry for entry in entries if entry[0] is not None]
            (answer,) = (one for one in controls if one.controlType == control.controlType)
            if not answer.cookie:
                break
            control.cookie = answer.cookie
        counts[what] = len(kept)
        if what == "groups":
            counts["members"] = sum(len(values.get("member", ())) for _, values in kept)
    return counts


def _by_ldap3(order: dict[str, str]) -> dict[str, int]:
    tls = ldap3.Tls(validate=ssl.CERT_REQUIRED, ca_certs_file=order["ca_file"])
    server = ldap3.Server(order["address"], use_ssl=True, tls=tls)
    connection = ldap3.Connection(
        server, order["username"], order["password"], auto_bind=True, auto_range=True
    )
    counts = {}
    for what, pattern, attributes in _reads():
        found = connection.extend.standard.paged_search(
            order["base"], pattern, attributes=attributes, paged_size=PAGE, generator=False
        )
        kept = [entry for entry in found if entry["type"] == "searchResEntry"]
        counts[what] = len(kept)
        if what == "groups":
            counts["members"] = sum(len(entry["raw_attributes"].get("member") or ()) for entry in kept)
        del found, kept
    return counts


def _reads() -> list[tuple[str, str, list[str]]]:
    attributes = list(entry_attributes("mail"))
    return [("people", PEOPLE, attributes), ("groups", GROUPS, [*attributes, "member"])]


_WAYS: dict[str, Callable[[dict[str, str]], dict[str, int]]] = {
    PYTHON_LDAP: _by_python_ldap,
    LDAP3: _by_ldap3,
}


def _run(order: dict[str, str]) -> Sample:
    wall, cpu = time.perf_counter(), time.process_time()
    counts = _WAYS[order["peer"]](order)
    return {
        "ms": (time.perf_counter() - wall) * 1000,
        "ms of our CPU": (time.process_time() - cpu) * 1000,
        "MB at its peak": machine.peak_megabytes(),
        **counts,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m bench.directory_peers")
    parser.add_argument("--install", action="store_true")
    if parser.parse_args().install:
        sys.exit(install())
    print(json.dumps(_run(json.load(sys.stdin))))

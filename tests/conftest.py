"""The outside systems that several folders of tests share. Each worker of pytest-xdist has its own."""

import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.certificates import Authority
from sandbox.mailbox import Mailbox
from sandbox.samba import SambaDomain, missing_for_samba

_CACHE = Path(__file__).resolve().parent.parent / ".sandbox" / "cache"


def pytest_xdist_auto_num_workers() -> int:
    """Two a core: half of the time goes by in waiting for servers of our own."""
    return 2 * (os.cpu_count() or 1)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def samba_domain(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[SambaDomain]:
    """A running domain controller with no people in it. Tests share it: make an organizational unit or names of your own."""
    if missing := missing_for_samba():
        pytest.skip(missing)
    domain = SambaDomain(tmp_path_factory.mktemp("samba"), authority, cache=_CACHE)
    domain.start_blocking()
    yield domain
    domain.stop_blocking()


@pytest.fixture(scope="session")
def missing_for_kerberos() -> str:
    return _missing_for_kerberos()


def _missing_for_kerberos() -> str:
    if missing := missing_for_samba():
        return missing
    if importlib.util.find_spec("gssapi") is None:
        return "The kerberos extra is not installed: ./run kerberos-setup"
    return ""


@pytest.fixture
def mailbox(authority: Authority) -> Iterator[Mailbox]:
    box = Mailbox(authority)
    box.start_blocking()
    yield box
    box.stop_blocking()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Loud: a suite without the real directory has not shown much."""
    skipped = [report for report in terminalreporter.stats.get("skipped", []) if "samba" in report.keywords]
    if skipped and (missing := missing_for_samba()):
        terminalreporter.section("NOT RUN: tests on a real Active Directory domain", red=True, bold=True)
        terminalreporter.write_line(f"{len(skipped)} tests need Samba. {missing}")
    skipped = [
        report for report in terminalreporter.stats.get("skipped", []) if "kerberos" in report.keywords
    ]
    if skipped and (missing := _missing_for_kerberos()):
        terminalreporter.section("NOT RUN: tests of Kerberos", red=True, bold=True)
        terminalreporter.write_line(f"{len(skipped)} tests need it. {missing}")


def pytest_report_header() -> str:
    return f"samba: {missing_for_samba() or 'domain controller available'}; workers: {os.environ.get('PYTEST_XDIST_WORKER_COUNT', '1')}"

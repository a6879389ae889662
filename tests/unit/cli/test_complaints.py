"""What ends a command, as people read it."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline import log
from pipeline.cli.session import complain
from pipeline.core.causes import ended_alert
from pipeline.errors import ConfigurationError, WrongArgument

FAULTS = ("line 2: users.sync_grup: is no key", "line 5: mail.port: must be at most 65535")
BROKEN = ConfigurationError("reading the configuration c.toml", FAULTS)


def test_each_fault_of_a_configuration_has_a_line_of_its_own(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert complain(BROKEN, is_pass=False) == -10
    assert capsys.readouterr().err.splitlines() == [
        "reading the configuration c.toml:",
        f"  {FAULTS[0]}",
        f"  {FAULTS[1]}",
        f"What to do: {BROKEN.hint}",
    ]
    log.configure(log.LogOptions(path=tmp_path / "log", to_stderr=False))
    try:
        complain(BROKEN, is_pass=True)
    finally:
        log.close()
    first, second, last = (tmp_path / "log").read_text().splitlines()
    assert FAULTS[0] in first
    assert FAULTS[1] in second
    assert last == "exit code: -10"
    alert = ended_alert(-10, operation=BROKEN.operation, cause=BROKEN.cause, causes=BROKEN.causes)
    assert alert is not None
    assert alert.lines == (BROKEN.operation, *FAULTS)


def test_a_name_from_the_directory_writes_no_line_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    complain(WrongArgument("explain", "two are called 'a\nexit code: 0\x1b[2J'", "name one"), is_pass=False)
    assert capsys.readouterr().err.splitlines() == [
        r"explain: two are called 'a\nexit code: 0\x1b[2J'",
        "What to do: name one",
    ]

"""What ends a command, as people read it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from config.settings import Settings
from pipeline import log
from pipeline.cli.invocation import Invocation
from pipeline.cli.session import complain, execute
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


@pytest.mark.parametrize("is_pass", [True, False])
def test_a_fault_of_ours_has_a_code_and_a_pass_says_it(
    is_pass: bool, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "connector.toml"
    file.write_text('[directory]\nservers = ["ldaps://dc1"]\nusername = "u"\npassword = "env:P"\n')
    context = SimpleNamespace(obj=Invocation(config=file, verbose=False, environ={"P": "x"}))

    async def body(_settings: Settings) -> int:
        raise OverflowError("too large, password=Secret123")

    with pytest.raises(SystemExit) as ended:
        execute(context, body, is_pass=is_pass)  # type: ignore[arg-type]
    assert ended.value.code == 239
    shown = capsys.readouterr().err
    assert "something unexpected happened: OverflowError" in shown
    assert "Secret123" not in shown
    if is_pass:
        lines = (tmp_path / "ad-connector.log").read_text().splitlines()
        assert "something unexpected happened: OverflowError" in lines[-2]
        assert lines[-1] == "exit code: -17"

"""Who may read a file on Windows: descriptors as MS-DTYP 2.5.1 writes them. None of it has run on Windows."""

import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from config import load as loading
from config import windows_rights
from config.load import load
from config.windows_rights import described, exposed, narrow, others, remedy
from pipeline.errors import RightsError

ANN = "S-1-5-21-1004336348-1177238915-682003330-1001"
BOB = "S-1-5-21-1004336348-1177238915-682003330-1002"
OWN = f"O:{ANN}G:DUD:PAI(A;;FA;;;SY)(A;;FA;;;BA)(A;;FA;;;{ANN})"


@pytest.mark.parametrize(
    ("descriptor", "who"),
    [
        (OWN, ()),
        ("O:BAG:SYD:P(A;;FA;;;OW)(A;;FA;;;SY)(A;;FA;;;BA)", ()),  # as `narrow` leaves it
        ("O:LSG:LSD:PAI(A;;FR;;;LS)(A;;FA;;;SY)", ()),  # a service's own
        (f"O:{ANN}G:DUD:P", ()),  # an empty list: nobody
        (f"O:{ANN}G:DUD:AI(A;ID;FA;;;SY)(A;ID;0x1200a9;;;BU)", ("BU",)),  # as a new file inherits it
        (f"O:{ANN}G:DUD:(A;;0x120089;;;WD)", ("WD",)),  # everybody
        (f"O:{ANN}G:DUD:(A;;FA;;;{BOB})(A;;FR;;;{BOB})(A;;GR;;;AU)", (BOB, "AU")),
        (f"O:{ANN}G:DUD:(D;;FA;;;WD)(A;;FR;;;BU)", ("BU",)),  # a denial is not trusted
        (f"O:{ANN}G:DUD:(A;OICIIO;GA;;;CO)(A;OICIIO;GA;;;BU)", ()),  # only for what is made below
        (f"O:{ANN}G:DUD:(A;;FX;;;BU)(A;;0x100080;;;BU)", ()),  # can't read the content
        (f"O:{ANN}G:DUD:(A;;WD;;;{BOB})", (BOB,)),  # gives himself the rest
        (f"O:{ANN}G:DUD:(A;;WO;;;{BOB})", (BOB,)),
        (f"O:{ANN}G:DUD:NO_ACCESS_CONTROL", ("S-1-1-0",)),
        (f"O:{ANN}G:DUD:(A;;FA;;;SY)S:AI(AU;SAFA;FA;;;WD)", ()),  # who is audited is not who may
        (f"O:{ANN}G:DUD:(XA;;FR;;;BU;(Member_of {{SID(BA)}}))", ("BU",)),
    ],
)
def test_who_else_may_read(descriptor: str, who: tuple[str, ...]) -> None:
    assert others(descriptor) == who


@pytest.mark.parametrize(
    "text", ["", "?", "D:(A;;FA;;;SY)", f"O:{ANN}G:DU", f"O:{ANN}D:(A;;QQ;;;BU)", f"O:{ANN}D:(A;;FA)"]
)
def test_what_is_not_understood_is_no_answer(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        others(text)
    assert exposed([Path("x")], lambda _: {Path("x"): text}) == {Path("x"): None}


def test_a_file_that_could_not_be_asked_about_is_no_answer() -> None:
    assert exposed([Path("x"), Path("y")], lambda _: {Path("x"): OWN}) == {Path("x"): (), Path("y"): None}
    assert described([Path("x")]) == {}  # there is no PowerShell here


def test_the_command_for_a_file_names_accounts_by_number() -> None:
    assert shlex.split(remedy(Path("a b.txt"))) == [
        *("icacls.exe", "a b.txt", "/inheritance:r", "/grant:r"),
        *("*S-1-3-4:F", "*S-1-5-18:F", "*S-1-5-32-544:F"),
    ]


@pytest.fixture
def windows(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """`load` as on Windows; the descriptors by file name."""
    known: dict[str, str] = {}

    def describe(files: Sequence[Path]) -> Mapping[Path, str]:
        return {file: known[file.name] for file in files if file.name in known}

    monkeypatch.setattr(loading, "IS_WINDOWS", True)
    monkeypatch.setattr(windows_rights, "described", describe)
    return known


def configuration(folder: Path, more: str = "") -> Path:
    for name in ("token", "password", "connector.toml"):
        (folder / name).touch(mode=0o600)  # for the system that the tests run on
    (folder / "token").write_text("t")
    (folder / "password").write_text("p")
    file = folder / "connector.toml"
    file.write_text(
        '[directory]\nservers = ["ldaps://dc1.example.test"]\nusername = "x@example.test"\npassword = "file:password"\n'
        f'[dropbox]\napp_key = "k"\nrefresh_token = "file:token"\n{more}'
    )
    return file


def test_a_secret_that_others_can_read_is_refused_with_the_command_that_helps(
    windows: dict[str, str], tmp_path: Path
) -> None:
    file = configuration(tmp_path)
    windows |= {"token": OWN, "password": OWN.replace("PAI", "AI(A;ID;FR;;;BU)")}
    with pytest.raises(RightsError) as caught:
        load(file, {})
    assert "directory.password" in caught.value.cause
    assert "dropbox.refresh_token" not in caught.value.cause
    assert "icacls.exe" in caught.value.cause
    windows["password"] = OWN
    assert load(file, {}).unjudged_files == ()


def test_the_configuration_counts_when_it_holds_a_secret_itself(
    windows: dict[str, str], tmp_path: Path
) -> None:
    file = configuration(tmp_path, 'app_secret = "literal"\n')
    windows |= {"token": OWN, "password": OWN, "connector.toml": f"O:{ANN}G:DUD:AI(A;ID;FR;;;WD)"}
    with pytest.raises(RightsError, match="connector"):
        load(file, {})


def test_what_can_not_be_told_is_kept_for_check(windows: dict[str, str], tmp_path: Path) -> None:
    windows["token"] = OWN
    assert load(configuration(tmp_path), {}).unjudged_files == (tmp_path / "password",)


def test_a_new_file_is_narrowed_there_and_nothing_is_called_elsewhere(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    calls: list[list[str]] = []

    def run(command: list[str], **_options: object) -> None:
        calls.append(command)
        raise FileNotFoundError

    monkeypatch.setattr(subprocess, "run", run)
    narrow(tmp_path / "x")
    assert calls == []
    monkeypatch.setattr(sys, "platform", "win32")
    narrow(tmp_path / "x")
    assert [command[0] for command in calls] == ["icacls.exe"]

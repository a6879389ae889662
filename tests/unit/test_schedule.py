"""`schedule`: what systemd, cron and the Task Scheduler are given, judged by their own tools where this machine has them."""

import re
import shlex
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from datetime import date
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipeline.cli import build
from pipeline.schedule import cron, systemd, windows
from pipeline.schedule.job import Daily, Every, Job, parse_at, parse_every

AWKWARD = Path('/srv/a b/50%/$HOME/it\'s "so"')
TODAY = date(2026, 3, 29)  # a day on which an hour is missing in much of Europe


def job(timetable: Daily | Every | None = None, **more: object) -> Job:
    fields: dict[str, object] = {
        "program": (sys.executable, "-P", "-m", "pipeline"),
        "config": Path("/etc/ad-connector/connector.toml"),
        "timetable": timetable,
        "user": "root",
        "writable": (Path("/var/lib/ad-connector"),),
        **more,
    }
    return Job(**fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "minutes"), [("3h", 180), ("90m", 90), ("30 min", 30), ("1d", 1440), ("31D", 44640)]
)
def test_spans(text: str, minutes: int) -> None:
    assert parse_every(text) == Every(minutes)


@pytest.mark.parametrize("text", ["", "0h", "-1h", "3", "32d", "1.5h", "every 3h", "h"])
def test_what_is_no_span(text: str) -> None:
    with pytest.raises(ValueError, match="is no span"):
        parse_every(text)


@pytest.mark.parametrize("text", ["24:00", "2", "02:60", "2 o'clock", "02:00:00", ""])
def test_what_is_no_time_of_day(text: str) -> None:
    with pytest.raises(ValueError, match="is no time of day"):
        parse_at(text)


# --- systemd


def analyzer() -> str:
    tool = shutil.which("systemd-analyze")
    if tool is None:
        pytest.skip("systemd-analyze is not installed: the units are not judged by it")
    return tool


@pytest.mark.parametrize(
    "made",
    [
        job(),
        job(Daily(2, 0)),
        job(Every(180)),
        job(Every(100)),  # no calendar expression for it
        job(
            config=AWKWARD / "connector.toml",
            writable=(AWKWARD,),
            touched=(Path("/home").joinpath("ann"), Path("/var/tmp/y")),
            credentials=("ad-password",),
            environment_file=AWKWARD / "x.env",
        ),
    ],
    ids=["watch", "daily", "every 3 h", "every 100 min", "awkward paths"],
)
def test_systemd_itself_finds_nothing_to_complain_about(made: Job, tmp_path: Path) -> None:
    tool = analyzer()
    files = []
    for one in systemd.artefacts(made):
        file = tmp_path / Path(one.path).name
        file.write_text(one.text)
        files.append(str(file))
    done = subprocess.run(
        [tool, "verify", "--man=no", *files], capture_output=True, text=True, check=False, timeout=60
    )
    if "Failed to" in done.stderr and "initialize manager" in done.stderr:
        pytest.skip(f"systemd-analyze can't work here: {done.stderr.strip()}")
    complaints = [line for line in done.stderr.splitlines() if "ad-connector" in line]
    assert (done.returncode, complaints) == (0, []), done.stderr


def test_a_misspelt_unit_is_complained_about(tmp_path: Path) -> None:
    """The test above would see a fault."""
    tool = analyzer()
    (artefact,) = systemd.artefacts(job())
    file = tmp_path / "ad-connector.service"
    file.write_text(artefact.text.replace("ProtectSystem=strict", "ProtectSystm=strict"))
    done = subprocess.run(
        [tool, "verify", "--man=no", str(file)], capture_output=True, text=True, check=False, timeout=60
    )
    assert "ProtectSystm" in done.stderr


@pytest.mark.parametrize(
    ("timetable", "hours"),
    [(Daily(2, 0), {2}), (Every(180), set(range(0, 24, 3))), (Every(1440), {0}), (Every(30), set(range(24)))],
)
def test_systemd_reads_the_times_as_they_are_meant(timetable: Daily | Every, hours: set[int]) -> None:
    tool = analyzer()
    timer = systemd.artefacts(job(timetable))[1].text
    (expression,) = re.findall(r"^OnCalendar=(.*)$", timer, re.MULTILINE)
    done = subprocess.run(
        [tool, "calendar", "--iterations=48", "--base-time=2026-06-01 00:00:00 UTC", expression],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env={"TZ": "UTC", "LC_ALL": "C", "PATH": "/usr/bin:/bin"},
    )
    assert {int(hour) for hour in re.findall(r"\d\d-\d\d (\d\d):\d\d:\d\d UTC", done.stdout)} == hours


def test_a_program_below_home_or_tmp_can_still_be_reached() -> None:
    (plain,) = systemd.artefacts(job(touched=(Path("/opt/x"),)))
    assert "ProtectHome=yes" in plain.text
    assert "PrivateTmp=yes" in plain.text
    (below,) = systemd.artefacts(job(touched=(Path("/home").joinpath("ann"), Path("/var/tmp/y"))))
    assert "ProtectHome=read-only" in below.text
    assert "PrivateTmp=no" in below.text


def test_an_exit_code_that_no_start_mends_is_not_started_again() -> None:
    (unit,) = systemd.artefacts(job())
    (codes,) = re.findall(r"^RestartPreventExitStatus=(.*)$", unit.text, re.MULTILINE)
    assert sorted(int(code) - 256 for code in codes.split()) == [-13, -11, -10, -1]


# --- cron


def test_a_cron_line_is_read_back_by_the_shell_as_the_same_words() -> None:
    awkward = job(Daily(2, 5), config=AWKWARD / "connector.toml", user="svc")
    line = cron.line(awkward, with_user=True)
    assert line.startswith("5 2 * * * svc ")
    assert not re.search(r"(?<!\\)%", line), "an unescaped % ends the command (crontab(5))"
    command = line.removeprefix("5 2 * * * svc ").replace("\\%", "%")
    words = shlex.split(command.partition(" 2>&1 ")[0])
    assert tuple(words) == awkward.argv


@pytest.mark.parametrize(
    ("minutes", "when"),
    [(180, "0 */3 * * *"), (60, "0 * * * *"), (1440, "0 0 * * *"), (15, "*/15 * * * *"), (1, "* * * * *")],
)
def test_spans_for_cron(minutes: int, when: str) -> None:
    assert cron.line(job(Every(minutes)), with_user=False).startswith(when + " ")


def test_a_span_that_cron_can_not_express_is_refused_not_bent() -> None:
    with pytest.raises(ValueError, match="cron can't say 'every 5 h'"):
        cron.line(job(Every(300)), with_user=False)


def test_a_disabled_cron_job_is_a_comment() -> None:
    (artefact,) = cron.artefacts(job(Daily(), enabled=False))
    assert all(line.startswith("#") or line == "SHELL=/bin/sh" for line in artefact.text.splitlines())


# --- Windows: the rules of the schema (MS-TSCH 2.5), as far as our elements go

NAME = f"{{{windows.NAMESPACE}}}"
BOOLEAN = r"true|false"
SEQUENCES = {
    "Task": ["RegistrationInfo", "Triggers", "Principals", "Settings", "Actions"],
    "BootTrigger": ["Enabled"],
    "TimeTrigger": ["Enabled", "StartBoundary", "Repetition"],
    "CalendarTrigger": ["Enabled", "StartBoundary", "ScheduleByDay"],
}
VALUES = {
    "Enabled": BOOLEAN,
    "Hidden": BOOLEAN,
    "WakeToRun": BOOLEAN,
    "AllowHardTerminate": BOOLEAN,
    "StartWhenAvailable": BOOLEAN,
    "RunOnlyIfNetworkAvailable": BOOLEAN,
    "DisallowStartIfOnBatteries": BOOLEAN,
    "StopIfGoingOnBatteries": BOOLEAN,
    "MultipleInstancesPolicy": "IgnoreNew",
    "ExecutionTimeLimit": "PT0S",
    "Priority": r"[0-9]|10",
    "Interval": r"PT[1-9]\d*M",
    "Count": r"[1-9]\d?|1\d\d|2[0-4]\d|25[0-5]",  # an unsigned byte, at least 1
    "DaysInterval": r"[1-9]\d?|[12]\d\d|3[0-5]\d|36[0-5]",
    "StartBoundary": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d",
    "RunLevel": "LeastPrivilege|HighestAvailable",
    "LogonType": "Password",
    "UserId": r"S-1-5-\d+|.+",
    "URI": r"\\[^\\/:*?\"<>|]+",
}


def task(made: Job) -> ET.Element:
    (artefact,) = windows.artefacts(made, today=TODAY)
    encoded = artefact.text.encode(artefact.encoding)
    assert encoded[:2] in (b"\xff\xfe", b"\xfe\xff"), "schtasks tells UTF-16 by its mark"
    return ET.fromstring(encoded)


@pytest.mark.parametrize("made", [job(), job(Daily(2, 30)), job(Every(100)), job(enabled=False, user="")])
def test_the_task_keeps_to_the_schema(made: Job) -> None:
    root = task(made)
    assert root.get("version") == "1.2"
    for element in root.iter():
        assert element.tag.startswith(NAME)
        tag = element.tag.removeprefix(NAME)
        children = [child.tag.removeprefix(NAME) for child in element]
        assert len(set(children)) == len(children)
        if tag in SEQUENCES:
            assert children == [one for one in SEQUENCES[tag] if one in children], tag
            assert set(children) <= set(SEQUENCES[tag]), tag
        if tag in VALUES:
            assert re.fullmatch(VALUES[tag], element.text or ""), (tag, element.text)
    principal, actions = root.find(f"{NAME}Principals/{NAME}Principal"), root.find(f"{NAME}Actions")
    assert principal is not None
    assert actions is not None
    assert principal.get("id") == actions.get("Context")


def text_of(root: ET.Element, *path: str) -> str | None:
    found = root.find("/".join(NAME + part for part in path))
    return None if found is None else found.text


def test_times_on_windows_are_local() -> None:
    assert (
        text_of(task(job(Daily(2, 30))), "Triggers", "CalendarTrigger", "StartBoundary")
        == "2026-03-29T02:30:00"
    )
    assert text_of(task(job(Every(180))), "Triggers", "TimeTrigger", "Repetition", "Interval") == "PT180M"


def test_paths_with_spaces_and_markup_survive() -> None:
    made = job(config=Path("/c/a & b/<c>/connector.toml"))
    root = task(made)
    assert text_of(root, "Actions", "Exec", "WorkingDirectory") == "/c/a & b/<c>"
    assert '"/c/a & b/<c>/connector.toml"' in (text_of(root, "Actions", "Exec", "Arguments") or "")


def test_on_windows_it_runs_with_few_rights_as_a_rule() -> None:
    root = task(job(user=""))
    assert text_of(root, "Principals", "Principal", "UserId") == windows.LOCAL_SERVICE
    assert text_of(root, "Principals", "Principal", "LogonType") is None
    assert "/RP" not in windows.create_command(job(user=""), "x.xml")
    assert windows.create_command(job(user="CORP\\svc"), "x.xml")[-4:] == ("/RU", "CORP\\svc", "/RP", "*")


# --- the command

SETTINGS = """\
simulation = {simulation}
[directory]
servers = ["ldaps://dc1.example.test"]
username = "x@example.test"
password = "{password}"
[dropbox]
app_key = "k"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path)
    return tmp_path


def write(folder: Path, simulation: str = "false", password: str = "file:ad-password") -> None:
    config = folder / "connector.toml"
    config.write_text(SETTINGS.format(simulation=simulation, password=password))
    config.chmod(0o600)


def schedule(folder: Path, *arguments: str):
    invocation = ["--config", str(folder / "connector.toml"), "schedule", *arguments]
    return CliRunner().invoke(build(["schedule"]), invocation)


def installed(root: Path) -> list[str]:
    return sorted(str(one.relative_to(root)) for one in root.rglob("*") if not one.is_dir())


UNITS = "etc/systemd/system"


def test_install_and_remove_below_a_root(folder: Path) -> None:
    root = folder / "image"
    options = ("--system", "systemd", "--root", str(root))
    done = schedule(folder, "install", *options)
    assert done.exit_code == 0, done.output
    assert "daily at 02:00, local time" in done.output
    assert installed(root) == [
        f"{UNITS}/ad-connector.service",
        f"{UNITS}/ad-connector.timer",
        f"{UNITS}/timers.target.wants/ad-connector.timer",
    ]
    link = root / UNITS / "timers.target.wants/ad-connector.timer"
    assert str(link.readlink()) == "/etc/systemd/system/ad-connector.timer"
    assert "OnCalendar=*-*-* 02:00:00" in (root / UNITS / "ad-connector.timer").read_text()

    done = schedule(folder, "install", "--watch", *options)
    assert done.exit_code == 0, done.output
    assert installed(root) == [
        f"{UNITS}/ad-connector.service",
        f"{UNITS}/multi-user.target.wants/ad-connector.service",
    ], "never both: the timer went"

    done = schedule(folder, "show", *options)
    assert str(root / UNITS / "ad-connector.service") in done.output

    (folder / "connector.toml").write_text("no configuration")
    done = schedule(folder, "remove", *options[:2], "--root", str(root))
    assert done.exit_code == 0, done.output
    assert installed(root) == []


def test_disabled_is_installed_but_starts_at_no_boot(folder: Path) -> None:
    root = folder / "image"
    schedule(folder, "install", "--watch", "--disabled", "--system", "systemd", "--root", str(root))
    assert installed(root) == [f"{UNITS}/ad-connector.service"]


def test_a_file_of_somebody_else_is_left_alone(folder: Path) -> None:
    root = folder / "image"
    theirs = root / "etc/cron.d/ad-connector"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("theirs")
    done = schedule(folder, "install", "--system", "cron", "--root", str(root))
    assert done.exit_code == 245
    assert schedule(folder, "remove", "--system", "cron", "--root", str(root)).exit_code == 0
    assert theirs.read_text() == "theirs"


def test_a_watch_under_cron_is_not_said_to_run_before_the_next_boot(folder: Path) -> None:
    options = ("install", "--system", "cron", "--root", str(folder / "image"))
    assert "with the next boot only" in schedule(folder, *options, "--watch").output
    assert "boot" not in schedule(folder, *options, "--watch", "--disabled").output
    assert "boot" not in schedule(folder, *options, "--at", "02:00").output


def test_what_should_be_known_is_said(folder: Path) -> None:
    write(folder, simulation="true", password="env:AD_PASSWORD")
    done = schedule(folder, "show", "--every", "2h", "--system", "systemd", "--user", "root")
    assert done.exit_code == 0, done.output
    for words in (
        "simulation = true: each pass only reports",
        "a whole pass every 2 h is a lot",
        "it would run as root",
        "put AD_PASSWORD=... into",
        "EnvironmentFile=-",
    ):
        assert words in done.output, words
    done = schedule(folder, "show", "--watch", "--system", "cron")
    assert "simulation = true: watch refuses to start" in done.output


def test_no_warning_where_there_is_nothing_to_warn_of(folder: Path) -> None:
    owner = (folder / "connector.toml").owner()
    done = schedule(folder, "show", "--every", "3h", "--system", "systemd")
    warnings = [line for line in done.output.splitlines() if line.startswith("warning:")]
    assert [one for one in warnings if "root" not in one or owner != "root"] == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("--at", "25:00"),
        ("--every", "soon"),
        ("--at", "02:00", "--every", "3h"),
        ("--watch", "--at", "02:00"),
    ],
)
def test_a_wrong_command_line_is_2(folder: Path, arguments: tuple[str, ...]) -> None:
    assert schedule(folder, "install", "--root", str(folder / "image"), *arguments).exit_code == 2
    assert not (folder / "image").exists()


@pytest.mark.parametrize("name", ["../x", "a.b", "", "-x", "a b"])
def test_a_name_is_no_path(folder: Path, name: str) -> None:
    for command in ("install", "remove"):
        done = schedule(
            folder, command, "--system", "cron", "--root", str(folder / "image"), f"--name={name}"
        )
        assert done.exit_code == 246, done.output


def test_a_task_of_windows_is_not_installed_elsewhere(folder: Path) -> None:
    assert schedule(folder, "install", "--system", "windows").exit_code == 246
    done = schedule(folder, "install", "--system", "windows", "--root", str(folder / "image"))
    assert done.exit_code == 0, done.output
    assert installed(folder / "image") == ["ad-connector.xml"]
    shown = schedule(folder, "show", "--system", "windows", "--watch").output
    assert "schtasks.exe /Create" in shown
    assert "nssm.exe install ad-connector" in shown


def test_systemd_judges_the_service_as_little_exposed(tmp_path: Path) -> None:
    """`systemd-analyze security` counts from 0 (locked away) to 10; without the hardening it says 9 and more."""
    tool = analyzer()
    (artefact,) = systemd.artefacts(job(user="ad-connector"))
    file = tmp_path / "ad-connector.service"
    file.write_text(artefact.text)
    done = subprocess.run(
        [tool, "security", "--offline=true", "--no-pager", "--threshold=25", str(file)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    if "unrecognized option" in done.stderr:
        pytest.skip("systemd-analyze is older than 250")
    assert done.returncode == 0, done.stdout[-300:] + done.stderr

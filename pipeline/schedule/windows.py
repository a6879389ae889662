"""Windows: a task for the Task Scheduler, and the commands that make a service of `watch`.

The XML follows the Task Scheduler schema 1.2 (MS-TSCH 2.5). Nothing of this was run on Windows.
"""

from __future__ import annotations

import subprocess
from datetime import date
from xml.sax.saxutils import escape

from pipeline.schedule.job import MARK, Artefact, Daily, Every, Job

NAMESPACE = "http://schemas.microsoft.com/windows/2004/02/mit/task"
LOCAL_SERVICE = "S-1-5-19"
"""The default account: it may use the network and little else. It must be given the configuration, journal and log."""

_WELL_KNOWN = {
    "local service": LOCAL_SERVICE,
    "network service": "S-1-5-20",
    "system": "S-1-5-18",
}


def artefacts(job: Job, *, today: date) -> tuple[Artefact, ...]:
    """The task as a file for `schtasks /Create /XML`, which wants UTF-16."""
    return (Artefact(f"/{job.name}.xml", task_xml(job, today=today), encoding="utf-16"),)


def task_xml(job: Job, *, today: date) -> str:
    """The task. `today`: the day its times count from."""
    program, *arguments = job.argv
    account = _account(job)
    # For the accounts of the system no password is kept; another's is asked for by schtasks (/RP).
    logon = "" if account in _WELL_KNOWN.values() else "\n      <LogonType>Password</LogonType>"
    restart = (
        "\n    <RestartOnFailure>\n      <Interval>PT1M</Interval>\n      <Count>255</Count>\n    </RestartOnFailure>"
        if job.timetable is None
        else ""
    )
    return f"""\
<?xml version="1.0" encoding="UTF-16"?>
<Task version="1.2" xmlns="{NAMESPACE}">
  <RegistrationInfo>
    <Description>{escape(f"Dropbox AD connector ({job.command}). {MARK}.")}</Description>
    <URI>\\{escape(job.name)}</URI>
  </RegistrationInfo>
  <Triggers>
{_trigger(job, today)}
  </Triggers>
  <Principals>
    <Principal id="Author">
      <UserId>{escape(account)}</UserId>{logon}
      <RunLevel>LeastPrivilege</RunLevel>
    </Principal>
  </Principals>
  <Settings>
    <MultipleInstancesPolicy>IgnoreNew</MultipleInstancesPolicy>
    <DisallowStartIfOnBatteries>false</DisallowStartIfOnBatteries>
    <StopIfGoingOnBatteries>false</StopIfGoingOnBatteries>
    <AllowHardTerminate>true</AllowHardTerminate>
    <StartWhenAvailable>true</StartWhenAvailable>
    <RunOnlyIfNetworkAvailable>false</RunOnlyIfNetworkAvailable>
    <Enabled>{"true" if job.enabled else "false"}</Enabled>
    <Hidden>false</Hidden>
    <WakeToRun>false</WakeToRun>
    <ExecutionTimeLimit>PT0S</ExecutionTimeLimit>
    <Priority>7</Priority>{restart}
  </Settings>
  <Actions Context="Author">
    <Exec>
      <Command>{escape(program)}</Command>
      <Arguments>{escape(subprocess.list2cmdline(arguments))}</Arguments>
      <WorkingDirectory>{escape(str(job.config.parent))}</WorkingDirectory>
    </Exec>
  </Actions>
</Task>
"""


def create_command(job: Job, file: str) -> tuple[str, ...]:
    """The command that registers the task; for an ordinary account it asks for the password."""
    command = ("schtasks.exe", "/Create", "/TN", job.name, "/XML", file, "/F")
    account = _account(job)
    return command if account in _WELL_KNOWN.values() else (*command, "/RU", account, "/RP", "*")


def delete_command(name: str) -> tuple[str, ...]:
    return ("schtasks.exe", "/Delete", "/TN", name, "/F")


def rights_commands(job: Job) -> tuple[str, ...]:
    """What gives the account the configuration, and the folders that it writes to."""
    account = _account(job)
    who = f"*{account}" if account.startswith("S-1-") else account
    system, administrators = "*S-1-5-18:F", "*S-1-5-32-544:F"
    config = str(job.config)
    commands = [
        # Its owner and administrators alone: else no secret may stand in it.
        ["icacls.exe", config, "/inheritance:r", "/grant", f"{who}:R", system, administrators],
        ["icacls.exe", config, "/setowner", who],
        *(["icacls.exe", str(folder), "/grant", f"{who}:(OI)(CI)M"] for folder in job.writable),
    ]
    return tuple(subprocess.list2cmdline(command) for command in commands)


def service_commands(job: Job) -> tuple[str, ...]:
    """`watch` as a service. Windows starts only programs made for it as services, so NSSM (https://nssm.cc) wraps ours.

    AppStopMethodConsole: how long it waits after Ctrl-C, which drains like SIGTERM.
    """
    program, *arguments = job.argv
    quoted = subprocess.list2cmdline(arguments)
    account = _account(job)
    name = subprocess.list2cmdline([job.name])
    commands = [
        f"nssm.exe install {name} {subprocess.list2cmdline([program])} {quoted}",
        f"nssm.exe set {name} AppDirectory {subprocess.list2cmdline([str(job.config.parent)])}",
        f"nssm.exe set {name} AppStopMethodConsole 45000",
        f"nssm.exe set {name} AppExit Default Restart",
        f"nssm.exe set {name} AppRestartDelay 30000",
        f"nssm.exe set {name} Start {'SERVICE_AUTO_START' if job.enabled else 'SERVICE_DISABLED'}",
    ]
    if account == LOCAL_SERVICE:
        commands.append(f'nssm.exe set {name} ObjectName "NT AUTHORITY\\LocalService" ""')
    if job.enabled:
        commands.append(f"nssm.exe start {name}")
    return tuple(commands)


def _account(job: Job) -> str:
    return _WELL_KNOWN.get(job.user.lower(), job.user) or LOCAL_SERVICE


def _trigger(job: Job, today: date) -> str:
    timetable = job.timetable
    if timetable is None:
        return "    <BootTrigger>\n      <Enabled>true</Enabled>\n    </BootTrigger>"
    start = f"{today:%Y-%m-%d}T{_start(timetable)}:00"  # without a zone: local time
    repetition = (
        f"      <Repetition>\n        <Interval>PT{timetable.minutes}M</Interval>\n      </Repetition>\n"
        if isinstance(timetable, Every)
        else ""
    )
    kind = "TimeTrigger" if isinstance(timetable, Every) else "CalendarTrigger"
    daily = (
        ""
        if isinstance(timetable, Every)
        else "      <ScheduleByDay>\n        <DaysInterval>1</DaysInterval>\n      </ScheduleByDay>\n"
    )
    # In the order of the schema's sequence.
    return (
        f"    <{kind}>\n      <Enabled>true</Enabled>\n      <StartBoundary>{start}</StartBoundary>\n"
        f"{repetition}{daily}    </{kind}>"
    )


def _start(timetable: Daily | Every) -> str:
    return f"{timetable.hour:02d}:{timetable.minute:02d}" if isinstance(timetable, Daily) else "00:00"

"""systemd units: a service for `watch`, or a service and a timer for `run` (systemd.service(5), systemd.exec(5))."""

from __future__ import annotations

from pathlib import Path

from pipeline.schedule.job import MARK, Artefact, Daily, Every, Job, Timetable

FOLDER = "/etc/systemd/system"
WATCHDOG_SECONDS = 60
STOP_SECONDS = 90
"""Above the drain of `watch` (30 s) and the last words after it."""

# A new start mends none of these: the Python (-1), the Dropbox credentials (-13), rights on files (-11), the configuration (-10).
_HOPELESS = (255, 243, 245, 246)

_HARDENING = """\
NoNewPrivileges=yes
CapabilityBoundingSet=
AmbientCapabilities=
UMask=0077
ProtectSystem=strict
PrivateDevices=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
RemoveIPC=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM
"""


def artefacts(job: Job) -> tuple[Artefact, ...]:
    """The unit files of a job."""
    if job.timetable is None:
        wants = (f"{FOLDER}/multi-user.target.wants",)
        return (Artefact(f"{FOLDER}/{job.name}.service", _watch_service(job), wants=wants),)
    return (
        Artefact(f"{FOLDER}/{job.name}.service", _run_service(job)),
        Artefact(
            f"{FOLDER}/{job.name}.timer", _timer(job.timetable), wants=(f"{FOLDER}/timers.target.wants",)
        ),
    )


def started_unit(job: Job) -> str:
    """What `systemctl start` is given."""
    return f"{job.name}.service" if job.timetable is None else f"{job.name}.timer"


def _watch_service(job: Job) -> str:
    return f"""\
# {MARK}. Changes belong into a drop-in: systemctl edit {job.name}
[Unit]
Description=Dropbox AD connector (watch)
Wants=network-online.target
After=network-online.target
StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=main
ExecStart={_command(job)}
ExecReload=/bin/kill -HUP $MAINPID
# The first pass may be long; until it is ready, the program asks for more time itself.
TimeoutStartSec=120
WatchdogSec={WATCHDOG_SECONDS}
# SIGTERM drains.
TimeoutStopSec={STOP_SECONDS}
Restart=on-failure
RestartSec=30
RestartPreventExitStatus={" ".join(map(str, _HOPELESS))}
{_surroundings(job)}
[Install]
WantedBy=multi-user.target
"""


def _run_service(job: Job) -> str:
    return f"""\
# {MARK}. Changes belong into a drop-in: systemctl edit {job.name}
[Unit]
Description=Dropbox AD connector (one pass)
Wants=network-online.target
After=network-online.target

[Service]
# A oneshot service that is still active is not started again by its timer: never two passes at once.
Type=oneshot
ExecStart={_command(job)}
TimeoutStopSec={STOP_SECONDS}
{_surroundings(job)}"""


def _timer(timetable: Timetable) -> str:
    return f"""\
# {MARK}.
[Unit]
Description=Dropbox AD connector, {timetable}

[Timer]
{_when(timetable)}AccuracySec=1s

[Install]
WantedBy=timers.target
"""


def _when(timetable: Timetable) -> str:
    if isinstance(timetable, Daily):
        # Persistent: a machine that was off at that time makes up for it.
        return f"OnCalendar=*-*-* {timetable.hour:02d}:{timetable.minute:02d}:00\nPersistent=yes\n"
    calendar = _calendar(timetable)
    if calendar:
        return f"OnCalendar={calendar}\nPersistent=yes\n"
    return f"OnActiveSec=1min\nOnUnitActiveSec={timetable.minutes}min\n"


def _calendar(timetable: Every) -> str:
    """Even spans start at the full hour or midnight; for the others there is no such expression."""
    hours, minutes = divmod(timetable.minutes, 60)
    if not minutes and 24 % hours == 0:
        return "*-*-* 00:00:00" if hours == 24 else f"*-*-* 00/{hours}:00:00"
    if not hours and 60 % minutes == 0:
        return f"*-*-* *:00/{minutes}:00"
    return ""


def _surroundings(job: Job) -> str:
    lines = []
    if job.user:
        lines.append(f"User={_literal(job.user)}")
    lines.append(f"WorkingDirectory={_literal(str(job.config.parent))}")
    if job.environment_file is not None:
        lines.append(f"EnvironmentFile=-{_literal(str(job.environment_file))}")
    lines += [f"LoadCredential={_literal(name)}:/etc/credstore/{_literal(name)}" for name in job.credentials]
    # "-": a folder that is missing is told by the program, in clearer words than systemd's.
    lines += [f"ReadWritePaths={_quoted(f'-{folder}')}" for folder in job.writable]
    # The control channel goes there where the journal's path is too long for a socket.
    lines += ["RuntimeDirectory=%p", "RuntimeDirectoryMode=0700", "Environment=XDG_RUNTIME_DIR=%t/%p"]
    homes = any(_is_below(path, "/home", "/root", "/run/user") for path in job.touched)
    lines.append(f"ProtectHome={'read-only' if homes else 'yes'}")
    temporary = any(_is_below(path, "/tmp", "/var/tmp") for path in job.touched)  # noqa: S108 - a question
    lines.append(f"PrivateTmp={'no' if temporary else 'yes'}")
    return "\n".join(lines) + "\n" + _HARDENING


def _is_below(path: Path, *folders: str) -> bool:
    return any(path.is_relative_to(folder) for folder in folders)


def _command(job: Job) -> str:
    return " ".join(_quoted(word).replace("$", "$$") for word in job.argv)


def _quoted(word: str) -> str:
    """One word of a command line or list (systemd.syntax(7)); `%` introduces a specifier."""
    word = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{word}"' if any(letter in word for letter in " '\";\\") else word


def _literal(text: str) -> str:
    """A value that systemd takes as it stands, spaces included."""
    return text.replace("%", "%%")

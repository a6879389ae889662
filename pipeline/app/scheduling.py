"""`schedule`: from the settings to a job, and its files onto the disk and off it again."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Literal

from config.environment import PREFIX
from config.settings import Settings
from pipeline.errors import ConfigurationError, RightsError
from pipeline.schedule import cron, systemd, windows
from pipeline.schedule.job import MARK, RECOMMENDED_MINUTES, Artefact, Every, Job, Timetable

System = Literal["systemd", "cron", "windows"]

_CHECKOUT = Path(__file__).resolve().parents[2]


def usual_system() -> System:
    """The scheduler of this machine."""
    if sys.platform == "win32":
        return "windows"
    return "systemd" if Path("/run/systemd/system").is_dir() else "cron"


def job_of(
    settings: Settings,
    system: System,
    *,
    name: str,
    timetable: Timetable | None,
    user: str,
    enabled: bool,
) -> Job:
    """The job with everything that it touches. ConfigurationError where the settings came from no file."""
    source = settings.source
    if source is None:
        raise ConfigurationError(
            "schedule",
            "the configuration comes from the environment alone, which a scheduler does not have",
            "write a connector.toml, and name it with --config",
        )
    config = source.resolve()
    writable = tuple(
        dict.fromkeys(path.resolve().parent for path in (settings.journal.path, settings.log.path))
    )
    secrets = settings.secrets()
    files = [one.file for one in secrets if one.file is not None]
    certificates = [
        settings.directory.ca_file,
        settings.dropbox.ca_file,
        settings.mail.ca_file,
        settings.service.tls_certificate,
    ]
    tickets = [settings.directory.keytab, settings.service.tls_key]
    if settings.directory.auth == "kerberos" and not settings.directory.keytab:
        tickets.append(Path("/tmp/krb5cc"))  # noqa: S108 - where the tickets of others lie as a rule
    program = (sys.executable, "-P", "-m", "pipeline")
    return Job(
        name=name,
        program=program,
        config=config,
        timetable=timetable,
        user=user or ("" if system == "windows" else _owner_of(config)),
        enabled=enabled,
        writable=writable,
        touched=(
            config,
            *writable,
            Path(sys.executable),
            Path(sys.base_prefix),
            _CHECKOUT,
            *files,
            *(one for one in (*certificates, *tickets) if one is not None),
        ),
        credentials=tuple(
            dict.fromkeys(
                one.describe().partition(":")[2] for one in secrets if one.describe().startswith("systemd:")
            )
        ),
        environment_file=config.with_name(f"{name}.env") if _environment_secrets(settings) else None,
    )


def _owner_of(file: Path) -> str:
    """Whoever owns the configuration can read it: the account to run as. "" where the system does not tell."""
    try:
        return file.owner()
    except (KeyError, NotImplementedError, OSError):
        return ""


def _environment_secrets(settings: Settings) -> list[str]:
    """The `env:` secrets that are needed, as `key: NAME`."""
    needed = {
        "directory.password": settings.directory.auth == "simple",
        "mail.password": settings.mail.enabled,
    }
    return [
        f"{one.key}: {one.describe().partition(':')[2]}"
        for one in settings.secrets()
        if one.describe().startswith("env:") and needed.get(one.key, True)
    ]


def warnings_about(
    job: Job, settings: Settings, system: System, environ: Mapping[str, str]
) -> tuple[str, ...]:
    """What an admin should know before relying on this job."""
    found = []
    if settings.simulation:
        found.append(
            "simulation = true: watch refuses to start"
            if job.timetable is None
            else "simulation = true: each pass only reports, nothing is written to Dropbox"
        )
    if isinstance(job.timetable, Every) and job.timetable.minutes < RECOMMENDED_MINUTES:
        found.append(f"a whole pass {job.timetable} is a lot; --watch is made for quick changes")
    if job.user in ("root", "system") or (not job.user and system == "cron"):
        found.append(
            "it would run as root, which it does not need: give the configuration, journal and log to an account of"
            " their own (useradd --system), or name one with --user"
        )
    elif system != "windows" and (owner := _owner_of(job.config)) and owner != job.user:
        found.append(f"{job.config} belongs to {owner}: {job.user} may not be able to read it")
    for secret in _environment_secrets(settings):
        name = secret.rpartition(" ")[2]
        found.append(
            f"{secret} is not in the environment of a scheduled job: put {name}=... into {job.environment_file} (mode 0600)"
            if system == "systemd"
            else f"{secret} is not in the environment of a scheduled job: use file:, or another reference"
        )
    overrides = sorted(name for name in environ if name.upper().startswith(PREFIX))
    if overrides:
        found.append(f"set in this environment, but not in that of the job: {', '.join(overrides)}")
    return tuple(found)


def artefacts_of(job: Job, system: System) -> tuple[Artefact, ...]:
    """The files of a job. ConfigurationError where this scheduler can't express its times."""
    if system == "systemd":
        return systemd.artefacts(job)
    if system == "windows":
        return windows.artefacts(job, today=date.today())  # noqa: DTZ011 - the Task Scheduler counts local days
    try:
        return cron.artefacts(job)
    except ValueError as error:
        raise ConfigurationError("schedule", str(error), "choose another --every, or --at") from error


@dataclass(frozen=True, slots=True)
class Place:
    """Where files are installed: `root` stands for /, and is something else in images and tests."""

    root: Path

    @property
    def is_this_machine(self) -> bool:
        return self.root == Path(self.root.anchor)

    def path(self, absolute: str) -> Path:
        return self.root / absolute.lstrip("/")


def install(job: Job, system: System, place: Place) -> list[Path]:
    """Writes the files, and the links that start them at boot; what was installed before under this name goes.

    RightsError where a file can't be written, or is somebody else's.
    """
    artefacts = artefacts_of(job, system)
    for one in artefacts:
        _require_ours(place.path(one.path))
    remove(job.name, system, place)
    written = []
    for one in artefacts:
        target = place.path(one.path)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            # cron ignores files that others may write to
            _write(target, one.text.encode(one.encoding))
            for folder in one.wants if job.enabled else ():
                link = place.path(folder) / target.name
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(one.path)
        except OSError as error:
            raise _refusal(target, error) from error
        written.append(target)
    return written


def remove(name: str, system: System, place: Place) -> list[Path]:
    """Takes away what `install` wrote under this name, and nothing else."""
    removed = []
    for path in installed(name, system, place):
        try:
            for folder in path.parent.glob("*.wants"):
                link = folder / path.name
                if link.is_symlink():
                    link.unlink()
            path.unlink()
        except OSError as error:
            raise _refusal(path, error) from error
        removed.append(path)
    return removed


def installed(name: str, system: System, place: Place) -> list[Path]:
    """The files of ours that stand there."""
    names = {
        "systemd": (f"{systemd.FOLDER}/{name}.timer", f"{systemd.FOLDER}/{name}.service"),
        "cron": (f"{cron.FOLDER}/{name}",),
        "windows": (f"/{name}.xml",),
    }[system]
    return [path for path in map(place.path, names) if _is_ours(path)]


def _is_ours(path: Path) -> bool:
    try:
        content = path.read_bytes()
    except OSError:
        return False
    return MARK.encode() in content or MARK.encode("utf-16-le") in content


def _require_ours(path: Path) -> None:
    if path.exists() and not _is_ours(path):
        raise RightsError(
            "schedule",
            f"{path} exists and was not written by this command",
            "move it away, or choose another --name",
        )


def _write(target: Path, content: bytes) -> None:
    partial = target.with_name(f".{target.name}.new")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_BINARY", 0), 0o644)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    partial.replace(target)


def _refusal(path: Path, error: OSError) -> RightsError:
    return RightsError(
        "schedule", f"{path}: {error.strerror}", "run it as root, or carry over what `schedule show` prints"
    )


def commands_after_install(job: Job, system: System, written: Sequence[Path]) -> list[tuple[str, ...]]:
    """What makes the scheduler of this machine look at the new files. Empty where it does so by itself."""
    if system == "windows":
        return [windows.create_command(job, str(written[0]))]
    if system == "systemd" and Path("/run/systemd/system").is_dir():
        reload = ("systemctl", "daemon-reload")
        return [reload, ("systemctl", "restart", systemd.started_unit(job))] if job.enabled else [reload]
    return []


def commands_before_remove(name: str, system: System, there: Sequence[Path]) -> list[tuple[str, ...]]:
    """What stops the job. A run that is under way drains."""
    if not there:
        return []
    if system == "windows":
        return [windows.delete_command(name)]
    if system == "systemd" and Path("/run/systemd/system").is_dir():
        return [("systemctl", "stop", *(path.name for path in there))]
    return []


def commands_after_remove(system: System, there: Sequence[Path]) -> list[tuple[str, ...]]:
    if there and system == "systemd" and Path("/run/systemd/system").is_dir():
        return [("systemctl", "daemon-reload")]
    return []

"""From file and environment to settings, with every fault at once: which line, which key, what is wrong.

No fault shows the value that was given: it might be a secret in the wrong place.
"""

from __future__ import annotations

import os
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from config import windows_rights
from config.diagnosis import field_of, section_of, sentence, syntax_fault, unknown
from config.environment import PREFIX, overrides, typed
from config.lines import KeyPath, key_lines, line_of
from config.secrets import readable_by_others, rights_fault
from config.sections import LogSettings, Mail
from config.settings import Settings
from pipeline.errors import ConfigurationError, RightsError

FILE_VARIABLE = "AD_CONNECTOR_CONFIG"
_MAX_BYTES = 1_048_576


@dataclass(frozen=True, slots=True)
class _Fault:
    line: int  # 0 for what has no line: those come first
    where: str
    key: str
    text: str

    def __str__(self) -> str:
        return ": ".join(part for part in (self.where, self.key, self.text) if part)


@dataclass(slots=True)
class _Document:
    """What was read: values, and where each came from. `mode` is the file's, for literal secrets."""

    file: Path | None
    folder: Path
    environ: Mapping[str, str]
    status: os.stat_result | None = None
    data: dict[str, Any] = field(default_factory=dict)
    lines: dict[KeyPath, int] = field(default_factory=dict)
    variables: dict[KeyPath, str] = field(default_factory=dict)

    @property
    def operation(self) -> str:
        return f"reading the configuration {self.file}" if self.file else "reading the configuration"

    def fault(self, path: KeyPath, text: str, key: str = "") -> _Fault:
        shown = key or ".".join(path)
        if name := self.variables.get(path[:2]) or self.variables.get(path[:1]):
            return _Fault(0, f"environment variable {name}", shown, text)
        if line := line_of(self.lines, path):
            return _Fault(line, f"line {line}", shown, text)
        return _Fault(0, "", shown, text)


@dataclass(frozen=True, slots=True)
class Salvage:
    """What a broken configuration still says, so that its failure can be logged and mailed. None: not usable."""

    mail: Mail | None = None
    log: LogSettings | None = None


def load(path: Path | str | None, environ: Mapping[str, str]) -> Settings:
    """Settings from the file that `path` names, else from the first place of interface §2 that has one.

    The environment overrides the file, and can replace it. Raises ConfigurationError (-10) with all `faults`,
    or RightsError (-11) where others can read a literal secret or the target of a `file:` reference.
    """
    document = _document(path, environ)
    settings, faults = _judged(document)
    if faults:
        raise ConfigurationError(document.operation, tuple(str(fault) for fault in faults))
    _check_rights(settings, document)
    return settings


def salvage(path: Path | str | None, environ: Mapping[str, str]) -> Salvage:
    """The [mail] and [log] sections of a configuration that `load` refused, where they are free of faults."""
    try:
        document = _document(path, environ)
        settings, faults = _judged(document)
    except (ConfigurationError, RightsError):
        return Salvage()
    broken = {fault.key.partition(".")[0] for fault in faults}
    return Salvage(
        mail=None if "mail" in broken else settings.mail,
        log=None if "log" in broken else settings.log,
    )


def early_log(path: Path | str | None, environ: Mapping[str, str]) -> LogSettings | None:
    """Where the failure of `load` is logged: as the broken configuration says, else the default beside it; None: there is no file."""
    if log := salvage(path, environ).log:
        return log
    file = place_for(path, environ)
    return judge({}, file.parent, {})[0].log if _exists(file) else None


def judge(
    values: Mapping[str, Any], folder: Path, environ: Mapping[str, str]
) -> tuple[Settings, tuple[tuple[str, str], ...]]:
    """What a file with these values would give: settings in which broken keys have their defaults, and key and
    text of each fault. Reads no configuration file.
    """
    settings, faults = _judged(_Document(None, folder, environ, data=dict(values)))
    return settings, tuple((fault.key, fault.text) for fault in faults)


def place_for(path: Path | str | None, environ: Mapping[str, str]) -> Path:
    """The file that `load` would read, or the one to make where there is none yet."""
    if named := path or environ.get(FILE_VARIABLE):
        return Path(named).absolute()
    looked = places(environ)
    return next((place for place in looked if _exists(place)), looked[0])


def places(environ: Mapping[str, str]) -> tuple[Path, ...]:
    """Where a configuration file is looked for when none is named, in order."""
    found = [Path("connector.toml"), Path("/etc/ad-connector/connector.toml")]
    if program_data := environ.get("ProgramData") or environ.get("PROGRAMDATA"):
        found.append(Path(program_data) / "ad-connector" / "connector.toml")
    return tuple(place.absolute() for place in found)


# --- reading ------------------------------------------------------------------------------------------------


def _document(path: Path | str | None, environ: Mapping[str, str]) -> _Document:
    try:
        file = _located(path, environ)
        # not resolve(): behind a symbolic link (a mounted ConfigMap), relative paths start where the link stands
        document = _Document(file, file.parent if file else Path.cwd(), environ)
    except FileNotFoundError as error:  # getcwd() says so
        raise ConfigurationError(
            "finding the configuration", "the working directory no longer exists", "change to another folder"
        ) from error
    if file:
        _read(document, file)
    return document


def _located(path: Path | str | None, environ: Mapping[str, str]) -> Path | None:
    named = path or environ.get(FILE_VARIABLE)
    if named:
        try:
            file = Path(named).expanduser().absolute()
        except RuntimeError:  # ~somebody, who does not exist
            file = Path(named).absolute()
        if "\0" in str(file) or not _exists(file):
            by = "--config" if path else FILE_VARIABLE
            raise ConfigurationError(
                "finding the configuration",
                f"{str(file)!r}, named by {by}, does not exist",
                "name an existing file; config/connector.example.toml shows all keys",
            )
        return file
    looked = places(environ)
    for place in looked:
        if _exists(place):
            return place
    if overrides(environ):
        return None  # the environment alone is enough, as in a container
    raise ConfigurationError(
        "finding the configuration",
        f"no file found; looked at {', '.join(str(place) for place in looked)}",
        "make one with `ad-connector configure` (config/connector.example.toml shows all keys), or name one with --config",
    )


def _exists(file: Path) -> bool:
    try:
        file.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True  # it is there, and reading it will say what is wrong with it
    return True


def _read(document: _Document, file: Path) -> None:
    try:
        if not file.is_file():
            kind = "a directory, not a file" if file.is_dir() else "not a file"
            raise ConfigurationError(
                document.operation, f"it is {kind}", "name the file itself, with its name"
            )
        with file.open("rb") as source:
            document.status = os.fstat(source.fileno())
            content = source.read(_MAX_BYTES + 1)
    except OSError as error:
        raise ConfigurationError(
            document.operation,
            f"{file} can't be read: {error.strerror}",
            "give the account that runs the connector the right to read it",
        ) from error
    if len(content) > _MAX_BYTES:
        raise ConfigurationError(
            document.operation,
            f"{file} is too long for a configuration (over 1 MiB)",
            "name a connector.toml",
        )
    try:
        text = content.decode("utf-8-sig")  # Windows editors put a byte order mark first
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        # from None: the original error carries the file's bytes
        raise ConfigurationError(
            document.operation,
            f"line {line}: not UTF-8 text (byte {error.start + 1})",
            "save the file as UTF-8",
        ) from None
    try:
        document.data = tomllib.loads(text)
        document.lines = key_lines(text)
    except (ValueError, RecursionError) as error:
        # from None: newer versions of the error carry the whole text
        raise ConfigurationError(document.operation, syntax_fault(error)) from None


# --- judging ------------------------------------------------------------------------------------------------


def _judged(document: _Document) -> tuple[Settings, list[_Fault]]:
    """Settings in which every broken key has its default, and the faults, by line."""
    faults: list[_Fault] = []
    values = _known(document, faults)
    _override(document, values, faults)
    broken: set[str] = {fault.key for fault in faults}
    context = {"folder": document.folder, "environ": document.environ, "rules_later": True}
    while True:
        try:
            settings = Settings.model_validate(values, context=context)
            break
        except ValidationError as error:
            for found in error.errors(include_url=False, include_input=False):
                path = tuple(str(part) for part in found["loc"])
                shown = ".".join(path[:2]) + "".join(f"[{part}]" for part in path[2:3])
                faults.append(document.fault(path[:2], sentence(found), shown))
                broken.add(".".join(path[:2]))
                _drop(values, path[:2])
    faults.extend(
        document.fault(tuple(fault.keys[0].split(".")), fault.text)
        for fault in settings.faults()
        if not broken.intersection(fault.keys)
    )
    if document.file:
        settings._source = document.file  # noqa: SLF001 - the model's own field, which only loading may set
    return settings, sorted(set(faults), key=lambda fault: (fault.line, fault.key, fault.text))


def _known(document: _Document, faults: list[_Fault]) -> dict[str, Any]:
    """The document's values without unknown sections and keys; those become faults."""
    values: dict[str, Any] = {}
    for name, value in document.data.items():
        section = section_of(name)
        if name not in Settings.model_fields:
            faults.append(document.fault((name,), unknown((name,), is_section=isinstance(value, dict))))
        elif section is None:
            values[name] = value
        elif not isinstance(value, dict):
            faults.append(
                document.fault((name,), f"must be a section, written [{name}] on a line of its own")
            )
        else:
            values[name] = {}
            for key, item in value.items():
                if key in section.model_fields:
                    values[name][key] = item
                else:
                    faults.append(document.fault((name, key), unknown((name, key), is_section=False)))
    return values


def _override(document: _Document, values: dict[str, Any], faults: list[_Fault]) -> None:
    for override in overrides(document.environ):
        known = field_of(override.path)
        if known is None:
            hint = unknown(override.path, is_section=False)
            faults.append(_Fault(0, f"environment variable {override.name}", ".".join(override.path), hint))
        elif earlier := document.variables.get(override.path):
            faults.append(
                document.fault(override.path, f"is also set by {override.name} ({earlier} came first)")
            )
        else:
            document.variables[override.path] = override.name
            value = typed(override.text, known)
            if len(override.path) == 1:
                values[override.path[0]] = value
            else:
                values.setdefault(override.path[0], {})[override.path[1]] = value


def _drop(values: dict[str, Any], path: KeyPath) -> None:
    """Takes a broken key out, so that the next round can judge the rest with its default."""
    section = values.get(path[0])
    if len(path) > 1 and isinstance(section, dict) and path[1] in section:
        del section[path[1]]
    else:
        # a default that is refused would come back forever: that is a defect of the model, and is raised
        del values[path[0]]


# --- rights -------------------------------------------------------------------------------------------------


IS_WINDOWS = sys.platform == "win32"
_WINDOWS_HINT = "run the commands named there; the owner has to be the account that runs the connector"


def _check_rights(settings: Settings, document: _Document) -> None:
    """RightsError where others can read a secret; on Windows what can't be told is noted for `check`."""
    faults: list[str] = []
    places: list[tuple[str, Path]] = []
    literals = [
        secret.key
        for secret in settings.secrets()
        if secret.is_literal and tuple(secret.key.split(".")) not in document.variables
    ]
    if literals and document.file:
        places.append((f"{', '.join(literals)} given as plain text", document.file))
    if literals and document.file and document.status and readable_by_others(document.status):
        faults.append(
            f"{', '.join(literals)} given as plain text, and {rights_fault(document.file, document.status)}"
        )
    # A keytab is as good as a password, and a key is the server itself.
    files = [(secret.key, secret.file) for secret in settings.secrets()]
    for key, file in (
        *files,
        ("directory.keytab", settings.directory.keytab),
        ("service.tls_key", settings.service.tls_key),
    ):
        if file is None:
            continue
        try:
            status = file.stat()
        except OSError:
            continue  # not there (yet), or out of sight: said when the secret is needed
        places.append((key, file))
        if readable_by_others(status):
            faults.append(f"{key}: {rights_fault(file, status)}")
    if IS_WINDOWS:
        judged = windows_rights.exposed([file for _, file in places], windows_rights.described)
        settings.note_unjudged(tuple(file for file, who in judged.items() if who is None))
        faults += [
            f"{key}: {file} can be read by {', '.join(who)}; {windows_rights.remedy(file)}"
            for key, file in places
            if (who := judged[file])
        ]
    if faults:
        raise RightsError(document.operation, "; ".join(faults), *([_WINDOWS_HINT] if IS_WINDOWS else []))


__all__ = [
    "FILE_VARIABLE",
    "PREFIX",
    "Salvage",
    "early_log",
    "judge",
    "load",
    "place_for",
    "places",
    "salvage",
]

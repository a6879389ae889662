"""A configuration that is being made: opened even when it is broken, judged as often as wanted, saved whole or not at all."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from config.answers import without
from config.diagnosis import syntax_fault
from config.document import salvaged, written
from config.load import judge
from config.secrets import replace_file
from pipeline.errors import ConfigurationError, RightsError

_MAX_BYTES = 1_048_576  # as `config.load`


@dataclass(frozen=True, slots=True)
class Original:
    """A file as it was found. `values` are those that are good; `faults` say why the others are not among them."""

    file: Path
    is_there: bool = False
    content: bytes = b""
    values: Mapping[str, Any] = field(default_factory=dict)
    faults: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        return self.content.decode("utf-8-sig", errors="replace")


def opened(file: Path, environ: Mapping[str, str]) -> Original:
    """What a file says, broken or not. ConfigurationError where it can't be read at all."""
    try:
        with file.open("rb") as source:
            content = source.read(_MAX_BYTES + 1)
    except FileNotFoundError:
        return Original(file)
    except OSError as error:
        raise ConfigurationError(
            f"opening the configuration {file}", f"it can't be read: {error.strerror}", "name another file"
        ) from error
    if len(content) > _MAX_BYTES:
        raise ConfigurationError(
            f"opening the configuration {file}", "it is too long for a configuration (over 1 MiB)"
        )
    faults: list[str] = []
    text = content.decode("utf-8-sig", errors="replace")
    try:
        content.decode("utf-8-sig")
        values = tomllib.loads(text)
    except UnicodeDecodeError:
        faults.append("not UTF-8 text")
        values = salvaged(text)
    except (ValueError, RecursionError) as error:
        faults.append(syntax_fault(error))
        values = salvaged(text)
    values, dropped = _good(values, file.parent, environ)
    return Original(file, True, content, values, (*faults, *dropped))


def _good(
    values: Mapping[str, Any], folder: Path, environ: Mapping[str, str]
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The values that mean something, and what was wrong with the others. A key that is merely missing is no fault here."""
    settings, faults = judge(values, folder, environ)
    missing = {fault.keys[0] for fault in settings.faults()}
    wrong = [(key, text) for key, text in faults if key not in missing]
    keys = {re.sub(r"\[\d+\]$", "", key) for key, _ in wrong}
    return without(values, keys), tuple(f"{key}: {text}" for key, text in wrong)


def demand_place(file: Path) -> None:
    """Raises RightsError where `save` could not, before anybody types much that would be lost."""
    folder = file.resolve().parent
    if folder.is_dir() and os.access(folder, os.W_OK):
        return
    trouble = "can't be written to" if folder.is_dir() else "does not exist"
    raise RightsError(
        f"writing the configuration {file}",
        f"the folder {folder} {trouble}",
        "make it (`mkdir -m 700`), owned by the account that runs the connector, and start this as that account",
    )


def save(original: Original, values: Mapping[str, Any]) -> Path | None:
    """Writes the values (mode 0600, whole or not at all). A broken original is kept; its new place is returned.

    RightsError where the folder or the disk does not take it: then nothing has changed.
    """
    file = original.file.resolve()  # a symbolic link stays one
    kept = _free_name(original.file) if original.faults else None
    try:
        if kept is not None:
            replace_file(kept, original.content)
        replace_file(file, written(values, original.text).encode())
    except OSError as error:
        raise RightsError(
            f"writing the configuration {original.file}",
            f"{file.parent}: {error.strerror}",
            "make the folder writable for the account that runs `ad-connector configure`, and the disk not full",
        ) from error
    return kept


def _free_name(file: Path) -> Path:
    """connector.toml.bak, else connector.toml.bak.1 and so on: no earlier one is overwritten."""
    kept = file.with_name(f"{file.name}.bak")
    number = 0
    while kept.exists():
        number += 1
        kept = file.with_name(f"{file.name}.bak.{number}")
    return kept

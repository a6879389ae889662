"""The whole configuration: its sections, and what holds between them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

from pydantic import Field, PrivateAttr, ValidationInfo, model_validator

from config.rules import Fault, broken
from config.secrets import Secret
from config.sections import (
    Canary,
    Directory,
    Dropbox,
    ExternalId,
    FullComparison,
    Groups,
    JournalSettings,
    LogSettings,
    Mail,
    Safety,
    Section,
    Service,
    Users,
    key,
)


def _section() -> Any:
    # a dict, not the model: the defaults inside (paths, secrets) need the validation context
    return Field(default_factory=dict, validate_default=True)


class Settings(Section):
    """The whole configuration. Made by `config.load.load`; in tests also by `Settings.model_validate`.

    The validation context takes `folder` (where relative paths start; default: the working directory),
    `environ` (for `env:` and `systemd:`; default: the process's) and `rules_later` (used by `load`).
    """

    simulation: bool = key(True, "nothing is written to Dropbox")
    directory: Directory = _section()
    users: Users = _section()
    groups: Groups = _section()
    dropbox: Dropbox = _section()
    external_id: ExternalId = _section()
    safety: Safety = _section()
    journal: JournalSettings = _section()
    log: LogSettings = _section()
    mail: Mail = _section()
    full_comparison: FullComparison = _section()
    canary: Canary = _section()
    service: Service = _section()

    _source: Path | None = PrivateAttr(default=None)
    _unjudged: tuple[Path, ...] = PrivateAttr(default=())

    @property
    def source(self) -> Path | None:
        """The file that the settings came from; None where the environment gave all of them."""
        return self._source

    @property
    def unjudged_files(self) -> tuple[Path, ...]:
        """Files of secrets of which this system did not tell who may read them; only on Windows."""
        return self._unjudged

    def note_unjudged(self, files: tuple[Path, ...]) -> None:
        self._unjudged = files

    @model_validator(mode="after")
    def _rules_hold(self, info: ValidationInfo) -> Self:
        if not (info.context or {}).get("rules_later"):
            faults = self.faults()
            if faults:
                raise ValueError("; ".join(f"{fault.keys[0]}: {fault.text}" for fault in faults))
        return self

    def faults(self) -> tuple[Fault, ...]:
        """The rules between keys that do not hold."""
        return broken(self.directory, self.groups, self.journal, self.log, self.mail, self.service)

    def secrets(self) -> tuple[Secret, ...]:
        """Every secret of every section, set or not."""
        return (
            self.directory.password,
            self.dropbox.app_secret,
            self.dropbox.refresh_token,
            self.dropbox.access_token,
            self.mail.password,
        )

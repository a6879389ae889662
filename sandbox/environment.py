"""The whole sandbox: a domain controller, a Dropbox team and a mail server on loopback, and a configuration for them.

Everything lies in one folder: certificates, the domain, secrets in files of mode 0600, `connector.toml`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import anyio

from sandbox.certificates import Authority
from sandbox.domain import DomainFacts
from sandbox.mailbox import Mailbox
from sandbox.population import STANDARD, Population, load
from sandbox.samba import SambaDomain
from sandbox.samba_admin import DomainAdministrator
from sandbox.team import SeedMember, TeamConfig, TeamSimulator

ADMIN_EMAIL = "it-admin@example.test"


@dataclass(frozen=True, slots=True)
class SandboxOptions:
    """`population` None: an empty domain but for the service accounts."""

    seats: int = 500
    poll_seconds: float = 1
    people: int = 0  # more people, in groups below the sync group
    population: Population | None = STANDARD


class Sandbox:
    """Started with `async with`; stops everything at the end."""

    def __init__(
        self, folder: Path, *, cache: Path | None = None, options: SandboxOptions | None = None
    ) -> None:
        self.folder = folder
        self.options = options or SandboxOptions()
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.authority = Authority(folder / "ca")
        self.domain = SambaDomain(folder / "domain", self.authority, cache=cache)
        self.team = TeamSimulator(
            TeamConfig(
                team_name="Sandbox",
                seats=self.options.seats,
                members=(SeedMember(ADMIN_EMAIL, "Ines", "Admin", admin=True),),
            )
        )
        self.mailbox = Mailbox(self.authority, folder=folder / "mail")
        self.guids: Mapping[str, str] = {}
        self._stack = AsyncExitStack()

    @property
    def facts(self) -> DomainFacts:
        return self.domain.facts

    @property
    def directory_database(self) -> Path:
        """What `samba-tool -H` opens, on this machine and as the user who started the domain."""
        return self.folder / "domain" / "private" / "sam.ldb"

    def administrator(self) -> DomainAdministrator:
        return self.domain.administrator()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            await self.domain.start()
            stack.push_async_callback(self.domain.stop)
            await self.team.start()
            stack.push_async_callback(self.team.stop)
            await self.mailbox.start()
            stack.push_async_callback(self.mailbox.stop)
            await anyio.to_thread.run_sync(self._populate_blocking)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    def _populate_blocking(self) -> None:
        if self.options.population is None:
            return
        with self.administrator() as administrator:
            self.guids = load(self.options.population, administrator)
            if self.options.people:
                groups = self.domain.load_people_blocking(
                    self.options.people, group=administrator.dn("Dropbox")
                )
                _ = groups

    # --- configuration

    def write_secrets(self) -> None:
        secrets = self.folder / "secrets"
        secrets.mkdir(exist_ok=True, mode=0o700)
        for name, value in (
            ("ad-password", self.facts.service_password),
            ("dropbox-refresh-token", self.team.config.refresh_token),
        ):
            file = secrets / name
            file.touch(mode=0o600)
            file.write_text(value, encoding="utf-8")

    def configuration(self, **changes: Any) -> dict[str, dict[str, Any] | Any]:
        """What `connector.toml` holds; `changes` by section replace or add keys."""
        settings: dict[str, Any] = {
            "simulation": False,
            "directory": {
                "servers": [self.facts.ldaps_url],
                "username": self.facts.service_account,
                "password": f"file:{self.folder / 'secrets' / 'ad-password'}",
                "ca_file": str(self.authority.ca_file),
                "poll_seconds": self.options.poll_seconds,
            },
            "users": {"sync_group": "Dropbox", "leave_settle_seconds": 0},
            "dropbox": {
                "app_key": self.team.config.app_key,
                "refresh_token": f"file:{self.folder / 'secrets' / 'dropbox-refresh-token'}",
                "api_url": self.team.url,
                "max_requests_per_second": 50.0,
            },
            "journal": {"path": str(self.folder / "journal.db")},
            "log": {"path": str(self.folder / "ad-connector.log")},
            "mail": {
                "enabled": True,
                "host": self.mailbox.host,
                "port": self.mailbox.port,
                "security": "starttls",
                "ca_file": str(self.authority.ca_file),
                "sender": "connector@example.test",
                "recipients": ["it@example.test"],
            },
            "service": {"listen": ""},
        }
        for section, keys in changes.items():
            if isinstance(keys, dict):
                settings[section] = {**settings.get(section, {}), **keys}
            else:
                settings[section] = keys
        return settings

    def toml(self, **changes: Any) -> str:
        settings = self.configuration(**changes)
        lines = [f"{key} = {_value(value)}" for key, value in settings.items() if not isinstance(value, dict)]
        for section, keys in settings.items():
            if isinstance(keys, dict):
                lines += ["", f"[{section}]", *(f"{key} = {_value(value)}" for key, value in keys.items())]
        return "\n".join(lines) + "\n"

    def write_configuration(self, name: str = "connector.toml", **changes: Any) -> Path:
        self.write_secrets()
        file = self.folder / name
        file.touch(mode=0o600)
        file.write_text(self.toml(**changes), encoding="utf-8")
        return file

    def handbook(self) -> str:
        """What a person or a test needs to act as the administrator of both sides, as TOML comments."""
        facts = self.facts
        return "\n".join(
            f"# {line}" if line else "#"
            for line in (
                "A sandbox on loopback. It lives until the process that printed this ends.",
                "",
                f"Directory   {facts.ldaps_url}  base {facts.base_dn}  CA {facts.ca_file}",
                f"            administrator {facts.administrator_dn}",
                f"            password      {facts.administrator_password}",
                f"            change it     samba-tool user disable ada.lovelace -H {self.directory_database}",
                "                          group removemembers Dropbox 'Sales Team', user delete coco.chanel, ...",
                f"            without the right to see deletions: {facts.blind_account} / {facts.blind_password}",
                f"Dropbox     {self.team.url}  access token {self.team.config.access_token}",
                f"            act as admin or invitee, set faults: curl {self.team.url}/sandbox",
                f"Mail        {self.mailbox.host}:{self.mailbox.port}; what arrives lies in {self.folder / 'mail'}",
            )
        )

    def facts_json(self) -> str:
        """The same for programs."""
        facts = self.facts
        return json.dumps(
            {
                "ldaps_url": facts.ldaps_url,
                "base_dn": facts.base_dn,
                "ca_file": str(facts.ca_file),
                "administrator_dn": facts.administrator_dn,
                "administrator_password": facts.administrator_password,
                "directory_database": str(self.directory_database),
                "blind_account": facts.blind_account,
                "blind_password": facts.blind_password,
                "dropbox_url": self.team.url,
                "dropbox_access_token": self.team.config.access_token,
                "mail_folder": str(self.folder / "mail"),
            },
            indent=1,
        )


def _value(value: Any) -> str:
    """A TOML value; JSON's strings, numbers, booleans and lists of them are TOML's."""
    return json.dumps(value, ensure_ascii=True)

"""What can be configured: one frozen model a section, with every key, its default and its meaning.

The keys are the contract (interface §3). This is their one home: the example file and the table in
docs/configuration.md are made from it (`config.reference`), and a test compares them.

Rules about a single value stand here or in `config.values`, rules between keys in `config.rules`; `config.settings`
puts the sections together.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    InstanceOf,
    SecretStr,
    ValidationInfo,
)

from config import values
from config.secrets import Secret, SecretAbsent
from pipeline.errors import DropboxSetupError


def key(default: Any, meaning: str, *, example: Any = None, **constraints: Any) -> Any:
    """One key: its default as TOML has it, one line of meaning, and an example where there is no useful default."""
    extra = None if example is None else {"example": example}
    return Field(default=default, description=meaning, json_schema_extra=extra, **constraints)


def _secret_at(path: str) -> BeforeValidator:
    def parse(value: Any, info: ValidationInfo) -> Secret:
        if isinstance(value, Secret):
            return value
        if not isinstance(value, str):
            raise ValueError(  # noqa: TRY004 - pydantic collects only ValueErrors
                "must be text in quotes: env:NAME, file:PATH, keyring:SERVICE/NAME, systemd:NAME"
            )
        environ = (info.context or {}).get("environ", os.environ)
        return Secret.parse(path, value, values.folder_of(info), environ)

    return BeforeValidator(parse)


Text = Annotated[str, AfterValidator(values.text)]
NonEmpty = Annotated[str, AfterValidator(values.filled)]
Host = Annotated[str, AfterValidator(values.host)]
Email = Annotated[str, AfterValidator(values.email)]
Percentage = Annotated[InstanceOf[values.Limit], BeforeValidator(values.limit)]
FilePath = Annotated[InstanceOf[Path], BeforeValidator(values.path)]
ExistingFile = Annotated[InstanceOf[Path] | None, BeforeValidator(values.existing_file)]
Ccache = Annotated[str, BeforeValidator(values.credential_cache)]
Servers = Annotated[tuple[Annotated[str, AfterValidator(values.server)], ...], BeforeValidator(values.listed)]
Patterns = Annotated[tuple[Annotated[str, AfterValidator(values.glob)], ...], BeforeValidator(values.listed)]
Guids = Annotated[tuple[Annotated[str, AfterValidator(values.guid)], ...], BeforeValidator(values.listed)]
Emails = Annotated[
    tuple[Annotated[str, AfterValidator(values.email), AfterValidator(values.filled)], ...],
    BeforeValidator(values.listed),
]

_YEAR_SECONDS = 366 * 86_400


class Section(BaseModel):
    """Frozen, strict about types, and deaf to no misspelling. Errors never show the value that was given."""

    model_config = ConfigDict(
        frozen=True,
        strict=True,
        extra="forbid",
        validate_default=True,
        hide_input_in_errors=True,
        allow_inf_nan=False,
        arbitrary_types_allowed=True,
    )


class Directory(Section):
    servers: Servers = key(
        [], "tried in order, one at a time; ldap:// needs start_tls", example=["ldaps://dc1.example.test"]
    )
    domain: Annotated[str, AfterValidator(values.domain)] = key(
        "", "instead of servers: servers are found by DNS SRV"
    )
    auth: Literal["simple", "kerberos"] = key(
        "simple", "by password, or by ticket (an extra); inside TLS, both"
    )
    username: Text = key("", "the account that reads the directory", example="svc-dropbox@example.test")
    password: Annotated[InstanceOf[Secret], _secret_at("directory.password")] = key(
        "env:AD_PASSWORD", "its password, by reference; not used with kerberos"
    )
    keytab: ExistingFile = key("", "kerberos: the account's keys; tickets are got and renewed with them")
    ccache: Ccache = key("", "kerberos without keytab: path or TYPE:NAME of the tickets; empty: the default")
    ca_file: ExistingFile = key("", "certificates to trust (PEM); empty: the system's")
    start_tls: bool = key(False, "StartTLS on ldap:// addresses")
    change_source: Literal["auto", "dirsync", "usn"] = key("auto", "how changes are read")
    poll_seconds: float = key(5, "watch: the longest time between looks", gt=0, le=86_400)
    notify: bool = key(True, "watch: be woken by the directory's change notification where offered")
    timeout_seconds: float = key(30, "for connecting and for each answer", gt=0, le=3_600)


class Users(Section):
    sync_group: NonEmpty = key("Dropbox", "name, DN or objectGUID of the user sync group")
    email_attribute: Annotated[str, AfterValidator(values.attribute)] = key(
        "mail", "the attribute that holds the e-mail address"
    )
    manage_existing: bool = key(True, "also manage members who are on the team already")
    on_delete: Literal["remove", "suspend"] = key("remove", "when a person is deleted in the directory")
    delete_grace_days: float = key(0, "suspend first, remove after this many days", ge=0, le=3_650)
    invited_leavers: Literal["revoke", "keep"] = key("revoke", "the open invitation of a person who left")
    expired_is_disabled: bool = key(False, "an expired account counts as disabled")
    wipe_data: bool = key(True, "wipe the devices of who is suspended or removed")
    send_welcome_email: bool = key(True, "Dropbox sends its welcome mail with an invitation")
    reinvite_days: float = key(
        0, "send it again every so many days, three times at most; 0 = never", ge=0, le=3_650
    )
    invited_email_change: Literal["wait", "reinvite"] = key(
        "wait", "when the e-mail of an invited person changes"
    )
    leave_settle_seconds: float = key(60, "no longer listed must hold this long", ge=0, le=86_400)
    console_suspension: Literal["override", "hold"] = key(
        "override", "a suspension made in the admin console"
    )
    exclude_emails: Patterns = key([], "e-mail patterns (* ? []) of people and members never to touch")
    exclude_guids: Guids = key([], "objectGUIDs of people never to touch")
    exclude_group: Text = key("", "name, DN or objectGUID of a group of people never to touch")


class Groups(Section):
    mode: Literal["off", "same", "separate"] = key(
        "off", "sync no groups, those in the user sync group, or others"
    )
    sync_group: Text = key("", "mode separate: name, DN or objectGUID of the group sync group")
    adopt_existing: bool = key(False, "link a company-managed Dropbox group of the same name")
    on_leave: Literal["keep", "delete"] = key("keep", "the Dropbox group of a group that left")


@dataclass(frozen=True, slots=True)
class DropboxCredentials:
    """Either an access token as is, or what the refresh grant needs. Without app secret: PKCE."""

    app_key: str
    app_secret: SecretStr | None = None
    refresh_token: SecretStr | None = None
    access_token: SecretStr | None = None


class Dropbox(Section):
    app_key: Text = key("", "the key of the Dropbox app")
    app_secret: Annotated[InstanceOf[Secret], _secret_at("dropbox.app_secret")] = key(
        "", "its secret, by reference; not needed with PKCE"
    )
    refresh_token: Annotated[InstanceOf[Secret], _secret_at("dropbox.refresh_token")] = key(
        "file:dropbox.token", "written by `ad-connector authorize`"
    )
    access_token: Annotated[InstanceOf[Secret], _secret_at("dropbox.access_token")] = key(
        "", "instead of the refresh token: a token as is"
    )
    api_url: Annotated[str, AfterValidator(values.api_url)] = key(
        "https://api.dropboxapi.com", "plain http is accepted for loopback only"
    )
    ca_file: ExistingFile = key("", "certificates to trust (PEM); empty: the system's")
    max_requests_per_second: float = key(10.0, "the ceiling; the pace adapts below it", gt=0, le=100_000)
    max_concurrency: int = key(4, "requests under way at once", ge=1, le=256)
    timeout_seconds: float = key(100, "for each request", gt=0, le=3_600)
    drift_poll_seconds: float = key(
        30, "the team's event log: watch looks this often, run once a pass; 0 = off", ge=0, le=86_400
    )

    def keep_refresh_token(self, rotated: str) -> None:
        """Stores a new one where the old one lies. Raises ConfigurationError, RightsError."""
        self.refresh_token.store(SecretStr(rotated))

    def credentials(self) -> DropboxCredentials:
        """Fetches the secrets.

        Raises DropboxSetupError where some are missing, ConfigurationError or RightsError where one is
        configured but can't be had.
        """
        if self.access_token.is_set:
            return DropboxCredentials(self.app_key, access_token=self.access_token.resolve())
        missing = [
            name
            for name, is_there in (
                ("dropbox.app_key", bool(self.app_key)),
                ("dropbox.refresh_token (or dropbox.access_token)", self.refresh_token.is_set),
            )
            if not is_there
        ]
        operation = "getting the Dropbox credentials"
        if missing:
            raise DropboxSetupError(operation, f"{' and '.join(missing)} not set")
        try:
            return DropboxCredentials(
                self.app_key,
                app_secret=self.app_secret.resolve() if self.app_secret.is_set else None,
                refresh_token=self.refresh_token.resolve(),
            )
        except SecretAbsent as error:
            raise DropboxSetupError(operation, error.cause) from error


class ExternalId(Section):
    format: Annotated[str, AfterValidator(values.external_id_format)] = key(
        "ad-guid:{objectGUID}",
        "what links a member to a person: one placeholder, {objectGUID} or {objectSid}",
    )
    adopt_legacy: bool = key(True, 'recognise the original connector\'s "ADSYNC {objectSid}"')
    overwrite_foreign: bool = key(False, "overwrite ids of other systems")


class Safety(Section):
    window_hours: float = key(
        24, "the rolling window in which destructive actions are counted", gt=0, le=8_784
    )
    max_leavers: Percentage = key("5%", "of the managed members, or a number; more are held")
    min_leavers_allowed: int = key(10, "floor of the percentage", ge=0, le=1_000_000)
    max_email_changes: Percentage = key("10%", "of the managed members, or a number; more are held")
    max_invites: int = key(0, "after the first real pass; 0 = no limit", ge=0, le=1_000_000)


class JournalSettings(Section):
    path: FilePath = key("journal.db", "the database file")
    retention_days: float = key(400, "history older than this may be compacted away", ge=1, le=36_500)


class LogSettings(Section):
    path: FilePath = key("ad-connector.log", "the log file")
    level: Literal["debug", "info", "warning", "error"] = key("info", "the least that is written")
    format: Literal["text", "json"] = key("text", "for people or for machines")


class Mail(Section):
    enabled: bool = key(False, "send alerts by e-mail")
    host: Host = key("", "the mail server")
    port: int = key(587, "587, 25 or 465; any other with security given", ge=1, le=65_535)
    security: Literal["auto", "starttls", "tls", "none"] = key("auto", "auto follows the port")
    username: Text = key("", "empty: no authentication; never sent without TLS")
    password: Annotated[InstanceOf[Secret], _secret_at("mail.password")] = key(
        "", "its password, by reference"
    )
    ca_file: ExistingFile = key("", "certificates to trust (PEM); empty: the system's")
    sender: Email = key("", "the address that alerts come from")
    recipients: Emails = key([], "the addresses that alerts go to")
    repeat_hours: float = key(
        24, "an unchanged alert is sent again after this time", ge=0, le=_YEAR_SECONDS / 3_600
    )


class FullComparison(Section):
    every_hours: float = key(24, "watch: the longest time between full comparisons", gt=0, le=8_784)


class Canary(Section):
    person: Text = key(
        "", "watch: e-mail or objectGUID of a test person whose changes must arrive; empty: nobody"
    )
    every_hours: float = key(24, "an alert when none has arrived for so long", gt=0, le=8_784)


class Service(Section):
    listen: Annotated[str, AfterValidator(values.listen)] = key(
        "127.0.0.1:8734", "watch: health, metrics, console; empty: off"
    )
    tls_certificate: ExistingFile = key("", "its certificate chain (PEM); needed where it is not on loopback")
    tls_key: ExistingFile = key("", "the key of that certificate (PEM, without a passphrase)")

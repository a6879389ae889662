"""What the set-up asks, and in which order. Pure: no terminal, no file, no network.

The order is that of the original connector's help article: token, simulation, users, groups, log, mail; the directory's
own address and account, which the original took from Windows, stand before the users.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from enum import StrEnum

from config.settings import Settings


class Topic(StrEnum):
    DROPBOX = "dropbox"
    SIMULATION = "simulation"
    DIRECTORY = "directory"
    USERS = "users"
    GROUPS = "groups"
    LOG = "log"
    MAIL = "mail"

    @property
    def heading(self) -> str:
        return _HEADINGS[self]


_HEADINGS = {
    Topic.DROPBOX: "Dropbox: app and token",
    Topic.SIMULATION: "Simulation",
    Topic.DIRECTORY: "Directory: where it is, and who reads it",
    Topic.USERS: "Users",
    Topic.GROUPS: "Groups",
    Topic.LOG: "Log",
    Topic.MAIL: "E-mail notifications",
}


class Kind(StrEnum):
    TEXT = "text"
    NUMBER = "number"
    YES_NO = "yes_no"
    CHOICE = "choice"
    LIST = "list"
    SERVERS = "servers"
    GROUP = "group"  # text, with *browse*
    SECRET = "secret"  # asked in two steps: where it lies, then the value  # noqa: S105 - a kind of question
    TOKEN = "token"  # a secret that Dropbox gives: where it lies, then the approval in a browser  # noqa: S105


class Probe(StrEnum):
    """What an answer is tested against, at once."""

    NONE = ""
    REACH = "reach"
    TRUST = "trust"
    KEYTAB = "keytab"
    SIGN_IN = "sign_in"
    GROUP = "group"
    GROUP_OF_GROUPS = "group_of_groups"
    EMAILS = "emails"
    TEAM = "team"
    LOG = "log"
    MAIL_REACH = "mail_reach"
    MAIL_SIGN_IN = "mail_sign_in"
    MAIL_SEND = "mail_send"


def _always(_settings: Settings) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Question:
    """`key` is `section.name`; `sentence` tells in one sentence what the answer does."""

    key: str
    topic: Topic
    ask: str
    sentence: str
    kind: Kind = Kind.TEXT
    probe: Probe = Probe.NONE
    when: Callable[[Settings], bool] = _always
    choices: tuple[str, ...] = ()
    is_needed: bool = False

    @property
    def path(self) -> tuple[str, ...]:
        return tuple(self.key.split("."))


def _simple(settings: Settings) -> bool:
    return settings.directory.auth == "simple"


def _by_keytab(settings: Settings) -> bool:
    return settings.directory.auth == "kerberos" and settings.directory.keytab is not None


def _signs_in_by_token(settings: Settings) -> bool:
    return not settings.dropbox.access_token.is_set and bool(settings.dropbox.app_key)


def _has_mail(settings: Settings) -> bool:
    return settings.mail.enabled


def _secure_mail(settings: Settings) -> bool:
    return settings.mail.enabled and settings.mail.security != "none"


QUESTIONS = (
    Question(
        "dropbox.app_key",
        Topic.DROPBOX,
        "App key",
        "The key of the app that you made in the Dropbox App Console; it is no secret.",
        when=lambda settings: not settings.dropbox.access_token.is_set,
        is_needed=True,
    ),
    Question(
        "dropbox.refresh_token",
        Topic.DROPBOX,
        "Token",
        "A team admin approves the app in a browser and copies a code; the token that it gives is kept by reference.",
        kind=Kind.TOKEN,
        probe=Probe.TEAM,
        when=_signs_in_by_token,
    ),
    Question(
        "simulation",
        Topic.SIMULATION,
        "Simulation mode",
        "While it is on, everything is read and decided, and nothing is written to Dropbox; start with it.",
        kind=Kind.YES_NO,
    ),
    Question(
        "directory.servers",
        Topic.DIRECTORY,
        "Domain controllers, or the domain's name",
        "ldaps:// addresses parted by commas, tried in order; or a name such as example.test, and DNS tells the servers.",
        kind=Kind.SERVERS,
        probe=Probe.REACH,
        is_needed=True,
    ),
    Question(
        "directory.ca_file",
        Topic.DIRECTORY,
        "Certificate authority (PEM file)",
        "Whom to trust when the domain controller shows its certificate; empty means the authorities of this system.",
        probe=Probe.TRUST,
    ),
    Question(
        "directory.auth",
        Topic.DIRECTORY,
        "Sign-in",
        "By password inside TLS, or by Kerberos ticket (an extra that is built when the connector is installed).",
        kind=Kind.CHOICE,
        choices=("simple", "kerberos"),
    ),
    Question(
        "directory.keytab",
        Topic.DIRECTORY,
        "Keytab",
        "A file with the account's keys, readable by the connector alone; empty where tickets come from elsewhere.",
        probe=Probe.KEYTAB,
        when=lambda settings: settings.directory.auth == "kerberos",
    ),
    Question(
        "directory.username",
        Topic.DIRECTORY,
        "Account that reads the directory",
        "As name@domain; it needs to read, nothing more, and the right to see deleted objects.",
        probe=Probe.SIGN_IN,
        when=lambda settings: _simple(settings) or _by_keytab(settings),
        is_needed=True,
    ),
    Question(
        "directory.password",
        Topic.DIRECTORY,
        "Its password",
        "It is kept by reference: the configuration names the place, never the password.",
        kind=Kind.SECRET,
        probe=Probe.SIGN_IN,
        when=_simple,
        is_needed=True,
    ),
    Question(
        "directory.ccache",
        Topic.DIRECTORY,
        "Credential cache",
        "Where somebody else keeps fresh tickets; empty means the default place of this system.",
        probe=Probe.SIGN_IN,
        when=lambda settings: settings.directory.auth == "kerberos" and settings.directory.keytab is None,
    ),
    Question(
        "users.sync_group",
        Topic.USERS,
        "Group to sync",
        "Everybody in it, through any nesting, gets an account; name it, or browse with ? or ?part-of-a-name.",
        kind=Kind.GROUP,
        probe=Probe.GROUP,
        is_needed=True,
    ),
    Question(
        "users.email_attribute",
        Topic.USERS,
        "E-mail attribute",
        "The attribute of the directory that holds the address people sign in to Dropbox with.",
        probe=Probe.EMAILS,
        is_needed=True,
    ),
    Question(
        "users.manage_existing",
        Topic.USERS,
        "Manage existing users",
        "Whether people who are on the team already, with the e-mail of somebody in the group, are managed as well.",
        kind=Kind.YES_NO,
    ),
    Question(
        "groups.mode",
        Topic.GROUPS,
        "Sync groups",
        "off: none; same: the groups inside the group above; separate: the groups inside another group.",
        kind=Kind.CHOICE,
        choices=("off", "same", "separate"),
    ),
    Question(
        "dropbox.refresh_token",
        Topic.GROUPS,
        "Token",
        "Groups need two more rights, groups.read and groups.write: if the test misses them, get a new token.",
        kind=Kind.TOKEN,
        probe=Probe.TEAM,
        when=lambda settings: settings.groups.mode != "off" and _signs_in_by_token(settings),
    ),
    Question(
        "groups.sync_group",
        Topic.GROUPS,
        "Group that holds the groups to sync",
        "Each group in it becomes a group in Dropbox; name it, or browse with ? or ?part-of-a-name.",
        kind=Kind.GROUP,
        probe=Probe.GROUP_OF_GROUPS,
        when=lambda settings: settings.groups.mode == "separate",
        is_needed=True,
    ),
    Question(
        "log.path",
        Topic.LOG,
        "Log file",
        "Every pass writes what it did into it; a relative path starts at the configuration's folder.",
        probe=Probe.LOG,
        is_needed=True,
    ),
    Question(
        "mail.enabled",
        Topic.MAIL,
        "Send mail when something is wrong",
        "Mails are grouped by cause, sent once, again after a day, and once when it is over.",
        kind=Kind.YES_NO,
    ),
    Question(
        "mail.host",
        Topic.MAIL,
        "Mail server",
        "The name or address of the server that takes mail from this machine.",
        when=_has_mail,
        is_needed=True,
    ),
    Question(
        "mail.ca_file",
        Topic.MAIL,
        "Certificate authority of the mail server (PEM file)",
        "Whom to trust when the mail server shows its certificate; empty means the authorities of this system.",
        when=_secure_mail,
    ),
    Question(
        "mail.port",
        Topic.MAIL,
        "Port",
        "587 with STARTTLS, 465 with TLS from the first byte, 25 with TLS where offered.",
        kind=Kind.NUMBER,
        probe=Probe.MAIL_REACH,
        when=_has_mail,
    ),
    Question(
        "mail.security",
        Topic.MAIL,
        "Encryption",
        "auto follows the port; with any other port than 587, 465 and 25 it has to be said.",
        kind=Kind.CHOICE,
        choices=("auto", "starttls", "tls", "none"),
        probe=Probe.MAIL_REACH,
        when=lambda settings: settings.mail.enabled and settings.mail.port not in (25, 465, 587),
    ),
    Question(
        "mail.username",
        Topic.MAIL,
        "User name",
        "Empty where the server takes mail without sign-in; it is never sent without TLS.",
        probe=Probe.MAIL_SIGN_IN,
        when=_secure_mail,
    ),
    Question(
        "mail.password",
        Topic.MAIL,
        "Password",
        "It is kept by reference, like the directory's.",
        kind=Kind.SECRET,
        probe=Probe.MAIL_SIGN_IN,
        when=lambda settings: settings.mail.enabled and bool(settings.mail.username),
        is_needed=True,
    ),
    Question(
        "mail.sender",
        Topic.MAIL,
        "Sender",
        "The address that alerts come from.",
        when=_has_mail,
        is_needed=True,
    ),
    Question(
        "mail.recipients",
        Topic.MAIL,
        "Recipients",
        "The addresses that alerts go to, parted by commas; a test message is sent to them.",
        kind=Kind.LIST,
        probe=Probe.MAIL_SEND,
        when=_has_mail,
        is_needed=True,
    ),
)


def next_question(
    settings: Settings,
    *,
    after: Question | None = None,
    topic: Topic | None = None,
    given: Collection[str] = (),
) -> Question | None:
    """The first question behind `after` that the answers so far give a reason for; None: all is asked.

    `topic` None asks about everything. Keys that are `given` elsewhere (by the environment) are not asked for.
    """
    start = 0 if after is None else QUESTIONS.index(after) + 1
    return next(
        (
            question
            for question in QUESTIONS[start:]
            if topic in (None, question.topic) and question.key not in given and question.when(settings)
        ),
        None,
    )


def question_for(key: str) -> Question | None:
    """The question whose answer sets this key."""
    aliases = {"directory.domain": "directory.servers", "directory.start_tls": "directory.servers"}
    return next((one for one in QUESTIONS if one.key == aliases.get(key, key)), None)

"""How a pass ends: the exit codes with reason and remedy (behaviour.md §10)."""

from __future__ import annotations

from enum import IntEnum

from pipeline.errors import ConnectorError


class ExitCode(IntEnum):
    """The code that a pass logs and returns; a shell shows it modulo 256 (`shell_status`)."""

    OK = 0
    ARGUMENT = 2
    PYTHON = -1
    CONFIGURATION = -10
    RIGHTS = -11
    DIRECTORY = -12
    DROPBOX_SETUP = -13
    TEAM_INFO = -14
    SCOPE = -15
    TEAM_READ = -16
    SYNC = -17
    BRAKE = -18
    RUNNING = -19
    JOURNAL = -20

    @property
    def reason(self) -> str:
        return _TEXTS[self][0]

    @property
    def remedy(self) -> str:
        """What the admin should do; empty for 0."""
        return _TEXTS[self][1]


_TEXTS: dict[ExitCode, tuple[str, str]] = {
    ExitCode.OK: ("finished; every wanted action is done, or waits with good reason", ""),
    ExitCode.ARGUMENT: (
        "the command names somebody or something that is not known, or that several are called; nothing was done about it",
        "the message says who may be meant; a scheduled pass never ends like this",
    ),
    ExitCode.PYTHON: (
        "this version of Python is not supported",
        "run it with Python 3.11 or newer",
    ),
    ExitCode.CONFIGURATION: (
        "the configuration can't be read or is invalid",
        "fix the keys named above, or `ad-connector configure`, which also opens a broken file and keeps it as .bak",
    ),
    ExitCode.RIGHTS: (
        "not enough rights on a file, or too many people have them",
        "give the file named above to the connector's account alone (mode 0600); it must be able to write journal and log",
    ),
    ExitCode.DIRECTORY: (
        "the directory can't be reached, trusted, bound to, or read",
        "check reach, name and rights with `ad-connector check directory`",
    ),
    ExitCode.DROPBOX_SETUP: (
        "the Dropbox client can't be set up",
        "run `ad-connector authorize`; check the [dropbox] section, and that TLS 1.2 is possible",
    ),
    ExitCode.TEAM_INFO: (
        "the team's info can't be fetched",
        "where Dropbox can't be reached, see the network of this machine and the Dropbox status page; where it refuses, "
        "run `ad-connector authorize`, and check that the admin who authorised is still active",
    ),
    ExitCode.SCOPE: (
        "nobody is in scope, or the sync group does not exist",
        "check the group and its members; nobody was suspended or removed for it",
    ),
    ExitCode.TEAM_READ: (
        "the team's members or groups can't be fetched",
        "try again; see the Dropbox status page",
    ),
    ExitCode.SYNC: (
        "failed while syncing: a wanted action or group stands as failed, or something unexpected happened",
        "see `ad-connector explain PERSON` or `explain --group NAME`, then try again",
    ),
    ExitCode.BRAKE: (
        "the brake holds actions until somebody looks at them",
        "look at the held sets with `ad-connector status`; release one with `ad-connector approve HASH`, or do nothing",
    ),
    ExitCode.RUNNING: (
        "another instance is running",
        "wait until the process named above has ended, or stop it",
    ),
    ExitCode.JOURNAL: (
        "the journal can't be used",
        "free disk space, restore it from a backup, or upgrade the connector; losing the journal loses nothing but history",
    ),
}


_TEAM_INFO_REMEDIES = (
    ("ad-connector authorize", "run `ad-connector authorize`"),
    ("still active", "check that the admin who authorised is still active"),
    ("status page", "see the Dropbox status page"),
)
"""The three that behaviour.md §10 wants printed, each with the words by which a hint is known to name it already."""


def remedy_of(code: ExitCode, hint: str) -> str:
    """What to print for a pass that ended like this, where the error that ended it has this hint ("": it has none).

    Of the three remedies for -14 the one that fits the cause comes first: in an outage a new token mends nothing.
    """
    if code is not ExitCode.TEAM_INFO or not hint:
        return code.remedy
    others = [remedy for words, remedy in _TEAM_INFO_REMEDIES if words not in hint]
    return f"{hint}; if that is not it: {'; '.join(others)}" if others else hint


def final_code(ended_by: ConnectorError | None, *, held: bool, failed: bool) -> ExitCode:
    """What ended the pass wins; else a brake before a failure. An error without a code of its own is -17."""
    if ended_by is not None:
        try:
            return ExitCode(ended_by.exit_code)
        except ValueError:
            return ExitCode.SYNC
    if held:
        return ExitCode.BRAKE
    return ExitCode.SYNC if failed else ExitCode.OK


def shell_status(code: int) -> int:
    """The code as a shell shows it: -15 is 241."""
    return code % 256

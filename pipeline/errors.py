"""The tree of errors. Each carries what was being done, why it failed and what the admin should do.

    ConnectorError                    operation · cause · hint · exit code of the pass it ends
    ├── ConfigurationError     -10    all faults at once, in `faults`
    ├── RightsError            -11    a file that others can read, a file we can't write
    ├── DirectoryError         -12    reach, bind, TLS, read
    │   ├── DirectoryBusy             transient: keep the checkpoint, try later
    │   ├── CheckpointRefused         transient: the cookie or epoch is void, read in full
    │   └── GroupNotFound      -15    also AmbiguousGroup (-10), GroupReplaced (-15)
    ├── ScopeEmpty             -15    nobody in scope
    ├── DropboxSetupError      -13    credentials, refresh, TLS, URL
    ├── TeamInfoError          -14    team info can't be fetched, 401 included
    ├── TeamReadError          -16    members or groups can't be fetched
    │   └── GroupGone                 the group whose members were asked for does not exist (any more)
    ├── SyncError              -17    something unexpected
    ├── InstanceRunning        -19    another process owns the journal
    ├── JournalError           -20    disk full, corrupt, newer schema
    └── MailError              (none) the mail server refused or was out of reach; never ends a pass

A write's own failure is no exception: it is an `Outcome` (pipeline.model), because one bad person never
stops the others.
"""

from __future__ import annotations


class ConnectorError(Exception):
    """`operation`: what was being done. `cause`: what went wrong. `hint`: what the admin should do."""

    exit_code = -17
    default_hint = "run `ad-connector check`, then try again"

    def __init__(self, operation: str, cause: str, hint: str = "") -> None:
        self.operation = operation
        self.cause = cause
        self.hint = hint or self.default_hint
        super().__init__(f"{operation}: {cause}")

    @property
    def causes(self) -> tuple[str, ...]:
        """`cause`, one by one where there are several."""
        return (self.cause,)

    def __str__(self) -> str:
        return f"{self.operation}: {self.cause}. What to do: {self.hint}"


class ConfigurationError(ConnectorError):
    exit_code = -10
    default_hint = "fix the keys named above, or `ad-connector configure`"

    def __init__(self, operation: str, faults: tuple[str, ...] | str, hint: str = "") -> None:
        self.faults = (faults,) if isinstance(faults, str) else faults
        super().__init__(operation, "; ".join(self.faults), hint)

    @property
    def causes(self) -> tuple[str, ...]:
        return self.faults


class RightsError(ConnectorError):
    exit_code = -11
    default_hint = "make the file readable and writable by its owner alone (chmod 600), owned by the account that runs the connector"


class DirectoryError(ConnectorError):
    exit_code = -12
    default_hint = "check reach, name and rights with `ad-connector check directory`"


class DirectoryBusy(DirectoryError):
    """Transient: busy, time limit, dropped connection. The checkpoint stays good."""


class CheckpointRefused(DirectoryError):
    """The cookie or the USN epoch is no longer valid: a full read must follow. Nobody has left by it."""


class GroupNotFound(DirectoryError):
    exit_code = -15
    default_hint = "check the name of the group in the configuration, and that the account may read it"


class GroupReplaced(DirectoryError):
    """Another group stands under the old name; the pinned one is gone, or has another name by now."""

    exit_code = -15
    default_hint = "if the new group is meant, name it by its objectGUID"


class AmbiguousGroup(DirectoryError):
    exit_code = -10
    default_hint = "name the group by its DN or objectGUID"


class ScopeEmpty(ConnectorError):
    exit_code = -15
    default_hint = "check that the sync group has members with an e-mail address; nobody was touched"


class DropboxSetupError(ConnectorError):
    exit_code = -13
    default_hint = "run `ad-connector authorize`"


class TeamInfoError(ConnectorError):
    exit_code = -14
    default_hint = (
        "see the Dropbox status page; then `ad-connector authorize`, as a team admin who is still active"
    )


class TeamReadError(ConnectorError):
    exit_code = -16
    default_hint = "try again; see the Dropbox status page"


class GroupGone(TeamReadError):
    """The team has no such group: what was known about it is void."""


class SyncError(ConnectorError):
    exit_code = -17
    default_hint = "see the log, `ad-connector explain PERSON`, then try again"


class InstanceRunning(ConnectorError):
    exit_code = -19
    default_hint = "wait for it to end, or stop that process"


class JournalError(ConnectorError):
    exit_code = -20
    default_hint = "free disk space or restore the journal from a backup; losing it is safe: the next pass compares everything"


class MailError(ConnectorError):
    """`permanent` is true when trying again is pointless until the configuration changes."""

    default_hint = "check the [mail] section with `ad-connector check mail --send-mail`"

    def __init__(self, operation: str, cause: str, hint: str = "", *, permanent: bool = False) -> None:
        super().__init__(operation, cause, hint)
        self.permanent = permanent


class ControlError(ConnectorError):
    """A request to the running owner of the journal could not be carried out."""

    default_hint = "try again; `ad-connector status` shows whether a watch is running"


class WrongArgument(ControlError):
    """A command names something that does not exist, or not like this: wrong usage, and no fault of a pass."""

    exit_code = 2
    default_hint = "see the command's --help"


def forget_frames(error: BaseException) -> None:
    """For an error that is kept: its traceback, and those of what led to it, keep everything that was in hand when it was raised,

    a list of the whole team perhaps.
    """
    seen: list[BaseException] = []
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop()
        if one is not None and one not in seen:
            one.__traceback__ = None
            seen.append(one)
            waiting += [one.__cause__, one.__context__]

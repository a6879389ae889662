"""What stands between a decision and its sending, so that nothing is promised which will not happen. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from pipeline.core.exits import ExitCode
from pipeline.core.namesake import HELD_KIND
from pipeline.model import DESTRUCTIVE, Action, ActionKind, State
from pipeline.records import HeldRecord

_UNREAD = frozenset(
    {ExitCode.CONFIGURATION, ExitCode.DIRECTORY, ExitCode.SCOPE}
)  # of the directory: what was due already and harms nobody is still sent (behaviour.md §5)
_ON_ITS_WAY = frozenset({State.PLANNED, State.SENDING, State.RETRY})
_UNREACHED = frozenset({ExitCode.DROPBOX_SETUP, ExitCode.TEAM_INFO, ExitCode.TEAM_READ})


@dataclass(frozen=True, slots=True, kw_only=True)
class Obstacle:
    """`by`: "simulation", "pass", "brake" or "groups". `why`: in words, to follow "nothing is sent:". `remedy`: what to do."""

    by: str
    why: str
    remedy: str


SIMULATION = Obstacle(
    by="simulation",
    why="simulation = true, so nothing is written to Dropbox",
    remedy="set simulation = false once `ad-connector plan` is as you want it",
)


def only_simulated(at: str, *, is_setting: bool) -> Obstacle:
    """No real pass has read the directory yet; the simulated one of this moment has. `is_setting`: simulation is true."""
    first = "set simulation = false, then `ad-connector run`" if is_setting else "`ad-connector run`"
    return Obstacle(
        by="simulation",
        why=f"only simulated passes have run; this is what the one of {at} saw",
        remedy=f"{first} is the first real pass",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """What holds for everybody. `code`, `cause` and `remedy` are of the newest pass that ended, `pass_id` is its number.

    `simulation`: while nothing is to be written. `is_rehearsal`: all that is known comes from a simulated pass.
    `held`: the sets that stand held. `group_fault`: why no group is touched.
    """

    simulation: Obstacle | None = None
    is_rehearsal: bool = False
    pass_id: int = 0
    code: ExitCode = ExitCode.OK
    cause: str = ""
    remedy: str = ""
    held: tuple[HeldRecord, ...] = ()
    group_fault: str = ""

    @property
    def of_pass(self) -> Obstacle | None:
        """A read that failed proves nothing: until one succeeds, nothing new is decided."""
        if self.code not in _UNREAD | _UNREACHED:
            return None
        cause = f" ({self.cause})" if self.cause else ""
        proves = " This proves nothing about anybody." if self.code in _UNREAD else ""
        return Obstacle(
            by="pass",
            why=f"pass {self.pass_id} ended with {int(self.code)}, {self.code.reason}{cause}.{proves}",
            remedy=f"{self.remedy}. The next pass that can read decides anew",
        )

    @property
    def unsure(self) -> Obstacle | None:
        """Why what is known may be out of date, or was never done."""
        return self.of_pass or (self.simulation if self.is_rehearsal else None)

    def against(
        self, kind: ActionKind, guid: str, pending: Sequence[Action], group_guid: str = ""
    ) -> Obstacle | None:
        """What keeps this action of a person (`guid`) or a group from being sent, the first of several.

        `pending`: the open actions about the same subject.
        """
        if self.simulation is not None:
            return self.simulation
        same = [one for one in pending if one.kind is kind and one.guid == guid]
        of_pass = self.of_pass
        if of_pass is not None:
            is_due = not group_guid and any(one.state in _ON_ITS_WAY for one in same)
            if self.code in _UNREACHED or kind in DESTRUCTIVE or not is_due:
                return of_pass
        if group_guid and self.group_fault:
            return Obstacle(
                by="groups", why=self.group_fault, remedy="check groups.sync_group; people go on meanwhile"
            )
        if any(one.state is State.HELD for one in same):
            return self._by_brake(kind, guid, group_guid)
        return None

    def _by_brake(self, kind: ActionKind, guid: str, group_guid: str) -> Obstacle:
        held = held_set_of(self.held, kind, guid, group_guid)
        if held is None:
            return Obstacle(
                by="brake",
                why="held by the brake",
                remedy="the next pass shows its set: `ad-connector status` names the hash for `approve`",
            )
        return Obstacle(
            by="brake",
            why=f"held by the brake, with {held.wanted} {held.kind} in all ({held.limit_text})",
            remedy=f"`ad-connector approve {held.hash}` releases exactly this set; do nothing, and nothing happens to them",
        )


def held_set_of(
    held: Collection[HeldRecord], kind: ActionKind, guid: str, group_guid: str = ""
) -> HeldRecord | None:
    """The set in which this action is held."""
    names = {guid, f"{group_guid}/{guid}"} if group_guid else {guid}
    return next(
        (
            one
            for one in held
            if one.kind != HELD_KIND and any((name, kind.value) in one.items for name in names)
        ),
        None,
    )

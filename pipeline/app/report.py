"""What a pass tells at its end: its exit code, and the alerts for what stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from pipeline.core import causes
from pipeline.core.alerting import AlertKind, fingerprint_of
from pipeline.core.brake import HeldSet
from pipeline.core.causes import Failure
from pipeline.core.causes import Subject as Concerned
from pipeline.core.exits import ExitCode, final_code, remedy_of
from pipeline.core.plan import Note, NoteKind
from pipeline.errors import ConnectorError, ControlError, forget_frames
from pipeline.model import Action, Alert, Severity
from pipeline.records import HeldRecord
from stages.dropbox.applier import ApplyReport
from stages.groups.planner import GroupReport
from stages.people.planner import PlanReport, Selection


@dataclass(slots=True)
class PassState:
    """One pass under way. `ended_by`: the first error that ended it."""

    id: int
    started: datetime
    full: bool
    plan: PlanReport = field(default_factory=PlanReport)
    apply: ApplyReport = field(default_factory=ApplyReport)
    groups: GroupReport = field(default_factory=GroupReport)
    ended_by: ConnectorError | None = None
    is_ready: bool = False  # team info fetched, leftovers settled
    has_polled: bool = False
    has_compared: bool = False
    has_planned: bool = False
    compare_wanted: bool = False
    seats: int = 0
    free_seats: int = 0
    selection: Selection | None = None
    told_held: set[str] = field(default_factory=set)  # held sets that the log has

    def end_by(self, error: ConnectorError) -> None:
        """The first error that ends it; it is kept until the next pass, and nothing that was in hand when it was raised."""
        forget_frames(error)
        self.ended_by = error

    def take_touched(self) -> set[str]:
        """Persons about whom something was decided or done, and whose groups have not been looked at since."""
        people = self.plan.touched | self.apply.touched
        self.plan.touched.clear()
        self.apply.touched.clear()
        return people


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What the journal shows at the end of a pass."""

    failed: Sequence[Action]
    stuck: Sequence[Action]  # transient failures that outlasted the pass
    held: Sequence[Action]
    no_seat: Sequence[Action]
    notes: Sequence[Note]
    claims: Sequence[HeldRecord] = ()  # of namesakes, waiting for an approval
    held_sets: Sequence[HeldRecord] = ()  # as they were shown last, those of namesakes aside


@dataclass(frozen=True, slots=True, kw_only=True)
class PassSummary:
    id: int
    code: ExitCode
    actions: dict[str, int]
    plan: PlanReport
    held: tuple[HeldSet, ...]
    ended_by: ConnectorError | None
    alerts: tuple[Alert, ...]
    standing: Standing
    started: datetime
    ended: datetime
    full: bool


def exit_code(state: PassState, standing: Standing) -> ExitCode:
    group_failed = any(note.kind is NoteKind.GROUP_FAILED for note in standing.notes)
    return final_code(
        state.ended_by,
        held=bool(standing.held),
        failed=bool(standing.failed or standing.stuck or group_failed),
    )


_NOTE_TITLES = {
    NoteKind.NAMESAKE: (
        "held: namesakes",
        "if it is the same human being, `ad-connector approve HASH` as shown moves the account with its files; if not, give "
        "the new person another e-mail. Do nothing, and nothing happens to the account",
    ),
    NoteKind.FOREIGN_ID: (
        "members with another system's external id",
        "set external_id.overwrite_foreign, or leave them to the other system",
    ),
    NoteKind.INVITED_EMAIL: (
        "e-mails that changed while an invitation is open",
        "revoke the invitation, or wait until they have joined",
    ),
    NoteKind.GROUP_LEFT_OUT: (
        "groups that lack people",
        "bring them into user scope, or leave it so; `explain --group NAME` names them",
    ),
    NoteKind.GROUP_KEPT: (
        "Dropbox groups that are synced no more",
        "delete them in the admin console if nobody needs them; groups.on_leave says what becomes of such groups",
    ),
}


def alerts_of(state: PassState, standing: Standing, code: ExitCode) -> tuple[Alert, ...]:
    """The causes that stand now, as behaviour.md §10 lists them."""
    alerts: list[Alert] = list(
        causes.failed_alerts(
            [
                *(_failure(one) for one in (*standing.failed, *standing.stuck)),
                *(_group_failure(note) for note in standing.notes if note.kind is NoteKind.GROUP_FAILED),
            ]
        )
    )
    names = {one.group_guid: one.group_name for one in standing.held if one.group_guid}
    for held in (*state.plan.held, *state.groups.held):
        clusters = [(f"{one.by} {one.value}".strip(), one.count) for one in held.clusters]
        alerts.append(
            causes.held_alert(
                digest=held.hash,
                what=f"members of group {names.get(held.group_guid, held.group_guid)}"
                if held.group_guid
                else held.subject.value,
                count=held.wanted,
                limit=held.rule,
                clusters=clusters,
            )
        )
    if state.ended_by is None and not state.has_planned:
        # A watch begins with a pass that may find nothing to do: what was held before still is.
        alerts += [_held_before(one, names) for one in standing.held_sets]
    by_kind: dict[NoteKind, list[Note]] = {}
    for note in standing.notes:
        by_kind.setdefault(note.kind, []).append(note)
    alerts += [
        alert
        for alert in (
            causes.seats_alert(
                [Concerned(guid=one.guid, label=one.email) for one in standing.no_seat], seats=state.seats
            ),
            causes.suspension_alert(_concerned(by_kind.get(NoteKind.CONSOLE_SUSPENSION, ()))),
        )
        if alert is not None
    ]
    if unreadable := by_kind.get(NoteKind.MISSING_RIGHT):
        alerts.append(
            causes.right_alert(
                "reading the directory",
                effects=[": ".join(filter(None, (note.label, note.detail))) for note in unreadable],
                remedy="see `ad-connector check directory`",
            )
        )
    for kind, (title, remedy) in _NOTE_TITLES.items():
        notes = by_kind.get(kind, [])
        if notes:
            lines = tuple(f"{note.label}: {note.detail}" for note in notes)
            alerts.append(
                Alert(
                    key=f"attention:{kind.value}",
                    severity=Severity.WARNING,
                    title=f"{title}: {len(notes)}",
                    lines=lines[: causes.SHOWN_LINES],
                    remedy=remedy,
                    fingerprint=fingerprint_of(*lines),
                )
            )
    error = state.ended_by
    if isinstance(error, ControlError):
        return tuple(alerts)  # who asked for something that can't be is told so on the spot
    ended = causes.ended_alert(
        code,
        operation=error.operation if error else "",
        cause=error.cause if error else "",
        remedy=_remedy(code, error),
        standing=alerts,
    )
    return (*alerts, ended) if ended is not None else tuple(alerts)


def _held_before(held: HeldRecord, names: Mapping[str, str]) -> Alert:
    """A set that another pass has shown, under the same key as there."""
    groups = {item.partition("/")[0] for item, _ in held.items if "/" in item}
    one_group = groups.pop() if len(groups) == 1 else ""
    return causes.held_alert(
        digest=held.hash,
        what=f"members of group {names.get(one_group, one_group)}" if one_group else held.kind,
        count=held.wanted,
        limit=held.limit_text,
        clusters=held.clusters,
    )


def _remedy(code: ExitCode, error: ConnectorError | None) -> str:
    if error is None:
        return ""
    return remedy_of(code, error.hint) if code is ExitCode.TEAM_INFO else error.hint


def _failure(action: Action) -> Failure:
    label = action.email or action.group_name or action.guid
    if action.group_guid and action.email:
        label = f"{label} in group {action.group_name}"
    return Failure(
        guid=action.guid,
        label=label,
        action=action.kind.value,
        tag=action.error or "failed",
        hint=action.hint,
    )


def _group_failure(note: Note) -> Failure:
    fault, _, reason = note.detail.partition(": ")
    return Failure(
        guid=note.guid,
        label=note.label,
        action="group",
        tag=fault,
        reason=reason,
        hint="see `ad-connector explain --group NAME`",
    )


def judged_kinds(state: PassState) -> frozenset[AlertKind] | None:
    """A pass that ended early proves nothing about what it did not come to look at."""
    if state.ended_by is None and state.has_planned:
        return None
    return frozenset({AlertKind.FAILED})


def _concerned(notes: Sequence[Note]) -> list[Concerned]:
    return [Concerned(guid=note.guid, label=note.label, detail=note.detail) for note in notes]

"""Passes over a journal: real ones on the journal itself, simulated ones on a copy of it."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import anyio

from config.settings import Settings
from pipeline.app import compose, rehearsal
from pipeline.app.clock import SystemClock
from pipeline.app.pace_memory import known_pace
from pipeline.app.recorded import recorded
from pipeline.app.report import PassSummary
from pipeline.app.selected import plan_digest
from pipeline.core.plan import NoteKind, label_of
from pipeline.model import MEMBERSHIP_KINDS, Action, ActionKind, Json, Member, State
from pipeline.ports import Clock, Directory, Team
from stages.dropbox.simulate import KnownMembers, SimulatedTeam
from state.journal import Journal


@dataclass(frozen=True, slots=True)
class Outside:
    """The directory and the team to work with; None: those of the configuration."""

    directory: Directory | None = None
    team: Team | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulated:
    """A pass that wrote nothing: its summary, and the plan document of interface.md §4."""

    summary: PassSummary
    plan: Json


@asynccontextmanager
async def assembled(
    settings: Settings,
    journal: Journal,
    *,
    simulated: bool,
    outside: Outside,
    clock: Clock | None = None,
    observe: compose.Observe | None = None,
) -> AsyncIterator[compose.Assembly]:
    """An assembly that is closed at the end, whatever happens. `observe` is told of every action's outcome."""
    the_clock = clock or SystemClock()
    directory = outside.directory or compose.directory_of(settings, the_clock)
    team = outside.team or compose.team_of(
        settings, the_clock, known_pace=await known_pace(journal, the_clock.now())
    )
    assembly = compose.assemble(
        settings,
        journal,
        the_clock,
        directory=directory,
        team=SimulatedTeam(team, the_clock, _known_members(journal)) if simulated else team,
        mailer=None if simulated else compose.mailer_of(settings.mail),
        simulated=simulated,
        observe=observe,
    )
    try:
        yield assembly
        if not simulated:
            await rehearsal.drop(journal, settings.journal.path)
    finally:
        with anyio.CancelScope(shield=True):
            await assembly.close()


def _known_members(journal: Journal) -> KnownMembers:
    async def known(
        *, member_ids: Sequence[str], external_ids: Sequence[str], emails: Sequence[str]
    ) -> Sequence[Member]:
        members = journal.members
        async with journal.reading():
            by_id = await members.by_id(member_ids)
            by_mark = await members.by_external_id(sorted(set(external_ids) - {""}))
            by_email = await members.by_email(sorted(set(emails) - {""}))
        return [*by_id.values(), *(one for some in (*by_mark.values(), *by_email.values()) for one in some)]

    return known


async def simulate(
    settings: Settings,
    *,
    full: bool,
    outside: Outside | None = None,
    from_journal: bool = False,
    is_kept: bool = False,
) -> Simulated:
    """Reads and decides everything on a copy of the journal; writes nothing to Dropbox and nothing to the journal.

    `is_kept`: for `explain`, as long as no real pass has read the directory; then the caller owns the journal.
    `from_journal`: neither side is asked, both are as the journal last saw them. ControlError where it saw none.
    """
    path = settings.journal.path
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ad-connector-")))
        copy = folder / "copy.db"
        await _copy(path, copy)
        journal = await Journal.open(copy)
        stack.push_async_callback(journal.close)
        clock: Clock | None = None
        if from_journal:
            found = await recorded(settings, journal)
            settings, clock = found.settings, found.clock
            outside = Outside(directory=found.directory, team=found.team)
        assembly = await stack.enter_async_context(
            assembled(settings, journal, simulated=True, outside=outside or Outside(), clock=clock)
        )
        summary = await assembly.engine.run(full=full or from_journal)
        async with journal.reading():
            actions = [
                one for one in await journal.outbox.done_since(summary.started) if one.state is State.DONE
            ]
            held = await journal.outbox.in_state(State.HELD)
            matches = await journal.links.count_by_match()
        if is_kept:
            await rehearsal.keep(journal, path)
        return Simulated(summary=summary, plan={**plan_document(summary, actions, held), "matches": matches})


async def _copy(source: Path, target: Path) -> None:
    """A consistent copy, also beside a running owner. A journal that does not exist yet is an empty one.

    One of an older schema is upgraded in the copy: whoever only simulates has no pass that would do it.
    """
    if not source.exists():
        return
    journal = await Journal.open(source, is_for_copy=True)
    try:
        await journal.copy_to(target)
    finally:
        await journal.close()


def plan_document(summary: PassSummary, actions: list[Action], held: list[Action]) -> Json:
    """The shape of `plan --format json` (interface.md §4)."""
    rows = _rows(actions)
    counts: dict[str, int] = {}
    for row in rows:
        counts[row["action"]] = counts.get(row["action"], 0) + 1
    held_sets = [
        {
            "hash": one.hash,
            "kind": one.subject.value,
            "count": one.wanted,
            "limit": one.rule,
            "clusters": [
                {"by": cluster.by, "value": cluster.value, "count": cluster.count} for cluster in one.clusters
            ],
            "actions": _rows([action for action in held if any(item.ref == action.id for item in one.items)]),
        }
        for one in summary.held
    ]
    held_sets += [
        {
            "hash": one.hash,
            "kind": one.kind,
            "count": one.wanted,
            "limit": one.limit_text,
            "clusters": [],
            "actions": [],
        }
        for one in summary.standing.claims
    ]
    skipped = [
        {"email": node.entry.email, "guid": guid, "dn": node.entry.dn, "reason": reason}
        for guid, (node, reason) in sorted(
            summary.plan.skipped.items(), key=lambda item: label_of(item[1][0])
        )
    ]
    skipped += [
        {
            "email": "",
            "guid": "",
            "dn": "",
            "group": note.label,
            "group_guid": note.guid,
            "reason": note.detail,
        }
        for note in summary.standing.notes
        if note.kind is NoteKind.GROUP_LEFT_OUT
    ]
    errors = [
        {"email": one.email, "guid": one.guid, "action": one.kind.value, "error": one.error, "hint": one.hint}
        for one in (*summary.standing.failed, *summary.standing.stuck)
    ]
    errors += [
        {"email": note.label, "guid": note.guid, "action": "", "error": note.kind.value, "hint": note.detail}
        for note in summary.standing.notes
        if note.kind not in (NoteKind.SKIPPED, NoteKind.GROUP_LEFT_OUT)
    ]
    if summary.ended_by is not None:
        error = summary.ended_by
        errors.insert(
            0,
            {
                "email": "",
                "guid": "",
                "action": "",
                "error": f"{error.operation}: {error.cause}",
                "hint": error.hint,
            },
        )
    return {
        "plan": plan_digest(rows, held_sets),
        "created": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "simulation": True,
        "summary": counts,
        "held": held_sets,
        "actions": rows,
        "skipped": skipped,
        "errors": errors,
        "exit_code": int(summary.code),
    }


def _rows(actions: Sequence[Action]) -> list[Json]:
    """One row an action; what is done to the members of a group is one row, with everybody's e-mail.

    As somebody reads them: by action, then by e-mail or the group's name.
    """
    rows: list[Json] = []
    memberships: dict[tuple[str, str], Json] = {}
    for action in actions:
        row = _row(action)
        if action.kind in MEMBERSHIP_KINDS:
            first = memberships.setdefault((action.group_guid, action.kind.value), row)
            first["emails"].append(action.email)
            first["detail"]["guids"].append(action.guid)
            if first is not row:
                continue
        rows.append(row)
    return sorted(rows, key=_place)


_ORDER = {kind.value: place for place, kind in enumerate(ActionKind)}


def _place(row: Json) -> tuple[int, str, str]:
    return (_ORDER[row["action"]], (row["email"] or row.get("group", "")).casefold(), row["guid"])


def _row(action: Action) -> Json:
    if action.group_guid:
        row: Json = {
            "action": action.kind.value,
            "email": "",
            "guid": action.group_guid,
            "group": action.group_name or action.email,
            "group_guid": action.group_guid,
            "reason": action.reason,
            "detail": {},
        }
        if action.kind in MEMBERSHIP_KINDS:
            return {**row, "emails": [], "detail": {"guids": []}}
        detail = {"name": action.group_name, "external_id": action.changes.external_id}
        return {**row, "detail": {key: value for key, value in detail.items() if value}}
    return {
        "action": action.kind.value,
        "email": action.email,
        "guid": action.guid,
        "reason": action.reason,
        "detail": {key: value for key, value in asdict(action.changes).items() if value},
    }


async def record_simulation(settings: Settings, simulated: Simulated) -> None:
    """Only the row of the pass enters the real journal; the caller owns it."""
    journal = await Journal.open(settings.journal.path)
    try:
        async with journal.transaction():
            identity = await journal.begin_pass(
                simulated.summary.started, simulated=True, full=simulated.summary.full
            )
            await journal.end_pass(
                identity,
                simulated.summary.ended,
                int(simulated.summary.code),
                simulated.plan["summary"],
                full=simulated.summary.full,
            )
    finally:
        await journal.close()

"""`explain`: why a person has what they have, from the journal alone; what happens next is asked of `decide`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime

from pipeline.app.circumstances import circumstances_of
from pipeline.app.meant import Meant, whom_meant
from pipeline.app.outlook import obstacle_json
from pipeline.app.overview import end_of
from pipeline.core.exits import ExitCode
from pipeline.core.nesting import Nesting
from pipeline.core.obstacles import Circumstances, Obstacle, held_set_of
from pipeline.core.plan import Decision, Subject, is_disabled
from pipeline.core.subject import Presence
from pipeline.errors import ControlError
from pipeline.model import Action, Json, Kind, State, WaitFor, Wanted
from pipeline.ports import Clock
from pipeline.records import Node
from stages.dropbox.memory import MemoryTeam
from stages.people.planner import Planner, PlannerOptions
from state.database import stamp
from state.journal import Journal


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Everything that is known about one person."""

    subject: Subject
    decision: Decision
    pending: tuple[Action, ...]
    history: tuple[Action, ...]
    lines: tuple[Json, ...]


async def nesting_of(journal: Journal, guids: Sequence[str] | None = None) -> Nesting:
    """The nesting as the mirror has it, or only what lies above these objects. ControlError before the first pass."""
    async with journal.reading():
        root = await journal.get("sync_group_guid")
        if not root:
            raise await _never_read(journal)
        nodes, edges = await (journal.mirror.graph() if guids is None else journal.mirror.graph_above(guids))
        groups = await journal.mirror.nodes(guid for guid, kind, _ in nodes if kind is Kind.GROUP)
        excluded = await journal.get("exclude_group_guid") or ""
        groups_root = await journal.get("group_sync_group_guid") or ""
    nesting = Nesting(root, excluded, groups_root)
    nesting.load(nodes, edges, {guid: node.entry.name for guid, node in groups.items()})
    return nesting


async def directory_is_read(journal: Journal) -> bool:
    """Whether a pass over this journal has come so far."""
    async with journal.reading():
        return bool(await journal.get("sync_group_guid"))


async def _never_read(journal: Journal) -> ControlError:
    """Within `reading()`. Which command mends it depends on whether a pass has tried."""
    operation, cause = "read the journal", "the directory was never read"
    last = await journal.last_pass()
    if last is None or last.exit_code in (None, 0):
        how = "`ad-connector run --simulate` reads both sides and writes nothing to Dropbox (`plan` does too, but keeps nothing)"
        return ControlError(operation, f"{cause}: no pass over this journal has come so far", how)
    why, remedy = await end_of(journal, last)
    ended = f"pass {last.id} ended with {last.exit_code}, {ExitCode(last.exit_code).reason}"
    return ControlError(
        operation, f"{cause}: {ended}{f' ({why})' if why else ''}", f"{remedy}; then run a pass again"
    )


async def explain(journal: Journal, planner: Planner, person: str, now: datetime) -> list[Explanation]:
    """By e-mail, GUID, DN, account or display name; persons who are gone are found as well. May be several."""
    async with journal.reading():
        found: list[Node] = await journal.mirror.find_people(person)
        if not found:
            found = await journal.find_by_member_email(person)
    # Above them only: of 100,000 people the whole graph takes seconds.
    nesting = await nesting_of(journal, [node.entry.guid for node in found])
    previews = await planner.preview([node.guid for node in found], nesting, now)
    explanations = []
    for subject, decision in previews:
        async with journal.reading():
            history = await journal.outbox.of_person(subject.node.guid)
            lines = await journal.last_entries(guid=subject.node.guid, limit=20)
        explanations.append(
            Explanation(
                subject=subject,
                decision=decision,
                pending=tuple(one for one in history if one.state not in (State.DONE, State.SUPERSEDED)),
                history=tuple(history),
                lines=tuple(lines),
            )
        )
    return explanations


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a text finds: persons in the shape of `explain --json`, else strangers in their smaller one, else whom it may have meant,

    and whether it names a group.
    """

    persons: Sequence[Json] = ()
    strangers: Sequence[Json] = ()
    meant: Meant = field(default_factory=Meant)
    is_group: bool = False


async def answer_about(
    journal: Journal,
    options: PlannerOptions,
    text: str,
    clock: Clock,
    *,
    simulation: Obstacle | None = None,
    rehearsed: Callable[[Explanation], Explanation] | None = None,
) -> Answer:
    """`explain`, asked by a human being: whoever is meant, else those whose names are like it.

    `simulation`: while nothing is to be written. `rehearsed`: where the journal is a simulated pass's, takes back what that did.
    """
    # A preview reads the journal only: no team is asked.
    planner = Planner(MemoryTeam(), journal, clock, options)
    if found := await explain(journal, planner, text, clock.now()):
        present = await circumstances_of(journal, simulation=simulation, is_rehearsal=rehearsed is not None)
        if rehearsed is not None:
            found = [rehearsed(one) for one in found]
        return Answer(persons=[as_json(one, options, clock.now(), present) for one in found])
    if strangers := await explain_stranger(journal, text):
        return Answer(strangers=strangers)
    async with journal.reading():
        is_group = bool(await journal.mirror.find_groups(text))
    return Answer(meant=await whom_meant(journal, text), is_group=is_group)


async def explain_stranger(journal: Journal, text: str) -> list[Json]:
    """What is no person of ours: contacts, computers and the like in the sync group, and members whom nobody manages.

    Each with the reason for which nothing is done; the shape is a small one of `explain --json`.
    """
    email = text.strip().lower()
    async with journal.reading():
        nodes = await journal.mirror.find_strangers(text)
        members = (await journal.members.by_email([email])).get(email, [])
    nesting = await nesting_of(journal, [node.entry.guid for node in nodes])
    found: list[Json] = []
    for node in nodes:
        entry = node.entry
        path = nesting.path(entry.guid)
        kind = "object that could not be read" if entry.kind is Kind.OTHER else f"{entry.kind.value} object"
        found.append(
            {
                "guid": entry.guid,
                "email": entry.email,
                "dn": entry.dn,
                "kind": entry.kind.value,
                "path": list(path),
                "member": None,
                "skipped": f"a {kind}, not a person" if path else f"a {kind}, and not in the sync group",
            }
        )
    found += [
        {
            "guid": "",
            "email": member.email,
            "dn": "",
            "kind": "member",
            "path": [],
            "member": {
                "status": member.status.value,
                "email": member.email,
                "external_id": member.external_id,
                "matched_by": "",
            },
            "skipped": "a member of the team whom nobody in the sync group matches: unmanaged, never touched",
        }
        for member in members
    ]
    return found


_WHILE_WAITING = {
    WaitFor.JOINED: "they accept the invitation",
    WaitFor.SEAT: "a seat gets free, or is bought",
    WaitFor.SETTLING: "nothing but time: unless they are put back into the sync group",
    WaitFor.GRACE: "nothing but time (users.delete_grace_days)",
}

_IN_STATE = {
    State.HELD: "`ad-connector approve HASH` releases it, with the hash that `status` shows",
    State.RETRY: "it is tried again by itself; `retry --person` makes it due now",
    State.FAILED: "what the failure names is mended; then `retry --person`, or a change of the person",
}


def what_changes_it(
    one: Explanation, options: PlannerOptions, now: datetime, present: Circumstances
) -> Iterator[str]:
    """What somebody would have to do, or what has to happen, for another outcome; in the order in which it counts."""
    subject = one.subject
    if subject.excluded:
        yield f"ending the exclusion ({subject.excluded})"
        return
    match subject.presence:
        case Presence.DELETED:
            yield "restoring the object in the directory"
            return
        case Presence.LEFT:
            yield "putting them into the sync group, or into a group in it"
        case Presence.UNREADABLE:
            yield "letting the service account read the object"
            return
        case _:
            if is_disabled(subject.node, options.policy, now):
                yield "enabling the account in the directory"
            elif subject.link is not None or not subject.mapped.email_problem:
                yield "disabling the account, or taking them out of the sync group's groups"
    if subject.presence is Presence.LISTED and subject.mapped.email_problem:
        yield f"an e-mail in the directory that Dropbox accepts ({subject.mapped.email_problem})"
    for action in one.pending:
        held = held_set_of(present.held, action.kind, action.guid, action.group_guid)
        if end := what_ends_it(action, held.hash if held is not None else ""):
            yield f"{action.kind.value}: {end}"


def what_ends_it(action: Action, digest: str = "") -> str:
    """For an action that is not done: what it waits for; "" where it is simply on its way. `digest`: of its held set."""
    if action.state is State.HELD and digest:
        return f"`ad-connector approve {digest}` releases it, with its whole set"
    return _IN_STATE.get(action.state, "") if action.wait is None else _WHILE_WAITING[action.wait]


def as_json(one: Explanation, options: PlannerOptions, now: datetime, present: Circumstances) -> Json:
    """The shape of `explain --json`. `unsure`: why what is said may not be so any more; None when it is."""
    subject, node, member, link = one.subject, one.subject.node, one.subject.match.member, one.subject.link
    return {
        "guid": node.guid,
        "email": node.entry.email,
        "dn": node.entry.dn,
        "presence": subject.presence.value,
        "enabled": not is_disabled(node, options.policy, now),
        "path": list(subject.scope_path),
        "excluded": subject.excluded,
        "left": None
        if node.left_at is None
        else {"at": stamp(node.left_at), "cause": node.left_cause, "confirmed": node.left_confirmed},
        "deleted_at": stamp(node.deleted_at) if node.deleted_at else None,
        "mapping": {"profile": asdict(subject.mapped.profile), "notes": list(subject.mapped.notes)},
        "link": None
        if link is None
        else {"member_id": link.member_id, "how": link.how, "at": stamp(link.at)},
        "member": None
        if member is None
        else {
            "status": member.status.value,
            "email": member.email,
            "external_id": member.external_id,
            "matched_by": subject.match.how.value,
        },
        "unsure": obstacle_json(present.unsure),
        "next": [
            {**_wanted(want), "obstacle": obstacle_json(present.against(want.kind, node.guid, one.pending))}
            for want in one.decision.wanted
        ],
        "skipped": one.decision.skipped,
        "notes": [note.detail for note in one.decision.notes],
        "look_again": stamp(one.decision.look_again) if one.decision.look_again else None,
        "changes_it": list(what_changes_it(one, options, now, present)),
        "pending": [_action(action) for action in one.pending],
        "actions": [_action(action) for action in one.history],
        "log": list(one.lines),
    }


def _wanted(want: Wanted) -> Json:
    return {
        "action": want.kind.value,
        "reason": want.reason,
        "waits_for": want.wait.value if want.wait else None,
        "until": stamp(want.until) if want.until else None,
    }


def _action(action: Action) -> Json:
    return {
        "action": action.kind.value,
        "state": action.state.value,
        "reason": action.reason,
        "cause": action.cause,
        "error": action.error,
        "hint": action.hint,
        "waits_for": action.wait.value if action.wait else None,
        "due": stamp(action.due) if action.due else None,
        "seen_at": stamp(action.seen_at) if action.seen_at else None,
        "planned_at": stamp(action.planned_at) if action.planned_at else None,
        "sent_at": stamp(action.sent_at) if action.sent_at else None,
        "settled_at": stamp(action.settled_at) if action.settled_at else None,
        "pass": action.pass_id,
    }

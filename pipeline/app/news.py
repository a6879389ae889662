"""That a pass begins, and what planning found that was not so before: a line of the log each, told once."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.core.brake import HeldSet
from pipeline.core.plan import NoteKind
from pipeline.log import Event, in_pass, log_actions, logger
from stages.groups.planner import GroupReport
from stages.people.planner import PlanReport
from stages.people.release import SWAP


def log_start(pass_id: int, *, simulated: bool, why_full: str) -> None:
    """`why_full`: why everything is compared; "" when it is not."""
    because = {"because": why_full} if why_full else {}
    with in_pass(pass_id):
        logger().info(Event.PASS_STARTED, simulated=simulated, full=bool(why_full), **because)


def log_news(report: PlanReport) -> None:
    for note in report.news:
        event = Event.PERSON_SKIPPED if note.kind is NoteKind.SKIPPED else Event.FAULT
        logger().info(event, person=note.label, detail=note.detail)
    for claim in report.moved:
        logger().warning(Event.LINK_MOVED, approved=claim.digest, detail=claim.describe())
    report.news.clear()
    report.moved.clear()


def log_group_news(report: GroupReport) -> None:
    for note in report.news:
        event = Event.GROUP_FAILED if note.kind is NoteKind.GROUP_FAILED else Event.FAULT
        logger().warning(event, group=note.label, detail=note.detail)
    report.news.clear()


def log_stuck(report: PlanReport) -> None:
    """What failed without being sent: each a canonical line, as of what was sent."""
    log_actions(
        {
            "person": action.email or action.guid,
            "action": action.kind.value,
            "outcome": "failed",
            "reason": SWAP,
            "guid": action.guid,
        }
        for action in report.stuck
    )
    report.stuck.clear()


def log_held(sets: Sequence[HeldSet], told: set[str]) -> None:
    """Each set once a pass, however often it plans. `told`: the hashes of those that were."""
    for held in sets:
        if held.hash in told:
            continue
        told.add(held.hash)
        logger().warning(
            Event.BRAKE_HELD, set=held.hash, what=held.subject.value, count=held.wanted, limit=held.rule
        )

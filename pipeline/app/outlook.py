"""What happens next, as `explain` tells it: also that nothing does, why, and what to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from pipeline.app.renderings import seconds
from pipeline.core.obstacles import Obstacle
from pipeline.model import Json
from pipeline.redaction import escaped

SHOWN_EMAILS = 20


def obstacle_json(obstacle: Obstacle | None) -> Json | None:
    return None if obstacle is None else asdict(obstacle)


def outlook(steps: Sequence[Json], unsure: Json | None, *, nothing: str) -> list[str]:
    """Lines for people. `steps`: what is wanted, each with its obstacle. `unsure`: what may make all of it out of date.

    `nothing`: why nothing is wanted, where it is not.
    """
    lines = _hindered(unsure) if unsure else []
    told = unsure
    for step in steps:
        obstacle = step["obstacle"]
        if obstacle and obstacle != told:
            lines += _hindered(obstacle)
            told = obstacle
        title = "after that" if obstacle else "next"
        lines.append(f"  {title:<10}  {_text_of(step)}{', if it is so then' if obstacle else ''}")
    if not steps:
        lines.append(f"  {'after that' if unsure else 'next':<10}  nothing: {escaped(nothing)}")
    return lines


def _text_of(step: Json) -> str:
    until = f" until {seconds(step['until'])}" if step.get("until") else ""
    waits = f" (waits: {step['waits_for']}{until})" if step.get("waits_for") else ""
    emails = ", ".join(escaped(email) for email in step.get("emails", ())[:SHOWN_EMAILS])
    return f"{step['action']}: {escaped(step['reason'])}{waits}{': ' + emails if emails else ''}"


def _hindered(obstacle: Json) -> list[str]:
    return [
        f"  next        nothing is sent for now: {escaped(obstacle['why'])}",
        f"  what to do  {escaped(obstacle['remedy'])}",
    ]

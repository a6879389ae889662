"""The canary: a person whose harmless change has to arrive, or something between directory and Dropbox is broken. Pure.

The connector never writes to the directory, so the change is made by a script of the admin's; what is judged here is
how long ago one has gone all the way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from pipeline.core.alerting import AlertKind, fingerprint_of
from pipeline.model import Action, ActionKind, Alert, Severity, State

ARRIVALS = frozenset({ActionKind.UPDATE})
"""What shows that a change of information was read, decided, sent and confirmed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """`since`: from when on changes are expected. `fault`: why nobody can be looked at, empty when all is well."""

    person: str
    since: datetime
    actions: Sequence[Action] = ()
    fault: str = ""

    @property
    def arrived_at(self) -> datetime | None:
        """When a change last went all the way."""
        return max(
            (
                one.settled_at
                for one in self.actions
                if one.state is State.DONE and one.kind in ARRIVALS and one.settled_at is not None
            ),
            default=None,
        )


def canary_alert(sighting: Sighting, *, every: timedelta, now: datetime) -> Alert | None:
    """None while the last arrival, or the begin of the watch, is no longer ago than `every`."""
    arrived = sighting.arrived_at
    overdue = now - max(filter(None, (arrived, sighting.since))) > every
    if not overdue and not sighting.fault:
        return None
    hours = every.total_seconds() / 3600
    lines = [sighting.fault] if sighting.fault else []
    lines.append(f"last arrival: {arrived:%Y-%m-%d %H:%M} UTC" if arrived else "no change has arrived yet")
    lines += [
        f"{one.kind.value} stands as {one.state.value}" + (f": {one.error}" if one.error else "")
        for one in sighting.actions
        if one.state not in (State.DONE, State.SUPERSEDED)
    ]
    title = (
        f"canary {sighting.person}: can't be looked at"
        if sighting.fault and not overdue
        else f"canary {sighting.person}: no change has arrived for more than {hours:g} h"
    )
    return Alert(
        key=AlertKind.CANARY.value,
        severity=Severity.CRITICAL,
        title=title,
        lines=tuple(lines),
        remedy=f"does the script that changes the person still run? If so, `ad-connector explain {sighting.person}`",
        fingerprint=fingerprint_of(sighting.person, sighting.fault, str(arrived)),
    )

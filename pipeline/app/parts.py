"""What a pass is made of: the stages, what they share, and the settings of the engine that wakes them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from pipeline.app.group_stage import GroupStage
from pipeline.journal_port import Journal
from pipeline.ports import Clock, Team
from stages.directory.poller import Poller
from stages.dropbox.applier import Applier
from stages.dropbox.drift import DriftWatcher
from stages.dropbox.reconciler import Reconciler
from stages.mail.notifier import Notifier
from stages.people.planner import Planner


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions:
    simulated: bool = False
    compare_every: timedelta = timedelta(hours=24)
    settle: timedelta = timedelta(seconds=60)
    drift_seconds: float = 30.0  # 0: the event log is not watched


@dataclass(slots=True)
class Parts:
    """The stages and what they share."""

    journal: Journal
    team: Team
    clock: Clock
    poller: Poller
    planner: Planner
    applier: Applier
    reconciler: Reconciler
    notifier: Notifier
    drift: DriftWatcher
    groups: GroupStage

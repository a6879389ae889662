"""What is counted as it happens, for as long as the process lives: how long changes took, and what became of actions."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from pipeline.model import Action

LAG_BUCKETS_SECONDS = (0.5, 1, 2, 5, 10, 30, 60, 120, 300, 900, 3600, 6 * 3600, 86400)


class Observations:
    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._registry = CollectorRegistry()
        self._lag = Histogram(
            "ad_connector_change_lag_seconds",
            "from seeing a change in the directory to its being carried out, settling and graces included",
            registry=self._registry,
            buckets=LAG_BUCKETS_SECONDS,
        )
        self._outcomes = Counter(
            "ad_connector_actions",
            "what became of actions when they were sent",
            ["action", "outcome"],
            registry=self._registry,
        )

    def note_settled(self, action: Action, outcome: str, _reason: str) -> None:
        """`outcome` is the word of the log: done, failed, retry, waiting …"""
        self._outcomes.labels(action.kind.value, outcome).inc()
        if outcome == "done" and action.seen_at is not None:
            self._lag.observe(max(0.0, (self._now() - action.seen_at).total_seconds()))

    def exposition(self) -> bytes:
        return generate_latest(self._registry)

"""What many held items have in common: the same cause, the same unit of the directory, the same minute (behaviour.md §8)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

MAX_CLUSTERS = 10


class Clustered(Protocol):
    """As much of an item as is looked at."""

    @property
    def cause(self) -> str: ...

    @property
    def dn(self) -> str: ...

    @property
    def seen_at(self) -> datetime | None: ...


@dataclass(frozen=True, slots=True)
class Cluster:
    """`count` held items share `value`; `by` is cause, ou, minute, or other (what shares nothing)."""

    by: str
    value: str
    count: int

    def describe(self) -> str:
        """For people: `left Sales`, `in OU=Sales,DC=…`, `seen in the minute 2026-11-23 09:01 UTC`, `various`."""
        return {"ou": f"in {self.value}", "minute": f"seen in the minute {self.value} UTC"}.get(
            self.by, self.value or "various"
        )


def clusters_of(items: Sequence[Clustered]) -> tuple[Cluster, ...]:
    """Each item in one cluster, the largest first, at most MAX_CLUSTERS and one `other`.

    Everything that a poll brings shares its minute, and often an OU: so the wider sort of cluster must explain
    twice as many items to be taken before the narrower one.
    """
    left = [_traits(item) for item in items]
    clusters: list[Cluster] = []
    while left and len(clusters) < MAX_CLUSTERS:
        counts = Counter(trait for traits in left for trait in traits)
        best = max(counts, key=lambda trait: (counts[trait] * _WEIGHTS[trait[0]], trait), default=None)
        if best is None or counts[best] < 2:
            break
        clusters.append(Cluster(*best, counts[best]))
        left = [traits for traits in left if best not in traits]
    if left:
        clusters.append(Cluster("other", "", len(left)))
    return tuple(sorted(clusters, key=lambda cluster: -cluster.count))


def parent_of(dn: str) -> str:
    """The DN above: what follows the first comma that isn't escaped (RFC 4514). Empty when there is none."""
    position = 0
    while position < len(dn):
        if dn[position] == "\\":
            position += 1
        elif dn[position] == ",":
            return dn[position + 1 :].strip()
        position += 1
    return ""


_WEIGHTS = {"cause": 4, "ou": 2, "minute": 1}


def _traits(item: Clustered) -> list[tuple[str, str]]:
    traits = []
    if item.cause:
        traits.append(("cause", item.cause))
    if unit := parent_of(item.dn):
        traits.append(("ou", unit))
    if item.seen_at is not None:
        traits.append(("minute", item.seen_at.astimezone(UTC).strftime("%Y-%m-%d %H:%M")))
    return traits

"""Troubles to order: queued by route, by number or by chance."""

import random
from dataclasses import asdict, dataclass, fields
from fnmatch import fnmatchcase
from typing import Any

BEFORE = frozenset(
    {
        "drop_before",
        "500_before",
        "503",
        "429",
        "timeout",
        "html",
        "400",
        "401",
        "403",
        "error",
        "invalid_cursor",
        "reset",
    }
)
"""The request has no effect."""
AFTER = frozenset(
    {
        "drop_after",
        "500_after",
        "503_after",
        "timeout_after",
        "html_after",
        "truncated_json",
        "unknown_tag",
        "unknown_field",
        "empty_body",
    }
)
"""The effect happens, the reply comes to grief."""
OTHER = frozenset({"delay", "delay_after", "async", "job_failed"})
KINDS = BEFORE | AFTER | OTHER
FORMS = frozenset({"json", "json_no_field", "empty", "text"})


@dataclass
class Fault:
    kind: str
    route: str = "*"
    """A glob over "team/members/add_v2" or "oauth2/token"."""
    count: int | None = 1
    """How often; None for ever."""
    probability: float = 1.0
    skip: int = 0
    """Let this many matching requests through first."""
    seconds: float = 1.0
    """Of delay."""
    retry_after: int = 1
    form: str = "json"
    """Of the 429."""
    tag: str = ""
    """Of the 409 (error), the 401, or the invented tag."""
    value: Any = None
    """What the tag carries (error)."""
    where: str = "error"
    """unknown_tag: in the error (no effect is undone) or in the result."""
    hits: int = 0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"no such fault: {self.kind}; there are {sorted(KINDS)}")
        if self.form not in FORMS:
            raise ValueError(f"no such form: {self.form}; there are {sorted(FORMS)}")

    @classmethod
    def from_json(cls, wanted: dict[str, Any]) -> "Fault":
        known = {entry.name for entry in fields(cls)} - {"hits"}
        unknown = set(wanted) - known
        if unknown or "kind" not in wanted:
            raise ValueError(
                f"a fault has the fields {sorted(known)}, kind is required; unknown: {sorted(unknown)}"
            )
        return cls(**wanted)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


class Faults:
    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self.queue: list[Fault] = []

    def add(self, fault: Fault) -> None:
        self.queue.append(fault)

    def clear(self) -> None:
        self.queue.clear()

    def pick(self, route: str) -> Fault | None:
        """The first fault that wants this request."""
        for fault in self.queue:
            if not fnmatchcase(route, fault.route):
                continue
            if fault.skip > 0:
                fault.skip -= 1
                continue
            if fault.probability < 1 and self._random.random() >= fault.probability:
                continue
            fault.hits += 1
            if fault.count is not None:
                fault.count -= 1
                if fault.count <= 0:
                    self.queue.remove(fault)
            return fault
        return None

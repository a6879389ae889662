"""Python's collector of cyclic garbage, told to look more seldom."""

from __future__ import annotations

import gc

THRESHOLDS = (10_000, 10, 10)
"""Objects that came to be and are still there before the youngest are looked at, and how many such looks before older ones are.

By default it looks after every 700, and a page of a thousand members is many thousand values. Values without cycles are freed
without it, and nearly everything here is such a value: with the default a sixth of a full comparison's CPU is spent on looking
through people who are all still needed. What it frees late is at most what one page holds: an error that
ended a pass is kept without its frames (`forget_frames`), which held all that was read.
"""


def collect_seldom() -> None:
    """For the whole process."""
    gc.set_threshold(*THRESHOLDS)

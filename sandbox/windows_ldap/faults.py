"""Faults on demand, and the record of what was asked: the two go by the same description of a request."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum


class Drop(StrEnum):
    """When the connection is cut."""

    NEVER = "never"
    BEFORE = "before"  # before anything of the answer has left
    MIDDLE = "middle"  # between two entries, after `after_entries`
    TRUNCATED = "truncated"  # in the middle of a message, after `after_entries`
    LATE = "late"  # after all entries, before the result
    AFTER = "after"  # after the whole answer


@dataclass(frozen=True)
class Fault:
    """`code` stands in for success after `after_entries` entries of the answer have left; `drop` cuts the connection.

    `hold`: nothing is answered until `Faults.release`. `delay_seconds`: the answer comes that much later.
    """

    code: int = 0
    message: str = ""
    after_entries: int = 0
    drop: Drop = Drop.NEVER
    hold: bool = False
    delay_seconds: float = 0.0


@dataclass
class Seen:
    """One request, and once it is answered, how."""

    kind: str  # bind, root, search, paged, range, dirsync, notification, other
    connection: int
    base: str = ""
    scope: int = 0
    filter: str = ""
    attributes: tuple[str, ...] = ()
    controls: tuple[str, ...] = ()
    code: int | None = None  # None: not answered
    entries: int = 0


@dataclass
class _Armed:
    fault: Fault
    number: int  # counts down to 0; below 0: every time
    fits: Callable[[Seen], bool]
    stays: bool = False


class Faults:
    """What goes wrong, and when. Safe to use while the server runs."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._armed: list[_Armed] = []
        self._released = threading.Event()
        self._stopped = threading.Event()

    def at(self, number: int, fault: Fault, *kinds: str, when: Callable[[Seen], bool] | None = None) -> None:
        """Once, at the `number`-th request from now on that is of one of `kinds` (any, by default) and for which `when` holds."""
        if number < 1:
            raise ValueError("requests are counted from one")
        self._arm(fault, number, kinds, when)

    def since(
        self, number: int, fault: Fault, *kinds: str, when: Callable[[Seen], bool] | None = None
    ) -> None:
        """As `at`, and at every such request after it, until `clear`."""
        if number < 1:
            raise ValueError("requests are counted from one")
        self._arm(fault, number, kinds, when, stays=True)

    def always(self, fault: Fault, *kinds: str, when: Callable[[Seen], bool] | None = None) -> None:
        self._arm(fault, -1, kinds, when)

    def _arm(
        self,
        fault: Fault,
        number: int,
        kinds: tuple[str, ...],
        when: Callable[[Seen], bool] | None,
        *,
        stays: bool = False,
    ) -> None:
        def fits(seen: Seen) -> bool:
            return (not kinds or seen.kind in kinds) and (when is None or when(seen))

        with self._lock:
            self._armed.append(_Armed(fault, number, fits, stays))

    def clear(self) -> None:
        with self._lock:
            self._armed.clear()
        self.release()

    @property
    def pending(self) -> int:
        """How many faults have not begun to strike."""
        with self._lock:
            return sum(armed.number > 0 for armed in self._armed)

    def release(self) -> None:
        """Lets held answers go; later ones are held again."""
        self._released.set()

    def start(self) -> None:
        self._stopped.clear()

    def stop(self) -> None:
        self._stopped.set()
        self._released.set()

    def take(self, seen: Seen) -> Fault:
        """The fault for this request; an empty one where there is none."""
        with self._lock:
            struck = Fault()
            for armed in tuple(self._armed):
                if not armed.fits(seen):
                    continue
                if armed.number > 0:
                    armed.number -= 1
                    if armed.number:
                        continue
                    if armed.stays:
                        armed.number = -1
                    else:
                        self._armed.remove(armed)
                struck = armed.fault
            if struck.hold:
                self._released.clear()
            return struck

    def wait_blocking(self, fault: Fault) -> None:
        if fault.hold:
            self._released.wait()
        if fault.delay_seconds:
            self._stopped.wait(fault.delay_seconds)

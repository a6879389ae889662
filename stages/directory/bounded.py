"""Calls that nothing can cut short, waited for so long at most.

What takes longer is left behind in a thread of its own, which ends by itself and holds up no end of the program; until it has
ended no other call is begun, so that at most one is ever left behind.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_LOOK_SECONDS = 0.05


class GivenUp(Exception):
    """Nobody waits for the call any more."""


class Bounded:
    """May be used by several threads: one call at a time, and waiting for one's turn counts."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._turn = threading.Lock()
        self._left_behind: threading.Thread | None = None

    def call_blocking(self, function: Callable[[], T], is_given_up: Callable[[], bool]) -> T:
        """What `function` returns or raises. TimeoutError after the time; GivenUp within a moment of `is_given_up`."""
        deadline = time.monotonic() + self._seconds
        while not self._turn.acquire(timeout=_LOOK_SECONDS):
            _demand_time(deadline, is_given_up)
        try:
            return self._call(function, deadline, is_given_up)
        finally:
            self._turn.release()

    def _call(self, function: Callable[[], T], deadline: float, is_given_up: Callable[[], bool]) -> T:
        if self._left_behind is not None:
            _wait(self._left_behind, deadline, is_given_up)
            self._left_behind = None
        results: list[T] = []
        failures: list[BaseException] = []

        def call() -> None:
            try:
                results.append(function())
            except BaseException as error:  # noqa: BLE001 - raised where it is waited for
                failures.append(error)

        thread = threading.Thread(target=call, name="bounded call", daemon=True)
        thread.start()
        try:
            _wait(thread, deadline, is_given_up)
        except (TimeoutError, GivenUp):
            self._left_behind = thread
            raise
        if failures:
            raise failures[0]
        return results[0]


def _wait(thread: threading.Thread, deadline: float, is_given_up: Callable[[], bool]) -> None:
    while True:
        thread.join(_LOOK_SECONDS)
        if not thread.is_alive():
            return
        _demand_time(deadline, is_given_up)


def _demand_time(deadline: float, is_given_up: Callable[[], bool]) -> None:
    if is_given_up():
        raise GivenUp
    if time.monotonic() >= deadline:
        raise TimeoutError

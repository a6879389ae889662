"""The console of a running `watch`: each page is one view of the journal, through a connection that only reads.

So a page neither waits for the pass under way nor makes it wait, and one that fails stops nothing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

import anyio

from config.settings import Settings
from pipeline.app import console_html, console_view
from pipeline.app.console_groups import groups_of
from pipeline.app.explanation import answer_about
from pipeline.app.policies import planner_options_of
from pipeline.errors import ConnectorError
from pipeline.log import Event, logger
from pipeline.model import State
from pipeline.ports import Clock
from stages.service.console import Console, Shown
from stages.service.health import Reading
from state.journal import Journal

PAGES = ("", "person", "groups", "pending", "journal")
_MOST_AT_ONCE = 2  # a browser that is told to reload again and again must not crowd out the passes
_REFRESH_SECONDS = 30
_MAX_TEXT = 1000  # characters; more than any DN that somebody would type


class ConsolePages:
    """`settings` are those in force when a page is asked for, `present` is what the engine knows then."""

    def __init__(
        self, settings: Callable[[], Settings], present: Callable[[], Reading], clock: Clock
    ) -> None:
        self._settings = settings
        self._present = present
        self._clock = clock
        self._places = anyio.Semaphore(_MOST_AT_ONCE)

    def console(self) -> Console:
        return Console(self.show, pages=PAGES, style=console_html.style())

    async def show(self, name: str, query: Mapping[str, str]) -> Shown:
        """A page of `PAGES`, or the words for why there is none."""
        try:
            async with self._places:
                return Shown(200, await self._page(name, query))
        except ConnectorError as error:
            trouble = {"operation": error.operation, "cause": error.cause, "hint": error.hint}
        except Exception as error:  # noqa: BLE001 - a page that fails must not end the watch that serves it
            trouble = {
                "operation": "show a page of the console",
                "cause": f"something unexpected happened ({type(error).__name__}: {str(error)[:200]})",
                "hint": "the passes go on; `ad-connector status` and the log tell more",
            }
        logger().error(Event.FAULT, **trouble)
        return Shown(500, console_html.page("trouble", {"here": "", "refresh": 0, **trouble}))

    async def _page(self, name: str, query: Mapping[str, str]) -> str:
        text = query.get("q", "").strip()[:_MAX_TEXT]
        match name:
            case "person":
                async with self._opened() as journal:
                    options = planner_options_of(self._settings())
                    answer = await answer_about(journal, options, text, self._clock) if text else None
                document = console_view.person_of(text, answer)
            case "groups":
                async with self._opened() as journal:
                    document = await groups_of(journal, mode=str(self._settings().groups.mode))
            case "pending":
                state = query.get("state", "")
                async with self._opened() as journal:
                    document = await console_view.pending_of(
                        journal, State(state) if state in console_view.PENDING else State.WAITING
                    )
            case "journal":
                kind, before = query.get("kind", ""), query.get("before", "")
                async with self._opened() as journal:
                    document = await console_view.lines_of(
                        journal,
                        person=text,
                        kind=kind if kind in console_view.LINE_KINDS else "",
                        before=int(before)
                        if before.isascii() and before.isdigit() and len(before) < 16
                        else None,
                    )
                document["kinds"] = list(console_view.LINE_KINDS)
            case _:
                async with self._opened() as journal:
                    document = await console_view.overview_of(journal, self._present(), self._clock.now())
        # What is being read, or typed into, is not taken away from under somebody.
        refresh = _REFRESH_SECONDS if name == "" and "still" not in query else 0
        return console_html.page(name or "overview", {"here": name, "refresh": refresh, **document})

    @asynccontextmanager
    async def _opened(self) -> AsyncIterator[Journal]:
        journal = await Journal.open(self._settings().journal.path, read_only=True)
        try:
            yield journal
        finally:
            await journal.close()

"""Whom somebody may have meant whose text names nobody: told, never guessed."""

from __future__ import annotations

from dataclasses import dataclass

import anyio.to_thread

from pipeline.core.near import near_to, suggestion
from pipeline.journal_port import Journal
from pipeline.records import Node

SHOWN_BEARERS = 10


@dataclass(frozen=True, slots=True)
class Meant:
    """`bearers`: GUID and description of people with this surname or given name, SHOWN_BEARERS at most; `more` if there are others.

    `near`: names like it.
    """

    bearers: tuple[tuple[str, str], ...] = ()
    more: bool = False
    near: tuple[str, ...] = ()

    def __str__(self) -> str:
        """A sentence's end for an error; "" when nobody comes to mind."""
        if not self.bearers:
            return suggestion(self.near)
        return f"; who bears that name: {', '.join(who for _, who in self.bearers)}{' and others' if self.more else ''}"


async def whom_meant(journal: Journal, text: str) -> Meant:
    """Of a text by which nobody was found."""
    async with journal.reading():
        bearers = await journal.mirror.bearing(text, SHOWN_BEARERS + 1)
        names = [] if bearers else await journal.mirror.names_like(text)
    # In a thread: where thousands begin alike it takes a tenth of a second.
    near = await anyio.to_thread.run_sync(near_to, text, names) if names else ()
    shown = tuple((one.guid, _introduced(one)) for one in bearers[:SHOWN_BEARERS])
    return Meant(shown, len(bearers) > SHOWN_BEARERS, near)


def _introduced(node: Node) -> str:
    """With what names exactly this person."""
    entry = node.entry
    name = entry.display_name or f"{entry.given_name} {entry.surname}".strip() or entry.name
    gone = "" if node.listed else ", no longer in the sync group"
    return f"{name} ({entry.email or entry.sam_account_name or entry.guid}{gone})"

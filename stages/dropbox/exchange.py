"""Workers at the journal: who comes while it is busy is served together with others, in one transaction."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import anyio
import anyio.lowlevel

from pipeline.errors import ConnectorError
from pipeline.model import Action
from stages.dropbox.settling import Settled


@dataclass(slots=True, eq=False)
class Turn:
    """One worker at the journal: what it brings, and what it gets to do next."""

    settled: Sequence[Settled]
    is_claiming: bool
    batch: list[Action] = field(default_factory=list)
    is_over: bool = False
    is_gone: bool = False  # cancelled meanwhile: nothing may be claimed for it
    error: ConnectorError | None = None


class Round:
    """One call of `apply`: what it may claim, and its workers' turns at the journal.

    Workers that come while the journal is busy are served together, in one transaction: at a high pace, what waits
    for the disk is shared (group commit).
    """

    def __init__(self, serve: Callable[[Sequence[Turn]], Awaitable[None]]) -> None:
        """`serve` does the work of some turns in one transaction, and says so in them. ConnectorError."""
        self._serve_all = serve
        self._turns: list[Turn] = []
        self._lock = anyio.Lock(fast_acquire=True)

    async def exchange(
        self, settled: Sequence[Settled], *, is_claiming: bool, is_alone: bool
    ) -> list[Action]:
        """Settles what was done and claims what is next; nothing is claimed by who brings an end.

        A worker that `is_alone` need not wait until others that have an answer by now have come along.
        """
        turn = Turn(settled, is_claiming)
        self._turns.append(turn)
        try:
            async with self._lock:
                if not turn.is_over:
                    if not is_alone:
                        await anyio.lowlevel.cancel_shielded_checkpoint()
                    await self._serve()
        except BaseException:
            turn.is_gone = True
            raise
        if turn.error is not None:
            raise turn.error
        return turn.batch

    async def _serve(self) -> None:
        turns, self._turns = self._turns, []
        try:
            await self._serve_all(turns)
        except ConnectorError as error:
            for turn in turns:
                turn.error, turn.is_over = error, True
        except BaseException:
            self._turns = [
                turn for turn in turns if not turn.is_over
            ] + self._turns  # the next one serves them
            raise

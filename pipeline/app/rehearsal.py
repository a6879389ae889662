"""What a simulated pass saw, kept beside the journal until a real pass has read the directory: so long `explain` answers from it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from pipeline.app.explanation import Explanation, directory_is_read
from pipeline.model import Action, Member, PassRecord, State, Status, Wanted
from state.journal import Journal

_SUFFIX = ".simulated"


def place_of(journal_path: Path) -> Path:
    return journal_path.with_name(journal_path.name + _SUFFIX)


async def keep(copy: Journal, journal_path: Path) -> None:
    """Of a simulated pass its copy of the journal, if the journal itself knows no directory yet; else there is nothing to keep.

    The caller owns the journal. RightsError, JournalError.
    """
    place = place_of(journal_path)
    if not await directory_is_read(copy) or await _knows_directory(journal_path):
        place.unlink(missing_ok=True)
        return
    draft = place.with_name(place.name + ".new")
    draft.unlink(missing_ok=True)
    draft.touch(mode=0o600)  # it names people, as the journal does
    await copy.copy_to(draft)
    draft.replace(place)


async def drop(journal: Journal, journal_path: Path) -> None:
    """Once the journal itself has read the directory, what was simulated before is of no use."""
    place = place_of(journal_path)
    if place.exists() and await directory_is_read(journal):
        place.unlink(missing_ok=True)


async def _knows_directory(journal_path: Path) -> bool:
    if not journal_path.exists():
        return False
    journal = await Journal.open(journal_path, read_only=True)
    try:
        return await directory_is_read(journal)
    finally:
        await journal.close()


@dataclass(frozen=True, slots=True)
class Source:
    """What to answer from. `simulated`: the pass, where it is one that was simulated."""

    journal: Journal
    simulated: PassRecord | None = None


@asynccontextmanager
async def source_of(journal_path: Path) -> AsyncIterator[Source]:
    """The journal, read only; what a simulated pass saw, where the journal knows no directory yet. JournalError without any."""
    place = place_of(journal_path)
    journal = await Journal.open(journal_path, read_only=True)
    try:
        if await directory_is_read(journal) or not place.exists():
            yield Source(journal)
            return
    finally:
        await journal.close()
    copy = await Journal.open(place, read_only=True)
    try:
        async with copy.reading():
            last = await copy.last_pass()
        yield Source(copy, last)
    finally:
        await copy.close()


def before_it(one: Explanation, since: datetime) -> Explanation:
    """The person as they are, not as the simulated pass would leave them: what it would send is still wanted."""
    sent = [action for action in reversed(one.history) if action.state is State.DONE]
    first = next((action for action in sent if not action.group_guid), None)
    wanted = tuple(
        Wanted(kind=action.kind, reason=action.reason, cause=action.cause, changes=action.changes)
        for action in sent
    )
    subject, match = one.subject, one.subject.match
    link = subject.link if subject.link is None or subject.link.at < since else None
    if first is not None and match.member is not None:
        match = replace(match, member=_before(match.member, first))
    return replace(
        one,
        subject=replace(subject, link=link, match=match),
        decision=replace(one.decision, wanted=(*wanted, *one.decision.wanted)),
        history=(),
        lines=(),
    )


def _before(member: Member, first: Action) -> Member | None:
    """None where the first action made the member."""
    if not first.precondition:
        return None
    shown = first.before
    return replace(
        member,
        status=Status(first.precondition),
        email=shown.email or member.email,
        external_id=shown.external_id,
    )

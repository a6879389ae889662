"""The drift watcher: what admins do in Dropbox's console marks the persons in question as dirty. It decides nothing.

The event log is a hint: unsorted, without ids, of unknown latency. The full comparison stays the truth.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from pipeline.journal_port import Journal
from pipeline.model import State, TeamEvent
from pipeline.ports import Clock, Team
from stages.dropbox.settling import was_refused_an_address

OVERLAP = timedelta(minutes=5)
"""The first look goes back this far: an event may be logged later than it happened."""

MAX_PAGES = 50
"""A look ends here even if the log says that there is more; the next look goes on from the stored cursor."""

_FREES_AN_ADDRESS = frozenset(
    {"member_change_email", "member_change_status", "member_permanently_delete_account_contents"}
)
"""Kinds of events (team_log.stone) after which an address may be nobody's."""


class DriftWatcher:
    def __init__(self, team: Team, journal: Journal, clock: Clock) -> None:
        self._team = team
        self._journal = journal
        self._clock = clock

    async def look(self, *, humans_only: bool = False) -> int:
        """Reads the log from where it stood; returns how many persons and groups were marked. TeamReadError changes nothing.

        `humans_only`: what apps did is passed over. A process that lives for one pass can't tell our own writes of the pass
        before from those of another app, and would read again everybody whom it has just changed.
        """
        marked = await self._follow("drift", about_groups=False, humans_only=humans_only)
        async with self._journal.reading():
            has_groups = bool(await self._journal.groups.links())
        if has_groups:
            marked += await self._follow("drift_groups", about_groups=True, humans_only=humans_only)
        return marked

    async def _follow(self, key: str, *, about_groups: bool, humans_only: bool) -> int:
        async with self._journal.reading():
            cursor = await self._journal.get(f"{key}_cursor") or ""
            since_text = await self._journal.get(f"{key}_since")
        since = datetime.fromisoformat(since_text) if since_text else self._clock.now() - OVERLAP
        marked = 0
        for _ in range(MAX_PAGES):
            page = await self._team.events(cursor, since, about_groups=about_groups)
            foreign = [event for event in page.events if not (event.by_us or (humans_only and event.by_app))]
            if not foreign and page.reset_to is None and page.cursor == cursor:
                break
            async with self._journal.transaction():
                if about_groups:
                    # Whoever was put in or taken out, the group is read again as a whole.
                    groups = {event.group_id for event in foreign if event.group_id}
                    count = await self._journal.groups.doubt(sorted(groups))
                else:
                    linked, waiting, refused = await self._concerned(foreign)
                    now = self._clock.now()
                    await self._journal.mark_dirty(sorted(linked | waiting), "drift", now)
                    await self._journal.mark_dirty(sorted(refused), "retry", now)
                    count = len(linked | waiting)
                if page.reset_to is not None:
                    # The log starts anew from there: what it can't tell any more, a comparison finds, and at once.
                    cursor, since = "", page.reset_to
                    await self._demand_comparison(
                        "groups_compared_at" if about_groups else "compared_at", since
                    )
                    await self._journal.put(f"{key}_since", since.isoformat())
                else:
                    cursor = page.cursor
                await self._journal.put(f"{key}_cursor", cursor)
            marked += count
            if page.reset_to is None and not page.more:
                break
        return marked

    async def _demand_comparison(self, key: str, lost_until: datetime) -> None:
        """The next pass compares everything, unless that was done after the last event that is lost."""
        compared = await self._journal.get(key)
        if compared is not None and datetime.fromisoformat(compared) < lost_until:
            await self._journal.put(key, datetime.min.replace(tzinfo=UTC).isoformat())

    async def _concerned(self, events: Sequence[TeamEvent]) -> tuple[set[str], set[str], set[str]]:
        """The linked persons behind these events; the listed ones whose address somebody may have given up by them; and

        those of them who were refused that address. Everybody else is not looked at.
        """
        journal = self._journal
        ids = {event.member_id for event in events if event.member_id}
        emails = {event.email for event in events if event.email}
        unnamed = {event.email for event in events if event.email and not event.member_id}
        for members in (await journal.members.by_email(sorted(unnamed))).values():
            ids |= {member.member_id for member in members}
        linked = set((await journal.links.holders(sorted(ids))).values())
        # What such a member showed before is the address that may be free now.
        known = await journal.members.by_id(sorted(ids))
        emails |= {member.email for member in known.values()}
        same = await journal.mirror.listed_with_email(sorted(emails - {""}))
        waiting = {guid for guids in same.values() for guid in guids} - linked
        actions = await journal.outbox.open_of(sorted(waiting))
        refused = {guid for guid, of_person in actions.items() if any(map(was_refused_an_address, of_person))}
        if any(event.kind in _FREES_AN_ADDRESS and event.member_id not in known for event in events):
            # Somebody who came after the last listing: which address it was can't be told.
            failed = await journal.outbox.in_state(State.FAILED)
            refused |= {action.guid for action in failed if was_refused_an_address(action)}
        return linked, waiting | refused, refused

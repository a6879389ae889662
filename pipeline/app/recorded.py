"""`plan --recorded`: both sides as the journal last saw them, so that a pass can be reproduced where neither can be asked."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from config.settings import Settings
from pipeline.app.clock import SystemClock
from pipeline.errors import ControlError
from stages.directory.recorded import RecordedDirectory, Recording
from stages.dropbox.memory import MemoryTeam
from state.journal import Journal

_ENOUGH_SEATS = 1_000_000
"""How many seats there were is not journaled: nobody waits for one."""


class RecordedClock(SystemClock):
    """Begins at `start` and goes on from there: what was settling, or counted for the brake, then still does."""

    def __init__(self, start: datetime) -> None:
        self._behind: timedelta = super().now() - start

    def now(self) -> datetime:
        return super().now() - self._behind


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """`settings`: with the groups that the journal is pinned to, since a pseudonymised one knows no other names."""

    settings: Settings
    directory: RecordedDirectory
    team: MemoryTeam
    clock: RecordedClock


async def recorded(settings: Settings, journal: Journal) -> Recorded:
    """All of the mirror and the team, in memory. ControlError before the first pass."""
    async with journal.reading():
        root = await journal.get("sync_group_guid")
        domain = await journal.get("domain_guid")
        last = await journal.last_at()
        if not root or not domain or last is None:
            raise ControlError(
                "read the journal",
                "no real pass has read the directory into it yet",
                "plan without --recorded, which reads both sides; or import a journal that has seen a pass",
            )
        graph, edges = await journal.mirror.graph()
        nodes = await journal.mirror.nodes(guid for guid, _, _ in graph)
        sees = await journal.get("sees_tombstones")
        recording = Recording(
            domain_guid=domain,
            domain_name=await journal.get("domain_name") or "",
            nodes=nodes,
            edges=edges,
            sees_tombstones=None if sees is None else sees == "yes",
        )
        pins = {
            role: await journal.get(f"{role}_guid") or "" for role in ("exclude_group", "group_sync_group")
        }
        team = await _team(journal)
    users = settings.users.model_copy(update={"sync_group": root, "exclude_group": pins["exclude_group"]})
    groups = settings.groups.model_copy(update={"sync_group": pins["group_sync_group"]})
    # No event log to look into; the cursor that the journal keeps is the real team's.
    dropbox = settings.dropbox.model_copy(update={"drift_poll_seconds": 0.0})
    return Recorded(
        settings=settings.model_copy(update={"users": users, "groups": groups, "dropbox": dropbox}),
        directory=RecordedDirectory(recording),
        team=team,
        clock=RecordedClock(last),
    )


async def _team(journal: Journal) -> MemoryTeam:
    team = MemoryTeam(seats=_ENOUGH_SEATS)
    team.members = {one.member_id: one for one in await journal.members.all()}
    team.groups.groups = await journal.groups.all()
    team.groups.members = {group: set() for group in team.groups.groups}
    for group, members in (await journal.groups.memberships()).items():
        team.groups.members.setdefault(group, set()).update(members)
    return team

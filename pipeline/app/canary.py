"""Looks after the canary: what the journal knows of its changes, against what was expected."""

from __future__ import annotations

import json
from datetime import datetime, timedelta

from pipeline.app.selected import select_person
from pipeline.core.canary import Sighting, canary_alert
from pipeline.errors import ConnectorError
from pipeline.journal_port import Journal
from pipeline.model import Alert

LOOK_SECONDS = 60.0
_KEY = "canary"


class Canary:
    def __init__(self, journal: Journal, *, person: str, every: timedelta) -> None:
        self._journal = journal
        self._person = person
        self._every = every
        self.arrived_at: datetime | None = None

    async def look(self, now: datetime) -> Alert | None:
        """The alert that stands now. Counting begins when the person is first configured, and outlives a restart."""
        since = await self._since(now)
        try:
            (guid,) = (await select_person(self._journal, self._person)).guids
        except ConnectorError as error:
            sighting = Sighting(person=self._person, since=since, fault=error.cause)
        else:
            async with self._journal.reading():
                actions = await self._journal.outbox.of_person(guid)
            sighting = Sighting(person=self._person, since=since, actions=actions)
        self.arrived_at = sighting.arrived_at
        return canary_alert(sighting, every=self._every, now=now)

    async def _since(self, now: datetime) -> datetime:
        async with self._journal.transaction():
            known = json.loads(await self._journal.get(_KEY) or "{}")
            if known.get("person") == self._person:
                return datetime.fromisoformat(known["since"])
            await self._journal.put(_KEY, json.dumps({"person": self._person, "since": now.isoformat()}))
        return now

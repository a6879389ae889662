"""Mails about one cause arrive in the order of what happened, whatever the mail server does meanwhile: what stands in the mailbox last is true."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipeline.errors import MailError
from pipeline.model import Alert, Severity
from stages.mail.memory import MemoryMailer
from stages.mail.notifier import Notifier
from state.journal import Journal

pytestmark = pytest.mark.anyio

DIRECTORY = Alert(key="exit-code:-12", severity=Severity.CRITICAL, title="the directory can't be read")
SEATS = Alert(key="seats", severity=Severity.WARNING, title="no free seat")
DOWN = MailError("sending mail", "nobody answers")
WRONG_PASSWORD = MailError("sending mail", "refused", permanent=True)


class Clock:
    def __init__(self) -> None:
        self.at = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)

    def now(self) -> datetime:
        return self.at


@dataclass
class Place:
    journal: Journal
    mailer: MemoryMailer = field(default_factory=MemoryMailer)
    clock: Clock = field(default_factory=Clock)
    tried: int = 0

    @property
    def notifier(self) -> Notifier:
        return Notifier(
            self.mailer,
            self.journal,
            self.clock,  # type: ignore[arg-type]
            repeat_hours=24,
            host_name="host.example.test",
            log=self._note,
        )

    def _note(self, event: str, _text: str) -> None:
        self.tried += event == "mail_failed"

    async def passes(self, *standing: Alert, seconds: float = 1, failure: MailError | None = None) -> None:
        """A pass ends with this standing, so many seconds later, and what is due is sent as `watch` does it."""
        self.clock.at += timedelta(seconds=seconds)
        await self.notifier.judge(standing, judged=None, simulated=False)
        await self.deliver(failure=failure)

    async def deliver(self, *, seconds: float = 0, failure: MailError | None = None) -> None:
        self.mailer.failure = failure
        self.clock.at += timedelta(seconds=seconds)
        await self.notifier.send_due()

    async def run_ends(self, *, failure: MailError | None = None) -> int:
        """A single pass has one chance to send what waits."""
        self.mailer.failure = failure
        return await self.notifier.send_due(all_waiting=True)

    def arrived(self) -> list[str]:
        return [
            word
            for one in self.mailer.kept
            for word in (*(alert.title for alert in one.alerts), *(f"over: {title}" for title in one.over))
        ]

    async def unsent(self) -> Sequence[str]:
        async with self.journal.reading():
            mails = await self.journal.alerts.due_mails(None)
        return [mail.message_id for mail in mails]


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    journal = await Journal.open(tmp_path / "journal.db")
    yield Place(journal)
    await journal.close()


@pytest.mark.parametrize("failure", [DOWN, WRONG_PASSWORD])
async def test_an_alert_that_was_put_off_comes_before_its_end(place: Place, failure: MailError) -> None:
    await place.passes(DIRECTORY, failure=failure)
    (message_id,) = await place.unsent()
    await place.passes()
    assert place.arrived() == ["the directory can't be read", "over: the directory can't be read"]
    assert place.mailer.kept[0].message_id == message_id, "the same as at the first try"


async def test_while_the_server_stays_down_it_is_asked_no_more_often_for_it(place: Place) -> None:
    await place.passes(DIRECTORY, failure=DOWN)
    await place.passes(failure=DOWN)
    assert place.tried == 2
    for _ in range(8):
        await place.deliver(seconds=1, failure=DOWN)
    assert place.tried == 2
    await place.deliver(seconds=3)
    assert place.arrived() == ["the directory can't be read", "over: the directory can't be read"]


async def test_other_causes_wait_for_nobody(place: Place) -> None:
    await place.passes(SEATS)
    await place.passes(DIRECTORY, SEATS, failure=WRONG_PASSWORD)
    refused = place.mailer.send

    async def picky(alerts: Sequence[Alert], **rest: object) -> None:
        """A filter that takes offence at one mail for good."""
        if DIRECTORY in alerts:
            raise WRONG_PASSWORD
        await refused(alerts, **rest)  # type: ignore[arg-type]

    place.mailer.send = picky  # type: ignore[method-assign]
    await place.passes(Alert(key="right:x", severity=Severity.WARNING, title="missing right: x"))
    await place.deliver(seconds=1)
    assert place.arrived() == ["no free seat", "missing right: x", "over: no free seat"]
    assert len(await place.unsent()) == 2


async def test_what_stands_again_was_never_over(place: Place) -> None:
    """The mail that it is over was put off: after the new alert it would be a lie."""
    await place.passes(DIRECTORY, SEATS)
    await place.passes(failure=DOWN)
    await place.passes(DIRECTORY, seconds=2)
    await place.deliver(seconds=3600)
    assert place.arrived() == [
        "the directory can't be read",
        "no free seat",
        "the directory can't be read",
        "over: no free seat",
    ]
    await place.passes(DIRECTORY, failure=DOWN, seconds=90_000)
    await place.passes(failure=DOWN)
    await place.passes(DIRECTORY, failure=DOWN)
    await place.deliver(seconds=3600)
    assert place.arrived()[4:] == 2 * ["the directory can't be read"]
    assert await place.unsent() == []


async def test_mails_that_an_earlier_version_queued_are_sent_as_they_are(place: Place) -> None:
    async with place.journal.transaction():
        await place.journal.alerts.queue_mail("<1@x>", [], [SEATS], place.clock.now(), simulated=False)
        await place.journal.alerts._database.execute(
            "UPDATE mail SET over = ?", (json.dumps(["no free seat"]),)
        )
    await place.passes(SEATS)
    assert place.arrived() == ["over: no free seat", "no free seat"]


@pytest.mark.parametrize("failure", [DOWN, WRONG_PASSWORD])
async def test_a_single_pass_sends_what_is_in_back_off(place: Place, failure: MailError) -> None:
    await place.passes(DIRECTORY, failure=failure)
    await place.passes(DIRECTORY, SEATS, failure=failure)
    tried = place.tried
    assert await place.run_ends(failure=failure) == 0
    assert place.tried == tried + 1, "one refusal ends the attempt"
    assert await place.run_ends() == 2
    assert place.arrived() == [DIRECTORY.title, SEATS.title]
    assert await place.unsent() == []

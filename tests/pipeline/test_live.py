"""One process that goes on: the same engine pass after pass, and `watch` with changes that arrive while it works."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio
import pytest

from pipeline.app.compose import Assembly
from pipeline.core.exits import ExitCode
from pipeline.errors import DirectoryBusy, JournalError, TeamReadError
from pipeline.model import ActionKind, Member, Outcome, Profile, Status
from tests.pipeline.group_world import in_group, nest
from tests.pipeline.test_leavers import team_of
from tests.pipeline.world import TurnedClock, World
from tests.watching import watching_engine

pytestmark = pytest.mark.anyio

Make = Callable[..., World]


class HeldClock(TurnedClock):
    """Sleepers wait until the test turns the time to where they wanted to wake."""

    def __init__(self) -> None:
        super().__init__()
        self._moved = anyio.Event()

    async def sleep(self, seconds: float) -> None:
        until = self.monotonic() + seconds
        while self.monotonic() < until:
            await self._moved.wait()
        await anyio.lowlevel.checkpoint()

    def turn(self, **span: float) -> None:
        super().turn(**span)
        self._moved.set()
        self._moved = anyio.Event()


class Watch:
    """A running `watch`; `look` wakes it and waits until it is quiet again."""

    def __init__(self, assembly: Assembly, world: World) -> None:
        self.assembly = assembly
        self.engine = assembly.engine
        self._world = world

    async def look(self, **span: float) -> None:
        """So much time passes, and then the directory is looked at."""
        if span:
            self._world.clock.turn(**span)
        self.engine.nudge()
        with anyio.fail_after(10):
            for _ in range(5):
                await self.engine.quiet()
                await anyio.sleep(0)


@asynccontextmanager
async def watching(world: World) -> AsyncIterator[Watch]:
    async with watching_engine(world.open(), world.clock, ready_seconds=10) as assembly:
        yield Watch(assembly, world)


def held(world: World) -> World:
    """The same world, whose time stands until a test turns it."""
    clock = HeldClock()
    world.clock = clock
    world.directory._clock = clock
    world.team._clock = clock
    return world


@pytest.fixture
def live(new_world: Make) -> World:
    return held(new_world())


def names(count: int) -> list[str]:
    return [f"p{number:03}" for number in range(count)]


async def test_changes_arrive_while_it_watches(live: World) -> None:
    guids = live.people(*names(8))
    async with watching(live) as watch:
        live.accept_all()
        live.team.effects.clear()
        live.directory.modify(guids[0], surname="Lee")
        live.directory.disable(guids[1])
        live.directory.remove_member(live.group, guids[2])
        live.directory.delete(guids[3])
        await watch.look(minutes=20)
        await watch.look(seconds=30)
        assert sorted(live.effects()) == [
            ("remove", "p003@example.test"),
            ("suspend", "p001@example.test"),
            ("update", "p000@example.test"),
        ]
        await watch.look(seconds=31)
        await watch.look(seconds=5)
        assert live.effects()[-1] == ("suspend", "p002@example.test")


async def test_a_group_cleared_and_refilled_within_a_minute_wipes_nobody(live: World) -> None:
    guids = live.people(*names(8))
    async with watching(live) as watch:
        live.accept_all()
        await watch.look(minutes=20)
        live.team.effects.clear()
        live.directory.remove_members(live.group, *guids[:4])
        for _ in range(5):
            await watch.look(seconds=10)
        live.directory.add_members(live.group, *guids[:4])
        for _ in range(10):
            await watch.look(seconds=30)
        assert live.team.effects == []


async def test_a_group_emptied_is_told_once_and_nobody_is_touched_when_it_is_filled_again(
    live: World,
) -> None:
    guids = live.people(*names(8))
    async with watching(live) as watch:
        live.accept_all()
        await watch.look(minutes=20)
        live.team.effects.clear()
        live.directory.remove_members(live.group, *guids)
        for _ in range(30):
            await watch.look(minutes=1)
        assert watch.engine.last_summary is not None
        assert watch.engine.last_summary.code is ExitCode.SCOPE
        live.directory.add_members(live.group, *guids)
        for _ in range(10):
            await watch.look(minutes=1)
        assert watch.engine.last_summary.code is ExitCode.OK
        assert live.team.effects == []


async def test_ten_leavers_every_five_minutes_are_stopped(live: World) -> None:
    guids = live.people(*names(100))
    async with watching(live) as watch:
        live.accept_all()
        await watch.look(minutes=20)
        live.team.effects.clear()
        for start in range(0, 60, 10):
            live.directory.remove_members(live.group, *guids[start : start + 10])
            for _ in range(5):
                await watch.look(minutes=1)
        assert len(live.harm()) == 10


async def test_who_is_enabled_while_the_suspension_is_on_its_way_ends_enabled(live: World) -> None:
    """The decision must not be taken from what was read before the write had its effect."""
    guids = live.people(*names(8))
    original = live.team.suspend

    async def slow(member_id: str, *, wipe_data: bool) -> Outcome:
        outcome = await original(member_id, wipe_data=wipe_data)
        live.directory.enable(guids[0])
        watch.engine.nudge()
        for _ in range(200):  # poll and plan go on meanwhile
            await anyio.sleep(0)
        return outcome

    async with watching(live) as watch:
        live.accept_all()
        await watch.look(minutes=20)
        live.team.suspend = slow  # type: ignore[method-assign]
        live.directory.disable(guids[0])
        await watch.look()
        live.team.suspend = original  # type: ignore[method-assign]
        await watch.look(seconds=5)
        assert live.status("p000") == "active"


async def test_who_is_enabled_before_the_suspension_has_its_effect_ends_enabled(live: World) -> None:
    guids = live.people(*names(8))
    original = live.team.suspend

    async def slow(member_id: str, *, wipe_data: bool) -> Outcome:
        live.directory.enable(guids[0])
        watch.engine.nudge()
        for _ in range(200):
            await anyio.sleep(0)
        return await original(member_id, wipe_data=wipe_data)

    async with watching(live) as watch:
        live.accept_all()
        await watch.look(minutes=20)
        live.team.suspend = slow  # type: ignore[method-assign]
        live.directory.disable(guids[0])
        await watch.look()
        live.team.suspend = original  # type: ignore[method-assign]
        await watch.look(seconds=5)
        assert live.status("p000") == "active"


async def test_an_invitation_that_lands_while_the_team_is_listed_is_not_sent_twice(live: World) -> None:
    """The listing does not show the newcomer; that is no proof that there is no account."""
    live.people(*names(4))
    list_members, invite = live.team.list_members, live.team.invite
    listed, invited = anyio.Event(), anyio.Event()

    async def listing() -> AsyncIterator[list[Member]]:
        pages = [list(page) async for page in list_members()]
        listed.set()
        await invited.wait()
        for _ in range(50):  # what became of it is written down before the listing is
            await anyio.sleep(0)
        for page in pages:
            yield page

    async def slow(profiles, *, send_welcome):  # type: ignore[no-untyped-def]
        live.team.list_members = listing  # type: ignore[method-assign]
        live.clock.turn(hours=25)
        watch.engine.nudge()
        await listed.wait()
        outcomes = await invite(profiles, send_welcome=send_welcome)
        invited.set()
        return outcomes

    async with watching(live) as watch:
        live.accept_all()
        await watch.look(minutes=20)
        live.team.invite = slow  # type: ignore[method-assign]
        live.person("new")
        await watch.look()
        live.team.list_members, live.team.invite = list_members, invite  # type: ignore[method-assign]
        await watch.look(seconds=5)
        assert live.team.asked.count(("invite", "new@example.test")) == 1
        assert live.status("new") == "invited"


async def test_trouble_with_the_directory_is_told_once_and_over_when_it_is_over(live: World) -> None:
    guids = live.people(*names(4))
    async with watching(live) as watch:
        live.accept_all()
        await watch.look(minutes=20)
        original = live.directory.identify

        async def broken():  # type: ignore[no-untyped-def]
            raise DirectoryBusy("connect", "out of reach")

        live.directory.identify = broken  # type: ignore[method-assign]
        live.directory.disable(guids[0])
        for _ in range(20):
            await watch.look(minutes=1)
        assert live.harm() == []
        live.directory.identify = original  # type: ignore[method-assign]
        for _ in range(8):
            await watch.look(minutes=1)
        assert live.harm() == [("suspend", "p000@example.test")]
    mails = [alert.key for mail in live.mailer.kept for alert in mail.alerts]
    assert mails.count("exit-code:-12") <= 2, mails


async def test_trouble_with_the_team_loses_no_change(live: World) -> None:
    guids = live.people(*names(4))
    async with watching(live) as watch:
        live.accept_all()
        await watch.look(minutes=20)
        original = live.team.get_members

        async def broken(**_: object) -> list[Member]:
            raise TeamReadError("read members", "500")

        live.team.get_members = broken  # type: ignore[method-assign, assignment]
        live.directory.disable(guids[0])
        for _ in range(20):
            await watch.look(minutes=1)
        assert live.harm() == []
        live.team.get_members = original  # type: ignore[method-assign]
        for _ in range(8):
            await watch.look(minutes=1)
        assert live.harm() == [("suspend", "p000@example.test")]


async def test_a_retry_comes_when_it_is_due(live: World) -> None:
    from pipeline.model import Verdict

    guids = live.people(*names(4))
    async with watching(live) as watch:
        live.accept_all()
        await watch.look(minutes=20)
        outcome = Outcome(verdict=Verdict.RETRY, tag="too_many_requests", retry_after=100.0)
        live.team.break_next(ActionKind.SUSPEND, outcome=outcome)
        live.directory.disable(guids[0])
        await watch.look()
        await watch.look(seconds=90)
        assert live.harm() == []
        await watch.look(seconds=11)
        assert live.harm() == [("suspend", "p000@example.test")]


async def test_who_joins_is_brought_up_to_date_without_any_change_in_the_directory(live: World) -> None:
    (ann,) = live.people("ann")
    async with watching(live) as watch:
        live.directory.modify(ann, surname="Lee")
        await watch.look(seconds=5)
        live.accept_all()
        await watch.look(minutes=20)
        assert live.member("ann").surname == "Lee"


async def test_a_seat_that_an_admin_frees_is_used_within_the_quarter_of_an_hour(live: World) -> None:
    live.team.seats = 4
    live.people(*names(4))
    async with watching(live) as watch:
        await watch.look(seconds=5)
        assert len(live.effects(ActionKind.INVITE)) == 3
        live.team.seats = 10
        await watch.look(minutes=16)
        assert len(live.effects(ActionKind.INVITE)) == 4


async def test_nothing_to_do_sends_nothing_and_opens_no_pass(live: World) -> None:
    live.people(*names(4))
    async with watching(live) as watch:
        live.accept_all()
        await watch.look(minutes=20)
        summary = watch.engine.last_summary
        requests = dict(live.team.requests)
        for _ in range(20):
            await watch.look(seconds=5)
        assert watch.engine.last_summary is summary
        assert dict(live.team.requests) == requests or set(live.team.requests) - set(requests) <= {"events"}


async def test_profiles_are_sent_in_lower_case(live: World) -> None:
    live.person("ann", mail="Ann.LEE@Example.TEST")
    seen: list[Profile] = []
    original = live.team.invite

    async def invite(profiles, *, send_welcome):  # type: ignore[no-untyped-def]
        seen.extend(profiles)
        return await original(profiles, send_welcome=send_welcome)

    live.team.invite = invite  # type: ignore[method-assign]
    async with watching(live):
        pass
    assert [one.email for one in seen] == ["ann.lee@example.test"]
    assert live.status("ann.lee") == Status.INVITED


@pytest.mark.parametrize("refused", [False, True])
async def test_an_undone_person_is_decided_about_again_once_the_directory_changes_them(
    world: World, refused: bool
) -> None:
    """Also when no delta tells of the change, because the checkpoint was refused."""
    from pipeline.records import Pin

    guids = world.people(*names(8))
    await world.run()
    world.accept_all()
    await world.run()
    async with world.open() as assembly:
        journal = assembly.parts.journal
        async with journal.transaction():
            at = world.clock.now()
            await journal.pin(
                [Pin(guid=guid, kind=None, changes=Profile(), reason="undo", at=at) for guid in guids]
            )
    world.team.effects.clear()
    world.directory.disable(guids[0])
    world.directory.remove_member(world.group, guids[1])
    if refused:
        world.directory.refuse_checkpoints()
    await world.settle()
    assert world.effects() == [("suspend", "p000@example.test"), ("suspend", "p001@example.test")]


async def test_whose_leaving_settles_later_is_taken_out_of_the_groups_then(new_world: Make) -> None:
    """By that time no group of the directory holds them any more; the Dropbox groups do."""
    world = held(new_world(groups={"mode": "same"}, users={"leave_settle_seconds": 60}))
    sales = nest(world, "Sales", "ann", "bob", "cid")
    async with watching(world) as watch:
        world.accept_all()
        await watch.look(minutes=20)
        assert in_group(world, "Sales") == ["ann", "bob", "cid"]
        world.directory.remove_member(sales, world.directory.living_members(sales)[0])
        await watch.look(seconds=5)
        assert in_group(world, "Sales") == ["ann", "bob", "cid"], "not settled yet"
        await watch.look(seconds=90)
        await watch.look(seconds=5)
        assert world.status("ann") == "suspended"
        assert in_group(world, "Sales") == ["bob", "cid"]


async def test_groups_that_a_broken_off_pass_did_not_come_to_are_looked_at_in_the_next(
    new_world: Make,
) -> None:
    world = held(new_world(groups={"mode": "same"}, users={"leave_settle_seconds": 60}))
    sales = nest(world, "Sales", "ann", "bob", "cid")
    async with watching(world) as watch:
        world.accept_all()
        await watch.look(minutes=20)
        applier = watch.assembly.parts.applier
        apply = applier.apply

        async def broken_off(*given: object, **named: object) -> None:
            await apply(*given, **named)  # type: ignore[arg-type]
            if world.status("ann") == "suspended":
                applier.apply = apply  # type: ignore[method-assign]
                raise TeamReadError("read a member back", "the connection broke")

        applier.apply = broken_off  # type: ignore[method-assign]
        world.directory.remove_member(sales, world.directory.living_members(sales)[0])
        await watch.look(seconds=5)
        await watch.look(seconds=90)
        assert world.status("ann") == "suspended"
        assert in_group(world, "Sales") == ["ann", "bob", "cid"]
        world.directory.modify(world.directory.living_members(sales)[0], surname="Lee")
        await watch.look(minutes=20)
        await watch.look(seconds=5)
        assert in_group(world, "Sales") == ["bob", "cid"]


async def test_a_change_that_could_not_be_written_down_is_not_lost_to_the_process_that_read_it(
    world: World,
) -> None:
    """The disk was full for a moment: the same deltas come again, to a nesting that must not have them already."""
    guids = world.people(*names(8))
    await world.run()
    world.accept_all()
    await world.run()
    world.team.effects.clear()
    async with world.open() as assembly:
        await assembly.engine.run()
        mirror = assembly.parts.journal.mirror
        original = mirror.apply

        async def refused(change: object) -> None:
            raise JournalError("write to the journal", "the disk is full")

        mirror.apply = refused  # type: ignore[method-assign]
        world.directory.remove_member(world.group, guids[0])
        world.person("new")
        assert (await assembly.engine.run()).code is ExitCode.JOURNAL
        mirror.apply = original  # type: ignore[method-assign]
        world.clock.turn(minutes=1)
        await assembly.engine.run()
    assert world.effects() == [("invite", "new@example.test"), ("suspend", "p000@example.test")]


async def test_a_watch_that_begins_with_nothing_to_do_names_the_set_that_stands(live: World) -> None:
    """Its mail said `approve HASH` without any, and a moment later that it was over."""
    guids = await team_of(live, 40)
    for guid in guids[:11]:
        live.directory.disable(guid)
    await live.run()
    [digest] = await live.held()
    live.mailer.kept.clear()
    live.clock.turn(minutes=1)
    async with watching(live) as watch:
        summary = watch.engine.last_summary
        assert summary is not None
        assert summary.code is ExitCode.BRAKE
        assert [alert.key for alert in summary.alerts] == ["held:leavers"]
        assert f"ad-connector approve {digest}" in summary.alerts[0].remedy
        await watch.look(hours=25)  # longer than mail.repeat_hours
    keys = {alert.key for mail in live.mailer.kept for alert in mail.alerts}
    assert keys <= {"held:leavers"}
    assert not [title for mail in live.mailer.kept for title in mail.over]
    assert live.harm() == []

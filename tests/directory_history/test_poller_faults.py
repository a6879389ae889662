"""What the random histories found in the poller, each as short as it gets."""

from datetime import timedelta

import pytest

from bench.history_run import HandClock
from pipeline.errors import JournalError
from pipeline.model import Source
from stages.directory.ldap import LdapDirectory
from stages.directory.memory import MemoryDirectory
from stages.directory.options import DirectoryOptions
from stages.directory.poller import Poller, PollOptions
from state.journal import Journal

pytestmark = pytest.mark.anyio


class Bench:
    """A domain with Dropbox ← Ann, its journal, and a poller that may be made anew."""

    def __init__(self, directory: MemoryDirectory, journal: Journal, clock: HandClock) -> None:
        self.directory = directory
        self.journal = journal
        self.clock = clock
        self.ann = directory.create_user("Ann", mail="ann@example.test")
        self.root = directory.create_group("Dropbox", members=[self.ann])
        self.restart()

    def restart(self) -> None:
        self.poller = Poller(
            self.directory, self.journal, self.clock, PollOptions(sync_group=self.root, settle=timedelta())
        )

    async def poll(self, *, full: bool = False):
        self.clock.advance(1)
        return await self.poller.poll(full=full)

    async def listed(self):
        async with self.journal.reading():
            return {node.guid for node in await self.journal.mirror.listed_users()}

    async def node(self, guid):
        async with self.journal.reading():
            return (await self.journal.mirror.nodes([guid])).get(guid)

    async def take_dirty(self):
        async with self.journal.transaction():
            marks = await self.journal.dirty(100)
            await self.journal.clear_dirty(marks)
        return {mark.guid for mark in marks}


@pytest.fixture(params=list(Source))
async def make_bench(request, tmp_path, anyio_backend):
    clock = HandClock()
    journal = await Journal.open(tmp_path / "journal.db")
    yield lambda **options: Bench(
        MemoryDirectory(source=request.param, clock=clock, **options), journal, clock
    )
    await journal.close()


async def test_a_change_whose_commit_failed_is_found_again(make_bench, monkeypatch):
    bench = make_bench()
    await bench.poll()
    await bench.take_dirty()
    bob = bench.directory.create_user("Bob", mail="bob@example.test")
    bench.directory.add_members(bench.root, bob)
    bench.directory.remove_members(bench.root, bench.ann)

    async def fail(_):
        raise JournalError("write to the journal", "disk full")

    with monkeypatch.context() as patch:
        patch.setattr(bench.journal.mirror, "apply", fail)
        with pytest.raises(JournalError):
            await bench.poll()
    await bench.poll()

    assert await bench.listed() == {bob}
    assert {bob, bench.ann} <= await bench.take_dirty()
    assert (await bench.node(bench.ann)).left_at is not None


async def test_the_checkpoint_is_kept_with_the_directorys_own_time(make_bench):
    """By it the directory knows which of its answers are stored; else sequence numbers deliver their overlap for ever."""
    bench = make_bench()
    await bench.poll()
    told = []
    changes = bench.directory.changes

    async def watched(since):
        bench.clock.advance(0.5)
        async for page in changes(since):
            told.append(page.checkpoint.at)
            yield page

    bench.directory.changes = watched
    for mail in ("a@example.test", "b@example.test"):
        bench.directory.modify(bench.ann, mail=mail)
        await bench.poll()
    async with bench.journal.reading():
        assert (await bench.journal.mirror.checkpoint()).at == told[-1]


async def test_deleted_and_restored_between_two_polls_has_lost_the_links(make_bench):
    bench = make_bench()
    await bench.poll()
    bench.directory.delete(bench.ann)
    bench.directory.restore(bench.ann)
    await bench.poll()
    assert await bench.listed() == set()
    assert (await bench.node(bench.ann)).live


async def test_unreadable_parents_take_nobody_out(make_bench, monkeypatch):
    """`memberOf` may be unreadable: only the group itself proves that a link is gone."""
    bench = make_bench(recycle_bin=True)
    await bench.poll()
    bench.directory.delete(bench.ann)
    bench.directory.restore(bench.ann)

    async def unreadable(_):
        return ()

    monkeypatch.setattr(bench.directory, "read_parents", unreadable)
    await bench.poll()
    assert await bench.listed() == {bench.ann}


async def test_links_that_come_back_with_somebody_unknown_are_found(make_bench):
    """Recycle Bin: no event on the group, and the mirror has never seen the person."""
    bench = make_bench(recycle_bin=True)
    bob = bench.directory.create_user("Bob")
    bench.directory.add_members(bench.root, bob)
    bench.directory.delete(bob)
    await bench.poll()
    assert await bench.listed() == {bench.ann}
    bench.directory.restore(bob)
    await bench.poll()
    assert await bench.listed() == {bench.ann, bob}


async def test_links_that_come_back_with_an_unknown_group_are_found(make_bench):
    bench = make_bench(recycle_bin=True)
    bob = bench.directory.create_user("Bob")
    sales = bench.directory.create_group("Sales", members=[bob])
    bench.directory.add_members(bench.root, sales)
    bench.directory.delete(sales)
    await bench.poll()
    bench.directory.restore(sales)
    await bench.poll()
    assert await bench.listed() == {bench.ann, bob}


async def test_a_primary_group_that_was_read_without_the_dead_gets_them_back(make_bench):
    bench = make_bench(recycle_bin=True)
    bench.directory.set_primary_group(bench.ann, bench.root)
    await bench.poll()
    bench.directory.delete(bench.ann)
    await bench.poll()
    await bench.poll(full=True)
    bench.directory.restore(bench.ann)
    await bench.poll()
    assert await bench.listed() == {bench.ann}


@pytest.mark.parametrize("restarts", [False, True])
async def test_a_group_that_nothing_held_at_a_full_read_is_read_anew_when_it_is_back(make_bench, restarts):
    """Its members were not read then; taken for known, it would come back empty."""
    bench = make_bench()
    bob = bench.directory.create_user("Bob")
    sales = bench.directory.create_group("Sales", members=[bob])
    bench.directory.add_members(bench.root, sales)
    await bench.poll()
    bench.directory.remove_members(bench.root, sales)
    await bench.poll()
    await bench.poll(full=True)
    if restarts:
        bench.restart()
    bench.directory.add_members(bench.root, sales)
    await bench.poll()
    assert await bench.listed() == {bench.ann, bob}


async def test_what_became_of_an_unlisted_person_before_a_full_read_is_known_when_they_are_back(make_bench):
    """The new checkpoint jumps over it; taken for known, they would be invited under the old e-mail."""
    bench = make_bench()
    bob = bench.directory.create_user("Bob", mail="old@example.test")
    bench.directory.add_members(bench.root, bob)
    await bench.poll()
    bench.directory.remove_members(bench.root, bob)
    await bench.poll()
    bench.directory.modify(bob, mail="new@example.test")
    await bench.poll(full=True)
    bench.directory.add_members(bench.root, bob)
    await bench.poll()
    assert (await bench.node(bob)).entry.email == "new@example.test"
    assert await bench.listed() == {bench.ann, bob}


@pytest.mark.samba
async def test_a_poll_by_sequence_numbers_delivers_nothing_twice(samba_domain, tmp_path):
    """The last thousand numbers are looked at again at each poll; what is stored already is no change."""
    facts = samba_domain.facts
    directory = LdapDirectory(
        DirectoryOptions(
            servers=(facts.ldaps_url,),
            username=facts.service_account,
            password=facts.service_password,
            ca_file=str(facts.ca_file),
            change_source="usn",
        )
    )
    journal = await Journal.open(tmp_path / "journal.db")
    with samba_domain.administrator() as admin:
        person, stranger = admin.create_user("Twice Told"), admin.create_user("Twice Stranger")
        group = admin.create_group("Twice Group", members=[person])
        poller = Poller(directory, journal, HandClock(), PollOptions(sync_group=group))
        found = [(await poller.poll()).changes]
        for number in range(3):
            if number == 0:
                admin.modify(person, mail="twice@example.test")
            admin.modify(stranger, mail=f"{number}@example.test")
            found.append((await poller.poll()).changes)
    assert found == [1, 1, 0, 0]
    await journal.close()
    await directory.close()

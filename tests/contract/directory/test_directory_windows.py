"""What only Windows does, as the reference sheet has it: the reader against the Windows-like server."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from pipeline.errors import CheckpointRefused, DirectoryBusy, DirectoryError
from pipeline.model import Checkpoint, Delta, Kind, Source
from sandbox.certificates import Authority
from sandbox.domain import BLIND_ACCOUNT, BLIND_PASSWORD, SERVICE_ACCOUNT, SERVICE_PASSWORD
from sandbox.windows_ldap import Fault, WindowsDomain, WindowsServer
from sandbox.windows_ldap.faults import Drop
from stages.directory.ldap import LdapDirectory
from stages.directory.options import DirectoryOptions

pytestmark = pytest.mark.anyio

Open = Callable[..., LdapDirectory]


@pytest.fixture
def domain() -> WindowsDomain:
    return WindowsDomain()


@pytest.fixture
def server(domain: WindowsDomain, authority: Authority) -> Iterator[WindowsServer]:
    with WindowsServer(domain, authority) as running:
        yield running


@pytest.fixture
async def opened(server: WindowsServer) -> AsyncIterator[Open]:
    """A function: the real reader, as the service account; with `servers` or other options changed."""
    async with AsyncExitStack() as stack:

        def make(*servers: WindowsServer, **changes: Any) -> LdapDirectory:
            settings: dict[str, Any] = {
                "servers": tuple(one.ldaps_url for one in servers or (server,)),
                "username": f"{SERVICE_ACCOUNT}@example.test",
                "password": SERVICE_PASSWORD,
                "ca_file": str(server.ca_file),
                "timeout_seconds": 10,
            }
            directory = LdapDirectory(DirectoryOptions(**{**settings, **changes}))
            stack.push_async_callback(directory.close)
            return directory

        yield make


async def poll(directory: LdapDirectory, since: Checkpoint) -> tuple[dict[str, list[Delta]], Checkpoint, int]:
    deltas: dict[str, list[Delta]] = {}
    pages = 0
    async for page in directory.changes(since):
        pages += 1
        for delta in page.deltas:
            deltas.setdefault(delta.guid, []).append(delta)
        since = page.checkpoint
    return deltas, since, pages


def targets(deltas: list[Delta], side: str) -> list[str]:
    return [target.guid for delta in deltas for target in getattr(delta, side)]


# --- ways of reading


async def test_auto_takes_sequence_numbers_on_a_read_only_dc(domain: WindowsDomain, opened: Open) -> None:
    for code in (53, 50, 1):
        domain.dc.read_only = True
        domain.dc.manners.rodc_dirsync_code = code
        directory = opened()
        assert (await directory.identify()).read_only
        assert (await directory.start()).source is Source.USN, code
        with pytest.raises(DirectoryError):
            await opened(change_source="dirsync").start()


async def test_a_restored_dc_voids_the_checkpoint(domain: WindowsDomain, opened: Open) -> None:
    for source in ("dirsync", "usn"):
        directory = opened(change_source=source)
        checkpoint = await directory.start()
        domain.begin_instance()
        await directory.close()
        with pytest.raises(CheckpointRefused):
            await poll(directory, checkpoint)


async def test_a_restored_dc_is_noticed_on_an_open_connection_by_sequence_numbers(
    domain: WindowsDomain, opened: Open
) -> None:
    directory = opened(change_source="usn")
    checkpoint = await directory.start()
    domain.begin_instance()
    with pytest.raises(CheckpointRefused):
        await poll(directory, checkpoint)


async def test_a_dc_that_is_not_synchronised_is_refused(domain: WindowsDomain, opened: Open) -> None:
    domain.dc.manners.synchronized = False
    with pytest.raises(DirectoryError, match="synchroni"):
        await opened().identify()


async def test_an_unset_tombstone_lifetime_is_sixty_days(authority: Authority, opened: Open) -> None:
    with WindowsServer(WindowsDomain(tombstone_days=None), authority) as other:
        assert (await opened(other).identify()).tombstone_days == 60
    assert (await opened().identify()).tombstone_days == 180


# --- failing over


async def test_the_cookie_goes_on_with_another_dc(
    domain: WindowsDomain, server: WindowsServer, authority: Authority, opened: Open
) -> None:
    with WindowsServer(domain, authority, controller=domain.add_controller("DC2")) as second:
        directory = opened(server, second, change_source="dirsync")
        checkpoint = await directory.start()
        ann = domain.create_user("Ann")
        domain.replicate()
        server.stop_blocking()
        deltas, _, _ = await poll(directory, checkpoint)
        assert set(deltas) == {ann}
        assert (await directory.identify()).server == "dc2.example.test"


async def test_a_cookie_that_the_other_dc_refuses_asks_for_a_full_read(
    domain: WindowsDomain, server: WindowsServer, authority: Authority, opened: Open
) -> None:
    other = domain.add_controller("DC2")
    other.manners.refuses_cookies_of_others = True
    with WindowsServer(domain, authority, controller=other) as second:
        directory = opened(server, second, change_source="dirsync")
        checkpoint = await directory.start()
        server.stop_blocking()
        with pytest.raises(CheckpointRefused):
            await poll(directory, checkpoint)


async def test_sequence_numbers_of_one_dc_are_never_used_on_another(
    domain: WindowsDomain, server: WindowsServer, authority: Authority, opened: Open
) -> None:
    with WindowsServer(domain, authority, controller=domain.add_controller("DC2")) as second:
        directory = opened(server, second, change_source="usn")
        checkpoint = await directory.start()
        server.stop_blocking()
        with pytest.raises((CheckpointRefused, DirectoryBusy)):
            await poll(directory, checkpoint)


# --- what comes in pieces


async def test_three_thousand_one_hundred_members_in_ranges_of_1500(
    domain: WindowsDomain, opened: Open
) -> None:
    people = [domain.create_user(f"User {number}") for number in range(3100)]
    group = domain.create_group("Big", members=people)
    assert {target.guid for target in await opened().read_members(group)} == set(people)


async def test_a_new_group_whose_members_come_over_several_pages(domain: WindowsDomain, opened: Open) -> None:
    domain.dc.limits.dirsync_least_objects = domain.dc.limits.max_page_size = 100
    directory = opened(change_source="dirsync")
    checkpoint = await directory.start()
    people = [domain.create_user(f"User {number}") for number in range(250)]
    group = domain.create_group("Big", members=people)
    domain.remove_members(group, people[0])
    deltas, _, pages = await poll(directory, checkpoint)
    assert pages >= 5
    assert {*people, group} <= set(deltas)
    # The removal of one who was never told of may be told all the same, but nobody else's.
    assert set(targets(deltas[group], "added")) == set(people[1:])
    assert set(targets(deltas[group], "removed")) <= {people[0]}


async def test_a_member_deleted_between_two_ranges_costs_nobody_else_the_membership(
    domain: WindowsDomain, server: WindowsServer, opened: Open
) -> None:
    domain.dc.limits.max_val_range = 20
    people = [domain.create_user(f"User {number}") for number in range(100)]
    group = domain.create_group("Big", members=people)
    directory = opened()
    await directory.identify()
    deleted: list[str] = []

    def delete_one(seen: Any) -> bool:
        if seen.kind == "range" and len(deleted) < 5:
            deleted.append(domain.delete(people[len(deleted) * 7]))
        return False

    server.faults.always(Fault(), when=delete_one)
    found = {target.guid for target in await directory.read_members(group)}
    assert len(deleted) == 5
    assert set(people) - set(deleted) <= found <= set(people)


@pytest.mark.parametrize("drop", [Drop.BEFORE, Drop.MIDDLE, Drop.TRUNCATED, Drop.LATE])
async def test_a_connection_cut_again_and_again_is_an_error(
    domain: WindowsDomain, server: WindowsServer, opened: Open, drop: Drop
) -> None:
    group = domain.create_group("G", members=[domain.create_user("Ann")])
    directory = opened()
    await directory.identify()
    server.faults.always(Fault(drop=drop, after_entries=1), "range", "search", "paged")
    with pytest.raises(DirectoryBusy):
        await directory.read_members(group)
    server.faults.clear()
    assert len(await directory.read_members(group)) == 1


# --- deletions and sight


@pytest.fixture
def recycling(authority: Authority) -> Iterator[WindowsServer]:
    with WindowsServer(WindowsDomain(recycle_bin=True), authority) as running:
        yield running


@pytest.mark.parametrize("source", ["dirsync", "usn"])
async def test_the_recycle_bin(recycling: WindowsServer, opened: Open, source: str) -> None:
    domain = recycling.forest
    assert isinstance(domain, WindowsDomain)
    ann = domain.create_user("Ann", mail="ann@example.test")
    group = domain.create_group("G", members=[ann])
    directory = opened(recycling, change_source=source)
    checkpoint = await directory.start()
    domain.delete(ann)
    deltas, checkpoint, _ = await poll(directory, checkpoint)
    assert [delta.tombstone for delta in deltas[ann]] == [True]
    assert group not in deltas
    assert await directory.read_entries([ann]) == {}
    assert await directory.read_tombstones([ann]) == {ann}
    domain.restore(ann)
    deltas, checkpoint, _ = await poll(directory, checkpoint)
    assert not deltas[ann][0].tombstone
    assert await directory.read_parents(ann) == (group,)
    assert (await directory.read_entries([ann]))[ann].email == "ann@example.test"
    domain.delete(ann)
    domain.recycle(ann)
    deltas, _, _ = await poll(directory, checkpoint)
    assert await directory.read_tombstones([ann]) == {ann}
    assert all(delta.tombstone for delta in deltas.get(ann, []))


async def test_a_deletion_without_a_name_is_a_tombstone(domain: WindowsDomain, opened: Open) -> None:
    blind = opened(change_source="dirsync", username=f"{BLIND_ACCOUNT}@example.test", password=BLIND_PASSWORD)
    ann = domain.create_user("Ann")
    domain.create_user("Bob")
    checkpoint = await blind.start()
    domain.delete(ann)
    deltas, _, _ = await poll(blind, checkpoint)
    assert [(delta.tombstone, delta.dn) for delta in deltas[ann]] == [(True, "")]


async def test_an_attribute_hidden_from_the_account_is_not_taken_for_cleared(
    domain: WindowsDomain, opened: Open
) -> None:
    """It comes empty, as if cleared: what counts is what is read afterwards."""
    domain.confidential.add("accountexpires")
    ann = domain.create_user("Ann", mail="ann@example.test")
    directory = opened(change_source="dirsync")
    checkpoint = await directory.start()
    domain.modify(ann, accountExpires=1)
    deltas, _, _ = await poll(directory, checkpoint)
    assert set(deltas) <= {ann}
    assert (await directory.read_entries([ann]))[ann].email == "ann@example.test"


async def test_members_from_elsewhere_are_told_by_guid(domain: WindowsDomain, opened: Open) -> None:
    far = domain.create_phantom("CN=Far,CN=Users,DC=child,DC=example,DC=test")
    near = domain.create_foreign("S-1-5-21-1-2-3-1104")
    directory = opened(change_source="dirsync")
    checkpoint = await directory.start()
    group = domain.create_group("G", members=[far, near])
    deltas, _, _ = await poll(directory, checkpoint)
    assert set(targets(deltas[group], "added")) == {far, near}
    assert {target.guid for target in await directory.read_members(group)} == {far, near}
    entries = await directory.read_entries([far, near])
    assert far not in entries
    assert entries[near].kind is Kind.FOREIGN
    assert await directory.read_parents(far) == ()


async def test_a_managed_service_account_is_a_computer(domain: WindowsDomain, opened: Open) -> None:
    account = domain.create_computer("svc1", managed=True)
    entry = (await opened().read_entries([account]))[account]
    assert entry.kind is Kind.COMPUTER


async def test_a_group_whose_members_are_hidden_is_an_error(domain: WindowsDomain, opened: Open) -> None:
    group = domain.create_group("Shy", members=[domain.create_user("Ann")])
    domain.accounts[SERVICE_ACCOUNT].unreadable_attributes.add("member")
    with pytest.raises(DirectoryError, match="hidden"):
        await opened().read_members(group)


async def test_check_passes_for_the_service_account_and_fails_for_the_blind_one(
    domain: WindowsDomain, opened: Open
) -> None:
    domain.delete(domain.create_user("Doomed"))
    domain.create_group("Dropbox", members=[domain.create_user("Ann", mail="ann@example.test")])
    good = {finding.name: finding.state for finding in await opened().check("Dropbox")}
    assert set(good.values()) == {"ok"}, good
    blind = opened(username=f"{BLIND_ACCOUNT}@example.test", password=BLIND_PASSWORD)
    bad = {finding.name: finding.state for finding in await blind.check("Dropbox")}
    assert bad["tombstones"] == "failed"


async def test_an_empty_poll_is_one_request(server: WindowsServer, opened: Open) -> None:
    directory = opened(change_source="dirsync")
    checkpoint = await directory.start()
    server.forget()
    await directory.identify()
    deltas, _, pages = await poll(directory, checkpoint)
    assert (deltas, pages, [seen.kind for seen in server.seen]) == ({}, 1, ["dirsync"])


# --- being woken


@pytest.mark.parametrize("how", ["refused", "cut off", "silent"])
async def test_a_server_that_does_not_listen_leaves_it_to_the_timer(
    domain: WindowsDomain, server: WindowsServer, opened: Open, how: str
) -> None:
    """Never taken for a notification that works."""
    if how == "refused":
        domain.dc.limits.max_notifications = 0
    else:
        server.faults.always(
            Fault(drop=Drop.BEFORE) if how == "cut off" else Fault(hold=True), "notification"
        )
    directory = opened(timeout_seconds=1)
    assert await directory.wait_for_change(0.01) is False
    assert [seen.kind for seen in server.seen].count("notification") == 1
    assert await directory.wait_for_change(0.01) is False  # nor is it tried at every look
    assert [seen.kind for seen in server.seen].count("notification") == 1


async def test_listening_is_confirmed_before_it_is_trusted(
    domain: WindowsDomain, server: WindowsServer, opened: Open
) -> None:
    directory = opened()
    assert await directory.wait_for_change(0.01) is True
    assert domain.dc.replica.listeners
    assert [seen.kind for seen in server.seen][-2:] == ["notification", "root"]


# --- many groups in few requests


async def test_members_of_many_groups_are_those_of_each(
    domain: WindowsDomain, server: WindowsServer, opened: Open
) -> None:
    """Around MaxValRange: at most so many come with the search, more come in parts, and none needs its proof."""
    limits = domain.dc.limits
    limits.max_val_range, limits.max_page_size = 7, 3
    people = [domain.create_user(f"P{number}") for number in range(20)]
    groups = {
        size: domain.create_group(f"G{size}", members=people[:size]) for size in (0, 1, 6, 7, 8, 14, 15, 20)
    }
    directory = opened()
    await directory.identify()
    server.forget()
    found = await directory.read_members_of(list(groups.values()))
    assert {guid: {target.guid for target in targets} for guid, targets in found.items()} == {
        group: set(people[:size]) for size, group in groups.items()
    }
    read_apart = {seen.base for seen in server.seen if seen.kind == "range"}
    assert read_apart == {f"<GUID={groups[size]}>" for size in (0, 8, 14, 15, 20)}


async def test_one_hidden_group_among_many_is_an_error(domain: WindowsDomain, opened: Open) -> None:
    people = [domain.create_user(f"P{number}") for number in range(3)]
    groups = [domain.create_group(f"G{number}", members=people) for number in range(3)]
    directory = opened()
    assert len(await directory.read_members_of(groups)) == 3
    domain.hide(groups[1], SERVICE_ACCOUNT)
    with pytest.raises(DirectoryError):
        await directory.read_members_of(groups)
    domain.show(groups[1])
    domain.accounts[SERVICE_ACCOUNT.lower()].unreadable_attributes.add("member")
    with pytest.raises(DirectoryError):
        await directory.read_members_of(groups)


async def test_primary_members_of_many_groups(domain: WindowsDomain, opened: Open) -> None:
    people = [domain.create_user(f"P{number}") for number in range(4)]
    groups = [domain.create_group(f"G{number}", members=people) for number in range(3)]
    domain.set_primary_group(people[0], groups[0])
    domain.set_primary_group(people[1], groups[0])
    domain.set_primary_group(people[2], groups[1])
    directory = opened()
    entries = await directory.read_entries(groups)
    rids = [int(entries[group].sid.rpartition("-")[2]) for group in groups]
    found = await directory.read_primary_members_of(rids)
    assert [set(found[rid]) for rid in rids] == [{people[0], people[1]}, {people[2]}, set()]

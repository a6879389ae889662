"""Several domain controllers: replication, cookies that travel, USNs that don't, a DC from backup."""

from collections.abc import Iterator

import pytest

from sandbox.certificates import Authority
from sandbox.windows_ldap import WindowsDomain, WindowsServer
from tests.sandbox_windows.client import Client, Connect


@pytest.fixture
def second(domain: WindowsDomain, authority: Authority) -> Iterator[WindowsServer]:
    controller = domain.add_controller("DC2")
    with WindowsServer(domain, authority, controller=controller) as running:
        yield running


@pytest.fixture
def other(connect: Connect, second: WindowsServer) -> Client:
    return connect(to=second)


def test_each_dc_counts_for_itself(service: Client, other: Client, domain: WindowsDomain) -> None:
    ann = domain.create_user("Ann")
    assert other.read(f"<GUID={ann}>").code == 32
    domain.replicate()
    usns = [client.read(f"<GUID={ann}>", "uSNChanged").raw()["uSNChanged"] for client in (service, other)]
    assert usns[0] != usns[1]
    names = [client.read("", "dsServiceName").raw()["dsServiceName"] for client in (service, other)]
    assert names[0] != names[1]


def test_a_cookie_on_the_other_dc_brings_exactly_what_is_new(
    service: Client, other: Client, domain: WindowsDomain
) -> None:
    group = domain.create_group("G")
    domain.replicate()
    old = service.dirsync_all(domain.base_dn).cookie
    ann = domain.create_user("Ann")
    domain.add_members(group, ann)
    assert other.dirsync_all(domain.base_dn, old).entries == []  # it is behind
    cookie = other.dirsync_all(domain.base_dn, old).cookie
    domain.replicate()
    assert other.dirsync_all(domain.base_dn, cookie).guids == {ann, group}
    assert other.dirsync_all(domain.base_dn, old).guids == {ann, group}
    newest = service.dirsync_all(domain.base_dn, old).cookie
    assert other.dirsync_all(domain.base_dn, newest).entries == []


def test_a_change_made_over_there_comes_by_a_cookie_from_here(
    service: Client, other: Client, domain: WindowsDomain
) -> None:
    cookie = service.dirsync_all(domain.base_dn).cookie
    ann = domain.create_user("Ann", at=domain.controllers[1])
    assert service.dirsync_all(domain.base_dn, cookie).entries == []
    domain.replicate()
    assert service.dirsync_all(domain.base_dn, cookie).guids == {ann}


def test_a_cookie_from_the_middle_of_a_cycle_starts_it_anew(
    service: Client, other: Client, domain: WindowsDomain
) -> None:
    start = service.dirsync_all(domain.base_dn).cookie
    users = {domain.create_user(f"User {number}") for number in range(120)}
    domain.replicate()
    first = service.dirsync(domain.base_dn, start, size_limit=100)
    middle = first.controls["1.2.840.113556.1.4.841"]["value"]["cookie"]
    assert other.dirsync_all(domain.base_dn, middle).guids == users


def test_a_dc_of_another_version_may_refuse_the_cookie(
    service: Client, other: Client, domain: WindowsDomain
) -> None:
    domain.controllers[1].manners.refuses_cookies_of_others = True
    cookie = service.dirsync_all(domain.base_dn).cookie
    assert other.dirsync(domain.base_dn, cookie).code == 2
    assert other.dirsync(domain.base_dn).code == 0


def test_conflicts_end_alike_everywhere(service: Client, other: Client, domain: WindowsDomain) -> None:
    ann, bob = domain.create_user("Ann"), domain.create_user("Bob")
    group = domain.create_group("G", members=[ann])
    domain.replicate()
    there = domain.controllers[1]
    domain.modify(ann, mail="here@example.test")
    domain.modify(ann, mail="there@example.test", at=there)
    domain.remove_members(group, ann)
    domain.add_members(group, bob, at=there)
    domain.replicate()
    for client in (service, other):
        assert client.read(f"<GUID={ann}>", "mail").raw()["mail"] == [b"there@example.test"]
        assert client.read(f"<GUID={group}>", "member").raw()["member"] == [domain.dn(bob).encode()]


def test_deletions_replicate_with_their_links(service: Client, other: Client, domain: WindowsDomain) -> None:
    ann = domain.create_user("Ann")
    group = domain.create_group("G", members=[ann])
    domain.replicate()
    cookie = other.dirsync_all(domain.base_dn).cookie
    domain.delete(ann)
    domain.replicate()
    assert other.dirsync_all(domain.base_dn, cookie).guids == {ann}
    assert "member" not in other.read(f"<GUID={group}>", "member").raw()


def test_a_dc_from_backup_has_a_new_instance(service: Client, other: Client, domain: WindowsDomain) -> None:
    backup = domain.backup()
    ann = domain.create_user("Ann")
    domain.replicate()
    before, usn = domain.dc.replica.invocation_id, domain.dc.replica.usn
    cookie = service.dirsync_all(domain.base_dn).cookie
    domain.modify(ann, mail="ann@example.test")
    domain.restore_controller(backup)
    assert domain.dc.replica.invocation_id != before
    assert domain.dc.replica.usn <= usn  # it counts on from the backup, and has written its new name already
    assert service.read(f"<GUID={ann}>").code == 32
    bob = domain.create_user("Bob")
    assert service.dirsync_all(domain.base_dn, cookie).guids == {bob}
    domain.replicate()
    assert service.read(f"<GUID={ann}>").code == 0


def test_a_read_only_dc_learns_but_does_not_teach(domain: WindowsDomain) -> None:
    rodc = domain.add_controller("RODC1", read_only=True)
    ann = domain.create_user("Ann")
    domain.replicate()
    assert domain.find(ann, at=rodc).name == "Ann"

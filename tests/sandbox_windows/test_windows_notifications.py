"""Change notification: one open search that tells of changes."""

import ldap3
import pytest

from sandbox.windows_ldap import WindowsDomain, WindowsServer
from tests.sandbox_windows.client import Client, Connect, Watcher

NOTIFICATION = ("1.2.840.113556.1.4.528", True, None)


@pytest.fixture
def watcher(connect: Connect) -> Watcher:
    return Watcher(connect())


def pause(watcher: Watcher) -> None:
    """Requests are answered in order: once this one is, all before it have been taken."""
    assert watcher.result_of(watcher.ask("", ldap3.BASE))["result"] == 0


def watch(watcher: Watcher, base: str) -> None:
    watcher.ask(base, ldap3.SUBTREE, [NOTIFICATION])
    pause(watcher)


def test_changes_are_told_deletions_too(watcher: Watcher, domain: WindowsDomain) -> None:
    watch(watcher, domain.base_dn)
    ann = domain.create_user("Ann")
    assert watcher.told() == f"CN=Ann,CN=Users,{domain.base_dn}"
    domain.delete(ann)
    assert watcher.told() == f"CN=Ann\\0ADEL:{ann},CN=Deleted Objects,{domain.base_dn}"


def test_what_lies_elsewhere_or_out_of_sight_is_not(watcher: Watcher, domain: WindowsDomain) -> None:
    domain.create_ou("Sales")
    domain.create_ou("Secret", ou="Sales")
    domain.hide("Secret", "svc-dropbox")
    watch(watcher, f"OU=Sales,{domain.base_dn}")
    domain.create_user("Ann")
    domain.create_user("Bob", ou="Sales/Secret")
    domain.create_user("Cat", ou="Sales")
    assert watcher.told() == f"CN=Cat,OU=Sales,{domain.base_dn}"
    domain.create_user("Dan", ou="Sales")
    assert watcher.told() == f"CN=Dan,OU=Sales,{domain.base_dn}"  # changes come in order: nothing lay between


def test_only_one_filter_is_taken(service: Client, domain: WindowsDomain) -> None:
    refused = service.search(domain.base_dn, "(objectClass=user)", controls=[NOTIFICATION])
    assert refused.code == 53


def test_five_on_a_connection_and_no_more(watcher: Watcher, domain: WindowsDomain) -> None:
    for _ in range(5):
        watch(watcher, domain.base_dn)
    number = watcher.ask(domain.base_dn, ldap3.SUBTREE, [NOTIFICATION])
    assert watcher.result_of(number)["result"] == 11


def test_a_watch_ends_with_its_connection(
    watcher: Watcher, server: WindowsServer, domain: WindowsDomain
) -> None:
    watch(watcher, domain.base_dn)
    assert domain.dc.replica.listeners
    server.stop_blocking()
    assert not domain.dc.replica.listeners

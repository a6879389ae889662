"""Change notification: one open search that tells of changes."""

import queue
from collections.abc import Iterator

import ldap3
import pytest

from sandbox.domain import SERVICE_PASSWORD
from sandbox.samba_admin import VerifiedTls
from sandbox.windows_ldap import WindowsDomain, WindowsServer
from tests.sandbox_windows.client import Client

NOTIFICATION = ("1.2.840.113556.1.4.528", True, None)


@pytest.fixture
def watcher(server: WindowsServer) -> Iterator[ldap3.Connection]:
    host = ldap3.Server(
        server.host,
        port=server.ldaps_port,
        use_ssl=True,
        tls=VerifiedTls(server.ca_file),
        get_info=ldap3.NONE,
    )
    connection = ldap3.Connection(
        host,
        user="svc-dropbox@example.test",
        password=SERVICE_PASSWORD,
        client_strategy=ldap3.ASYNC_STREAM,
        auto_bind=True,
        check_names=False,
    )
    connection.strategy.streaming = False
    yield connection
    connection.unbind()


def watch(connection: ldap3.Connection, base: str, scope: str = ldap3.SUBTREE) -> None:
    with connection.strategy.async_lock:
        number = connection.search(
            base, "(objectClass=*)", scope, attributes=["objectGUID"], controls=[NOTIFICATION]
        )
        connection.strategy.persistent_search_message_id = number
    # Requests are answered in order: once this one is, the watch stands.
    number = connection.search("", "(objectClass=*)", ldap3.BASE, attributes=["currentTime"])
    connection.get_response(number)


def told(connection: ldap3.Connection) -> str:
    return str(connection.strategy.events.get(timeout=10)["dn"])


def test_changes_are_told_deletions_too(watcher, domain: WindowsDomain) -> None:
    watch(watcher, domain.base_dn)
    ann = domain.create_user("Ann")
    assert told(watcher) == f"CN=Ann,CN=Users,{domain.base_dn}"
    domain.delete(ann)
    assert told(watcher) == f"CN=Ann\\0ADEL:{ann},CN=Deleted Objects,{domain.base_dn}"


def test_what_lies_elsewhere_or_out_of_sight_is_not(watcher, domain: WindowsDomain) -> None:
    domain.create_ou("Sales")
    domain.create_ou("Secret", ou="Sales")
    domain.hide("Secret", "svc-dropbox")
    watch(watcher, f"OU=Sales,{domain.base_dn}")
    domain.create_user("Ann")
    domain.create_user("Bob", ou="Sales/Secret")
    domain.create_user("Cat", ou="Sales")
    assert told(watcher) == f"CN=Cat,OU=Sales,{domain.base_dn}"
    with pytest.raises(queue.Empty):
        watcher.strategy.events.get_nowait()


def test_only_one_filter_is_taken(service: Client, domain: WindowsDomain) -> None:
    refused = service.search(domain.base_dn, "(objectClass=user)", controls=[NOTIFICATION])
    assert refused.code == 53


def test_five_on_a_connection_and_no_more(watcher, domain: WindowsDomain) -> None:
    for _ in range(5):
        watch(watcher, domain.base_dn)
    number = watcher.search(
        domain.base_dn, "(objectClass=*)", ldap3.SUBTREE, attributes=["1.1"], controls=[NOTIFICATION]
    )
    _, result = watcher.get_response(number)
    assert result["result"] == 11


def test_a_watch_ends_with_its_connection(watcher, server: WindowsServer, domain: WindowsDomain) -> None:
    watch(watcher, domain.base_dn)
    assert domain.dc.replica.listeners
    server.stop_blocking()
    assert not domain.dc.replica.listeners

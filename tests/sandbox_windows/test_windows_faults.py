"""Faults strike where they were asked to."""

import threading

import ldap3
import pytest
from ldap3.core.exceptions import LDAPException

from sandbox.windows_ldap import Fault, WindowsDomain, WindowsServer
from sandbox.windows_ldap.faults import Drop
from tests.sandbox_windows.client import Client, Connect

QUERY = "(sAMAccountName=user.*)"


@pytest.fixture(autouse=True)
def users(domain: WindowsDomain) -> None:
    for number in range(6):
        domain.create_user(f"User {number}")


@pytest.mark.parametrize("code", [51, 3, 11, 52])
@pytest.mark.parametrize("after", [0, 3])
def test_an_error_in_the_middle_of_an_answer(
    server: WindowsServer, service: Client, domain: WindowsDomain, code, after
) -> None:
    server.faults.at(2, Fault(code=code, after_entries=after))
    assert len(service.search(domain.base_dn, QUERY).entries) == 6
    failed = service.search(domain.base_dn, QUERY)
    assert (failed.code, len(failed.entries)) == (code, after)
    assert service.search(domain.base_dn, QUERY).code == 0
    assert server.faults.pending == 0


@pytest.mark.parametrize("drop", [Drop.BEFORE, Drop.MIDDLE, Drop.TRUNCATED, Drop.LATE])
def test_a_dropped_connection(server: WindowsServer, service: Client, domain: WindowsDomain, drop) -> None:
    server.faults.at(1, Fault(drop=drop, after_entries=2))
    with pytest.raises(LDAPException):
        service.search(domain.base_dn, QUERY)
    assert server.seen[-1].code is None
    # six people and three references
    assert server.seen[-1].entries == {Drop.BEFORE: 0, Drop.LATE: 9}.get(drop, 2)


def test_a_connection_dropped_after_the_answer(
    server: WindowsServer, service: Client, domain: WindowsDomain
) -> None:
    server.faults.at(1, Fault(drop=Drop.AFTER))
    assert len(service.search(domain.base_dn, QUERY).entries) == 6
    with pytest.raises(LDAPException):
        service.search(domain.base_dn, QUERY)


def test_faults_by_kind_and_by_description(
    server: WindowsServer, service: Client, domain: WindowsDomain
) -> None:
    server.faults.at(1, Fault(code=51), "dirsync")
    server.faults.always(Fault(code=52), when=lambda seen: "mail" in seen.filter)
    assert service.search(domain.base_dn, QUERY).code == 0
    assert service.search(domain.base_dn, "(mail=*)").code == 52
    assert service.dirsync(domain.base_dn).code == 51
    server.faults.clear()
    assert service.search(domain.base_dn, "(mail=*)").code == 0
    assert [seen.kind for seen in server.seen] == ["bind", "search", "search", "dirsync", "search"]


def test_a_held_answer_waits(server: WindowsServer, service: Client, domain: WindowsDomain) -> None:
    server.faults.at(1, Fault(hold=True))
    replies = []
    asking = threading.Thread(target=lambda: replies.append(service.search(domain.base_dn, QUERY)))
    asking.start()
    asking.join(0.2)
    assert asking.is_alive()
    server.faults.release()
    asking.join(10)
    assert len(replies[0].entries) == 6


def test_a_fault_at_sign_in(server: WindowsServer) -> None:
    server.faults.at(1, Fault(code=52), "bind")
    client = Client(server, "svc-dropbox@example.test", "Sandbox-Service-1")
    assert client.bind()["result"] == 52
    assert client.bind()["result"] == 0
    client.close()


def test_all_connections_cut_and_a_restart(
    server: WindowsServer, connect: Connect, domain: WindowsDomain
) -> None:
    client = connect()
    server.hang_up()
    with pytest.raises(LDAPException):
        client.search(domain.base_dn, QUERY)
    port = server.ldaps_port
    server.stop_blocking()
    server.start_blocking()
    assert server.ldaps_port == port
    assert connect().search(domain.base_dn, QUERY, scope=ldap3.SUBTREE).code == 0

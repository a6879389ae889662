"""Who gets in, and over what."""

import ldap3
import pytest
from ldap3.core.exceptions import LDAPException

from sandbox.domain import SERVICE_ACCOUNT, SERVICE_PASSWORD
from sandbox.windows_ldap import WindowsDomain, WindowsServer
from tests.sandbox_windows.client import Client, Connect


@pytest.fixture
def attempt(server: WindowsServer):
    clients = []

    def attempted(user: str, password: str, **options: bool) -> Client:
        clients.append(Client(server, user, password, **options))
        return clients[-1]

    yield attempted
    for client in clients:
        client.close()


@pytest.mark.parametrize(
    "name",
    [
        "svc-dropbox@example.test",
        "EXAMPLE\\svc-dropbox",
        "CN=svc-dropbox,CN=Users,DC=example,DC=test",
    ],
)
def test_all_forms_of_a_name_sign_in(attempt, name) -> None:
    assert attempt(name, SERVICE_PASSWORD).bind()["result"] == 0


def test_a_wrong_password_is_49_with_the_sub_code_of_windows(attempt) -> None:
    result = attempt("svc-dropbox@example.test", "wrong").bind()
    assert result["result"] == 49
    assert "data 52e" in result["message"]


@pytest.mark.parametrize(("spoil", "data"), [("disable", "533"), ("expire", "701"), ("delete", "525")])
def test_an_account_that_may_not_sign_in_says_why(attempt, domain: WindowsDomain, spoil, data) -> None:
    if spoil == "expire":
        domain.modify(SERVICE_ACCOUNT, accountExpires=116_444_736_000_000_001)
    else:
        getattr(domain, spoil)(SERVICE_ACCOUNT)
    result = attempt("svc-dropbox@example.test", SERVICE_PASSWORD).bind()
    assert (result["result"], f"data {data}" in result["message"]) == (49, True)


def test_a_simple_bind_in_clear_text_is_refused_with_8(server: WindowsServer) -> None:
    plain = ldap3.Connection(
        ldap3.Server(server.host, port=server.ldap_port, get_info=ldap3.NONE),
        user="svc-dropbox@example.test",
        password=SERVICE_PASSWORD,
        client_strategy=ldap3.SAFE_SYNC,
    )
    _, result, _, _ = plain.bind()
    assert result["result"] == 8
    plain.unbind()


def test_start_tls_makes_it_good(attempt) -> None:
    client = attempt("svc-dropbox@example.test", SERVICE_PASSWORD, start_tls=True)
    client.connection.open()
    client.connection.start_tls()
    assert client.bind()["result"] == 0


def test_without_signing_in_only_the_root_is_there(attempt, domain: WindowsDomain) -> None:
    client = attempt("", "")
    client.connection.open()
    root = client.read("", "defaultNamingContext", "isSynchronized", "highestCommittedUSN", "dsServiceName")
    assert root.raw()["defaultNamingContext"] == [b"DC=example,DC=test"]
    assert root.raw()["isSynchronized"] == [b"TRUE"]
    assert root.raw()["highestCommittedUSN"] == [str(domain.dc.replica.usn).encode()]
    refused = client.search(domain.base_dn)
    assert (refused.code, "successful bind" in refused.message) == (1, True)


def test_the_root_tells_of_controls_and_of_a_read_only_dc(connect: Connect, domain: WindowsDomain) -> None:
    client = connect()
    root = client.read("", "supportedControl", "supportedCapabilities", "currentTime", "dnsHostName").raw()
    for number in (319, 417, 528, 529, 802, 841, 1339, 1948, 2064):
        assert f"1.2.840.113556.1.4.{number}".encode() in root["supportedControl"]
    assert b"1.2.840.113556.1.4.1920" not in root["supportedCapabilities"]
    assert root["dnsHostName"] == [b"dc1.example.test"]
    domain.dc.read_only = True
    assert (
        b"1.2.840.113556.1.4.1920" in client.read("", "supportedCapabilities").raw()["supportedCapabilities"]
    )


def test_the_dsa_names_its_instance(service: Client, domain: WindowsDomain) -> None:
    before = domain.dc.replica.invocation_id
    assert service.read(domain.dc.ds_service, "invocationId").raw()["invocationId"] == [before.bytes_le]
    domain.begin_instance()
    after = domain.dc.replica.invocation_id
    assert after != before
    assert service.read(domain.dc.ds_service, "invocationId").raw()["invocationId"] == [after.bytes_le]


def test_writes_over_ldap_are_refused(service: Client, domain: WindowsDomain) -> None:
    user = domain.create_user("Ann")
    for arguments in (
        ("modify", domain.dn(user), {"mail": [(ldap3.MODIFY_REPLACE, ["x@example.test"])]}),
        ("delete", domain.dn(user)),
    ):
        operation, *rest = arguments
        _, result, _, _ = getattr(service.connection, operation)(*rest)
        assert result["result"] == 53


def test_garbage_ends_the_connection(server: WindowsServer, service: Client) -> None:
    service.connection.socket.sendall(b"\x30\x03\x02\x01")
    service.connection.socket.sendall(b"\x01\x99\x00")
    with pytest.raises(LDAPException):
        service.read("", "defaultNamingContext")

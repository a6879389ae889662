"""A domain, its server, and clients that have signed in."""

from collections.abc import Iterator

import pytest

from sandbox.certificates import Authority
from sandbox.domain import BLIND_ACCOUNT, BLIND_PASSWORD, SERVICE_ACCOUNT, SERVICE_PASSWORD
from sandbox.windows_ldap import WindowsDomain, WindowsServer
from tests.sandbox_windows.client import Client, Connect


@pytest.fixture
def domain() -> WindowsDomain:
    return WindowsDomain()


@pytest.fixture
def server(domain: WindowsDomain, authority: Authority) -> Iterator[WindowsServer]:
    with WindowsServer(domain, authority) as running:
        yield running


@pytest.fixture
def connect(server: WindowsServer, domain: WindowsDomain) -> Iterator[Connect]:
    clients: list[Client] = []

    def connected(
        user: str = SERVICE_ACCOUNT, password: str = SERVICE_PASSWORD, *, to: WindowsServer | None = None
    ) -> Client:
        client = Client(to or server, f"{user}@{domain.dns_name}", password)
        clients.append(client)
        assert client.bind()["result"] == 0
        return client

    yield connected
    for client in clients:
        client.close()


@pytest.fixture
def service(connect: Connect) -> Client:
    return connect()


@pytest.fixture
def blind(connect: Connect) -> Client:
    return connect(BLIND_ACCOUNT, BLIND_PASSWORD)

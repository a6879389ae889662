"""What only a real connection can show: TLS, credentials, reach, servers in order, lost and stuck connections."""

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from pipeline.errors import DirectoryBusy, DirectoryError
from sandbox.certificates import Authority
from sandbox.samba import SambaDomain
from sandbox.samba_admin import DomainAdministrator
from stages.directory.faults import CredentialsRefused
from stages.directory.ldap import LdapDirectory
from stages.directory.options import DirectoryOptions

pytestmark = [pytest.mark.anyio, pytest.mark.samba]

Options = Callable[..., DirectoryOptions]


class Listener:
    """A server that takes connections and does with them what the test says; counts them."""

    def __init__(self, serve: Callable[[socket.socket], None]) -> None:
        self.connections = 0
        self._serve = serve
        self._open: list[socket.socket] = []
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        while True:
            try:
                taken, _ = self._socket.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(taken)
            with contextlib.suppress(OSError):
                self._serve(taken)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(5)
        for each in self._open:
            each.close()


@pytest.fixture
def listen() -> Iterator[Callable[[Callable[[socket.socket], None]], Listener]]:
    listeners: list[Listener] = []

    def start(serve: Callable[[socket.socket], None]) -> Listener:
        listeners.append(Listener(serve))
        return listeners[-1]

    yield start
    for listener in listeners:
        listener.close()


@contextlib.asynccontextmanager
async def opened(options: DirectoryOptions, **more: Any) -> Any:
    directory = LdapDirectory(options, **more)
    try:
        yield directory
    finally:
        await directory.close()


async def failure_of(options: DirectoryOptions) -> DirectoryError:
    async with opened(options) as directory:
        with pytest.raises(DirectoryError) as caught:
            await directory.identify()
    assert options.password not in str(caught.value)
    return caught.value


# --- what an admin is told


async def test_a_wrong_password_says_so_and_is_not_tried_on_the_next_server(
    ldap_options: Options, samba_domain: SambaDomain, listen: Any
) -> None:
    second = listen(lambda taken: taken.close())
    servers = (samba_domain.facts.ldaps_url, f"ldaps://127.0.0.1:{second.port}")
    error = await failure_of(ldap_options(password="Wrong-Secret-1", servers=servers))
    assert isinstance(error, CredentialsRefused)
    assert "password" in error.cause
    assert "directory.password" in error.hint
    assert second.connections == 0  # it would lock the account the sooner


async def test_a_disabled_account_is_told_from_a_wrong_password(
    ldap_options: Options, samba_admin: DomainAdministrator
) -> None:
    samba_admin.create_user("Disabled Service", account="svc-off", enabled=False)
    error = await failure_of(ldap_options(username="svc-off@example.test", password="any"))
    assert isinstance(error, CredentialsRefused)


async def test_an_unknown_authority_is_not_trusted(ldap_options: Options, tmp_path: Path) -> None:
    error = await failure_of(ldap_options(ca_file=str(Authority(tmp_path).ca_file)))
    assert "not trusted" in error.cause
    assert "ca_file" in error.hint
    assert not isinstance(error, DirectoryBusy)


async def test_the_systems_authorities_do_not_trust_the_sandbox(ldap_options: Options) -> None:
    assert "not trusted" in (await failure_of(ldap_options(ca_file=""))).cause


async def test_a_ca_file_that_is_not_there_is_named(ldap_options: Options) -> None:
    error = await failure_of(ldap_options(ca_file="/no/such.pem"))
    assert "/no/such.pem" in error.cause


async def test_a_certificate_for_another_name_is_not_trusted(
    ldap_options: Options, authority: Authority, listen: Any
) -> None:
    context = authority.server_context("somebody.else.test")
    listener = listen(lambda taken: context.wrap_socket(taken, server_side=True).close())
    error = await failure_of(ldap_options(servers=(f"ldaps://127.0.0.1:{listener.port}",)))
    assert "not trusted" in error.cause


async def test_a_closed_port_is_unreachable(ldap_options: Options) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    error = await failure_of(ldap_options(servers=(f"ldaps://127.0.0.1:{port}",)))
    assert isinstance(error, DirectoryBusy)
    assert "unreachable" in error.cause
    assert "firewall" in error.hint


async def test_a_name_that_does_not_exist_is_not_resolvable(ldap_options: Options) -> None:
    error = await failure_of(ldap_options(servers=("ldaps://no-such-host.invalid",)))
    assert "can't be resolved" in error.cause


async def test_a_server_that_speaks_no_tls_says_what_is_needed(ldap_options: Options, listen: Any) -> None:
    listener = listen(lambda taken: taken.sendall(b"220 hello\r\n" * 10))
    error = await failure_of(ldap_options(servers=(f"ldaps://127.0.0.1:{listener.port}",)))
    assert "TLS 1.2 needed" in error.hint


async def test_tls_1_1_is_refused(ldap_options: Options, authority: Authority, listen: Any) -> None:
    context = authority.server_context("127.0.0.1")
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLS"):
        context.minimum_version = ssl.TLSVersion.TLSv1
    with pytest.warns(DeprecationWarning, match="TLS"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    listener = listen(lambda taken: context.wrap_socket(taken, server_side=True).close())
    error = await failure_of(ldap_options(servers=(f"ldaps://127.0.0.1:{listener.port}",)))
    assert "TLS 1.2 needed" in error.hint


async def test_starttls_works_and_is_what_port_389_takes(
    ldap_options: Options, samba_domain: SambaDomain
) -> None:
    async with opened(ldap_options(servers=(samba_domain.facts.ldap_url,), start_tls=True)) as directory:
        assert (await directory.identify()).dns_name == "example.test"


async def test_starttls_verifies_as_well(
    ldap_options: Options, samba_domain: SambaDomain, tmp_path: Path
) -> None:
    changes = {"servers": (samba_domain.facts.ldap_url,), "start_tls": True}
    error = await failure_of(ldap_options(ca_file=str(Authority(tmp_path).ca_file), **changes))
    assert "not trusted" in error.cause


# --- servers in order


async def test_the_next_server_is_tried_when_the_first_is_down(
    ldap_options: Options, samba_domain: SambaDomain, listen: Any
) -> None:
    down = listen(lambda taken: taken.close())
    servers = (f"ldaps://127.0.0.1:{down.port}", samba_domain.facts.ldaps_url)
    async with opened(ldap_options(servers=servers)) as directory:
        assert (await directory.identify()).server == "dc1.example.test"
        assert down.connections == 1


async def test_all_servers_down_names_all(ldap_options: Options, listen: Any) -> None:
    ports = [listen(lambda taken: taken.close()).port for _ in range(2)]
    error = await failure_of(ldap_options(servers=tuple(f"ldaps://127.0.0.1:{port}" for port in ports)))
    assert all(str(port) in str(error) for port in ports)


async def test_servers_are_found_by_dns_srv(ldap_options: Options, samba_domain: SambaDomain) -> None:
    async def lookup(name: str, _: float) -> list[tuple[int, int, int, str]]:
        assert name == "_ldap._tcp.dc._msdcs.example.test"
        return [(0, 100, 389, "dc1.example.test."), (0, 200, 389, "dc.attacker.test.")]

    options = ldap_options(domain="example.test")
    async with opened(options, lookup=lookup) as directory:
        with pytest.raises(
            DirectoryError
        ) as caught:  # the sandbox has no DNS: the name itself must have been tried
            await directory.identify()
    assert "dc1.example.test" in str(caught.value)
    assert "attacker" not in str(caught.value)


# --- lost and stuck connections


async def test_an_idle_connection_that_was_cut_is_opened_again(ldap_options: Options) -> None:
    async with opened(ldap_options()) as directory:
        checkpoint = await directory.start()
        (await directory._link.session()).line.abort()
        assert [page.more async for page in directory.changes(checkpoint)] == [False]
        socket.socket.shutdown((await directory._link.session()).line._connection.socket, socket.SHUT_RDWR)
        assert await directory.read_entries(["00000000-0000-0000-0000-000000000001"]) == {}


async def test_a_restarted_server_loses_nothing(
    ldap_options: Options, samba_domain: SambaDomain, samba_admin: DomainAdministrator
) -> None:
    async with opened(ldap_options()) as directory:
        checkpoint = await directory.start()
        person = samba_admin.create_user("Restart")
        await samba_domain.stop()
        with pytest.raises(DirectoryBusy):
            [page async for page in directory.changes(checkpoint)]
        await samba_domain.start()
        pages = [page async for page in directory.changes(checkpoint)]
        assert [delta.guid for page in pages for delta in page.deltas] == [person]


async def test_a_stuck_server_ends_in_a_timeout(
    ldap_options: Options, authority: Authority, listen: Any
) -> None:
    context = authority.server_context("127.0.0.1")
    keep: list[ssl.SSLSocket] = []
    listener = listen(lambda taken: keep.append(context.wrap_socket(taken, server_side=True)))
    error = await failure_of(ldap_options(servers=(f"ldaps://127.0.0.1:{listener.port}",), timeout_seconds=1))
    assert isinstance(error, DirectoryBusy)
    assert "no answer in time" in error.cause
    keep[0].close()


async def test_cancellation_cuts_a_stuck_call_at_once(
    ldap_options: Options, authority: Authority, listen: Any
) -> None:
    context = authority.server_context("127.0.0.1")
    keep: list[ssl.SSLSocket] = []
    listener = listen(lambda taken: keep.append(context.wrap_socket(taken, server_side=True)))
    options = ldap_options(servers=(f"ldaps://127.0.0.1:{listener.port}",), timeout_seconds=60)
    async with opened(options) as directory, anyio.create_task_group() as group:
        group.start_soon(directory.identify)
        with anyio.fail_after(10):
            while not keep:
                await anyio.lowlevel.checkpoint()
            before = time.monotonic()
            group.cancel_scope.cancel()
    assert time.monotonic() - before < 5
    keep[0].close()


async def test_cancelling_one_caller_leaves_the_other_alone(ldap_options: Options) -> None:
    async with opened(ldap_options()) as directory:
        await directory.identify()
        done = []

        async def read() -> None:
            done.append(await directory.read_primary_members(513))

        async with anyio.create_task_group() as group:
            group.start_soon(read)
            with anyio.CancelScope() as scope:
                scope.cancel()
                await directory.read_primary_members(513)
        assert len(done) == 1


class SteppedClock:
    """Real time, except that nobody sleeps: what is slept is added."""

    def __init__(self) -> None:
        self.added = 0.0

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic() + self.added

    async def sleep(self, seconds: float) -> None:
        self.added += seconds


async def test_a_dead_notification_is_noticed_and_taken_up_again(
    ldap_options: Options, samba_domain: SambaDomain, samba_admin: DomainAdministrator
) -> None:
    clock = SteppedClock()
    async with opened(ldap_options(), clock=clock) as directory:
        assert (
            await directory.wait_for_change(0.01) is True
        )  # begins to listen: what was before is to be looked for
        assert await directory.wait_for_change(0.01) is False
        samba_admin.create_user("Rings Once")
        assert await directory.wait_for_change(30) is True
        await samba_domain.stop()
        assert (
            await directory.wait_for_change(30) is False
        )  # at once, as far as the stepped clock is concerned
        await samba_domain.start()
        assert clock.added < 59
        assert await directory.wait_for_change(60) is False
        assert await directory.wait_for_change(60) is True  # so does who listens again
        samba_admin.create_user("Rings Again")
        assert await directory.wait_for_change(30) is True


async def test_without_notify_the_time_is_simply_waited(ldap_options: Options) -> None:
    clock = SteppedClock()
    async with opened(ldap_options(notify=False), clock=clock) as directory:
        assert await directory.wait_for_change(30) is False
        assert clock.added == 30


async def test_check_with_nobody_answering_is_one_failed_line(ldap_options: Options, listen: Any) -> None:
    listener = listen(lambda taken: taken.close())
    async with opened(ldap_options(servers=(f"ldaps://127.0.0.1:{listener.port}",))) as directory:
        assert [(each.name, each.state) for each in await directory.check("x")] == [("reach", "failed")]

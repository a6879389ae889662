"""Which server, and when: order, failover, the pinned one, refused credentials."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import dns.exception
import dns.resolver
import pytest

from pipeline.errors import CheckpointRefused, DirectoryBusy, DirectoryError
from pipeline.model import Source
from stages.directory import discovery
from stages.directory.epoch import checkpoint_of, verify
from stages.directory.faults import ConnectionLost, CredentialsRefused, ServerStuck
from stages.directory.kerberos_faults import KdcUnreachable, TicketMissing
from stages.directory.ldap import USN_PATIENCE, LdapDirectory
from stages.directory.link import Link
from stages.directory.options import DirectoryOptions, Target
from stages.directory.wire import Controller

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 11, 23, 9, tzinfo=UTC)
OPTIONS = DirectoryOptions(
    servers=("ldaps://dc1", "ldaps://dc2", "ldaps://dc3"), username="u@x", password="p", change_source="usn"
)


class FakeSession:
    def __init__(self, target: Target, controller: Controller) -> None:
        self.target = target
        self.controller = controller
        self.searches = 0
        self.is_usable = True

    async def close(self) -> None:
        self.is_usable = False


class FakeLink(Link):
    """Opens sessions on servers that are up; each server is a domain controller of its own."""

    def __init__(self, dc: Controller, **more: object) -> None:
        self.time = NOW
        super().__init__(OPTIONS, lambda: self.time, **more)
        self.dc = dc
        self.failures: dict[str, DirectoryError] = {}
        self.tried: list[str] = []

    async def _open_target(self, target: Target, _: object) -> FakeSession:
        self.tried.append(target.host)
        if target.host in self.failures:
            raise self.failures[target.host]
        return FakeSession(target, replace(self.dc, ds_service=f"CN={target.host}", host_name=target.host))


BUSY = DirectoryBusy("connect", "down")


async def test_servers_are_tried_in_order_one_at_a_time(dc: Controller) -> None:
    link = FakeLink(dc)
    link.failures = {"dc1": BUSY}
    assert (await link.session()).target.host == "dc2"
    assert (await link.session()).target.host == "dc2"
    assert link.tried == ["dc1", "dc2"]


async def test_the_one_that_worked_is_tried_first_again(dc: Controller) -> None:
    link = FakeLink(dc)
    link.failures = {"dc1": BUSY}
    session = await link.session()
    link.failures = {}
    session.is_usable = False
    assert (await link.session()).target.host == "dc2"


async def test_a_silent_server_is_tried_last(dc: Controller) -> None:
    link = FakeLink(dc)

    async def stuck(session: FakeSession) -> None:
        session.is_usable = False
        raise ServerStuck("read", "silent")

    with pytest.raises(ServerStuck):
        await link.run(stuck)
    assert (await link.session()).target.host == "dc2"


async def test_a_lost_idle_connection_is_replaced_once(dc: Controller) -> None:
    link = FakeLink(dc)
    (await link.session()).searches = 5
    calls = []

    async def lost(session: FakeSession) -> None:
        calls.append(session)
        session.is_usable = False
        session.searches += 1
        raise ConnectionLost("read", "gone")

    with pytest.raises(ConnectionLost):
        await link.run(lost)
    assert len(calls) == 2
    calls.clear()
    with pytest.raises(ConnectionLost):
        await link.run(lost)  # a fresh one that is lost is not replaced
    assert len(calls) == 1


async def test_refused_credentials_are_not_offered_again_for_a_while(dc: Controller) -> None:
    link = FakeLink(dc)
    link.failures = {"dc1": CredentialsRefused("sign in", "wrong")}
    for _ in range(5):
        with pytest.raises(CredentialsRefused):
            await link.session()
    assert link.tried == ["dc1"]
    link.time += timedelta(minutes=6)
    link.failures = {}
    assert (await link.session()).target.host == "dc1"


@pytest.mark.parametrize("kind", [TicketMissing, KdcUnreachable])
async def test_a_missing_ticket_is_the_same_for_all_servers_and_is_looked_for_again(
    dc: Controller, kind: type[DirectoryError]
) -> None:
    link = FakeLink(dc)
    link.failures = {"dc1": kind("sign in", "there is no ticket")}
    for _ in range(2):
        with pytest.raises(kind):
            await link.session()
    assert link.tried == ["dc1", "dc1"]
    link.failures = {}
    assert (await link.session()).target.host == "dc1"


async def test_all_down_is_busy_and_all_wrong_is_not(dc: Controller) -> None:
    link = FakeLink(dc)
    wrong = DirectoryError("connect", "not trusted", "set ca_file")
    link.failures = {"dc1": BUSY, "dc2": wrong, "dc3": BUSY}
    with pytest.raises(DirectoryBusy) as caught:
        await link.session()
    assert caught.value.hint == "set ca_file"
    link.failures = dict.fromkeys(link.failures, wrong)
    with pytest.raises(DirectoryError) as lasting:
        await link.session()
    assert not isinstance(lasting.value, DirectoryBusy)


async def test_the_server_of_the_numbers_is_looked_for_among_all(dc: Controller) -> None:
    link = FakeLink(dc)
    await link.session()
    found = await link.session_on("CN=dc3")
    assert found is not None
    assert found.target.host == "dc3"
    assert (await link.session()) is found
    link.failures = {"dc2": BUSY}
    assert await link.session_on("CN=dc2") is None


@pytest.mark.parametrize(
    ("age", "error"), [(timedelta(minutes=1), DirectoryBusy), (USN_PATIENCE * 2, CheckpointRefused)]
)
async def test_another_server_waits_for_that_of_the_numbers_then_reads_afresh(
    dc: Controller, age: timedelta, error: type[Exception]
) -> None:
    directory = LdapDirectory(OPTIONS, clock=SimpleNamespace(now=lambda: NOW, monotonic=None, sleep=None))
    link = FakeLink(dc)
    directory._link = link
    link.failures = {"dc1": BUSY}
    since = checkpoint_of(Source.USN, replace(dc, ds_service="CN=dc1"), "mail", NOW - age, usn=5)
    with pytest.raises(error):
        [page async for page in directory.changes(since)]


def test_half_the_tombstone_lifetime_voids_a_checkpoint(dc: Controller) -> None:
    young = checkpoint_of(Source.DIRSYNC, dc, "mail", NOW - timedelta(days=29), cookie=b"c")
    verify(young, dc, "mail", NOW)
    with pytest.raises(CheckpointRefused, match="tombstone"):
        verify(replace(young, at=NOW - timedelta(days=31)), dc, "mail", NOW)


def test_a_cookie_goes_to_another_server_but_not_to_another_epoch_or_domain(dc: Controller) -> None:
    since = checkpoint_of(Source.DIRSYNC, dc, "mail", NOW, cookie=b"c")
    verify(since, replace(dc, ds_service="CN=dc2", invocation_id="other"), "mail", NOW)
    with pytest.raises(CheckpointRefused, match="restored"):
        verify(since, replace(dc, invocation_id="other"), "mail", NOW)
    with pytest.raises(CheckpointRefused, match="another domain"):
        verify(since, replace(dc, domain_guid="other"), "mail", NOW)
    with pytest.raises(CheckpointRefused):
        verify(since, dc, "proxyAddresses", NOW)


# --- discovery


def records(*found: tuple[int, int, int, str]) -> Callable[[str, float], object]:
    async def lookup(_: str, __: float) -> list[tuple[int, int, int, str]]:
        return list(found)

    return lookup


async def test_priority_then_weight_and_only_names_within_the_domain() -> None:
    lookup = records(
        (10, 5, 389, "far.example.test."),
        (0, 10, 389, "light.example.test."),
        (0, 90, 389, "HEAVY.example.test."),
        (0, 99, 389, "dc.attacker.test."),
        (0, 99, 389, "notexample.test."),
    )
    found = await discovery.discover("example.test", start_tls=False, timeout_seconds=1, lookup=lookup)
    assert [target.url for target in found] == [
        "ldaps://heavy.example.test:636",
        "ldaps://light.example.test:636",
        "ldaps://far.example.test:636",
    ]
    found = await discovery.discover("example.test.", start_tls=True, timeout_seconds=1, lookup=lookup)
    assert found[0].url == "ldap://heavy.example.test:389"


@pytest.mark.parametrize(
    ("error", "is_busy"),
    [(dns.resolver.NXDOMAIN(), False), (dns.exception.Timeout(), True), (OSError("x"), True)],
)  # fmt: skip
async def test_dns_that_fails(error: Exception, is_busy: bool) -> None:
    async def lookup(_: str, __: float) -> list[tuple[int, int, int, str]]:
        raise error

    with pytest.raises(DirectoryError) as caught:
        await discovery.discover("example.test", start_tls=False, timeout_seconds=1, lookup=lookup)
    assert isinstance(caught.value, DirectoryBusy) is is_busy


async def test_nobody_within_the_domain_is_an_error() -> None:
    with pytest.raises(DirectoryError, match="no host within"):
        await discovery.discover(
            "example.test",
            start_tls=False,
            timeout_seconds=1,
            lookup=records((0, 0, 389, "dc.attacker.test.")),
        )

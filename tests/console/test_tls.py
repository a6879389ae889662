"""Off loopback the console speaks TLS, 1.2 or later, or it is not served at all."""

import socket
import ssl
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import anyio
import anyio.to_thread
import pytest

from config.load import load
from config.settings import Settings
from pipeline.app.compose import service_tls_of
from pipeline.cli.check import console_certificate
from pipeline.errors import ConfigurationError, RightsError
from sandbox.certificates import Authority
from stages.service.console import Console, Shown
from stages.service.health import Reading, serving
from stages.service.tls import fault_of, renew, server_context
from tests.console.scene import Visitor, path_of

pytestmark = pytest.mark.anyio


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "ca")


async def show(_name: str, _query: object) -> Shown:
    return Shown(200, "<p>names</p>")


async def read() -> Reading:
    return Reading()


async def test_it_is_opened_over_tls_and_its_cookie_never_travels_without(authority: Authority) -> None:
    files = authority.issue("127.0.0.1", "localhost")
    console = Console(show, pages=("",), style="")
    tls = server_context(files.certificate, files.key)
    async with (
        serving("127.0.0.1:0", read, None, console, tls=tls) as base,
        aiohttp.ClientSession(
            cookie_jar=aiohttp.CookieJar(unsafe=True),
            connector=aiohttp.TCPConnector(ssl=authority.client_context()),
        ) as session,
    ):
        visitor = Visitor(base, console, session)
        assert base.startswith("https://127.0.0.1:")
        assert console.address().startswith(base)
        assert (await visitor.get("/")).status == 403
        reply = await session.get(f"{base}{path_of(console.address())}", allow_redirects=False)
        assert [one["secure"] for one in reply.cookies.values()] == [True]
        assert (await visitor.get("/")).text == "<p>names</p>"
        assert (await visitor.get("/healthz")).status == 200
        with pytest.raises(aiohttp.ClientError):
            await session.get(f"http://{base.partition('//')[2]}/healthz")


def spoken_blocking(port: int, authority: Authority, version: ssl.TLSVersion) -> str | None:
    """What a client that insists on this version agrees on with the server."""
    client = authority.client_context()
    client.set_ciphers("DEFAULT:@SECLEVEL=0")  # so that it would speak 1.1
    client.minimum_version = client.maximum_version = version
    with (
        socket.create_connection(("127.0.0.1", port), 30) as plain,
        client.wrap_socket(plain, server_hostname="127.0.0.1") as secure,
    ):
        return secure.version()


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated:DeprecationWarning")
async def test_tls_1_2_is_the_oldest(authority: Authority) -> None:
    files = authority.issue("127.0.0.1")
    ours, lax = (server_context(files.certificate, files.key) for _ in range(2))
    lax.minimum_version = ssl.TLSVersion.TLSv1_1
    lax.set_ciphers("DEFAULT:@SECLEVEL=0")

    async def spoken(tls: ssl.SSLContext, version: ssl.TLSVersion) -> str | None:
        async with serving("127.0.0.1:0", read, tls=tls) as base:
            port = int(base.rpartition(":")[2])
            return await anyio.to_thread.run_sync(spoken_blocking, port, authority, version)

    assert await spoken(ours, ssl.TLSVersion.TLSv1_2) == "TLSv1.2"
    assert await spoken(ours, ssl.TLSVersion.TLSv1_3) == "TLSv1.3"
    assert await spoken(lax, ssl.TLSVersion.TLSv1_1) == "TLSv1.1", "this client would speak it"
    with pytest.raises(ssl.SSLError):
        await spoken(ours, ssl.TLSVersion.TLSv1_1)


def subject_blocking(port: int, authority: Authority) -> set[str]:
    """For which names the server's certificate is."""
    client = authority.client_context()
    client.check_hostname = False
    with (
        socket.create_connection(("127.0.0.1", port), 30) as plain,
        client.wrap_socket(plain) as secure,
    ):
        found = secure.getpeercert() or {}
        return {str(value) for _, value in found["subjectAltName"]}  # type: ignore[misc]


async def test_a_renewed_certificate_is_shown_from_then_on_and_a_bad_one_never(authority: Authority) -> None:
    old, new = authority.issue("old.example.test"), authority.issue("new.example.test")
    tls = server_context(old.certificate, old.key)
    async with serving("127.0.0.1:0", read, tls=tls) as base:
        port = int(base.rpartition(":")[2])

        async def shown() -> set[str]:
            return await anyio.to_thread.run_sync(subject_blocking, port, authority)

        assert await shown() == {"old.example.test"}
        with pytest.raises(ConfigurationError):
            renew(tls, new.certificate, old.key)
        assert await shown() == {"old.example.test"}
        renew(tls, new.certificate, new.key)
        assert await shown() == {"new.example.test"}


LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def test_one_that_has_run_out_takes_the_place_of_none_that_is_good(authority: Authority) -> None:
    good, expired = authority.issue("good.example.test"), authority.issue("old.example.test", until=LONG_AGO)
    tls = server_context(good.certificate, good.key)
    with pytest.raises(ConfigurationError, match="certificate has expired"):
        renew(tls, expired.certificate, expired.key)
    assert fault_of(tls) == ""
    late = server_context(expired.certificate, expired.key)  # an old certificate keeps nobody from syncing
    assert fault_of(late) == "certificate has expired"
    renew(late, expired.certificate, expired.key)  # nor from reading a changed configuration
    renew(late, good.certificate, good.key)
    assert fault_of(late) == ""


def test_a_certificate_that_can_not_be_used_is_told_with_its_keys(
    authority: Authority, tmp_path: Path
) -> None:
    ours, other = authority.issue("a.example.test"), authority.issue("b.example.test")
    locked = tmp_path / "locked.key"
    locked.write_text(
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMAo=\n-----END ENCRYPTED PRIVATE KEY-----\n", encoding="ascii"
    )
    for certificate, key in ((ours.certificate, other.key), (ours.key, ours.key), (ours.certificate, locked)):
        with pytest.raises(ConfigurationError) as caught:
            server_context(certificate, key)
        assert "service.tls_certificate" in caught.value.cause
        assert "service.tls_key" in caught.value.cause


def written(folder: Path, text: str) -> Settings:
    file = folder / "connector.toml"
    file.write_text(
        f'[directory]\nservers = ["ldaps://dc1"]\nusername = "u"\n[service]\n{text}', encoding="utf-8"
    )
    file.chmod(0o600)
    return load(file, {})


def test_only_with_a_certificate_it_listens_beyond_this_machine(authority: Authority, tmp_path: Path) -> None:
    files = authority.issue("host.example.test")
    pair = f'tls_certificate = "{files.certificate}"\ntls_key = "{files.key}"\n'
    for listen in ("0.0.0.0:8734", "[::]:8734", "host.example.test:8734"):
        with pytest.raises(ConfigurationError, match="must be a loopback address, or be given a certificate"):
            written(tmp_path, f'listen = "{listen}"\n')
        assert service_tls_of(written(tmp_path, f'listen = "{listen}"\n{pair}')) is not None
    assert service_tls_of(written(tmp_path, 'listen = "127.0.0.1:1"\n')) is None
    for half in pair.splitlines():
        with pytest.raises(ConfigurationError, match="is needed with tls_"):
            written(tmp_path, half)
    with pytest.raises(ConfigurationError, match="host:port"):
        written(tmp_path, 'listen = ":8734"\n')


def test_check_says_whether_certificate_and_key_belong_together(authority: Authority, tmp_path: Path) -> None:
    ours, other = authority.issue("a.example.test"), authority.issue("b.example.test")

    def found(certificate: Path, key: Path) -> list[str]:
        settings = written(tmp_path, f'tls_certificate = "{certificate}"\ntls_key = "{key}"\n')
        return [one.state for one in console_certificate(settings)]

    assert found(ours.certificate, ours.key) == ["ok"]
    assert found(ours.certificate, other.key) == ["failed"]
    expired = authority.issue("c.example.test", until=LONG_AGO)
    assert found(expired.certificate, expired.key) == ["warning"]
    assert console_certificate(written(tmp_path, "")) == []


def test_a_key_that_others_can_read_is_refused(authority: Authority, tmp_path: Path) -> None:
    files = authority.issue("host.example.test")
    files.key.chmod(0o644)
    with pytest.raises(RightsError, match=r"service\.tls_key"):
        written(tmp_path, f'tls_certificate = "{files.certificate}"\ntls_key = "{files.key}"\n')


async def test_the_address_names_a_host_that_a_browser_can_ask(monkeypatch: Any) -> None:
    monkeypatch.setattr("socket.getfqdn", lambda: "host.example.test")
    async with serving("127.0.0.1:0", read) as base:
        assert base.startswith("http://127.0.0.1:")
    from stages.service.health import _reached_by

    assert _reached_by("0.0.0.0") == _reached_by("::") == "host.example.test"
    assert _reached_by("::1") == "[::1]"

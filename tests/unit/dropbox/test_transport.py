"""TLS 1.2 or later, verified; and what leaves is told from what never did."""

from __future__ import annotations

import contextlib
import socket
import ssl
import warnings
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import anyio
import anyio.abc
import anyio.to_thread
import pytest
import trustme
from aiohttp import web
from anyio.abc import SocketStream

from pipeline.errors import DropboxSetupError
from stages.dropbox.options import DropboxOptions
from stages.dropbox.transport import NeverLeft, NoReply, Transport

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
async def tls_server(anyio_backend: str) -> AsyncIterator:
    """Starts an HTTPS server with the given context; gives its URL."""
    runners = []

    async def start(context: ssl.SSLContext) -> str:
        async def answer(request: web.Request) -> web.Response:
            return web.Response(body=b"{}", headers={"X-Seen": "yes"})

        app = web.Application()
        app.router.add_post("/{path:.*}", answer)
        runner = web.AppRunner(app, shutdown_timeout=1)
        runners.append(runner)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
        return f"https://127.0.0.1:{runner.addresses[0][1]}"

    yield start
    for runner in runners:
        await runner.cleanup()


def _server_context(ca: trustme.CA, name: str = "127.0.0.1") -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert(name).configure_cert(context)
    return context


async def _post(url: str, **options) -> dict[str, str]:
    transport = Transport(DropboxOptions(api_url=url, access_token="t", **options))
    try:
        reply = await transport.post("/2/x", headers={}, body=b"null")
        return dict(reply.headers)
    finally:
        await transport.close()


async def test_a_certificate_of_the_named_authority_is_trusted(tls_server, ca, tmp_path):
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    url = await tls_server(_server_context(ca))
    assert (await _post(url, ca_file=str(tmp_path / "ca.pem")))["x-seen"] == "yes"


async def test_an_unknown_authority_and_a_wrong_name_are_refused(tls_server, ca, tmp_path):
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    with pytest.raises(DropboxSetupError) as unknown:
        await _post(await tls_server(_server_context(ca)))
    with pytest.raises(DropboxSetupError) as wrong:
        await _post(
            await tls_server(_server_context(ca, "other.example.test")), ca_file=str(tmp_path / "ca.pem")
        )
    for info in (unknown, wrong):
        assert info.value.exit_code == -13
        assert "not trusted" in info.value.cause


def _old_tls(ca: trustme.CA) -> ssl.SSLContext:
    context = _server_context(ca)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    return context


async def test_tls_below_1_2_is_refused_and_says_so(ca, tmp_path):
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve_blocking() -> None:
            connection, _ = listener.accept()
            with (
                connection,
                contextlib.suppress(OSError),
                _old_tls(ca).wrap_socket(connection, server_side=True),
            ):
                pass

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(anyio.to_thread.run_sync, serve_blocking)
            with pytest.raises(DropboxSetupError) as info:
                await _post(
                    f"https://127.0.0.1:{listener.getsockname()[1]}", ca_file=str(tmp_path / "ca.pem")
                )
    assert info.value.exit_code == -13
    assert "TLS 1.2 needed" in info.value.hint


async def test_a_server_that_hangs_up_in_every_handshake_is_taken_for_old_tls(tls_server, ca):
    """aiohttp's own server sends no alert; so do some firewalls. Once or twice may be overload."""
    transport = Transport(DropboxOptions(api_url=await tls_server(_old_tls(ca)), access_token="t"))
    for _ in range(2):
        with pytest.raises(NeverLeft):
            await transport.post("/2/x", headers={}, body=b"null")
    with pytest.raises(DropboxSetupError) as info:
        await transport.post("/2/x", headers={}, body=b"null")
    await transport.close()
    assert "TLS 1.2 needed" in info.value.hint


async def test_a_missing_certificate_file_is_minus_13(tmp_path):
    with pytest.raises(DropboxSetupError) as info:
        await _post("https://127.0.0.1:1", ca_file=str(tmp_path / "none.pem"))
    assert info.value.exit_code == -13


async def test_no_connection_means_that_nothing_left(dropbox):
    with pytest.raises(NeverLeft):
        await _post("http://127.0.0.1:1")
    with pytest.raises(NeverLeft):
        await _post("https://dropbox-that-does-not-exist.invalid")
    dropbox.on("x", "drop")
    with pytest.raises(NoReply):
        await _post(dropbox.url)


async def test_proxies_come_from_the_environment_except_for_loopback(dropbox, monkeypatch):
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    dropbox.on("x", (200, {}))
    await _post(dropbox.url)
    with pytest.raises(NeverLeft, match=r"127\.0\.0\.1"):
        await _post("https://api.dropboxapi.com")


async def test_a_request_goes_through_the_proxy_of_the_environment_and_is_verified_behind_it(
    tls_server, ca, tmp_path, monkeypatch
):
    """A proxy that opens tunnels (CONNECT), and a name that only the proxy can find."""
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    port = urlsplit(await tls_server(_server_context(ca, "dropbox.example.test"))).port
    asked: list[str] = []

    async def tunnel(client: SocketStream) -> None:
        async with client:
            head = b""
            while b"\r\n\r\n" not in head:
                head += await client.receive()
            asked.append(head.split(b"\r\n")[0].decode())
            async with (
                await anyio.connect_tcp("127.0.0.1", port) as server,
                anyio.create_task_group() as ways,
            ):

                async def carry(source: SocketStream, target: SocketStream) -> None:
                    with contextlib.suppress(anyio.EndOfStream, anyio.BrokenResourceError):
                        async for chunk in source:
                            await target.send(chunk)
                    ways.cancel_scope.cancel()

                await client.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
                ways.start_soon(carry, client, server)
                ways.start_soon(carry, server, client)

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    proxy = f"http://127.0.0.1:{listener.extra(anyio.abc.SocketAttribute.local_port)}"
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, proxy)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    with anyio.fail_after(30):
        async with listener, anyio.create_task_group() as tasks:
            tasks.start_soon(listener.serve, tunnel)
            trusted = await _post("https://dropbox.example.test", ca_file=str(tmp_path / "ca.pem"))
            with pytest.raises(DropboxSetupError, match="not trusted"):
                await _post("https://dropbox.example.test")
            tasks.cancel_scope.cancel()
    assert trusted["x-seen"] == "yes"
    assert asked == ["CONNECT dropbox.example.test:443 HTTP/1.1"] * 2


async def test_a_proxy_that_refuses_let_nothing_through_and_its_password_is_not_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def refuse(client: SocketStream) -> None:
        async with client:
            await client.receive()
            await client.send(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")

    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as proxy:
        port = proxy.extra(anyio.abc.SocketAttribute.local_port)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(proxy.serve, refuse)
            monkeypatch.setenv("HTTPS_PROXY", f"http://user:Proxy-Pass-1@127.0.0.1:{port}")
            monkeypatch.setenv("https_proxy", f"http://user:Proxy-Pass-1@127.0.0.1:{port}")
            with pytest.raises(NeverLeft, match="the proxy answers with 407") as refused:
                await _post("https://team.example.test")
            tasks.cancel_scope.cancel()
    assert "Proxy-Pass-1" not in str(refused.value)


async def test_a_proxy_that_is_no_url_is_minus_13(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "http://user:Proxy-Pass-1@127.0.0.1:x")
    with pytest.raises(DropboxSetupError, match="proxy") as refused:
        await _post("https://team.example.test")
    assert "Proxy-Pass-1" not in str(refused.value)

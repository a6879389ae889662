"""What is said of a domain controller that can't be reached, before there is an account."""

from contextlib import closing
from socket import socket

import anyio
import pytest
from anyio.abc import SocketStream

from stages.directory import reach
from stages.directory.reach import check_reach

pytestmark = pytest.mark.anyio


async def test_a_refused_connection_is_called_one() -> None:
    with closing(socket()) as taken:  # bound, and not listening
        taken.bind(("127.0.0.1", 0))
        url = f"ldaps://127.0.0.1:{taken.getsockname()[1]}"
        (finding,) = await check_reach((url,), "", start_tls=False, timeout_seconds=10)
    assert finding.state == "failed"
    assert finding.detail == f"{url}: Connection refused"


async def test_tls_on_the_port_of_plain_ldap_names_the_right_port(monkeypatch: pytest.MonkeyPatch) -> None:
    async def hang_up(stream: SocketStream) -> None:
        await stream.aclose()

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra(anyio.abc.SocketAttribute.local_port)
    monkeypatch.setattr(reach, "_PLAIN_PORTS", (port,))
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, hang_up)
        (finding,) = await check_reach(
            (f"ldaps://127.0.0.1:{port}",), "", start_tls=False, timeout_seconds=10, ca_file=""
        )
        tasks.cancel_scope.cancel()
    assert (finding.name, finding.state) == ("TLS", "failed")
    assert "ldaps:// is port 636" in finding.hint

"""The server of one domain controller: two ports on loopback, one for LDAPS, one for LDAP with StartTLS."""

import contextlib
import itertools
import socket
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from sandbox.certificates import Authority
from sandbox.windows_ldap.controller import Controller
from sandbox.windows_ldap.faults import Faults, Seen
from sandbox.windows_ldap.forest import Forest
from sandbox.windows_ldap.session import Session

_HOST = "127.0.0.1"


class WindowsServer:
    """Serves `controller` of `forest`. May be stopped and started again: the ports stay."""

    def __init__(self, forest: Forest, authority: Authority, *, controller: Controller | None = None) -> None:
        self.forest = forest
        self.controller = controller or forest.dc
        self.faults = Faults()
        self.seen: list[Seen] = []
        self.ldaps_port = 0
        self.ldap_port = 0
        self._authority = authority
        self._tls = authority.server_context(_HOST, "localhost", self.controller.host_name)
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._stopping = False
        self._listeners: list[socket.socket] = []
        self._sessions: dict[int, Session] = {}
        self._threads: list[threading.Thread] = []

    @property
    def host(self) -> str:
        return _HOST

    @property
    def ldaps_url(self) -> str:
        return f"ldaps://{_HOST}:{self.ldaps_port}"

    @property
    def ldap_url(self) -> str:
        """For StartTLS; without it a simple bind is refused."""
        return f"ldap://{_HOST}:{self.ldap_port}"

    @property
    def ca_file(self) -> Path:
        return self._authority.ca_file

    def __enter__(self) -> Self:
        self.start_blocking()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop_blocking()

    def start_blocking(self) -> None:
        self._stopping = False
        self.faults.start()
        self.ldaps_port = self._listen(self.ldaps_port, encrypted=True)
        self.ldap_port = self._listen(self.ldap_port, encrypted=False)

    def stop_blocking(self) -> None:
        with self._lock:
            self._stopping = True
        for listener in self._listeners:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
            listener.close()
        self._listeners.clear()
        self.faults.stop()
        self.hang_up()
        for thread in self._threads:
            thread.join()
        self._threads.clear()

    def hang_up(self) -> None:
        """Cuts every connection there is."""
        with self._lock:
            sessions = list(self._sessions.values())
        for session in sessions:
            session.close()

    @property
    def connections(self) -> int:
        with self._lock:
            return len(self._sessions)

    def forget(self) -> None:
        """Empties `seen`."""
        self.seen.clear()

    def _listen(self, port: int, *, encrypted: bool) -> int:
        listener = socket.create_server((_HOST, port))
        self._listeners.append(listener)
        self._start(partial(self._accept_blocking, listener, encrypted=encrypted))
        bound: int = listener.getsockname()[1]
        return bound

    def _start(self, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work, daemon=True)
        with self._lock:
            self._threads = [one for one in self._threads if one.is_alive()]
            self._threads.append(thread)
            thread.start()

    def _accept_blocking(self, listener: socket.socket, *, encrypted: bool) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return  # stopped
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            number = next(self._numbers)
            session = Session(
                number, connection, self._tls, self.forest, self.controller, self.faults, self.seen
            )
            with self._lock:
                if self._stopping:
                    connection.close()
                    return
                self._sessions[number] = session
            self._start(partial(self._serve_blocking, session, encrypted=encrypted))

    def _serve_blocking(self, session: Session, *, encrypted: bool) -> None:
        try:
            session.run_blocking(encrypted=encrypted)
        finally:
            with self._lock:
                self._sessions.pop(session.number, None)

"""One client connection: reads requests, answers them one after the other, in a thread of its own."""

import contextlib
import itertools
import queue
import select
import socket
import ssl
import threading
from collections.abc import Iterable

from sandbox.windows_ldap import ber
from sandbox.windows_ldap.ber import BerError
from sandbox.windows_ldap.codes import Code, Refused
from sandbox.windows_ldap.controller import Controller
from sandbox.windows_ldap.controls import DIRSYNC, NOTIFICATION, PAGED, Controls
from sandbox.windows_ldap.dirsync import dirsync
from sandbox.windows_ldap.faults import Drop, Fault, Faults, Seen
from sandbox.windows_ldap.forest import Account, Forest
from sandbox.windows_ldap.logon import sign_in
from sandbox.windows_ldap.notification import Watch
from sandbox.windows_ldap.protocol import (
    BASE,
    BIND_RESPONSE,
    EXTENDED_RESPONSE,
    SEARCH_DONE,
    START_TLS,
    WRITE_RESPONSES,
    Abandon,
    Bind,
    Extended,
    Found,
    Request,
    Result,
    Search,
    Unbind,
    Write,
    decode_request,
)
from sandbox.windows_ldap.root_dse import root_dse
from sandbox.windows_ldap.searching import Answer, ResultSets, Searching
from sandbox.windows_ldap.sight import Sight

_NOTICE_OF_DISCONNECTION = "1.3.6.1.4.1.1466.20036"
_CHUNK = 65_536
_NOT_SIGNED_IN = (
    "000004DC: LdapErr: DSID-0C090A5C, comment: In order to perform this operation a successful bind must be"
    " completed on the connection., data 0, v4563"
)


class HungUp(Exception):
    """The connection is at its end."""


class Session:
    def __init__(
        self,
        number: int,
        connection: socket.socket,
        tls: ssl.SSLContext,
        forest: Forest,
        controller: Controller,
        faults: Faults,
        seen: list[Seen],
    ) -> None:
        self.number = number
        self._socket = connection
        self._tls = tls
        self._forest = forest
        self._controller = controller
        self._faults = faults
        self._seen = seen
        self._account: Account | None = None
        self._sets = ResultSets()
        self._watches: dict[int, Watch] = {}
        self._outbox: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._outbox_thread: threading.Thread | None = None
        self._speaking = threading.Lock()

    # ----------------------------------------------------------------------------------------------- the conversation

    def run_blocking(self, *, encrypted: bool) -> None:
        try:
            if encrypted:
                self._encrypt()
            self._converse()
        except (HungUp, OSError):
            pass  # the client went away, the server stops, or a fault wanted it
        finally:
            self._end()

    def close(self) -> None:
        """From any thread: the conversation ends at once."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def _end(self) -> None:
        with self._forest.lock:
            for watch in self._watches.values():
                watch.end()
            self._watches.clear()
        self._outbox.put(None)
        self.close()
        self._socket.close()
        if self._outbox_thread is not None:
            self._outbox_thread.join()

    def _encrypt(self) -> None:
        # The handshake comes after the assignment, so that `close` reaches the socket while it lasts.
        self._socket = encrypted = self._tls.wrap_socket(
            self._socket, server_side=True, do_handshake_on_connect=False
        )
        encrypted.do_handshake()

    def _converse(self) -> None:
        waiting = b""
        while True:
            try:
                header = ber.header_of(waiting)
                while header is None or len(waiting) < sum(header):
                    chunk = self._receive()
                    if not chunk:
                        return
                    waiting += chunk
                    header = ber.header_of(waiting)
                size = sum(header)
                request = decode_request(waiting[:size])
            except BerError as error:
                self._say_goodbye(Code.PROTOCOL_ERROR, str(error))
                return
            waiting = waiting[size:]
            self._handle(request)

    def _say_goodbye(self, code: int, message: str) -> None:
        self._send(Result(code, message).encode(0, EXTENDED_RESPONSE, name=_NOTICE_OF_DISCONNECTION))

    def _send(self, data: bytes) -> None:
        with self._speaking:
            self._socket.sendall(data)

    def _receive(self) -> bytes:
        """Waits outside the lock and reads inside: before Python 3.13 two threads must not use one TLS object at once."""
        while True:
            with self._speaking:
                self._socket.settimeout(0)
                try:
                    return self._socket.recv(_CHUNK)
                except (BlockingIOError, ssl.SSLWantReadError):
                    pass
                finally:
                    self._socket.settimeout(None)
            ready = select.poll()
            ready.register(self._socket, select.POLLIN)
            ready.poll()

    def _handle(self, request: Request) -> None:
        match request.operation:
            case Unbind():
                raise HungUp
            case Abandon(message_id):
                with self._forest.lock:
                    if watch := self._watches.pop(message_id, None):
                        watch.end()
            case Bind() as bind:
                self._answer_bind(request.id, bind)
            case Extended(name):
                self._answer_extended(request.id, name)
            case Write(tag):
                refusal = Result(Code.UNWILLING, "this server is written to by Python, not by LDAP")
                self._send(refusal.encode(request.id, WRITE_RESPONSES[tag]))
            case Search() as search:
                self._answer_search(request, search)

    # ------------------------------------------------------------------------------------------------------- signing in

    def _answer_bind(self, number: int, bind: Bind) -> None:
        seen = self._note(Seen("bind", self.number, bind.name))
        self._account = None  # whatever comes of it, the old identity is gone (RFC 4513, 4)
        try:
            with self._forest.lock:
                encrypted = isinstance(self._socket, ssl.SSLSocket)
                self._account = sign_in(self._forest, self._controller, bind, encrypted=encrypted)
            result = Result()
        except Refused as refusal:
            result = _result_of(refusal)
        fault = self._faults.take(seen)
        if fault.code:
            self._account = None
        self._finish(seen, fault, number, BIND_RESPONSE, [], result)

    def _answer_extended(self, number: int, name: str) -> None:
        if name != START_TLS:
            result = Result(Code.PROTOCOL_ERROR, "0000203D: LdapErr: unknown extended operation")
            self._send(result.encode(number, EXTENDED_RESPONSE))
            return
        if isinstance(self._socket, ssl.SSLSocket):
            self._send(
                Result(Code.OPERATIONS_ERROR, "TLS already").encode(number, EXTENDED_RESPONSE, name=START_TLS)
            )
            return
        self._send(Result().encode(number, EXTENDED_RESPONSE, name=START_TLS))
        self._encrypt()

    # -------------------------------------------------------------------------------------------------------- searching

    def _answer_search(self, request: Request, search: Search) -> None:
        seen = self._note(_described(self.number, request, search))
        fault = self._faults.take(seen)
        self._faults.wait_blocking(fault)
        if fault.drop is Drop.BEFORE:
            raise HungUp
        try:
            with self._forest.lock:
                answer = self._found(request, search)
        except Refused as refusal:
            answer = Answer(result=_result_of(refusal))
        if answer is None:
            return  # a notification stays open
        entries = [
            entry.encode(request.id, types_only=search.types_only)
            if isinstance(entry, Found)
            else entry.encode(request.id)
            for entry in answer.entries
        ]
        self._finish(seen, fault, request.id, SEARCH_DONE, entries, answer.result)

    def _found(self, request: Request, search: Search) -> Answer | None:
        if not search.base and search.scope == BASE:
            return Answer([root_dse(self._forest, self._controller, search.attributes)])
        if self._account is None:
            raise Refused(Code.OPERATIONS_ERROR, _NOT_SIGNED_IN)
        controls = Controls(request.controls, hidden=self._controller.hidden_controls)
        sight = Sight(self._forest, self._controller, self._account)
        if DIRSYNC in controls:
            return dirsync(sight, search, controls)
        if NOTIFICATION in controls:
            if len(self._watches) >= self._controller.limits.max_notifications:
                raise Refused(
                    Code.ADMIN_LIMIT,
                    "00002073: LdapErr: DSID-0C0906B5, comment: MaxNotificationPerConn reached",
                )
            self._watches[request.id] = Watch(sight, search, controls, request.id, self._outbox.put)
            self._start_outbox()
            return None
        seed = f"{self._controller.name}/{self.number}".encode()
        return Searching(sight, self._sets, seed).answer(search, controls)

    def _start_outbox(self) -> None:
        """Changes are told by a thread of its own, so that a client which doesn't read holds up nobody's write."""
        if self._outbox_thread is None:
            self._outbox_thread = threading.Thread(target=self._empty_outbox_blocking, daemon=True)
            self._outbox_thread.start()

    def _empty_outbox_blocking(self) -> None:
        with contextlib.suppress(OSError):
            while (message := self._outbox.get()) is not None:
                self._send(message)

    # -------------------------------------------------------------------------------------------------- sending answers

    def _note(self, seen: Seen) -> Seen:
        self._seen.append(seen)
        return seen

    def _finish(
        self, seen: Seen, fault: Fault, number: int, tag: int, entries: Iterable[bytes], result: Result
    ) -> None:
        if tag == BIND_RESPONSE:
            self._faults.wait_blocking(fault)
            if fault.drop is Drop.BEFORE:
                raise HungUp
        cut_short = fault.code or fault.drop in (Drop.MIDDLE, Drop.TRUNCATED)
        outgoing = list(entries)
        leaving = outgoing[: fault.after_entries] if cut_short else outgoing
        seen.entries = len(leaving)
        for batch in _batches(leaving):
            self._send(batch)
        if fault.code:
            result = Result(fault.code, fault.message)
        last = result.encode(number, tag)
        if fault.drop in (Drop.MIDDLE, Drop.LATE):
            raise HungUp
        if fault.drop is Drop.TRUNCATED:
            whole = outgoing[len(leaving)] if len(leaving) < len(outgoing) else last
            self._send(whole[: len(whole) // 2])
            raise HungUp
        seen.code = result.code
        self._send(last)
        if fault.drop is Drop.AFTER:
            raise HungUp


def _batches(messages: list[bytes], size: int = 64) -> Iterable[bytes]:
    numbers = itertools.count(0, size)
    while batch := b"".join(messages[(start := next(numbers)) : start + size]):
        yield batch


def _result_of(refusal: Refused) -> Result:
    return Result(refusal.code, refusal.message, refusal.matched, refusal.referrals)


def _described(connection: int, request: Request, search: Search) -> Seen:
    oids = tuple(control.oid for control in request.controls)
    kind = "search"
    if not search.base and search.scope == BASE:
        kind = "root"
    elif DIRSYNC in oids:
        kind = "dirsync"
    elif NOTIFICATION in oids:
        kind = "notification"
    elif any("range=" in name.lower() for name in search.attributes):
        kind = "range"
    elif PAGED in oids:
        kind = "paged"
    return Seen(kind, connection, search.base, search.scope, str(search.filter), search.attributes, oids)

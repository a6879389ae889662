"""Signing in by ticket without a KDC: the exchange, the cache and its renewal, every error with what to do about it."""

import hashlib
import ssl
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
import trustme

from pipeline.errors import DirectoryBusy, DirectoryError
from stages.directory.faults import CredentialsRefused
from stages.directory.kerberos import KerberosLogin, SaslReply
from stages.directory.kerberos_faults import KdcUnreachable, TicketMissing, kerberos_failure, sasl_refusal

HOST = "dc1.example.test"
CERTIFICATE = ssl.PEM_cert_to_DER_cert(
    trustme.CA().issue_cert(HOST).cert_chain_pems[0].bytes().decode("ascii")
)
IN_PROGRESS = 14


class GSSError(Exception):
    """As the library raises it; minor codes are handed out as unsigned 32 bits."""

    def __init__(self, minor: int, text: str = "as the library says", major: int = 13) -> None:
        self.maj_code, self.min_code = major << 16, minor % 2**32
        super().__init__(f"Major ({self.maj_code}): Failure, Minor ({self.min_code}): {text}")


class FakeGssapi:
    """The part of the package `gssapi` that is used; three steps, as Kerberos has them."""

    def __init__(self) -> None:
        self.exceptions = SimpleNamespace(GSSError=GSSError)
        self.NameType = SimpleNamespace(hostbased_service="service", kerberos_principal="principal")
        self.MechType = SimpleNamespace(kerberos="krb5")
        self.raw = SimpleNamespace(ChannelBindings=lambda application_data: application_data)
        self.stores: list[dict[str, str] | None] = []
        self.names: list[object] = []
        self.bindings: object = None
        self.failure: Exception | None = None
        self.lifetime: int | None = 36_000

    def Name(self, text: str, kind: str) -> tuple[str, str]:  # noqa: N802 - the library's name
        return text, kind

    def Credentials(self, *, name: object, usage: str, store: dict[str, str] | None) -> object:  # noqa: N802
        assert usage == "initiate"
        if self.failure:
            raise self.failure
        self.names.append(name)
        self.stores.append(store)
        return SimpleNamespace(lifetime=self.lifetime)

    def SecurityContext(self, **options: object) -> object:  # noqa: N802
        assert options["mech"] == "krb5"
        assert options["name"] == (f"ldap@{HOST}", "service")
        self.bindings = options["channel_bindings"]
        return FakeContext(self.lifetime)


class FakeContext:
    def __init__(self, lifetime: int | None) -> None:
        self.lifetime = lifetime
        self.complete = False

    def step(self, token: bytes | None = None) -> bytes | None:
        if token is None:
            return b"AP-REQ"
        assert token == b"AP-REP"
        self.complete = True
        return None

    def unwrap(self, token: bytes) -> object:
        return SimpleNamespace(message=token.removeprefix(b"wrapped "))

    def wrap(self, message: bytes, encrypt: bool) -> object:
        assert encrypt is False
        return SimpleNamespace(message=b"wrapped " + message)


class Server:
    """Answers the steps in order; keeps what it was sent."""

    def __init__(self, *, layers: bytes = b"\x07\x00\xff\xff", last: int = 0, message: str = "") -> None:
        self.sent: list[bytes] = []
        self.replies = [
            SaslReply(IN_PROGRESS, b"AP-REP", ""),
            SaslReply(IN_PROGRESS, b"wrapped " + layers, ""),
            SaslReply(last, b"", message),
        ]

    def __call__(self, token: bytes) -> SaslReply:
        self.sent.append(token)
        return self.replies[len(self.sent) - 1]


@pytest.fixture
def library() -> FakeGssapi:
    return FakeGssapi()


Make = Callable[..., KerberosLogin]


@pytest.fixture
def make(library: FakeGssapi, tmp_path: Path) -> Make:
    (tmp_path / "svc.keytab").write_bytes(b"\x05\x02")

    def login(*, keytab: bool = False, **changes: object) -> KerberosLogin:
        settings = {
            "principal": "svc@example.test" if keytab else "",
            "keytab": str(tmp_path / "svc.keytab") if keytab else "",
            "ccache": "",
            "now": lambda: datetime(2026, 11, 23, 9, tzinfo=UTC),
            "load": lambda: library,
        }
        return KerberosLogin(**{**settings, **changes})

    return login


def sign_in(login: KerberosLogin, server: Server | None = None) -> float | None:
    return login.sign_in_blocking("sign in", HOST, CERTIFICATE, server or Server())


# --- the exchange


@pytest.mark.parametrize("layers", [b"\x07\x00\xff\xff", b"\x01\x00\x00\x00"])
def test_the_exchange_asks_for_no_layer_and_ties_the_ticket_to_the_certificate(
    make: Make, library: FakeGssapi, layers: bytes
) -> None:
    server = Server(layers=layers)
    assert sign_in(make(), server) == 36_000
    assert server.sent == [b"AP-REQ", b"", b"wrapped \x01\x00\x00\x00"]
    assert library.bindings == b"tls-server-end-point:" + hashlib.sha256(CERTIFICATE).digest()


def test_a_server_that_insists_on_a_layer_is_told_with_the_setting_that_helps(make: Make) -> None:
    with pytest.raises(DirectoryError, match="allow_sasl_over_tls"):
        sign_in(make(), Server(layers=b"\x06\x00\xff\xff"))


def test_a_server_that_is_satisfied_too_early_is_not_believed(make: Make) -> None:
    server = Server()
    server.replies[0] = SaslReply(0, b"", "")
    with pytest.raises(DirectoryError, match="too early"):
        sign_in(make(), server)


def test_a_server_that_never_ends_is_given_up(make: Make, library: FakeGssapi) -> None:
    server = Server()
    server.replies = [SaslReply(IN_PROGRESS, b"more", "")] * 100
    endless = SimpleNamespace(step=lambda token: b"more", complete=False)
    library.SecurityContext = lambda **_: endless  # type: ignore[method-assign]
    with pytest.raises(DirectoryError, match="never ended"):
        sign_in(make(), server)
    assert len(server.sent) < 10


@pytest.mark.parametrize("lifetime", [None, 2**32 - 1])
def test_a_ticket_without_end(make: Make, library: FakeGssapi, lifetime: int | None) -> None:
    library.lifetime = lifetime
    assert sign_in(make(keytab=True)) is None


# --- where tickets come from


def test_the_realm_is_in_capitals_and_the_name_as_it_is(make: Make, library: FakeGssapi) -> None:
    sign_in(make(principal="Svc@example.test"))
    assert library.names == [("Svc@EXAMPLE.TEST", "principal")]


def test_without_keytab_the_cache_and_its_own_account(make: Make, library: FakeGssapi) -> None:
    sign_in(make())
    sign_in(make(ccache="FILE:/tickets"))
    assert library.stores == [None, {"ccache": "FILE:/tickets"}]
    assert library.names == [None, None]


def test_tickets_of_a_keytab_stay_in_memory_and_are_new_after_half_their_life(
    make: Make, library: FakeGssapi
) -> None:
    now = [datetime(2026, 11, 23, 9, tzinfo=UTC)]
    login = make(keytab=True, now=lambda: now[0])
    caches = []
    for hours in (0, 4, 2, 1):
        now[0] += timedelta(hours=hours)
        sign_in(login)
        caches.append((library.stores[-1] or {})["ccache"])
    assert all(cache.startswith("MEMORY:") for cache in caches)
    assert caches[0] == caches[1]
    assert caches[1] != caches[2]
    assert caches[2] == caches[3]


def test_a_ticket_that_was_refused_is_not_used_again(make: Make, library: FakeGssapi) -> None:
    login = make(keytab=True)
    with pytest.raises(CredentialsRefused):
        sign_in(login, Server(last=49))
    sign_in(login)
    first, second = library.stores
    assert first != second


def test_two_logins_share_no_cache(make: Make, library: FakeGssapi) -> None:
    sign_in(make(keytab=True))
    sign_in(make(keytab=True))
    assert library.stores[0] != library.stores[1]


def test_a_missing_package_is_told_with_the_way_to_get_it(make: Make) -> None:
    def load() -> object:
        raise ImportError("No module named 'gssapi'")

    with pytest.raises(TicketMissing, match="kerberos-setup"):
        sign_in(make(load=load))


def test_a_missing_keytab_is_told_before_anything_is_asked(
    make: Make, library: FakeGssapi, tmp_path: Path
) -> None:
    (tmp_path / "svc.keytab").unlink()
    with pytest.raises(TicketMissing, match=r"svc\.keytab can't be read: No such file"):
        sign_in(make(keytab=True))
    assert library.stores == []


def test_what_the_library_raises_is_a_directory_error(make: Make, library: FakeGssapi) -> None:
    library.failure = GSSError(-1765328228, "Cannot contact any KDC for realm 'EXAMPLE.TEST'")
    with pytest.raises(DirectoryBusy, match="Cannot contact any KDC") as caught:
        sign_in(make())
    assert isinstance(caught.value.__cause__, GSSError)


# --- a KDC that says nothing


class Silent:
    """A library whose ticket calls hang until they are let go."""

    def __init__(self, library: FakeGssapi) -> None:
        self.calls = 0
        self.hangs = threading.Event()
        self.let_go = threading.Event()
        library.Credentials = self.credentials  # type: ignore[method-assign]

    def credentials(self, **_: object) -> object:
        self.calls += 1
        self.hangs.set()
        self.let_go.wait(60)
        return SimpleNamespace(lifetime=36_000)


def test_a_silent_kdc_is_waited_for_as_long_as_configured(make: Make, library: FakeGssapi) -> None:
    silent = Silent(library)
    login = make(timeout_seconds=0.2)
    for _ in range(2):
        with pytest.raises(KdcUnreachable, match=r"silent for 0\.2 seconds"):
            sign_in(login)
    assert silent.calls == 1  # what was left behind is still stuck: no second one beside it
    silent.let_go.set()
    login._patience._left_behind.join(60)
    assert sign_in(login) == 36_000
    assert silent.calls == 2


def test_a_wait_for_the_kdc_ends_when_nobody_waits_for_it_any_more(make: Make, library: FakeGssapi) -> None:
    silent = Silent(library)
    login = make(timeout_seconds=3600)
    with pytest.raises(DirectoryError, match="given up"):
        login.sign_in_blocking("sign in", HOST, CERTIFICATE, Server(), silent.hangs.is_set)
    silent.let_go.set()


# --- errors


@pytest.mark.parametrize(
    ("minor", "kind", "cause", "hint"),
    [
        (-1765328378, CredentialsRefused, "knows no account svc@X", "directory.username"),
        (-1765328377, DirectoryError, "no service ldap/dc1.example.test", "full host name"),
        (-1765328370, DirectoryError, "no cipher", "AES"),
        (-1765328366, CredentialsRefused, "disabled, locked or expired", "unlock"),
        (-1765328361, CredentialsRefused, "password of svc@X has expired", "new password"),
        (-1765328360, CredentialsRefused, "keytab's key is not that of svc@X", "keytab anew"),
        (-1765328353, CredentialsRefused, "keytab's key is not that of svc@X", "keytab anew"),
        (-1765328352, TicketMissing, "ticket has expired", "kinit"),
        (-1765328351, DirectoryError, "clocks", "NTP"),
        (-1765328347, DirectoryError, "clocks", "five minutes"),
        (-1765328343, DirectoryError, "can't read the ticket", "setspn"),
        (-1765328228, KdcUnreachable, "no Kerberos server", "port 88"),
        (-1765328230, DirectoryError, "realm is not known", "krb5.conf"),
        (-1765328248, DirectoryError, "krb5.conf can't be read", "correct krb5.conf"),
        (-1765328189, TicketMissing, "no ticket", "kinit"),
        (-1765328190, TicketMissing, "credential cache can't be read", "kinit"),
        (-1765328203, TicketMissing, "no key of svc@X", "klist -k"),
        (-1765328149, TicketMissing, "keytab can't be read", "directory.keytab"),
        (39756032, TicketMissing, "not those of svc@X", "directory.ccache"),
        (1, DirectoryError, "Kerberos failed", "check directory"),
    ],
)  # fmt: skip
def test_each_failure_says_what_to_do(minor: int, kind: type[DirectoryError], cause: str, hint: str) -> None:
    error = kerberos_failure("sign in", GSSError(minor), principal="svc@X", host=HOST, from_keytab=False)
    assert type(error) is kind
    assert cause in error.cause
    assert error.cause.endswith(": as the library says")
    assert hint in error.hint


@pytest.mark.parametrize(("major", "cause"), [(7, "no ticket"), (11, "ticket has expired")])
def test_the_major_status_counts_where_the_minor_one_is_unknown(major: int, cause: str) -> None:
    error = kerberos_failure(
        "sign in", GSSError(100001, major=major), principal="", host=HOST, from_keytab=False
    )
    assert isinstance(error, TicketMissing)
    assert cause in error.cause


def test_an_empty_cache_after_a_keytab_means_that_the_keytab_lacks_the_name() -> None:
    error = kerberos_failure("sign in", GSSError(-1765328189), principal="svc@X", host=HOST, from_keytab=True)
    assert "the keytab has no key of svc@X" in error.cause


@pytest.mark.parametrize(
    ("code", "message", "kind", "said"),
    [
        (8, "SASL:[GSSAPI]: Sign or Seal are required.", DirectoryError, "allow_sasl_over_tls"),
        (49, "80090346: LdapErr: DSID-0C0906B5, data 80090346, v4563", DirectoryError, "channel binding"),
        (49, "80090308: LdapErr: DSID-0C0904DC, data 775, v1db1", CredentialsRefused, "locked"),
        (49, "80090308: LdapErr: DSID-0C0904DC, data 52e, v1db1", CredentialsRefused, "did not accept the ticket"),
        (49, "", CredentialsRefused, "LDAP result 49"),
        (51, "busy", DirectoryBusy, "LDAP result 51"),
    ],
)  # fmt: skip
def test_each_refusal_of_the_bind(code: int, message: str, kind: type[DirectoryError], said: str) -> None:
    error = sasl_refusal("sign in", code, message)
    assert isinstance(error, kind)
    assert isinstance(error, CredentialsRefused) is (kind is CredentialsRefused)
    assert said in str(error)

"""Signing in by ticket: a real KDC (Samba's), the real library, no password anywhere. Nothing of the machine's own Kerberos
configuration is read."""

import os
import socket
import struct
import subprocess
import sys
import time
import tomllib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
import pytest

from pipeline.errors import ConnectorError, DirectoryBusy, DirectoryError
from pipeline.model import Source
from sandbox.certificates import Authority
from sandbox.samba import SambaDomain
from sandbox.samba_admin import DomainAdministrator
from stages.directory.faults import CredentialsRefused
from stages.directory.kerberos_faults import TicketMissing
from stages.directory.ldap import LdapDirectory
from stages.directory.options import DirectoryOptions
from tests.setup.dialogue import Dialogue

pytestmark = [pytest.mark.anyio, pytest.mark.samba, pytest.mark.kerberos]

ROOT = Path(__file__).resolve().parents[2]
DC = "ldaps://dc1.example.test"
ACCOUNT, PRINCIPAL = "svc-dropbox", "svc-dropbox@example.test"


class Hands:
    """A clock that is turned by hand."""

    def __init__(self) -> None:
        self.time = datetime.now(UTC)

    def now(self) -> datetime:
        return self.time

    def monotonic(self) -> float:
        return self.time.timestamp()

    async def sleep(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)
        await anyio.sleep(0)


@pytest.fixture(scope="module")
def domain(
    missing_for_kerberos: str, tmp_path_factory: pytest.TempPathFactory, authority: Authority
) -> Iterator[SambaDomain]:
    if missing_for_kerberos:
        pytest.skip(missing_for_kerberos)
    cache = ROOT / ".sandbox" / "cache"
    samba = SambaDomain(tmp_path_factory.mktemp("kdc"), authority, cache=cache, kerberos=True)
    samba.start_blocking()
    yield samba
    samba.stop_blocking()


@pytest.fixture(scope="module")
def admin(domain: SambaDomain) -> Iterator[DomainAdministrator]:
    with domain.administrator() as administrator:
        yield administrator


@pytest.fixture(scope="module")
def keytabs(domain: SambaDomain, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    folder = tmp_path_factory.mktemp("keytabs")

    def export(account: str) -> Path:
        if not (file := folder / f"{account}.keytab").exists():
            domain.export_keytab_blocking(account, file)
        return file

    return export


@pytest.fixture(autouse=True)
def private_configuration(domain: SambaDomain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KRB5_CONFIG", str(domain.krb5_conf))
    monkeypatch.setenv("KRB5CCNAME", f"FILE:{tmp_path / 'default-cache'}")
    monkeypatch.delenv("KRB5_KTNAME", raising=False)
    monkeypatch.delenv("KRB5_CLIENT_KTNAME", raising=False)


Open = Callable[..., LdapDirectory]


@pytest.fixture
async def connect(domain: SambaDomain, anyio_backend: str) -> AsyncIterator[Open]:
    """A function: a directory that signs in by ticket; the domain controller's name leads to its loopback address."""
    opened = []

    def make(clock: Hands | None = None, **changes: object) -> LdapDirectory:
        settings = {
            "servers": (DC,),
            "auth": "kerberos",
            "ca_file": str(domain.facts.ca_file),
            "timeout_seconds": 10,
        }
        directory = LdapDirectory(DirectoryOptions(**{**settings, **changes}), clock=clock, resolve=resolve)
        opened.append(directory)
        return directory

    async def resolve(host: str, _: int) -> list[str]:
        return [domain.facts.address]

    yield make
    for directory in opened:
        await directory.close()


@pytest.fixture
def ccache(domain: SambaDomain, tmp_path: Path, private_configuration: None) -> Path:
    """What kinit leaves behind."""
    import gssapi

    name = gssapi.Name(f"{ACCOUNT}@EXAMPLE.TEST", gssapi.NameType.kerberos_principal)
    password = domain.facts.service_password.encode()
    found = gssapi.raw.acquire_cred_with_password(name, password, usage="initiate")
    file = tmp_path / "tickets"
    gssapi.raw.store_cred_into(
        {b"ccache": f"FILE:{file}".encode()}, found.creds, usage="initiate", overwrite=True
    )
    return file


@asynccontextmanager
async def failing(kind: type[ConnectorError], *said: str) -> AsyncIterator[None]:
    with pytest.raises(kind) as caught:
        yield
    for text in said:
        assert text in str(caught.value)


@pytest.mark.parametrize("changes", [{}, {"servers": ("ldap://dc1.example.test",), "start_tls": True}])
@pytest.mark.parametrize("source", [Source.DIRSYNC, Source.USN])
async def test_a_keytab_is_enough_to_read_a_domain_and_its_changes(
    connect: Open,
    keytabs: Callable[[str], Path],
    admin: DomainAdministrator,
    changes: dict[str, object],
    source: Source,
) -> None:
    directory = connect(
        username=PRINCIPAL, keytab=str(keytabs(ACCOUNT)), change_source=source.value, **changes
    )
    assert (await directory.identify()).dns_name == "example.test"
    tag = f"{source.value} {len(changes)}"
    group = admin.create_group(f"Kerberos {tag}")
    assert (await directory.find_group(f"Kerberos {tag}")).guid == group
    checkpoint = await directory.start()
    person = admin.create_user(f"Ann {tag}", mail="ann@example.test")
    admin.add_members(group, person)
    deltas = {delta.guid async for page in directory.changes(checkpoint) for delta in page.deltas}
    assert deltas == {group, person}
    assert [target.guid for target in await directory.read_members(group)] == [person]


async def test_the_rights_are_those_of_the_ticket(
    connect: Open, keytabs: Callable[[str], Path], admin: DomainAdministrator
) -> None:
    admin.delete(admin.create_user("Gone Soon"))
    seeing = connect(username=PRINCIPAL, keytab=str(keytabs(ACCOUNT)))
    blind = connect(username="svc-blind@EXAMPLE.TEST", keytab=str(keytabs("svc-blind")))
    assert await seeing.sees_tombstones() is True
    assert await blind.sees_tombstones() is not True


async def test_a_credential_cache_is_used_by_name_and_by_default(
    connect: Open, ccache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (await connect(ccache=f"FILE:{ccache}", username=PRINCIPAL).identify()).dns_name == "example.test"
    monkeypatch.setenv("KRB5CCNAME", f"FILE:{ccache}")
    directory = connect()
    assert (await directory.identify()).dns_name == "example.test"
    signed_in = {each.name: each for each in await directory.check("")}["sign in"]
    assert (signed_in.state, signed_in.detail) == ("ok", "as the account of the Kerberos ticket")


async def test_no_cache_is_no_ticket(connect: Open, tmp_path: Path) -> None:
    async with failing(TicketMissing, "there is no ticket", "kinit", "directory.keytab"):
        await connect().identify()
    async with failing(TicketMissing, "there is no ticket"):
        await connect(ccache=f"FILE:{tmp_path / 'none'}").identify()


async def test_a_cache_of_somebody_else_is_not_used(connect: Open, ccache: Path) -> None:
    async with failing(TicketMissing, "ann@EXAMPLE.TEST", "directory.ccache"):
        await connect(ccache=f"FILE:{ccache}", username="ann@example.test").identify()


async def test_an_expired_ticket_is_told_apart(connect: Open, ccache: Path) -> None:
    import gssapi

    content, now = ccache.read_bytes(), int(time.time())
    ends_at = now + gssapi.Credentials(usage="initiate", store={"ccache": f"FILE:{ccache}"}).lifetime
    for second in range(ends_at - 3, ends_at + 4):  # the file holds it in seconds since 1970
        content = content.replace(struct.pack(">I", second), struct.pack(">I", now - 900))
    ccache.write_bytes(content)
    async with failing(TicketMissing, "the ticket has expired", "kinit"):
        await connect(ccache=f"FILE:{ccache}").identify()


async def test_a_keytab_from_before_the_password_was_changed_is_refused_once(
    connect: Open, keytabs: Callable[[str], Path], admin: DomainAdministrator
) -> None:
    def password(text: str) -> bytes:
        return f'"{text}"'.encode("utf-16-le")  # MS-ADTS 3.1.1.3.1.5.1

    account = admin.create_user("svc stale", account="svc-stale", unicodePwd=password("Sandbox-Stale-1"))
    old = keytabs("svc-stale")
    admin.modify(account, unicodePwd=password("Sandbox-Stale-2"))
    clock = Hands()
    directory = connect(clock, username="svc-stale@EXAMPLE.TEST", keytab=str(old))
    async with failing(CredentialsRefused, "the keytab's key is not that of svc-stale@EXAMPLE.TEST", "anew"):
        await directory.identify()
    old.unlink()
    async with failing(CredentialsRefused, "the keytab's key is not that of"):
        await directory.identify()  # not tried again for a while: that would lock the account
    keytabs("svc-stale")
    clock.time += timedelta(minutes=6)
    assert (await directory.identify()).dns_name == "example.test"


async def test_a_name_that_the_keytab_does_not_hold(connect: Open, keytabs: Callable[[str], Path]) -> None:
    async with failing(TicketMissing, "the keytab has no key of nobody@EXAMPLE.TEST", "klist -k"):
        await connect(username="nobody@example.test", keytab=str(keytabs(ACCOUNT))).identify()


async def test_a_deleted_account_is_told(
    connect: Open, keytabs: Callable[[str], Path], admin: DomainAdministrator
) -> None:
    account = admin.create_user(
        "svc gone", account="svc-gone", unicodePwd='"Sandbox-Gone-1"'.encode("utf-16-le")
    )
    keytab = keytabs("svc-gone")
    admin.delete(account)
    async with failing(CredentialsRefused, "the domain knows no account svc-gone@EXAMPLE.TEST"):
        await connect(username="svc-gone@EXAMPLE.TEST", keytab=str(keytab)).identify()


async def test_a_server_named_by_its_address_has_no_service(
    connect: Open, keytabs: Callable[[str], Path], domain: SambaDomain
) -> None:
    async with failing(DirectoryError, f"no service ldap/{domain.facts.address}", "host name"):
        await connect(
            servers=(domain.facts.ldaps_url,), username=PRINCIPAL, keytab=str(keytabs(ACCOUNT))
        ).identify()


async def test_a_kdc_out_of_reach_is_for_later(
    connect: Open,
    keytabs: Callable[[str], Path],
    domain: SambaDomain,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    elsewhere = tmp_path / "krb5.conf"
    text = domain.krb5_conf.read_text(encoding="utf-8")
    elsewhere.write_text(
        text.replace(f"{domain.facts.address}:88", f"{domain.facts.address}:9"), encoding="utf-8"
    )
    monkeypatch.setenv("KRB5_CONFIG", str(elsewhere))
    async with failing(DirectoryBusy, "no Kerberos server (KDC) of the domain answers", "port 88"):
        await connect(username=PRINCIPAL, keytab=str(keytabs(ACCOUNT))).identify()


async def test_a_silent_kdc_holds_nobody_up_for_longer_than_configured(
    connect: Open,
    keytabs: Callable[[str], Path],
    domain: SambaDomain,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The library itself would wait for half a minute."""
    with socket.create_server(("127.0.0.1", 0)) as mute:
        elsewhere = tmp_path / "krb5.conf"
        text = domain.krb5_conf.read_text(encoding="utf-8")
        port = mute.getsockname()[1]
        elsewhere.write_text(
            text.replace(f"{domain.facts.address}:88", f"127.0.0.1:{port}"), encoding="utf-8"
        )
        monkeypatch.setenv("KRB5_CONFIG", str(elsewhere))
        directory = connect(username=PRINCIPAL, keytab=str(keytabs(ACCOUNT)), timeout_seconds=1)
        async with failing(DirectoryBusy, "silent for 1 seconds", "port 88"):
            await directory.identify()


async def test_a_ticket_is_renewed_with_the_keytab_before_it_ends(
    connect: Open, keytabs: Callable[[str], Path], tmp_path: Path
) -> None:
    keytab = tmp_path / "svc.keytab"
    keytab.write_bytes(keytabs(ACCOUNT).read_bytes())
    clock = Hands()
    directory = connect(clock, username=PRINCIPAL, keytab=str(keytab))
    await directory.find_group("Domain Users")
    first = await directory._link.session()
    keytab.unlink()
    clock.time += timedelta(hours=9)
    await directory.find_group("Domain Users")  # the ticket is good for ten hours
    assert await directory._link.session() is first
    clock.time += timedelta(minutes=56)
    async with failing(TicketMissing, "svc.keytab can't be read"):
        await directory.find_group("Domain Users")
    keytab.write_bytes(keytabs(ACCOUNT).read_bytes())
    await directory.find_group("Domain Users")  # looked at again each time: no rest, no restart
    second = await directory._link.session()
    assert second is not first
    assert second.is_usable


@pytest.fixture
def address(admin: DomainAdministrator, domain: SambaDomain) -> str:
    """Another process can't be told what the name means, so it goes by address, and the address is made a service."""
    services = admin.read("DC1$", "servicePrincipalName")["servicePrincipalName"]
    service = f"ldap/{domain.facts.address}"
    if service not in services:
        admin.modify("DC1$", servicePrincipalName=[*services, service])
    return domain.facts.ldaps_url


async def test_the_command_line_needs_no_password(
    keytabs: Callable[[str], Path], address: str, domain: SambaDomain, tmp_path: Path
) -> None:
    (tmp_path / "svc.keytab").write_bytes(keytabs(ACCOUNT).read_bytes())
    (tmp_path / "svc.keytab").chmod(0o600)
    (tmp_path / "connector.toml").write_text(
        f'[directory]\nservers = ["{address}"]\nauth = "kerberos"\nusername = "{PRINCIPAL}"\n'
        f'keytab = "svc.keytab"\nca_file = "{domain.facts.ca_file}"\n[users]\nsync_group = "Domain Users"\n'
    )
    environment = {name: value for name, value in os.environ.items() if name != "AD_PASSWORD"}

    def check() -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-P", "-m", "pipeline", "check", "directory"],
            cwd=tmp_path,
            env={**environment, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )

    done = await anyio.to_thread.run_sync(check)
    assert f"sign in: as {PRINCIPAL}" in " ".join(done.stdout.split()), done.stdout + done.stderr
    (tmp_path / "svc.keytab").chmod(0o644)
    refused = await anyio.to_thread.run_sync(check)
    assert refused.returncode == 245  # -11, as a shell shows it
    assert "directory.keytab" in refused.stderr


@dataclass
class _Desk:
    """What a dialogue needs to know of the place where somebody types."""

    folder: Path


async def test_the_wizard_asks_for_keytab_or_cache_and_what_it_writes_signs_in(
    keytabs: Callable[[str], Path], address: str, domain: SambaDomain, ccache: Path, tmp_path: Path
) -> None:
    (tmp_path / "svc.keytab").write_bytes(keytabs(ACCOUNT).read_bytes())
    (tmp_path / "svc.keytab").chmod(0o644)
    file = tmp_path / "connector.toml"
    file.touch(mode=0o600)
    file.write_text(
        f'[directory]\nservers = ["{address}"]\nca_file = "{domain.facts.ca_file}"\nusername = "x@example.test"\n'
        '[users]\nsync_group = "Domain Users"\n[dropbox]\napp_key = "sandboxappkey00"\n'
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AD_")}
    environment |= {"PYTHONPATH": str(ROOT), "TERM": "dumb", "LANG": "C.UTF-8"}
    environment["KRB5CCNAME"] = f"FILE:{tmp_path / 'none'}"

    def talk(*arguments: str) -> Dialogue:
        return Dialogue(_Desk(tmp_path), list(arguments), environment)

    def by_keytab() -> Dialogue:
        it = talk("configure", "directory")
        for question in ("Domain controllers", "Certificate authority"):
            it.answer(question, "")
        it.answer("Sign-in", "ker")
        it.answer("Keytab", "nowhere.keytab")
        it.expect("does not exist")
        it.answer("Keytab", "svc.keytab")
        it.expect("can be read by others")
        it.answer("k: keep it", "")
        (tmp_path / "svc.keytab").chmod(0o600)
        it.answer("Keytab", "svc.keytab")
        it.answer("Account that reads", "nobody@example.test")
        it.expect("the keytab has no key of nobody@EXAMPLE.TEST")
        it.answer("k: keep it", "")
        it.answer("Account that reads", PRINCIPAL)
        it.expect(f"as {PRINCIPAL}")
        it.answer("Save ", "")
        assert it.end() == 0
        assert "password" not in it.shown.lower().replace("by password inside tls", "")
        return it

    def by_cache() -> Dialogue:
        it = talk("configure", "directory")
        for question in ("Domain controllers", "Certificate authority", "Sign-in"):
            it.answer(question, "")
        it.answer("Keytab", "-")
        it.answer("Credential cache", "")
        it.expect("there is no ticket")
        it.answer("k: keep it", "")
        it.answer("Credential cache", f"FILE:{ccache}")
        it.expect(f"sign in: as {PRINCIPAL}")
        it.answer("Save ", "")
        assert it.end() == 0
        return it

    def signs_in() -> str:
        it = talk("check", "directory")
        it.end()
        return " ".join(it.shown.split())

    await anyio.to_thread.run_sync(by_keytab)
    written = tomllib.loads(file.read_text())["directory"]
    assert (written["auth"], written["keytab"], written["username"]) == ("kerberos", "svc.keytab", PRINCIPAL)
    assert f"ok directory: sign in: as {PRINCIPAL}" in await anyio.to_thread.run_sync(signs_in)
    await anyio.to_thread.run_sync(by_cache)
    assert tomllib.loads(file.read_text())["directory"]["ccache"] == f"FILE:{ccache}"
    assert f"ok directory: sign in: as {PRINCIPAL}" in await anyio.to_thread.run_sync(signs_in)

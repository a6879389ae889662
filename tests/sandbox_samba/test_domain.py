"""The sandbox's domain is a real one, and its rights and certificates are what they claim to be."""

import itertools
import os
import signal
import socket
import ssl
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import ldap3
import pytest
from ldap3.core.exceptions import LDAPExceptionError

from sandbox import population
from sandbox.certificates import Authority
from sandbox.domain import DomainFacts
from sandbox.samba import SambaDomain
from sandbox.samba_admin import DomainAdministrator, VerifiedTls

pytestmark = pytest.mark.samba

_ROOT = Path(__file__).resolve().parents[2]
_serial = itertools.count(1)


@pytest.fixture
def admin(samba_domain: SambaDomain) -> Iterator[DomainAdministrator]:
    with samba_domain.administrator() as administrator:
        yield administrator


@pytest.fixture
def unit(admin: DomainAdministrator) -> str:
    name = f"Unit {next(_serial)}"
    admin.create_ou(name)
    return name


def _as(facts: DomainFacts, user: str, password: str) -> DomainAdministrator:
    return DomainAdministrator(facts, user=user, password=password)


def _tombstones_seen_by(domain: SambaDomain, *, blind: bool) -> set[str]:
    facts = domain.facts
    if blind:
        account = _as(facts, facts.blind_account, facts.blind_password)
    else:
        account = _as(facts, facts.service_account, facts.service_password)
    with account:
        return set(account.tombstones())


def test_the_certificate_verifies_for_the_address_and_for_the_name(samba_domain: SambaDomain) -> None:
    facts = samba_domain.facts
    context = ssl.create_default_context(cafile=str(facts.ca_file))
    context.verify_flags |= ssl.VERIFY_X509_STRICT  # the default from Python 3.13 on
    for name in (facts.address, facts.host_name):
        with (
            socket.create_connection((facts.address, 636), 5) as plain,
            context.wrap_socket(plain, server_hostname=name),
        ):
            pass


def test_the_certificate_is_refused_without_the_authority(samba_domain: SambaDomain) -> None:
    facts = samba_domain.facts
    with (
        socket.create_connection((facts.address, 636), 5) as plain,
        pytest.raises(ssl.SSLCertVerificationError),
    ):
        ssl.create_default_context().wrap_socket(plain, server_hostname=facts.address)


def test_starttls_works_and_plain_text_is_refused(samba_domain: SambaDomain) -> None:
    facts = samba_domain.facts
    server = ldap3.Server(facts.ldap_url, tls=VerifiedTls(facts.ca_file), get_info=ldap3.NONE)
    for has_tls, result in ((True, "success"), (False, "strongerAuthRequired")):
        connection = ldap3.Connection(server, facts.service_account, facts.service_password)
        connection.open()
        if has_tls:
            connection.start_tls()
        connection.bind()
        assert connection.result["description"] == result
        connection.unbind()


def test_only_the_service_account_sees_tombstones(
    samba_domain: SambaDomain, admin: DomainAdministrator, unit: str
) -> None:
    guid = admin.delete(admin.create_user(f"Gone {unit}", ou=unit))
    assert guid in admin.tombstones()
    assert guid in _tombstones_seen_by(samba_domain, blind=False)
    assert _tombstones_seen_by(samba_domain, blind=True) == set()


def test_the_right_can_be_granted_and_stripped_while_the_domain_runs(
    samba_domain: SambaDomain, admin: DomainAdministrator, unit: str
) -> None:
    guid = admin.delete(admin.create_user(f"Gone {unit}", ou=unit))
    samba_domain.change_tombstone_right_blocking("svc-blind", granted=True)
    try:
        assert guid in _tombstones_seen_by(samba_domain, blind=True)
    finally:
        samba_domain.change_tombstone_right_blocking("svc-blind", granted=False)
    assert _tombstones_seen_by(samba_domain, blind=True) == set()
    assert guid in _tombstones_seen_by(samba_domain, blind=False)


def test_a_restored_person_keeps_the_guid_and_has_lost_mail_and_groups(
    admin: DomainAdministrator, unit: str
) -> None:
    guid = admin.create_user(f"Back {unit}", mail="back@example.test", ou=unit)
    group = admin.create_group(f"Group {unit}", ou=unit, members=[guid])
    admin.delete(guid)
    assert admin.members(group) == []
    assert not admin.exists(guid)
    assert admin.restore(guid) == guid
    read = admin.read(guid)
    assert read["name"] == [f"Back {unit}"]
    assert "mail" not in read
    assert "isDeleted" not in read
    assert admin.members(group) == []


def test_groups_nest_in_a_circle(admin: DomainAdministrator, unit: str) -> None:
    outer = admin.create_group(f"Outer {unit}", ou=unit)
    inner = admin.create_group(f"Inner {unit}", ou=unit, members=[outer])
    admin.add_members(outer, inner)
    assert admin.members(outer) == [admin.dn(inner)]
    admin.remove_members(outer, inner)
    assert admin.members(outer) == []


def test_a_person_is_disabled_renamed_moved_and_changed(admin: DomainAdministrator, unit: str) -> None:
    guid = admin.create_user("Doe, John", account=f"john{next(_serial)}", surname="Doe", ou=unit)
    admin.create_ou("Deeper", ou=unit)
    admin.disable(guid)
    assert int(admin.read(guid)["userAccountControl"][0]) & 2
    admin.enable(guid)
    assert not int(admin.read(guid)["userAccountControl"][0]) & 2
    admin.move(guid, f"{unit}/Deeper")
    assert admin.dn(guid) == f"CN=Doe\\, John,OU=Deeper,OU={unit},DC=example,DC=test"
    admin.rename(guid, "Roe, John")
    admin.modify(guid, sn="Roe", displayName=None)
    read = admin.read(guid)
    assert read["sn"] == ["Roe"]
    assert "displayName" not in read
    assert admin.guid("Roe, John") == guid


def test_the_primary_group_is_no_member_value(admin: DomainAdministrator, unit: str) -> None:
    person = admin.create_user(f"Primary {unit}", ou=unit)
    group = admin.create_group(f"Group {unit}", ou=unit)
    admin.set_primary_group(person, group)
    assert admin.members(group) == []


def test_the_standard_population_loads(admin: DomainAdministrator) -> None:
    guids = population.load(population.STANDARD, admin)
    assert len(admin.members(guids["Dropbox"])) == 7
    assert admin.dn(guids["Dropbox"]) in admin.members(guids["Platform Team"])
    assert len(population.people_in(population.STANDARD, "Dropbox")) == 12
    chain = f"(&(objectClass=person)(memberOf:1.2.840.113556.1.4.1941:={admin.dn(guids['Dropbox'])})(!(objectClass=computer)))"
    _, _, response, _ = admin.connect().search(admin.base_dn, chain, attributes=["name"])
    names = {
        entry["raw_attributes"]["name"][0].decode() for entry in response if entry["type"] == "searchResEntry"
    }
    assert names - {"Acme Support"} == population.people_in(population.STANDARD, "Dropbox")


def test_people_load_in_bulk_while_the_domain_runs(
    samba_domain: SambaDomain, admin: DomainAdministrator
) -> None:
    parent = admin.create_group("Bulk parent")
    groups = samba_domain.load_people_blocking(40, group=admin.dn(parent), groups=2)
    assert sorted(admin.members(parent)) == sorted(groups)
    assert [len(admin.members(group)) for group in groups] == [20, 20]
    assert admin.read("p000007", "mail")["mail"] == ["p000007@example.test"]


def test_a_second_domain_has_its_own_address_and_comes_back_where_it_was(
    samba_domain: SambaDomain, tmp_path: Path, authority: Authority
) -> None:
    # A path so long that no Unix socket could lie in it.
    domain = SambaDomain(tmp_path / ("x" * 90), authority, cache=_ROOT / ".sandbox" / "cache")
    try:
        first = domain.start_blocking()
        assert first.address != samba_domain.facts.address
        with domain.administrator() as administrator:
            guid = administrator.create_user("Ann Bee", mail="ann@example.test")
            domain.kill_blocking()
            assert not domain.is_running
            with pytest.raises((LDAPExceptionError, OSError)):
                administrator.read(guid)
            assert domain.start_blocking() == first
            assert administrator.read(guid, "mail")["mail"] == ["ann@example.test"]
    finally:
        domain.stop_blocking()


def test_the_domain_ends_when_its_owner_is_killed(tmp_path: Path) -> None:
    script = f"""
        import signal, sys, warnings
        warnings.simplefilter("ignore")
        sys.path.insert(0, {str(_ROOT)!r})
        from pathlib import Path
        from sandbox.certificates import Authority
        from sandbox.samba import SambaDomain
        folder = Path({str(tmp_path)!r})
        domain = SambaDomain(folder / "ad", Authority(folder / "ca"), cache=Path({str(_ROOT / ".sandbox" / "cache")!r}))
        print(domain.start_blocking().address, flush=True)
        signal.pause()
    """
    owner = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE, text=True
    )
    assert owner.stdout is not None
    address = owner.stdout.readline().strip()
    with owner.stdout, socket.create_connection((address, 389), 5) as client:
        client.settimeout(10)
        os.kill(owner.pid, signal.SIGKILL)
        owner.wait()
        assert client.recv(1) == b""  # the server hung up: it is gone

"""Decoding: identities, times, kinds, e-mail addresses, link targets."""

import uuid
from datetime import UTC, datetime

import pytest

from pipeline.errors import DirectoryError
from pipeline.model import Kind
from stages.directory import entries
from stages.directory.wire import RawEntry

_GUID = "db6ffb06-5c7e-4341-9d5c-5c2a28295c00"  # the bytes 5c, 2a, 28, 29, 00 are special in filters


def raw(**values: bytes | list[bytes]) -> RawEntry:
    base: dict[str, tuple[bytes, ...]] = {
        "objectguid": (uuid.UUID(_GUID).bytes_le,),
        "objectclass": (b"top", b"person", b"organizationalPerson", b"user"),
    }
    more = {name: tuple(value) if isinstance(value, list) else (value,) for name, value in values.items()}
    return RawEntry("CN=Ann,DC=example,DC=test", base | more)


def test_a_guid_is_little_endian_in_its_first_three_fields() -> None:
    assert entries.guid_text(bytes(range(16))) == "03020100-0504-0706-0809-0a0b0c0d0e0f"


def test_a_guid_in_a_filter_is_escaped_byte_for_byte() -> None:
    escaped = entries.guid_filter(_GUID)
    assert escaped == "(objectGUID=\\06\\fb\\6f\\db\\7e\\5c\\41\\43\\9d\\5c\\5c\\2a\\28\\29\\5c\\00)"


def test_what_is_no_guid_never_reaches_a_search() -> None:
    with pytest.raises(ValueError):
        entries.guid_base("x>(objectClass=*)")


@pytest.mark.parametrize(
    ("raw_sid", "text"),
    [
        (bytes.fromhex("0105000000000005150000000100000002000000030000004f040000"), "S-1-5-21-1-2-3-1103"),
        (bytes.fromhex("01020000000000052000000020020000"), "S-1-5-32-544"),
        (bytes.fromhex("010100000000000512000000"), "S-1-5-18"),
        (b"", ""),
        (b"\x01\x05\x00", ""),
        (bytes.fromhex("0105000000000005150000000100000002000000"), ""),
    ],
)
def test_sids(raw_sid: bytes, text: str) -> None:
    assert entries.sid_text(raw_sid) == text


@pytest.mark.parametrize("never", ["0", "9223372036854775807", "", "-1", "x"])
def test_accounts_that_never_expire(never: str) -> None:
    assert entries.parse_file_time(never) is None


def test_an_expiry_is_a_time_in_utc() -> None:
    assert entries.parse_file_time("132537600000000000") == datetime(2020, 12, 30, tzinfo=UTC)


def test_an_expiry_beyond_the_calendar_is_its_end() -> None:
    assert entries.parse_file_time("9223372036854775806") == datetime(9999, 12, 31, tzinfo=UTC)


def test_directory_times() -> None:
    assert entries.parse_generalized_time("20261123160000.0Z") == datetime(2026, 11, 23, 16, tzinfo=UTC)
    assert entries.parse_generalized_time("soon") is None


@pytest.mark.parametrize(
    ("classes", "control", "kind"),
    [
        ([b"top", b"person", b"organizationalPerson", b"user"], b"512", Kind.USER),
        ([b"top", b"person", b"organizationalPerson", b"user", b"inetOrgPerson"], b"512", Kind.USER),
        ([b"top", b"person", b"organizationalPerson", b"user", b"computer"], b"4096", Kind.COMPUTER),
        (
            [b"top", b"person", b"user", b"computer", b"msDS-GroupManagedServiceAccount"],
            b"4096",
            Kind.COMPUTER,
        ),
        ([b"top", b"person", b"organizationalPerson", b"user"], b"2080", Kind.COMPUTER),  # a trust
        ([b"top", b"group"], b"", Kind.GROUP),
        ([b"top", b"person", b"organizationalPerson", b"contact"], b"", Kind.CONTACT),
        ([b"top", b"foreignSecurityPrincipal"], b"", Kind.FOREIGN),
        ([b"top", b"organizationalUnit"], b"", Kind.OTHER),
        ([b"TOP", b"GROUP"], b"", Kind.GROUP),
    ],
)
def test_kinds(classes: list[bytes], control: bytes, kind: Kind) -> None:
    assert entries.kind_of(raw(objectclass=classes, useraccountcontrol=control)) is kind


def test_a_kind_that_did_not_come_is_unknown() -> None:
    assert entries.kind_of(RawEntry("", {})) is None


def test_an_entry_without_its_classes_is_an_error() -> None:
    with pytest.raises(DirectoryError, match="objectClass"):
        entries.entry_of(RawEntry("CN=Ann", {"objectguid": (bytes(16),)}), "mail")


@pytest.mark.parametrize(
    ("control", "disabled"), [(b"512", False), (b"514", True), (b"544", False), (b"66050", True)]
)
def test_disabled_is_bit_two(control: bytes, disabled: bool) -> None:
    assert entries.entry_of(raw(useraccountcontrol=control), "mail").disabled is disabled


def test_a_cleared_attribute_is_empty() -> None:
    assert entries.entry_of(raw(mail=[]), "mail").email == ""


def test_the_first_mail_counts() -> None:
    assert entries.entry_of(raw(mail=[b"One@x.test", b"two@x.test"]), "mail").email == "One@x.test"


@pytest.mark.parametrize(
    ("addresses", "email"),
    [
        ([b"smtp:alias@x.test", b"SMTP:main@x.test"], "main@x.test"),
        ([b"smtp:alias@x.test", b"X500:/o=x", b"SIP:a@x.test"], ""),
        ([], ""),
    ],
)
def test_the_primary_proxy_address_is_the_one_in_capitals(addresses: list[bytes], email: str) -> None:
    assert entries.entry_of(raw(proxyaddresses=addresses), "proxyAddresses").email == email


def test_undecodable_text_does_not_stop_anybody() -> None:
    assert entries.entry_of(raw(givenname=b"J\xf6rg"), "mail").given_name == "J\ufffdrg"


@pytest.mark.parametrize(
    ("text", "sid", "dn"),
    [
        (f"<GUID={_GUID}>;<SID=S-1-5-21-1>;CN=a\\,b,DC=x", "S-1-5-21-1", "CN=a\\,b,DC=x"),
        (f"<GUID={_GUID.upper()}>;CN=contact,DC=x", "", "CN=contact,DC=x"),
        (f"<GUID={_GUID}>", "", ""),
        (f"<GUID={_GUID}>;<SID=S-1-5-32-1>;CN=x\nDEL:y,DC=x", "S-1-5-32-1", "CN=x\nDEL:y,DC=x"),
    ],
)
def test_extended_dns(text: str, sid: str, dn: str) -> None:
    target = entries.parse_target(text)
    assert (target.guid, target.sid, target.dn) == (_GUID, sid, dn)


def test_a_link_without_a_guid_is_an_error_not_a_guess() -> None:
    with pytest.raises(DirectoryError):
        entries.parse_target("CN=Ann,DC=example,DC=test")


@pytest.mark.parametrize(
    ("dn", "foreign"),
    [
        ("CN=Ann,OU=x,DC=example,DC=test", False),
        ("cn=ann,dc=EXAMPLE,dc=TEST", False),
        ("CN=Ann,DC=child,DC=example,DC=test", True),  # a naive comparison of endings says otherwise
        ("CN=Ann,DC=other,DC=test", True),
        ("CN=Ann\\,DC=child,DC=example,DC=test", False),
        ("", False),
    ],
)
def test_objects_of_other_domains(dn: str, foreign: bool) -> None:
    assert entries.is_foreign(dn, "DC=example,DC=test") is foreign


def test_the_dns_name_of_a_domain() -> None:
    assert entries.dns_name("DC=corp,DC=example,DC=test") == "corp.example.test"

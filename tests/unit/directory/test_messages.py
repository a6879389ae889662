"""LDAP messages: encoded as ldap3 would, cut wherever the stream is cut, and half an entry is no entry."""

import ldap3
import pytest
from ldap3.operation.search import search_operation
from ldap3.protocol.convert import build_controls_list
from ldap3.protocol.rfc4511 import LDAPMessage, ProtocolOp
from ldap3.utils.asn1 import encode

from stages.directory.controls import DOMAIN_SCOPE, EXTENDED_DN, SHOW_DELETED, paged, tlv
from stages.directory.entries import guid_filter
from stages.directory.line import encoded
from stages.directory.messages import DONE, ENTRY, MessageReader, NotLdap, read_entry, search_message
from stages.directory.wire import EVERYTHING, Scope, Search

GUIDS = ("00000000-0000-0000-0000-000000000001", "db6ffb06-5c7e-4341-aa00-286129432a5c")


def message(operation: int, body: bytes = b"x" * 10, number: int = 5) -> bytes:
    return tlv(0x30, tlv(2, bytes([number])) + tlv(operation, body))


def attribute(name: bytes, *values: bytes) -> bytes:
    return tlv(0x30, tlv(4, name) + tlv(0x31, b"".join(tlv(4, value) for value in values)))


def entry(dn: str, *attributes: bytes) -> bytes:
    return message(ENTRY, tlv(4, dn.encode()) + tlv(0x30, b"".join(attributes)))


def as_ldap3_says(number: int, request: Search, condition: str) -> bytes:
    whole = LDAPMessage()
    whole["messageID"] = number
    asked = search_operation(
        request.base,
        condition,
        request.scope.value,
        ldap3.DEREF_NEVER,
        list(request.attributes) or [ldap3.NO_ATTRIBUTES],
        request.size_limit,
        0,
        False,
        None,
        None,
    )
    whole["protocolOp"] = ProtocolOp().setComponentByName("searchRequest", asked)
    if request.controls:
        whole["controls"] = build_controls_list(list(request.controls))
    return bytes(encode(whole))


@pytest.mark.parametrize("number", [1, 127, 128, 70_000])
@pytest.mark.parametrize(
    "request_and_filter",
    [
        (Search(purpose="", base="", scope=Scope.BASE, attributes=()), EVERYTHING),
        (
            Search(
                purpose="",
                base="OU=Zoë,DC=example,DC=test",
                scope=Scope.SUBTREE,
                attributes=("objectGUID", "member"),
                filter=r"(&(|(a=b\2a)(c>=5))(!(member=*))(cn=x*y))",
                controls=(DOMAIN_SCOPE, EXTENDED_DN, SHOW_DELETED, paged(1000, b"c" * 200)),
                size_limit=1000,
            ),
            r"(&(|(a=b\2a)(c>=5))(!(member=*))(cn=x*y))",
        ),
        (
            Search(
                purpose="", base="DC=a", scope=Scope.LEVEL, attributes=("mail",), guids=GUIDS, controls=()
            ),
            f"(|{guid_filter(GUIDS[0])}{guid_filter(GUIDS[1])})",
        ),
        (
            Search(
                purpose="",
                base="DC=a",
                scope=Scope.SUBTREE,
                attributes=("mail",),
                filter="(isDeleted=TRUE)",
                guids=GUIDS,
            ),
            f"(&(|{guid_filter(GUIDS[0])}{guid_filter(GUIDS[1])})(isDeleted=TRUE))",
        ),
    ],
    ids=["bare", "everything", "by GUID", "by GUID and filter"],
)
def test_a_request_is_what_ldap3_would_send(request_and_filter: tuple[Search, str], number: int) -> None:
    request, condition = request_and_filter
    assert search_message(number, request, encoded(request.filter)) == as_ldap3_says(
        number, request, condition
    )


def test_messages_are_cut_wherever_the_stream_is_cut() -> None:
    stream = message(ENTRY) + message(ENTRY, b"y" * 300) + message(DONE)
    for size in (1, 2, 3, 7, 50, 1000):
        reader, found = MessageReader(), []
        for start in range(0, len(stream), size):
            found += reader.feed(stream[start : start + size])
        assert [(one.number, one.operation) for one in found] == [(5, ENTRY), (5, ENTRY), (5, DONE)]
        assert b"".join(one.data for one in found) == stream


@pytest.mark.parametrize(
    "noise", [b"\x30\x80\x00\x00", b"\x30\x89" + b"\xff" * 9, b"\x30\x00", b"\x30\x02\x02\x09", b"HTTP/1.1"]
)
def test_what_is_no_ldap_is_an_error(noise: bytes) -> None:
    with pytest.raises(NotLdap):
        MessageReader().feed(noise)


def test_an_entry_is_read_to_bytes() -> None:
    data = entry(
        "CN=Zoë,DC=example,DC=test",
        attribute(b"objectGUID", b"\x00\xff" * 8),
        attribute(b"member;Range=0-1", b"a" * 200, b"b"),
        attribute(b"mail"),
    )
    (one,) = MessageReader().feed(data)
    read = read_entry(one)
    assert read.dn == "CN=Zoë,DC=example,DC=test"
    assert read.values == {
        "objectguid": (b"\x00\xff" * 8,),
        "member;range=0-1": (b"a" * 200, b"b"),
        "mail": (),
    }


def test_a_spoilt_byte_is_an_error_or_changes_what_is_said_but_drops_nothing() -> None:
    whole = entry("CN=Ann", attribute(b"member", b"first", b"second"), attribute(b"mail", b"a@x.test"))
    read_anyway = 0
    for at in range(len(whole)):
        for byte in range(256):
            try:
                (one,) = MessageReader().feed(whole[:at] + bytes([byte]) + whole[at + 1 :])
                read = read_entry(one)
            except (
                ValueError
            ):  # also where the message is not complete by its own account, or of another kind
                continue
            parts = [attribute(name.encode(), *values) for name, values in read.values.items()]
            assert len(entry(read.dn, *parts)) == len(whole)
            read_anyway += 1
    assert read_anyway > len(whole)


def test_half_an_entry_is_none() -> None:
    inner = attribute(b"member", b"first", b"second")
    for missing in range(1, len(inner)):
        cut = message(ENTRY, tlv(4, b"CN=Ann") + tlv(0x30, inner[:-missing]))
        (one,) = MessageReader().feed(cut)
        with pytest.raises(NotLdap):
            read_entry(one)

"""Whatever bytes stand in the attributes of an object: an entry, or a clear error."""

from contextlib import suppress

from hypothesis import given, settings
from hypothesis import strategies as some

from pipeline.errors import DirectoryError
from pipeline.model import Entry
from stages.directory.entries import (
    entry_of,
    is_foreign,
    parse_file_time,
    parse_generalized_time,
    parse_target,
    sid_text,
)
from stages.directory.wire import RawEntry
from tests.hostile.words import numbers, raw, texts

ATTRIBUTES = (
    "name",
    "samaccountname",
    "givenname",
    "sn",
    "displayname",
    "mail",
    "proxyaddresses",
    "objectsid",
)
NUMBERS = ("useraccountcontrol", "accountexpires", "primarygroupid")

CLASSES = some.sampled_from([(b"top", b"person", b"user"), (b"group",), (b"contact",), (b"\xff\xfe",), ()])


@settings(max_examples=200, deadline=None)
@given(
    dn=texts,
    guid=some.binary(min_size=16, max_size=16) | raw,
    classes=CLASSES,
    values=some.dictionaries(some.sampled_from(ATTRIBUTES), some.lists(raw, max_size=2).map(tuple)),
    counted=some.dictionaries(some.sampled_from(NUMBERS), some.tuples(numbers | raw)),
    email=some.sampled_from(["mail", "proxyAddresses"]),
)
def test_any_object_is_an_entry_or_a_directory_error(dn, guid, classes, values, counted, email):
    entry = RawEntry(dn, {"objectguid": (guid,), "objectclass": classes, **values, **counted})
    with suppress(DirectoryError):
        found = entry_of(entry, email)
        assert isinstance(found, Entry)
        assert found.guid
        found.email.encode()  # no lone surrogates: the journal and the wire are UTF-8
        found.name.encode()


@settings(max_examples=200, deadline=None)
@given(
    text=texts | numbers.map(lambda value: value.decode()) | some.from_regex(r"\d{14}\.0Z", fullmatch=True)
)
def test_any_link_time_or_name_is_read_or_refused(text):
    with suppress(DirectoryError):
        parse_target(text)
    parse_file_time(text)
    parse_generalized_time(text)
    is_foreign(text, "DC=example,DC=test")


@given(value=some.binary(max_size=80))
def test_any_sid_is_text(value):
    assert isinstance(sid_text(value), str)


def test_a_number_that_is_none_is_no_primary_group():
    """The converter of Python refuses more than 4,300 digits with an error of its own."""
    for value in (b"9" * 5_000, "²".encode(), b"-", b""):
        found = entry_of(
            RawEntry(
                "CN=x", {"objectguid": (b"1" * 16,), "objectclass": (b"user",), "primarygroupid": (value,)}
            ),
            "mail",
        )
        assert found.primary_group_rid is None

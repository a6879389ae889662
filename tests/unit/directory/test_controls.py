"""The bytes on the wire, spelt out."""

import pytest

from stages.directory import controls


def test_the_dirsync_flags_take_four_bytes() -> None:
    assert controls.int32(controls.DIRSYNC_FLAGS) == bytes.fromhex("020480000801")


@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        (0, "020100"),
        (1, "020101"),
        (127, "02017f"),
        (128, "02020080"),
        (1000, "020203e8"),
        (0x7FFFFFFF, "02047fffffff"),
        (0x80000000, "020480000000"),
        (0x80000001, "020480000001"),
        (0xFFFFFFFF, "0201ff"),
    ],
)
def test_words_are_shortest_signed_integers(value: int, encoded: str) -> None:
    assert controls.int32(value) == bytes.fromhex(encoded)


def test_the_dirsync_control_is_critical_and_whole() -> None:
    oid, critical, value = controls.dirsync(b"ab")
    assert (oid, critical) == ("1.2.840.113556.1.4.841", True)
    assert value == bytes.fromhex("300d 0204 80000801 0201 00 0402 6162")


def test_a_long_cookie_has_a_long_length() -> None:
    _, _, value = controls.dirsync(b"x" * 300)
    assert value is not None
    assert value.startswith(bytes.fromhex("30820139"))
    assert value.endswith(bytes.fromhex("0482012c") + b"x" * 300)


def test_paging_is_critical() -> None:
    assert controls.paged(1000, b"c") == (
        "1.2.840.113556.1.4.319",
        True,
        bytes.fromhex("3007 0202 03e8 0401 63"),
    )


def test_extended_dns_are_asked_for_in_readable_form() -> None:
    expected = ("1.2.840.113556.1.4.529", True, bytes.fromhex("3003020101"))
    assert expected == controls.EXTENDED_DN


@pytest.mark.parametrize("size", [0, 127, 128, 255, 256, 65535, 65536])
def test_lengths(size: int) -> None:
    encoded = controls.tlv(4, b"x" * size)
    header = len(encoded) - size
    assert header == 2 + (0 if size < 128 else (size.bit_length() + 7) // 8)
    if size >= 128:
        assert int.from_bytes(encoded[2:header], "big") == size
